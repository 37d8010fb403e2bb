"""The life of a service: signals, systemd, daemon processes and logging, known to this room alone.

Until its settings are known to be good, a service is a plain command, which says what is wrong and exits. Then it
enters python-daemon's context, which closes every descriptor but the standard ones, so sockets (to systemd, to the
journal, and the pair that wakes the loop) are made only inside. A `Host` is what the service sees of all this. A
signal handler sets a flag, and nothing else.
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pvsim import __version__
from pvsim.errors import PvsimError
from pvsim.foreign import printable
from pvsim.metrics import MetricsFile
from pvsim.runtime import logs, process
from pvsim.runtime.host import Host, Starting
from pvsim.runtime.pidfile import PidFile

__all__ = ["Host", "Starting", "add_options", "execute"]

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
    process.open_missing_streams()
    options = parser.parse_args(argv)
    if options.detach and options.pid_file is None:
        parser.error("--detach needs --pid-file FILE, to tell which process to stop later")
    logs.to_stderr(parser.prog, options.log_level)
    host = Host(options.metrics_file)
    try:
        settings = prepare(options)
        pid_file = PidFile(options.pid_file) if options.pid_file else None
        if options.detach:
            logs.warn_of_no_syslog()
            host.leave_terminal()
        with process.context(host, pid_file, options.detach, files(settings)), host:
            logs.from_inside(parser.prog, options.detach)
            try:
                serve(settings, host)
            finally:
                if host.metrics_file:
                    host.metrics_file.remove()
            process.ignore_signals()
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
