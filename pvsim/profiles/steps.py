"""From one row to the next: how far it usually is, where it is more than some hours, and where clocks are changed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import sub

from pvsim.instants import HOUR_NS, SECOND_NS
from pvsim.profiles import clocks
from pvsim.profiles.bad import BadProfile
from pvsim.profiles.clocks import Change

_GAP_NS = 6 * HOUR_NS  # so long is the power of one row no longer likely


class Steps:
    """`usual_ns`: the most frequent step of the first rows; `gaps`: lines, and how many ns are in front of each."""

    def __init__(self) -> None:
        self.usual_ns = 0
        self.gaps: list[tuple[int, int]] = []
        self._hit: dict[Change, int] = {}

    def add(self, previous: int, instants: Sequence[int], numbers: Sequence[int]) -> None:
        """Take the instants of rows, and their lines; `previous`: the row before them, -1 if there is none."""
        self._find_gaps(previous, instants, numbers)
        for change in clocks.changes(instants[0], instants[-1]):
            at = bisect_left(instants, change.start_ns)
            if at < len(instants) and instants[at] < change.start_ns + HOUR_NS:
                self._hit.setdefault(change, numbers[at])

    def _find_gaps(self, previous: int, instants: Sequence[int], numbers: Sequence[int]) -> None:
        """Files of days, weeks or months have no gaps."""
        steps = list(map(sub, instants[1:], instants))
        if not self.usual_ns and steps:
            common = Counter(steps).most_common()
            self.usual_ns = min(step for step, count in common if count == common[0][1])
        if previous >= 0:
            steps.insert(0, instants[0] - previous)
        limit = max(_GAP_NS, 2 * self.usual_ns)
        if steps and max(steps) > limit:
            late = numbers[len(numbers) - len(steps) :]
            self.gaps += [(line, step) for line, step in zip(late, steps, strict=True) if step > limit]

    def check_clocks(self, instants: array[int]) -> None:
        """BadProfile where times that would be UTC may as well be those of a clock that is changed twice a year."""
        if not 0 < self.usual_ns <= HOUR_NS:
            return
        for change in clocks.changes(instants[0], instants[-1]):
            if self._is_left_out(change.start_ns, instants):
                where = "forward" if change.is_forward else "back"
                start, end = _moment(change.start_ns), _moment(change.start_ns + HOUR_NS)
                raise BadProfile(
                    f"has nothing from {start:%H:%M} to {end:%H:%M} on {start:%Y-%m-%d}, where clocks go {where},"
                    " and times without an offset; give file_timezone = the file's time zone, or UTC."
                )
        others = {change.zone for change in self._hit if change.is_forward}
        for change, line in self._hit.items():
            if not change.is_forward and change.zone not in others:
                raise BadProfile(
                    f"line {line} is in an hour that comes twice where clocks go back, as in {change.zone}, and that"
                    f" hour, {_moment(change.start_ns):%Y-%m-%d %H:%M}, is here once: the times are UTC, or local with"
                    " one of the two taken away; give file_timezone = UTC or file_timezone = the file's time zone."
                )

    def _is_left_out(self, start_ns: int, instants: array[int]) -> bool:
        at = bisect_left(instants, start_ns)
        if not 0 < at < len(instants):
            return False
        return instants[at - 1] >= start_ns - self.usual_ns and 0 <= instants[at] - start_ns - HOUR_NS < self.usual_ns


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // SECOND_NS, UTC)
