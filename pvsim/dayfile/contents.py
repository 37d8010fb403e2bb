"""The rows that stand in a day file, and whether a reading has one of them.

A file is known as a few stretches, one after the other. Readings mostly come in order, so nearly every file is one
stretch, sorted as text, in which a row is found by bisection; one that follows a row of the future begins another. A
stretch with lines that are no rows, or one made of several because there would be too many, is read through. For each
stretch its least and its greatest row are kept, and nothing else: memory does not grow with the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from pvsim.row import HEADER, is_row, reading_key

HEADER_LINE = f"{HEADER}\n".encode()
_BLOCK = 2**16  # bytes read at a time
_FIRST_BLOCK = 2**12
_NO_ROW = 1000  # so many bytes without a newline are no row, and the rest of that line need not be kept
_MOST = 32  # stretches
_NONE = "\x7f"  # greater than any row


class Stretch(NamedTuple):
    """Where it starts, its least and its greatest row, and whether it is nothing but rows in order (as text)."""

    start: int
    least: str
    greatest: str
    is_sorted: bool


class Contents:
    """The rows of one open file, up to `end`."""

    __slots__ = ("_fd", "_prefix", "_stretches", "end", "greatest")

    def __init__(self, fd: int, meter_id: str) -> None:
        self.end = len(HEADER_LINE)
        self.greatest = ""  # of all rows
        self._fd = fd
        self._prefix = f"{meter_id},"
        self._stretches: list[Stretch] = []

    @property
    def starts(self) -> list[int] | None:
        """Where the stretches begin, from which `recall` knows them again; None if one is not sorted."""
        if all(stretch.is_sorted for stretch in self._stretches):
            return [stretch.start for stretch in self._stretches]
        return None

    def recall(self, starts: Sequence[int], size: int) -> bool:
        """Know a file of this size again by where its sorted stretches begin; False if it does not look like that."""
        first = next(iter(starts), size)
        if first != len(HEADER_LINE):
            return False
        stretches = [self._recalled(start, end) for start, end in pairwise([*starts, size])]
        if None in stretches:
            return False
        self._stretches = [stretch for stretch in stretches if stretch]
        self.greatest = max((stretch.greatest for stretch in self._stretches), default="")
        self.end = size
        return True

    def _recalled(self, start: int, end: int) -> Stretch | None:
        if not len(HEADER_LINE) <= start < end:
            return None
        head = os.pread(self._fd, min(_NO_ROW, end - start), start).decode("latin-1")
        tail = os.pread(self._fd, min(_NO_ROW, end - start), max(start, end - _NO_ROW)).decode("latin-1")
        least, newline, _ = head.partition("\n")
        *_, greatest, rest = f"\n{tail}".split("\n")
        fits = newline and not rest and self._is_row(least) and self._is_row(greatest) and least <= greatest
        return Stretch(start, least, greatest, True) if fits else None

    def scan(self, size: int) -> Generator[None, None, list[int]]:
        """Learn from all that stands in a file of this size, a block at each step.

        Returns which lines are no rows, the first ten.
        """
        no_rows: list[int] = []
        number = 2
        for text, end in self._blocks(self.end, size):
            lines = text.split("\n")
            rows = lines if self._is_plain(text, lines) else list(filter(self._is_row, lines))
            if len(rows) < len(lines):
                no_rows += [number + index for index, line in enumerate(lines) if not self._is_row(line)]
                del no_rows[10:]
            self.learn(rows, end, len(rows) == len(lines) and rows == sorted(rows))
            number += len(lines)
            yield
        return no_rows

    def learn(self, rows: Sequence[str], end: int, is_sorted: bool) -> None:
        """These rows follow, up to where the file ends then; `is_sorted`: with nothing between, and in order."""
        least, greatest = (rows[0], rows[-1]) if is_sorted else (min(rows, default=_NONE), max(rows, default=""))
        stretch = Stretch(self.end, least, greatest, is_sorted)
        if self._stretches and _follows(self._stretches[-1], stretch):
            stretch = _joined(self._stretches.pop(), stretch)
        self._stretches.append(stretch)
        self.greatest = max(self.greatest, greatest)
        self.end = end
        if len(self._stretches) > _MOST:
            self._join_the_smallest()

    def _join_the_smallest(self) -> None:
        starts = [*(stretch.start for stretch in self._stretches), self.end]
        at = min(range(len(self._stretches) - 1), key=lambda each: starts[each + 2] - starts[each])
        self._stretches[at : at + 2] = [_joined(*self._stretches[at : at + 2])]

    def standing(self, wanted: set[str], key_of: Callable[[str], str] = reading_key) -> set[str]:
        """Which of these keys have a row in the file: those of readings, or of instants."""
        found: set[str] = set()
        end = self.end
        for stretch in reversed(self._stretches):
            some = {key for key in wanted if key <= stretch.greatest and _behind(key) > stretch.least}
            if some:
                found |= (self._in_order if stretch.is_sorted else self._anywhere)(some, key_of, stretch.start, end)
            end = stretch.start
        return found

    def _in_order(self, wanted: set[str], key_of: Callable[[str], str], start: int, end: int) -> set[str]:
        """The same in a sorted stretch: what may be wanted is read, and no more."""
        found: set[str] = set()
        behind = _behind(max(wanted))
        for text, _ in self._blocks(self._offset(min(wanted), start, end), end):
            lines = text.split("\n")
            found.update(wanted.intersection(map(key_of, lines)))
            if lines[-1] >= behind:
                break
        return found

    def _anywhere(self, wanted: set[str], key_of: Callable[[str], str], start: int, end: int) -> set[str]:
        """The same in one that is not sorted, or has lines that are no rows."""
        found: set[str] = set()
        for text, _ in self._blocks(start, end):
            found.update(key for line in text.split("\n") if (key := key_of(line)) in wanted and self._is_row(line))
            if len(found) == len(wanted):
                break
        return found

    def _offset(self, text: str, low: int, end: int) -> int:
        """Where, in a sorted stretch, a line begins that is not behind `text`, and little before it.

        Mostly that is near the end.
        """
        high, length = end, _FIRST_BLOCK
        while high - low > _FIRST_BLOCK:
            middle = max((low + high) // 2, high - length)
            length *= 4
            before, _, rest = os.pread(self._fd, min(_FIRST_BLOCK, end - middle), middle).partition(b"\n")
            line, newline, _ = rest.partition(b"\n")
            if newline and line.decode("latin-1") < text:
                low = middle + len(before) + 1
            else:
                high = middle
        return low

    def _blocks(self, start: int, end: int) -> Iterator[tuple[str, int]]:
        """The whole lines from `start` to `end` in blocks, without the last newline of each, and where they end."""
        rest = b""
        while start < end and (block := os.pread(self._fd, min(_BLOCK, end - start), start)):
            start += len(block)
            whole, newline, tail = block.rpartition(b"\n")
            if newline:
                yield (rest + whole).decode("latin-1"), start - len(tail)
                rest = tail
            else:
                rest = (rest + block)[:_NO_ROW]

    def _is_plain(self, text: str, lines: list[str]) -> bool:
        """Whether lines are in order and look like rows of this meter; much cheaper than to parse them."""
        ends_fit = lines[0].startswith(self._prefix) and lines[-1].startswith(self._prefix)
        return ends_fit and text.count(",") == 4 * len(lines) and lines == sorted(lines)

    def _is_row(self, line: str) -> bool:
        return line.startswith(self._prefix) and is_row(line)


def _behind(key: str) -> str:
    """Greater than any row with this key: a row goes on after it with a comma, or .0 and a comma."""
    return f"{key}.0-"


def _follows(stretch: Stretch, after: Stretch) -> bool:
    return stretch.is_sorted and after.is_sorted and stretch.greatest <= after.least


def _joined(stretch: Stretch, after: Stretch) -> Stretch:
    least, greatest = min(stretch.least, after.least), max(stretch.greatest, after.greatest)
    return Stretch(stretch.start, least, greatest, _follows(stretch, after))
