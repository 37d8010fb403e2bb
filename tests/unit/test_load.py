"""A household looks like one, and the mean of many is the standard profile H0."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from pvsim import config
from pvsim.models import PowerModel, load
from pvsim.models.days import kind_of_day
from pvsim.models.load import Home, steps

SECOND = 10**9
HOUR_S, DAY_S = 3600, 86400
NEW_YEAR_S = 1_735_686_000  # 2025-01-01T00:00:00+01:00
SUNDAY_S = 1_737_241_200  # 2025-01-19T00:00:00+01:00
ALL_KEYS = load.MODELS["household"].keys


def model(number: int = 0, seed: int = 0, **given: Any) -> PowerModel:
    """The household of Meter_`number`, with the defaults except for what is given."""
    texts = {name: config.METER[name].default for name in ALL_KEYS} | given
    parameters = {name: config.METER[name].parse(str(text)) for name, text in texts.items()}
    return load.model("household", seed, f"Meter_{number}", **parameters)


def watts(power: PowerModel, seconds: Iterable[int]) -> list[float]:
    return [milliwatts / 1000 for milliwatts in power([second * SECOND for second in seconds])]


# Hourly means, W, of H0 with its dynamisation at 3500 kWh a year, from demandlib 0.2.2 (bdew.ElecSlp(2025)).
H0 = {
    "a Wednesday in January": (
        1_736_895_600,
        [257, 190, 174, 170, 172, 206, 397, 570, 588, 543, 512, 521, 576, 571, 508, 462, 464, 567, 732, 824, 741, 621,
         514, 381],
    ),
    "a Sunday in January": (
        SUNDAY_S,
        [344, 248, 199, 181, 171, 170, 180, 220, 390, 610, 767, 893, 911, 762, 600, 514, 470, 554, 689, 777, 705, 597,
         506, 373],
    ),
    "a Wednesday in July": (
        1_752_616_800,
        [203, 151, 137, 129, 134, 163, 270, 357, 390, 397, 384, 391, 435, 421, 363, 327, 316, 338, 392, 455, 459, 434,
         398, 309],
    ),
}  # fmt: skip


def test_h0() -> None:
    """The mean of 80 households follows H0 from hour to hour, over seasons and days, and in its energy."""
    homes = [model(number) for number in range(80)]
    found: list[float] = []
    expected: list[float] = []
    for start, hours in H0.values():
        values = [watts(home, range(start, start + DAY_S, 600)) for home in homes]
        found += [fmean(value for each in values for value in each[6 * hour : 6 * hour + 6]) for hour in range(24)]
        expected += [float(hour) for hour in hours]
    assert correlation(found, expected) > 0.95
    assert fmean(found) == pytest.approx(fmean(expected), rel=0.08)


def test_energy() -> None:
    """Over a year, a household draws its `annual_kwh`, whatever that is."""
    for annual_kwh in (3500, 10_000):
        values = []
        for number in range(30):
            hours = range(NEW_YEAR_S + number * 5 * HOUR_S, NEW_YEAR_S + 365 * DAY_S, 151 * HOUR_S)
            values += watts(model(number, annual_kwh=annual_kwh), [hour + part for hour in hours for part in QUARTERS])
        assert fmean(values) * 8.76 == pytest.approx(annual_kwh, rel=0.05)


QUARTERS = range(450, HOUR_S, 900)


def test_one_household() -> None:
    """A base load that is always there, a refrigerator that comes and goes, and now and then 1 to 3 kW for minutes."""
    power = model()
    night = watts(power, range(SUNDAY_S + 3 * HOUR_S, SUNDAY_S + 5 * HOUR_S, 10))
    week = watts(power, range(SUNDAY_S, SUNDAY_S + 7 * DAY_S, 30))
    assert 40 < min(week) < 160
    assert 2 <= sum(one < min(night) * 1.2 <= two for one, two in pairwise(night)) <= 6
    assert 0.005 < sum(value > 1000 for value in week) / len(week) < 0.15
    assert 1800 < max(week) < 9000
    assert fmean(week) < 900


def test_no_two_are_alike() -> None:
    """Each meter and each seed has its own household."""
    day = range(SUNDAY_S, SUNDAY_S + DAY_S, 60)
    days = [watts(model(number, seed), day) for number in range(4) for seed in (0, 1)]
    assert len({fmean(each) for each in days}) == 8
    assert all(correlation(one, two) < 0.5 for one in days for two in days if one is not two)


@pytest.mark.parametrize(
    "homes,given", [(100, {}), (20, {"annual_kwh": 10_000, "ev_kwh": 10_000, "heat_pump_kwh": 10_000})]
)
def test_bounds(homes: int, given: dict[str, int]) -> None:
    """0 to 9000 W, and whole milliwatts, in hours of all the year of many households, even with all that there is."""
    most = 0
    for number in range(homes):
        hours = range(NEW_YEAR_S + 3 * number * HOUR_S, NEW_YEAR_S + 365 * DAY_S, 919 * HOUR_S)
        instants = [second * SECOND for hour in hours for second in range(hour, hour + HOUR_S, 90)]
        values = model(number, **given)(instants)
        assert len(values) > 300
        assert all(type(value) is int and 0 < value <= 9_000_000 for value in values)
        most = max(most, *values)
    assert (most == 9_000_000) == bool(given)


def test_between_seconds() -> None:
    """A millisecond changes little unless an appliance is switched in it; company and order of instants nothing."""
    power, home = model(3), Home(0, "Meter_3", 3500.0, 0.0, 0.0)
    switched = 0
    for hour_s in range(SUNDAY_S, SUNDAY_S + DAY_S, HOUR_S):
        times, levels = steps(home.spans(hour_s // HOUR_S + 1))  # of local time, an hour ahead
        changes = [(at, two - one) for at, (one, two) in zip(times[1:], pairwise(levels), strict=True) if at < HOUR_S]
        for at, change in changes:
            before, after = power([hour_s * SECOND + round(at * 1000 + ms) * 10**6 for ms in (-1, 1)])
            assert after - before == pytest.approx(change, rel=0.02, abs=1000)
            switched += abs(change) > 1000
        calm = [ms for ms in range(0, HOUR_S * 1000, 26_633) if all(abs(at * 1000 - ms) > 2 for at, _ in changes)]
        pairs = [power([hour_s * SECOND + each * 10**6 for each in (ms, ms + 1)]) for ms in calm]
        assert all(abs(one - two) <= 1000 for one, two in pairs)
    assert switched > 50
    instants = [second * SECOND for second in range(SUNDAY_S, SUNDAY_S + DAY_S, 67)]
    assert model(3)(instants[::-1])[::-1] == [power([instant])[0] for instant in instants]


@pytest.mark.parametrize(
    "day,kind",
    [
        ("2025-06-06", 0), ("2025-06-07", 1), ("2025-06-08", 2), ("2025-06-09", 2), ("2025-06-10", 0),
        ("2000-04-21", 2), ("2024-04-01", 2), ("2026-05-14", 2), ("2027-03-29", 2), ("2038-06-14", 2),
        ("2026-01-01", 2), ("2027-01-01", 2), ("2024-05-01", 2), ("2025-05-01", 2), ("2024-10-03", 2),
        ("2024-12-24", 1), ("2025-12-24", 1), ("2025-12-25", 2), ("2025-12-26", 2), ("2025-12-31", 1),
        ("2025-10-03", 2), ("2028-12-31", 2), ("2028-02-29", 0),
        ("2025-12-23", 0), ("2025-12-30", 0), ("2026-01-02", 0), ("2023-12-24", 2),
    ],
)  # fmt: skip
def test_days(day: str, kind: int) -> None:
    """Holidays of all Germany count as Sundays, 24 and 31 December as Saturdays unless they are Sundays."""
    assert kind_of_day((date.fromisoformat(day) - date(1970, 1, 1)).days) == kind


def test_local_time() -> None:
    """People live by their clock, in summer time, too: elsewhere they do the same at another instant."""
    july = 1_752_616_800
    here, there = model(), model(timezone="Asia/Tokyo")  # UTC+2 and UTC+9
    seconds = range(july, july + DAY_S, 600)
    later = range(july - 7 * HOUR_S, july - 7 * HOUR_S + DAY_S, 600)
    assert watts(here, seconds) == pytest.approx(watts(there, later), rel=0.021)
    assert watts(here, seconds) != pytest.approx(watts(model(timezone="UTC"), seconds), rel=0.021)


def test_holidays() -> None:
    """Now and then everybody is away for days: nothing but standby and cooling."""
    homes = [Home(0, f"Meter_{number}", 3500.0, 0.0, 0.0) for number in range(50)]
    away = [(home, day) for home in homes for day in range(20_089, 20_089 + 365) if home.is_away(day)]
    assert 0.03 < len(away) / 50 / 365 < 0.09
    home, day = away[5]
    for hour in range(day * 24 + 4, day * 24 + 24):
        _, levels = steps(home.spans(hour))
        assert max(levels) < 230_000


def test_car() -> None:
    """An electric car takes its energy a year, in evenings and nights, at the power of its charger."""
    seconds = range(NEW_YEAR_S + 16 * HOUR_S, NEW_YEAR_S + 366 * DAY_S, 2400)
    nights = [(second - NEW_YEAR_S - 6 * HOUR_S) // HOUR_S for second in seconds]  # from 6 h to 6 h
    evenings = [at for at, hour in zip(seconds, nights, strict=True) if hour // 24 % 4 == 0 and hour % 24 >= 10]
    instants = [second * SECOND for second in evenings]
    for ev_kwh, charger_w in ((2000, 3700), (6000, 7400)):
        without, has_one = model(5, annual_kwh=500)(instants), model(5, annual_kwh=500, ev_kwh=ev_kwh)(instants)
        extra = [(two - one) / 1000 for one, two in zip(without, has_one, strict=True)]
        assert sum(extra) / 1.5 / 1000 * 4 == pytest.approx(ev_kwh, rel=0.25)
        assert max(extra) == pytest.approx(charger_w, rel=0.02)
        assert min(extra) == 0


def test_heat_pump() -> None:
    """A heat pump takes its energy a year, most of it in winter, and cycles."""
    days = range(NEW_YEAR_S, NEW_YEAR_S + 365 * DAY_S, 6 * DAY_S)
    instants = [(day + part) * SECOND for day in days for part in range(0, DAY_S, 1740)]
    without, has_one = model(6)(instants), model(6, heat_pump_kwh=4000)(instants)
    extra = [(two - one) / 1000 for one, two in zip(without, has_one, strict=True)]
    assert fmean(extra) * 8.76 == pytest.approx(4000, rel=0.07)
    quarter = len(extra) // 12
    assert fmean(extra[:quarter]) > 3 * fmean(extra[6 * quarter : 7 * quarter]) > 0
    assert 0.2 < sum(value > 1000 for value in extra[:quarter]) / quarter < 0.96


def test_steps() -> None:
    """Spans add up; what lies before and after the hour is cut off."""
    assert steps([(0.0, 3600, 5), (-10.0, 20.0, 100), (10.0, 9000.0, 3), (-9.0, -1.0, 7), (3600.0, 3700.0, 7)]) == (
        [0.0, 10.0, 20.0, 3600, 9000.0],
        [105, 108, 8, 3, 0],
    )


def test_values_stay() -> None:
    """Files written by this version must be verified by the next: these values do not change."""
    instants = [(SUNDAY_S + 12 * HOUR_S + each) * SECOND for each in (0, 1, 1800)]
    assert model()(instants) == FIRST
    assert model(ev_kwh=2000, heat_pump_kwh=4000)(instants) == FIRST_OF_ALL


FIRST: list[int] = [1915516, 1921510, 1708617]
FIRST_OF_ALL: list[int] = [3423184, 3433896, 1708617]


def correlation(one: list[float], two: list[float]) -> float:
    mean_one, mean_two = sum(one) / len(one), sum(two) / len(two)
    both = sum((a - mean_one) * (b - mean_two) for a, b in zip(one, two, strict=True))
    squares = sum((a - mean_one) ** 2 for a in one) * sum((b - mean_two) ** 2 for b in two)
    return float(both / squares**0.5)
