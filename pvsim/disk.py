"""What a disk needs to be told: open and lock a file, sync a directory or a file system; advice for each errno."""

from __future__ import annotations

import errno
import fcntl
import os
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
    errno.EACCES: "let the user that this runs as write there",
    errno.EPERM: "let the user that this runs as write there",
    errno.ENOENT: "create the directory",
    errno.ENOTDIR: "name a directory",
    errno.EISDIR: "move that directory away",
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


def open_locked(path: Path) -> int:
    """A descriptor of the locked regular file at `path`, which is created if there is none."""
    while True:
        fd = _open(path)
        try:
            _lock(fd, path)
            status = status_of(path)
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
        raise DayFileError(sentence("open", path, error)) from None


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
        raise DayFileError(sentence("lock", path, error)) from None


def status_of(path: Path) -> os.stat_result | None:
    """What stands at a path, links not followed; None if nothing can be seen there."""
    try:
        return path.lstat()
    except OSError:
        return None


def sentence(verb: str, path: Path, error: OSError) -> str:
    """What could not be done with a file, why, and what to do about it."""
    advice = _ADVICE.get(error.errno or 0, "see what the kernel's log says of it")
    return f"Cannot {verb} {path}: {error.strerror}; {advice}."
