"""`pvsim demo`: a meter and its PV system at work against a RabbitMQ of their own, and nothing left of it afterwards.

Broker, meter and PV service are the real ones, a process each. What is shown is read from the day file that the PV
service writes: a row that is seen is a row on the disk.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pvsim
from pvsim.errors import PvsimError
from pvsim.row import HEADER
from pvsim.tools.node import Node

METER_ID, USERNAME = "Meter_0", "demo"
FIRST_ROW_S, POLL_S = 60.0, 0.1
# How many characters a value of each column needs from its decimal point on.
_FRACTIONS = 0, 0, 4, 7, 4
# Where this command runs in a unit, they are not for the services.
_OF_SYSTEMD = {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"}

_INTRODUCTION = """\
A simulated electricity meter and its PV system, with a RabbitMQ of their own (port {port} of {host}, files in
{directory}); nothing else is touched. Their rows are shown as they are written, {end};
then all of it is removed. Starting RabbitMQ takes some seconds."""
_CONCLUSION = """
Rows shown: {rows}, each with an exact sum. How to go on:
  installed as a package   sudo systemctl start pvsim-pv@{meter_id}
  with your own broker     broker.ini, two lines: [broker] and host = ADDRESS; then, in two terminals:
                           pvsim-meter -conf broker.ini
                           pvsim-pv -conf broker.ini -ids {meter_id}"""


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="show a meter and its PV system at work",
        description="Show a meter and its PV system at work, with a RabbitMQ of their own, and leave nothing behind.",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=math.inf,
        metavar="N",
        help="end N seconds after the first row (default: at Ctrl-C)",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Show rows until the time is over, or Ctrl-C or SIGTERM comes. PvsimError if there was none, or a wrong one."""
    table = Table(is_aligned=sys.stdout.isatty())
    with suppress(KeyboardInterrupt):
        for number in signal.SIGINT, signal.SIGTERM:  # a shell's & would have the first one ignored
            signal.signal(number, signal.default_int_handler)
        login = USERNAME, secrets.token_urlsafe()  # whoever else works on this machine is not to have a hand in it
        node = Node(login=login)
        end = "until Ctrl-C" if math.isinf(options.seconds) else f"for {options.seconds:g} seconds"
        _say(_INTRODUCTION.format(port=node.port, host=node.host, directory=node.directory, end=end))
        with node:
            _play(node, login, table, options.seconds)
    if not table.rows:
        raise PvsimError("Ended before the first row came, which takes some seconds.")
    _say(_CONCLUSION.format(rows=table.rows, meter_id=METER_ID))
    return 0


class Table:
    """Shows the rows of a day file, and checks their sums: as they are, or with aligned columns."""

    def __init__(self, is_aligned: bool) -> None:
        self.rows = 0
        self._is_aligned = is_aligned

    def show(self, row: str) -> None:
        """Print a row, the first time with the header above; PvsimError if its sum is not exact."""
        _meter_id, _time_s, power_w, pv_kw, sum_w = row.split(",")
        if Decimal(power_w) + 1000 * Decimal(pv_kw) != Decimal(sum_w):
            raise PvsimError(f"This row has a wrong sum, which is a bug in pvsim: {row}")
        if not self.rows:
            _say(f"\n{self._line(HEADER)}")
        _say(self._line(row))
        self.rows += 1

    def _line(self, text: str) -> str:
        return aligned(text) if self._is_aligned else text


def aligned(line: str) -> str:
    """A line of a day file with its columns, and in them the decimal points, below each other."""
    names = HEADER.split(",")
    if line == HEADER:
        return "  ".join(name.rjust(_width(name)) for name in names)
    cells = []
    for value, name, fraction in zip(line.split(","), names, _FRACTIONS, strict=True):
        whole, point, decimals = value.partition(".")
        cells.append(f"{whole}{point + decimals:{fraction}}".rjust(_width(name)))
    return "  ".join(cells).rstrip()


class Tail:
    """What is added to the day files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ends: dict[Path, int] = {}

    def new_rows(self) -> list[str]:
        """The rows that were completed since the last time."""
        rows: list[str] = []
        for path in sorted(self._directory.glob("*.csv")):
            with path.open("rb") as file:
                file.seek(self._ends.get(path, 0))
                added = file.read()
                whole = added[: added.rfind(b"\n") + 1]
            self._ends[path] = self._ends.get(path, 0) + len(whole)
            rows += [line for line in whole.decode().splitlines() if line != HEADER]
        return rows


def _play(node: Node, login: tuple[str, str], table: Table, seconds: float) -> None:
    """Run both services, and show what they write."""
    broker_ini = f"[broker]\nhost = {node.host}\nport = {node.port}\nusername = {login[0]}\npassword = {login[1]}\n"
    (node.directory / "broker.ini").write_text(broker_ini)
    services = {"meter": _start(node, "meter"), "pv": _start(node, "pv", "-ids", METER_ID)}
    tail = Tail(node.directory)
    first_by, end = time.monotonic() + FIRST_ROW_S, math.inf
    while time.monotonic() < end:
        for row in tail.new_rows():
            table.show(row)
        if table.rows and math.isinf(end):
            end = time.monotonic() + seconds
        if not node.is_running:
            raise PvsimError("RabbitMQ has ended by itself.")
        for name, process in services.items():
            if process.poll() is not None:
                raise PvsimError(f"pvsim-{name} has ended with status {process.returncode}; {_said(node, name)}")
        if not table.rows and time.monotonic() > first_by:
            raise PvsimError(f"No row came within {FIRST_ROW_S:.0f} s; {_said(node, *services)}")
        time.sleep(POLL_S)


def _start(node: Node, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a service from wherever this very pvsim was imported, installed or not."""
    environment = {key: value for key, value in os.environ.items() if key not in _OF_SYSTEMD}
    path = str(Path(pvsim.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [path, environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", f"pvsim.{name}", "-conf", "broker.ini", *arguments]
    return node.nest.spawn(command, environment, _log(node, name))


def _log(node: Node, name: str) -> Path:
    return node.directory / f"pvsim-{name}.log"


def _said(node: Node, *names: str) -> str:
    """The last lines of the services' logs."""
    lines = [
        f"  {line}" for name in names for line in _log(node, name).read_text("utf-8", "replace").splitlines()[-20:]
    ]
    return "\n".join(["it said:", *lines])


def _width(name: str) -> int:
    return max(10, len(name))


def _say(text: str) -> None:
    print(text, flush=True)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; give one above 0, such as 15.")
