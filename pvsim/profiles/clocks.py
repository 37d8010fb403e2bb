"""Clocks that go forward in spring and back in autumn, and what they leave in a file whose times have no offset.

Such times are UTC unless the user says otherwise. A file of local times shows in two nights of a year that it is one:
an hour is not there, or there twice. Where somebody has taken the second pass away, the hour is there once, as in UTC;
so a row in it can be read in two ways, unless the same file has rows in the hour that this clock leaves out in spring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pvsim.instants import HOUR_NS, SECOND_NS
from pvsim.profiles.bad import BadProfile
from pvsim.wallclock import moment, passes_ns, since_epoch_ns

_QUARTER_NS = 900 * SECOND_NS  # time zones change at quarters of an hour
# One for each night and hour in which the clocks of many people change.
_ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip


class NoSuchHourError(BadProfile):
    """A time that a clock leaves out in spring."""


class Change(NamedTuple):
    """An hour that the clocks of a zone leave out, or have twice: where it begins, in ns, as if they were UTC."""

    start_ns: int
    is_forward: bool
    zone: str


def changes(first_ns: int, last_ns: int) -> list[Change]:
    """Those whose hour touches a span."""
    first_year, last_year = (datetime.fromtimestamp(each // SECOND_NS, UTC).year for each in (first_ns, last_ns))
    every = [each for year in range(first_year, last_year + 1) for zone in _ZONES for each in _of_year(zone, year)]
    return [each for each in every if first_ns < each.start_ns + HOUR_NS and each.start_ns <= last_ns]


@lru_cache(maxsize=1000)
def _of_year(zone: str, year: int) -> tuple[Change, ...]:
    clock, new_year = ZoneInfo(zone), datetime(year, 1, 1, 12)  # noqa: DTZ001 - a wall clock
    noons = [new_year + timedelta(day) for day in range(date(year, 12, 31).timetuple().tm_yday + 1)]
    offsets = [noon.replace(tzinfo=clock).utcoffset() for noon in noons]
    changed = [noon for noon, before, after in zip(noons, offsets, offsets[1:], strict=False) if before != after]
    return tuple(change for noon in changed for change in _within(zone, noon))


def _within(zone: str, noon: datetime) -> Iterator[Change]:
    """The hours of a wall clock, up to the next noon, which it leaves out or has twice."""
    for hour in range(24):
        wall = noon + timedelta(hours=hour)
        first, second = passes_ns(wall, ZoneInfo(zone))
        if first != second:
            yield Change(since_epoch_ns(wall.replace(tzinfo=UTC)), first > second, zone)


class Zone:
    """The wall clock of a time zone: local times in order become instants.

    The hour that comes twice in autumn is taken in order: what would go back is in its second pass.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self.steps_back: dict[int, int] = {}  # how far instants in a second pass are behind what comes before them
        self._quarters: dict[int, tuple[int, int]] = {}  # offsets in the first pass and in the second

    def ahead_ns(self, instant: int) -> int:
        """How far the clock is ahead of UTC."""
        return since_epoch_ns(moment(instant).astimezone(self._zone).replace(tzinfo=UTC)) - instant // 1000 * 1000

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
        local = moment(wall).replace(tzinfo=None)
        first, second = (wall // 1000 * 1000 - each for each in passes_ns(local, self._zone))
        if first < second:  # the clock leaves it out
            raise NoSuchHourError(
                f"{local.isoformat(' ')} is no time in {self.name}, where clocks go forward then;"
                " give the file_timezone that the file is in (UTC, or Etc/GMT-1 for UTC+1 all year)"
            )
        self._quarters[wall // _QUARTER_NS] = first, second
        return first, second
