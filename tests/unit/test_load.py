"""A household looks like one, and the mean of many is the standard profile H0."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Any

import pytest

from pvsim import config
from pvsim.models import PowerModel, load
from pvsim.models.appliances import much_on
from pvsim.models.car import Car, charging_kw
from pvsim.models.days import kind_of_day
from pvsim.models.home import Home, Hour, Place, Things, hour_at, own_kwh
from pvsim.models.load import steps
from pvsim.models.noise import Fractions
from pvsim.models.occupancy import Routine, mean_presence, presence, routine_for
from pvsim.models.temperature import MUNICH_C, air_temperature

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


def home(number: int = 0, **given: Any) -> Home:
    """The habits of Meter_`number`, with the defaults except for what is given."""
    texts = {name: config.METER[name].default for name in ALL_KEYS} | given
    values = {name: config.METER[name].parse(str(text)) for name, text in texts.items()}
    things = Things(*(values[name] for name in Things._fields))
    return Home(0, f"Meter_{number}", things, Place(*(values[name] for name in Place._fields)))


def hour(time_s: int, timezone: str = "Europe/Berlin") -> Hour:
    """The hour of local time that an instant is in."""
    return hour_at(config.METER["timezone"].parse(timezone), time_s)


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
    assert 1800 < max(week) < 24_000
    assert fmean(week) < 900


def test_no_two_are_alike() -> None:
    """Each meter and each seed has its own household."""
    day = range(SUNDAY_S, SUNDAY_S + DAY_S, 60)
    days = [watts(model(number, seed), day) for number in range(4) for seed in (0, 1)]
    assert len({fmean(each) for each in days}) == 8
    assert all(correlation(one, two) < 0.5 for one in days for two in days if one is not two)


@pytest.mark.parametrize("homes,given", [(60, {}), (20, {"ev_kwh": 10_000, "heat_pump_kwh": 10_000, "fuse_kw": 11.5})])
def test_bounds(homes: int, given: dict[str, Any]) -> None:
    """Whole milliwatts above 0, up to the main fuse, in hours of all the year of many households."""
    most, fuse_mw = 0, int(given.get("fuse_kw", 24) * 10**6)
    for number in range(homes):
        hours = range(NEW_YEAR_S + 3 * number * HOUR_S, NEW_YEAR_S + 365 * DAY_S, 919 * HOUR_S)
        instants = [second * SECOND for hour_s in hours for second in range(hour_s, hour_s + HOUR_S, 90)]
        values = model(number, 0, **given)(instants)
        assert len(values) > 300
        assert all(type(value) is int and 0 < value <= fuse_mw for value in values)
        most = max(most, *values)
    assert (most == fuse_mw) == bool(given)


def test_nothing_is_cut_off() -> None:
    """With car and heat pump a household draws what they add up to: no flat top below its fuse."""
    power = model(1, annual_kwh=5000, ev_kwh=6000, heat_pump_kwh=8000)
    values = power([second * SECOND for second in range(NEW_YEAR_S, NEW_YEAR_S + 8 * DAY_S, 120)])
    assert max(values) > 9_000_000
    assert sum(value == max(values) for value in values) < 3


def test_between_seconds() -> None:
    """A millisecond changes little unless an appliance is switched in it; company and order of instants nothing."""
    power, of_home = model(3), home(3)
    switched = 0
    for hour_s in range(SUNDAY_S, SUNDAY_S + DAY_S, HOUR_S):
        times, levels = steps(of_home.draws(hour(hour_s)))
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


def test_the_hour_that_comes_again() -> None:
    """In autumn the clock is put back: people do not live the same hour twice, nor miss one in spring."""
    autumn, spring = 1_761_436_800, 1_743_292_800  # 2025-10-26T02:00+02:00, 2025-03-30T01:00+01:00
    first, again, after = (hour(autumn + each * HOUR_S) for each in range(3))
    assert (first.number, again.number, after.number) == (again.number, first.number, first.number + 1)
    assert len({first.key, again.key, after.key}) == 3
    assert hour(spring + 1).number + 2 == hour(spring + HOUR_S).number
    alike = 0
    for number in range(20):
        once, twice = (watts(model(number), range(autumn + each, autumn + each + HOUR_S, 30)) for each in (0, HOUR_S))
        alike += once == pytest.approx(twice, rel=0.021)
    assert alike == 0
    twenty = [watts(model(number), range(autumn - HOUR_S, autumn + 3 * HOUR_S, 300)) for number in range(20)]
    assert all(min(values) > 20 for values in twenty)


def test_calendars() -> None:
    """Holidays are those of Germany, none, or the dates that are given; the time zone has no say in it."""
    christmas, other = 1_766_617_200, 1_753_999_200  # 2025-12-25 and 2025-08-01, workdays but for holidays
    assert home(0).kind_of(20_447) == home(0, timezone="Asia/Tokyo").kind_of(20_447) == 2
    assert home(0, holidays="none").kind_of(20_447) == home(0, holidays="2025-08-01").kind_of(20_447) == 0
    assert home(0, holidays="2025-08-01 2026-01-02").kind_of(20_301) == 2
    for day_s, holidays in ((christmas, "none"), (other, "2025-08-01")):
        seconds = range(day_s, day_s + DAY_S, 900)
        every: tuple[dict[str, Any], ...] = ({}, {"holidays": holidays})
        usual, differs = (
            [
                fmean(each)
                for each in zip(*(watts(model(number, 0, **given), seconds) for number in range(20)), strict=True)
            ]
            for given in every
        )
        assert usual != differs


def test_seasons_of_the_place() -> None:
    """Winter is when it is cold there: in July in the south, and never in the tropics."""
    january, july = NEW_YEAR_S + 12 * DAY_S, NEW_YEAR_S + 194 * DAY_S
    for given, low, high in (
        ({}, 1.1, 2.0),
        ({"latitude": -33.9}, 0.5, 0.9),
        ({"temperature": "24 24 22 19 16 13 13 14 17 19 21 23"}, 0.5, 0.95),
        ({"temperature": "27"}, 0.85, 1.15),
    ):
        weeks = [
            fmean(
                fmean(watts(model(number, **given), range(start, start + 7 * DAY_S, 3 * HOUR_S + 900)))
                for number in range(20)
            )
            for start in (january, july)
        ]
        assert low < weeks[0] / weeks[1] < high


def test_cold_spells() -> None:
    """More is used on cold days, and in winter's cold spells far more: these are the peaks of a grid."""
    assert much_on(0.0, 0.5) == 1
    assert (much_on(1.0, 1.0), much_on(-1.0, 1.0)) == pytest.approx((0.93, 1.07))
    assert (much_on(-2.0, 1.0), much_on(-2.0, -0.2)) == pytest.approx((1.27, 1.14))
    assert much_on(-9.0, 1.0) == much_on(-2.5, 1.0)


def test_occupancy() -> None:
    """Some are out at work, some are not; together they are the standard profile."""
    assert sum(kind.value for kind in Routine) == pytest.approx(1)
    assert {routine_for(number / 100) for number in range(100)} == set(Routine)
    assert presence(((8.5, 17.0),), 8) == pytest.approx(0.56)
    assert all(0.3 < each <= 1 for each in mean_presence())
    shares = []
    for number in range(24):
        days = [day for day in range(20_100, 20_124) if kind_of_day(day) == 0]
        seconds = [day * DAY_S - HOUR_S + part for day in days for part in range(0, DAY_S, 1800)]
        values = watts(model(number), seconds)
        hours = [part // HOUR_S for _ in days for part in range(0, DAY_S, 1800)]
        shares.append(sum(value for value, at in zip(values, hours, strict=True) if 9 <= at < 16) / sum(values))
    assert 0.25 < fmean(shares) < 0.36
    assert 0.04 < pstdev(shares) < 0.12


def test_a_fleet_that_differs() -> None:
    """A span of a year's energy gives each household its own, more often little than much."""
    parts = [(each + 0.5) / 50 for each in range(50)]
    energies = sorted(own_kwh((1500.0, 6000.0), one, two) for one in parts for two in parts)
    assert 1500 < energies[0] < 1600
    assert 5800 < energies[-1] < 6000
    assert median(energies) == pytest.approx(3000, rel=0.01)
    assert fmean(energies) > 1.03 * median(energies)
    assert own_kwh(3500.0, 0.1, 0.9) == 3500
    means = [fmean(watts(model(number, annual_kwh="1500..6000"), range(NEW_YEAR_S, NEW_YEAR_S + 60 * DAY_S, 9001)))
             for number in range(12)]  # fmt: skip
    assert max(means) > 1.5 * min(means)


def test_holiday_trips() -> None:
    """Now and then everybody is away for days: nothing but standby and cooling."""
    homes = [home(number, ev_kwh=3000) for number in range(50)]
    away = [(each, day) for each in homes for day in range(20_089, 20_089 + 365) if each.is_away(day)]
    assert 0.03 < len(away) / 50 / 365 < 0.09
    for each, day in away[::25]:
        if each.is_away(day - 1):
            for part in range(0, 24, 5):
                _, levels = steps(each.draws(hour(day * DAY_S + part * HOUR_S)))
                assert max(levels) < 230_000


def car(number: int, kwh: float = 2000.0, kind: Routine = Routine.AT_WORK, trait: float = 0.9) -> Car:
    """A car that is charged with so much a year."""
    numbers = Fractions(0, f"Meter_{number}", "load car")
    return Car(kwh / 365.25, charging_kw(None, kwh, 0.9), kind, trait, numbers)


@pytest.mark.parametrize("kwh,kilowatts", [(1500, 3.7), (3999.9, 3.7), (4000, 11.0), (10_000, 11.0)])
def test_car(kwh: float, kilowatts: float) -> None:
    """An electric car takes its energy a year; charges differ, some days have none, and none meets the next."""
    days = range(20_089, 20_089 + 4 * 365)
    charges = [each for day in days if (each := car(1, kwh).charge(day, kind_of_day, lambda _: False))]
    lengths = [each.end - each.start for each in charges]
    assert car(1, kwh).kilowatts == kilowatts
    assert sum(lengths) * kilowatts / 4 == pytest.approx(kwh, rel=0.05)
    assert 0.4 < len(charges) / len(days) < 0.95
    assert pstdev(lengths) > 0.4 * fmean(lengths)
    assert all(one.end <= two.start for one, two in pairwise(charges))
    evenings = [each for each in charges if kind_of_day(int(each.start // 24)) == 0]
    assert sum(15 < each.start % 24 < 21 for each in evenings) / len(evenings) > 0.95
    weekends = [each.start % 24 for each in charges if kind_of_day(int(each.start // 24)) == 2]
    assert fmean(weekends) < fmean(each.start % 24 for each in evenings)


def test_habits_of_charging() -> None:
    """Some begin at night, and some of those who are at home at noon; the power is what is given, if it is."""
    starts = {}
    for kind, trait in ((Routine.AT_WORK, 0.1), (Routine.AT_HOME, 0.3), (Routine.AT_WORK, 0.3)):
        days = [day for day in range(20_089, 20_400) if kind_of_day(day) == 0]
        charges = [car(2, kind=kind, trait=trait).charge(day, kind_of_day, lambda _: False) for day in days]
        starts[kind, trait] = median(each.start % 24 for each in charges if each)
    assert starts[Routine.AT_WORK, 0.1] > 22
    assert 11 < starts[Routine.AT_HOME, 0.3] < 14.5
    assert 16 < starts[Routine.AT_WORK, 0.3] < 20
    assert charging_kw(22.0, 1000, 0.1) == 22.0
    assert charging_kw(None, 4000, 0.1) == 7.4


def test_car_of_a_household() -> None:
    """What the car takes comes on top, and nothing while the family is away with it."""
    family = home(5, ev_kwh=3000)
    leaving = next(day for day in range(20_089, 20_500) if family.is_away(day) and not family.is_away(day - 1))
    start = leaving * DAY_S - 15 * DAY_S - HOUR_S
    instants = [second * SECOND for second in range(start, start + 18 * DAY_S, 900)]
    without, has_one = (model(5, ev_kwh=kwh)(instants) for kwh in (0, 3000))
    extra = [(two - one) / 1000 for one, two in zip(without, has_one, strict=True)]
    assert max(extra[: 15 * 96]) == pytest.approx(3700, rel=0.02)
    assert min(extra) == 0
    assert sum(extra[: 15 * 96]) / 4000 > 50
    assert max(extra[15 * 96 :]) == 0


def test_heat_pump() -> None:
    """A heat pump takes its energy a year, most of it in winter and in cold spells, and cycles."""
    days = range(NEW_YEAR_S, NEW_YEAR_S + 5 * 365 * DAY_S, 17 * DAY_S)
    instants = [(day + part) * SECOND for day in days for part in range(0, DAY_S, 1740)]
    without, has_one = model(6)(instants), model(6, heat_pump_kwh=4000)(instants)
    extra = [(two - one) / 1000 for one, two in zip(without, has_one, strict=True)]
    assert fmean(extra) * 8.76 == pytest.approx(4000, rel=0.08)
    by_day = [fmean(extra[at : at + 50]) for at in range(0, len(extra), 50)]
    pump = air_temperature(0, 48.137, 11.575, MUNICH_C, 9.0)
    warmth = [pump(day // HOUR_S + 12) for day in days]
    assert correlation(by_day, warmth) < -0.8
    cold, warm = ([watt for watt, air in zip(by_day, warmth, strict=True) if low < air < high]
                  for low, high in ((-20, 2), (18, 40)))  # fmt: skip
    assert fmean(cold) > 4 * fmean(warm) > 0
    assert 0.1 < sum(value > 1000 for value in extra) / len(extra) < 0.8


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


FIRST: list[int] = [2139763, 2146459, 2048553]
FIRST_OF_ALL: list[int] = [4205060, 4218219, 4114737]


def correlation(one: list[float], two: list[float]) -> float:
    mean_one, mean_two = sum(one) / len(one), sum(two) / len(two)
    both = sum((a - mean_one) * (b - mean_two) for a, b in zip(one, two, strict=True))
    squares = sum((a - mean_one) ** 2 for a in one) * sum((b - mean_two) ** 2 for b in two)
    return float(both / squares**0.5)
