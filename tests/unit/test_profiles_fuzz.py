"""Real formats with one thing broken: whatever is accepted replays to what the writer of the file meant."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from pvsim.profiles import BadProfile, Wishes, read
from tests.examples import examples

SECOND = 10**9
BERLIN = ZoneInfo("Europe/Berlin")


class Dialect(NamedTuple):
    """How a program writes: between cells, in front of decimals, of thousands, and times; and the keys that say it."""

    delimiter: str
    mark: str
    thousands: str
    time_format: str
    keys: dict[str, str]
    unit: str = "W"
    preamble: str = ""
    is_quoted: bool = False
    places: int | None = None


ISO = "%Y-%m-%dT%H:%M:%SZ"
DIALECTS = [
    Dialect(",", ".", "", ISO, {}),
    Dialect(",", ".", "", "%Y-%m-%d %H:%M:%S", {}, preamble="Logger,X1\nDate,2026-06-21\n\n"),
    Dialect(",", ".", "", "epoch", {}),
    Dialect(",", ".", "", "epoch ms", {}, places=3),
    Dialect(",", ".", "", "%Y%m%d:%H%M", {}, preamble="Latitude (decimal degrees): 45.000\nSlope: 30 deg.\n"),
    Dialect(",", ",", "", ISO, {}, is_quoted=True),
    Dialect(",", ".", ",", ISO, {}, is_quoted=True),
    Dialect(";", ",", "", ISO, {}),
    Dialect(";", ",", ".", "%d.%m.%Y %H:%M", {"time_format": "%d.%m.%Y %H:%M"}, preamble="sep=;\n"),
    Dialect(";", ",", ".", "local", {"time_format": "%d.%m.%Y %H:%M", "file_timezone": "Europe/Berlin"}),
    Dialect("\t", ",", "", "%Y-%m-%d %H:%M", {}, unit="kW"),
    Dialect("\t", ".", "", "%Y%m%dT%H%M%SZ", {}, unit="MW"),
    Dialect(";", ",", ".", ISO, {}, places=3),
    Dialect(";", ".", " ", "%Y/%m/%d %H:%M", {}, places=2),
]
FACTORS = {"W": 1000, "kW": 10**6, "MW": 10**9}


def time_text(dialect: Dialect, at_s: int) -> str:
    """A time as the dialect writes it."""
    if dialect.time_format.startswith("epoch"):
        return str(at_s * (1000 if dialect.time_format.endswith("ms") else 1))
    zone = BERLIN if dialect.time_format == "local" else UTC
    return datetime.fromtimestamp(at_s, zone).strftime(dialect.keys.get("time_format") or dialect.time_format)


def number_text(dialect: Dialect, milliwatts: int) -> str:
    """A number as the dialect writes it."""
    value = Decimal(milliwatts) / FACTORS[dialect.unit]
    text = f"{value:,.{dialect.places}f}" if dialect.places is not None else f"{value:,f}"
    return text.replace(",", "t").replace(".", dialect.mark).replace("t", dialect.thousands)


@st.composite
def files(draw: st.DrawFn) -> tuple[Dialect, list[int], list[int], list[str]]:
    """A dialect, instants in s, powers in mW, and the lines of the file."""
    dialect = draw(st.sampled_from(DIALECTS))
    step = draw(st.sampled_from([900, 1800, 3600]))
    start = draw(st.sampled_from([1_782_036_000, 1_792_886_400, 1_774_742_400, 1_767_222_000])) // step * step
    least = {"W": 1, "kW": 1000, "MW": 10**6}[dialect.unit] if dialect.places is None else FACTORS[dialect.unit]
    powers = draw(
        st.lists(
            st.one_of(
                st.integers(-2000, 5_000_000),
                st.integers(0, 4000).map(lambda each: each * 1000),
                st.sampled_from([0, 1_000_000, 1_234_000, 999_000, 500]),
            ),
            min_size=3,
            max_size=9,
        )
    )
    powers = [each // least * least for each in powers]
    powers = [0 if each in (-999_000, -9_999_000) else each for each in powers]
    instants = [start + at * step for at in range(len(powers))]
    rows = [[time_text(dialect, at), number_text(dialect, power)] for at, power in zip(instants, powers, strict=True)]
    name = "P" if dialect.unit == "W" else f"P [{dialect.unit}]"
    rows.insert(0, ["time", name])
    quote = '"' if dialect.is_quoted else ""
    lines = [dialect.delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows]
    return dialect, instants, powers, [*dialect.preamble.split("\n")[:-1], *lines]


def meaning(dialect: Dialect, text: str) -> dict[int, int] | None:
    """The powers by instant that the file replays to; None if it is refused."""
    try:
        profile = read([text], Wishes(**dialect.keys))  # type: ignore[arg-type]
    except BadProfile:
        return None
    return {at // SECOND: power for at, power in zip(profile.times, profile.milliwatts, strict=True)}


@examples(100)
@given(files())
def test_as_it_was_written(file: tuple[Dialect, list[int], list[int], list[str]]) -> None:
    """An unbroken file is what was written, or refused since its numbers can be read in two ways."""
    dialect, instants, powers, lines = file
    found = meaning(dialect, "\n".join(lines))
    assert found is None or found == dict(zip(instants, powers, strict=True))


# Zones, and the UTC days on which their clocks change in 2026.
CHANGES = [
    ("Europe/London", "2026-03-29"), ("Europe/London", "2026-10-25"), ("Europe/Paris", "2026-03-29"),
    ("Europe/Madrid", "2026-10-25"), ("Europe/Athens", "2026-03-29"), ("Europe/Athens", "2026-10-25"),
    ("America/Denver", "2026-03-08"), ("America/Los_Angeles", "2026-11-01"), ("Australia/Melbourne", "2026-04-04"),
    ("Australia/Adelaide", "2026-10-03"), ("Pacific/Auckland", "2026-04-04"), ("Pacific/Auckland", "2026-09-26"),
]  # fmt: skip


@examples(100)
@given(
    st.sampled_from(CHANGES),
    st.integers(1, 40),
    st.integers(36, 80),
    st.sampled_from([300, 900, 1800, 3600]),
    st.sampled_from(["first", "last", "none", "both"]),
)
def test_local_times_are_never_taken_as_utc(
    change: tuple[str, str], before_h: int, after_h: int, step_s: int, kept: str
) -> None:
    """Where they go through a change of their clock, whatever somebody has done to the hour that comes twice."""
    zone, day = ZoneInfo(change[0]), int(datetime.fromisoformat(f"{change[1]}T00:00Z").timestamp())
    instants = range(day - before_h * 3600, day + after_h * 3600, step_s)
    rows = [(datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M"), each) for each, at in enumerate(instants)]
    times, naive = Counter(wall for wall, _ in rows), Dialect(",", ".", "", "", {})
    if kept == "both":
        named = naive._replace(keys={"file_timezone": change[0]})
        assert meaning(named, csv(rows)) == {at: 1000 * each for each, at in enumerate(instants)}
    elif kept == "none":
        rows = [row for row in rows if times[row[0]] == 1]
    else:
        rows = sorted(dict(rows if kept == "last" else reversed(rows)).items())
    assert meaning(naive, csv(rows)) is None


def csv(rows: list[tuple[str, int]]) -> str:
    """A file of these."""
    return "".join(f"{time},{value}\n" for time, value in [("time", "P"), *rows])


BREAKS = [
    "empty line", "bare delimiters", "comment", "note", "header again", "cell more", "cell less", "point for comma",
    "comma for point", "other delimiter", "quotes", "row twice", "swap", "total", "torn", "letter", "missing",
    "other time", "thousands", "space", "trailing", "unit", "sign", "units row", "day alone", "half time",
]  # fmt: skip


def broken(dialect: Dialect, lines: list[str], how: str, at: int, letter: str) -> list[str]:
    """The lines with one thing changed in or before line `at`."""
    line, rest = lines[at], lines[at + 1 :]
    other = next(each for each in (";", ",", "\t") if each != dialect.delimiter)
    time, _, value = line.rpartition(dialect.delimiter)
    day = datetime.fromtimestamp(1_782_000_000, UTC).strftime("%Y-%m-%d")
    changed = {
        "empty line": ["", line],
        "bare delimiters": [dialect.delimiter, line],
        "comment": ["# restarted", line],
        "note": ["restarted", line],
        "header again": [lines[len(dialect.preamble.split("\n")) - 1], line],
        "cell more": [f"{line}{dialect.delimiter}5"],
        "cell less": [time],
        "point for comma": [line.replace(",", ".")],
        "comma for point": [line.replace(".", ",")],
        "other delimiter": [line.replace(dialect.delimiter, other)],
        "quotes": [f'{time}{dialect.delimiter}"{value}"'],
        "row twice": [line, line],
        "swap": [rest[0], line] if rest else [line],
        "total": [line, f"Total{dialect.delimiter}{value}"],
        "torn": [line[: len(line) // 2]],
        "letter": [line[: len(line) // 3] + letter + line[len(line) // 3 :]],
        "missing": [f"{time}{dialect.delimiter}{'NaN'}"],
        "other time": [f"{day} 23:59:59{dialect.delimiter}{value}"],
        "thousands": [f"{time}{dialect.delimiter}1.234"],
        "space": [f"  {time} {dialect.delimiter}  {value} "],
        "trailing": [f"{line}{dialect.delimiter}"],
        "unit": [f"{line} W"],
        "sign": [f"{time}{dialect.delimiter}+{value}"],
        "units row": [f"[UTC]{dialect.delimiter}[{dialect.unit}]", line],
        "day alone": [f"{time[:10]}{dialect.delimiter}{value}"],
        "half time": [f"{time[: len(time) // 2]}{dialect.delimiter}{value}"],
    }[how]
    return [*lines[:at], *changed, *(rest[1:] if how == "swap" else rest)]


def is_another_dialect(dialect: Dialect, powers: list[int], how: str) -> bool:
    """Whether the changed line makes the file one that another program writes: 1.000 beside -0.001, say, is one W."""
    is_grouped = bool(dialect.thousands) and any(dialect.thousands in number_text(dialect, each) for each in powers)
    return is_grouped and how in ("comma for point", "point for comma")


@examples(250)
@given(
    files(),
    st.sampled_from(BREAKS),
    st.integers(0, 8),
    st.sampled_from("abcxyzTZ:;,.-+#\"' %_e"),
)
def test_one_thing_broken(
    file: tuple[Dialect, list[int], list[int], list[str]], how: str, where: int, letter: str
) -> None:
    """Each instant that is accepted has the power that was written for it, and no other; and none is left out."""
    dialect, instants, powers, lines = file
    at = len(lines) - len(powers) + where % len(powers)
    written = [line.split(dialect.delimiter)[0] for line in lines]
    if how == "swap" and written[at] in written[at + 1 : at + 2]:
        return  # an hour that comes twice: nobody can know
    if is_another_dialect(dialect, powers, how):
        return
    found = meaning(dialect, "\n".join([*broken(dialect, lines, how, at, letter), ""]))
    if found is None:
        return
    meant = dict(zip(instants, powers, strict=True))
    if how in ("thousands", "other time", "day alone", "half time", "letter", "torn", "sign", "point for comma",
               "comma for point"):  # fmt: skip
        index = where % len(powers)
        del meant[instants[index]]
        line = broken(dialect, lines, how, at, letter)[at]
        assert {each: found.get(each) for each in meant} == meant, line
        return
    assert found == meant, how
