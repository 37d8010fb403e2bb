"""The power that a household draws.

`household` puts a local hour together at a time: what is on, from when to when, as steps of constant power. What starts
in an hour is drawn from the hour's own number, and nothing takes longer than three hours, so an hour needs
only the starts of itself and of the three before, whichever instant is asked for first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pvsim.models import Model, PowerModel
from pvsim.models.appliances import (
    APPLIANCES,
    LONGEST,
    LONGEST_USE_S,
    SHORTEST,
    Appliance,
    mean_wishes,
    wish,
    year_place,
)
from pvsim.models.days import kind_of_day
from pvsim.models.noise import between, fractions, uniform
from pvsim.models.replay import KEYS, replay

MAX_LOAD_MILLIWATTS = 9_000_000
SECOND_NS = 10**9
HOUR_S, DAY_S = 3600, 86400
_ZONE_STEP_S = 900  # no time zone changes its offset from UTC in between
_LANES = 16  # numbers that an hour has for its starts, at least one per appliance
_MOST_STARTS = 4  # of one appliance in one hour

_TRIP_EVERY_D, _TRIP_CHANCE, _TRIP_DAYS = 60, 0.4, (4, 14)
_AWAY = _TRIP_CHANCE * sum(_TRIP_DAYS) / 2 / _TRIP_EVERY_D
_EV_CHANCE, _EV_HOURS = 0.55, (16.5, 20.5)  # of a day; when it is plugged in

Span = tuple[float, float, int]  # from, to: seconds of an hour or beyond it; mW
LocalClock = Callable[[int], int]
"""Seconds since the epoch → seconds to add for local time."""


def random(seed: int, meter_id: str) -> PowerModel:
    """Uniform over 0 … 9000 W in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "load random")

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * (MAX_LOAD_MILLIWATTS + 1) >> 64 for number in numbers(instants_ns)]

    return power


def household(
    seed: int, meter_id: str, annual_kwh: float, ev_kwh: float, heat_pump_kwh: float, timezone: LocalClock
) -> PowerModel:
    """A household that draws `annual_kwh` in a mean year, plus what an electric car and a heat pump take."""
    home = Home(seed, meter_id, annual_kwh, ev_kwh, heat_pump_kwh)
    ripple = between(fractions(seed, meter_id, "load ripple"), SECOND_NS)
    hour, quarter, offset_s = -1, -1, 0
    times: list[float] = []
    levels: list[int] = []

    def power(instants_ns: Sequence[int]) -> list[int]:
        nonlocal hour, quarter, offset_s, times, levels
        found = []
        for instant, noise in zip(instants_ns, ripple(instants_ns), strict=True):
            if instant // (_ZONE_STEP_S * SECOND_NS) != quarter:
                quarter = instant // (_ZONE_STEP_S * SECOND_NS)
                offset_s = timezone(quarter * _ZONE_STEP_S)
            local_hour, part_ns = divmod(instant + offset_s * SECOND_NS, HOUR_S * SECOND_NS)
            if local_hour != hour:
                hour = local_hour
                times, levels = steps(home.spans(hour))
            level = levels[bisect_right(times, part_ns / SECOND_NS) - 1]
            found.append(min(MAX_LOAD_MILLIWATTS, int(level * (1 + 0.02 * (noise - 0.5)))))
        return found

    return power


def steps(spans: list[Span]) -> tuple[list[float], list[int]]:
    """The spans of an hour, added up: from each time on, to the next, the power is the level beside it."""
    changes: dict[float, int] = {0.0: 0}
    for start, end, milliwatts in spans:
        if end > 0 and start < HOUR_S:
            start = max(0.0, start)
            changes[start] = changes.get(start, 0) + milliwatts
            changes[end] = changes.get(end, 0) - milliwatts
    times, levels, level = sorted(changes), [], 0
    for time_s in times:
        level += changes[time_s]
        levels.append(level)
    return times, levels


class Cycle(NamedTuple):
    """A compressor: how long it takes from on to on, and what it draws while it is on."""

    period_s: int
    milliwatts: int


class Home:
    """The habits of one household, drawn from seed and meter id; it asks for the hours one by one."""

    def __init__(self, seed: int, meter_id: str, annual_kwh: float, ev_kwh: float, heat_pump_kwh: float) -> None:
        self._starts = uniform(seed, meter_id, "load starts")
        self._details = fractions(seed, meter_id, "load details")
        self._trips = fractions(seed, meter_id, "load trips")
        self._car = fractions(seed, meter_id, "load car")
        self._fridge_at = fractions(seed, meter_id, "load fridge")
        self._pump_at = fractions(seed, meter_id, "load pump")
        self._recent: dict[int, list[Span]] = {}
        traits = fractions(seed, meter_id, "load traits")
        mean_w = annual_kwh / 8.76
        self._base_mw = int(1000 * mean_w * (0.16 + 0.14 * traits(0)))
        self._duty = 0.32 + 0.16 * traits(1)
        fridge_w = (65 + 40 * traits(2)) * min(1.0, annual_kwh / 2000)
        self._fridge = Cycle(round(2100 + 1800 * traits(3)), int(1000 * fridge_w))
        self._rhythm_h = 1.6 * traits(4) - 0.8
        uses_kwh = (mean_w - self._base_mw / 1000 - fridge_w * self._duty) * 24 / 1000 / (1 - _AWAY)
        self._rates, self._watts = _habits([traits(8 + each) for each in range(3 * len(APPLIANCES))], uses_kwh)
        self._car_mw = (3_700_000 if ev_kwh <= 4000 else 7_400_000) if ev_kwh else 0
        self._car_s = ev_kwh / 365.25 / _EV_CHANCE / self._car_mw * 1e6 * HOUR_S if ev_kwh else 0.0
        self._pump_w = heat_pump_kwh / 8.76
        self._pump = Cycle(round(2400 + 1800 * traits(5)), int(1000 * min(6000.0, max(1500.0, 3 * self._pump_w))))

    def spans(self, hour: int) -> list[Span]:
        """What is on in this local hour, counted from 1970; parts may lie before and after it."""
        found: list[Span] = [(0.0, HOUR_S, self._base_mw)]
        found += _compressor(self._fridge, self._fridge_at, hour, self._duty)
        if self._pump_w:
            found += _compressor(self._pump, self._pump_at, hour, self._pump_duty(hour))
        if self._car_mw:
            found += self._charging(hour)
        slots = range(hour - LONGEST_USE_S // HOUR_S, hour + 1)
        self._recent = {slot: self._recent.get(slot) or self._uses(slot) for slot in slots}
        for slot in slots:
            shift_s = (slot - hour) * HOUR_S
            found += [(start + shift_s, end + shift_s, milliwatts) for start, end, milliwatts in self._recent[slot]]
        return found

    def _uses(self, slot: int) -> list[Span]:
        """All that is started in an hour."""
        day, hour = divmod(slot, 24)
        if self.is_away(day):
            return []
        kind_of, winter = kind_of_day(day), year_place(day)
        numbers = self._starts([(slot * _LANES + each) * SECOND_NS for each in range(len(APPLIANCES))])
        found: list[Span] = []
        for kind, appliance in enumerate(APPLIANCES):
            wanted = (
                self._rates[kind] * wish(appliance, kind_of, winter, hour, self._rhythm_h) if self._rates[kind] else 0.0
            )
            for each in range(min(_MOST_STARTS, int(wanted + numbers[kind] / 2**64))):
                at = ((slot * _LANES + kind) * _MOST_STARTS + each) * 2
                lasting = SHORTEST + (LONGEST - SHORTEST) * self._details(at + 1)
                found += _use(appliance, round(self._details(at) * HOUR_S, 3), lasting, self._watts[kind])
        return found

    def is_away(self, day: int) -> bool:
        """Whether they are on holiday that day."""
        for turn in (day // _TRIP_EVERY_D - 1, day // _TRIP_EVERY_D):
            if self._trips(3 * turn) < _TRIP_CHANCE:
                leave = turn * _TRIP_EVERY_D + int(self._trips(3 * turn + 1) * _TRIP_EVERY_D)
                shortest, longest = _TRIP_DAYS
                if leave <= day < leave + shortest + int(self._trips(3 * turn + 2) * (longest - shortest + 1)):
                    return True
        return False

    def _charging(self, hour: int) -> Iterator[Span]:
        for day in (hour // 24 - 1, hour // 24):
            if self._car(3 * day) < _EV_CHANCE:
                first, last = _EV_HOURS
                start = (first + (last - first) * self._car(3 * day + 1)) * HOUR_S + (day * 24 - hour) * HOUR_S
                yield (
                    round(start, 3),
                    round(start + self._car_s * (0.4 + 1.2 * self._car(3 * day + 2)), 3),
                    self._car_mw,
                )

    def _pump_duty(self, hour: int) -> float:
        """Heating in proportion to the cold, and hot water all the year; its mean is that of `heat_pump_kwh`."""
        cold = max(0.0, year_place(hour / 24) - 0.1)
        return round(min(0.95, self._pump_w * (0.2 + 0.8 * cold / _MEAN_COLD) * 1000 / self._pump.milliwatts), 9)


_MEAN_COLD = sum(max(0.0, year_place(day) - 0.1) for day in range(365)) / 365


def _habits(traits: Sequence[float], uses_kwh: float) -> tuple[list[float], list[float]]:
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
    return [scale * uses[kind] / mean_wishes()[kind] for kind in kinds], watts


def _use(appliance: Appliance, start: float, lasting: float, watts: float) -> Iterator[Span]:
    """A use that is started at second `start` of its hour."""
    for phase in appliance.phases:
        end = start + phase.minutes * 60 * lasting
        milliwatts = int(1000 * phase.watts * watts)
        if phase.duty == 1:
            yield round(start, 3), round(end, 3), milliwatts
        else:
            on = start
            while on < end:
                yield round(on, 3), round(min(end, on + phase.duty * phase.pulse_s), 3), milliwatts
                on += phase.pulse_s
        start = end


def _compressor(cycle: Cycle, numbers: Callable[[int], float], hour: int, duty: float) -> Iterator[Span]:
    """When a compressor is on in an hour: once a period, a little earlier or later, shorter or longer."""
    start = hour * HOUR_S
    for turn in range(start // cycle.period_s - 1, (start + HOUR_S) // cycle.period_s + 1):
        on = (turn + (1 - duty) * numbers(2 * turn)) * cycle.period_s - start
        length = duty * cycle.period_s * (0.8 + 0.4 * numbers(2 * turn + 1))
        yield round(on, 3), round(on + length, 3), cycle.milliwatts


_HOUSEHOLD = ("annual_kwh", "ev_kwh", "heat_pump_kwh", "timezone")
MODELS = {
    "random": Model(random),
    "household": Model(household, _HOUSEHOLD),
    "replay": Model(replay, KEYS),
}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The load model of this name for one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
