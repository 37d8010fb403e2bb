"""Wall clocks: the local times that they leave out when they go forward, and show twice when they go back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from pvsim.instants import SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def passes_ns(local: datetime, time_zone: tzinfo | None) -> tuple[int, int]:
    """ns since the epoch of a time without an offset, in its first pass and in its second; None is the system's zone.

    Of a time that the clock shows twice the second pass is later, of one that it leaves out it is earlier. ValueError
    or OverflowError if that comes too near to the year 10000.
    """
    first, second = (_instant_ns(local.replace(tzinfo=time_zone, fold=fold)) for fold in (0, 1))
    return first, second


def _instant_ns(given: datetime) -> int:
    if given.tzinfo:
        return since_epoch_ns(given)
    seconds = int(given.replace(microsecond=0).timestamp())  # astimezone() errs in the hour that is left out
    return seconds * SECOND_NS + given.microsecond * 1000


def since_epoch_ns(given: datetime) -> int:
    """ns since the epoch of a time with an offset."""
    return (given - _EPOCH) // timedelta(microseconds=1) * 1000


def moment(time_ns: int) -> datetime:
    """In UTC, the instant so many ns after the epoch, to the microsecond; OverflowError in the year 10000."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
