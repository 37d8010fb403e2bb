"""What was read becomes a profile: energies become powers, a typical year one year, and what is odd is told."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from operator import lt, sub
from typing import TYPE_CHECKING

from pvsim.instants import DAY_NS, HOUR_NS, SECOND_NS
from pvsim.models.replay import Profile
from pvsim.profiles.bad import BadProfile
from pvsim.profiles.clocks import Zone
from pvsim.profiles.looks import by_format
from pvsim.profiles.times import OLD_NS, Epochs, stamp_formats
from pvsim.profiles.units import ENERGY, POWER, TOTAL
from pvsim.profiles.wishes import ZERO, Wishes
from pvsim.wallclock import moment

if TYPE_CHECKING:
    from pvsim.profiles.body import Body

_YEARS_APART_NS = 300 * DAY_NS
MOST_MILLIWATTS = 10**15  # which can still be sent
_TYPICAL_YEAR = 2001
_LONGEST_TOLD = 3
_MOST_LOOKED_AT = 1000
_RISES = 9  # without a fall: hardly a power


def is_next_month(previous: int, instant: int, zone: Zone | None) -> bool:
    """Whether one instant ends a month, and the other begins the next one, whatever their years are."""
    before, after = (moment(each + _ahead_ns(zone, each)) for each in (previous, instant))
    return after.month == before.month + 1 and before.day >= 28 and after.day == 1


def _ahead_ns(zone: Zone | None, instant: int) -> int:
    return zone.ahead_ns(instant) if zone else 0


def finish(body: Body, wishes: Wishes) -> Profile:
    """The profile of what was read, or BadProfile."""
    for place, value in body.numbers.settle().items():
        body.values[place] = value
    if len(body.times) < 2 and wishes.where:
        raise BadProfile(f"has fewer than two lines with {' = '.join(wishes.where)}; name another value.")
    if len(body.times) < 2:
        raise BadProfile("has fewer than two lines of data; give at least two.")
    notes = []
    _check_second_turns(body)
    notes += _epoch_notes(body)
    _check_years_apart(body, wishes)
    if body.is_typical:
        notes += _make_one_year(body)
        body.steps.gaps.clear()
    if body.head.times.is_naive and not body.head.is_naive_said and not wishes.file_timezone:
        body.steps.check_clocks(body.times)
        notes.append("its times have no offset, and are taken as UTC; file_timezone names another time zone")
    if body.head.end_name:
        notes.append(f"its times are ends, as the column {body.head.end_name} says, and count as beginnings; see shift")
    notes += _gap_notes(body)
    end_ns = 2 * body.times[-1] - body.times[-2]
    if body.head.unit.kind != POWER:
        end_ns = _make_powers(body, wishes)
    elif not body.head.is_counter_unlikely:
        _check_counter(body)
    milliwatts = body.values
    largest = max(max(milliwatts), -min(milliwatts))
    if largest > MOST_MILLIWATTS:
        raise BadProfile(
            f"has a power of {largest // 10**6:,} kW; {MOST_MILLIWATTS // 10**6:,} kW are the most. Give the right"
            " unit: W, kW, MW, Wh, kWh, or Wh total, kWh total for a counter."
        )
    return Profile(body.times, milliwatts, end_ns, body.head.are_instants, body.is_typical, tuple(notes))


def _some(body: Body) -> array[int]:
    return body.times[:: max(1, len(body.times) // _MOST_LOOKED_AT)]


def _epoch_notes(body: Body) -> list[str]:
    """What is said of numbers that are taken as seconds since the epoch; BadProfile if all could be dates."""
    kind = body.head.times
    if not isinstance(kind, Epochs) or kind.is_said:
        return []
    if formats := stamp_formats(_some(body)):
        first = f"{body.times[0] // SECOND_NS}"
        dates = ", ".join(f"{by_format(first, each):%Y-%m-%d %H:%M} for time_format = {each}" for each in formats)
        raise BadProfile(
            f"has times that are all seconds since 1970 or dates: {first} is {dates}, or seconds for time_format = %s."
        )
    if body.times[-1] < OLD_NS and body.steps.usual_ns <= SECOND_NS:
        raise BadProfile(
            f"has times that count up to {body.times[-1] / SECOND_NS:g}: seconds, for time_format = %s, or rows, hours"
            " or days; give dates for these."
        )
    if body.times[-1] < OLD_NS:
        return ["its times are taken as seconds since 1970; if they count something else, give dates"]
    return []


def _check_second_turns(body: Body) -> None:
    """In the hour that comes twice, a row that stands twice looks like the second pass; but it leaves a gap."""
    steps = body.head.times.zone.steps_back if body.head.times.zone else {}
    for instant, step in steps.items():
        if step > body.steps.usual_ns:
            raise BadProfile(
                f"goes back in the hour that comes twice in autumn, up to {moment(instant):%Y-%m-%d %H:%M} UTC, where"
                f" rows are {step // SECOND_NS} s apart and else {body.steps.usual_ns // SECOND_NS} s: that hour a"
                " second time, with a gap, or lines out of order; sort the lines, each time once, or give all times an"
                " offset."
            )


# Typical years.


def _check_years_apart(body: Body, wishes: Wishes) -> None:
    apart = [gap for gap in body.steps.gaps if gap[1] > _YEARS_APART_NS]
    if body.is_typical or not apart:
        return
    years: dict[int, set[int]] = {}
    for day in _days(body):
        years.setdefault(day.month, set()).add(day.year)
    if any(len(each) > 1 for each in years.values()):
        return
    if body.head.times.is_pvgis:
        body.is_typical = True
    elif not wishes.is_looped:
        line, gap = apart[0]
        raise BadProfile(
            f"line {line} comes {gap // DAY_NS} days after the one before, and no month is there twice: this is a"
            " typical year, for loop = year, or a record with a gap, for loop = 0 or another one."
        )


def _days(body: Body) -> list[datetime]:
    ahead_ns = _ahead_ns(body.head.times.zone, body.times[0])
    return [moment(day * DAY_NS) for day in dict.fromkeys((instant + ahead_ns) // DAY_NS for instant in body.times)]


def _make_one_year(body: Body) -> list[str]:
    """All instants at their date in one year, ascending; each month is of one year. 29 February is left out."""
    zone = body.head.times.zone
    ahead_ns = _ahead_ns(zone, body.times[0])
    if zone and any(zone.ahead_ns(each) != ahead_ns for each in _some(body)):
        raise BadProfile(
            f"is a typical year in {zone.name}, where clocks change; give its times in UTC, or in a time zone such as"
            " Etc/GMT-1, which is UTC+1 all year."
        )
    years: dict[int, int] = {}
    for day in _days(body):
        if years.setdefault(day.month, day.year) != day.year:
            raise BadProfile(
                "goes back to an earlier year, but is no typical year: month"
                f" {day.month} is there of two years; sort the lines, each time once."
            )
    starts: dict[int, int] = {}
    places = []
    for instant, value in zip(body.times, body.values, strict=True):
        number, rest = divmod(instant + ahead_ns, DAY_NS)
        if number not in starts:
            then = date(1970, 1, 1).fromordinal(719_163 + number)
            is_29th = (then.month, then.day) == (2, 29)
            starts[number] = -1 if is_29th else (then.replace(year=_TYPICAL_YEAR).toordinal() - 719_163) * DAY_NS
        if starts[number] >= 0:
            places.append((starts[number] + rest - ahead_ns, value))
    places.sort()
    if any(first[0] == second[0] for first, second in pairwise(places)):
        raise BadProfile("has a typical year in which a date comes twice; give each month once.")
    body.times, body.values = array("q", [each[0] for each in places]), array("q", [each[1] for each in places])
    missing = ", ".join(str(month) for month in range(min(years), max(years)) if month not in years)
    return [f"it is a typical year without month {missing}, in which the power before it lasts"] if missing else []


# Gaps.


def _gap_notes(body: Body) -> list[str]:
    if not body.steps.gaps:
        return []
    longest = sorted(body.steps.gaps, key=lambda gap: -gap[1])[:_LONGEST_TOLD]
    lines = ", ".join(f"{gap / DAY_NS:.1f} days before line {line}" for line, gap in sorted(longest))
    more = f" and {len(body.steps.gaps) - len(longest)} more" if len(body.steps.gaps) > len(longest) else ""
    return [f"it has gaps, in which the power before them lasts: {lines}{more}"]


# Energies.


def _make_powers(body: Body, wishes: Wishes) -> int:
    """µWh become mW; returns when the last one ends."""
    is_total = body.head.unit.kind == TOTAL
    if body.head.may_be_total and body.values[-1] > 0 and all(low <= high for low, high in pairwise(body.values)):
        name = body.head.unit.name
        raise BadProfile(
            f"has values in {body.head.names[body.head.at.value]} that never fall: energy of each line until the next,"
            f" for unit = {name}, or a counter, for unit = {name} total."
        )
    if body.head.may_be_total and _mostly_rises(body.values):
        name = body.head.unit.name
        raise BadProfile(
            f"has values in {body.head.names[body.head.at.value]} that rise, and fall now and then:"
            f" energy of each line until the next, for unit = {name}, or a counter that begins anew, such as a day's,"
            " or goes back, which cannot be replayed."
        )
    if is_total:
        if wishes.missing == ZERO:
            raise BadProfile("is of a counter, which no missing value makes 0; give missing = skip or error.")
        return _differences(body)
    assert body.head.unit.kind == ENERGY
    times, values = body.times, body.values
    steps = array("q", map(sub, times[1:], times))
    usual, count = Counter(steps).most_common(1)[0]
    limit = usual * 3 // 2 if 2 * count >= len(steps) else max(steps)
    for at, step in enumerate(steps):
        values[at] = _milliwatts(values[at], usual if step > limit else step)
    last = usual if steps[-1] > limit else steps[-1]
    values[-1] = _milliwatts(values[-1], last)
    end_ns: int = times[-1] + last
    return end_ns


def _check_counter(body: Body) -> None:
    """What is called neither power nor energy, and only rises, is hardly a power."""
    values = body.values
    if all(low <= high for low, high in pairwise(values)) and len(set(values[: 2 * _RISES])) > _RISES:
        raise BadProfile(
            f"has values in {body.head.names[body.head.at.value]} that never fall: a power, for unit = W, or a counter,"
            " for unit = Wh total or kWh total."
        )


def _mostly_rises(values: Sequence[int]) -> bool:
    """Whether energies look like a counter's: many steps up, and a few down, to almost nothing or hardly at all."""
    rises = sum(map(lt, values, values[1:]))
    falls = [(high, low) for high, low in pairwise(values) if low < high]
    is_small = 8 * sum(high - low for high, low in falls) <= values[-1] - values[0]
    return 0 < 3 * len(falls) <= rises and (is_small or all(0 <= 4 * low <= high for high, low in falls))


def _differences(body: Body) -> int:
    times, values = body.times, body.values
    end_ns: int = times[-1]
    for at in range(len(times) - 1):
        if values[at + 1] < values[at]:
            raise BadProfile(
                f"has a counter that goes back at {moment(times[at + 1]).isoformat()};"
                f" unit = {body.head.unit.name} is for one that only grows."
            )
        values[at] = _milliwatts(values[at + 1] - values[at], times[at + 1] - times[at])
    del times[-1], values[-1]
    return end_ns


def _milliwatts(microwatthours: int, span_ns: int) -> int:
    """The mean power of an energy in a span, to the nearest mW."""
    return (2 * microwatthours * HOUR_NS + 1000 * span_ns) // (2000 * span_ns)
