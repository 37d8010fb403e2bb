"""What the keys of simulation.ini take: text to values, ValueError for what is none."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING

from pvsim.config.keys import amount, checked, decimal, scaled
from pvsim.config.times import instant_ns, parse_time

if TYPE_CHECKING:
    from pvsim.instants import Span
    from pvsim.models import Model
    from pvsim.models.faults import Periods

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


def timezone(text: str) -> str:
    """An IANA name that this machine knows."""
    try:
        zone(text)
    except (KeyError, OSError) as error:
        raise ValueError(text) from error
    return text


def clock(text: str) -> LocalClock:
    """The legal time of a time zone."""
    return LocalClock(timezone(checked(text, text)))


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


def ns(text: str) -> int:
    """Seconds, 0 or more, in ns."""
    return scaled(text, 9)


def interval_ns(text: str, least_ms: int = 1, most_ms: int = 86_400_000) -> int:
    """Seconds in whole milliseconds, in ns."""
    milliseconds = scaled(text, 3)
    return checked(milliseconds, least_ms <= milliseconds <= most_ms) * 1_000_000


def monthly(low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """Takes one number, or twelve, from `low` to `high`."""

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(decimal(each, low, high) for each in text.split())
        return checked(values, len(values) in (1, 12))

    return parse


# Households.


def annual_kwh(text: str) -> float | tuple[float, float]:
    """kWh, or the two ends of a span."""
    if ".." not in text:
        return decimal(text, 500, 10_000)
    low, high = (decimal(each.strip(), 500, 10_000) for each in text.split("..", 1))
    return checked((low, high), low < high)


def holidays(text: str) -> frozenset[int] | None:
    """Days since 1970-01-01; None stands for those of Germany."""
    if text == "DE":
        return None
    return frozenset() if text in ("", "none") else frozenset(map(_day, text.split()))


def _day(text: str) -> int:
    checked(text, _DATE.fullmatch(text))
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


# Profiles that are replayed.

_SAMPLE = datetime(2026, 11, 25, 13, 47, 58)  # noqa: DTZ001 - a date of which each part tells itself


def loop(text: str) -> int | str:
    """A period by name, or in ns."""
    return text if text in ("day", "week", "year") else ns(text)


def where(text: str) -> tuple[str, str]:
    """A column and the value that its rows must have."""
    column, equals, value = (each.strip() for each in text.partition("="))
    return checked((column, value), column and equals and value)


def time_format(text: str) -> str:
    """A format that strptime knows, and that tells year, month and day; or %s."""
    if not text or text == "%s":
        return text
    right = "one such as %d.%m.%Y %H:%M, with year, month and day (see strptime in Python), or %s for epoch seconds"
    try:
        parsed = datetime.strptime(_SAMPLE.replace(tzinfo=UTC).strftime(text), text)  # noqa: DTZ007 - it tells no zone
    except (ValueError, re.error):  # the same directive twice
        raise ValueError(right) from None
    has_hours = "%H" in text or "%I" in text or "%X" in text or "%c" in text
    is_half_said = ("%p" in text) != ("%I" in text)  # strptime reads 10 PM with %H %p as 10:00
    if is_half_said or parsed.date() != _SAMPLE.date() or (has_hours and parsed.hour != _SAMPLE.hour):
        raise ValueError(f"{right}; %I needs %p, and %p needs %I")
    return text


# Faults.


def when(text: str) -> Periods | tuple[Span, ...]:
    """When a fault is there: periods, or spans."""
    return tuple(_span(each) for each in text.split()) if ".." in text else _periods(text)


def _periods(text: str) -> Periods:
    from pvsim.models.faults import Periods

    part, _, period = (each.strip() for each in text.partition(" of "))
    period_ns = interval_ns(period)
    if part.endswith("%"):
        return Periods(period_ns, period_ns, amount(part[:-1].rstrip(), 6, 100))
    length_ns = interval_ns(part)
    return Periods(period_ns, checked(length_ns, length_ns <= period_ns))


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
