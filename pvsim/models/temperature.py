"""The temperature of the air at a place: its months, day and night, and warm and cold spells; °C."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from pvsim.models.days import YEAR_DAYS, of_hemisphere, on_day
from pvsim.models.waves import Rhythm, waves

# Monthly means of Munich, °C: the usual figures of its climate, by recollection; no table was copied.
MUNICH_C = (0.3, 1.4, 5.3, 9.4, 14.3, 17.2, 19.4, 18.9, 14.7, 10.1, 4.4, 1.3)
_SPELLS = Rhythm(memory_h=60.0, shortest_h=24.0, longest_h=30 * 24.0)
_WARMEST_H = 15.0  # of solar time


def monthly_c(given: tuple[float, ...] | None, latitude: float) -> tuple[float, ...]:
    """The means of the year or of each month; those of Munich if none are given, half a year later in the south."""
    return given or of_hemisphere(MUNICH_C, latitude)


def of_day(hour: float, swing_k: float) -> float:
    """How much warmer than the mean of the day it is at an hour of solar time; `swing_k`: from night to day."""
    return swing_k / 2 * cos(2 * pi * (hour - _WARMEST_H) / 24)


def spell_k(latitude: float) -> float:
    """The standard deviation of a day's mean from that of its time of the year: less in the tropics."""
    return 1.0 + 3.0 * min(1.0, abs(latitude) / 45)


def spells(seed: int, latitude: float, longitude: float) -> Callable[[float], float]:
    """A function of hours since 1970: how warm it is for its time of the year, in standard deviations."""
    return waves(seed, "temperature", _SPELLS, latitude, longitude)


def air_temperature(
    seed: int, latitude: float, longitude: float, monthly: tuple[float, ...], swing_k: float
) -> Callable[[int], float]:
    """A function of whole hours since 1970, UTC. `monthly`: means of the year or of each month."""
    spell, deviation = spells(seed, latitude, longitude), spell_k(latitude)

    def node(hour: int) -> float:
        mean = on_day(monthly, hour / 24 % YEAR_DAYS)
        return round(mean + of_day(hour + longitude / 15, swing_k) + deviation * spell(hour), 4)

    return node
