"""When an electric car is charged at home: functions of the day, drawn from the household's own numbers.

A car is driven on most days, by distances of its own, and plugged in on some of them, with all that it has used since
the last time. Most are plugged in when somebody comes home, some are told to begin at night, some are at home at noon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pvsim.models.days import WORKDAY
from pvsim.models.occupancy import Routine

SMALL_KWH = 4000  # a year: less is charged from a socket, as much or more from a wall box
_SOCKET_KW, _WALL_BOX_KW, _LARGE_WALL_BOX_KW = 3.7, 7.4, 11.0
_BACK_D = 7  # days between two charges, at most
_LONGEST_H = 24.0
_MEAN_DRIVE = (5 * 1.0 + 2 * 0.7 * 1.3) / 7
_USES_HABIT = 0.8  # on how many of its days


class Charge(NamedTuple):
    """Hours of local time since 1970, from and to."""

    start: float
    end: float


def charging_kw(given: float | None, annual_kwh: float, trait: float) -> float:
    """What it is charged with: as given, or as usual for so much a year. `trait`: from 0 to 1, the household's own."""
    if given is not None:
        return given
    if annual_kwh < SMALL_KWH:
        return _SOCKET_KW
    return _WALL_BOX_KW if trait < 0.5 else _LARGE_WALL_BOX_KW


class Car:
    """One car: `kwh_a_day` on a mean day at home; `trait`, `numbers`: the household's own, from 0 to 1."""

    def __init__(
        self, kwh_a_day: float, kilowatts: float, occupancy: Routine, trait: float, numbers: Callable[[int], float]
    ) -> None:
        self.kilowatts = kilowatts
        self._kwh = kwh_a_day / _MEAN_DRIVE
        self._chance = min(0.9, 0.5 + kwh_a_day / 60)
        self._numbers = numbers
        if trait < 0.2:
            self._habit = (22.0, 1.5)
        elif trait < 0.45 and occupancy in (Routine.AT_HOME, Routine.HALF_DAYS):
            self._habit = (11.0, 3.5)
        else:
            self._habit = (15.75, 4.5)

    def charge(self, day: int, kind_of: Callable[[int], int], is_away: Callable[[int], bool]) -> Charge | None:
        """What begins on a day, if anything; `kind_of` and `is_away`: of a day, whether the family has left with it."""
        if not self._is_plugged_in(day, is_away):
            return None
        needed, back = 0.0, day
        while back == day or (back > day - _BACK_D and not self._is_plugged_in(back, is_away)):
            needed += 0.0 if is_away(back) else self._used_kwh(back, kind_of(back))
            back -= 1
        if needed <= 0:
            return None
        start = self._start(day, kind_of(day))
        end = start + min(_LONGEST_H, needed / self.kilowatts)
        if is_away(day + 1):
            end = min(end, 24.0 * (day + 1))
        elif self._is_plugged_in(day + 1, is_away):
            end = min(end, self._start(day + 1, kind_of(day + 1)))
        return Charge(round(start, 6), round(end, 6))

    def _is_plugged_in(self, day: int, is_away: Callable[[int], bool]) -> bool:
        return self._numbers(4 * day) < self._chance and not is_away(day)

    def _used_kwh(self, day: int, kind: int) -> float:
        number = self._numbers(4 * day + 1)
        if kind == WORKDAY:
            return self._kwh * (0.3 + 1.4 * number)
        return self._kwh * (0.2 + 2.2 * (number - 0.3) / 0.7) if number > 0.3 else 0.0

    def _start(self, day: int, kind: int) -> float:
        first, width = self._habit
        if self._numbers(4 * day + 2) > _USES_HABIT:
            first, width = 15.75, 4.5
        elif kind != WORKDAY and first < 22:
            first, width = 11.0, 9.0
        middle = (self._numbers(4 * day + 3) + self._numbers(4 * day + 2) / _USES_HABIT % 1) / 2
        return 24.0 * day + first + width * middle
