"""The keys of simulation.ini: those of [meter], with its faults, those of [pv], and those of the models of both."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pvsim.config.keys import Key, amount, checked, decimal, one_of, or_nothing, scaled, table, whole
from pvsim.config.times import instant_ns, parse_time

if TYPE_CHECKING:
    from pvsim.models import Model
    from pvsim.models.faults import Fault, Span, Turns

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_S = 253_402_214_400  # 9999-12-31: a local time there still has four digits


# Time zones.


@dataclass(frozen=True, slots=True)
class LocalClock:
    """How far the legal time of a time zone is ahead of UTC."""

    timezone: str

    def __call__(self, time_s: int) -> int:
        """Seconds, at an instant."""
        offset = datetime.fromtimestamp(min(time_s, _LAST_S), zone(self.timezone)).utcoffset()
        return round(offset.total_seconds()) if offset else 0


def zone(timezone: str | None) -> tzinfo | None:
    """The time zone of an IANA name, None for the system's own. KeyError, OSError, ValueError: no such name."""
    if timezone is None:
        return None
    from zoneinfo import ZoneInfo  # most machines are in the time zone of what they simulate

    return ZoneInfo(timezone)


def _timezone(text: str) -> str:
    try:
        zone(text)
    except (KeyError, OSError) as error:
        raise ValueError(text) from error
    return text


def _clock(text: str) -> LocalClock:
    return LocalClock(_timezone(checked(text, text)))


# Models. They are imported by those who ask for one.


def load_models() -> Mapping[str, Model]:
    """The models of what a household draws."""
    from pvsim.models.load import MODELS

    return MODELS


def solar_models() -> Mapping[str, Model]:
    """The models of what a PV system makes."""
    from pvsim.models.solar import MODELS

    return MODELS


# Numbers.


def _ns(text: str) -> int:
    return scaled(text, 9)


def _window_ns(text: str) -> int:
    return checked(_ns(text), _ns(text) > 0)


def _interval_ns(text: str, least_ms: int = 1, most_ms: int = 86_400_000) -> int:
    milliseconds = scaled(text, 3)
    return checked(milliseconds, least_ms <= milliseconds <= most_ms) * 1_000_000


def _linger_ns(text: str) -> int:
    return _interval_ns(text, 0, 3_600_000)


def _shift_ns(text: str) -> int:
    return checked(scaled(text, 9, "+-"), len(text.lstrip("+-")) < 30)


def _scale_parts(text: str) -> int:
    parts = scaled(text, 6)
    return checked(parts, parts <= 1000 * 10**6)


def _peak_kw(text: str) -> Decimal:
    return Decimal(checked(text, amount(text, 6, 10**6)))


def _monthly(low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        values = tuple(decimal(each, low, high) for each in text.split())
        return checked(values, len(values) in (1, 12))

    return parse


# Households.


def _annual_kwh(text: str) -> float | tuple[float, float]:
    if ".." not in text:
        return decimal(text, 500, 10_000)
    low, high = (decimal(each.strip(), 500, 10_000) for each in text.split("..", 1))
    return checked((low, high), low < high)


def _holidays(text: str) -> frozenset[int] | None:
    if text == "DE":
        return None
    return frozenset() if text in ("", "none") else frozenset(map(_day, text.split()))


def _day(text: str) -> int:
    checked(text, _DATE.fullmatch(text))
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


# Profiles that are replayed.

_SAMPLE = datetime(2026, 11, 25, 13, 47, 58)  # noqa: DTZ001 - a date of which each part tells itself


def _unit(text: str) -> str:
    from pvsim.profiles.units import UNITS

    return text and one_of(text, UNITS)


def _loop(text: str) -> int | str:
    return text if text in ("day", "week", "year") else _ns(text)


def _where(text: str) -> tuple[str, str]:
    column, equals, value = (each.strip() for each in text.partition("="))
    return checked((column, value), column and equals and value)


def _time_format(text: str) -> str:
    """A format that strptime knows, and that tells year, month and day; or %s."""
    if not text or text == "%s":
        return text
    right = "one such as %d.%m.%Y %H:%M, with year, month and day (see strptime in Python), or %s for epoch seconds"
    try:
        parsed = datetime.strptime(_SAMPLE.replace(tzinfo=UTC).strftime(text), text)  # noqa: DTZ007 - it tells no zone
    except (ValueError, re.error):  # the same directive twice
        raise ValueError(right) from None
    has_hours = "%H" in text or "%I" in text or "%X" in text or "%c" in text
    if parsed.date() != _SAMPLE.date() or (has_hours and parsed.hour != _SAMPLE.hour):
        raise ValueError(f"{right}; %I needs %p")
    return text


# Faults.


def _fault(text: str) -> Fault:
    from pvsim.models.faults import Fault  # most meters have none

    return Fault(_when(text))


def _when(text: str) -> Turns | tuple[Span, ...]:
    return tuple(_span(each) for each in text.split()) if ".." in text else _turns(text)


def _turns(text: str) -> Turns:
    from pvsim.models.faults import Turns

    part, _, period = (each.strip() for each in text.partition(" of "))
    period_ns = _interval_ns(period)
    if part.endswith("%"):
        return Turns(period_ns, period_ns, amount(part[:-1].rstrip(), 6, 100))
    length_ns = _interval_ns(part)
    return Turns(period_ns, checked(length_ns, length_ns <= period_ns))


def _span(text: str) -> Span:
    start_ns, end_ns = (_instant_ns(each) for each in text.split("..", 1))
    return checked((start_ns, end_ns), start_ns < end_ns)


def _instant_ns(text: str) -> int:
    try:
        time = parse_time(text)
    except ArgumentTypeError:
        raise ValueError(text) from None
    if isinstance(time, datetime):
        checked(time, time.tzinfo)
    return instant_ns(time, None)


def _yes_or_no(text: str) -> bool:
    return one_of(text.lower(), ("yes", "no")) == "yes"


# The keys.


def _of_model(name: str, noun: str, right: str, parse: Callable[[str], Any], default: str, field: str = "") -> Key:
    return Key(name, noun, right, parse, default, field or name, of_model=True)


def _number(name: str, noun: str, unit: str, low: float, high: float, default: str) -> Key:
    right = f"{unit} from {low:g} to {high:g}"
    return _of_model(name, noun, right, lambda text: decimal(text, low, high), default)


def _fault_key(name: str) -> Key:
    return Key(f"fault_{name}", "a fault", _WHEN, or_nothing(_fault), "", f"fault_{name}")


def _sized_fault_key(name: str, unit: str, what: str, decimals: int, most: int, signs: str = "") -> Key:
    def parse(text: str) -> Fault:
        from pvsim.models.faults import Fault

        size, _, when = text.partition(" in ")
        return Fault(_when(when.strip()), amount(size.strip(), decimals, most, signs))

    right = f"{what}, then in, then {_WHEN}"
    return Key(f"fault_{name}{unit}", "a fault", right, or_nothing(parse), "", f"fault_{name}")


_ANNUAL_KWH = "kWh from 500 to 10000, or two of them, such as 1500..6000"
_HOLIDAYS = "DE, none, or dates such as 2026-12-25 with spaces between"
_SECONDS = "seconds from 0.001 to 86400, whole milliseconds"
_AT_LEAST_0 = "seconds, 0 or more"
_SECONDS_OR_NOTHING = "seconds, 0 or more, or nothing for no limit"
_WINDOW = "seconds, more than 0, or nothing for any time"
_LINGER = "seconds from 0 to 3600, whole milliseconds"
_KW = "kW, more than 0 and at most 1000000, with at most 6 decimals"
_MONTHS = ", or twelve of them with spaces between, January first"
_MONTHS_OR_NOTHING = f"{_MONTHS}, or nothing for Munich's"
_MUNICH_TURBIDITY = "2.9 3.35 3.65 3.9 4.2 4.3 4.35 4.35 4.2 3.45 3.0 2.75"
_ZONE_NOUN = "a time zone that this machine knows"
_ZONE_NAME = "a name such as Europe/Berlin"
_ZONE = f"{_ZONE_NAME}, or nothing for the time zone of the machine"
_SEED = whole("seed", "a seed", -(2**63), 2**63 - 1, "0")

_WHEN = (
    "1% of 60 (a chance for each 60 s), 5 of 60 (the first 5 s of each 60) or TIME..TIME (with Z, +02:00 or as"
    " seconds since the epoch; several with spaces between), or nothing for never"
)

_PLACE = (
    _number("latitude", "a latitude", "degrees north", -90, 90, "48.137"),
    _number("longitude", "a longitude", "degrees east", -180, 180, "11.575"),
)
_AIR = (
    _of_model(
        "temperature",
        "a temperature",
        f"degrees Celsius from -60 to 50{_MONTHS_OR_NOTHING}",
        or_nothing(_monthly(-60, 50)),
        "",
    ),
    _number("temperature_swing", "a difference of temperatures", "K", 0, 40, "9"),
)
REPLAY = (
    _of_model("file", "a file", "the name of a CSV file", lambda text: Path(checked(text, text)), ""),
    _of_model("column", "a column", "its name, or nothing if there is only one", str, ""),
    _of_model("unit", "a unit", "", _unit, ""),
    _of_model("time_column", "a column", "its name, two with + between them, or nothing", str, ""),
    _of_model("file_timezone", _ZONE_NOUN, f"{_ZONE_NAME}, or nothing for UTC", or_nothing(_timezone), ""),
    _of_model("time_format", "a format of times", "", _time_format, ""),
    _of_model("missing", "a way", "", lambda text: one_of(text, ("error", "skip", "zero")), "error"),
    _of_model("where", "a choice of rows", "COLUMN = VALUE, or nothing for all rows", or_nothing(_where), ""),
    _of_model("interpolation", "an interpolation", "", lambda text: text and one_of(text, ("step", "linear")), ""),
    _of_model("loop", "a time", f"{_AT_LEAST_0}, day, week, year, or nothing", or_nothing(_loop), ""),
    _of_model("shift", "a time", "seconds, with a - for earlier", _shift_ns, "0", "shift_ns"),
    _of_model(
        "scale", "a factor", "a number from 0 to 1000, with at most 6 decimals", _scale_parts, "1", "scale_parts"
    ),
    _of_model("spread", "a time", _AT_LEAST_0, _ns, "0", "spread_ns"),
)
FAULTS = (
    _fault_key("dropout"),
    _fault_key("stuck"),
    _sized_fault_key("spike", "_w", "W, more than 0 and at most 1000000000", 3, 10**9),
    _sized_fault_key("offset", "_w", "W, at most 1000000000, with a - for less", 3, 10**9, "-"),
    _sized_fault_key("drift", "_percent", "percent, at most 10000, with a - for less", 6, 10**4, "-"),
    _sized_fault_key("noise", "_w", "W, more than 0 and at most 1000000000", 3, 10**9),
    _sized_fault_key("clock", "_s", "seconds, with a - for slow, at most 4000000000", 9, 4 * 10**9, "-"),
    _fault_key("duplicate"),
    _sized_fault_key("late", "_s", "seconds, more than 0 and at most 86400", 9, 86_400),
    _sized_fault_key("shuffle", "", "a whole number of readings from 1 to 100", 0, 100),
    _fault_key("rubbish"),
)
METER = table(
    whole("nb_meter", "a number of meters", 1, 100_000, "1")._replace(shared=True),
    Key("model", "a model", "", lambda text: one_of(text, load_models()), "random", "model"),
    _SEED,
    Key("interval", "an interval", _SECONDS, _interval_ns, "1", "interval_ns"),
    Key("backlog", "a backlog", _SECONDS_OR_NOTHING, or_nothing(_ns), "", "backlog_ns"),
    whole("batch", "a number of readings", 1, 10_000, "1000"),
    Key("linger", "a time to gather readings", _LINGER, _linger_ns, "0", "linger_ns"),
    _of_model("annual_kwh", "a year's energy", _ANNUAL_KWH, _annual_kwh, "3500"),
    _number("ev_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _of_model("ev_kw", "a power", "kW from 1 to 22, or nothing", or_nothing(lambda text: decimal(text, 1, 22)), ""),
    _number("heat_pump_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _number("fuse_kw", "a power", "kW", 1, 1000, "24"),
    _of_model("timezone", _ZONE_NOUN, _ZONE_NAME, _clock, "Europe/Berlin"),
    _of_model("holidays", "holidays", _HOLIDAYS, _holidays, "DE"),
    *_PLACE,
    *_AIR,
    *REPLAY,
    *FAULTS,
)
PV = table(
    Key("model", "a model", "", lambda text: one_of(text, solar_models()), "random", "model"),
    _SEED,
    _of_model("peak_kw", "a peak power", _KW, _peak_kw, "4.0"),
    _of_model("inverter_kw", "a power", f"{_KW}, or nothing", or_nothing(_peak_kw), ""),
    _number("losses", "a loss", "percent", 0, 99, "14.08"),
    *_PLACE,
    _number("elevation", "an elevation", "metres above the sea", -500, 9000, "520"),
    _number("tilt", "a tilt", "degrees from the horizontal", 0, 90, "30"),
    _number("azimuth", "an azimuth", "degrees from north by east", 0, 360, "180"),
    _of_model("turbidity", "a turbidity", f"a number from 1 to 10{_MONTHS}", _monthly(1, 10), _MUNICH_TURBIDITY),
    _of_model(
        "clearness",
        "a clearness index",
        f"a number from 0.05 to 0.85{_MONTHS_OR_NOTHING}",
        or_nothing(_monthly(0.05, 0.85)),
        "",
    ),
    *_AIR,
    Key("timezone", _ZONE_NOUN, _ZONE, or_nothing(_timezone), "", "timezone", shared=True),
    Key("time_window", "a window of time", _WINDOW, or_nothing(_window_ns), "", "time_window_ns"),
    Key("live", "an answer", "yes or no", _yes_or_no, "yes", "live", shared=True),
    *REPLAY,
)
