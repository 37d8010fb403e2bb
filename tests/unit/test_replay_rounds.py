"""Rounds of days, weeks and years keep the time of day, the weekday and the date, by the file's own clock."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pvsim.config.values import LocalClock
from pvsim.models.replay import Profile, replay

SECOND = 10**9
BERLIN = ZoneInfo("Europe/Berlin")


def played(profile: Profile, loop: int | str | None, *moments: str, zone: str = "Europe/Berlin") -> list[int]:
    """mW at local times."""
    clock = LocalClock(zone) if zone != "UTC" else None
    power = replay(0, "M", profile, "", loop, 0, 10**6, 0, clock)
    return power([ns(each, zone) for each in moments])


def ns(text: str, zone: str = "Europe/Berlin") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


def recorded(first: str, hours: int, zone: str = "Europe/Berlin", step: int = 1) -> Profile:
    """A power a local hour: month, day and hour as digits, MMDDHH."""
    start = datetime.fromisoformat(first)
    walls = [start + timedelta(hours=each) for each in range(0, hours, step)]
    times = array("q", [ns(each.isoformat(), zone) for each in walls])
    values = array("q", [each.month * 10_000 + each.day * 100 + each.hour for each in walls])
    return Profile(times, values, times[-1] + step * 3600 * SECOND)


@pytest.mark.parametrize("loop", [None, "day"])
def test_day(loop: str | None) -> None:
    """A summer's day, played in winter, has the same hours on the clock."""
    profile = recorded("2026-06-21T00:00", 24)
    wanted = [62_100, 62_112, 62_123]
    assert played(profile, loop, "2026-12-24T00:00", "2026-12-24T12:30", "2026-12-24T23:59") == wanted
    assert played(profile, loop, "2026-07-24T00:00", "2026-07-24T12:30", "2026-07-24T23:59") == wanted


@pytest.mark.parametrize("hours", [23, 25])
def test_nearly_a_day(hours: int) -> None:
    """An hour less, or the next midnight too, is a day; noon stays noon for months."""
    profile = recorded("2026-06-21T00:00", hours)
    assert played(profile, None, "2027-02-03T12:00", "2026-06-23T00:00", "2026-06-22T22:59") == [62_112, 62_100, 62_122]


def test_part_of_a_day() -> None:
    """Fifteen hours of daylight begin again at once, unless loop says day; then the last power lasts until morning."""
    profile = recorded("2026-06-21T06:00", 15)
    assert played(profile, None, "2026-06-21T22:00", zone="UTC") != played(profile, "day", "2026-06-21T22:00")
    assert played(profile, "day", "2026-09-01T12:00", "2026-09-01T02:00") == [62_112, 62_120]


def test_week() -> None:
    """A Monday is played on Mondays, over the change of clocks."""
    profile = recorded("2026-06-22T00:00", 7 * 24)
    assert played(profile, "week", "2026-11-02T08:00", "2026-11-08T08:00") == [62_208, 62_808]
    assert played(profile, None, "2026-11-02T08:00") == [62_208]


@pytest.mark.parametrize("first", ["2015-01-01T00:00", "2016-01-01T00:00", "2015-07-01T00:00"])
@pytest.mark.parametrize("loop", [None, "year"])
def test_year(first: str, loop: str | None) -> None:
    """A year, a leap year, or one that begins in summer: the same date at the same hour, whatever year it is."""
    leap = first.startswith(("2016", "2015-07"))
    profile = recorded(first, 24 * (366 if leap else 365))
    moments = ["2026-06-21T12:00", "2026-01-01T00:00", "2027-12-31T23:00", "2028-03-01T05:00", "2027-10-25T10:00"]
    assert played(profile, loop, *moments) == [62_112, 10_100, 123_123, 30_105, 102_510]
    assert played(profile, loop, "2028-02-29T07:00") == [22_907 if leap else 22_807]
    assert played(profile, loop, "2027-02-28T07:00", "2027-03-01T07:00") == [22_807, 30_107]


def test_years_in_turn() -> None:
    """Two years are played in turn."""
    year = recorded("2015-01-01T00:00", 24 * (365 + 366), step=24)
    marked = Profile(
        year.times, array("q", [each + (at >= 365) for at, each in enumerate(year.milliwatts)]), year.end_ns
    )
    first, second = played(marked, None, "2026-06-21T12:00", "2027-06-21T12:00")
    assert {first, second} == {62_100, 62_101}
    assert played(marked, None, "2028-06-21T12:00") == [first]


def test_the_hours_of_the_change() -> None:
    """The hour that is not there in the recorded spring, and the one that comes twice, have a power."""
    profile = recorded("2026-06-21T00:00", 24)
    assert played(profile, "day", "2026-03-29T01:59", "2026-03-29T03:00", "2026-10-25T02:30") == [
        62_101,
        62_103,
        62_102,
    ]


def test_in_utc_without_a_zone() -> None:
    """Whole days of UTC are days of UTC."""
    profile = recorded("2026-06-21T00:00", 48, zone="UTC")
    assert played(profile, None, "2026-06-23T12:00", "2026-06-24T12:00", zone="UTC") == [62_112, 62_212]


def test_both_passes_of_an_hour_in_its_own_year() -> None:
    """What was recorded in the second pass of an hour is played in the second pass."""
    first = ns("2025-01-01T00:00")
    times = array("q", [first + hour * 3600 * SECOND for hour in range(8760)])
    power = replay(0, "M", Profile(times, array("q", range(8760)), times[-1] + 3600 * SECOND), "", "year", 0, 10**6, 0,
                   LocalClock("Europe/Berlin"))  # fmt: skip
    autumn = ns("2025-10-26T01:00")
    hours = [autumn + each * 3600 * SECOND for each in range(4)]
    assert power(hours) == [(each - first) // (3600 * SECOND) for each in hours]
