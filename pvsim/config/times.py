"""Times as people write them, and the span between two of them on a command line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from pvsim.errors import ConfigError
from pvsim.reading import END_NS, SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Time = datetime | Decimal
"""As the user gave it: a local time or one with an offset, or seconds since the epoch."""


def add_span_options(parser: ArgumentParser, since: str, until: str, required: bool = False) -> None:
    """--from and --to, for `span_ns`; `since` and `until` are their help."""
    parser.add_argument("--from", dest="since", type=parse_time, metavar="TIME", required=required, help=since)
    parser.add_argument("--to", dest="until", type=parse_time, metavar="TIME", required=required, help=until)


def span_ns(given: Namespace, time_zone: tzinfo | None) -> tuple[int | None, int | None]:
    """The instants of --from and --to, None for one that is not given; ConfigError if nothing lies between them."""
    start_ns, end_ns = (each if each is None else instant_ns(each, time_zone) for each in (given.since, given.until))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError("--from is not before --to; give the earlier time first.")
    return start_ns, end_ns


def parse_time(text: str) -> Time:
    """A time as the user writes it: seconds since the epoch or ISO 8601; ArgumentTypeError if it is none."""
    try:
        seconds = Decimal(text)
        if 0 <= seconds <= END_NS // SECOND_NS:
            return seconds
    except InvalidOperation:
        with suppress(ValueError):
            time = datetime.fromisoformat(text)
            if time.year >= 1970:
                return time
    raise ArgumentTypeError(f"{text!r} is no time; give one such as 2025-06-01T12:00:00+02:00.")


def instant_ns(time: Time, time_zone: tzinfo | None) -> int:
    """ns since the epoch; a time without an offset is local."""
    if isinstance(time, Decimal):
        return int(time * SECOND_NS)
    if time.tzinfo is None:
        time = time.replace(tzinfo=time_zone) if time_zone else time.astimezone()
    return max(0, (time - _EPOCH) // timedelta(microseconds=1) * 1000)
