"""Instants: whole nanoseconds since the epoch, 1970-01-01T00:00:00Z, leap seconds not counted (POSIX).

Instants that lie on a grid, as those of most messages do, are best a `range`: it takes no time to go through.
"""

from collections.abc import Sequence

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
END_NS = 253_402_300_800 * SECOND_NS  # 10000-01-01T00:00:00Z: later days have no four-digit year

Span = tuple[int, int]
"""From the first instant up to and without the second, ns."""


def ends(instants_ns: Sequence[int]) -> tuple[int, int]:
    """The earliest and the latest of these, of which there are some; a range ascends."""
    if isinstance(instants_ns, range):
        return instants_ns[0], instants_ns[-1]
    return min(instants_ns), max(instants_ns)


def joined(first: Sequence[int], then: Sequence[int]) -> Sequence[int]:
    """The ones and then the others: a range where two of them are one."""
    if not first:
        return then
    if isinstance(first, range) and isinstance(then, range) and (first.stop, first.step) == (then.start, then.step):
        return range(first.start, then.stop, first.step)
    return [*first, *then]
