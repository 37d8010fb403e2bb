"""Who is at home when: kinds of households, and how much of each hour of a workday somebody is there and awake.

Four kinds live side by side in a fleet: away for work, away for half of the day, at home, and shifts that change from
week to week. Each household has hours of its own, and now and then somebody stays at home. At weekends all are there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache

AWAY_WORTH = 0.12  # how much is done in an hour in which nobody is there
_AT_HOME_CHANCE = 0.2  # that somebody who works stays at home on a day
_SHIFTS = (
    ((5.25, 14.25),),  # early
    ((13.25, 22.5),),  # late
    ((0.0, 6.25), (7.5, 13.5), (21.25, 24.0)),  # at night, with the sleep after it
)

Absence = tuple[tuple[float, float], ...]
"""Hours of a day, from and to."""


class Routine(Enum):
    """What a household does on workdays, and its share of all."""

    AT_WORK = 0.42
    HALF_DAYS = 0.20
    AT_HOME = 0.28
    SHIFTS = 0.10


def routine_for(number: float) -> Routine:
    """The kind of household that a number from 0 to 1 stands for."""
    for kind in Routine:
        if number < kind.value:
            return kind
        number -= kind.value
    return Routine.AT_HOME


def absences(kind: Routine, habit: float, week: int) -> Absence:
    """When nobody of such a household is there and awake on a workday; `habit`: from 0 to 1, its own."""
    if kind is Routine.AT_WORK:
        return ((6.75 + 2.0 * habit, 15.75 + 2.75 * habit),)
    if kind is Routine.HALF_DAYS:
        return ((7.25 + 1.5 * habit, 11.75 + 2.0 * habit),)
    return _SHIFTS[week % len(_SHIFTS)] if kind is Routine.SHIFTS else ()


def presence(away: Absence, hour: int) -> float:
    """How much is done in an hour of the day, relative to one in which somebody is there."""
    missed = sum(max(0.0, min(hour + 1, end) - max(hour, start)) for start, end in away)
    return 1 - (1 - AWAY_WORTH) * missed


@lru_cache(maxsize=1)
def mean_presence() -> tuple[float, ...]:
    """The mean of all households for each hour of a workday."""
    habits = [(each + 0.5) / 10 for each in range(10)]
    weeks = range(len(_SHIFTS))
    return tuple(
        sum(
            kind.value * usual(absences(kind, habit, week), hour) / len(habits) / len(weeks)
            for kind in Routine for habit in habits for week in weeks
        )
        for hour in range(24)
    )  # fmt: skip


def usual(away: Absence, hour: int) -> float:
    """`presence`, with the days on which somebody stays at home."""
    return _AT_HOME_CHANCE + (1 - _AT_HOME_CHANCE) * presence(away, hour)


class Occupancy:
    """Of one household; `numbers`: its own numbers from 0 to 1, one a day."""

    def __init__(self, kind: Routine, habit: float, numbers: Callable[[int], float]) -> None:
        self.kind = kind
        self._habit = habit
        self._numbers = numbers
        self._first_week = int(habit * 1000)

    def away(self, day: int) -> Absence:
        """When nobody is there on a workday, counted from 1970-01-01."""
        if self._numbers(day) < _AT_HOME_CHANCE:
            return ()
        return absences(self.kind, self._habit, (day + 3) // 7 + self._first_week)

    def on_average(self, hour: int) -> float:
        """How much more or less than in the mean of all households is done in an hour of a workday."""
        weeks = range(len(_SHIFTS) if self.kind is Routine.SHIFTS else 1)
        mine = sum(usual(absences(self.kind, self._habit, week), hour) for week in weeks) / len(weeks)
        return mine / mean_presence()[hour]
