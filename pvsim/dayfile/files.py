"""The day files of many meters: readings go into the files of their days, and one syncfs(2) makes many durable."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import date, tzinfo
from pathlib import Path

from pvsim.dayfile.file import DayFile
from pvsim.dayfile.name import HALF_MINUTE_NS, half_minute_day, local_day
from pvsim.disk import FileSystem, sentence, sync_directory
from pvsim.errors import DayFileError
from pvsim.instants import ends

log = logging.getLogger("pvsim.dayfile")

TWO_VALUES = (
    "%s: one instant has two values, and both are written; the row %s is one of them. Do two meters of this name run"
    " with different settings? The status says when this was last so."
)
_MANY_HALF_MINUTES = 24 * 120  # of 30 s: a day
LONGEST_PIECE_S = 0.02  # of opening a file
_MANY = 8  # files, from which on one syncfs costs less than to sync each


class DayFiles:
    """The day files of any number of meters in one directory, at most `capacity` of them open."""

    def __init__(self, directory: Path, time_zone: tzinfo | None = None, capacity: int = 512) -> None:
        """`directory` is absolute if the working directory may change; None is the system's time zone."""
        self.second_values: dict[str, str] = {}  # by meter, the last row whose instant has another value, too
        self._directory = directory
        self._time_zone = time_zone
        self._capacity = capacity
        self._files: OrderedDict[tuple[str, date], DayFile] = OrderedDict()  # the longest unused first
        self._opening: dict[tuple[str, date], DayFile] = {}
        self._unsynced: dict[DayFile, None] = {}
        self._unlisted: set[str] = set()  # meters with files whose directory entry may not be durable
        self._written: set[str] = set()  # meters since the last commit
        self._failed: dict[str, DayFileError] = {}
        self._file_system: FileSystem | None = None

    def write(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Append one meter's rows, each with the instant of its reading, to the files of their days.

        Returns how many were new: a reading whose row stands there is not written again. What fails is told by
        `commit`; until then further readings of that meter are not written.
        """
        return sum(self.write_day(meter_id, day, *part) for day, part in self.by_day(times_ns, rows).items())

    def prepare(self, meter_id: str, day: date) -> bool:
        """Open the file of a day, a piece at each call; returns whether it can be written, or why not is told."""
        key = (meter_id, day)
        if meter_id in self._failed or ((file := self._files.get(key)) and file.usable()):
            return True
        try:
            if key not in self._opening:
                self._files.pop(key, None)
                self._begin(meter_id)
                self._opening[key] = DayFile(self._directory, meter_id, day, at_once=False)
            end_s = time.monotonic() + LONGEST_PIECE_S
            while not self._opening[key].go_on_opening():
                if time.monotonic() > end_s:
                    return False
            self._files[key] = self._opening.pop(key)
        except DayFileError as error:
            self._opening.pop(key, None)
            self._written.add(meter_id)
            self._failed[meter_id] = error
        return True

    def write_day(self, meter_id: str, day: date, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """The same, of rows that are all of one day."""
        self._written.add(meter_id)
        if meter_id in self._failed:
            return 0
        try:
            return self._append(self._file(meter_id, day), times_ns, rows)
        except DayFileError as error:
            self._failed[meter_id] = error
            return 0

    def commit(self) -> dict[str, DayFileError]:
        """Make durable what was written since the last commit; return the meters that failed, and why.

        All readings of the other meters stand in their files now, durable, whether they were new or not.
        """
        self._sync_files()
        if self._unlisted:
            self._sync_directory()
        failed, self._failed = self._failed, {}
        self._written.clear()
        return failed

    def close(self) -> None:
        """Close all files, without a commit."""
        for file in (*self._files.values(), *self._opening.values()):
            file.close()
        if self._file_system:
            self._file_system.close()
            self._file_system = None
        for each in (self._files, self._opening, self._unsynced, self._written, self._failed):
            each.clear()

    def by_day(self, times_ns: Sequence[int], rows: Sequence[str]) -> dict[date, tuple[Sequence[int], Sequence[str]]]:
        """These rows, and the instants of their readings, by the days whose files they belong into."""
        if times_ns and (day := self._only_day(*ends(times_ns))):
            return {day: (times_ns, rows)}
        parts: dict[date, tuple[list[int], list[str]]] = {}
        for some in _half_minutes(times_ns):
            part = parts.setdefault(local_day(times_ns[some.start], self._time_zone), ([], []))
            part[0].extend(times_ns[some])
            part[1].extend(rows[some])
        return dict(parts)

    def _only_day(self, first_ns: int, last_ns: int) -> date | None:
        """The day of all that lies between, if it is one, and that is found out soon."""
        first, last = first_ns // HALF_MINUTE_NS, last_ns // HALF_MINUTE_NS
        if last - first > _MANY_HALF_MINUTES:
            return None
        days = {half_minute_day(half_minute, self._time_zone) for half_minute in range(first, last + 1)}
        return days.pop() if len(days) == 1 else None

    def _append(self, file: DayFile, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        count = file.append(times_ns, rows)
        if file.second:
            if file.meter_id not in self.second_values:
                log.warning(TWO_VALUES, file.path, file.second)
            self.second_values[file.meter_id], file.second = file.second, ""
        if file.unsynced:
            self._unsynced[file] = None
        return count

    def _file(self, meter_id: str, day: date) -> DayFile:
        key = (meter_id, day)
        file = self._files.get(key)
        if file is None or not file.usable():
            self._files.pop(key, None)
            self._begin(meter_id)
            file = self._files[key] = DayFile(self._directory, meter_id, day)
        self._files.move_to_end(key)
        return file

    def _begin(self, meter_id: str) -> None:
        """A file of this meter is going to be opened."""
        self._make_room()
        if not self._file_system:  # before anything is written that it is to vouch for
            self._file_system = FileSystem(self._directory)
        self._unlisted.add(meter_id)  # its creator may have been killed before the directory was synced

    def _make_room(self) -> None:
        while len(self._files) >= self._capacity:
            _, file = self._files.popitem(last=False)
            self._sync(file)
            file.close()
            self._unsynced.pop(file, None)

    def _sync_files(self) -> None:
        if not (len(self._unsynced) >= _MANY and self._sync_at_once()):
            for file in self._unsynced:
                self._sync(file)
        self._unsynced.clear()

    def _sync_at_once(self) -> bool:
        if not self._file_system:
            return False
        for file in self._unsynced:
            file.tell()
        is_done = self._file_system.sync([file.device for file in self._unsynced])
        if is_done:
            for file in self._unsynced:
                file.set_synced()
        return is_done

    def _sync(self, file: DayFile) -> None:
        try:
            file.sync()
        except DayFileError as error:
            self._failed.setdefault(file.meter_id, error)

    def _sync_directory(self) -> None:
        try:
            sync_directory(self._directory)
            self._unlisted.clear()
        except OSError as error:
            failure = DayFileError(sentence("write", self._directory, error))
            self._failed = dict.fromkeys(self._unlisted & self._written, failure) | self._failed


def _half_minutes(times_ns: Sequence[int]) -> Iterator[slice]:
    """Which of these instants share a half minute, and so a day: many of a range; of others, each by itself."""
    start = 0
    while start < len(times_ns):
        left_ns = HALF_MINUTE_NS - times_ns[start] % HALF_MINUTE_NS
        stop = start + (-(-left_ns // times_ns.step) if isinstance(times_ns, range) else 1)
        yield slice(start, stop)
        start = stop
