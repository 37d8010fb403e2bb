"""The CSV of one meter and one local calendar day: one durable writer.

`DayFile` is one open file, locked against other writers. It trusts what an fsync has confirmed and nothing
else: a torn last line is cut off on opening, and after any error the file is cut back to its last durable
size. A reading that is beyond every row is new without a look-up; any other is looked up (see contents.py). Whoever
else writes the file in between is noticed by its size and times, and then it is read anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import pairwise
from operator import lt
from pathlib import Path
from typing import NoReturn

from pvsim import disk
from pvsim.dayfile import known
from pvsim.dayfile.contents import HEADER_LINE, Contents
from pvsim.dayfile.name import file_name
from pvsim.disk import open_locked, sentence, status_of
from pvsim.errors import DayFileError
from pvsim.instants import SECOND_NS
from pvsim.row import HEADER, instant_key, reading_key

log = logging.getLogger("pvsim.dayfile")

GONE = "%s was removed or replaced while it was written; rows go on in the file of that name."
SHORTER = "%s was cut short while it was written, and rows with it; rows go on at its end."
_AT_ONCE = 2000  # rows that are written: memory for many at a time would come from the system, and go back, each time


class DayFile:
    """One open day file. Its methods raise DayFileError, after which the file is closed and cut back.

    It is long because all is met here that a crash, a full disk or somebody else may do to a file.

    What it holds, and rows that `append` has written, are durable after `sync`, and not before. One that is made with
    `at_once` false is to be opened by `go_on_opening`, before anything else.
    """

    __slots__ = (
        "_contents", "_durable_size", "_fd", "_inode", "_opening", "_size", "_times_ns", "_uncut", "meter_id", "path",
        "second", "unsynced"
    )  # fmt: skip

    def __init__(self, directory: Path, meter_id: str, day: date, at_once: bool = True) -> None:
        """Open or create the file, lock it, cut off a torn last line, and know what it holds."""
        self.meter_id = meter_id
        self.path = directory / file_name(meter_id, day)
        self.second = ""  # a row whose instant has a row with another value
        self.unsynced = True  # rows of a killed process may be in the page cache alone
        self._uncut = False  # rows that are not durable could not be cut off
        self._fd = open_locked(self.path)
        status = os.fstat(self._fd)
        self._inode = (status.st_dev, status.st_ino)
        self._size = self._durable_size = status.st_size
        self._times_ns = _times_ns(status)  # of the last write and the last change that we know of
        self._contents = Contents(self._fd, meter_id)
        self._opening = self._open_content(status)
        while at_once and not self.go_on_opening():
            pass

    def go_on_opening(self) -> bool:
        """Read a block of what stands there, all of it where nothing is known of it; returns whether it is open."""
        try:
            next(self._opening)
        except StopIteration:
            return True
        except OSError as error:
            self._uncut = True
            self.close()
            raise DayFileError(sentence("open", self.path, error)) from None
        except DayFileError:
            self.close()
            raise
        return False

    def append(self, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Write the rows, each with the instant of its reading, of those readings that have none; return how many."""
        if not rows:
            return 0
        try:
            is_sorted = _ascend_as_text(times_ns)
            if not is_sorted or instant_key(rows[0]) <= self._contents.greatest:
                rows = self._without_duplicates(rows, times_ns)
                is_sorted = rows == sorted(rows)
            if rows:
                for at in range(0, len(rows), _AT_ONCE):
                    self._write(("\n".join(rows[at : at + _AT_ONCE]) + "\n").encode())
                self._contents.learn(rows, self._size, is_sorted)
        except OSError as error:
            self._fail(error)
        return len(rows)

    def tell(self) -> None:
        """Leave what is known of the file for who opens it next; it is durable with the next sync."""
        starts = self._contents.starts
        if self.unsynced and starts is not None and disk.is_local(self.device):
            known.tell(self._fd, self._size, self._times_ns[0], starts)
            status = os.fstat(self._fd)
            if status.st_mtime_ns == self._times_ns[0]:  # if not, somebody else has written to it
                self._times_ns = _times_ns(status)

    def sync(self) -> None:
        """Make durable what was appended."""
        if self.unsynced:
            try:
                self.tell()
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

        That is so when its last use failed, or somebody else has moved, replaced or changed the file. A file that is
        not where it was, or shorter than it was, is told of: rows that it had may be lost.
        """
        if self._fd < 0:
            return False
        if self.unsynced:
            return True  # checked when the first of these rows was appended
        status = status_of(self.path)
        in_place = status is not None and (status.st_dev, status.st_ino) == self._inode
        if not in_place and (status or disk.is_absent(self.path)):
            log.warning(GONE, self.path)
        elif status and status.st_size < self._size:
            log.warning(SHORTER, self.path)
        if self._uncut and in_place:
            try:
                self._cut_back()
            except OSError as error:
                raise DayFileError(sentence("cut back", self.path, error)) from None
        elif status and in_place and self._is_unchanged(status):
            return True
        self.close()
        return False

    def _is_unchanged(self, status: os.stat_result) -> bool:
        is_as_left = _times_ns(status) == self._times_ns or not disk.is_local(self.device)
        return status.st_size == self._size and is_as_left

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

    def _open_content(self, status: os.stat_result) -> Iterator[None]:
        start = os.pread(self._fd, len(HEADER_LINE), 0)
        if start == HEADER_LINE:
            starts = known.recall(self._fd, status) if disk.is_local(self.device) else None
            if starts is None or not self._contents.recall(starts, self._size):
                yield from self._read_all()
        elif len(start) == self._size and HEADER_LINE.startswith(start):
            if start:
                log.warning("%s: half a header, %r, is replaced by a whole one", self.path, start.decode())
                os.ftruncate(self._fd, 0)
            self._size = self._durable_size = 0
            self._write(HEADER_LINE)
        else:
            raise DayFileError(
                f"{self.path} is left as it is: its first line is not {HEADER}, so it is not a day file; "
                "move it away, and that day's rows are written."
            )

    def _read_all(self) -> Iterator[None]:
        no_rows = yield from self._contents.scan(self._size)
        if no_rows:
            log.warning("%s: these lines are no rows, and stay as they are: %s", self.path, str(no_rows)[1:-1])
        if self._contents.end < self._size:
            self._cut_torn_line(self._contents.end)

    def _cut_torn_line(self, end: int) -> None:
        torn = os.pread(self._fd, 200, end).decode("latin-1")
        log.warning("%s: cut off a torn last line of %d bytes, %r", self.path, self._size - end, torn)
        os.ftruncate(self._fd, end)
        self._size = self._durable_size = end
        self._times_ns = _times_ns(os.fstat(self._fd))

    def _without_duplicates(self, rows: Sequence[str], times_ns: Sequence[int]) -> list[str]:
        """The rows, in order, of readings that are neither in the file nor twice among these."""
        by_key = {reading_key(row): row for _, row in sorted(zip(times_ns, rows, strict=True))}
        standing = self._contents.standing({key for key in by_key if key < self._contents.greatest})
        new = [row for key, row in by_key.items() if key not in standing]
        if new:
            self._note_second_values(new)
        return new

    def _note_second_values(self, rows: Sequence[str]) -> None:
        """Nobody can know here which value of an instant is the right one: both are written."""
        by_instant = {instant_key(row): row for row in rows}
        standing = self._contents.standing({key for key in by_instant if key < self._contents.greatest}, instant_key)
        second = [row for before, row in pairwise(rows) if instant_key(before) == instant_key(row)]
        self.second = max([*second, *map(by_instant.__getitem__, standing)], default=self.second)

    def _write(self, content: bytes) -> None:
        self.unsynced = True
        left = memoryview(content)
        while left:
            written = os.write(self._fd, left)
            self._size += written
            left = left[written:]
        self._times_ns = _times_ns(os.fstat(self._fd))

    def _fail(self, error: OSError) -> NoReturn:
        """Leave nothing that is not known durable: after a failed fsync, nobody knows what is on the disk."""
        self.unsynced = False
        try:
            self._cut_back()
            self.close()
        except OSError as cut_error:
            self._uncut = True  # the file stays open, and locked
            log.error("%s This is tried again before the next row.", sentence("cut back", self.path, cut_error))
        raise DayFileError(sentence("write", self.path, error)) from None

    def _cut_back(self) -> None:
        if os.fstat(self._fd).st_size > self._durable_size:
            os.ftruncate(self._fd, self._durable_size)


def _times_ns(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ctime_ns


def _ascend_as_text(times_ns: Sequence[int]) -> bool:
    """Whether times ascend, and their texts, too: they do as long as seconds have the same number of digits."""
    is_ascending = times_ns.step > 0 if isinstance(times_ns, range) else all(map(lt, times_ns, times_ns[1:]))
    return is_ascending and len(str(times_ns[0] // SECOND_NS)) == len(str(times_ns[-1] // SECOND_NS))
