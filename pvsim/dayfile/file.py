"""The CSV of one meter and one local calendar day: one durable writer.

`DayFile` is one open file, locked against other writers. It trusts what an fsync has confirmed and nothing
else: a torn last line is cut off on opening, and after any error the file is cut back to its last durable
size. Readings mostly come in order: one that is beyond every row is new without a look-up, any other is looked up
from the end of the file backwards, and in a sorted file soon by bisection. What is kept in memory does not grow with
the rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from operator import lt
from pathlib import Path
from typing import NoReturn

from pvsim.dayfile.name import file_name
from pvsim.disk import open_locked, sentence, status_of
from pvsim.errors import DayFileError
from pvsim.row import HEADER, is_row, reading_key

log = logging.getLogger("pvsim.dayfile")

_HEADER_LINE = f"{HEADER}\n".encode()
_BLOCK = 2**16  # bytes read at a time
_FIRST_BLOCK = 2**12
_NO_ROW = 1000  # so many bytes without a newline are no row, and the rest of that line need not be kept


class DayFile:
    """One open day file. Its methods raise DayFileError, after which the file is closed and cut back.

    Rows that `append` has written are durable after `sync`, and not before.
    """

    def __init__(self, directory: Path, meter_id: str, day: date) -> None:
        """Open or create the file, lock it, cut off a torn last line, and make durable what it holds."""
        self.meter_id = meter_id
        self.path = directory / file_name(meter_id, day)
        self.unsynced = False
        self._uncut = False  # rows that are not durable could not be cut off
        self._prefix = f"{meter_id},"
        self._greatest = ""  # of all rows, as text
        self._is_sorted = True  # the rows, as text
        self._is_pure = True  # every line is a row
        self._fd = open_locked(self.path)
        status = os.fstat(self._fd)
        self._inode = (status.st_dev, status.st_ino)
        self._size = self._durable_size = status.st_size
        try:
            self._open_content()
        except OSError as error:
            self._uncut = True
            self.close()
            raise DayFileError(sentence("open", self.path, error)) from None
        except DayFileError:
            self.close()
            raise

    def append(self, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Write the rows, each with the instant of its reading, of those readings that have none; return how many."""
        if not rows:
            return 0
        try:
            if not all(map(lt, times_ns, times_ns[1:])) or reading_key(min(rows)) <= self._greatest:
                rows = self._without_duplicates(rows, times_ns)
            if rows:
                self._write(("\n".join(rows) + "\n").encode())
                self._learn(rows)
        except OSError as error:
            self._fail(error)
        return len(rows)

    def sync(self) -> None:
        """Make durable what was appended."""
        if self.unsynced:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._fail(error)
            self.set_synced()

    def set_synced(self) -> None:
        """What was appended, if it was not cut back since, has been made durable."""
        if self.unsynced:
            self._durable_size = self._size
            self.unsynced = False

    @property
    def device(self) -> int:
        """The file system that it is on."""
        return self._inode[0]

    def usable(self) -> bool:
        """Whether rows may be appended. If not, the file is closed and is to be opened anew.

        That is so when its last use failed, or somebody else has moved, replaced, cut or extended the file.
        """
        if self._fd < 0:
            return False
        if self.unsynced:
            return True  # checked when the first of these rows was appended
        status = status_of(self.path)
        in_place = status is not None and (status.st_dev, status.st_ino) == self._inode
        if self._uncut and in_place:
            try:
                self._cut_back()
            except OSError as error:
                raise DayFileError(sentence("cut back", self.path, error)) from None
        elif status and in_place and status.st_size == self._size:
            return True
        self.close()
        return False

    def close(self) -> None:
        """Close the file. Rows that were not synced stay in it: who opens it next finds and syncs them."""
        self.unsynced = False
        if self._fd < 0:
            return
        if self._uncut:
            with suppress(OSError):
                self._cut_back()
        os.close(self._fd)
        self._fd = -1

    def _open_content(self) -> None:
        start = os.pread(self._fd, len(_HEADER_LINE), 0)
        if start == _HEADER_LINE:
            end = self._scan()
            if end < self._size:
                self._cut_torn_line(end)
            os.fsync(self._fd)  # rows of a killed process may be in the page cache alone
            self._durable_size = self._size
        elif len(start) == self._size and _HEADER_LINE.startswith(start):
            if start:
                log.warning("%s: half a header, %r, is written anew", self.path, start.decode())
                os.ftruncate(self._fd, 0)
            self._size = self._durable_size = 0
            self._write(_HEADER_LINE)
        else:
            raise DayFileError(
                f"{self.path} is left as it is: its first line is not {HEADER}, so it is not a day file; "
                "move it away, and that day's rows are written."
            )

    def _scan(self) -> int:
        """Learn from the rows; return where the last whole line ends. Memory does not grow with the file."""
        no_rows: list[int] = []
        number, end, at, rest = 2, len(_HEADER_LINE), len(_HEADER_LINE), b""
        while block := os.pread(self._fd, _BLOCK, at):
            at += len(block)
            whole, newline, tail = block.rpartition(b"\n")
            if not newline:
                rest = (rest + block)[:_NO_ROW]
                continue
            text = (rest + whole).decode("latin-1")
            lines = text.split("\n")
            rows = lines if self._is_plain(text, lines) else list(filter(self._is_row, lines))
            if len(rows) < len(lines):
                no_rows += [number + index for index, line in enumerate(lines) if not self._is_row(line)]
                del no_rows[10:]
            self._learn(rows)
            number, end, rest = number + len(lines), at - len(tail), tail
        if no_rows:
            self._is_pure = False
            log.warning("%s: no rows, left as they are, in lines %s", self.path, str(no_rows)[1:-1])
        return end

    def _is_plain(self, text: str, lines: list[str]) -> bool:
        """Whether lines are in order and look like rows of this meter; much cheaper than to parse them."""
        ends_fit = lines[0].startswith(self._prefix) and lines[-1].startswith(self._prefix)
        return ends_fit and text.count(",") == 4 * len(lines) and lines == sorted(lines)

    def _is_row(self, line: str) -> bool:
        return line.startswith(self._prefix) and is_row(line)

    def _learn(self, rows: Sequence[str]) -> None:
        """These rows stand at the end of the file."""
        if rows:
            self._is_sorted = self._is_sorted and self._greatest <= rows[0] and rows == sorted(rows)
            self._greatest = max(self._greatest, rows[-1] if self._is_sorted else max(rows))

    def _cut_torn_line(self, end: int) -> None:
        torn = os.pread(self._fd, 200, end).decode("latin-1")
        log.warning("%s: cut off a torn last line of %d bytes, %r", self.path, self._size - end, torn)
        os.ftruncate(self._fd, end)
        self._size = end

    def _without_duplicates(self, rows: Sequence[str], times_ns: Sequence[int]) -> list[str]:
        """The rows, in order, of readings that are neither in the file nor twice among these."""
        by_key = {reading_key(row): row for _, row in sorted(zip(times_ns, rows, strict=True))}
        standing = self._standing({key for key in by_key if key < self._greatest})
        return [row for key, row in by_key.items() if key not in standing]

    def _standing(self, wanted: set[str]) -> set[str]:
        """Which of the readings with these keys have a row in the file."""
        found: set[str] = set()
        first = min(wanted, default="")
        for number, lines in enumerate(self._lines_from_end() if wanted else ()):
            if number == 2 and self._is_sorted and self._is_pure:
                return self._standing_in_order(wanted)
            found.update(key for line in lines if (key := reading_key(line)) in wanted and self._is_row(line))
            if len(found) == len(wanted) or (self._is_sorted and next(filter(self._is_row, lines), first) < first):
                break
        return found

    def _standing_in_order(self, wanted: set[str]) -> set[str]:
        """The same in a sorted file of nothing but rows: what may be wanted is read, and no more."""
        found: set[str] = set()
        at, rest = self._offset(min(wanted)), b""
        end = f"{max(wanted)}.0-"  # a row goes on after its key with a comma, or .0 and a comma, which is less
        while block := os.pread(self._fd, _BLOCK, at):
            at += len(block)
            whole, _, rest = (rest + block).rpartition(b"\n")
            lines = whole.decode("latin-1").split("\n")
            found.update(wanted.intersection(map(reading_key, lines)))
            if lines[-1] >= end:
                break
        return found

    def _offset(self, text: str) -> int:
        """Where, in a sorted file, a line begins that is not behind `text`, and little before it."""
        low, high = len(_HEADER_LINE), self._size
        while high - low > _FIRST_BLOCK:
            middle = (low + high) // 2
            before, _, rest = os.pread(self._fd, _FIRST_BLOCK, middle).partition(b"\n")
            line, newline, _ = rest.partition(b"\n")
            if newline and line.decode("latin-1") < text:
                low = middle + len(before) + 1
            else:
                high = middle
        return low

    def _lines_from_end(self) -> Iterator[list[str]]:
        """The lines in blocks, the last block first; the first blocks are small."""
        end, length, rest = self._size, _FIRST_BLOCK, b""
        while end > len(_HEADER_LINE):
            start = max(len(_HEADER_LINE), end - length)
            block = os.pread(self._fd, end - start, start) + rest
            if start > len(_HEADER_LINE):  # the first line begins in an earlier block
                rest, _, block = block.partition(b"\n")
                rest = rest[:_NO_ROW]
            yield block.decode("latin-1").split("\n")
            end, length = start, min(4 * length, _BLOCK)

    def _write(self, content: bytes) -> None:
        self.unsynced = True
        left = memoryview(content)
        while left:
            written = os.write(self._fd, left)
            self._size += written
            left = left[written:]

    def _fail(self, error: OSError) -> NoReturn:
        """Leave nothing that is not known durable: after a failed fsync, nobody knows what is on the disk."""
        self.unsynced = False
        try:
            self._cut_back()
            self.close()
        except OSError as cut_error:
            self._uncut = True  # the file stays open, and locked
            log.error("%s Tried again before the next row.", sentence("cut back", self.path, cut_error))
        raise DayFileError(sentence("write", self.path, error)) from None

    def _cut_back(self) -> None:
        if os.fstat(self._fd).st_size > self._durable_size:
            os.ftruncate(self._fd, self._durable_size)
