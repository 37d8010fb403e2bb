"""The name of a day file, and the local calendar day that an instant belongs to."""

from __future__ import annotations

import re
from datetime import date, datetime, tzinfo
from functools import lru_cache

from pvsim.errors import IdError
from pvsim.ids import check_id
from pvsim.instants import SECOND_NS

HALF_MINUTE_NS = 30 * SECOND_NS  # since 1970, every time zone's offset from UTC is a multiple of 30 s

_NAME = re.compile(r"(?P<id>.+)-(?P<day>\d{4}-\d\d-\d\d)\.csv", re.ASCII)


def file_name(meter_id: str, day: date) -> str:
    return f"{meter_id}-{day.isoformat()}.csv"


def parse_file_name(name: str) -> tuple[str, date]:
    """The meter id and the day in a day file's name; ValueError if it is none."""
    match = _NAME.fullmatch(name)
    try:
        if match:
            return check_id(match["id"]), date.fromisoformat(match["day"])
    except (IdError, ValueError):
        pass
    raise ValueError(f"{name!r} is not the name of a day file: METER_ID-YYYY-MM-DD.csv")


def local_day(time_ns: int, time_zone: tzinfo | None) -> date:
    """The calendar day of an instant of the years 1970 to 9999; None is the system's time zone."""
    return half_minute_day(time_ns // HALF_MINUTE_NS, time_zone)


@lru_cache(maxsize=1024)
def half_minute_day(half_minute: int, time_zone: tzinfo | None) -> date:
    try:
        return datetime.fromtimestamp(half_minute * (HALF_MINUTE_NS // SECOND_NS), time_zone).date()
    except (ValueError, OverflowError):  # already the year 10000 there: its first hours count as 9999's last
        return date.max
