"""The calendar, in days counted from 1970-01-01, a Thursday: months, weekdays, and the holidays of Germany."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

YEAR_DAYS = 365.2425
DAY_S = 86400
WORKDAY, SATURDAY, SUNDAY = range(3)

# Days to the end of the year: 29 February lies before all of these, and does not move them.
_MARCH, _MAY, _UNITY, _DECEMBER_24, _DECEMBER_31 = 306, 245, 90, 8, 1
_CHRISTMAS = (7, 6)
_FROM_EASTER = (-2, 1, 39, 50)  # Good Friday, Easter Monday, Ascension, Whit Monday


def on_day(values: Sequence[float], day_of_year: float) -> float:
    """One value of the year, or twelve monthly ones, on a day: each is that of the middle of its part of the year."""
    place = day_of_year / YEAR_DAYS * len(values) - 0.5
    before = int(place // 1)
    low, high = values[before % len(values)], values[(before + 1) % len(values)]
    return low + (high - low) * (place - before)


def of_hemisphere(monthly: tuple[float, ...], latitude: float) -> tuple[float, ...]:
    """The months of a place in the north, half a year later where `latitude` is south of the equator."""
    return monthly if latitude >= 0 else monthly[6:] + monthly[:6]


def new_year(year: int) -> int:
    """The first day of a year of the Gregorian calendar."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 - 719_162


def year_of(day: int) -> int:
    """The year that a day is in."""
    year = 1970 + int(day // YEAR_DAYS)
    return year + (day >= new_year(year + 1)) - (day < new_year(year))


def easter(year: int) -> int:
    """Easter Sunday: Gauss's rule, with the exceptions as terms of the formula."""
    century, cycle = year // 100, year % 19
    skipped = (3 * century + 3) // 4
    moon = (19 * cycle + 15 + skipped - (8 * century + 13) // 25) % 30
    full_moon = 20 + moon - (moon + cycle // 11) // 29  # days after 1 March
    first_sunday = 6 - (year + year // 4 + 2 - skipped) % 7
    return new_year(year + 1) - _MARCH + full_moon + 7 - (full_moon - first_sunday) % 7


Clock = Callable[[int], int]
"""How many seconds a wall clock is ahead of UTC, at an instant in s."""
Holidays = frozenset[int] | None
"""The days that are holidays; None for those of all Germany."""


@lru_cache(maxsize=64)
def kind_of_day(day: int, holidays: Holidays = None) -> int:
    """WORKDAY, SATURDAY or SUNDAY as the standard profiles count them (VDEW M-02/2000): holidays are Sundays.

    In Germany 24 and 31 December are Saturdays unless they are Sundays.
    """
    weekday = max(WORKDAY, (day + 3) % 7 - 4)
    if holidays is not None:
        return SUNDAY if day in holidays else weekday
    year = year_of(day)
    left = new_year(year + 1) - day
    if day == new_year(year) or left in (_MAY, _UNITY, *_CHRISTMAS) or day - easter(year) in _FROM_EASTER:
        return SUNDAY
    return max(SATURDAY if left in (_DECEMBER_24, _DECEMBER_31) else WORKDAY, weekday)
