"""Texts become instants. A file has one kind of times, which its first one shows.

Dates are read in halves, the day and what follows it: few different texts, each parsed once. Times without an offset
are those of the zone that the user names, UTC by default. What is a date in one way of reading, and seconds or another
date in a second one, is refused with both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, timedelta

from pvsim.instants import DAY_NS, SECOND_NS
from pvsim.profiles import looks
from pvsim.profiles.bad import BadProfile, shown
from pvsim.profiles.clocks import Zone
from pvsim.profiles.looks import DAY_8, DAY_10, GIVE, LONG, NUMBER, PVGIS, RIGHT, SHORT
from pvsim.wallclock import since_epoch_ns

END_NS = 2**63  # in the year 2262
_MOST_RESTS = 200_000
_SAID = re.compile(r"epoch|unix|[\[(_ ](?:s|sec|seconds)[\])]?$", re.IGNORECASE)
_SIZES = ((10**11, SECOND_NS), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
OLD_NS = 10 * 365 * DAY_NS  # of 1980
_STAMPS = {"%y%m%d%H%M": (0, 2, 4), "%d%m%y%H%M": (4, 2, 0), "%m%d%y%H%M": (4, 0, 2)}  # where year, month and day are
_BY_NAME = {"s": SECOND_NS, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}


# The kinds.


class Days(dict[str, int]):
    """ns since the epoch of dates that begin with their year."""

    def __missing__(self, text: str) -> int:
        match = DAY_10.fullmatch(text) or DAY_8.fullmatch(text)
        if not match:
            raise ValueError(text)
        day = date(int(match[1]), int(match[3]), int(match[4]))
        self[text] = value = (day.toordinal() - 719_163) * DAY_NS
        return value


class Rests(dict[str, int]):
    """ns from midnight UTC of what follows the date; it remembers whether these have offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[str] = set()

    def __missing__(self, text: str) -> int:
        match = PVGIS.fullmatch(text) or SHORT.fullmatch(text) or LONG.fullmatch(text) if text else None
        if text and not match:
            raise ValueError(text)
        is_pvgis = text[:1] == ":"
        kind = "pvgis" if is_pvgis else "offset" if match and match["offset"] else "naive"
        if self.kinds - {kind}:
            raise UnlikeError
        value = _rest_ns(match) if match else 0
        self.kinds.add(kind)
        if len(self) > _MOST_RESTS:
            self.clear()
        self[text] = value
        return value


class UnlikeError(ValueError):
    """A time with an offset after some without, or the other way round."""


def _rest_ns(match: re.Match[str]) -> int:
    hour, minute, second = int(match["h"]), int(match["m"]), int(match["s"] or 0)
    is_midnight = (hour, minute, second, int(match["part"] or 0)) == (24, 0, 0, 0)
    if (hour > 23 and not is_midnight) or minute > 59 or second > 59:
        raise ValueError(match[0])
    ns = ((hour * 60 + minute) * 60 + second) * SECOND_NS + int((match["part"] or "")[:9].ljust(9, "0"))
    offset = match["offset"] or ""
    if offset[:1] not in ("+", "-"):
        return ns
    digits = offset[1:].replace(":", "").ljust(4, "0")
    if digits > "1500" or digits[2:] > "59":
        raise ValueError(match[0])
    ahead = (int(digits[:2]) * 60 + int(digits[2:])) * 60 * SECOND_NS
    return ns + ahead if offset[0] == "-" else ns - ahead


class Times:
    """The times of a file, all of one kind. `read` gives ns since the epoch, or raises ValueError."""

    is_pvgis = False
    is_naive = True

    def __init__(self, zone: Zone | None) -> None:
        self.zone = zone

    def read(self, texts: Sequence[str], previous: int) -> list[int]:
        """The instants of these, which follow on `previous`; ValueError if one is no time, BadProfile says why."""
        walls = self._walls(texts)
        return self.zone.instants(walls, previous) if self.zone and self.is_naive else walls

    def _walls(self, texts: Sequence[str]) -> list[int]:
        raise NotImplementedError


class DateTimes(Times):
    """Dates that begin with their year, with or without a time of day."""

    def __init__(self, zone: Zone | None, length: int) -> None:
        super().__init__(zone)
        self._length = length
        self._days = Days()
        self._rests = Rests()

    @property
    def is_naive(self) -> bool:  # type: ignore[override]
        """Whether they have no offset."""
        return "naive" in self._rests.kinds

    @property
    def is_pvgis(self) -> bool:  # type: ignore[override]
        """Whether they are in the form of PVGIS, which is UTC."""
        return "pvgis" in self._rests.kinds

    def _walls(self, texts: Sequence[str]) -> list[int]:
        days, rests, at = self._days, self._rests, self._length
        return [days[text[:at]] + rests[text[at:]] for text in texts]


class Epochs(Times):
    """Numbers: seconds since the epoch, or thousandths, millionths or milliardths of them."""

    is_naive = False

    def __init__(self, factor: int, *, is_said: bool) -> None:
        super().__init__(None)
        self._factor = factor
        self.is_said = is_said  # by the user, or by the name of the column

    def _walls(self, texts: Sequence[str]) -> list[int]:
        factor = self._factor
        if "".join(texts).isascii() and all(map(str.isdigit, texts)):
            return [each * factor for each in map(int, texts)]
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> int:
        match = NUMBER.fullmatch(text)
        if not match:
            raise ValueError(text)
        part = (match[2] or "")[:9].ljust(9, "0")
        return int(match[1]) * self._factor + int(part) * self._factor // SECOND_NS


class Formatted(Times):
    """As a format says (strptime)."""

    def __init__(self, zone: Zone | None, time_format: str) -> None:
        super().__init__(zone)
        self._format = time_format
        self.is_naive = "%z" not in time_format

    def _walls(self, texts: Sequence[str]) -> list[int]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> int:
        moment = looks.by_format(text, self._format)
        if moment is None:
            raise BadProfile(f"{shown(text)} is no time as time_format = {self._format} has it")
        return since_epoch_ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


# Choosing.


def choose(text: str, name: str, time_format: str, zone: Zone | None) -> Times:
    """The kind of times that a file has whose first one is this; BadProfile says what it could be, or that it is none.

    `zone`: None where the user names none.
    """
    if time_format == "%s":
        return Epochs(SECOND_NS, is_said=True)
    if time_format:
        kind: Times = Formatted(zone, time_format)
        kind.read([text], -1)
        return kind
    if text.isdigit() and len(text) in (8, 12, 14) and looks.is_stamp(text):
        return DateTimes(zone, 8)
    if looks.is_number(text):
        return Epochs(_factor(text, name), is_said=_SAID.search(name) is not None)
    length = looks.halves(text)
    if length is None:
        raise BadProfile(looks.why_not(text))
    return DateTimes(zone, length)


def _factor(text: str, name: str) -> int:
    """How many ns one is; BadProfile where such a number may be something else."""
    match = NUMBER.fullmatch(text)
    assert match
    whole = match[1]
    value = int(whole)
    if looks.is_count(name, text):
        raise BadProfile(f"{text} in the column {name} is no time, but a count; {GIVE}")
    unclear = ""
    if len(whole) == 10 and looks.is_stamp(whole):
        unclear = f"{whole[:4]}-{whole[4:6]}-{whole[6:8]} {whole[8:]}:00; give time_format = %Y%m%d%H for that,"
    elif (
        (whole[0] == "0" and value)
        or 86_400 < value < 10**8
        or 20_000 <= value < 80_000
        or (1900 <= value < 2100 and len(whole) == 4)
    ):
        unclear = f"{_serial(value)}; give dates with a year in front, such as 2026-06-21T12:00:00Z,"
    if unclear:
        raise BadProfile(f"{text} is seconds since 1970 or {unclear} or time_format = %s for seconds since 1970.")
    factor = next(each for limit, each in _SIZES if value < limit)
    if factor < SECOND_NS and value * factor < OLD_NS:
        raise BadProfile(f"{text} is, by its size, of before 1980, or a date in another form; {GIVE}")
    said = re.search(r"[\[(_](s|ms|us|µs|ns)[\])]?$", name.lower())
    if said and _BY_NAME[said[1]] != factor:
        raise BadProfile(f"{text} is, by its size, not in {said[1]}, as its column {name} says; {GIVE}")
    return factor


def stamp_formats(instants: Sequence[int]) -> list[str]:
    """As what dates all of these are digits, in seconds, such as 2606211200."""
    texts = [str(each // SECOND_NS) for each in instants]
    return [each for each, places in _STAMPS.items() if all(_is_turned_stamp(text, places) for text in texts)]


def _is_turned_stamp(text: str, places: tuple[int, ...]) -> bool:
    turned = "20" + "".join(text[at : at + 2] for at in places) + text[6:]
    return len(turned) == 12 and looks.is_stamp(turned)


def _serial(value: int) -> str:
    if 20_000 <= value < 80_000:
        day = date(1899, 12, 30) + timedelta(value)
        return f"the number of a day in a spreadsheet, {day.isoformat()}"
    if 1900 <= value < 2100:
        return f"the year {value}"
    return "a date in another form"


def no_time(text: str, error: ValueError) -> str:
    """What is said of a text that `Times.read` has not read."""
    if isinstance(error, BadProfile):
        return str(error)
    if isinstance(error, UnlikeError):
        return f"{shown(text)} has an offset and earlier times have none, or the other way round; give all of them one."
    return f"{shown(text)} is no time; give one such as {RIGHT}."
