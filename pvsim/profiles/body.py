"""The lines below the header become two columns of numbers.

Blocks of lines in which all is plain are read column by column. Where anything is not, the block is read line by line,
which knows everything that may stand between rows, and tells the line of what is wrong.
"""

from __future__ import annotations

import csv
import gc
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import lt

from pvsim.models.replay import Profile
from pvsim.profiles import csvlines, head, series, times
from pvsim.profiles.bad import BadProfile, shown
from pvsim.profiles.clocks import NoSuchHourError
from pvsim.profiles.head import Head
from pvsim.profiles.meters import Meters, several
from pvsim.profiles.numbers import Numbers, is_missing
from pvsim.profiles.steps import Steps
from pvsim.profiles.wishes import SKIP, Wishes

_DIGIT = re.compile(r"\d")


def read(chunks: Iterable[str], wishes: Wishes) -> Profile:
    """The profile in a text, which comes in pieces of whole lines, or BadProfile."""
    pieces = iter(chunks)
    first: list[str] = []
    for chunk in pieces:
        first += _lines(chunk)
        if len(first) >= head.WITHIN:
            break
    found = head.find(first[: head.WITHIN], wishes)
    body = Body(found, wishes)
    number = found.line + 1
    with _no_collections():
        for chunk in chain(["\n".join(first[found.line :])], pieces):
            number += body.add(chunk, number)
    return series.finish(body, wishes)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Millions of short-lived lists without a cycle: looking for cycles takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _lines(chunk: str) -> list[str]:
    lines = chunk.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


class NotPlainError(ValueError):
    """A line by itself has to be looked at."""


class Body:
    """What has been read. `times`: ns; `values`: mW, or µWh."""

    def __init__(self, found: Head, wishes: Wishes) -> None:
        self.head = found
        self.wishes = wishes
        self.times = array("q")
        self.values = array("q")
        self.numbers = Numbers(found.unit.factor, found.delimiter, wishes.missing)
        self.steps = Steps()
        self.is_typical = False
        self._previous = -1
        self._blank = 0  # the line of the last empty one since the last row
        self._note = 0  # the line after which nothing but notes may come
        self._meters = Meters(found.at.ids, found.names, found.at.unit, found.unit_cell)

    def add(self, chunk: str, number: int) -> int:
        """Read whole lines, the first of which has this number; returns how many they are."""
        lines = _lines(chunk)
        try:
            if self._note or self._blank or "#" in chunk:
                raise NotPlainError
            if lines:
                self._add_block(lines, number, '"' in chunk)
        except (ValueError, IndexError, OverflowError):  # a BadProfile, too, which is to tell its line
            self._add_lines(lines, number)
        return len(lines)

    # --- blocks

    def _add_block(self, lines: list[str], number: int, has_quotes: bool) -> None:
        found = self.head
        rows = self._quoted(lines) if has_quotes else [line.split(found.delimiter) for line in lines]
        if set(map(len, rows)) != {len(found.names)}:
            raise NotPlainError
        if any(row[at].strip() for at in found.at.unnamed for row in rows):
            raise NotPlainError
        numbers, rows = self._wanted(rows, number)
        if not rows:
            return
        instants = found.times.read(self._times_of(rows), self._previous)
        if not (self._previous < instants[0] and all(map(lt, instants, instants[1:]))) or instants[-1] >= times.END_NS:
            raise NotPlainError
        value_at = found.at.value
        values = self.numbers.block([row[value_at].strip() for row in rows])
        if not self._meters.is_one(rows):
            raise NotPlainError
        self.steps.add(self.times[-1] if self.times else -1, instants, numbers)
        self.times.extend(instants)
        self.values.extend(values)
        self._previous = instants[-1]

    def _wanted(self, rows: list[list[str]], number: int) -> tuple[Sequence[int], list[list[str]]]:
        """The rows of the meter that the user has chosen, and their lines."""
        at, where = self.head.at.where, self.wishes.where
        if at is None or not where:
            return range(number, number + len(rows)), rows
        kept = [(each, row) for each, row in enumerate(rows, number) if row[at].strip() == where[1]]
        return [each for each, _ in kept], [row for _, row in kept]

    def _quoted(self, lines: list[str]) -> list[list[str]]:
        if any(line.count('"') % 2 for line in lines):
            raise NotPlainError  # a quote that is not closed on its line
        try:
            rows = list(csv.reader(lines, delimiter=self.head.delimiter, strict=True, skipinitialspace=True))
        except csv.Error:
            raise NotPlainError from None
        if len(rows) != len(lines):
            raise NotPlainError
        return rows

    def _times_of(self, rows: list[list[str]]) -> list[str]:
        if len(self.head.at.times) == 1:
            (at,) = self.head.at.times
            return [row[at].strip() for row in rows]
        return [" ".join(row[at].strip() for at in self.head.at.times) for row in rows]

    # --- line by line

    def _add_lines(self, lines: list[str], number: int) -> None:
        instants: list[int] = []
        numbers: list[int] = []
        for line_number, line in enumerate(lines, number):
            instant = self._add_line(line_number, line)
            if instant is not None:
                instants.append(instant)
                numbers.append(line_number)
        if instants:
            before = len(self.times) - len(instants)
            self.steps.add(self.times[before - 1] if before else -1, instants, numbers)

    def _add_line(self, number: int, line: str) -> int | None:
        """Take a line's row, if it has one; its instant."""
        found = self.head
        if csvlines.is_blank(line):
            self._blank = number
            return None
        if line.startswith("#") or line.strip() == found.text.strip():
            return None
        try:
            cells = csvlines.split(line, found.delimiter)
        except BadProfile as error:
            raise BadProfile(f"line {number} has {error}; close it on its line.") from None
        if number <= found.line + 2 and not self.times and csvlines.is_row_of_units(cells):
            return None
        if not self._is_data(number, cells):
            return None
        if found.at.where is not None and self.wishes.where and cells[found.at.where] != self.wishes.where[1]:
            return None
        self._meters.add(number, cells)
        text = " ".join(cells[at] for at in found.at.times)
        if self.wishes.missing == SKIP and is_missing(cells[found.at.value]) and not self._exists(text):
            return None
        instant = self._instant(number, text)
        value = self.numbers.one(len(self.values), number, cells[found.at.value])
        if value is None:
            self._previous = instant
            return None
        self.times.append(instant)
        self.values.append(value)
        self._previous = instant
        return instant

    def _is_data(self, number: int, cells: list[str]) -> bool:
        """Whether a line is a row. If not, it is a note, which stands below the data, with nothing but notes below."""
        found = self.head
        is_row = csvlines.fits(cells, found.names)
        enough = len(cells) > max(*found.at.times, found.at.value, found.at.where or 0)
        text = " ".join(cells[at] for at in found.at.times) if enough else ""
        is_time = bool(text) and self._is_time(text)
        if self._note:
            if is_time and is_row:
                raise BadProfile(f"line {number} comes after line {self._note}, which is no data; take that one away.")
            return False
        if is_row and is_time:
            self._blank = 0
            self._check_unnamed(number, cells)
            return True
        is_note = (
            bool(self._blank)
            and not is_time
            and not (is_row and _DIGIT.search(text) and _DIGIT.search(cells[found.at.value]))
        )
        if is_note or (self.times and csvlines.is_foot(cells[0])):
            self._note = number
            return False
        if not is_row or not enough:
            wanted = len(found.names)
            raise BadProfile(
                f"line {number} has {len(cells)} columns, and the header, line {found.line}, has {wanted}; give as many"
                " as the header has."
            )
        return True

    def _check_unnamed(self, number: int, cells: list[str]) -> None:
        for at in self.head.at.unnamed:
            if at < len(cells) and cells[at]:
                raise BadProfile(
                    f"line {number} has {shown(cells[at])} in column {at + 1}, which has no name in line"
                    f" {self.head.line}; name it, or put numbers with a decimal comma into quotes."
                )

    def _is_time(self, text: str) -> bool:
        try:
            self.head.times.read([text], -1)
        except ValueError:
            return False
        return True

    def _exists(self, text: str) -> bool:
        """Whether a clock does not leave a time out in spring, for which many files have rows without a value."""
        try:
            self.head.times.read([text], self._previous)
        except NoSuchHourError:
            return False
        except ValueError:
            pass
        return True

    def _instant(self, number: int, text: str) -> int:
        try:
            (instant,) = self.head.times.read([text], self._previous)
        except ValueError as error:
            raise BadProfile(f"line {number}: {times.no_time(text, error).rstrip('.')}.") from None
        if not 0 <= instant < times.END_NS:
            raise BadProfile(f"line {number}: {shown(text)} is not between 1970 and 2262; leave such lines out.")
        if instant <= self._previous and not self._begins_a_month(instant):
            raise BadProfile(f"line {number} is not later than the line before; {self._advice()}.")
        return instant

    def _begins_a_month(self, instant: int) -> bool:
        """Whether a typical year goes on here, with the next month of an earlier year."""
        is_next = instant < self._previous and series.is_next_month(self._previous, instant, self.head.times.zone)
        self.is_typical = self.is_typical or is_next
        return is_next

    def _advice(self) -> str:
        if self._meters.names:
            return several(self._meters.names.values())
        if self.head.times.is_naive and not self.wishes.file_timezone:
            return "sort the lines, each time once; if clocks go back there, give file_timezone = the file's time zone"
        return "sort the lines, each time once"
