"""What a heat pump draws: it follows the temperature outside and the hour of the day."""

from __future__ import annotations

from functools import lru_cache

from pvsim.models.days import YEAR_DAYS, on_day
from pvsim.models.temperature import of_day

LIMIT_C = 15.0  # above it, houses need no heating
HOT_WATER = 0.15  # its share of the year
# By the hour of the day, with a mean of 1: houses are let cool down at night and are warmed up in the morning; hot
# water is used in the morning and in the evening.
_HEATING = (0.75,) * 5 + (1.3,) * 3 + (1.05,) * 13 + (0.9,) * 3
_HOT_WATER = (0.2,) * 5 + (2.0,) * 4 + (0.8,) * 8 + (1.6,) * 5 + (0.3,) * 2
_FULL_LOAD = 4.5  # how many times its mean power it has
_SPELLS = (-1.6, -0.7, 0.0, 0.7, 1.6)  # standard deviations, one for each fifth of the days


def need(air_c: float) -> float:
    """What heating takes, relative: more degrees to heat, each with less from the air outside."""
    return max(0.0, LIMIT_C - air_c) * (1 + 0.025 * max(-12.0, 7.0 - air_c))


@lru_cache(maxsize=100)
def mean_need(monthly_c: tuple[float, ...], swing_k: float, spell_k: float) -> float:
    """The mean of a year at a place."""
    found = [
        need(on_day(monthly_c, (month + 0.5) / 12 * YEAR_DAYS) + of_day(hour, swing_k) + spell * spell_k)
        for month in range(12) for hour in range(0, 24, 2) for spell in _SPELLS
    ]  # fmt: skip
    return round(sum(found) / len(found), 6)


def rated_w(mean_w: float) -> float:
    """The power of one that draws so much in the mean of a year."""
    return max(1500.0, _FULL_LOAD * mean_w)


def wanted(air_c: float, mean: float, hour: int) -> float:
    """What it draws in an hour of local time, relative to the mean of the year. `mean`: of `need`, of the year."""
    heating = need(air_c) / mean * _HEATING[hour] / (sum(_HEATING) / 24) if mean else 0.0
    return HOT_WATER * _HOT_WATER[hour] / (sum(_HOT_WATER) / 24) + (1 - HOT_WATER) * heating
