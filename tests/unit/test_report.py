"""`pvsim report` sums up what day files say, and tells what they do not say."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvsim.errors import ConfigError, PvsimError
from pvsim.row import HEADER
from pvsim.tools import main, report

CHECKOUT = Path(__file__).parents[2]

MIDNIGHT_S = 1_782_000_000  # 2026-06-21T00:00:00Z
NAME = "Meter_0-2026-06-21.csv"
Run = Callable[..., dict[str, Any]]


def line(second: float, load_w: str, pv_kw: str, meter_id: str = "Meter_0") -> str:
    """A row; its sum is not looked at."""
    time_s = f"{MIDNIGHT_S + second:.3f}".rstrip("0").rstrip(".")
    return f"{meter_id},{time_s},{load_w},{pv_kw},0"


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + end)
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pvsim report --json` on files of `tmp_path`; return what it said, with its exit status."""
    (tmp_path / "simulation.ini").write_text("[pv]\ntimezone = UTC\n")
    parser = argparse.ArgumentParser()
    report.add_parser(parser.add_subparsers())

    def run(*arguments: str | Path) -> dict[str, Any]:
        given = ["report", "--simulation-file", str(tmp_path / "simulation.ini"), "--json", *map(str, arguments)]
        options = parser.parse_args(given)
        status = options.func(options)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found | {"status": status}

    return run


def energies(found: dict[str, Any]) -> tuple[float, ...]:
    return tuple(found[name] for name in ("load_kwh", "pv_kwh", "import_kwh", "export_kwh"))


def test_two_hours_by_hand(run: Run, tmp_path: Path) -> None:
    """An hour of 3 kW under 1 kW of PV, and one of 1 kW under 5: 4 drawn, 6 made, 2 bought, 4 sold."""
    lines = [line(second, "3000", "1") for second in range(3600)]
    lines += [line(second, "1000", "5") for second in range(3600, 7200)]
    (day,) = run(write(tmp_path / NAME, lines))["days"]
    assert energies(day) == (4.0, 6.0, 2.0, 4.0)
    assert day["self_consumption_percent"] == pytest.approx(100 / 3, abs=0.001)
    assert day["self_sufficiency_percent"] == 50.0
    assert (day["rows"], day["interval_s"], day["recorded_s"], day["length_s"]) == (7200, 1.0, 7200.0, 86400.0)
    assert [gap["from"] for gap in day["gaps"]] == ["2026-06-21T02:00:00+00:00"]


@pytest.mark.parametrize("interval_s", [0.25, 0.001, 7, 900])
def test_a_row_counts_for_its_interval(run: Run, tmp_path: Path, interval_s: float) -> None:
    """Whole seconds or parts of them, whatever the form of the numbers."""
    lines = [line(number * interval_s, "3600", "0") for number in range(90)]
    found = run(write(tmp_path / NAME, lines))
    assert energies(found["total"])[0] == pytest.approx(90 * interval_s / 1000)
    assert found["total"]["self_consumption_percent"] is None
    assert found["days"][0]["interval_s"] == interval_s


def test_days_without_a_file_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And have no rows in the table; a single one is told by its date."""
    for day in ("2026-06-18", "2026-06-20", "2026-06-24"):
        write(tmp_path / f"Meter_0-{day}.csv", [line(0, "1", "0")])
    main(["report", *map(str, tmp_path.iterdir())])
    out = capsys.readouterr().out
    assert "Meter_0 2026-06-19: there is no file of this day\n" in out
    assert "Meter_0 2026-06-21 to 2026-06-23: there are no files of these 3 days\n" in out
    assert sum(each.startswith("Meter_0  2026-") for each in out.splitlines()) == 3


def test_a_gap_is_told_and_not_filled(run: Run, tmp_path: Path) -> None:
    seconds = [*range(1000), *range(1300, 86400)]
    found = run(write(tmp_path / NAME, [line(second, "3600", "0") for second in seconds]))
    (gap,) = found["days"][0]["gaps"]
    assert gap == {"from": "2026-06-21T00:16:40+00:00", "to": "2026-06-21T00:21:40+00:00", "seconds": 300.0}
    assert energies(found["total"])[0] == pytest.approx(86.1)
    assert (found["status"], found["total"]["recorded_s"]) == (0, 86100.0)


def test_a_day_without_a_file_is_told(run: Run, tmp_path: Path) -> None:
    first, last = (write(tmp_path / f"Meter_0-2026-06-{day}.csv", [line(1, "1", "0")]) for day in (20, 22))
    found = run(first, last)
    assert [(day["day"], len(day["paths"])) for day in found["days"]] == [
        ("2026-06-20", 1),
        ("2026-06-21", 0),
        ("2026-06-22", 1),
    ]
    assert found["days"][1]["gaps"][0]["seconds"] == 86400.0


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_pattern_that_the_shell_has_left_as_it_is(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with sudo, where the user's shell may not look into the directory."""
    monkeypatch.chdir(tmp_path)
    for day in (20, 22):
        write(tmp_path / f"Meter_0-2026-06-{day}.csv", [line(0, "1", "0")])
    for pattern in ("Meter_0-*.csv", str(tmp_path / "Meter_*-2026-06-2[02].csv")):
        main([command, pattern])
        out = capsys.readouterr().out
        assert "2026-06-20" in out
        assert "2026-06-22" in out
    assert main([command, "Meter_1-*.csv"]) == 78
    assert "No file matches Meter_1-*.csv" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_directory_that_may_not_be_looked_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """As /var/lib/pvsim is for those who are not of the group pvsim: a sentence, not a traceback."""
    tmp_path.chmod(0)
    user = os.geteuid()
    try:
        os.seteuid(user or 65534)  # root may look everywhere
        assert main([command, str(tmp_path / "Meter_0-2026-01-05.csv")]) == 1
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert re.search(
        r"Meter_0-2026-01-05.csv cannot be read: Permission denied; use sudo, or ", capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["report", "verify"])
def test_what_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """A pipe, which nobody may ever write to, is not waited for."""
    path = tmp_path / "Meter_0-2026-01-05.csv"
    os.mkfifo(path)
    assert main([command, str(path)]) == 78
    assert f"{path} is no file, and may never end; leave it out." in capsys.readouterr().err


def test_output_on_a_full_disk() -> None:
    """It is said, in a sentence."""
    command = [sys.executable, "-m", "pvsim.tools", "sample", "Meter_0", "--from", "2026-01-05", "--to", "2026-01-06"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=CHECKOUT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "pvsim sample: Cannot write the output: No space left on device; make room on that disk.\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_rows_in_any_order_count_once(run: Run, tmp_path: Path) -> None:
    """Shuffled, repeated, or at one instant with two values: of those the first one counts, and it is said."""
    lines = [line(second, "3600", "0") for second in (2, 1, 0, 3, 3, 4, 5)]
    found = run(write(tmp_path / NAME, [*lines, line(4, "7200", "0")]))
    total = found["total"]
    assert energies(total)[0] == pytest.approx(0.006)
    assert (total["rows"], total["repeated"], total["conflicting"], total["uncounted"]) == (6, 1, 1, 1)
    assert found["status"] == 1


def test_a_row_between_two_others_takes_of_their_time(run: Run, tmp_path: Path) -> None:
    lines = [line(second, "3600", "0") for second in (0, 1, 1.5, 2, 3, 4)]
    total = run(write(tmp_path / NAME, lines))["total"]
    assert total["recorded_s"] == 5.0
    assert energies(total)[0] == pytest.approx(0.005)


def test_files_of_two_pv_services_count_once(run: Run, tmp_path: Path) -> None:
    """A standby that took over has the last rows of the first one, too."""
    first = write(tmp_path / "a" / NAME, [line(second, "3600", "0") for second in range(100)])
    second = write(tmp_path / "b" / NAME, [line(second, "3600", "0") for second in range(90, 200)])
    total = run(second, first)["total"]
    assert (total["rows"], total["repeated"]) == (200, 10)
    assert energies(total)[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "bad",
    ["rubbish", "", line(50, "nan", "0"), line(50, "1_000.0", "0"), "Meter_0,50,1.0,2.0", line(50, "1", "0", "M")],
)
def test_lines_that_are_no_rows_are_not_counted(run: Run, tmp_path: Path, bad: str) -> None:
    lines = [line(second, "3600", "0") for second in range(100)]
    found = run(write(tmp_path / NAME, [*lines[:50], bad, *lines[51:]]))
    assert (found["status"], found["total"]["rows"], found["total"]["no_rows"]) == (1, 99, 1)
    assert energies(found["total"])[0] == pytest.approx(0.099)


@pytest.mark.parametrize("seconds", [[*range(100, 200), *range(100)], [*range(100), *range(200)]])
def test_order_counts_from_block_to_block(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: list[int]
) -> None:
    """Blocks that are each in order, and not one after the other."""
    lines = [line(second, "3600", "0") for second in seconds]
    monkeypatch.setattr("pvsim.tools.report.pieces._BLOCK", sum(len(each) + 1 for each in lines[:100]))
    total = run(write(tmp_path / NAME, lines))["total"]
    assert (total["rows"], total["repeated"]) == (200, len(seconds) - 200)
    assert energies(total)[0] == pytest.approx(0.2)


def test_half_a_line_at_the_end_may_be_being_written(run: Run, tmp_path: Path) -> None:
    found = run(write(tmp_path / NAME, [line(0, "1", "0"), line(1, "1", "0"), "Meter_0,17820"], end=""))
    assert (found["status"], found["total"]["rows"], found["total"]["torn"]) == (0, 2, 1)


def test_rows_that_tell_no_interval_are_not_counted(run: Run, tmp_path: Path) -> None:
    """One row, or as many of one step as of another; the user can say it."""
    path = write(tmp_path / NAME, [line(second, "3600", "0") for second in (0, 1, 3, 4, 6)])
    found = run(path)
    assert (found["status"], found["total"]["uncounted"], energies(found["total"])[0]) == (1, 5, 0.0)
    found = run(path, "--interval", "1")
    assert (found["status"], found["total"]["uncounted"]) == (0, 0)
    assert energies(found["total"])[0] == pytest.approx(0.005)


def test_the_day_of_clock_change_has_25_hours(run: Run, tmp_path: Path) -> None:
    start_s = 1_792_879_200 - MIDNIGHT_S  # 2026-10-25T00:00:00+02:00
    lines = [line(start_s + 60 * minute, "1000", "0") for minute in range(25 * 60)]
    found = run(write(tmp_path / "Meter_0-2026-10-25.csv", lines), "--timezone", "Europe/Berlin")
    (day,) = found["days"]
    assert (day["length_s"], day["recorded_s"], day["gaps"], day["other_day"]) == (90000.0, 90000.0, [], 0)
    assert energies(day)[0] == pytest.approx(25.0)


def test_files_of_another_time_zone_are_told(run: Run, tmp_path: Path) -> None:
    lines = [line(second, "1", "0") for second in range(0, 86400, 60)]
    found = run(write(tmp_path / NAME, lines), "--timezone", "Europe/Berlin")
    assert found["total"]["other_day"] == 120
    assert found["total"]["rows"] == 1440


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "meter_id,time_s\n", f"{HEADER};\n"])
def test_a_file_of_somebody_else_is_an_error(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / NAME
    path.write_text(text)
    with pytest.raises(ConfigError, match="is no day file"):
        run(path)


def test_a_file_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        run(tmp_path / NAME)


def test_many_bytes_are_summed_by_several_processes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same result."""
    paths = [
        write(tmp_path / f"M_{number}-2026-06-21.csv", [line(each, "1.5", "0.25", f"M_{number}") for each in range(99)])
        for number in range(5)
    ]
    alone = run(*paths)
    monkeypatch.setattr("pvsim.tools.report.command._MANY_BYTES", 0)
    assert run(*paths) == alone


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / NAME, [line(second, "3000", "1") for second in range(3600)])
    assert main(["report", "--timezone", "UTC", str(path)]) == 0
    text = capsys.readouterr().out
    assert "Meter_0  2026-06-21      1.00  3.000  1.000   2.000   0.000             100.0              33.3" in text
    assert "no rows from 2026-06-21T01:00:00+00:00 to 2026-06-22T00:00:00+00:00 (82800 s)" in text


def test_the_plot(run: Run, tmp_path: Path) -> None:
    """A picture where matplotlib is installed, and the package's name where it is not."""
    path = write(tmp_path / NAME, [line(second, "3000", "1") for second in [*range(600), *range(3000, 3600)]])
    picture = tmp_path / "report.png"
    if importlib.util.find_spec("matplotlib"):
        run(path, "--plot", picture)
        assert picture.read_bytes().startswith(b"\x89PNG")
    else:
        with pytest.raises(PvsimError, match="python3-matplotlib"):
            run(path, "--plot", picture)
