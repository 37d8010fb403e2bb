"""The CSV of one meter and one local calendar day: one durable writer.

`DayFile` is one open file, locked against other writers. It trusts what an fsync has confirmed and nothing
else: a torn last line is cut off on opening, and after any error the file is cut back to its last durable
size. Readings mostly come in order: one that is beyond every row is new without a look-up, any other is looked up
from the end of the file backwards, and in a sorted file soon by bisection. What is kept in memory does not grow with
the rows. `DayFiles` sorts readings into the files of their days, and commits many files with one syncfs(2).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, tzinfo
from functools import lru_cache
from operator import lt
from pathlib import Path
from typing import NoReturn

from pvsim.errors import DayFileError, IdError
from pvsim.reading import SECOND_NS, check_id
from pvsim.row import HEADER, is_row

log = logging.getLogger(__name__)

SLOT_NS = 30 * SECOND_NS  # since 1970, every time zone's offset from UTC is a multiple of 30 s

_HEADER_LINE = f"{HEADER}\n".encode()
_NAME = re.compile(r"(?P<id>.+)-(?P<day>\d{4}-\d\d-\d\d)\.csv", re.ASCII)
_MANY = 8  # files, from which on one syncfs costs less than to sync each
_SYNCED_WHOLE = {"ext2", "ext3", "ext4", "f2fs", "xfs"}  # file systems whose syncfs is known to be as good as fsync
_BLOCK = 2**16  # bytes read at a time
_FIRST_BLOCK = 2**12
_NO_ROW = 1000  # so many bytes without a newline are no row, and the rest of that line need not be kept
_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "mount that disk writable",
    errno.EACCES: "let the user that this runs as write there",
    errno.EPERM: "let the user that this runs as write there",
    errno.ENOENT: "create the directory",
    errno.ENOTDIR: "name a directory",
    errno.EISDIR: "move that directory away",
    errno.ELOOP: "it is a symbolic link, which is not followed: put a file in its place",
    errno.EMFILE: "raise LimitNOFILE (ulimit -n), or run fewer meters in one process",
}


def file_name(meter_id: str, day: date) -> str:
    return f"{meter_id}-{day.isoformat()}.csv"


def parse_file_name(name: str) -> tuple[str, date]:
    """The meter id and the day in a day file's name; ValueError if it is none."""
    match = _NAME.fullmatch(name)
    try:
        if match:
            return check_id(match["id"]), date.fromisoformat(match["day"])
    except (IdError, ValueError):
        pass
    raise ValueError(f"{name!r} is not the name of a day file: METER_ID-YYYY-MM-DD.csv")


def local_day(time_ns: int, time_zone: tzinfo | None) -> date:
    """The calendar day of an instant of the years 1970 to 9999; None is the system's time zone."""
    return _slot_day(time_ns // SLOT_NS, time_zone)


@lru_cache(maxsize=1024)
def _slot_day(slot: int, time_zone: tzinfo | None) -> date:
    try:
        return datetime.fromtimestamp(slot * (SLOT_NS // SECOND_NS), time_zone).date()
    except (ValueError, OverflowError):  # already the year 10000 there: its first hours count as 9999's last
        return date.max


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
        self._fd = _open_locked(self.path)
        status = os.fstat(self._fd)
        self._inode = (status.st_dev, status.st_ino)
        self._size = self._durable_size = status.st_size
        try:
            self._open_content()
        except OSError as error:
            self._uncut = True
            self.close()
            raise DayFileError(_sentence("open", self.path, error)) from None
        except DayFileError:
            self.close()
            raise

    def append(self, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Write the rows, each with the instant of its reading, of those readings that have none; return how many."""
        if not rows:
            return 0
        try:
            if not all(map(lt, times_ns, times_ns[1:])) or _key(min(rows)) <= self._greatest:
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
        status = _status(self.path)
        in_place = status is not None and (status.st_dev, status.st_ino) == self._inode
        if self._uncut and in_place:
            try:
                self._cut_back()
            except OSError as error:
                raise DayFileError(_sentence("cut back", self.path, error)) from None
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
        by_key = {_key(row): row for _, row in sorted(zip(times_ns, rows, strict=True))}
        standing = self._standing({key for key in by_key if key < self._greatest})
        return [row for key, row in by_key.items() if key not in standing]

    def _standing(self, wanted: set[str]) -> set[str]:
        """Which of the readings with these keys have a row in the file."""
        found: set[str] = set()
        first = min(wanted, default="")
        for number, lines in enumerate(self._lines_from_end() if wanted else ()):
            if number == 2 and self._is_sorted and self._is_pure:
                return self._standing_in_order(wanted)
            found.update(key for line in lines if (key := _key(line)) in wanted and self._is_row(line))
            if len(found) == len(wanted) or (self._is_sorted and next(filter(self._is_row, lines), first) < first):
                break
        return found

    def _standing_in_order(self, wanted: set[str]) -> set[str]:
        """The same in a sorted file of nothing but rows: what may be wanted is read, and no more."""
        found: set[str] = set()
        at, end, rest = self._offset(min(wanted)), f"{max(wanted)}-", b""  # a row goes on with a comma, which is less
        while block := os.pread(self._fd, _BLOCK, at):
            at += len(block)
            whole, _, rest = (rest + block).rpartition(b"\n")
            lines = whole.decode("latin-1").split("\n")
            found.update(wanted.intersection(map(_key, lines)))
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
            log.error("%s Tried again before the next row.", _sentence("cut back", self.path, cut_error))
        raise DayFileError(_sentence("write", self.path, error)) from None

    def _cut_back(self) -> None:
        if os.fstat(self._fd).st_size > self._durable_size:
            os.ftruncate(self._fd, self._durable_size)


class DayFiles:
    """The day files of any number of meters in one directory, at most `capacity` of them open."""

    def __init__(self, directory: Path, time_zone: tzinfo | None = None, capacity: int = 512) -> None:
        """`directory` is absolute if the working directory may change; None is the system's time zone."""
        self._directory = directory
        self._time_zone = time_zone
        self._capacity = capacity
        self._files: OrderedDict[tuple[str, date], DayFile] = OrderedDict()  # the longest unused first
        self._unsynced: dict[DayFile, None] = {}
        self._unlisted: set[str] = set()  # meters with files whose directory entry may not be durable
        self._written: set[str] = set()  # meters since the last commit
        self._failed: dict[str, DayFileError] = {}
        self._file_system: _FileSystem | None = None

    def write(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Append one meter's rows, each with the instant of its reading, to the files of their days.

        Returns how many were new: a reading whose row stands there is not written again. What fails is told by
        `commit`; until then further readings of that meter are not written.
        """
        self._written.add(meter_id)
        if meter_id in self._failed:
            return 0
        try:
            parts = self._by_day(times_ns, rows)
            return sum(self._append(self._file(meter_id, day), *part) for day, part in parts.items())
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
        for file in self._files.values():
            file.close()
        if self._file_system:
            self._file_system.close()
            self._file_system = None
        for each in (self._files, self._unsynced, self._written, self._failed):
            each.clear()

    def _by_day(self, times_ns: Sequence[int], rows: Sequence[str]) -> dict[date, tuple[Sequence[int], Sequence[str]]]:
        slots = {time_ns // SLOT_NS for time_ns in times_ns}
        days = {_slot_day(slot, self._time_zone) for slot in slots}
        if len(days) == 1:
            return {days.pop(): (times_ns, rows)}
        parts: dict[date, tuple[list[int], list[str]]] = {}
        for time_ns, row in zip(times_ns, rows, strict=True):
            part = parts.setdefault(local_day(time_ns, self._time_zone), ([], []))
            part[0].append(time_ns)
            part[1].append(row)
        return dict(parts)

    def _append(self, file: DayFile, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        count = file.append(times_ns, rows)
        if file.unsynced:
            self._unsynced[file] = None
        return count

    def _file(self, meter_id: str, day: date) -> DayFile:
        key = (meter_id, day)
        file = self._files.get(key)
        if file is None or not file.usable():
            self._files.pop(key, None)
            self._make_room()
            if not self._file_system:  # before anything is written that it is to vouch for
                self._file_system = _FileSystem(self._directory)
            self._unlisted.add(meter_id)  # its creator may have been killed before the directory was synced
            file = self._files[key] = DayFile(self._directory, meter_id, day)
        self._files.move_to_end(key)
        return file

    def _make_room(self) -> None:
        while len(self._files) >= self._capacity:
            _, file = self._files.popitem(last=False)
            self._sync(file)
            file.close()
            self._unsynced.pop(file, None)

    def _sync_files(self) -> None:
        if len(self._unsynced) >= _MANY and self._file_system and self._file_system.sync(self._unsynced):
            for file in self._unsynced:
                file.set_synced()
        else:
            for file in self._unsynced:
                self._sync(file)
        self._unsynced.clear()

    def _sync(self, file: DayFile) -> None:
        try:
            file.sync()
        except DayFileError as error:
            self._failed.setdefault(file.meter_id, error)

    def _sync_directory(self) -> None:
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._unlisted.clear()
        except OSError as error:
            failure = DayFileError(_sentence("write", self._directory, error))
            self._failed = dict.fromkeys(self._unlisted & self._written, failure) | self._failed


class _FileSystem:
    """The file system of a directory, to be synced as a whole: it tells of all errors since this was made."""

    def __init__(self, directory: Path) -> None:
        self._fd = -1
        self._device = 0
        with suppress(OSError):
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._device = os.fstat(self._fd).st_dev
            if _type_of(self._device) not in _SYNCED_WHOLE:
                self.close()

    def sync(self, files: Iterable[DayFile]) -> bool:
        """Make durable what was written to these files; False if that is not known, and each is to be synced."""
        if self._fd < 0 or any(file.device != self._device for file in files):
            return False
        from ctypes import CDLL  # only who has many files needs it

        return bool(CDLL(None).syncfs(self._fd) == 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _type_of(device: int) -> str:
    """The type of the file system with this device number (proc_pid_mountinfo(5)), empty if it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == number:
            return source.split()[0]
    return ""


def _open_locked(path: Path) -> int:
    """A descriptor of the locked regular file at `path`, which is created if there is none."""
    while True:
        fd = _open(path)
        try:
            _lock(fd, path)
            status = _status(path)
            if status and os.path.samestat(status, os.fstat(fd)):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was moved away between opening and locking


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o640)
    except OSError as error:
        raise DayFileError(_sentence("open", path, error)) from None


def _lock(fd: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise DayFileError(f"{path} is not a regular file; move it away, and that day's rows are written.")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DayFileError(
            f"{path} is locked: another process writes it; stop that one, or give this one another directory."
        ) from None
    except OSError as error:
        raise DayFileError(_sentence("lock", path, error)) from None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _sentence(verb: str, path: Path, error: OSError) -> str:
    advice = _ADVICE.get(error.errno or 0, "see what the kernel's log says of it")
    return f"Cannot {verb} {path}: {error.strerror}; {advice}."


def _key(row: str) -> str:
    """What tells one reading from another: the row up to and with the meter's power."""
    return row.rsplit(",", 2)[0]
