"""The calendar of Germany, in days counted from 1970-01-01, a Thursday."""

from __future__ import annotations

from functools import lru_cache

YEAR_DAYS = 365.2425
WORKDAY, SATURDAY, SUNDAY = range(3)

# Counted from the end of the year, since 29 February lies before all but New Year.
_MARCH, _MAY, _UNITY, _DECEMBER_24, _DECEMBER_31 = 306, 245, 90, 8, 1
_CHRISTMAS = (7, 6)
_FROM_EASTER = (-2, 1, 39, 50)  # Good Friday, Easter Monday, Ascension, Whit Monday


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


@lru_cache(maxsize=16)
def kind_of_day(day: int) -> int:
    """WORKDAY, SATURDAY or SUNDAY as the standard profiles count them (VDEW M-02/2000).

    The holidays of all Germany are Sundays, 24 and 31 December Saturdays unless they are Sundays.
    """
    year = year_of(day)
    left = new_year(year + 1) - day
    if day == new_year(year) or left in (_MAY, _UNITY, *_CHRISTMAS) or day - easter(year) in _FROM_EASTER:
        return SUNDAY
    eve = SATURDAY if left in (_DECEMBER_24, _DECEMBER_31) else WORKDAY
    return max(eve, (day + 3) % 7 - 4)
