"""A recorded profile as a model: looped, shifted, scaled and interpolated.

All numbers are whole nanoseconds and milliwatts, so that the answer is exact. Rounds of days, weeks and years follow
the wall clock of the file's time zone: an instant is played from the recorded one at which that clock shows the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pvsim.instants import DAY_NS, SECOND_NS
from pvsim.models import PowerModel
from pvsim.models.days import Clock, new_year, year_of
from pvsim.models.noise import uniform

PARTS = 10**6  # a scale of 1
STEP, LINEAR = "step", "linear"
DAY, WEEK, YEAR = "day", "week", "year"

_NEARLY_NS = 3600 * SECOND_NS  # so much may be missing of a file of whole days
_YEAR_DAYS = 365


class Profile(NamedTuple):
    """What was recorded: instants, ascending, in ns since the epoch, and the power at each in mW.

    `end_ns`: when the last one ends; `are_instants`: whether powers are those of instants, not means until the
    next; `is_typical`: whether it is a year made of months of several; `notes`: what its user should know.
    """

    times: array[int]
    milliwatts: array[int]
    end_ns: int
    are_instants: bool = False
    is_typical: bool = False
    notes: tuple[str, ...] = ()


def replay(
    seed: int,
    meter_id: str,
    profile: Profile,
    interpolation: str,
    loop: int | str | None,
    shift_ns: int,
    scale_parts: int,
    spread_ns: int,
    clock: Clock | None = None,
) -> PowerModel:
    """The power of the profile, again and again.

    `interpolation`: empty for linear where the profile is one of instants, else step; `loop`: how long a round takes in
    ns, or DAY, WEEK or YEAR, None for what `usual_loop` says, 0 for one round, with 0 W before and after; `shift_ns`:
    how much later it is; `spread_ns`: each meter has its own delay below this; `scale_parts`: a factor, in millionths;
    `clock`: the wall clock of the file's time zone, None for UTC.
    """
    delay = shift_ns + (uniform(seed, meter_id, "replay spread")([0])[0] * spread_ns >> 64) // SECOND_NS * SECOND_NS
    way = interpolation or (LINEAR if profile.are_instants else STEP)
    if loop is None:
        loop = usual_loop(profile, clock)
    first, length = profile.times[0], profile.end_ns - profile.times[0]
    if isinstance(loop, str):
        round_ns = 0 if loop == YEAR else _round_ns(profile, clock, 7 if loop == WEEK else 1)
        find = _by_days(profile, clock, round_ns) if round_ns else _by_year(profile, clock)
        along = _linear(profile, round_ns) if way == LINEAR else _step(profile)
        return lambda instants_ns: [along(find(each - delay)) * scale_parts // PARTS for each in instants_ns]
    round_ns = loop
    between = _linear(profile, round_ns) if way == LINEAR else _step(profile)

    def power(instants_ns: Sequence[int]) -> list[int]:
        places = [instant - delay - first for instant in instants_ns]
        if round_ns:
            return [between(place % round_ns + first) * scale_parts // PARTS for place in places]
        return [between(place + first) * scale_parts // PARTS if 0 <= place < length else 0 for place in places]

    return power


def usual_loop(profile: Profile, clock: Clock | None) -> int | str:
    """The round of a profile of whole years, or of whole days, or nearly; else as long as it is, in ns."""
    if profile.is_typical:
        return YEAR
    start, end, span = _span(profile, clock)
    years = year_of(end // DAY_NS) - year_of(start // DAY_NS)
    for later in {years, years + 1} - {0}:
        if abs(end - _same_date(start, year_of(start // DAY_NS) + later)) <= DAY_NS + end - span - start:
            return YEAR
    days = round((end - start) / DAY_NS)
    if days and -_NEARLY_NS <= end - start - days * DAY_NS <= end - start - span:
        return DAY
    return profile.end_ns - profile.times[0]


def covered_days(profile: Profile, clock: Clock | None) -> float:
    """How many days a profile covers."""
    start, end, _ = _span(profile, clock)
    return (end - start) / DAY_NS


def _span(profile: Profile, clock: Clock | None) -> tuple[int, int, int]:
    """When it begins and ends by the wall clock, and how far it is from its first instant to its last."""
    start, last = _wall(profile.times[0], clock), _wall(profile.times[-1], clock)
    return start, last + profile.end_ns - profile.times[-1], last - start


# Wall clocks.


def _wall(instant: int, clock: Clock | None) -> int:
    return instant + clock(instant // SECOND_NS) * SECOND_NS if clock else instant


def _instant(wall: int, clock: Clock | None, like: int) -> int:
    """The instant at which the wall clock shows this; where it does so twice, the one in the same pass as `like`."""
    if clock is None:
        return wall
    same = wall - clock(like // SECOND_NS) * SECOND_NS
    if _wall(same, clock) == wall:
        return same
    ahead = [clock((wall - hours * 3600 * SECOND_NS) // SECOND_NS) for hours in (-26, 26)]
    found = [wall - each * SECOND_NS for each in (max(ahead), min(ahead))]
    return next((each for each in found if _wall(each, clock) == wall), found[-1])


def _round_ns(profile: Profile, clock: Clock | None, days: int) -> int:
    """How long a round is that takes so many days, or a multiple, as the profile needs."""
    _, _, span = _span(profile, clock)
    return days * DAY_NS * max(1, -(-span // (days * DAY_NS)))


def _by_days(profile: Profile, clock: Clock | None, round_ns: int) -> Callable[[int], int]:
    """Rounds of so many ns of the wall clock."""
    start, _, _ = _span(profile, clock)

    def find(instant: int) -> int:
        return _instant((_wall(instant, clock) - start) % round_ns + start, clock, instant)

    return find


def _by_year(profile: Profile, clock: Clock | None) -> Callable[[int], int]:
    """The same date and time of day, in the recorded years, one after the other."""
    start, end, _ = _span(profile, clock)
    first_year, last_year = year_of(start // DAY_NS), year_of(end // DAY_NS)
    years = max(1, round((end - start) / (_YEAR_DAYS * DAY_NS)))

    def find(instant: int) -> int:
        wall = _wall(instant, clock)
        year = first_year + (year_of(wall // DAY_NS) - first_year) % years
        others = (year, year + years, *range(last_year, first_year - 1, -1))
        dates = [_same_date(wall, other) for other in others]
        return _instant(next((each for each in dates if start <= each < end), dates[0]), clock, instant)

    return find


def _same_date(wall: int, year: int) -> int:
    """The same date and time of day in another year; 29 February is the 28th where there is none."""
    day, rest = divmod(wall, DAY_NS)
    own = year_of(day)
    number = day - new_year(own)  # from 0
    is_29th = _is_leap(own) and number == _FEBRUARY_29
    if _is_leap(own) and number >= _FEBRUARY_29:
        number -= 1
    if _is_leap(year) and (is_29th or number >= _FEBRUARY_29):
        number += 1
    return (new_year(year) + number) * DAY_NS + rest


_FEBRUARY_29 = 59  # counted from 1 January, which is 0


def _is_leap(year: int) -> bool:
    return new_year(year + 1) - new_year(year) == 366


# Between two instants.


def _step(profile: Profile) -> Callable[[int], int]:
    times, milliwatts = profile.times, profile.milliwatts
    return lambda at: milliwatts[bisect_right(times, at) - 1]


def _linear(profile: Profile, round_ns: int) -> Callable[[int], int]:
    """On a straight line from each instant to the next; from the last one to the first of the next round."""
    times, milliwatts = profile.times, profile.milliwatts

    def between(at: int) -> int:
        after = bisect_right(times, at)
        start, low = times[after - 1], milliwatts[after - 1]
        if after < len(times):
            end, high = times[after], milliwatts[after]
        else:
            end, high = times[0] + round_ns, milliwatts[0] if round_ns else low
        return low + (high - low) * (at - start) // (end - start) if end > start else low

    return between


KEYS = (
    "file", "column", "unit", "time_column", "file_timezone", "time_format", "missing", "where", "interpolation",
    "loop", "shift_ns", "scale_parts", "spread_ns",
)  # fmt: skip
"""The keys of a replay. Whoever reads the file replaces those up to `where` by the profile in it, and its clock."""
