"""A daemon process: python-daemon's context, with the signals, streams and limits that a service needs."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any

from pvsim.runtime.host import OTHER_FILES, Host
from pvsim.runtime.logs import is_file
from pvsim.runtime.pidfile import PidFile

UMASK = 0o027  # the group may read day files, others may not


def open_missing_streams() -> None:
    """Who starts us may have closed them; python-daemon needs all three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def context(host: Host, pid_file: PidFile | None, detach: bool, files: int) -> Any:
    """The context in which a service runs; `files`: how many it would have open at a time."""
    hard, most = resource.getrlimit(resource.RLIMIT_NOFILE)[1], files + OTHER_FILES
    most = most if hard == resource.RLIM_INFINITY else min(hard, most)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Only now: it reads the limit when it is imported, and version 2.3 keeps a set of all files that it allows.
    from daemon import DaemonContext

    kept = (pid_file and pid_file.descriptor, host.terminal)
    return DaemonContext(
        detach_process=detach,
        umask=UMASK,
        # Relative paths keep their meaning, unless this directory is closed to us (as in: sudo -u pvsim, in /root).
        working_directory="." if os.access(".", os.X_OK) else "/",
        files_preserve=[descriptor for descriptor in kept if descriptor is not None],
        pidfile=pid_file,
        stdin=None if detach else sys.stdin,
        stdout=None if detach else sys.stdout,
        stderr=None if detach and not is_file(sys.stderr.fileno()) else sys.stderr,
        signal_map=_signal_map(host, detach),
    )


def _signal_map(host: Host, detach: bool) -> dict[int, Any]:
    """What python-daemon makes of signals; None is to ignore one. A terminal that is closed stops what it started."""
    stop, ignore = host.request_stop, None
    actions: dict[int, Any] = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: ignore}
    if detach:
        return actions | dict.fromkeys((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU), ignore)
    if any(os.isatty(stream) for stream in (0, 1, 2)) and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        actions[signal.SIGHUP] = stop
    return actions


def ignore_signals() -> None:
    """It has stopped: Python, as it ends, would let a second Ctrl-C kill it and spoil the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
