"""A recorded profile as a model: parsed from the lines of a CSV file, then looped, shifted, scaled and interpolated.

The file has a header; what stands before it (as in the hourly files of PVGIS) and after an empty line is no data. All
numbers are whole nanoseconds and milliwatts from here on, so that the answer is exact.
"""

from __future__ import annotations

import csv
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pvsim.models import PowerModel
from pvsim.models.days import new_year
from pvsim.models.noise import uniform

SECOND_NS = 10**9
PARTS = 10**6  # a scale of 1
MILLIWATTS = {"W": 1000, "kW": 10**6}
STEP, LINEAR = "step", "linear"
TIME_NAMES = ("time", "time_s", "timestamp", "datetime", "date", "time(utc)", "utc")

_END_S = 2**63 // SECOND_NS  # in the year 2262
_MOST_MILLIWATTS = 10**12  # a GW, and 1000 times that can still be sent
_HEADER_WITHIN = 100  # lines
_EPOCH = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9})[0-9]*)?", re.ASCII)
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9})[0-9]*)?)?"
    r"(?:(Z)|([+-])([0-9]{2}):?([0-9]{2})?)?",
    re.ASCII,
)
_PVGIS = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2}):([0-9]{2})([0-9]{2})", re.ASCII)


class Profile(NamedTuple):
    """What was recorded: instants, ascending, in ns since the epoch, and the power at each in mW."""

    times: array[int]
    milliwatts: array[int]


class BadProfile(ValueError):  # noqa: N818 - it reads as what it says
    """A text that is no profile; says where, and what would be right."""


def replay(
    seed: int,
    meter_id: str,
    profile: Profile,
    interpolation: str,
    loop_ns: int | None,
    shift_ns: int,
    scale_parts: int,
    spread_ns: int,
) -> PowerModel:
    """The power of the profile, again and again.

    `loop_ns`: how long a round takes, None for as long as the profile is, 0 for one round, with 0 W before and after;
    `shift_ns`: how much later it is; `spread_ns`: each meter has its own delay below this; `scale_parts`: a factor, in
    millionths.
    """
    times = profile.times
    first, length = times[0], 2 * times[-1] - times[-2] - times[0]
    delay = shift_ns + (uniform(seed, meter_id, "replay spread")([0])[0] * spread_ns >> 64) // SECOND_NS * SECOND_NS
    turn = length if loop_ns is None else loop_ns
    between = _linear(profile, turn) if interpolation == LINEAR else _step(profile)

    def power(instants_ns: Sequence[int]) -> list[int]:
        places = [instant - delay - first for instant in instants_ns]
        if turn:
            return [between(place % turn + first) * scale_parts // PARTS for place in places]
        return [between(place + first) * scale_parts // PARTS if 0 <= place < length else 0 for place in places]

    return power


def _step(profile: Profile) -> Callable[[int], int]:
    times, milliwatts = profile
    return lambda at: milliwatts[bisect_right(times, at) - 1]


def _linear(profile: Profile, turn: int) -> Callable[[int], int]:
    """On a straight line from each instant to the next; from the last one to the first of the next round."""
    times, milliwatts = profile

    def between(at: int) -> int:
        after = bisect_right(times, at)
        start, low = times[after - 1], milliwatts[after - 1]
        if after < len(times):
            end, high = times[after], milliwatts[after]
        else:
            end, high = times[0] + turn, milliwatts[0] if turn else low
        return low + (high - low) * (at - start) // (end - start) if end > start else low

    return between


# Text to profile.


def parse(lines: Iterable[str], column: str, unit: str) -> Profile:
    """The profile in the lines of a CSV file, or BadProfile.

    `column`: the name of the one to take, or nothing if there is only one, or one named P; `unit`: W or kW.
    """
    numbered = enumerate(lines, 1)
    number, header, delimiter = _header(numbered)
    cells = [cell.strip() for cell in header]
    time_at = next(at for at, cell in enumerate(cells) if cell.lower() in TIME_NAMES)
    value_at = _value_column(number, cells, time_at, column)
    times, milliwatts = array("q"), array("q")
    previous = -1
    for number, row in _rows(numbered, delimiter):
        if len(row) <= max(time_at, value_at):
            raise BadProfile(f"line {number} has {len(row)} columns; give as many as the header has.")
        time_ns = _time_ns(number, row[time_at].strip())
        if time_ns <= previous:
            raise BadProfile(f"line {number} is not later than the line before; sort the lines, each time once.")
        previous = time_ns
        times.append(time_ns)
        milliwatts.append(_milliwatts(number, row[value_at].strip(), delimiter, MILLIWATTS[unit]))
    if len(times) < 2:
        raise BadProfile("has fewer than two lines of data; give at least two.")
    return Profile(times, milliwatts)


def _header(numbered: Iterator[tuple[int, str]]) -> tuple[int, list[str], str]:
    for number, line in numbered:
        for delimiter in (",", ";", "\t"):
            cells = next(csv.reader([line], delimiter=delimiter), [])
            if len(cells) > 1 and any(cell.strip().lower() in TIME_NAMES for cell in cells):
                return number, cells, delimiter
        if number >= _HEADER_WITHIN:
            break
    raise BadProfile(f"has no header in its first lines; give one with a column named {', '.join(TIME_NAMES[:-1])}.")


def _value_column(number: int, cells: list[str], time_at: int, column: str) -> int:
    others = [cell for at, cell in enumerate(cells) if at != time_at]
    wanted = column or ("P" if "P" in others else others[0] if len(others) == 1 else "")
    if wanted not in others:
        what = f"has no column {column}" if column else "has several columns"
        raise BadProfile(f"line {number} {what}; name one of {', '.join(others)}.")
    return next(at for at, cell in enumerate(cells) if cell == wanted and at != time_at)


def _rows(numbered: Iterator[tuple[int, str]], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows up to an empty line; after it there may be notes, but no further data."""
    for number, line in numbered:
        if not line.strip():
            break
        yield number, next(csv.reader([line], delimiter=delimiter), [])
    for number, line in numbered:
        first = line.split(delimiter)[0].strip()
        if _EPOCH.fullmatch(first) or _ISO.fullmatch(first) or _PVGIS.fullmatch(first):
            raise BadProfile(f"line {number} comes after an empty line; take that one away.")


def _time_ns(number: int, text: str) -> int:
    seconds = None
    part = ""
    if match := _EPOCH.fullmatch(text):
        seconds, part = int(match[1]), match[2]
    elif match := _ISO.fullmatch(text):
        ahead = (int(match[10]) * 3600 + int(match[11] or 0) * 60) * (-1 if match[9] == "-" else 1) if match[9] else 0
        moment = _moment([int(each or 0) for each in match.groups()[:6]])
        seconds, part = None if moment is None else moment - ahead, match[7]
    elif match := _PVGIS.fullmatch(text):
        seconds = _moment([*(int(each) for each in match.groups()), 0])
    if seconds is None or not 0 <= seconds < _END_S:
        what = "2026-06-21T12:00:00+02:00 (without an offset it is UTC), or seconds since the epoch"
        raise BadProfile(f"line {number}: {text[:40] or '(nothing)'} is no time; give one such as {what}.")
    return seconds * SECOND_NS + int((part or "").ljust(9, "0"))


def _moment(parts: list[int]) -> int | None:
    """Seconds since the epoch of a year, month, day, hour, minute and second in UTC; None if there is no such time."""
    year, month, day, hour, minute, second = parts
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    months = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= month <= 12 and 1 <= day <= months[month - 1] and hour < 24 and minute < 60 and second < 60):
        return None
    days = new_year(year) + sum(months[: month - 1]) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def _milliwatts(number: int, text: str, delimiter: str, factor: int) -> int:
    try:
        value = float(text.replace(",", ".") if delimiter == ";" else text) * factor
    except ValueError:
        value = float("nan")
    if not abs(value) <= _MOST_MILLIWATTS or "_" in text:
        raise BadProfile(f"line {number}: {text[:40] or '(nothing)'} is no power; give a number.")
    return round(value)


KEYS = ("file", "column", "unit", "interpolation", "loop_ns", "shift_ns", "scale_parts", "spread_ns")
"""Of a replay; whoever reads the file gives the profile in it instead of the first three."""
