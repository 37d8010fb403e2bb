"""`pvsim verify` finds every kind of damage, in files that the writer wrote and somebody damaged on purpose."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvsim import config, tools
from pvsim.dayfile import DayFiles, local_day
from pvsim.errors import ConfigError
from pvsim.instants import END_NS, SECOND_NS
from pvsim.meter import progress
from pvsim.models import load, solar
from pvsim.reading import Reading
from pvsim.row import HEADER, format_row
from pvsim.tools import verify
from pvsim.tools.verify.expected import Expected, expect
from pvsim.tools.verify.gaps import check_meter, day_spans
from pvsim.tools.verify.report import KINDS, ON_PURPOSE
from pvsim.tools.verify.rows import check_day
from tests.examples import examples

SECOND = 10**9
START_S = 1_763_769_600  # 2025-11-22T00:00:00Z
NAME = "Meter_0-2025-11-22.csv"
SETTINGS = "[meter]\nseed = 7\n[pv]\nseed = 8\ntimezone = UTC\n"


def write(directory: Path, seconds: range, meter_id: str = "Meter_0", zone: str = "UTC", step_ns: int = SECOND) -> None:
    """Day files as the services write them; `seconds` since START_S, in steps of `step_ns`."""
    instants = [START_S * SECOND + each * step_ns for each in seconds]
    power = load.model("random", 7, meter_id)(instants)
    pv = solar.model("random", 8, meter_id, peak_kw=Decimal(4))(instants)
    files = DayFiles(directory, ZoneInfo(zone))
    readings = [Reading(meter_id, at, Decimal(each) / 1000) for at, each in zip(instants, power, strict=True)]
    files.write(meter_id, instants, list(map(format_row, readings, pv)))
    assert files.commit() == {}
    files.close()


EVIL = "\x1b]0;x\x07\x1b[2J\u202e"


def test_nothing_of_a_file_is_printed_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and lines of somebody else's files do nothing to the terminal of who verifies them, or sums them up."""
    day = tmp_path / "Meter_0-2026-06-21.csv"
    day.write_text(f"{HEADER}\nMeter{EVIL},1782036000,1.0,0.0,1.0\nMeter_0,1782036001,{EVIL},0.0,1.0\n")
    for command in ["verify", day], ["verify", tmp_path / f"{EVIL}.csv"], ["report", day], ["report", f"{EVIL}.csv"]:
        tools.main([str(each) for each in command])
        said = "".join(capsys.readouterr())
        assert said.replace("\n", "").isprintable()
        assert command[0] == "report" or "\\x1b]0;x\\x07" in said


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pvsim verify --json` on files of `tmp_path`; return its exit status and what it said."""
    (tmp_path / "simulation.ini").write_text(SETTINGS)
    parser = argparse.ArgumentParser()
    verify.add_parser(parser.add_subparsers())

    def run(*arguments: str | Path, form: str = "--json") -> tuple[int, dict[str, Any]]:
        names = [str(tmp_path / each) if str(each).endswith((".csv", ".json")) else str(each) for each in arguments]
        settings = ["--simulation-file", str(tmp_path / "simulation.ini")] if "--simulation-file" not in names else []
        options = parser.parse_args(["verify", *filter(None, [form]), *settings, *names])
        status = options.func(options)
        text = capsys.readouterr().out
        return status, json.loads(text) if form else {"text": text}

    return run


def wrong(found: dict[str, Any]) -> dict[str, int]:
    """The kinds of damage that there are, and how much of each."""
    return {kind: count for kind, count in found.items() if kind in KINDS and count}


# Files that are as they should be.


@pytest.mark.parametrize("form", ["--json", ""])
def test_all_is_well(tmp_path: Path, run: Run, form: str) -> None:
    write(tmp_path, range(100))
    status, found = run(NAME, form=form)
    assert status == 0
    if form:
        assert found["ok"]
        assert found["total"]["rows"] == 100
        assert wrong(found["total"]) == {}
    else:
        assert found["text"] == f"{tmp_path / NAME}: 100 rows; all is well\nTotal: 100 rows; all is well\n"


def test_no_rows(tmp_path: Path, run: Run) -> None:
    """Nothing was compared, so that nothing is said to be well."""
    (tmp_path / NAME).write_text(f"{HEADER}\n")
    assert (
        run(NAME, form="")[1]["text"]
        == f"{tmp_path / NAME}: 0 rows; nothing to compare\nTotal: 0 rows; nothing to compare\n"
    )


@pytest.mark.parametrize(
    "zone, day, rows",
    [
        ("UTC", date(2025, 11, 22), 24 * 60),
        ("Europe/Berlin", date(2025, 3, 30), 23 * 60),
        ("Europe/Berlin", date(2025, 10, 26), 25 * 60),
        ("Asia/Kolkata", date(2025, 11, 22), 24 * 60),  # UTC+05:30
        ("Australia/Lord_Howe", date(2025, 4, 6), 24 * 60 + 30),  # DST of half an hour
        ("America/St_Johns", date(2006, 10, 28), 25 * 60 - 1),  # back to 23:01 from 00:01, so in two pieces
        ("America/St_Johns", date(2006, 10, 29), 24 * 60 + 1),
    ],
)
def test_a_day(tmp_path: Path, run: Run, zone: str, day: date, rows: int) -> None:
    """A whole local day has as many rows as the clock there says, and its neighbours follow without a gap."""
    noon = (day - date(1970, 1, 1)).days * 1440 + 720 - START_S // 60
    write(tmp_path, range(noon - 2160, noon + 2160), zone=zone, step_ns=60 * SECOND)
    names = sorted(path.name for path in tmp_path.glob("*.csv"))
    status, found = run(*names, "--interval", "60", "--timezone", zone)
    assert status == 0, found
    assert {each["day"]: each["rows"] for each in found["files"]}[day.isoformat()] == rows
    (tmp_path / f"Meter_0-{day}.csv").unlink()
    names.remove(f"Meter_0-{day}.csv")
    status, found = run(*names, "--interval", "60", "--timezone", zone)
    assert status == 1
    assert wrong(found["total"]) == {"missing": rows}
    assert [each["missing"] for each in found["files"] if not each["paths"]] == [rows]


def test_a_day_is_fast(tmp_path: Path, run: Run) -> None:
    """86,400 rows, well under a second (the limit here is for a busy machine)."""
    write(tmp_path, range(86400))
    begin = time.process_time()
    assert run(NAME)[0] == 0
    assert time.process_time() - begin < 1.5


@pytest.mark.parametrize(
    "option, settings",
    [
        (["--seed", "7"], ""),
        (["--interval", "0.5"], ""),
        (["--peak-kw", "3"], ""),
        (["--timezone", "Asia/Tokyo"], ""),
        ([], "[meter]\nseed = 8\n[pv]\nseed = 8\ntimezone = UTC\n"),
        ([], f"{SETTINGS}[pv Meter_0]\npeak_kw = 5\n"),
    ],
)
def test_other_simulation(tmp_path: Path, run: Run, option: list[str], settings: str) -> None:
    """The files of another simulation are no good ones."""
    write(tmp_path, range(86300, 86400))
    if settings:
        (tmp_path / "simulation.ini").write_text(settings)
    assert run(NAME, *option)[0] == 1


def test_fractions(tmp_path: Path, run: Run) -> None:
    write(tmp_path, range(100), step_ns=SECOND // 10)
    assert run(NAME, "--interval", "0.1")[0] == 0
    assert wrong(run(NAME, "--interval", "0.2")[1]["total"]) == {"off_grid": 50}
    assert wrong(run(NAME, "--interval", "0.05")[1]["total"]) == {"missing": 99}


# Damage. Rows are those of 50 seconds; lines[0] is the header, so lines[1] is the row of second 0.


def change(line: str, column: int, new: Callable[[str], str]) -> str:
    columns = line.split(",")
    columns[column] = new(columns[column])
    return ",".join(columns)


def edit(number: int, column: int, new: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:number], change(lines[number], column, new), *lines[number + 1 :]]


def add(amount: str) -> Callable[[str], str]:
    return lambda text: f"{Decimal(text) + Decimal(amount):f}"


DAMAGE: dict[str, tuple[Callable[[list[str]], list[str]], dict[str, int]]] = {
    "a row is gone": (lambda it: it[:20] + it[21:], {"missing": 1}),
    "two gaps": (lambda it: it[:20] + it[23:30] + it[31:], {"missing": 4}),
    "a row twice": (lambda it: [*it[:20], it[19], *it[20:]], {"repeated": 1}),
    "a row again later": (lambda it: [*it[:20], it[3], *it[20:]], {"repeated": 1, "out_of_order": 1}),
    "all rows twice": (lambda it: [*it[:-1], *it[1:]], {"repeated": 50, "out_of_order": 1}),
    "two rows swapped": (lambda it: [*it[:20], it[21], it[20], *it[22:]], {"out_of_order": 1}),
    "a late row": (lambda it: [*it[:20], *it[21:40], it[20], *it[40:]], {"out_of_order": 1}),
    "wrong value": (edit(9, 2, add("0.5")), {"wrong_value": 1, "wrong_sum": 1}),
    "wrong value and sum": (
        lambda it: edit(9, 4, add("0.001"))(edit(9, 2, add("0.001"))(it)),
        {"wrong_value": 1},
    ),
    "wrong PV": (edit(9, 3, add("0.000001")), {"wrong_pv": 1, "wrong_sum": 1}),
    "wrong sum": (edit(9, 4, add("-0.001")), {"wrong_sum": 1}),
    "a float's sum": (edit(9, 4, add("0.00000000000005")), {"wrong_sum": 1}),
    "all sums wrong": (
        lambda it: [it[0], *(change(each, 4, lambda _: "-1.5") for each in it[1:-1]), ""],
        {"wrong_sum": 50},
    ),
    "a second row of an instant": (
        lambda it: [*it[:10], change(it[9], 2, add("1")), *it[10:]],
        {"conflicting": 1, "wrong_value": 1, "wrong_sum": 1},
    ),
    "another meter's row": (edit(9, 0, lambda _: "Meter_1"), {"wrong_meter": 1, "missing": 1}),
    "the next day's row": (
        lambda it: [*it[:-1], change(it[1], 1, lambda _: str(START_S + 86400)), ""],
        {"wrong_day": 1, "wrong_value": 1, "wrong_pv": 1},
    ),
    "a row between instants": (
        lambda it: [*it[:10], change(it[9], 1, lambda text: f"{text}.5"), *it[10:]],
        {"off_grid": 1, "wrong_value": 1, "wrong_pv": 1},
    ),
    "another time": (
        edit(9, 1, lambda _: str(START_S + 9)),
        {"missing": 1, "conflicting": 1, "wrong_value": 1, "wrong_pv": 1},
    ),
    "a trailing zero": (edit(9, 2, lambda text: f"{text}0"), {"malformed": 1, "missing": 1}),
    "an exponent": (edit(9, 3, lambda text: f"{text}e0"), {"malformed": 1, "missing": 1}),
    "a space": (edit(9, 1, lambda text: f" {text}"), {"malformed": 1, "missing": 1}),
    "a time in words": (edit(9, 1, lambda _: "noon"), {"malformed": 1, "missing": 1}),
    "a negative time": (edit(9, 1, lambda text: f"-{text}"), {"malformed": 1, "missing": 1}),
    "a value too much": (edit(9, 4, lambda text: f"{text},1"), {"malformed": 1, "missing": 1}),
    "a value too few": (lambda it: [*it[:9], it[9].rsplit(",", 1)[0], *it[10:]], {"malformed": 1, "missing": 1}),
    "an empty line": (lambda it: [*it[:9], "", *it[9:]], {"malformed": 1}),
    "the header again": (lambda it: [*it[:9], HEADER, *it[9:]], {"malformed": 1}),
    "two rows in one line": (lambda it: [*it[:9], it[9] + it[10], *it[11:]], {"malformed": 1, "missing": 2}),
    "a row in two lines": (lambda it: [*it[:9], it[9][:20], it[9][20:], *it[10:]], {"malformed": 2, "missing": 1}),
    "zeros in place of a row": (lambda it: [*it[:9], "\0" * 40, *it[10:]], {"malformed": 1, "missing": 1}),
    "not UTF-8": (edit(9, 0, lambda _: "\xff\xfe"), {"wrong_meter": 1, "missing": 1}),
    "carriage returns": (
        lambda it: [HEADER, *(f"{each}\r" for each in it[1:-1]), ""],
        {"malformed": 50},
    ),
    "torn": (lambda it: [*it[:-2], it[-2][:30]], {"torn": 1}),
    "no last newline": (lambda it: it[:-1], {"torn": 1}),
    "torn header": (lambda it: [it[0][:20]], {"torn": 1}),
    "an empty file": (lambda _: [], {"torn": 1}),
    "another header": (lambda it: ["time,value", *it[1:]], {"foreign_header": 1}),
    "no header": (lambda it: it[1:], {"foreign_header": 1}),
    "another file": (lambda _: ["\x89PNG\r", "\x1a"], {"foreign_header": 1}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage(tmp_path: Path, run: Run, name: str) -> None:
    """Each kind of damage is found, counted, shown, and ends in exit status 1."""
    write(tmp_path, range(50))
    damage, wanted = DAMAGE[name]
    path = tmp_path / NAME
    path.write_bytes("\n".join(damage(path.read_text().split("\n"))).encode("latin-1"))
    status, found = run(NAME)
    assert status == 1
    assert wrong(found["total"]) == wanted
    assert wrong(found["files"][0]) == wanted
    assert not found["ok"]
    status, shown = run(NAME, form="")
    assert status == 1
    assert "all is well" not in shown["text"]
    for kind, count in wanted.items():
        assert f"{count} {kind.replace('_', ' ')}" in shown["text"].splitlines()[0]


def test_what_is_said(tmp_path: Path, run: Run) -> None:
    """The first few problems with their lines, and where rows are missing."""
    write(tmp_path, range(400))
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    _, _, value, pv, _ = lines[5].split(",")
    lines[5] = "Meter_0,1763769604,1,0.5,501"
    lines[7:9] = [lines[8], "rubbish"]
    del lines[50:60], lines[200:300]
    path.write_text("\n".join(lines))
    status, found = run(NAME, form="")
    assert status == 1
    assert found["text"] == (
        f"{path}: 290 rows; 111 missing, 1 wrong value, 1 wrong pv, 1 malformed\n"
        f"  line 6: wrong value: 1.0 W instead of {value} W\n"
        f"  line 6: wrong pv: 0.5 kW instead of {pv} kW\n"
        "  line 9: malformed: 'rubbish' is no row\n"
        "  missing: 2025-11-22T00:00:06+00:00 to 2025-11-22T00:00:06+00:00 (1)\n"
        "  missing: 2025-11-22T00:00:49+00:00 to 2025-11-22T00:00:58+00:00 (10)\n"
        "  missing: 2025-11-22T00:03:29+00:00 to 2025-11-22T00:05:08+00:00 (100, perhaps a stop of the meter)\n"
        "Total: 290 rows; 111 missing, 1 wrong value, 1 wrong pv, 1 malformed\n"
        "Wrong values may be from before a change of seed, model or a key of it; if so, keep the simulation.ini of that"
        " time, and name it with --simulation-file.\n"
        "A gap of more than 90 s may be a time when the meter was told to stop; if so, say it with"
        " --stopped TIME..TIME or --progress FILE.\n"
    )


@examples(100)
@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """One byte changed, lost or added anywhere but at the ends is found, whatever it is."""
    instants = [(START_S + each) * SECOND for each in range(20)]
    zone = ZoneInfo("UTC")
    expected = Expected(
        "Meter_0",
        SECOND,
        load.model("random", 0, "Meter_0"),
        solar.model("random", 0, "Meter_0", peak_kw=Decimal(4)),
        zone,
    )
    good = "\n".join([HEADER, *expected.lines(instants, [""] * 20), ""])
    at = data.draw(st.integers(0, len(good) - 2))
    new = data.draw(st.one_of(st.just(""), st.characters(max_codepoint=255), st.just(good[at] + "0")))
    bad = good[:at] + new + good[at + 1 :]
    if bad == good:
        return
    report = check_day(expected, date(2025, 11, 22), [(NAME, bad)])
    (report,) = check_meter(expected, [report], instants[0], instants[-1] + 1)
    assert report.counts.total()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_content(content: bytes) -> None:
    """No content crashes it, with our values or with another meter's."""
    for power in (load.model("random", 0, "M"), None):
        expected = Expected("M", SECOND, power, solar.model("random", 0, "M", peak_kw=Decimal(4)), None)
        for text in (content.decode("latin-1"), f"{HEADER}\n{content.decode('latin-1')}"):
            report = check_day(expected, date(2025, 11, 22), [(NAME, text)])
            check_meter(expected, [report])


# What is expected.


def test_days_without_a_file_share_a_line(tmp_path: Path, run: Run) -> None:
    for day in (0, 3):
        write(tmp_path, range(day * 86_400, day * 86_400 + 5))
    status, found = run("Meter_0-2025-11-22.csv", "Meter_0-2025-11-25.csv", form="")
    assert status == 1
    line = "Meter_0-2025-11-23.csv to Meter_0-2025-11-24.csv (not given): 0 rows; 172800 missing"
    assert found["text"].splitlines()[2] == line
    assert found["text"].count("(not given)") == 1


def test_from_and_to(tmp_path: Path, run: Run) -> None:
    """They say what is expected, beyond the rows and beyond the days that there are files of."""
    write(tmp_path, range(100, 200))
    for since, until, missing in (
        (START_S + 100, START_S + 200, 0),
        (START_S + 120, START_S + 150, 0),
        (START_S + 90, START_S + 200, 10),
        (START_S + 100, START_S + 203, 3),
        ("2025-11-22T00:01:30", "2025-11-22T01:03:20+01:00", 10),
        (START_S - 10, START_S + 200, 110),
        ("2025-11-21", "2025-11-23", 2 * 86400 - 100),
        (f"{START_S + 99}.5", START_S + 200, 0),
    ):
        status, found = run(NAME, "--from", str(since), "--to", str(until))
        assert wrong(found["total"]) == ({"missing": missing} if missing else {})
        assert status == bool(missing)
    assert wrong(run(NAME, "--from", str(START_S + 98))[1]["total"]) == {"missing": 2}
    assert wrong(run(NAME, "--to", str(START_S + 201))[1]["total"]) == {"missing": 1}


def test_nothing_but_a_header(tmp_path: Path, run: Run) -> None:
    """A file without rows is all right unless rows were expected."""
    (tmp_path / NAME).write_text(f"{HEADER}\n")
    assert run(NAME)[0] == 0
    assert run(NAME, "--from", str(START_S), "--to", str(START_S + 1))[0] == 1


def test_days_of_another_time_zone(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written in another time zone: not damage alone is told, but the key that may be wrong."""
    write(tmp_path, range(-3600, 0), zone="Europe/Berlin")
    (tmp_path / "simulation.ini").write_text(SETTINGS.replace("timezone = UTC", "timezone ="))
    span = ("--from", "2025-11-21T23:00:00Z", "--to", "2025-11-22T00:00:00Z")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        status, found = run(NAME, *span, form="")
        json_status, counts = run(NAME, *span)
        mended, _ = run(NAME, *span, "--timezone", "Europe/Berlin")
    finally:
        monkeypatch.undo()
        time.tzset()
    hint = "; if the files were written in another one, name it with --timezone, or as timezone in simulation.ini.\n"
    assert f"\n3600 rows are of another day in the time zone of this machine{hint}" in found["text"]
    assert (status, json_status, counts["total"]["wrong_day"], mended) == (1, 1, 3600, 0)
    (tmp_path / "simulation.ini").write_text(SETTINGS)
    status, found = run(NAME, *span, form="")
    assert f"\n3600 rows are of another day in the time zone UTC{hint}" in found["text"]
    assert status == 1


def test_gap_beside_a_row_off_the_grid(tmp_path: Path, run: Run) -> None:
    """What is missing are instants of the grid."""
    write(tmp_path, range(50))
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:10], change(lines[9], 1, lambda text: f"{text}.5"), *lines[11:]]))
    (gap,) = run(NAME)[1]["files"][0]["gaps"]
    assert (gap["first"], gap["last"]) == ("2025-11-22T00:00:09+00:00",) * 2


def test_gap_over_midnight(tmp_path: Path, run: Run) -> None:
    """Is as long as it is, though each day has only a part of it."""
    for middle, may_be_stop in ((40, False), (60, True)):
        write(tmp_path, range(86400 - 100, 86400 - 30))
        write(tmp_path, range(86400 + middle, 86400 + 100))
        _, found = run(NAME, "Meter_0-2025-11-23.csv")
        assert [each["missing"] for each in found["files"]] == [30, middle]
        assert [gap["may_be_stop"] for each in found["files"] for gap in each["gaps"]] == [may_be_stop] * 2
        for path in tmp_path.glob("*.csv"):
            path.unlink()


def test_stopped(tmp_path: Path, run: Run) -> None:
    """No rows are expected while the meter was told to stop, as the user or its progress file says."""
    write(tmp_path, range(100))
    write(tmp_path, range(300, 400))
    write(tmp_path, range(402, 500))
    stopped, started = (START_S + 99) * SECOND + 5, (START_S + 299) * SECOND + 5
    track = progress.Track(stopped)
    track.stop(stopped)
    track.start(started)
    (tmp_path / "progress.json").write_text(progress.dump({"Meter_0": track, "Meter_1": progress.Track(0)}))
    track.stop((START_S + 499) * SECOND)
    (tmp_path / "stopped.json").write_text(progress.dump({"Meter_0": track}))
    for options, stopped_rows, missing in (
        ([], 0, 202),
        (["--stopped", "2025-11-22T00:01:40..2025-11-22T00:05:00"], 200, 2),
        (["--stopped", f"{START_S + 100}..{START_S + 200}"], 100, 102),
        (["--stopped", f"{START_S + 250}..{START_S + 310}"], 50, 152),
        (["--stopped", f"{START_S}..{START_S + 200}", "--stopped", f"{START_S + 150}..{START_S + 600}"], 202, 0),
        (["--progress", "progress.json"], 200, 2),
        (["--progress", "progress.json", "--to", str(START_S + 510)], 200, 12),
        (["--progress", "stopped.json", "--to", str(START_S + 510)], 210, 2),
    ):
        status, found = run(NAME, *options)
        assert (found["total"]["stopped"], found["total"]["missing"]) == (stopped_rows, missing)
        assert status == bool(missing)


def test_several_meters(tmp_path: Path, run: Run) -> None:
    """Each meter has rows from its own first to its own last; the total is of all."""
    write(tmp_path, range(50))
    write(tmp_path, range(100, 180), "Meter_1")
    status, found = run(NAME, "Meter_1-2025-11-22.csv")
    assert status == 0
    assert found["total"]["rows"] == 130
    assert [each["meter_id"] for each in found["files"]] == ["Meter_0", "Meter_1"]


def test_standby(tmp_path: Path, run: Run) -> None:
    """The files of a day from two PV services are one set; what stands in both is no repeat."""
    for name, seconds in (("a", range(60)), ("b", range(50, 100))):
        (tmp_path / name).mkdir()
        write(tmp_path / name, seconds)
    both = [f"a/{NAME}", f"b/{NAME}"]
    status, found = run(*both)
    assert status == 0
    assert (found["total"]["rows"], found["total"]["shared"]) == (110, 10)
    assert len(found["files"][0]["paths"]) == 2
    assert "110 rows, 10 shared; all is well" in run(*both, form="")[1]["text"]
    assert run(f"b/{NAME}", f"a/{NAME}")[0] == 0
    lines = (tmp_path / both[1]).read_text().split("\n")
    lines[1] = change(lines[1], 2, add("1"))
    del lines[30]
    (tmp_path / both[1]).write_text("\n".join([*lines[:5], lines[4], *lines[5:]]))
    status, found = run(*both)
    assert status == 1
    assert wrong(found["total"]) == {"missing": 1, "repeated": 1, "conflicting": 1, "wrong_value": 1, "wrong_sum": 1}
    assert found["total"]["shared"] == 9


def test_a_file_twice(tmp_path: Path, run: Run) -> None:
    """A file that is given twice is read once."""
    write(tmp_path, range(10))
    assert run(NAME, NAME)[1]["total"]["rows"] == 10


def test_no_values(tmp_path: Path, run: Run) -> None:
    """Another meter's values are not known, but all the rest is."""
    write(tmp_path, range(50))
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    lines[1:-1] = [change(change(each, 2, add("0.123456")), 4, add("0.123456")) for each in lines[1:-1]]
    path.write_text("\n".join(lines))
    assert wrong(run(NAME)[1]["total"]) == {"wrong_value": 50}
    assert run(NAME, "--no-values")[0] == 0
    for column, kinds in ((2, {"wrong_sum"}), (3, {"wrong_pv", "wrong_sum"}), (4, {"wrong_sum"})):
        path.write_text("\n".join([*lines[:9], change(lines[9], column, add("1")), *lines[10:]]))
        assert set(wrong(run(NAME, "--no-values")[1]["total"])) == kinds
    path.write_text("\n".join([*lines[:9], "rubbish", change(lines[9], 2, add("1")), *lines[9:]]))
    assert wrong(run(NAME, "--no-values")[1]["total"]) == {"malformed": 1, "conflicting": 1, "wrong_sum": 1}


def in_older_form(line: str) -> str:
    """A row as it was written before powers always had a decimal point."""
    cells = line.split(",")
    return ",".join([*cells[:2], *(each.removesuffix(".0") for each in cells[2:])])


def write_older(path: Path, every: int = 1) -> list[str]:
    """Rewrite a day file so that every so many rows are in the older form; return its lines."""
    lines = path.read_text().split("\n")
    lines = [in_older_form(line) if at % every == 0 else line for at, line in enumerate(lines)]
    path.write_text("\n".join(lines))
    return lines


WHOLE = "[meter]\nmodel = replay\nfile = profile.csv\n[pv]\nseed = 8\ntimezone = UTC\n"


@pytest.mark.parametrize("every", [1, 2, 3])
def test_older_form(tmp_path: Path, run: Run, every: int) -> None:
    """Rows whose whole powers have no decimal point are the same rows: clean, repeated, or shared by two files."""
    (tmp_path / "simulation.ini").write_text(WHOLE)
    times = range(START_S, START_S + 40)
    (tmp_path / "profile.csv").write_text("\n".join(["time,P", *(f"{at},{at % 3}" for at in times)]))
    settings = config.load_simulation(tmp_path / "simulation.ini", None)
    wanted = expect("Meter_0", settings.meter("Meter_0"), settings.pv("Meter_0"), ZoneInfo("UTC"))
    instants = [at * SECOND for at in times]
    path = tmp_path / NAME
    path.write_text("\n".join([HEADER, *wanted.lines(instants, [""] * 40), ""]))
    newer = path.read_text().split("\n")
    older = write_older(path, every)
    assert older != newer
    assert older[4 * every].split(",")[2].isdigit()
    assert run(NAME)[0] == 0
    assert run(NAME, "--no-values")[0] == 0
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / NAME).write_text("\n".join(newer))
    status, found = run(NAME, f"two/{NAME}")
    assert (status, found["total"]["shared"]) == (0, 40)
    path.write_text("\n".join([*older[:9], newer[8], in_older_form(newer[8]), *older[9:]]))
    assert wrong(run(NAME)[1]["total"]) == {"repeated": 2}
    cells = older[9].split(",")
    path.write_text("\n".join([*older[:9], ",".join([*cells[:2], "7", *cells[3:]]), *older[10:]]))
    assert wrong(run(NAME)[1]["total"]) == {"wrong_value": 1, "wrong_sum": 1}


# Faults on purpose.

ALL_FAULTS = """\
fault_dropout = 10% of 20
fault_stuck = 5% of 10
fault_spike_w = 20000 in 2% of 1
fault_offset_w = -100 in 5% of 60
fault_drift_percent = 3 in 10% of 60
fault_noise_w = 10 in 20% of 60
fault_clock_s = 400 in 20% of 60
fault_duplicate = 5% of 1
fault_late_s = 30 in 20% of 60
fault_shuffle = 5 in 20% of 60
fault_rubbish = 5% of 1
"""
FAULTY = range(START_S + 86_400 - 600, START_S + 86_400 + 600)  # around a midnight
BOTH = (NAME, "Meter_0-2025-11-23.csv")


def write_faulty(directory: Path, faults: str = ALL_FAULTS, model: str = "random", piece: int = 1) -> None:
    """simulation.ini, and the day files of what such a meter sends, `piece` instants to a commit."""
    path = directory / "simulation.ini"
    path.write_text(SETTINGS.replace("[pv]", f"model = {model}\n{faults}[pv]"))
    simulation = config.load_simulation(path, None)
    wanted = expect("Meter_0", simulation.meter("Meter_0"), simulation.pv("Meter_0"), ZoneInfo("UTC"))
    files = DayFiles(directory, ZoneInfo("UTC"))
    for start in FAULTY[::piece]:
        slots = range(start * SECOND, min(start + piece, FAULTY.stop) * SECOND, SECOND)
        assert wanted.faults
        readings = [each for each in wanted.faults.sequence(slots) if not isinstance(each, bytes)]
        times = [each.time_ns for each in readings]
        rows = [
            format_row(Reading("Meter_0", each.time_ns, Decimal(each.milliwatts) / 1000), pv)
            for each, pv in zip(readings, wanted.pv_power(times), strict=True)
        ]
        files.write("Meter_0", times, rows)
        assert files.commit() == {}
    files.close()


SPAN = ("--from", str(FAULTY.start), "--to", str(FAULTY.stop))


@pytest.mark.parametrize("piece", [1, 10])
@pytest.mark.parametrize("span", [SPAN, ()])
def test_what_is_so_on_purpose(tmp_path: Path, run: Run, piece: int, span: tuple[str, ...]) -> None:
    """All kinds of faults at once, over a midnight: nothing is wrong, and what is so on purpose is counted."""
    write_faulty(tmp_path, piece=piece)
    status, found = run(*BOTH, *span)
    total = found["total"]
    assert wrong(total) == {}
    assert status == 0
    assert total["rows"] + total["missing_on_purpose"] == len(FAULTY)
    assert all(total[f"{kind}_on_purpose"] > 10 for kind in ON_PURPOSE)
    assert len(found["files"]) == 2
    text = run(*BOTH, *span, form="")[1]["text"]
    assert f"{total['missing_on_purpose']} missing on purpose, {total['wrong_value_on_purpose']} wrong value on" in text


def test_older_form_with_faults(tmp_path: Path, run: Run) -> None:
    """The same where two readings may say one time, and the value tells which of them a row is of."""
    times = range(FAULTY.start - 100, FAULTY.stop + 100)
    (tmp_path / "profile.csv").write_text("\n".join(["time,P", *(f"{at},{at % 7}" for at in times)]))
    write_faulty(tmp_path, ALL_FAULTS.replace("400", "5"), "replay\nfile = profile.csv")
    total = run(*BOTH, *SPAN)[1]["total"]
    assert wrong(total) == {}
    assert sum(write_older(tmp_path / name) != [] for name in BOTH) == 2
    assert run(*BOTH, *SPAN)[1]["total"] == total


def test_each_row_counts(tmp_path: Path, run: Run) -> None:
    """Among faults on purpose, each single row that is lost, doubled or changed is found, and said as such."""
    write_faulty(tmp_path)
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    for at in range(2, len(lines) - 2, 97):
        path.write_text("\n".join([*lines[:at], *lines[at + 1 :]]))
        assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"missing": 1}
        path.write_text("\n".join([*lines[:at], change(lines[at], 2, add("1")), *lines[at + 1 :]]))
        assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"wrong_value": 1, "wrong_sum": 1}
        path.write_text("\n".join([*lines[:at], lines[at], *lines[at:]]))
        assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"repeated": 1}


def test_a_row_that_is_not_meant(tmp_path: Path, run: Run) -> None:
    """A reading where there is to be none, and one with the right time where the clock is to be wrong."""
    for faults in (
        f"fault_dropout = {FAULTY.start}..{FAULTY.start + 9}\n",
        f"fault_clock_s = 60 in {FAULTY.start}..{FAULTY.start + 9}\n",
    ):
        write_faulty(tmp_path, faults)
        path = tmp_path / NAME
        lines = path.read_text().split("\n")
        row = change(lines[1], 1, lambda _: str(FAULTY.start + 4))
        path.write_text("\n".join([lines[0], row, *lines[1:]]))
        assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"not_meant": 1}
        for each in BOTH:
            (tmp_path / each).unlink()


def test_out_of_order_by_accident(tmp_path: Path, run: Run) -> None:
    """Rows that no fault displaces stand in their order, also between those that one does."""
    write_faulty(tmp_path, "fault_late_s = 5 in 5 of 60\n")
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    assert run(*BOTH, *SPAN)[1]["total"]["out_of_order_on_purpose"] == 4 * 20
    for at in (30, 90):
        path.write_text("\n".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]))
        assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"out_of_order": 1}


def test_late_at_the_edges(tmp_path: Path, run: Run) -> None:
    """A late reading counts as of when it is sent: so there are older ones than the first instant, and not the last."""
    write_faulty(tmp_path, f"fault_late_s = 10 in {FAULTY.start - 100}..{FAULTY.stop}\n")
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    assert lines[1].startswith(f"Meter_0,{FAULTY.start - 10},")
    for span in (SPAN, ()):
        assert wrong(run(*BOTH, *span)[1]["total"]) == {}
    path.write_text("\n".join([*lines[:5], *lines[6:]]))
    for span in (SPAN, ()):
        assert wrong(run(*BOTH, *span)[1]["total"]) == {"missing": 1}


def test_rows_that_look_the_same(tmp_path: Path, run: Run) -> None:
    """Where a wrong clock makes two readings say the same, one row is what both have."""
    (tmp_path / "flat.csv").write_text(f"time,W\n{START_S},100\n{START_S + 7},100\n")
    write_faulty(tmp_path, "fault_clock_s = 60 in 60 of 600\n", model="replay\nfile = flat.csv")
    total = run(*BOTH, *SPAN)[1]["total"]
    assert wrong(total) == {}
    assert total["rows"] == len(FAULTY) - 2 * 60


def test_stopped_with_faults(tmp_path: Path, run: Run) -> None:
    """What would have been sent while the meter was stopped is not missing; what was dropped before is not stopped."""
    write_faulty(tmp_path, f"fault_late_s = 10 in {FAULTY.start}..{FAULTY.start + 100}\n")
    path = tmp_path / NAME
    lines = path.read_text().split("\n")
    path.write_text(
        "\n".join(line for line in lines if not f"Meter_0,{FAULTY.start + 50}" <= line < f"Meter_0,{FAULTY.start + 80}")
    )
    stop = f"{FAULTY.start + 60}..{FAULTY.start + 90}"
    assert wrong(run(*BOTH, *SPAN)[1]["total"]) == {"missing": 30}
    total = run(*BOTH, *SPAN, "--stopped", stop)[1]["total"]
    assert (total["stopped"], wrong(total)) == (30, {})


def test_no_values_of_another_meter(tmp_path: Path, run: Run) -> None:
    """A meter that is not ours has none of our faults."""
    write(tmp_path, range(50))
    path = tmp_path / "simulation.ini"
    path.write_text(SETTINGS.replace("[pv]", "fault_dropout = 10 of 60\n[pv]"))
    assert wrong(run(NAME)[1]["total"]) == {"not_meant": 10}
    assert run(NAME, "--no-values")[0] == 0


# What cannot be used.


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["Meter_0-2025-11-22.csv"], "Cannot read .*: No such file or directory"),
        (["notes.csv"], "is not the name of a day file"),
        ([".."], "is not the name of a day file"),
        (["x/Meter_0-2025-11-22.csv", "--progress", "x.json"], "Cannot read .*x.json"),
        (["x/Meter_0-2025-11-22.csv", "--progress", "bad.json"], "is no progress file"),
        (["x/Meter_0-2025-11-22.csv", "--from", "9", "--to", "9"], "--from is not before --to"),
        (["x/Meter_0-2025-11-22.csv", "--simulation-file", "/nowhere"], "/nowhere does not exist"),
        (["Meter_1-2025-11-22.csv"], "Cannot read .*: Is a directory"),
    ],
)
def test_bad_input(tmp_path: Path, run: Run, arguments: list[str], sentence: str) -> None:
    """What cannot be read is a sentence, and exit status 78; 2 where the command line itself cannot be used."""
    (tmp_path / "x").mkdir()
    write(tmp_path / "x", range(3))
    shutil.copytree(tmp_path / "x", tmp_path / "Meter_1-2025-11-22.csv")
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(ConfigError, match=sentence) as error:
        run(*arguments)
    assert error.value.exit_status == (2 if "before" in sentence else 78)


@pytest.mark.parametrize(
    "option",
    [
        ["--from", "noon"],
        ["--from", "1960-01-01"],
        ["--to", "NaN"],
        ["--to", "1e30"],
        ["--stopped", "9"],
        ["--stopped", "noon"],
        ["--seed", "x"],
        ["--interval", "0"],
        ["--peak-kw", "-1"],
        ["--timezone", "Europe/Atlantis"],
    ],
)
def test_bad_option(run: Run, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A value that makes no sense is argparse's message, status 2."""
    with pytest.raises(SystemExit) as error:
        run(NAME, *option)
    assert error.value.code == 2
    assert f"argument {option[0]}: {option[1]} is n" in capsys.readouterr().err.replace("'", "")


ZONES = "Europe/Berlin", "America/Havana", "America/Sao_Paulo", "Pacific/Apia", "Africa/Monrovia", "UTC"
CHANGES = "1970-01-01", "1970-01-02", "1972-01-07", "2011-12-30", "2017-10-15", "2020-11-01", "2026-03-29", "9999-12-31"


@pytest.mark.parametrize("zone", ZONES)
def test_when_it_is_a_day(zone: str) -> None:
    """As if each half minute was asked for its day, whatever the clocks do on it."""
    time_zone = ZoneInfo(zone)
    for day in map(date.fromisoformat, CHANGES):
        noon_s = (day - date(1970, 1, 1)).days * 86_400 + 43_200
        near = range(max(0, noon_s - 40 * 3600), min(noon_s + 40 * 3600, END_NS // SECOND_NS), 30)
        its = [each for each in near if local_day(each * SECOND_NS, time_zone) == day]
        found = day_spans(day, time_zone)
        assert [each for start, end in found for each in range(start // SECOND_NS, end // SECOND_NS, 30)] == its
