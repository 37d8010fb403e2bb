"""`pvsim sample` prints what the services would write."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pvsim import config
from pvsim.errors import ConfigError, IdError, PvsimError, UsageError
from pvsim.row import HEADER
from pvsim.tools import main, sample
from pvsim.tools.verify.expected import expect

START_S = 1_782_043_200  # 2026-06-21T12:00:00Z
SETTINGS = """\
[meter]
model = household
interval = 30
[meter Meter_2]
model = replay
file = profile.csv
[pv]
model = weather
timezone = Europe/Berlin
[pv Meter_1..2]
model = clear-sky
azimuth = 90
"""
Run = Callable[..., list[str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pvsim sample`; return the lines that it prints."""
    (tmp_path / "simulation.ini").write_text(SETTINGS)
    (tmp_path / "profile.csv").write_text(f"time,W\n{START_S},100\n{START_S + 60},200\n")
    parser = argparse.ArgumentParser()
    sample.add_parser(parser.add_subparsers())

    def run(*arguments: str) -> list[str]:
        options = parser.parse_args(["sample", "--simulation-file", str(tmp_path / "simulation.ini"), *arguments])
        assert options.func(options) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_rows_are_those_that_verify_expects(run: Run, tmp_path: Path) -> None:
    """Meters of different models, each on its own grid; `pvsim verify` finds nothing wrong in the rows."""
    lines = run("Meter_0..2", "--from", "2026-06-21T13:59:59", "--to", "2026-06-21T15:00:00+02:00")
    assert lines[0] == HEADER
    assert len(lines) == 1 + 3 * 120
    arguments = ["verify", "--simulation-file", str(tmp_path / "simulation.ini")]
    for number in range(3):
        rows = lines[1 + number * 120 : 1 + (number + 1) * 120]
        assert rows[0].startswith(f"Meter_{number},{START_S},")
        path = tmp_path / f"Meter_{number}-2026-06-21.csv"
        path.write_text("\n".join([HEADER, *rows, ""]))
        assert main([*arguments, str(path)]) == 0
        path.write_text("\n".join([HEADER, *rows, ""]).replace(f",{START_S},", f",{START_S},1"))
        assert main([*arguments, str(path)]) == 1
    assert lines[-120].split(",")[2] == "100.0"
    assert lines[-118].split(",")[2] == "200.0"


def test_faults(run: Run, tmp_path: Path) -> None:
    """Rows come as they would be sent: out of order, with wrong values and times, and some not at all."""
    kinds = (
        "dropout = 10% of 20",
        "late_s = 300 in 10% of 600",
        "clock_s = 60 in 10% of 600",
        "spike_w = 9000 in 5% of 30",
    )
    faults = "".join(f"fault_{kind}\n" for kind in kinds)
    (tmp_path / "simulation.ini").write_text("[meter]\ninterval = 30\n[pv]\ntimezone = UTC\n")
    plain = run("x", "--from", str(START_S), "--to", str(START_S + 36_000))
    (tmp_path / "simulation.ini").write_text(f"[meter]\ninterval = 30\n{faults}[pv]\ntimezone = UTC\n")
    rows = run("x", "--from", str(START_S), "--to", str(START_S + 36_000))
    assert 900 < len(rows) < len(plain)
    assert rows != sorted(rows)
    path = tmp_path / "x-2026-06-21.csv"
    path.write_text("\n".join([*rows, ""]))
    arguments = ["verify", "--simulation-file", str(tmp_path / "simulation.ini")]
    assert main([*arguments, "--from", str(START_S), "--to", str(START_S + 36_000), str(path)]) == 0


def test_interval(run: Run) -> None:
    """--interval is that between the rows; instants are its multiples, from --from on and before --to."""
    lines = run("x", "--from", str(START_S + 1), "--to", str(START_S + 21), "--interval", "2.5")
    seconds = [Decimal(line.split(",")[1]) - START_S for line in lines[1:]]
    assert seconds == [Decimal(25 * number) / 10 for number in range(1, 9)]


@pytest.mark.parametrize(
    "arguments,error",
    [
        (["a/b", "--from", "1", "--to", "2"], IdError),
        (["a", "--from", "2", "--to", "2"], UsageError),
        (["a", "--from", "1", "--to", "2", "--simulation-file", "/nowhere"], ConfigError),
        (["a", "--from", "1", "--to", "9999999999", "--plot", "x.png"], UsageError),
        (["a", "--from", "9999-12-30", "--interval", "600", "--plot", "x.png"], UsageError),
        (["a", "--from", "2026-03-29T02:30"], UsageError),
    ],
)
def test_bad_input(run: Run, arguments: list[str], error: type[PvsimError]) -> None:
    """What cannot be used is a sentence; exit status 2 for the command line, 78 for a file."""
    with pytest.raises(error) as caught:
        run(*arguments)
    assert caught.value.exit_status == (78 if error is ConfigError else 2)


def test_plot(run: Run, tmp_path: Path) -> None:
    """--plot draws a picture; where matplotlib is not installed, a sentence says how to get it."""
    path = tmp_path / "sample.png"
    arguments = ["Meter_0..1", "--from", "2026-06-21", "--to", "2026-06-22", "--interval", "600", "--plot", str(path)]
    if importlib.util.find_spec("matplotlib"):
        assert run(*arguments) == []
        assert path.read_bytes().startswith(b"\x89PNG")
        arguments[-1] = str(tmp_path / "nowhere" / "sample.png")
        with pytest.raises(ConfigError, match="Cannot draw to"):
            run(*arguments)
    else:
        with pytest.raises(PvsimError, match="sudo apt install python3-matplotlib"):
            run(*arguments)


def test_a_picture_tells_local_time() -> None:
    """Whatever the system's time zone: noon of Tokyo stands where the axis says 12."""
    pytest.importorskip("matplotlib")
    from matplotlib.dates import num2date

    tokyo = ZoneInfo("Asia/Tokyo")
    simulation = config.parse_simulation("[meter]\ninterval = 3600\n", "here", Path.cwd())
    meter = expect("Meter_0", simulation.meter("Meter_0"), simulation.pv("Meter_0"), tokyo)
    midnight_ns = int(datetime(2026, 6, 21, tzinfo=tokyo).timestamp()) * 10**9
    drawn = sample.figure([meter], (midnight_ns, midnight_ns + 24 * 3600 * 10**9))
    drawn.canvas.draw()
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "Asia/Tokyo"
    assert axes.lines[0].get_xdata()[12].hour == 12
    labels = [label.get_text() for label in axes.get_xticklabels()]
    noons = [num2date(at, tokyo).hour for at in axes.get_xticks()]
    assert [int(label.split()[-1].split(":")[0]) for label in labels] == noons


def test_a_model_is_tried_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """With its defaults; the other column is that of `random`."""
    span = ["--from", "2026-06-21T12:00Z", "--to", "2026-06-21T12:00:03Z"]
    assert main(["sample", "Meter_0", *span, "--model", "clear-sky"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(",")[1] for row in rows] == [str(START_S + second) for second in range(3)]
    pv = [float(row.split(",")[3]) for row in rows]
    assert max(pv) - min(pv) < 0.001
    assert main(["sample", "Meter_0", *span, "--model", "household", "--model", "clear-sky"]) == 0
    _, *both = capsys.readouterr().out.splitlines()
    assert [row.split(",")[3] for row in both] == [row.split(",")[3] for row in rows]
    assert [row.split(",")[2] for row in both] != [row.split(",")[2] for row in rows]


def test_the_last_day(run: Run) -> None:
    """There is a day before the year 10000, and it has rows."""
    assert len(run("Meter_0", "--from", "9999-12-31", "--interval", "3600")) == 1 + 24


def test_two_models_of_one_kind_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "Meter_0", "--model", "clear-sky", "--model", "weather"]) == 78
    assert "--model clear-sky and --model weather exclude each other; give one." in capsys.readouterr().err


@pytest.mark.parametrize(
    "given, first, last",
    [
        ([], "2026-03-29T00:00:00+01:00", "2026-03-29T23:00:00+02:00"),
        (["--from", "2026-10-25"], "2026-10-25T00:00:00+02:00", "2026-10-25T23:00:00+01:00"),
        (["--to", "2026-10-26"], "2026-10-25T00:00:00+02:00", "2026-10-25T23:00:00+01:00"),
    ],
)
def test_a_day_is_a_calendar_day(
    run: Run, monkeypatch: pytest.MonkeyPatch, given: list[str], first: str, last: str
) -> None:
    """Of 23 or 25 hours, too: today, the one that begins at --from, or the one that ends at --to."""
    monkeypatch.setattr(time, "time", lambda: datetime.fromisoformat("2026-03-29T12:00:00+02:00").timestamp())
    _, *rows = run("Meter_0", *given, "--interval", "3600")
    times = [int(row.split(",")[1]) for row in rows]
    assert times == list(range(int(_seconds(first)), int(_seconds(last)) + 1, 3600))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
