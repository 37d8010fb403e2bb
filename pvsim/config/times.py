"""Times as people write them, and the span between two of them on a command line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from pvsim.errors import UsageError
from pvsim.instants import END_NS, SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
        start_ns = instant_ns(midnight, time_zone)
    if start_ns is None:
        assert end_ns is not None
        start_ns = _days_later_ns(end_ns, -1, time_zone)
    return start_ns, _days_later_ns(start_ns, 1, time_zone) if end_ns is None else end_ns


def _days_later_ns(time_ns: int, days: int, time_zone: tzinfo | None) -> int:
    local = datetime.fromtimestamp(time_ns // SECOND_NS, time_zone).replace(tzinfo=None)
    return instant_ns(local + timedelta(days=days), time_zone) + time_ns % SECOND_NS


def span_ns(given: Namespace, time_zone: tzinfo | None) -> tuple[int | None, int | None]:
    """The instants of --from and --to, None for one that is not given; UsageError if nothing lies between them."""
    start_ns, end_ns = (each if each is None else instant_ns(each, time_zone) for each in (given.since, given.until))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise UsageError("--from is not before --to; give the earlier time first.")
    return start_ns, end_ns


def parse_time(text: str) -> Time:
    """A time as the user writes it: seconds since the epoch or ISO 8601; ArgumentTypeError if it is none."""
    try:
        seconds = Decimal(text)
        if 0 <= seconds <= END_NS // SECOND_NS:
            return seconds
    except InvalidOperation:
        with suppress(ValueError):
            given = datetime.fromisoformat(text)
            if given.year >= 1970:
                return given
    raise ArgumentTypeError(f"{text!r} is no time; give one such as 2025-06-01T12:00:00+02:00.")


def instant_ns(given: Time, time_zone: tzinfo | None) -> int:
    """ns since the epoch; a time without an offset is local."""
    if isinstance(given, Decimal):
        return int(given * SECOND_NS)
    if given.tzinfo is None:
        given = given.replace(tzinfo=time_zone) if time_zone else given.astimezone()
    return max(0, (given - _EPOCH) // timedelta(microseconds=1) * 1000)
