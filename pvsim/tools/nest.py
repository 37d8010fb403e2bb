"""A temporary directory with processes, of which nothing is left.

Whoever owns it may be killed at any moment: a guard, which is a shell that waits for the end of a pipe, then ends what
is left and removes the directory.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

# Each line of input names the process groups to end; after its end, whoever wrote it is gone.
_GUARD = """
while read -r line; do groups=$line; done
for group in $groups; do kill -s KILL -- "-$group"; done
rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }
"""
# A program begins when the guard knows of it: whoever starts it may end between the two.
_WHEN_TOLD = 'read -r _ && exec "$@" </dev/null'


class Nest:
    """A temporary directory with processes: gone when it is closed, or when this process ends, even by SIGKILL."""

    def __init__(self, prefix: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_temporary()))
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.directory)],
            bufsize=0,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(
        self, command: Sequence[str | Path], env: Mapping[str, str], log: Path, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in `cwd` or the directory, in a session of its own; what it prints is added to `log`."""
        with log.open("ab") as output:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _WHEN_TOLD, "sh", *command],
                bufsize=0,
                cwd=cwd or self.directory,
                env=env,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert child.stdin
        with child.stdin, suppress(BrokenPipeError):  # it may be killed already
            self._children = [each for each in self._children if each.poll() is None] + [child]
            self._tell_guard(" ".join(str(each.pid) for each in self._children))
            child.stdin.write(b"\n")
        return child

    def close(self) -> None:
        """End every process, and remove the directory; nothing happens the second time."""
        for child in self._children:
            kill(child)
        self._tell_guard("")
        assert self._guard.stdin
        self._guard.stdin.close()
        self._guard.wait()

    def _tell_guard(self, groups: str) -> None:
        assert self._guard.stdin
        if not self._guard.stdin.closed:
            self._guard.stdin.write(f"{groups}\n".encode())


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that has a session of its own, and all of its process group, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _temporary() -> str:
    """Where temporary files go: not to a path with white space in it, which RabbitMQ's scripts cannot take."""
    return next(each for each in (tempfile.gettempdir(), "/tmp", "/var/tmp") if not re.search(r"\s", each))
