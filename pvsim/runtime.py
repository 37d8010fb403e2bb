"""The world that a service runs in: signals, systemd, daemon processes and logging, known to this file alone.

`execute` is the life of a service. Until its settings are known to be good it is a plain command, which says what
is wrong and exits. Then it enters python-daemon's context, which closes every descriptor but the standard ones,
so sockets (to systemd, to the journal, and the pair that wakes the loop) are made only inside. A `Host` is what
the service sees of all this. A signal handler sets a flag, and nothing else.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import stat
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pvsim import __version__, disk
from pvsim.errors import ConfigError, PvsimError
from pvsim.foreign import printable
from pvsim.metrics import MetricsFile

UMASK = 0o027  # the group may read day files, others may not
_SLOW_START_S = 3  # after which a start says how far it is
_SAID_EVERY_S = 10
_EXTENSION_S = 60  # for which systemd goes on waiting from then
OTHER_FILES = 64  # that a service has open besides those that it asks for
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_SYSLOG = Path("/dev/log")

log = logging.getLogger(__name__)
T = TypeVar("T")


def add_options(parser: ArgumentParser) -> None:
    """The options that every service has."""
    levels = ["DEBUG", "INFO", "WARNING", "ERROR"]
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument(
        "--log-level",
        type=str.upper,
        choices=levels,
        default="INFO",
        help="log messages of this level and above (default: INFO)",
    )
    for short, name, level in (("-q", "--quiet", "WARNING"), ("-v", "--verbose", "DEBUG")):
        told = f"the same as --log-level {level}"
        how_much.add_argument(short, name, dest="log_level", action="store_const", const=level, help=told)
    parser.add_argument(
        "--detach",
        action="store_true",
        help="run in the background; needs --pid-file; logs to syslog, or to stderr if that is a file",
    )
    parser.add_argument(
        "--pid-file", type=Path, metavar="FILE", help="keep the process id there while running; do not start twice"
    )
    parser.add_argument(
        "--metrics-file",
        type=MetricsFile.at,
        metavar="FILE",
        help="write figures for Prometheus there every 15 s, as node_exporter's textfile collector reads them",
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")


def execute(
    parser: ArgumentParser,
    prepare: Callable[[Namespace], T],
    serve: Callable[[T, Host], None],
    argv: Sequence[str] | None = None,
    files: Callable[[T], int] = lambda _: 0,
) -> int:
    """Parse, `prepare`, become a daemon, `serve`; returns the exit status.

    `files`: how many files `serve` would have open at a time; `Host.files` is what it gets.

    0 when `serve` returns; a PvsimError's own status, and its sentence for the user; 1 for any other error, logged
    with its traceback. Wrong options exit with 2, by argparse. Whatever `prepare` opens is closed before `serve`.
    With --detach, the command in the terminal ends when the service calls `Host.ready` (0), or fails (its status).
    """
    _open_missing_streams()
    options = parser.parse_args(argv)
    if options.detach and options.pid_file is None:
        parser.error("--detach needs --pid-file FILE, to tell which process to stop later")
    _log_to_stderr(parser.prog, options.log_level)
    host = Host(options.metrics_file)
    try:
        settings = prepare(options)
        pid_file = _PidFile(options.pid_file) if options.pid_file else None
        if options.detach:
            if not _is_file(sys.stderr.fileno()) and not _SYSLOG.exists():
                log.warning("There is no syslog here, so the log is lost; to keep it, send stderr to a file (2> FILE).")
            host.leave_terminal()
        with _daemon_context(host, pid_file, options.detach, files(settings)), host:
            _log_from_inside(parser.prog, options.detach)
            try:
                serve(settings, host)
            finally:
                if host.metrics_file:
                    host.metrics_file.remove()
            _ignore_signals()
        _flush()
        return 0
    except KeyboardInterrupt:  # Ctrl-C before there was a handler
        return 0
    except Exception as error:
        return _fail(parser.prog, host, error)


def _flush() -> None:
    """Python ends with status 120 if it cannot write what is left: to a terminal that is gone, say."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(program: str, host: Host, error: Exception) -> int:
    if isinstance(error, PvsimError):
        status, sentence, traceback = error.exit_status, str(error), None
    else:
        status, sentence, traceback = 1, f"ended by an unexpected {type(error).__name__}: {error}", error
    logging.getLogger(program).error(sentence, exc_info=traceback)
    host.tell_terminal(status, f"{program}: {printable(sentence)}\n")
    return status


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
        """To be called by the working loop as it pleases; feeds the watchdog every quarter of its period."""
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
        """How starting went, to who waits in the terminal; the first word counts."""
        if self.terminal is not None:
            os.write(self.terminal, bytes([status]) + text.encode(errors="replace"))
            os.close(self.terminal)
            self.terminal = None


def _alive_every_s(environment: Mapping[str, str]) -> float | None:
    """A quarter of the watchdog's period, if systemd waits for this process (sd_watchdog_enabled(3))."""
    period, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    return int(period) / 4e6 if period.isdecimal() and pid in ("", str(os.getpid())) else None


# Becoming a daemon.


def _open_missing_streams() -> None:
    """Who starts us may have closed them; python-daemon needs all three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _daemon_context(host: Host, pid_file: _PidFile | None, detach: bool, files: int) -> Any:
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
        stderr=None if detach and not _is_file(sys.stderr.fileno()) else sys.stderr,
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


def _ignore_signals() -> None:
    """It has stopped: Python, as it ends, would let a second Ctrl-C kill it and spoil the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class _PidFile:
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


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


# Logging.


class _Lines(logging.Formatter):
    """`program: sentence`, one line a record, with its level where that is not INFO, and its logger where it is DEBUG.

    For the journal, each line has its priority in front instead (sd-daemon(3)).
    """

    def __init__(self, program: str, journal: bool) -> None:
        super().__init__("%(message)s")
        self._program = program
        self._journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name in logging)
        text = printable(record.message)
        return text if self._journal else f"{self._program}: {self._mark(record)}{text}"

    def _mark(self, record: logging.LogRecord) -> str:
        if record.levelno == logging.INFO or record.name == self._program:
            return ""
        level = f"{record.levelname.lower()}: "
        return f"{level}{record.name}: " if record.levelno == logging.DEBUG else level

    def format(self, record: logging.LogRecord) -> str:
        text = _printable_lines(super().format(record))
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return mark + text.replace("\n", f"\n{mark}")


class _Plain(logging.Formatter):
    """For a handler that sends the priority itself."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name in logging)
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return _printable_lines(super().format(record))


def _printable_lines(text: str) -> str:
    """What follows the first line of a record is a traceback, whose lines stay lines."""
    return "\n".join(map(printable, text.split("\n")))


class _Syslog(logging.Handler):
    """The log of a detached service, by syslog(3)."""

    def __init__(self, program: str) -> None:
        super().__init__()
        import syslog  # only detached services need it

        self._send = syslog.syslog
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)

    def emit(self, record: logging.LogRecord) -> None:
        self._send(_PRIORITIES.get(record.levelno, 6), self.format(record))


def _log_to_stderr(program: str, level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(program, _stderr_is_journal()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Our own sentences say what happened; pika would add a traceback for every broker that is away.
    logging.getLogger("pika").setLevel(level if level == "DEBUG" else logging.CRITICAL)


def _log_from_inside(program: str, detach: bool) -> None:
    """The log of a running service: the journal with its fields, syslog if detached, or stderr as before."""
    handler: logging.Handler | None = None
    if _stderr_is_journal():
        with suppress(ImportError):  # in a virtual environment: stderr does as well
            from systemd.journal import JournalHandler

            handler = JournalHandler(SYSLOG_IDENTIFIER=program)
            handler.setFormatter(_Plain())
    elif detach and not _is_file(sys.stderr.fileno()):
        handler = _Syslog(program)
        handler.setFormatter(_Plain(logging.BASIC_FORMAT))
    if handler:
        logging.getLogger().handlers = [handler]


def _stderr_is_journal() -> bool:
    stream = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
