"""Where the log goes: stderr, the journal with its fields, or syslog; each record in printable characters."""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from pvsim.foreign import printable, printable_lines

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_SYSLOG = Path("/dev/log")

log = logging.getLogger("pvsim.runtime")


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
        text = printable_lines(super().format(record))  # below the first line there may be a traceback
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return mark + text.replace("\n", f"\n{mark}")


class _Plain(logging.Formatter):
    """For a handler that sends the priority itself."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name in logging)
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


class _Syslog(logging.Handler):
    """The log of a detached service, by syslog(3)."""

    def __init__(self, program: str) -> None:
        super().__init__()
        import syslog  # only detached services need it

        self._send = syslog.syslog
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)

    def emit(self, record: logging.LogRecord) -> None:
        self._send(_PRIORITIES.get(record.levelno, 6), self.format(record))


def to_stderr(program: str, level: str) -> None:
    """The log of a command, and of a service that is not inside yet."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(program, _stderr_is_journal()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Our own sentences say what happened; pika would add a traceback for every broker that is away.
    logging.getLogger("pika").setLevel(level if level == "DEBUG" else logging.CRITICAL)


def from_inside(program: str, detach: bool) -> None:
    """The log of a running service: the journal with its fields, syslog if detached, or stderr as before."""
    handler: logging.Handler | None = None
    if _stderr_is_journal():
        with suppress(ImportError):  # in a virtual environment: stderr does as well
            from systemd.journal import JournalHandler

            handler = JournalHandler(SYSLOG_IDENTIFIER=program)
            handler.setFormatter(_Plain())
    elif detach and not is_file(sys.stderr.fileno()):
        handler = _Syslog(program)
        handler.setFormatter(_Plain(logging.BASIC_FORMAT))
    if handler:
        logging.getLogger().handlers = [handler]


def _stderr_is_journal() -> bool:
    stream = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def warn_of_no_syslog() -> None:
    """A detached service logs to syslog, or to stderr if that is a file."""
    if not is_file(sys.stderr.fileno()) and not _SYSLOG.exists():
        log.warning("There is no syslog here, so the log is lost; to keep it, send stderr to a file (2> FILE).")


def is_file(descriptor: int) -> bool:
    """Whether a stream goes to a file, which stays when the terminal goes."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
