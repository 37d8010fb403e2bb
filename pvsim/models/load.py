"""The power that a household draws.

`household` puts a local hour together at a time, from what is on, from when to when.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from pvsim.instants import SECOND_NS
from pvsim.models import Model, PowerModel
from pvsim.models.days import Clock
from pvsim.models.home import HOUR_S, Draw, Home, Hour, Place, Things, hour_at
from pvsim.models.noise import Fractions, between, uniform
from pvsim.models.replay import KEYS, replay

MAX_LOAD_MILLIWATTS = 9_000_000
_ZONE_STEP_S = 900  # no time zone changes its offset from UTC in between
_QUARTER_NS = _ZONE_STEP_S * SECOND_NS


def random(seed: int, meter_id: str) -> PowerModel:
    """Uniform over 0 … 9000 W in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "load random")

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * (MAX_LOAD_MILLIWATTS + 1) >> 64 for number in numbers(instants_ns)]

    return power


def household(
    seed: int,
    meter_id: str,
    annual_kwh: float | tuple[float, float],
    ev_kwh: float,
    ev_kw: float | None,
    heat_pump_kwh: float,
    fuse_kw: float,
    **place: Any,
) -> PowerModel:
    """A household that draws `annual_kwh` in a mean year, plus what an electric car and a heat pump take.

    `fuse_kw`: the most that its main fuse lets through; `place`: the fields of Place.
    """
    where = Place(**place)
    home = Home(seed, meter_id, Things(annual_kwh, ev_kwh, ev_kw, heat_pump_kwh), where)
    ripple = between(Fractions(seed, meter_id, "load ripple"), SECOND_NS)
    most_mw, last = int(fuse_kw * 10**6), _Level(home, where.timezone)

    def power(instants_ns: Sequence[int]) -> list[int]:
        found = []
        for instant, noise in zip(instants_ns, ripple(instants_ns), strict=True):
            if not last.since_ns <= instant < last.until_ns:
                last.move(instant)
            found.append(min(most_mw, int(last.milliwatts * (1 + 0.02 * (noise - 0.5)))))
        return found

    return power


class _Level:
    """The power around the last instant, from and until when it is so, and the levels of that hour."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._hour: Hour | None = None
        self._times_ns: list[int] = []
        self._levels: list[int] = []
        self.since_ns = self.until_ns = self.milliwatts = 0

    def move(self, instant: int) -> None:
        """To another instant."""
        quarter = instant // _QUARTER_NS
        hour = hour_at(self._clock, quarter * _ZONE_STEP_S)
        if hour != self._hour:
            self._hour = hour
            times_s, self._levels = steps(self._home.draws(hour))
            self._times_ns = [(hour.start_s * 1000 + round(time_s * 1000)) * 10**6 for time_s in times_s]
        place = bisect_right(self._times_ns, instant)
        self.milliwatts = self._levels[place - 1]
        self.since_ns = max(self._times_ns[place - 1], quarter * _QUARTER_NS)
        self.until_ns = min(self._times_ns[place], (quarter + 1) * _QUARTER_NS)


def steps(draws: list[Draw]) -> tuple[list[float], list[int]]:
    """The draws of an hour, added up: from each time on, to the next, the power is the level beside it."""
    changes: dict[float, int] = {0.0: 0}
    for start, end, milliwatts in draws:
        if end > 0 and start < HOUR_S:
            start = max(0.0, start)
            changes[start] = changes.get(start, 0) + milliwatts
            changes[end] = changes.get(end, 0) - milliwatts
    times, levels, level = sorted(changes), [], 0
    for time_s in times:
        level += changes[time_s]
        levels.append(level)
    return times, levels


_HOUSEHOLD = ("annual_kwh", "ev_kwh", "ev_kw", "heat_pump_kwh", "fuse_kw", *Place._fields)
MODELS = {
    "random": Model(random),
    "household": Model(household, _HOUSEHOLD),
    "replay": Model(replay, KEYS),
}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The load model of this name for one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
