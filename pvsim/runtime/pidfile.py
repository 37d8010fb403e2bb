"""The file that holds a service's process id, and lets no second one start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pvsim import disk
from pvsim.errors import ConfigError, PvsimError


class PidFile:
    """A file that holds our process id, and a lock that a second start runs into. A stale file has no lock.

    Locked when made, still in the terminal, so that the user reads about it; the lock goes with the forks of a
    daemon. python-daemon enters it in the process that stays, and leaves it at the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        try:
            self.descriptor = _lock(self._path)
        except OSError as error:
            sentence = f"{path} cannot be the pid file: {error.strerror}; give another --pid-file."
            raise ConfigError(sentence) from None

    def __enter__(self) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if _is_at(self._path, self.descriptor):
                self._path.unlink()


def _lock(path: Path) -> int:
    """Open and lock; PvsimError if a process holds it, ConfigError if it holds anything but a process id."""
    try:
        descriptor = disk.open_alone(path, 0o644)
    except disk.Held:
        text = path.read_bytes()[:32].strip()
        who = f"process {text.decode()}" if text.isdigit() else "another process"
        raise PvsimError(f"{path} is held by {who}; stop that one first, or give another --pid-file.") from None
    text = os.read(descriptor, 32).strip()
    if text and not text.isdigit():
        os.close(descriptor)
        raise ConfigError(f"{path} does not hold a process id; give another --pid-file.")
    return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
