"""Files in which all is well, as in nearly every one: found out without a look at each row.

Between two gaps, the times of rows are an arithmetic progression. Where the times at the ends of a stretch of lines say
so, the lines that it should be are computed as a block, and compared as a whole. Where
a byte differs, this file gives up, and rows.py looks at each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pvsim.instants import END_NS, SECOND_NS
from pvsim.tools.verify.expected import Expected
from pvsim.tools.verify.gaps import day_spans

_MOST = 4096  # rows at a time


def clean_runs(expected: Expected, day: date, lines: Sequence[str]) -> list[range] | None:
    """The instants of all lines, as runs, if each line is just what it should be, in order, of this day; else None."""
    if expected.power is None or expected.faults:
        return None
    found: list[range] = []
    at = 0
    while at < len(lines):
        run = _run(expected.interval_ns, lines, at)
        if run is None or expected.lines(run, []) != lines[at : at + len(run)]:
            return None
        if found and run.start == found[-1].stop:
            found[-1] = range(found[-1].start, run.stop, run.step)
        elif found and run.start < found[-1].stop:
            return None
        else:
            found.append(run)
        at += len(run)
    return found if _are_of_day(found, expected, day) else None


def _run(interval_ns: int, lines: Sequence[str], at: int) -> range | None:
    """The instants of the lines from there on up to a gap, as far as the times of some of them tell."""
    first_ns = line_time(lines[at])
    if first_ns is None or first_ns % interval_ns:
        return None
    run = range(first_ns, first_ns + _MOST * interval_ns, interval_ns)[: len(lines) - at]
    low, high = 0, len(run)
    middle = high - 1
    while middle > low:  # the line at `low` is in the run, the one at `high` is not
        if line_time(lines[at + middle]) == run[middle]:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return run[: low + 1]


def _are_of_day(found: Sequence[range], expected: Expected, day: date) -> bool:
    spans = day_spans(day, expected.time_zone)
    return all(any(start_ns <= run[0] and run[-1] < end_ns for start_ns, end_ns in spans) for run in found)


def line_time(line: str) -> int | None:
    """The instant (ns) of a line of five columns, None where there is none; quick, and not strict."""
    try:
        _, time_s, _, _, _ = line.split(",")
        whole, point, part = time_s.partition(".")
        time_ns = int(whole) * SECOND_NS + (int(part[:9].ljust(9, "0")) if point else 0)
    except ValueError:
        return None
    return time_ns if 0 <= time_ns < END_NS else None
