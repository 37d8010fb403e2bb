"""`pvsim demo` shows rows, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pika
import pika.exceptions
import pytest

from pvsim import __version__
from pvsim.row import HEADER
from pvsim.tools import main
from pvsim.tools.demo import Tail, aligned
from tests.broker.conftest import CHECKOUT, processes_of, wait_until

ROW = re.compile(r"^Meter_0,(\d+),([\d.]+),([\d.]+),([\d.]+)$", re.MULTILINE)


class Demo:
    """A `pvsim demo` that runs in an empty directory, and has one for its temporary files."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self._output = directory / "output"
        command = [sys.executable, "-m", "pvsim.tools", "demo", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(self.temporary)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=output)

    @property
    def output(self) -> str:
        """What it has printed, to stdout and stderr."""
        return self._output.read_text()

    def rows(self) -> list[tuple[str, ...]]:
        """The rows that it has shown, without the meter id."""
        return ROW.findall(self.output)

    def wait_for_row(self) -> None:
        """Wait for the first one."""
        wait_until(self.rows, 60, f"a row is shown by:\n{self.output}")

    def wait(self) -> int:
        """Wait until it has ended, and nothing is left of it; returns the exit status."""
        status = self.process.wait(60)
        wait_until(lambda: not list(self.temporary.iterdir()), 10, "its temporary files are removed")
        wait_until(lambda: not processes_of(self.temporary), 10, "its processes have ended")
        return status


def test_shows_rows(tmp_path: Path) -> None:
    """Real rows, each of an own second and with an exact sum, below one header."""
    demo = Demo(tmp_path, "--seconds", "3")
    assert demo.wait() == 0, demo.output
    assert demo.output.count(HEADER) == 1
    rows = demo.rows()
    times = [int(time_s) for time_s, *_ in rows]
    assert times == list(range(times[0], times[0] + len(rows)))
    assert 2 <= len(rows) <= 8
    assert all(Decimal(power) + 1000 * Decimal(pv) == Decimal(total) for _, power, pv, total in rows)
    assert f"Rows shown: {len(rows)}, each with an exact sum." in demo.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_with_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it well, once rows were shown."""
    demo = Demo(tmp_path)
    demo.wait_for_row()
    demo.process.send_signal(number)
    assert demo.wait() == 0, demo.output
    assert f"Rows shown: {len(demo.rows())}," in demo.output


def test_ended_before_a_row(tmp_path: Path) -> None:
    """Without a row it has not shown what it is for: a sentence, and status 1."""
    demo = Demo(tmp_path)
    wait_until(lambda: demo.output, 30, "it says what it does")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.wait() == 1
    assert demo.output.endswith("pvsim demo: Ended before the first row came, which takes some seconds.\n")


def test_killed(tmp_path: Path) -> None:
    """SIGKILL gives it no chance, and still nothing is left."""
    demo = Demo(tmp_path)
    demo.wait_for_row()
    demo.process.kill()
    assert demo.wait() == -signal.SIGKILL


def test_nobody_else_may_log_in(tmp_path: Path) -> None:
    """Its broker is not for whoever works on the same machine and knows guest's password, as everybody does."""
    demo = Demo(tmp_path)
    demo.wait_for_row()
    port = re.search(r"\(port (\d+) of 127\.0\.0\.1,", demo.output)
    assert port
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port[1])))
    demo.process.kill()
    demo.wait()


def test_a_service_dies(tmp_path: Path) -> None:
    """What has ended, how, and what it said."""
    demo = Demo(tmp_path)
    demo.wait_for_row()
    meters = [number for number, command in processes_of(demo.temporary).items() if "pvsim.meter" in command]
    os.kill(meters[0], signal.SIGKILL)
    assert demo.wait() == 1
    assert re.search(r"(?s)pvsim demo: pvsim-meter has ended with status -9; it said:.*Meter created", demo.output)


def test_aligned() -> None:
    """On a terminal the decimal points stand below each other."""
    assert [
        aligned(line) for line in (HEADER, "Meter_0,1782036000,3812.856,3.5,7312.856", "Meter_0,1782036001,87,0,87")
    ] == [
        "  meter_id      time_s  meter_power_value_w  pv_power_value_kw  sum_meter_pv_w",
        "   Meter_0  1782036000             3812.856           3.5             7312.856",
        "   Meter_0  1782036001               87               0                 87",
    ]


def test_tail(tmp_path: Path) -> None:
    """Every complete row once, in the order of the files, and no header."""
    tail = Tail(tmp_path)
    first, second = tmp_path / "Meter_0-2026-06-20.csv", tmp_path / "Meter_0-2026-06-21.csv"
    assert tail.new_rows() == []
    first.write_text(f"{HEADER}\na\nb\nc")
    assert tail.new_rows() == ["a", "b"]
    first.write_text(f"{HEADER}\na\nb\ncd\n")
    second.write_text(f"{HEADER}\ne\n")
    assert tail.new_rows() == ["cd", "e"]
    assert tail.new_rows() == []


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["-V"], 0, f"pvsim {__version__}\n"),
        (["--help"], 0, "demo"),
        (["demo", "--help"], 0, "--seconds"),
        ([], 2, "required"),
        (["dance"], 2, "dance"),
        (["demo", "--seconds", "0"], 2, "'0' is no number of seconds"),
        (["demo", "--seconds", "nan"], 2, "'nan' is no number of seconds"),
    ],
)
def test_command_line(arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse answers, with its statuses."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == status
    assert said in "".join(capsys.readouterr())
