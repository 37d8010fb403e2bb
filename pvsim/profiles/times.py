"""Texts become instants. A file has one kind of times, which its first one shows.

Dates are read in halves, the day and what follows it: few different texts, each parsed once. Times without an offset
are those of the zone that the user names, UTC by default. What is a date in one way of reading, and seconds or another
date in a second one, is refused with both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pvsim.instants import DAY_NS, SECOND_NS
from pvsim.profiles.bad import BadProfile, shown

END_NS = 2**63  # in the year 2262
NAMES = {
    "time", "time_s", "timestamp", "datetime", "date", "utc", "_time", "ts", "epoch", "unix", "unixtime", "unix_time",
    "time_ms", "timestamp_ms", "timestamp_s", "epoch_ms", "epoch_s", "date_time", "utc_timestamp", "zeit",
    "zeitstempel", "datum", "horodate", "time(utc)", "fecha", "last_changed", "last_updated", "date/time", "ds",
}  # fmt: skip
RIGHT = "2026-06-21T12:00:00+02:00 (without an offset it is UTC, or that of file_timezone), or seconds since the epoch"

_OFFSET = r" ?(?P<offset>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
_DAY_10 = re.compile(r"(\d{4})([-/])(\d\d)\2(\d\d)", re.ASCII)
_DAY_8 = re.compile(r"(\d{4})()(\d\d)(\d\d)", re.ASCII)
_LONG = re.compile(rf"[Tt ] *(?P<h>\d\d?):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<part>\d+))?)?{_OFFSET}", re.ASCII)
_SHORT = re.compile(rf"[Tt ]?(?P<h>\d\d)(?P<m>\d\d)(?:(?P<s>\d\d)(?:[.,](?P<part>\d+))?)?{_OFFSET}", re.ASCII)
_PVGIS = re.compile(r":(?P<h>\d\d)(?P<m>\d\d)(?P<s>)(?P<part>)(?P<offset>)", re.ASCII)
_NUMBER = re.compile(r"(\d{1,19})(?:\.(\d*))?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,4})([./-])(\d\d?)\2(\d{2}|\d{4})(?:[ T,]+(.*))?", re.ASCII)
_TIME_OF_DAY = re.compile(r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?", re.ASCII)
_CLOCK = re.compile(rf"{_TIME_OF_DAY.pattern}(?: ?[AP]\.?M\.?)?", re.ASCII | re.IGNORECASE)
_ZONE_BEHIND = re.compile(rf"(?:{_TIME_OF_DAY.pattern}) (?![AP]M)([A-Z]{{2,5}})", re.ASCII)
_TWELVE_HOURS = re.compile(r"\d{4}-\d\d-\d\d \d\d?:\d\d(:\d\d)? ?[AP]M", re.ASCII | re.IGNORECASE)
_MOST_RESTS = 200_000
_QUARTER_NS = 900 * SECOND_NS  # time zones change at quarters of an hour


def is_moment(text: str, time_format: str) -> bool:
    """Whether a text is a time and can be nothing else."""
    if time_format:
        return time_format != "%s" and _by_format(text, time_format) is not None
    return _halves(text) is not None and not text.isdigit()


def is_day(text: str) -> bool:
    """Whether a time is a date alone."""
    return _DAY_10.fullmatch(text) is not None


def is_time_of_day(text: str) -> bool:
    """Whether it is a time of day alone."""
    return _TIME_OF_DAY.fullmatch(text) is not None


def is_unclear(text: str) -> bool:
    """Whether it is a time that needs a format: the day or the month is first, or it has AM or PM."""
    if _TWELVE_HOURS.fullmatch(text):
        return True
    return _DAY_FIRST.fullmatch(text) is not None and _DAY_10.match(text) is None


def looks_like_one(text: str) -> bool:
    """Whether a text that is no time has what times have: a year and more, or a time of day among other things."""
    return re.search(r"\d", text) is not None and re.search(_LIKE, text, re.IGNORECASE) is not None


def is_count(name: str, text: str) -> bool:
    """Whether it is a number under a name that says that it counts hours, say."""
    return is_number(text) and _COUNTED.search(name.lower()) is not None


def is_number(text: str) -> bool:
    """Whether it may be seconds since the epoch."""
    return _NUMBER.fullmatch(text) is not None


def _halves(text: str) -> int | None:
    """How long the day at the beginning of a time is; None if it is none that begins with its year."""
    for length, day, rests in ((10, _DAY_10, (_LONG,)), (8, _DAY_8, (_PVGIS, _SHORT, _LONG))):
        if day.fullmatch(text[:length]) and (
            len(text) == length or any(rest.fullmatch(text[length:]) for rest in rests)
        ):
            return length
    return None


def _by_format(text: str, time_format: str) -> datetime | None:
    try:
        return datetime.strptime(text, time_format)  # noqa: DTZ007 - what has no offset is local
    except (ValueError, re.error):
        pass
    if re.search(r"\b24:00", text) and "%H" in time_format:
        try:
            return datetime.strptime(re.sub(r"\b24:00", "00:00", text), time_format) + timedelta(1)  # noqa: DTZ007
        except (ValueError, OverflowError):
            return None
    return None


# The kinds.


class Days(dict[str, int]):
    """ns since the epoch of dates that begin with their year."""

    def __missing__(self, text: str) -> int:
        match = _DAY_10.fullmatch(text) or _DAY_8.fullmatch(text)
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
        match = _PVGIS.fullmatch(text) or _SHORT.fullmatch(text) or _LONG.fullmatch(text) if text else None
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
        match = _NUMBER.fullmatch(text)
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
        moment = _by_format(text, self._format)
        if moment is None:
            raise BadProfile(f"{shown(text)} is no time as time_format = {self._format} has it")
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(microseconds=1) * 1000


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
    if text.isdigit() and len(text) in (8, 12, 14) and _is_stamp(text):
        return DateTimes(zone, 8)
    if is_number(text):
        return Epochs(_factor(text, name), is_said=_SAID.search(name) is not None)
    length = _halves(text)
    if length is None:
        raise BadProfile(_refusal(text))
    return DateTimes(zone, length)


def _is_stamp(digits: str) -> bool:
    """Whether digits are a date of these times: year, month, day, and perhaps hour and so on."""
    try:
        hour, minute, second = (int(digits[at : at + 2] or 0) for at in (8, 10, 12))
        datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), hour % 24, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return 1950 <= int(digits[:4]) < 2100


def _factor(text: str, name: str) -> int:
    """How many ns one is; BadProfile where such a number may be something else."""
    match = _NUMBER.fullmatch(text)
    assert match
    whole = match[1]
    value = int(whole)
    if is_count(name, text):
        raise BadProfile(f"{text} in the column {name} is no time, but a count; {_GIVE}")
    unclear = ""
    if len(whole) == 10 and _is_stamp(whole):
        unclear = f"{whole[:4]}-{whole[4:6]}-{whole[6:8]} {whole[8:]}:00; give time_format = %Y%m%d%H for that,"
    elif 86_400 < value < 10**8 or 20_000 <= value < 80_000 or (1900 <= value < 2100 and len(whole) == 4):
        unclear = f"{_serial(value)}; give dates with a year in front, such as 2026-06-21T12:00:00Z,"
    if unclear:
        raise BadProfile(f"{text} is seconds since 1970 or {unclear} or time_format = %s for seconds since 1970.")
    factor = next(each for limit, each in _SIZES if value < limit)
    said = re.search(r"[\[(_](s|ms|us|µs|ns)[\])]?$", name.lower())
    if said and _BY_NAME[said[1]] != factor:
        raise BadProfile(f"{text} is, by its size, not in {said[1]}, as its column {name} says; {_GIVE}")
    return factor


def are_stamps(instants: Sequence[int]) -> bool:
    """Whether all of these are, in seconds, digits such as 2606211200 as well: year, month, day, hour and minute."""
    return all(10**9 <= each // SECOND_NS < 10**10 and _is_stamp(f"20{each // SECOND_NS}") for each in instants)


def _serial(value: int) -> str:
    if 20_000 <= value < 80_000:
        day = date(1899, 12, 30) + timedelta(value)
        return f"the number of a day in a spreadsheet, {day.isoformat()}"
    if 1900 <= value < 2100:
        return f"the year {value}"
    return "a date in another form"


_GIVE = f"give one such as {RIGHT}."
_COUNTED = re.compile(r"[\[(_ ](h|hours?|hr|min|minutes?|d|days?)[\])]?$|^(hours?|minutes?|days?|hour of year|hoy)$")
_LIKE = r"\d\d?:\d\d.*\D\d|\D\d.*\d\d?:\d\d|(?:19|20)\d\d.*\d\d?:\d\d|(?:19|20)\d\d-"
_MONTH = "(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_MONTH_NAMES = (
    (rf"\d\d?([ .-]+){_MONTH}([ .-]+)\d{{4}}(?P<rest>(?: .*)?)", "%d{0}%b{2}%Y"),
    (rf"{_MONTH} \d\d?(,?) \d{{4}}(?P<rest>(?: .*)?)", "%b %d{1} %Y"),
)
_SAID = re.compile(r"epoch|unix|[\[(_ ](?:s|sec|seconds)[\])]?$", re.IGNORECASE)
_SIZES = ((10**11, SECOND_NS), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
_BY_NAME = {"s": SECOND_NS, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}


def refusal(text: str, name: str) -> str:
    """Why a text in the column of this name is no time."""
    if is_count(name, text):
        return f"{text} in the column {name} is no time, but a count; {_GIVE}"
    return _refusal(text)


def _refusal(text: str) -> str:
    match = _DAY_FIRST.fullmatch(text)
    if _TWELVE_HOURS.fullmatch(text):
        return f"{text} has AM or PM; give time_format = %Y-%m-%d{_tail(text[11:])}."
    if not match or _DAY_10.match(text):
        return f"{shown(text)} is no time; {_form(text)}give one such as {RIGHT}."
    first, mark, second, year, rest = match.groups()
    if len(first) == 4:
        return (
            f"{shown(text)} has month or day in one digit, or points; give time_format = %Y{mark}%m{mark}%d"
            f"{_tail(rest or '')}."
        )
    zone = _ZONE_BEHIND.fullmatch(rest or "")
    if zone:
        return f"{shown(text)} has {zone[1]} behind it; take that away, and give file_timezone and time_format."
    if rest and not _CLOCK.fullmatch(rest):
        return (
            f"{shown(text)} is more than one time; split it into columns, and give time_column = that of the beginning."
        )
    tail = _tail(rest or "")
    letter = "%Y" if len(year) == 4 else "%y"
    forms = [f"%d{mark}%m{mark}{letter}{tail}", f"%m{mark}%d{mark}{letter}{tail}"]
    which = forms[:1] if mark == "." or int(first) > 12 else forms[1:] if int(second) > 12 else forms
    return f"{shown(text)} may have the day or the month first; give time_format = {' or '.join(which)}."


def _form(text: str) -> str:
    """What reads a time with the name of a month, as English has it."""
    for pattern, form in _MONTH_NAMES:
        if match := re.fullmatch(pattern, text):
            return f"give time_format = {form.format(*match.groups(''))}{_tail(match['rest'])}, or "
    return ""


def _tail(rest: str) -> str:
    if not rest.strip():
        return ""
    seconds = ":%S" if rest.count(":") > 1 else ""
    return f" %I:%M{seconds} %p" if rest[-1:] in "mM" else f" %H:%M{seconds}"


def no_time(text: str, error: ValueError) -> str:
    """What is said of a text that `Times.read` has not read."""
    if isinstance(error, BadProfile):
        return str(error)
    if isinstance(error, UnlikeError):
        return f"{shown(text)} has an offset and earlier times have none, or the other way round; give all of them one."
    return f"{shown(text)} is no time; give one such as {RIGHT}."


# Time zones.


class Zone:
    """The wall clock of a time zone: local times in order become instants.

    The hour that comes twice in autumn is taken in order: what would go back is in its second pass.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self.steps_back: dict[int, int] = {}  # how far instants in a second pass are behind what comes before them
        self._quarters: dict[int, tuple[int, int]] = {}  # offsets in the first pass and in the second

    def instants(self, walls: Sequence[int], previous: int) -> list[int]:
        """ns since the epoch; BadProfile for a time that the clock leaves out in spring."""
        found, quarters = [], self._quarters
        for wall in walls:
            first, second = quarters.get(wall // _QUARTER_NS) or self._offsets(wall)
            instant = wall - first
            if first != second and instant <= previous:
                instant = wall - second
                if previous >= 0:
                    self.steps_back[instant] = instant - previous
            found.append(instant)
            previous = instant
        return found

    def _offsets(self, wall: int) -> tuple[int, int]:
        local = datetime(1970, 1, 1) + timedelta(microseconds=wall // 1000)  # noqa: DTZ001
        first, second = (self._offset_ns(local.replace(fold=fold)) for fold in (0, 1))
        if first < second:  # it would be later in the second pass: the clock leaves it out
            raise BadProfile(
                f"{local.isoformat(' ')} is no time in {self.name}, where clocks go forward then;"
                " give the file_timezone that the file is in (UTC, or Etc/GMT-1 for UTC+1 all year)"
            )
        self._quarters[wall // _QUARTER_NS] = first, second
        return first, second

    def _offset_ns(self, local: datetime) -> int:
        offset = local.replace(tzinfo=self._zone).utcoffset()
        return round(offset.total_seconds()) * SECOND_NS if offset else 0
