"""Times and speeds as users write them, and what becomes due when."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import meter
from pvsim.config import day_span_ns, instant_ns, parse_time
from pvsim.errors import ConfigError, UsageError
from pvsim.meter.service import bar
from pvsim.meter.timeline import Timeline, parse_speed

SECOND = 10**9
BERLIN = ZoneInfo("Europe/Berlin")
WHERE = "this machine's time zone"


@pytest.mark.parametrize(
    "text, second",
    [
        ("2026-01-01", 1767222000),
        ("2026-07-01T00:00", 1782856800),
        ("2026-01-01T00:00:00+00:00", 1767225600),
        ("1767225600", 1767225600),
        ("0", 0),
        ("20260101.0", 20260101),  # with a point it is no date
        ("20261301", 20261301),  # there is no month 13
        ("18991231", 18991231),
        ("22000101", 22000101),
        ("2026-03-29", 1774738800),
        ("2026-10-25T02:30+01:00", 1792891800),
        ("9999-12-31T23:59-12:00", 253402300800),
    ],
)
def test_time(text: str, second: int) -> None:
    """A time without an offset is one of the time zone whose midnight begins a day file (by date -d)."""
    assert instant_ns(parse_time(text), BERLIN) == second * SECOND


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1969-12-31", "nan", "1e20"])
def test_no_time(text: str) -> None:
    """What is none is refused, with what would be right."""
    with pytest.raises(ArgumentTypeError, match="give one such as"):
        parse_time(text)


@pytest.mark.parametrize(
    "text", ["20260101", " 20260101", "+20260621", "19000101", "21991231", "20240229", "2026", "202601"]
)
def test_a_date_or_seconds(text: str) -> None:
    """Digits that are both are neither, and both ways out are told."""
    right = r"can be read as a date and as seconds since 1970; give \d{4}-\d\d-\d\d, or \d{4,8}\.0 for the seconds\.$"
    with pytest.raises(ArgumentTypeError, match=right):
        parse_time(text)


@pytest.fixture(params=[True, False], ids=["named", "system"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo | None]:
    """That of Berlin, by its name or as that of this machine."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield BERLIN if request.param else None
    monkeypatch.undo()
    time.tzset()


LEFT_OUT = "leaves 2026-03-29 02:30:00 out; give 2026-03-29T03:30:00+02:00 or 2026-03-29T01:30:00+01:00."
TWICE = "shows 2026-10-25 02:30:00 twice; give 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00."


@pytest.mark.parametrize("text, sentence", [("2026-03-29T02:30", LEFT_OUT), ("2026-10-25T02:30", TWICE)])
def test_an_hour_that_is_left_out_or_comes_twice(zone: ZoneInfo | None, text: str, sentence: str) -> None:
    """A local time in it is no instant, and those that may be meant are told."""
    with pytest.raises(UsageError) as error:
        instant_ns(parse_time(text), zone)
    assert str(error.value) == f"The clock in {zone or WHERE} {sentence}"


def test_around_an_hour_that_is_left_out(zone: ZoneInfo | None) -> None:
    """Up to it, and from its end on, local times are what they are."""
    assert instant_ns(parse_time("2026-03-29T01:59:59.5"), zone) == 1774745999 * SECOND + SECOND // 2
    assert instant_ns(parse_time("2026-03-29T03:00"), zone) == 1774746000 * SECOND


@pytest.mark.parametrize(
    "name, day, second",
    [
        ("America/Santiago", "2026-09-06", 1788667200),  # it begins at 01:00, a second after 1788667199
        ("America/Havana", "2026-11-01", 1793505600),  # its first hour comes twice
    ],
)
def test_a_day_whose_midnight_is_left_out_or_comes_twice(name: str, day: str, second: int) -> None:
    """It begins all the same (by date -d)."""
    assert instant_ns(parse_time(day), ZoneInfo(name)) == second * SECOND


@pytest.mark.parametrize(
    "since, until, span",
    [
        ("9999-12-31", None, (253402210800, 253402297200)),
        ("253402300799", None, (253402300799, 253402300800)),
        (None, "9999-12-31T23:59-12:00", (253402214400, 253402300800)),
        (None, "1", (0, 1)),
    ],
)
def test_the_ends_of_time(since: str | None, until: str | None, span: tuple[int, int]) -> None:
    """A day of which the calendar has a part is cut."""
    options = Namespace(since=since and parse_time(since), until=until and parse_time(until))
    assert day_span_ns(options, BERLIN, 0) == tuple(each * SECOND for each in span)


def test_too_late(tmp_path: Path, zone: ZoneInfo | None) -> None:
    """Nothing begins in the year 10000; and near to it Python does not know the machine's time zone."""
    with pytest.raises(UsageError, match="--from is after the year 9999; give an earlier time"):
        prepare(tmp_path, "--from", "253402300800")
    if zone is None:
        with pytest.raises(UsageError, match="9999-12-31 23:59:00 is too near to the year 10000; give an earlier"):
            instant_ns(parse_time("9999-12-31T23:59"), None)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf", "1e7"])
def test_no_speed(text: str) -> None:
    """So is a speed."""
    with pytest.raises(ArgumentTypeError, match=r"give a number from 0\.001"):
        parse_speed(text)


def test_the_clock() -> None:
    """Without anything, the instants are those of the clock."""
    timeline = Timeline()
    assert (timeline.due_ns(123), timeline.clock_ns(123), timeline.is_over(10**20)) == (123, 123, False)
    assert timeline.has_stops


@given(st.integers(0, 10**6), st.sampled_from(["0.5", "1", "60", "1000000"]))
def test_speed(after_s: int, speed: str) -> None:
    """An instant becomes due when a faster clock shows it, and not before."""
    timeline = Timeline(speed=parse_speed(speed)).begin(10**18, 2 * 10**18)
    instant = 10**18 + after_s * SECOND
    assert timeline.due_ns(timeline.clock_ns(instant)) <= instant
    assert timeline.due_ns(timeline.clock_ns(instant) + 2) >= instant
    assert not timeline.has_stops


def prepare(tmp_path: Path, *arguments: str) -> meter.Options:
    (tmp_path / "broker.ini").write_text("[broker]\n")
    given_options = ["-conf", str(tmp_path / "broker.ini"), "--state-dir", str(tmp_path), *arguments]
    return meter.prepare(meter.parser().parse_args(given_options))


def test_options(tmp_path: Path) -> None:
    """Each history keeps a progress of its own, beside that of the live fleet, and knows no backlog."""
    (tmp_path / "simulation.ini").write_text("[meter]\nbacklog = 10\n[pv]\ntimezone = Europe/Berlin\n")
    live = prepare(tmp_path)
    assert live.progress == tmp_path / "progress.json"
    assert live.meters["Meter_0"].backlog_ns == 10 * SECOND
    past = prepare(tmp_path, "--from", "2026-01-01", "--to", "2026-02-01", "-ids", "M_0..9")
    assert past.timeline == Timeline(1767222000 * SECOND, 1769900400 * SECOND)
    assert past.progress == tmp_path / "progress-M_0..9+1767222000..1769900400.json"
    assert past.meters["M_0"].backlog_ns is None
    assert prepare(tmp_path, "--from", "0", "--speed", "6e1").progress == tmp_path / "progress-0..x60.json"
    assert prepare(tmp_path, "--to", "2026-02-01").progress == live.progress


def test_wrong_order(tmp_path: Path) -> None:
    """A span that ends before it begins is a wrong configuration."""
    with pytest.raises(ConfigError, match="--from is not before --to"):
        prepare(tmp_path, "--from", "2026-02-01", "--to", "2026-02-01")


def test_bar() -> None:
    """How far it has come, in one line."""
    assert bar(0.5, 1_000_000, 4.0) == " 50.0% [###############---------------] 1,000,000 readings, 250,000/s"
    assert bar(1.0, 0, 0.0) == f"100.0% [{'#' * 30}] 0 readings, 0/s"
