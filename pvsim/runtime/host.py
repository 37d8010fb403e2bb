"""What a service knows of the world that it runs in, and what it tells systemd and the terminal."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pvsim.foreign import printable
from pvsim.metrics import MetricsFile

OTHER_FILES = 64  # that a service has open, besides day files
_SLOW_START_S = 3  # after which a start says how far it is
_SAID_EVERY_S = 10
_EXTENSION_S = 60  # for which systemd goes on waiting from then

log = logging.getLogger("pvsim.runtime")


class Starting:
    """Tells systemd, and the log, how far a start is that takes long: called with a sentence as often as one likes."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _SLOW_START_S

    def __call__(self, text: str) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _SAID_EVERY_S
        log.info("Starting: %s.", text)
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            state = f"STATUS=Starting: {text}\nEXTEND_TIMEOUT_USEC={_EXTENSION_S * 10**6}"
            notifier = SystemdNotifier()
            notifier.notify(state.encode(errors="replace").decode("latin-1"))
            notifier.socket.close()  # the service has one of its own, later


class Host:
    """What a service knows of the world it runs in, and what it tells it. A context manager: sockets live inside."""

    stop_requested = False  # SIGTERM or SIGINT has come
    wake_fd = -1  # readable when a signal has come

    def __init__(self, metrics_file: MetricsFile | None = None) -> None:
        self.metrics_file = metrics_file
        self.terminal: int | None = None  # a pipe to the command that waits there
        self._notifier: Any = None
        self._last_status = ""
        self._alive_every_s: float | None = None
        self._next_alive_s = 0.0

    def __enter__(self) -> Host:
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self.wake_fd = self._wake.fileno()
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        if self.stop_requested:  # by a signal that came just before
            self._waker.send(b"\0")
        self._alive_every_s = _alive_every_s(os.environ)
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            self._notifier = SystemdNotifier()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._waker.close()
        self._wake.close()

    def request_stop(self, _signal: int, _frame: object) -> None:
        """The handler of the signals that stop a service."""
        self.stop_requested = True

    @property
    def files(self) -> int:
        """How many files the service may have open."""
        return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES)

    def drain_wake(self) -> None:
        """Make `wake_fd` unreadable until the next signal."""
        with suppress(BlockingIOError):
            while self._wake.recv(1024):
                pass

    def ready(self) -> None:
        """The service works: `systemctl start` returns, and so does a command with --detach."""
        self._notify("READY=1")
        self.tell_terminal(0)

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it has changed."""
        text = printable(" ".join(text.split()))[:1000]  # systemd ignores messages over 4096 bytes
        if text != self._last_status:
            self._last_status = text
            self._notify(f"STATUS={text}")

    def alive(self) -> None:
        """The loop works. It may say so as often as it likes: the watchdog is fed every quarter of its period."""
        if self._alive_every_s and time.monotonic() >= self._next_alive_s:
            self._next_alive_s = time.monotonic() + self._alive_every_s
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._notify("STOPPING=1")

    def _notify(self, state: str) -> None:
        if self._notifier:
            # sdnotify encodes as Latin-1 what systemd reads as UTF-8
            self._notifier.notify(state.encode(errors="replace").decode("latin-1"))

    def leave_terminal(self) -> None:
        """Fork: the child returns, the parent waits for what `tell_terminal` says, and exits with it."""
        reader, self.terminal = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            return
        os.close(self.terminal)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read() or b"\1The service ended before it was ready.\n"
        sys.stderr.write(answer[1:].decode())
        sys.exit(answer[0])

    def tell_terminal(self, status: int, text: str = "") -> None:
        """Say to whoever waits in the terminal how starting went; only the first call counts."""
        if self.terminal is not None:
            os.write(self.terminal, bytes([status]) + text.encode(errors="replace"))
            os.close(self.terminal)
            self.terminal = None


def _alive_every_s(environment: Mapping[str, str]) -> float | None:
    """A quarter of the watchdog's period, if systemd waits for this process (sd_watchdog_enabled(3))."""
    period, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    return int(period) / 4e6 if period.isdecimal() and pid in ("", str(os.getpid())) else None
