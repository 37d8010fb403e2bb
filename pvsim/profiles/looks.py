"""What looks like a time: which texts are one, which are one in two ways, and why a text is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pvsim.profiles.bad import shown

NAMES = {
    "time", "time_s", "timestamp", "datetime", "date", "utc", "_time", "ts", "epoch", "unix", "unixtime", "unix_time",
    "time_ms", "timestamp_ms", "timestamp_s", "epoch_ms", "epoch_s", "date_time", "utc_timestamp", "zeit",
    "zeitstempel", "datum", "horodate", "time(utc)", "fecha", "last_changed", "last_updated", "date/time", "ds",
}  # fmt: skip
RIGHT = (
    "2026-06-21T12:00:00+02:00 (without an offset it is UTC, or that of file_timezone), or seconds since the epoch, or"
    " time_format for another form"
)
_OFFSET = r" ?(?P<offset>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
DAY_10 = re.compile(r"(\d{4})([-/])(\d\d)\2(\d\d)", re.ASCII)
DAY_8 = re.compile(r"(\d{4})()(\d\d)(\d\d)", re.ASCII)
LONG = re.compile(rf"[Tt ] *(?P<h>\d\d?):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<part>\d+))?)?{_OFFSET}", re.ASCII)
SHORT = re.compile(rf"[Tt ]?(?P<h>\d\d)(?P<m>\d\d)(?:(?P<s>\d\d)(?:[.,](?P<part>\d+))?)?{_OFFSET}", re.ASCII)
PVGIS = re.compile(r":(?P<h>\d\d)(?P<m>\d\d)(?P<s>)(?P<part>)(?P<offset>)", re.ASCII)
NUMBER = re.compile(r"(\d{1,19})(?:\.(\d*))?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,4})([./-])(\d\d?)\2(\d{2}|\d{4})(?:[ T,]+(.*))?", re.ASCII)
_TIME_OF_DAY = re.compile(r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?", re.ASCII)
_CLOCK = re.compile(rf"{_TIME_OF_DAY.pattern}(?: ?[AP]\.?M\.?)?", re.ASCII | re.IGNORECASE)
_ZONE_BEHIND = re.compile(rf"(?:{_TIME_OF_DAY.pattern}) (?![AP]M)([A-Z]{{2,5}})", re.ASCII)
_TWELVE_HOURS = re.compile(r"\d{4}-\d\d-\d\d \d\d?:\d\d(:\d\d)? ?[AP]M", re.ASCII | re.IGNORECASE)
GIVE = f"give one such as {RIGHT}."
_COUNTED = re.compile(r"[\[(_ ](h|hours?|hr|min|minutes?|d|days?)[\])]?$|^(hours?|minutes?|days?|hour of year|hoy)$")
_LIKE = r"\d\d?:\d\d.*\D\d|\D\d.*\d\d?:\d\d|(?:19|20)\d\d.*\d\d?:\d\d|(?:19|20)\d\d-"
_MONTH = "(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_MONTH_NAMES = (
    (rf"\d\d?([ .-]+){_MONTH}([ .-]+)\d{{4}}(?P<rest>(?: .*)?)", "%d{0}%b{2}%Y"),
    (rf"{_MONTH} \d\d?(,?) \d{{4}}(?P<rest>(?: .*)?)", "%b %d{1} %Y"),
)


def is_moment(text: str, time_format: str) -> bool:
    """Whether a text is a time and can be nothing else."""
    if time_format:
        return time_format != "%s" and by_format(text, time_format) is not None
    return halves(text) is not None and not text.isdigit()


def is_day(text: str) -> bool:
    """Whether a time is a date alone."""
    return DAY_10.fullmatch(text) is not None


def is_time_of_day(text: str) -> bool:
    """Whether it is a time of day alone."""
    return _TIME_OF_DAY.fullmatch(text) is not None


def is_unclear(text: str) -> bool:
    """Whether it is a time that needs a format: the day or the month is first, or it has AM or PM."""
    if _TWELVE_HOURS.fullmatch(text):
        return True
    return _DAY_FIRST.fullmatch(text) is not None and DAY_10.match(text) is None


def like_one(text: str) -> bool:
    """Whether a text that is no time has what times have: a year and more, or a time of day among other things."""
    return re.search(r"\d", text) is not None and re.search(_LIKE, text, re.IGNORECASE) is not None


def is_count(name: str, text: str) -> bool:
    """Whether it is a number under a name that says that it counts hours, say."""
    return is_number(text) and _COUNTED.search(name.lower()) is not None


def is_number(text: str) -> bool:
    """Whether it may be seconds since the epoch."""
    return NUMBER.fullmatch(text) is not None


def is_stamp(digits: str) -> bool:
    """Whether digits are a date of these times: year, month, day, and perhaps hour and so on."""
    try:
        hour, minute, second = (int(digits[at : at + 2] or 0) for at in (8, 10, 12))
        datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), hour % 24, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return 1950 <= int(digits[:4]) < 2100


def halves(text: str) -> int | None:
    """How long the day at the beginning of a time is; None if it is none that begins with its year."""
    for length, day, rests in ((10, DAY_10, (LONG,)), (8, DAY_8, (PVGIS, SHORT, LONG))):
        if day.fullmatch(text[:length]) and (
            len(text) == length or any(rest.fullmatch(text[length:]) for rest in rests)
        ):
            return length
    return None


def by_format(text: str, time_format: str) -> datetime | None:
    """The time in a text as strptime reads it, also where a day ends at 24:00; None if it is none."""
    try:
        return datetime.strptime(text, time_format)  # noqa: DTZ007 - what has no offset is local
    except (ValueError, re.error):
        pass
    end = r"\b24$" if time_format.endswith("%H") else r"\b24(?=:00)"
    if re.search(end, text) and "%H" in time_format:
        try:
            return datetime.strptime(re.sub(end, "00", text), time_format) + timedelta(1)  # noqa: DTZ007
        except (ValueError, OverflowError):
            return None
    return None


# Why a text is none.


def refusal(text: str, name: str) -> str:
    """Why a text in the column of this name is no time."""
    if is_count(name, text):
        return f"{text} in the column {name} is no time, but a count; {GIVE}"
    return why_not(text)


def why_not(text: str) -> str:
    """Why a text is no time, whatever its column is called."""
    match = _DAY_FIRST.fullmatch(text)
    if _TWELVE_HOURS.fullmatch(text):
        return f"{text} has AM or PM; give time_format = %Y-%m-%d{_tail(text[11:])}."
    if not match or DAY_10.match(text):
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
