"""Rows are exact, each reading has one row in the file of its own day, and no file is touched that is not ours."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import disk
from pvsim.dayfile import DayFile, DayFiles, contents, file_name, local_day, parse_file_name
from pvsim.dayfile.name import half_minute_day
from pvsim.errors import DayFileError
from pvsim.instants import END_NS
from pvsim.reading import Reading, block
from pvsim.row import HEADER, Row, format_block, format_row, parse_row, reading_key, sum_w, with_points
from tests.examples import examples
from tests.unit.dayfiles import NAME, SECOND, START, spied_reads, timed_rows

DAY = date(2025, 11, 22)

# time in ns, the meter's W, PV milliwatts, the line: one table for both directions
ROWS = [
    (START, "1234.567", 1_234_567, "Meter_0,1763769600,1234.567,1.234567,2469.134"),
    (START, "0.1", 200, "Meter_0,1763769600,0.1,0.0002,0.3"),
    (START, "-0.5", 500, "Meter_0,1763769600,-0.5,0.0005,0.0"),
    (START, "9000", 4_000_000, "Meter_0,1763769600,9000.0,4.0,13000.0"),
    (START + SECOND // 4, "0", 0, "Meter_0,1763769600.25,0.0,0.0,0.0"),
    (START + 1, "5", -1, "Meter_0,1763769600.000000001,5.0,-0.000001,4.999"),
    (0, "1", 1, "Meter_0,0,1.0,0.000001,1.001"),
    (END_NS - 1, "1", 0, "Meter_0,253402300799.999999999,1.0,0.0,1.0"),
    (
        START,
        "1000000000000.000000000000000000000000000001",
        1,
        "Meter_0,1763769600,1000000000000.000000000000000000000000000001,0.000001,"
        "1000000000000.001000000000000000000000000001",
    ),
]
NO_ROWS = [
    "",
    "Meter_0,1763769600,1,1",
    "Meter_0,1763769600,1,1,1001,1",
    ",1763769600,1,1,1001",
    "Meter_0,1763769600,1.00,1,1001",
    "Meter_0,1763769600,1.,1,1001",
    "Meter_0,1763769600.0,1.0,1.0,1001.0",
    "Meter_0,1763769600,-0.0,1.0,1000.0",
    "Meter_0,1763769600,1.0,-0.0,1.0",
    "Meter_0,1763769600,0.0,1.0,-0.0",
    "Meter_0,1763769600,01,1,1001",
    "Meter_0,1763769600,-0,1,1000",
    "Meter_0,1763769600,0,1,-0",
    "Meter_0,1763769600,+1,1,1001",
    "Meter_0,1763769600,1e3,1,2000",
    "Meter_0,1763769600,nan,1,nan",
    "Meter_0,1763769600,,1,1000",
    "Meter_0,1763769600,1,1.0000001,1001.0001",
    "Meter_0,-1,1,1,1001",
    "Meter_0,1763769600.0000000001,1,1,1001",
    "Meter_0,253402300800,1,1,1001",
    "Meter_0, 1763769600,1,1,1001",
    "Meter_0,1_763_769_600,1,1,1001",
    "Meter_0,1763769600,1,1,1001\r",
    "Meter_0,1763769600,1,1,1001\n",
    f"Meter_0,{'9' * 5000},1,1,1001",
]


def readings(*seconds: float, value: str = "5") -> list[Reading]:
    return [Reading("Meter_0", START + int(each * SECOND), Decimal(value)) for each in seconds]


def rows(path: Path) -> list[str]:
    """The rows of a day file, which must be whole."""
    header, *lines, rest = path.read_text().split("\n")
    assert header == HEADER
    assert rest == ""
    return lines


def seconds(path: Path) -> list[float]:
    return [(parse_row(line).time_ns - START) / SECOND for line in rows(path)]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DayFiles]:
    made = DayFiles(tmp_path, UTC)
    yield made
    made.close()


def put(files: DayFiles, some: Sequence[Reading], meter_id: str = "Meter_0") -> int:
    """Write and commit, which must work; return how many rows were new."""
    count = files.write(meter_id, *timed_rows(some, [1000] * len(some)))
    assert files.commit() == {}
    return count


# Rows and names.


@pytest.mark.parametrize("time_ns, power_w, pv_milliwatts, line", ROWS)
def test_row(time_ns: int, power_w: str, pv_milliwatts: int, line: str) -> None:
    """A row is the shortest exact text, its sum is exact, and it reads back as what was written."""
    reading = Reading("Meter_0", time_ns, Decimal(power_w))
    assert format_row(reading, pv_milliwatts) == line
    assert parse_row(line) == Row(*reading, pv_milliwatts, Decimal(line.rsplit(",", 1)[1]))


@given(st.lists(st.tuples(*[st.integers(0, END_NS - 1), *[st.integers(-(10**15), 10**15)] * 2])))
def test_block_of_rows(readings: list[tuple[int, int, int]]) -> None:
    """A block has the rows that its readings have one by one."""
    one_by_one = [format_row(Reading("M", time, Decimal(power) / 1000), pv) for time, power, pv in readings]
    times, powers, pvs = ([each[column] for each in readings] for column in range(3))
    assert format_block("M", block(times, powers), pvs) == one_by_one


@pytest.mark.parametrize("line", NO_ROWS)
def test_no_row(line: str) -> None:
    """What `format_row` would not write is no row."""
    with pytest.raises(ValueError, match="is no row"):
        parse_row(line)


@given(
    st.integers(0, END_NS - 1),
    st.decimals(-(10**12), 10**12, places=6),
    st.integers(-(10**15), 10**15),
)
def test_any_row(time_ns: int, power_w: Decimal, pv_milliwatts: int) -> None:
    """Whatever a row holds, its columns add up exactly, as numbers of thousandths of a milliwatt."""
    row = parse_row(format_row(Reading("M.0-x", time_ns, power_w), pv_milliwatts))
    assert row[:4] == ("M.0-x", time_ns, power_w, pv_milliwatts)
    assert int(row.sum_w * 10**6) == int(power_w * 10**6) + pv_milliwatts * 1000
    assert row.sum_w == sum_w(power_w, pv_milliwatts)


@pytest.mark.parametrize("meter_id", ["Meter_0", "a", "a-b", "a.b-c", "a-2025-01-01", "0", "x" * 128])
def test_file_name(meter_id: str) -> None:
    """An id may look like a date, and holds dots and dashes."""
    assert parse_file_name(file_name(meter_id, DAY)) == (meter_id, DAY)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Meter_0.csv",
        "Meter_0-2025-13-01.csv",
        "-2025-11-22.csv",
        "a..b-2025-11-22.csv",
        "Meter_0-2025-11-22.csv.gz",
        "Meter_0-2025-11-2.csv",
        "../Meter_0-2025-11-22.csv",
    ],
)
def test_no_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a day file"):
        parse_file_name(name)


# Days.

BERLIN, KOLKATA, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")
ST_JOHNS, MONROVIA = ZoneInfo("America/St_Johns"), ZoneInfo("Africa/Monrovia")


@pytest.mark.parametrize(
    "instant_s, zone, day",
    [
        (1763769599, UTC, date(2025, 11, 21)),
        (1763769600, UTC, date(2025, 11, 22)),
        (1763765999, BERLIN, date(2025, 11, 21)),
        (1763766000, BERLIN, date(2025, 11, 22)),
        (1761429599, BERLIN, date(2025, 10, 25)),  # the day of 25 hours begins at 22:00Z
        (1761429600, BERLIN, date(2025, 10, 26)),
        (1761519599, BERLIN, date(2025, 10, 26)),  # and ends at 23:00Z of the next
        (1761519600, BERLIN, date(2025, 10, 27)),
        (1743289200, BERLIN, date(2025, 3, 30)),  # 23 hours
        (1743371999, BERLIN, date(2025, 3, 30)),
        (1743372000, BERLIN, date(2025, 3, 31)),
        (1763749799, KOLKATA, date(2025, 11, 21)),  # UTC+05:30
        (1763749800, KOLKATA, date(2025, 11, 22)),
        (1162089059, ST_JOHNS, date(2006, 10, 29)),  # a minute of the 29th ...
        (1162089060, ST_JOHNS, date(2006, 10, 28)),  # ... and then an hour of the 28th again
        (2669, MONROVIA, date(1969, 12, 31)),  # UTC-00:44:30
        (2670, MONROVIA, date(1970, 1, 1)),
        (0, UTC, date(1970, 1, 1)),
        (0, NEW_YORK, date(1969, 12, 31)),
        (253402300799, UTC, date(9999, 12, 31)),
        (253402300799, BERLIN, date(9999, 12, 31)),  # the year 10000 has no file names
        (253402300799, timezone(timedelta(hours=14)), date(9999, 12, 31)),
    ],
)
def test_local_day(instant_s: int, zone: tzinfo, day: date) -> None:
    """The day of a reading is its own, in its time zone, across DST, half hours and the ends of time."""
    assert local_day(instant_s * SECOND, zone) == day
    assert local_day(instant_s * SECOND + SECOND - 1, zone) == day


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "UTC"])
def test_local_day_of_the_system(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a time zone it is the system's."""
    instants = [*range(1761429600 - 3600, 1761429600 + 2 * 86400, 1800), END_NS // SECOND - 1]
    wanted = [local_day(each * SECOND, ZoneInfo(name)) for each in instants]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        half_minute_day.cache_clear()
        assert [local_day(each * SECOND, None) for each in instants] == wanted
    time.tzset()
    half_minute_day.cache_clear()


def test_midnight(tmp_path: Path) -> None:
    """A batch over midnight, DST or not, goes into the files of its days."""
    files = DayFiles(tmp_path, BERLIN)
    midnight = 1761519600 - START // SECOND  # the end of a day of 25 hours
    assert put(files, readings(*range(midnight - 3, midnight + 2))) == 5
    assert seconds(tmp_path / "Meter_0-2025-10-26.csv") == [midnight - 3, midnight - 2, midnight - 1]
    assert seconds(tmp_path / "Meter_0-2025-10-27.csv") == [midnight, midnight + 1]
    files.close()


@examples(100)
@given(
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from([1761519600, 1162089060, 1761491400, 8]),  # near a midnight, or where a day begins twice
    st.integers(-7200, 0),
    st.sampled_from([SECOND // 4, SECOND, 7 * SECOND, 30 * SECOND, 31 * SECOND, 900 * SECOND, 100_000 * SECOND]),
    st.integers(1, 300),
)
def test_parts_by_day(name: str, near_s: int, before_s: int, step_ns: int, count: int) -> None:
    """Instants on a grid, which are told apart many at a time, have the days that each has by itself."""
    zone, first_ns = ZoneInfo(name), max(0, near_s + before_s) * SECOND
    instants = range(first_ns, first_ns + count * step_ns, step_ns)
    wanted: dict[date, list[int]] = {}
    for each in instants:
        wanted.setdefault(datetime.fromtimestamp(each // SECOND, zone).date(), []).append(each)
    files = DayFiles(Path(), zone)
    for times_ns in instants, list(instants):
        parts = files.by_day(times_ns, list(map(str, times_ns)))
        assert {day: list(part[0]) for day, part in parts.items()} == wanted
        assert {day: list(part[1]) for day, part in parts.items()} == {
            day: list(map(str, some)) for day, some in wanted.items()
        }


# The file.


def test_many_rows_at_once(files: DayFiles, tmp_path: Path) -> None:
    """All of them, in order, and durable at one go."""
    times_ns = range(START, START + 4_500 * SECOND, SECOND)
    lines = format_block("Meter_0", block(times_ns, range(4_500)), range(4_500))
    assert files.write("Meter_0", times_ns, lines) == 4_500
    assert files.commit() == {}
    assert rows(tmp_path / NAME) == lines
    assert files.write("Meter_0", times_ns, lines) == 0


def test_new_file(files: DayFiles, tmp_path: Path) -> None:
    """A header, then the rows; members of the group may read it."""
    old_umask = os.umask(0)
    assert put(files, readings(0, 1)) == 2
    os.umask(old_umask)
    path = tmp_path / NAME
    assert path.read_text() == (
        "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w\n"
        "Meter_0,1763769600,5.0,0.001,6.0\n"
        "Meter_0,1763769601,5.0,0.001,6.0\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nothing_to_write(files: DayFiles, tmp_path: Path) -> None:
    assert put(files, []) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize(
    "first, then, wanted",
    [
        ([0, 1], [0, 1], [0, 1]),
        ([0, 1], [1, 2], [0, 1, 2]),
        ([0, 1, 2], [1], [0, 1, 2]),
        ([5, 3, 4], [3, 4, 5, 6], [3, 4, 5, 6]),
        ([5], [3], [5, 3]),
        ([0, 0, 1, 0], [2, 2], [0, 1, 2]),
        ([0.5, 0.25], [0.25, 0.125, 0.5], [0.25, 0.5, 0.125]),
        ([7, 8, 9, 1, 2], [9, 8, 3], [1, 2, 7, 8, 9, 3]),
    ],
)
def test_duplicates(tmp_path: Path, first: list[float], then: list[float], wanted: list[float], reopened: bool) -> None:
    """A reading that has its row gets no second one, in whatever order readings come; a batch is sorted."""
    files = DayFiles(tmp_path, UTC)
    put(files, readings(*first))
    if reopened:
        files.close()
    assert put(files, readings(*then)) == len(wanted) - len(set(first))
    assert seconds(tmp_path / NAME) == wanted
    files.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes asked for by each read of a day file, which are few here."""
    monkeypatch.setattr(contents, "_BLOCK", 256)
    monkeypatch.setattr(contents, "_FIRST_BLOCK", 64)
    monkeypatch.setattr(contents, "_NO_ROW", 128)
    return spied_reads(monkeypatch)


@pytest.mark.parametrize("order", [[*range(100)], [*range(50, 100), *range(50)]], ids=["in order", "shuffled"])
@pytest.mark.parametrize("reopened", [False, True])
def test_duplicates_far_back(
    tmp_path: Path, reads: list[int], order: list[int], reopened: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Look-ups find rows in any block, whether a file is in order or not."""
    files = DayFiles(tmp_path, UTC)
    for each in order:
        put(files, readings(each))
    if reopened:
        files.close()
    for again in (99, 50, 49, 0):
        assert put(files, readings(again)) == 0
    assert put(files, readings(*range(100))) == 0
    assert put(files, readings(99.5, 10.5, 98, 3)) == 2
    assert put(files, readings(99.5, 10.5, 98, 3)) == 0
    assert Counter(seconds(tmp_path / NAME)) == Counter([*range(100), 99.5, 10.5])
    assert max(reads) == 256
    assert not caplog.text
    files.close()


def test_cheap_look_ups(files: DayFiles, reads: list[int]) -> None:
    """A repeat of the last rows costs few small reads, and what comes late hardly more, however often that is so."""
    put(files, readings(*range(0, 2000, 2)))
    for late in (1998, 1995, 1995.5, 1997):
        reads.clear()
        assert put(files, readings(late)) == (late != 1998)
        assert len(reads) < (10 if late == 1998 else 18)  # whether its instant has another value is looked up, too
        assert sum(reads) < 1000
    reads.clear()
    assert put(files, readings(2000)) == 1
    assert reads == []
    assert put(files, readings(2000, 2002)) == 1
    assert len(reads) < 5


def test_one_row_out_of_order(tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up does not end early though all of the file is one block when it is opened."""
    monkeypatch.setattr(contents, "_BLOCK", 2**16)
    order = readings(0, 50, *range(1, 50))
    (tmp_path / NAME).write_text("\n".join([HEADER, *(format_row(each, 1000) for each in order), ""]))
    files = DayFiles(tmp_path, UTC)
    reads.clear()
    assert put(files, readings(50, 0, 1, 49)) == 0
    assert reads
    files.close()


def test_one_digit_more(tmp_path: Path) -> None:
    """On a day on which epoch seconds get another digit, the order of text is not that of time."""
    files = DayFiles(tmp_path, UTC)
    billion = 10**9 - START // SECOND
    put(files, readings(billion))
    assert put(files, readings(billion - 1, billion)) == 1
    assert put(files, readings(billion - 2, billion - 1, billion, billion + 1)) == 2
    assert seconds(tmp_path / "Meter_0-2001-09-09.csv") == [billion, billion - 1, billion - 2, billion + 1]
    files.close()


def test_other_pv_power(files: DayFiles, tmp_path: Path) -> None:
    """A reading is the same, whatever PV power goes with it now: its row stays as it is."""
    put(files, readings(0, 1))
    assert files.write("Meter_0", *timed_rows(readings(0, 1), [2000, 500])) == 0
    assert files.write("Meter_0", *timed_rows(readings(1), [2000])) == 0
    assert [line.split(",")[3] for line in rows(tmp_path / NAME)] == ["0.001", "0.001"]


def test_same_time_other_value(files: DayFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another value at the same instant is another reading; that there are two is said once."""
    put(files, readings(0, 1))
    assert put(files, readings(1, value="6")) == 1
    assert put(files, [*readings(1, value="6"), *readings(1, value="7"), *readings(1)]) == 1
    assert put(files, readings(1, value="6.000")) == 0
    assert [line.split(",")[2] for line in rows(tmp_path / NAME)] == ["5.0", "5.0", "6.0", "7.0"]
    assert caplog.text.count("one instant has two values") == caplog.text.count("the row Meter_0,1763769601,6.0,") == 1
    assert files.second_values["Meter_0"].startswith("Meter_0,1763769601,7.0,")


@examples(100)
@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["5", "5.5", "50"])), max_size=4), max_size=8))
def test_two_values_are_noticed(batches: list[list[tuple[int, str]]]) -> None:
    """In any order, in one message or after a restart: there is a word of it when an instant has two values."""
    with TemporaryDirectory() as directory:
        values: dict[int, set[str]] = {}
        for number, batch in enumerate(batches):
            with closing(DayFiles(Path(directory), ZoneInfo("UTC"))) as files:
                before = {second: len(values[second]) for second in values}
                for second, value in batch:
                    values.setdefault(second, set()).add(value)
                put(files, [reading for second, value in batch for reading in readings(second, value=value)])
                expected = [each for each in values if len(values[each]) > max(1, before.get(each, 0))]
                said = [int(row.split(",")[1]) - START // SECOND for row in files.second_values.values()]
                assert said == ([max(expected)] if expected else []), number


VALUES = ["5", "5.5", "50", "5.05", "-5", "0", "0.001", "500000"]


@examples(150)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(VALUES), st.booleans(), st.booleans()), min_size=1, max_size=60
    ),
    st.booleans(),
    st.booleans(),
)
def test_rows_in_the_older_form(pool: list[tuple[int, str, bool, bool]], is_sorted: bool, is_reopened: bool) -> None:
    """Over an upgrade, rows whose whole powers have no decimal point stand among those that have one, several of one
    instant too: each reading that has a row in either form gets no second one, each other one its own."""
    unique = {(at, value): (is_older, stands) for at, value, is_older, stands in pool}
    order = sorted(unique) if is_sorted else list(unique)
    lines = [
        in_older_form(format_row(readings(at / 2, value=value)[0], 1000)) if unique[at, value][0] else line
        for at, value in order
        if unique[at, value][1]
        for line in [format_row(readings(at / 2, value=value)[0], 1000)]
    ]
    lines = sorted(lines) if is_sorted else lines
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_BLOCK", 256)
        patch.setattr(contents, "_FIRST_BLOCK", 64)
        path = Path(name, NAME)
        path.write_text("\n".join([HEADER, *lines, ""]))
        made = DayFiles(Path(name), UTC)
        absent = [key for key in order if not unique[key][1]]
        for at, value in order[::3]:
            put(made, readings(at / 2, value=value))
            if is_reopened:
                made.close()
        put(made, [reading for at, value in order for reading in readings(at / 2, value=value)])
        made.close()
        found = rows(path)
        assert found[: len(lines)] == lines
        new = [format_row(readings(at / 2, value=value)[0], 1000) for at, value in absent]
        assert Counter(found[len(lines) :]) == Counter(new)


def in_older_form(line: str) -> str:
    """A row as it was written before powers always had a decimal point."""
    cells = line.split(",")
    return ",".join([*cells[:2], *(each.removesuffix(".0") for each in cells[2:])])


OLDER_ROWS = [
    ("Meter_0,1763769600,9000,4,13000", "Meter_0,1763769600,9000.0,4.0,13000.0"),
    ("Meter_0,1763769600.25,0,0,0", "Meter_0,1763769600.25,0.0,0.0,0.0"),
    ("Meter_0,1763769600,-0.5,0.0005,0", "Meter_0,1763769600,-0.5,0.0005,0.0"),
    ("Meter_0,1763769600,1.5,0.5,501.5", "Meter_0,1763769600,1.5,0.5,501.5"),
]


@pytest.mark.parametrize("older, newer", OLDER_ROWS)
def test_older_row(older: str, newer: str) -> None:
    """A row in the older form reads as the same row, and is of the same reading."""
    assert parse_row(older) == parse_row(newer)
    assert with_points(older) == with_points(newer) == newer
    assert reading_key(older) == reading_key(newer)
    assert newer.startswith(reading_key(newer))


@pytest.mark.parametrize("line", [each for each in NO_ROWS if ",253402300800," not in each])
def test_no_row_stays_as_it_is(line: str) -> None:
    """What is no row gets no decimal points."""
    assert with_points(line) == line


def test_torn_line(files: DayFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a row is cut off and logged; its reading comes again."""
    put(files, readings(0, 1, 2))
    files.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with caplog.at_level(logging.WARNING):
        assert put(files, readings(0, 1, 2)) == 1
    assert path.read_bytes() == whole
    assert "cut off a torn last line of 24 bytes, 'Meter_0,1763769602,5.0,0'" in caplog.text


def test_torn_megabytes(files: DayFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However long a line is, neither the log nor the memory grows with it."""
    put(files, readings(0))
    files.close()
    path = tmp_path / NAME
    with path.open("ab") as file:
        file.write(b"x" * 3_000_000 + b"\n" + b"\0" * 3_000_000)
    tracemalloc.start()
    with caplog.at_level(logging.WARNING):
        assert put(files, readings(0, 1)) == 1
    assert put(files, readings(0)) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert path.read_bytes().endswith(b"x\nMeter_0,1763769601,5.0,0.001,6.0\n")
    assert len(caplog.text) < 2000
    assert "these lines are no rows, and stay as they are: 3" in caplog.text


@pytest.mark.parametrize("length", [0, 1, len(HEADER) - 1, len(HEADER)])
def test_torn_header(files: DayFiles, tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture) -> None:
    """A crash right after the file was created."""
    (tmp_path / NAME).write_text(HEADER[:length])
    with caplog.at_level(logging.WARNING):
        assert put(files, readings(0)) == 1
    assert (f"half a header, {HEADER[:length]!r}" in caplog.text) == bool(length)
    assert seconds(tmp_path / NAME) == [0]


def test_lines_that_are_no_rows(files: DayFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They stay as they are, and are no readings."""
    path = tmp_path / NAME
    left = (
        f"{HEADER}\nMeter_0,1763769600,5.0,0.001,6.0\nrubbish\nMeter_0,1763769603,5,0.001\n\nMeter_0,1763769605,5,,\n"
        "Meter_0,1763769607,5.0,0.001,6.0\n"
    )
    path.write_text(left)
    with caplog.at_level(logging.WARNING):
        assert put(files, readings(0, 3, 5, 7)) == 2
    assert path.read_text() == f"{left}Meter_0,1763769603,5.0,0.001,6.0\nMeter_0,1763769605,5.0,0.001,6.0\n"
    assert caplog.text.count("WARNING") == 1
    assert f"{path}: these lines are no rows, and stay as they are: 3, 4, 5, 6\n" in caplog.text


@pytest.mark.parametrize(
    "lines, numbers",
    [
        (["Meter_1,1763769600,5.0,0.001,6.0", "Meter_1,1763769601,5.0,0.001,6.0"], "2, 3"),
        (["Meter_0,1763769600,5.0,0.001,6.0", "Meter_0,1763769601,5,0.001", "Meter_0,1763769602,5.0,0.001,6.0"], "3"),
        (["Meter_0,1763769600,5.0,0.001,6.0", "x,,,,", "Meter_0,1763769602,5.0,0.001,6.0"], "3"),
        (
            [
                "Meter_0,1763769600,5.0,0.001,6.0",
                "Meter_00,1763769601,5.0,0.001,6.0",
                "Meter_0,1763769602,5.0,0.001,6.0",
            ],
            "3",
        ),
        (["x"] * 100, "2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
    ],
)
def test_which_lines_are_no_rows(
    files: DayFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: list[str], numbers: str
) -> None:
    """The log says where the first of them are."""
    path = tmp_path / NAME
    path.write_text("\n".join([HEADER, *lines, ""]))
    with caplog.at_level(logging.WARNING):
        assert put(files, readings(3)) == 1
    assert f"{path}: these lines are no rows, and stay as they are: {numbers}\n" in caplog.text


@pytest.mark.parametrize(
    "content",
    [b"time,value\n1,2\n", b"\n", HEADER.encode() + b"\r\n", b"x", HEADER.encode() + b",more\n", b"\xff" * 99],
)
def test_foreign_file(files: DayFiles, tmp_path: Path, content: bytes) -> None:
    """A file with another header is left alone; the error says so, and others go on."""
    path = tmp_path / NAME
    path.write_bytes(content)
    assert files.write("Meter_0", *timed_rows(readings(0), [0])) == 0
    assert files.write("Meter_1", *timed_rows([Reading("Meter_1", START, Decimal(1))], [0])) == 1
    failed = files.commit()
    assert list(failed) == ["Meter_0"]
    assert str(failed["Meter_0"]).startswith(f"{path} is left as it is: its first line is not meter_id,time_s,")
    assert path.read_bytes() == content
    path.unlink()
    assert put(files, readings(0)) == 1


def test_moved_while_opening(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is moved away between opening and locking is not the one to write."""
    path = tmp_path / NAME
    flock = fcntl.flock

    def move(fd: int, how: int) -> None:
        if not (tmp_path / "old").exists():
            path.rename(tmp_path / "old")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", move)
    assert put(files, readings(0)) == 1
    assert seconds(path) == [0]


def test_locked_file(files: DayFiles, tmp_path: Path) -> None:
    """A file that somebody else writes is left alone until they are done."""
    put(files, readings(0))
    other = DayFiles(tmp_path, UTC)
    assert other.write("Meter_0", *timed_rows(readings(1), [0])) == 0
    assert str(other.commit()["Meter_0"]).startswith(f"{tmp_path / NAME} is locked: another process writes it")
    files.close()
    assert put(other, readings(1)) == 1
    other.close()
    with (tmp_path / NAME).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "directory", "fifo"])
def test_no_regular_file(files: DayFiles, tmp_path: Path, kind: str) -> None:
    """Nothing is followed, read or blocked on that is not a plain file."""
    path, target = tmp_path / NAME, tmp_path / "target"
    if kind == "symlink":
        target.write_text("precious")
    if "symlink" in kind:
        path.symlink_to(target)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert files.write("Meter_0", *timed_rows(readings(0), [0])) == 0
    error = str(files.commit()["Meter_0"])
    assert str(path) in error
    assert {"fifo": "is not a regular file", "directory": "move that directory away"}.get(
        kind, "symbolic link"
    ) in error
    assert not target.exists() or target.read_text() == "precious"


def test_no_directory(tmp_path: Path) -> None:
    """A missing directory is a sentence, and no more than that once it is there."""
    files = DayFiles(tmp_path / "absent", UTC)
    files.write("Meter_0", *timed_rows(readings(0), [0]))
    assert "create the directory" in str(files.commit()["Meter_0"])
    (tmp_path / "absent").mkdir()
    assert put(files, readings(0)) == 1
    files.close()


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced", "cut", "extended"])
def test_changed_under_us(files: DayFiles, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Rows go into the file that has the name, not into one that was taken away; what others add is seen.

    That a file was taken away, or cut, is said, once.
    """
    put(files, readings(0, 1))
    path = tmp_path / NAME
    if what == "deleted":
        path.unlink()
    elif what == "moved":
        path.rename(tmp_path / "old")
    elif what == "replaced":
        (tmp_path / "other").write_text(f"{HEADER}\nMeter_0,1763769601,5.0,0.001,6.0\n")
        (tmp_path / "other").rename(path)
    elif what == "cut":
        path.write_text("")
    else:
        with path.open("a") as file:
            file.write("Meter_0,1763769602,5.0,0.001,6.0\nMeter_0,17637")
    put(files, readings(1, 2))
    assert seconds(path) == ([0, 1, 2] if what == "extended" else [1, 2])
    assert put(files, readings(1, 2)) == 0
    gone = f"{path} was removed or replaced while it was written; rows go on in the file of that name."
    cut = f"{path} was cut short while it was written, and rows with it; rows go on at its end."
    said = [record.getMessage() for record in caplog.records if "while it was written" in record.getMessage()]
    assert said == {"extended": [], "cut": [cut]}.get(what, [gone])


def test_out_of_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whether a file was removed that cannot be reached: that is not said, and it goes on later."""
    directory = tmp_path / "output"
    directory.mkdir()
    files = DayFiles(directory, UTC)
    put(files, readings(0))
    directory.rename(tmp_path / "away")
    directory.symlink_to(directory)
    files.write("Meter_0", *timed_rows(readings(1), [0]))
    assert f"Cannot open {directory / NAME}: Too many levels" in str(files.commit()["Meter_0"])
    directory.unlink()
    (tmp_path / "away").rename(directory)
    assert put(files, readings(1)) == 1
    files.close()
    assert seconds(directory / NAME) == [0, 1]
    assert not caplog.text


def spy_on_fsync(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced, those of files with their size."""
    synced: list[str] = []
    fsync = os.fsync

    def spy(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}")
        synced.append(path.readlink().name + ("" if path.is_dir() else f" {path.stat().st_size}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", spy)
    return synced


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more files than `capacity` are open; one that is closed for another is synced before."""
    synced = spy_on_fsync(monkeypatch)
    files = DayFiles(tmp_path, UTC, capacity=2)
    before = open_files()
    for again in range(2):
        for day in range(5):
            files.write("Meter_0", *timed_rows(readings(day * 86400, day * 86400 + again), [0, 0]))
    assert open_files() - before in (2, 2 + 1)  # and the directory, where one sync serves all files in it
    assert files.commit() == {}
    assert {f"{path.name} {path.stat().st_size}" for path in tmp_path.iterdir()} <= set(synced)
    assert [len(rows(path)) for path in sorted(tmp_path.iterdir())] == [2] * 5
    files.close()
    assert open_files() == before


def test_what_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file and its directory, once; then the file alone; and before duplicates count, what a file holds."""
    synced = spy_on_fsync(monkeypatch)
    files = DayFiles(tmp_path, UTC)
    sizes = [len(f"{HEADER}\n") + rows * len("Meter_0,1763769600,5.0,0.001,6.0\n") for rows in (2, 3)]
    for some, wanted in (
        ([0, 1], [f"{NAME} {sizes[0]}", tmp_path.name]),
        ([2], [f"{NAME} {sizes[1]}"]),
        ([2], []),
    ):
        files.write("Meter_0", *timed_rows(readings(*some), [1000] * len(some)))
        assert synced == []
        files.commit()
        assert synced == wanted
        synced.clear()
    files.close()
    assert put(files, readings(2)) == 0
    assert synced == [f"{NAME} {sizes[1]}", tmp_path.name]
    files.close()


@pytest.mark.parametrize("works", [True, False])
def test_many_files_are_synced_at_once(works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One syncfs, where the file system is known to do it right, and does; else each file, as ever."""
    synced = spy_on_fsync(monkeypatch)
    whole: list[int] = []
    sync = disk.FileSystem.sync

    def spy(system: disk.FileSystem, some: Sequence[int]) -> bool:
        whole.append(len(some))
        return works and sync(system, some)

    monkeypatch.setattr(disk.FileSystem, "sync", spy)
    files = DayFiles(tmp_path, UTC)
    ids = [f"M_{number}" for number in range(20)]
    for meter_id in ids:
        files.write(meter_id, *timed_rows([Reading(meter_id, START, Decimal(1))], [0]))
    assert synced == []
    assert files.commit() == {}
    is_known = disk.is_local(tmp_path.stat().st_dev)
    each = [] if works and is_known else [f"{path.name} {path.stat().st_size}" for path in sorted(tmp_path.iterdir())]
    assert sorted(synced) == sorted([*each, tmp_path.name])
    assert whole == [20]
    files.close()


def test_a_cut_back_file_is_not_synced(files: DayFiles) -> None:
    """What one file could not write is not taken for durable when all the others are."""
    put(files, readings(0))
    (file,) = files._files.values()
    with pytest.raises(DayFileError):
        file._fail(OSError(28, "full"))
    size = file._durable_size
    file._size += 5
    file.set_synced()
    assert file._durable_size == size


def test_far_look_up(files: DayFiles, reads: list[int]) -> None:
    """In a file in order, what stands far back is found with few small reads, however long the file is."""
    put(files, readings(*range(2000)))
    reads.clear()
    assert put(files, readings(10, 11, 12)) == 0
    assert put(files, readings(0)) == 0
    assert len(reads) < 40


# Anything.


@examples(100)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([line.encode() for *_, line in ROWS]),
                st.sampled_from([line.encode() for line in NO_ROWS]),
                st.just(b"\n"),
            ),
            max_size=12,
        ).map(lambda parts: HEADER.encode() + b"\n" + b"\n".join(parts)),
    )
)
def test_any_content(content: bytes) -> None:
    """Whatever a file holds: it is refused and left alone, or the rows appended to it are whole."""
    with TemporaryDirectory() as name:
        path = Path(name, NAME)
        path.write_bytes(content)
        try:
            file = DayFile(Path(name), "Meter_0", DAY)
        except DayFileError:
            assert path.read_bytes() == content
            return
        new = readings(0, 1.5, 3)
        count = file.append(*timed_rows(new, [1000] * 3))
        file.sync()
        file.close()
        after = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1] or f"{HEADER}\n".encode()
        assert after.startswith(whole)
        assert after[len(whole) :].count(b"\n") == count
        lines = after.decode("latin-1").split("\n")
        for reading in new:
            key = format_row(reading, 1000).rsplit(",", 2)[0]
            assert any(line.rsplit(",", 2)[0] == key for line in lines)


STEPS = st.tuples(
    st.sampled_from(["write", "write", "commit", "reopen", "tear"]), st.lists(st.integers(0, 9), min_size=1, max_size=8)
)


@examples(70)
@given(
    st.sampled_from([START + 86398 * SECOND, 999_999_998 * SECOND, 8 * SECOND]),
    st.lists(STEPS, max_size=12),
    st.randoms(),
)
def test_any_history(first_ns: int, steps: list[tuple[str, list[int]]], chance: Random) -> None:
    """Readings in any order, repeated, at midnight or where epoch seconds get a digit more, two of one instant;
    restarts, and crashes that leave any part of what was not committed: no row that was committed is lost, and
    once all readings have come again, each has one row."""
    pool = [Reading("Meter_0", first_ns + each * SECOND // 2, Decimal(5)) for each in range(8)]
    pool += [pool[2]._replace(power_w=Decimal(50)), pool[5]._replace(power_w=Decimal(-4))]
    with TemporaryDirectory() as name:
        directory = Path(name)
        files = DayFiles(directory, UTC)
        pending: set[Reading] = set()
        safe: set[Reading] = set()
        sizes: dict[Path, int] = {}
        for step, numbers in steps:
            if step == "write":
                files.write("Meter_0", *timed_rows([pool[each] for each in numbers], [1000] * len(numbers)))
                pending |= {pool[each] for each in numbers}
            elif step == "commit":
                assert files.commit() == {}
                safe |= pending
                sizes = {path: path.stat().st_size for path in directory.iterdir()}
            else:
                files.close()
                pending.clear()
                if step == "tear":
                    for path in directory.iterdir():
                        low, high = sizes.get(path, 0), path.stat().st_size
                        os.truncate(path, low + int((high - low) * chance.random()))
                files = DayFiles(directory, UTC)
            if step != "write":
                content = "".join(path.read_text() for path in directory.iterdir())
                assert all(f"{format_row(reading, 1000)}\n" in content for reading in safe)
        put(files, pool)
        files.close()
        found = [line for path in directory.iterdir() for line in rows(path)]
        assert Counter(found) == Counter(format_row(reading, 1000) for reading in pool)
