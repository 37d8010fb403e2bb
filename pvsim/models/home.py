"""One household: what is on in an hour, as draws of constant power.

What starts in an hour is drawn from the hour's own number, and nothing but a car takes longer than three hours, so an
hour needs only the starts of itself and of the three before, whichever instant is asked for first. Habits go by the
clock on the wall; the hour that comes again in autumn has numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from pvsim.instants import SECOND_NS
from pvsim.models.appliances import (
    APPLIANCES,
    LONGEST,
    LONGEST_USE_S,
    SHORTEST,
    Appliance,
    mean_wishes,
    much_on,
    winter_on,
    wish,
)
from pvsim.models.car import Car, charging_kw
from pvsim.models.days import DAY_S, WORKDAY, Clock, Holidays, kind_of_day
from pvsim.models.heatpump import mean_need, rated_w, wanted
from pvsim.models.noise import Fractions, uniform
from pvsim.models.occupancy import Absence, Occupancy, mean_presence, presence, routine_for
from pvsim.models.temperature import air_temperature, monthly_c, spell_k, spells

HOUR_S = 3600
_LANES = 16  # numbers that an hour has for its starts, at least one per appliance
_MOST_STARTS = 4  # of one appliance in one hour
_AGAIN = 1 << 40  # added to the number of an hour that comes again

_TRIP_EVERY_D, _TRIP_CHANCE, _TRIP_DAYS = 60, 0.4, (4, 14)
_AWAY = _TRIP_CHANCE * sum(_TRIP_DAYS) / 2 / _TRIP_EVERY_D

Draw = tuple[float, float, int]
"""From, to: seconds of an hour or beyond it; mW."""


class Place(NamedTuple):
    """Where a household is: its clock and holidays, degrees north and east, and its temperatures.

    `temperature`: °C, of the year or of each month, None for Munich's; `temperature_swing`: K from night to day.
    """

    timezone: Clock
    holidays: Holidays
    latitude: float
    longitude: float
    temperature: tuple[float, ...] | None
    temperature_swing: float


class Things(NamedTuple):
    """What a household has: kWh that it draws in a mean year, and beside it for a car and a heat pump.

    `annual_kwh`: or from and to, for a fleet that differs; `ev_kw`: None for what is usual.
    """

    annual_kwh: float | tuple[float, float]
    ev_kwh: float
    ev_kw: float | None
    heat_pump_kwh: float


class Cycle(NamedTuple):
    """A compressor: how long it takes from on to on, and what it draws while it is on."""

    period_s: int
    milliwatts: int


class Hour(NamedTuple):
    """An hour of local time: the second at which it begins, its number since 1970, and a key of its own."""

    start_s: int
    number: int
    key: int


def hour_at(clock: Clock, time_s: int) -> Hour:
    """The hour of local time that an instant is in."""
    offset_s = clock(time_s)
    number, part_s = divmod(time_s + offset_s, HOUR_S)
    start_s = time_s - part_s
    comes_again = clock(start_s - HOUR_S) > offset_s
    return Hour(start_s, number, number + _AGAIN * comes_again)


class Home:
    """The habits of one household, drawn from seed and meter id; it asks for the hours one by one.

    Each source of chance has a field of its own, so that no habit depends on how often another one was asked for.
    """

    def __init__(self, seed: int, meter_id: str, things: Things, place: Place) -> None:
        self._place = place
        self._months = monthly_c(place.temperature, place.latitude)
        self._starts = uniform(seed, meter_id, "load starts")
        self._details = Fractions(seed, meter_id, "load details")
        self._trips = Fractions(seed, meter_id, "load trips")
        self._warmth = spells(seed, place.latitude, place.longitude)
        self._recent: dict[int, list[Draw]] = {}
        self._days: dict[int, _Day] = {}
        traits = Fractions(seed, meter_id, "load traits")
        self._occupancy = Occupancy(routine_for(traits(6)), traits(7), Fractions(seed, meter_id, "load at home"))
        self._rhythm_h = 1.6 * traits(4) - 0.8
        mean_w = own_kwh(things.annual_kwh, traits(1001), traits(1002)) / 8.76
        base_w = mean_w * (0.16 + 0.14 * traits(0))
        duty, fridge_w = 0.32 + 0.16 * traits(1), (65 + 40 * traits(2)) * min(1.0, mean_w / 228)
        self._base_mw = int(1000 * base_w)
        fridge = Cycle(round(2100 + 1800 * traits(3)), int(1000 * fridge_w))
        self._fridge = partial(_compressor, fridge, Fractions(seed, meter_id, "load fridge"), duty)
        uses_kwh = (mean_w - base_w - fridge_w * duty) * 24 / 1000 / (1 - _AWAY)
        self._rates, self._watts = _habits(
            [traits(8 + each) for each in range(3 * len(APPLIANCES))], uses_kwh, self._occupancy
        )
        self._car = _car(seed, meter_id, things, self._occupancy, (traits(1003), traits(1004)))
        self._pump = _HeatPump(seed, meter_id, things.heat_pump_kwh, place) if things.heat_pump_kwh else None

    def draws(self, hour: Hour) -> list[Draw]:
        """What is on in this hour; parts may lie before and after it."""
        found: list[Draw] = [(0.0, HOUR_S, self._base_mw)]
        found += self._fridge(hour)
        if self._pump:
            found += self._pump.draws(hour)
        if self._car:
            found += self._charging(self._car, hour)
        hours = [hour, *(hour_at(self._place.timezone, hour.start_s - HOUR_S * back) for back in range(1, _LONGEST_H))]
        self._recent = {each.key: self._recent.get(each.key) or self._uses(each) for each in hours}
        for each in hours:
            shift_s = each.start_s - hour.start_s
            found += [(start + shift_s, end + shift_s, milliwatts) for start, end, milliwatts in self._recent[each.key]]
        return found

    def kind_of(self, day: int) -> int:
        """The kind of a day, counted from 1970-01-01, where it lives."""
        return kind_of_day(day, self._place.holidays)

    def is_away(self, day: int) -> bool:
        """Whether they are on holiday that day."""
        for trip in (day // _TRIP_EVERY_D - 1, day // _TRIP_EVERY_D):
            if self._trips(3 * trip) < _TRIP_CHANCE:
                leave = trip * _TRIP_EVERY_D + int(self._trips(3 * trip + 1) * _TRIP_EVERY_D)
                shortest, longest = _TRIP_DAYS
                if leave <= day < leave + shortest + int(self._trips(3 * trip + 2) * (longest - shortest + 1)):
                    return True
        return False

    def _uses(self, begun: Hour) -> list[Draw]:
        """All that is started in an hour."""
        number, hour = divmod(begun.number, 24)
        day = self._day(number)
        if day.is_trip:
            return []
        there = day.much * (presence(day.absence, hour) / mean_presence()[hour] if day.kind == WORKDAY else 1.0)
        numbers = self._starts([(begun.key * _LANES + each) * SECOND_NS for each in range(len(APPLIANCES))])
        found: list[Draw] = []
        for kind, appliance in enumerate(APPLIANCES):
            rate = self._rates[kind] * there
            wanted_uses = rate * wish(appliance, day.kind, day.winter, hour, self._rhythm_h) if rate else 0.0
            for each in range(min(_MOST_STARTS, int(wanted_uses + numbers[kind] / 2**64))):
                at = ((begun.key * _LANES + kind) * _MOST_STARTS + each) * 2
                lasting = SHORTEST + (LONGEST - SHORTEST) * self._details(at + 1)
                found += _use(appliance, round(self._details(at) * HOUR_S, 3), lasting, self._watts[kind])
        return found

    def _day(self, number: int) -> _Day:
        if number not in self._days:
            if len(self._days) > 1:
                self._days.clear()
            winter = winter_on(number, self._months)
            self._days[number] = _Day(
                self.is_away(number),
                self.kind_of(number),
                winter,
                much_on(self._warmth(24 * number + 12), winter),
                self._occupancy.away(number),
            )
        return self._days[number]

    def _charging(self, car: Car, hour: Hour) -> Iterator[Draw]:
        today = hour.number // 24
        for day in range(today - 2, today + 1):
            if charge := car.charge(day, self.kind_of, self.is_away):
                noon_s = day * DAY_S + DAY_S // 2
                to_utc_s = self._place.timezone(noon_s - self._place.timezone(noon_s)) + hour.start_s
                yield (
                    round(charge.start * HOUR_S - to_utc_s, 3),
                    round(charge.end * HOUR_S - to_utc_s, 3),
                    int(car.kilowatts * 10**6),
                )


_LONGEST_H = LONGEST_USE_S // HOUR_S + 1


class _Day(NamedTuple):
    """What a day is for them: `winter` as in appliances, `much`: how much more is used since it is cold."""

    is_trip: bool
    kind: int
    winter: float
    much: float
    absence: Absence


class _HeatPump:
    """Of one household: on for a part of each of its periods, as long as the hour asks for."""

    def __init__(self, seed: int, meter_id: str, annual_kwh: float, place: Place) -> None:
        months, north = monthly_c(place.temperature, place.latitude), place.latitude
        self._mean_w = annual_kwh / 8.76
        self._air = air_temperature(seed, north, place.longitude, months, place.temperature_swing)
        self._mean_need = mean_need(months, place.temperature_swing, spell_k(north))
        self._numbers = Fractions(seed, meter_id, "load pump")
        self._cycle = Cycle(round(2400 + 1800 * self._numbers(-1)), int(1000 * rated_w(self._mean_w)))

    def draws(self, hour: Hour) -> Iterator[Draw]:
        share = wanted(self._air(hour.start_s // HOUR_S), self._mean_need, hour.number % 24)
        duty = round(min(0.98, self._mean_w * share * 1000 / self._cycle.milliwatts), 9)
        return _compressor(self._cycle, self._numbers, duty, hour)


def own_kwh(annual_kwh: float | tuple[float, float], one: float, two: float) -> float:
    """What a household draws in a year; of a span, more often little than much: its logarithm is a triangle."""
    if not isinstance(annual_kwh, tuple):
        return annual_kwh
    low, high = annual_kwh
    own: float = low * (high / low) ** ((one + two) / 2)
    return round(own, 3)


def _car(seed: int, meter_id: str, things: Things, occupancy: Occupancy, traits: tuple[float, float]) -> Car | None:
    if not things.ev_kwh:
        return None
    kilowatts = charging_kw(things.ev_kw, things.ev_kwh, traits[0])
    kwh_a_day = things.ev_kwh / 365.25 / (1 - _AWAY)
    return Car(kwh_a_day, kilowatts, occupancy.kind, traits[1], Fractions(seed, meter_id, "load car"))


def _habits(traits: Sequence[float], uses_kwh: float, occupancy: Occupancy) -> tuple[list[float], list[float]]:
    """For each appliance, uses a day by its mean wish, and its power relative to its kind.

    They add up to `uses_kwh` a day. `traits`: three numbers from 0 to 1 for each appliance.
    """
    kinds = range(len(APPLIANCES))
    watts = [0.8 + 0.4 * traits[3 * kind] for kind in kinds]
    uses = [
        APPLIANCES[kind].uses_per_day * (0.5 + traits[3 * kind + 1])
        if traits[3 * kind + 2] < APPLIANCES[kind].owned else 0.0
        for kind in kinds
    ]  # fmt: skip
    scale = uses_kwh / sum(uses[kind] * watts[kind] * APPLIANCES[kind].use_kwh for kind in kinds)
    there = [occupancy.on_average(hour) for hour in range(24)]
    workdays, saturdays, sundays = mean_wishes()
    wishes = [
        (5 * sum(map(float.__mul__, workdays[kind], there)) + sum(saturdays[kind]) + sum(sundays[kind])) / 7
        for kind in kinds
    ]
    return [scale * uses[kind] / wishes[kind] for kind in kinds], watts


def _use(appliance: Appliance, start: float, lasting: float, watts: float) -> Iterator[Draw]:
    """A use that is started at second `start` of its hour."""
    for stage in appliance.stages:
        end = start + stage.minutes * 60 * lasting
        milliwatts = int(1000 * stage.watts * watts)
        if stage.duty == 1:
            yield round(start, 3), round(end, 3), milliwatts
        else:
            on = start
            while on < end:
                yield round(on, 3), round(min(end, on + stage.duty * stage.pulse_s), 3), milliwatts
                on += stage.pulse_s
        start = end


def _compressor(cycle: Cycle, numbers: Callable[[int], float], duty: float, hour: Hour) -> Iterator[Draw]:
    """When a compressor is on in an hour: once a period, a little earlier or later, shorter or longer."""
    start = hour.key * HOUR_S
    for number in range(start // cycle.period_s - 1, (start + HOUR_S) // cycle.period_s + 1):
        on = (number + (1 - duty) * numbers(2 * number)) * cycle.period_s - start
        length = duty * cycle.period_s * (0.8 + 0.4 * numbers(2 * number + 1))
        yield round(on, 3), round(on + length, 3), cycle.milliwatts
