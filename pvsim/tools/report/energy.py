"""The energy of one meter and day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from itertools import chain, pairwise
from operator import add, lt, mul, sub
from pathlib import Path
from typing import NamedTuple

from pvsim.instants import HOUR_NS, SECOND_NS, Span
from pvsim.tools.report.pieces import Piece, pieces
from pvsim.tools.verify.gaps import day_spans

LATE_NS = 60 * SECOND_NS  # rows that are not older may still be on their way


class Energy(NamedTuple):
    """Wh: what was drawn and made, and what came from the grid and went there."""

    load_wh: float = 0.0
    pv_wh: float = 0.0
    import_wh: float = 0.0
    export_wh: float = 0.0

    def plus(self, other: Energy) -> Energy:
        """Both together."""
        return Energy(*map(add, self, other))

    def times(self, factor: float) -> Energy:
        """So much of each."""
        return Energy(*(each * factor for each in self))

    @property
    def self_consumption(self) -> float | None:
        """Which share of what was made was used at that moment; None if nothing was made."""
        return (self.pv_wh - self.export_wh) / self.pv_wh if self.pv_wh else None

    @property
    def self_sufficiency(self) -> float | None:
        """Which share of what was drawn was made at that moment; None if nothing was drawn."""
        return (self.load_wh - self.import_wh) / self.load_wh if self.load_wh else None


@dataclass
class Day:
    """One meter and local day. `interval_ns`: None if the rows do not tell it, and then `energy` is nothing."""

    meter_id: str
    day: date
    paths: list[str] = field(default_factory=list)
    rows: int = 0
    interval_ns: int | None = None
    energy: Energy = field(default_factory=Energy)
    recorded_ns: int = 0
    length_ns: int = 0  # of the day; of today, up to now
    gaps: list[Span] = field(default_factory=list)
    repeated: int = 0  # rows that stand more than once
    conflicting: int = 0  # rows of instants that have another row already, which counts
    other_day: int = 0  # rows of instants that are not of this day in this time zone
    no_rows: int = 0  # lines that are no rows of this meter
    torn: int = 0  # files whose last line is not complete

    @property
    def uncounted(self) -> int:
        """Lines whose energy would be in the sums, if it were known."""
        return self.no_rows + self.conflicting + (self.rows if self.interval_ns is None else 0)


@dataclass
class _Sum:
    """Rows that ascend: their instants in ranges, all of their W added up, and what else was found between them."""

    runs: list[range] = field(default_factory=list)
    power: Energy = field(default_factory=Energy)
    no_rows: int = 0
    torn: int = 0

    def steps(self) -> Counter[int]:
        """How often which time lies between two rows that follow each other."""
        found: Counter[int] = Counter()
        for run in self.runs:
            found[run.step] += len(run) - 1
        found.update(after[0] - before[-1] for before, after in pairwise(self.runs))
        return +found


def day_energy(
    meter_id: str, day: date, paths: Sequence[Path], time_zone: tzinfo | None, now_ns: int, interval_ns: int | None
) -> Day:
    """What the files of one meter and day hold. `interval_ns`: None for what lies between most rows."""
    found = Day(meter_id, day, list(map(str, paths)))
    total = _ascending(chain.from_iterable(pieces(path, meter_id) for path in paths))
    steps = total.steps() if total else Counter[int]()
    step_ns = interval_ns or common_step(steps)
    if total and (step_ns is None or min(steps, default=step_ns) >= step_ns):
        found.energy = total.power.times((step_ns or 0) / HOUR_NS)
        found.recorded_ns = (step_ns or 0) * sum(map(len, total.runs))
        found.interval_ns = step_ns
    else:
        total = _sort(found, [piece for path in paths for piece in pieces(path, meter_id)], interval_ns)
    found.rows = sum(map(len, total.runs))
    found.no_rows, found.torn = total.no_rows, total.torn
    _place(found, total.runs, day_spans(day, time_zone), now_ns)
    return found


def common_step(steps: Counter[int]) -> int | None:
    """What lies between more than half of the rows."""
    step, count = steps.most_common(1)[0] if steps else (None, 0)
    return step if 2 * count > steps.total() else None


def _power(loads_w: Sequence[float], pvs_w: Sequence[float]) -> Energy:
    """Sums of W. Import less export is the sum of the grid's power; both together are that of its amounts."""
    grid_w = list(map(sub, loads_w, pvs_w))
    net, gross = sum(grid_w), sum(map(abs, grid_w))
    return Energy(sum(loads_w), sum(pvs_w), (gross + net) / 2, (gross - net) / 2)


# Rows that ascend, as nearly all do: nothing of them is kept.


def _ascending(some: Iterable[Piece]) -> _Sum | None:
    """All of them added up; None if they do not ascend."""
    total, last_ns = _Sum(), -1
    for piece in some:
        total.no_rows += piece.no_rows
        total.torn += piece.is_torn
        if not piece.times_ns:
            continue
        if piece.times_ns[0] <= last_ns or not _ascend(piece.times_ns):
            return None
        total.runs += _runs(piece.times_ns)
        total.power = total.power.plus(_power(piece.loads_w, piece.pvs_w))
        last_ns = piece.times_ns[-1]
    return total


def _ascend(times_ns: Sequence[int]) -> bool:
    return isinstance(times_ns, range) or all(map(lt, times_ns, times_ns[1:]))


def _runs(times_ns: Sequence[int]) -> Iterator[range]:
    """Ascending instants in ranges of the same step."""
    start = 0
    while start < len(times_ns):
        if isinstance(times_ns, range) or start + 1 == len(times_ns):
            yield range(times_ns[start], times_ns[-1] + 1, getattr(times_ns, "step", 1))
            return
        end, step = start + 2, times_ns[start + 1] - times_ns[start]
        while end < len(times_ns) and times_ns[end] - times_ns[end - 1] == step:
            end += 1
        yield range(times_ns[start], times_ns[end - 1] + 1, step)
        start = end


# Rows in any order, more than once, or in several files: those of a day are kept and sorted.


def _sort(found: Day, some: Sequence[Piece], interval_ns: int | None) -> _Sum:
    """All of them added up, those of an instant once, and each for no longer than until the next one."""
    total = _Sum(no_rows=sum(piece.no_rows for piece in some), torn=sum(piece.is_torn for piece in some))
    by_instant: dict[int, tuple[float, float]] = {}
    for piece in some:
        for time_ns, load_w, pv_w in zip(piece.times_ns, piece.loads_w, piece.pvs_w, strict=True):
            if time_ns not in by_instant:
                by_instant[time_ns] = load_w, pv_w
            elif by_instant[time_ns] == (load_w, pv_w):
                found.repeated += 1
            else:
                found.conflicting += 1
    times_ns = sorted(by_instant)
    total.runs = list(_runs(times_ns))
    found.interval_ns = interval_ns or common_step(total.steps())
    if found.interval_ns:
        until = [*times_ns[1:], times_ns[-1] + found.interval_ns] if times_ns else []
        held_ns = [min(found.interval_ns, end - at) for at, end in zip(times_ns, until, strict=True)]
        held_w = [tuple(map(mul, by_instant[at], (held, held))) for at, held in zip(times_ns, held_ns, strict=True)]
        found.energy = _power([each[0] for each in held_w], [each[1] for each in held_w]).times(1 / HOUR_NS)
        found.recorded_ns = sum(held_ns)
    return total


# Where in the day they are.


def _place(found: Day, runs: Sequence[range], spans: Sequence[Span], now_ns: int) -> None:
    """The length of the day, its gaps, and rows that are not of it."""
    step_ns = found.interval_ns
    last_ns = runs[-1][-1] if runs else 0
    end_ns = _end_ns(spans[-1][1], last_ns + (step_ns or 0), now_ns)
    spans = [(start, min(end, end_ns)) for start, end in spans if start < end_ns]
    found.length_ns = sum(end - start for start, end in spans)
    found.other_day = sum(len(run) - sum(_within(run, span) for span in spans) for run in runs)
    if step_ns or not runs:
        covered = [span for run in runs for span in _covered(run, step_ns or 0)]
        found.gaps = [gap for span in spans for gap in _between(covered, span) if gap[1] - gap[0] >= (step_ns or 1)]


def _end_ns(midnight_ns: int, covered_ns: int, now_ns: int) -> int:
    """Until when there may be rows: of today, those of the last moment may still be on their way."""
    if now_ns >= midnight_ns:
        return midnight_ns
    return covered_ns if now_ns - LATE_NS < covered_ns else now_ns


def _within(run: range, span: Span) -> int:
    """How many instants of a range are in a span."""
    first = max(0, -(-(span[0] - run.start) // run.step))
    end = max(0, -(-(span[1] - run.start) // run.step))
    return max(0, min(end, len(run)) - first)


def _covered(run: range, step_ns: int) -> Iterator[Span]:
    """For when the rows of a range count."""
    if run.step <= step_ns:
        yield run[0], run[-1] + step_ns
    else:
        yield from ((at, at + step_ns) for at in run)


def _between(covered: Iterable[Span], span: Span) -> Iterator[Span]:
    """What of a span is not covered by ascending spans."""
    at, end_ns = span
    for start, end in covered:
        if start > at and at < end_ns:
            yield at, min(start, end_ns)
        at = max(at, end)
    if at < end_ns:
        yield at, end_ns
