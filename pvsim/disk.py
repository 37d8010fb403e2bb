"""What a disk needs to be told: open and lock a file, sync a directory or a file system; advice for each errno."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pvsim.errors import DayFileError

# File systems whose syncfs is known to be as good as fsync, and whose times are those of this kernel's clock.
_LOCAL = {"ext2", "ext3", "ext4", "f2fs", "xfs"}
_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "mount that disk writable",
    errno.EACCES: "let the user that this runs as read and write there",
    errno.EPERM: "let the user that this runs as read and write there",
    errno.ENOENT: "create the directory",
    errno.EEXIST: "move it away",
    errno.ENOTDIR: "name a directory",
    errno.EISDIR: "move that directory away",
    errno.EINVAL: "move it away",
    errno.EBUSY: "find out who does that, and use a directory that nobody else writes",
    errno.ELOOP: "it is a symbolic link, which is not followed: put a file in its place",
    errno.EMFILE: "raise LimitNOFILE (ulimit -n), or run fewer meters in one process",
}


class FileSystem:
    """The file system of a directory, to be synced as a whole: it tells of all errors since this was made."""

    def __init__(self, directory: Path) -> None:
        self._fd = -1
        self._device = 0
        with suppress(OSError):
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._device = os.fstat(self._fd).st_dev
            if not is_local(self._device):
                self.close()

    def sync(self, devices: Sequence[int]) -> bool:
        """Make durable what was written to files on these devices; False if that is not known: sync each of them."""
        if self._fd < 0 or any(device != self._device for device in devices):
            return False
        from ctypes import CDLL  # only who has many files needs it

        return bool(CDLL(None).syncfs(self._fd) == 0)

    def close(self) -> None:
        """Do without it from now on."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


@lru_cache(maxsize=16)
def is_local(device: int) -> bool:
    """Whether a device number is that of a file system of this machine that is known to keep what it says."""
    return _type_of(device) in _LOCAL


def _type_of(device: int) -> str:
    """The type of the file system with this device number (proc_pid_mountinfo(5)), empty if it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == number:
            return source.split()[0]
    return ""


def sync_directory(path: Path) -> None:
    """Make names in a directory durable (fsync(2): syncing a file does not sync the entry that names it)."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# Who writes a file writes it alone.
#
# A lock would be enough, if others could not take it. But flock(2) and fcntl(2) ask for no more than to read, and day
# files are there to be read. So what counts is that nobody else has the file open for writing, which the kernel tells
# by a lease (fcntl(2), F_SETLEASE); a lock that readers alone hold counts for nothing. The lock is still taken where it
# can be: it keeps two writers that begin at the same moment apart. Where a file system has no leases, it decides.


_TRIES = 100  # somebody who replaces a file again and again holds nobody up with that


class Held(Exception):  # noqa: N818 - it reads as what it says
    """Another process writes the file."""


def open_alone(path: Path, mode: int, append: bool = False) -> int:
    """A descriptor of the regular file at `path`, which is created if there is none, and which nobody else writes.

    Held if another process does; OSError if it cannot be opened, also where a link or something else stands there.
    """
    for _ in range(_TRIES):
        fd = _open_free(path, mode, os.O_APPEND if append else 0)
        status = status_of(path)
        if fd >= 0 and status and os.path.samestat(status, os.fstat(fd)):
            return fd
        if fd >= 0:
            os.close(fd)
    raise OSError(errno.EBUSY, "it is replaced again and again", str(path))


def _open_free(path: Path, mode: int, append: int) -> int:
    """The same, or -1 if the file is moved away meanwhile, and perhaps replaced."""
    common = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    reader = os.open(path, os.O_RDONLY | os.O_CREAT | common, mode)
    try:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        is_locked, is_written = _lock(reader), _is_written(reader)
        if is_written or (is_written is None and not is_locked):
            raise Held
        writer = _reopened(reader, path, os.O_RDWR | append | common)
    finally:
        os.close(reader)  # and with it goes its lock
    if writer >= 0 and not _lock(writer) and is_locked:
        os.close(writer)
        raise Held
    return writer


def _reopened(reader: int, path: Path, flags: int) -> int:
    try:
        writer = os.open(path, flags)
    except FileNotFoundError:
        return -1
    if os.path.samestat(os.fstat(reader), os.fstat(writer)):
        return writer
    os.close(writer)
    return -1


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_written(reader: int) -> bool | None:
    """Whether somebody has this file open for writing; None if it cannot be told."""
    try:
        fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGURG)  # who opens it now has us sent this; SIGIO would be the end
        fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # somebody else's file, or no leases on this file system
        return None
    return False


def open_locked(path: Path) -> int:
    """A descriptor of the day file at `path`, which is created if there is none and which nobody else writes."""
    try:
        return open_alone(path, 0o640, append=True)
    except Held:
        raise DayFileError(
            f"{path} is locked: another process writes it; stop that one, or give this one another directory."
        ) from None
    except OSError as error:
        raise DayFileError(sentence("open", path, error)) from None


def replace(path: Path, text: str) -> None:
    """Replace a file by one with this text, durably and as a whole; OSError leaves the old one as it was."""
    part = path.with_suffix(".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    status = status_of(part)
    if status and not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EEXIST, f"{part.name} is in the way: it is a link, or no file", str(part))
    part.unlink(missing_ok=True)  # what is left of a process that was killed here
    with os.fdopen(os.open(part, flags, 0o640), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)


def status_of(path: Path) -> os.stat_result | None:
    """What stands at a path, links not followed; None if nothing can be seen there."""
    try:
        return path.lstat()
    except OSError:
        return None


def is_absent(path: Path) -> bool:
    """Whether it is known that nothing stands at a path: of one that cannot be reached, it is not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def sentence(verb: str, path: Path, error: OSError) -> str:
    """What could not be done with a file, why, and what to do about it."""
    advice = _ADVICE.get(error.errno or 0, "see what the kernel's log says of it")
    return f"Cannot {verb} {path}: {error.strerror}; {advice}."
