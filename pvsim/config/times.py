"""Times as people write them, and the span between two of them on a command line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import suppress
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from pvsim.errors import UsageError
from pvsim.instants import DAY_NS, END_NS, SECOND_NS
from pvsim.wallclock import moment, passes_ns, since_epoch_ns

_YEARS_OF_DATES = range(1900, 2200)

Time = datetime | Decimal
"""As the user gave it: a local time or one with an offset, or seconds since the epoch."""


def add_span_options(parser: ArgumentParser, since: str, until: str, required: bool = False) -> None:
    """--from and --to, for `span_ns`; `since` and `until` are their help."""
    parser.add_argument("--from", dest="since", type=parse_time, metavar="TIME", required=required, help=since)
    parser.add_argument("--to", dest="until", type=parse_time, metavar="TIME", required=required, help=until)


def day_span_ns(given: Namespace, time_zone: tzinfo | None, now_s: float) -> tuple[int, int]:
    """As `span_ns`; what is not given makes it a calendar day: the one before --to, the one from --from, or today's."""
    start_ns, end_ns = span_ns(given, time_zone)
    if start_ns is None and end_ns is None:
        midnight = datetime.combine(datetime.fromtimestamp(now_s, time_zone), time.min)
        start_ns, _ = passes_ns(midnight, time_zone)
    if start_ns is None:
        assert end_ns is not None
        start_ns = _days_later_ns(end_ns, -1, time_zone)
    return start_ns, _days_later_ns(start_ns, 1, time_zone) if end_ns is None else end_ns


def _days_later_ns(time_ns: int, days: int, time_zone: tzinfo | None) -> int:
    try:
        local = datetime.fromtimestamp(time_ns // SECOND_NS, time_zone).replace(tzinfo=None)
        first_ns, _ = passes_ns(local + timedelta(days=days), time_zone)
    except (ValueError, OverflowError):  # the year 10000 there
        return min(time_ns + days * DAY_NS, END_NS)
    return max(0, first_ns + time_ns % SECOND_NS)


def span_ns(given: Namespace, time_zone: tzinfo | None) -> tuple[int | None, int | None]:
    """The instants of --from and --to, None for one that is not given; UsageError if nothing lies between them."""
    start_ns, end_ns = (each if each is None else instant_ns(each, time_zone) for each in (given.since, given.until))
    if start_ns == END_NS:
        raise UsageError("--from is after the year 9999; give an earlier time.")
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise UsageError("--from is not before --to; give the earlier time first.")
    return start_ns, end_ns


def parse_time(text: str) -> Time:
    """A time as the user writes it: seconds since the epoch or ISO 8601; ArgumentTypeError if it is none."""
    try:
        seconds = Decimal(text)
        _check_is_no_date(seconds)
        if 0 <= seconds <= END_NS // SECOND_NS:
            return seconds
    except InvalidOperation:
        with suppress(ValueError):
            given = datetime.fromisoformat(text)
            if given.year >= 1970:
                return given
    raise ArgumentTypeError(f"{text!r} is no time; give one such as 2025-06-01T12:00:00+02:00.")


def instant_ns(given: Time, time_zone: tzinfo | None) -> int:
    """ns since the epoch; a time without an offset is local: UsageError if the clock has it twice or leaves it out."""
    if isinstance(given, Decimal):
        return int(given * SECOND_NS)
    if given.tzinfo is not None:
        return min(max(0, since_epoch_ns(given)), END_NS)
    try:
        first_ns, second_ns = passes_ns(given, time_zone)
    except (ValueError, OverflowError):
        raise UsageError(f"{given} is too near to the year 10000; give an earlier time.") from None
    if first_ns != second_ns and given.time() != time.min:  # a day begins in the first pass of its midnight
        raise UsageError(_two_ways(given, first_ns, second_ns, time_zone))
    return min(max(0, first_ns), END_NS)


def _two_ways(given: datetime, first_ns: int, second_ns: int, time_zone: tzinfo | None) -> str:
    first, second = (moment(each).astimezone(time_zone).isoformat() for each in (first_ns, second_ns))
    fault = f"shows {given} twice" if first_ns < second_ns else f"leaves {given} out"
    place = time_zone or "this machine's time zone"
    return f"The clock in {place} {fault}; give {first} or {second}."


def _check_is_no_date(seconds: Decimal) -> None:
    """2026, 202601 and 20260101 are dates to most people."""
    text = str(seconds)
    with suppress(ValueError):
        day = date.fromisoformat(text + "0101"[len(text) - 4 :])
        if len(text) in (4, 6, 8) and day.year in _YEARS_OF_DATES:
            raise ArgumentTypeError(
                f"{text} can be read as a date and as seconds since 1970; give {day}, or {text}.0 for the seconds."
            )
