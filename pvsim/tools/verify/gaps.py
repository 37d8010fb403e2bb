"""All days of a meter: what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise

from pvsim.dayfile import HALF_MINUTE_NS, local_day
from pvsim.instants import END_NS, SECOND_NS, Span
from pvsim.meter import progress
from pvsim.tools.verify.expected import Expected
from pvsim.tools.verify.report import Gap, Report

_1970 = date(1970, 1, 1)
_HALF_HOUR, _DAY = 60, 24 * 120  # half minutes; no time zone has changed its clocks there and back in less


def check_meter(
    expected: Expected,
    reports: Iterable[Report],
    since_ns: int | None = None,
    until_ns: int | None = None,
    stops: Sequence[Span] = (),
) -> list[Report]:
    """Find the instants without a row, over all days; days without a file get a report, too."""
    by_day = {report.day: report for report in reports}
    _to_own_days(by_day, expected)
    sent = [report.sent for report in by_day.values() if report.sent]
    if since_ns is None:
        since_ns = min((start_ns for start_ns, _ in sent), default=END_NS)
    if until_ns is None:
        until_ns = max((end_ns for _, end_ns in sent), default=0)
    reach_ns = expected.faults.reach_ns if expected.faults else 0
    missing: list[tuple[Report, range]] = []
    for day in _days(max(0, since_ns - reach_ns), until_ns, expected.time_zone):
        report = by_day.get(day) or Report(expected.meter_id, day)
        fates = list(_gaps(report, expected, since_ns, until_ns, stops))
        if fates or day >= local_day(since_ns, expected.time_zone):
            by_day[day] = report
        report.stopped += sum(len(gap) for gap, fate in fates if fate == "stopped")
        report.on_purpose["missing"] += sum(len(gap) for gap, fate in fates if fate == "dropped")
        missing += [(report, gap) for gap, fate in fates if fate == "missing"]
    for gaps in _adjoining(missing, expected.interval_ns):
        may_be_stop = (gaps[-1][1][-1] - gaps[0][1][0]) + 2 * expected.interval_ns > progress.RESTART_NS
        for report, gap in gaps:
            report.counts["missing"] += len(gap)
            report.gaps.append(Gap(gap, may_be_stop))
    return [by_day[day] for day in sorted(by_day)]


def _to_own_days(by_day: dict[date, Report], expected: Expected) -> None:
    """Readings whose rows are of another day, by a wrong clock, are present in their own."""
    strays: dict[date, list[int]] = {}
    for report in by_day.values():
        for instant in report.strays:
            strays.setdefault(local_day(instant, expected.time_zone), []).append(instant)
    for day, instants in strays.items():
        report = by_day.setdefault(day, Report(expected.meter_id, day))
        together = {*instants, *(instant for run in report.present for instant in run)}
        report.present = list(runs(sorted(together), expected.interval_ns))


def _gaps(
    report: Report, expected: Expected, since_ns: int, until_ns: int, stops: Sequence[Span]
) -> Iterator[tuple[range, str]]:
    """The gaps of a day, and what they are: stopped, dropped or missing."""
    for start_ns, end_ns in day_spans(report.day, expected.time_zone):
        if expected.faults:
            wanted = expected.grid(max(start_ns, since_ns - expected.faults.reach_ns), min(end_ns, until_ns))
            absent = [instant_ns for gap in _absent(wanted, report.present) for instant_ns in gap]
            fates = [_fate(instant_ns, expected, (since_ns, until_ns), stops) for instant_ns in absent]
            for fate in ("stopped", "dropped", "missing"):
                pieces = runs([each for each, its in zip(absent, fates, strict=True) if its == fate], wanted.step)
                yield from ((piece, fate) for piece in pieces)
        else:
            wanted = expected.grid(max(start_ns, since_ns), min(end_ns, until_ns))
            for gap in _absent(wanted, report.present):
                yield from ((piece, "stopped" if is_stop else "missing") for piece, is_stop in _split(gap, stops))


def _fate(instant_ns: int, expected: Expected, asked: Span, stops: Iterable[Span]) -> str:
    """Why an instant has no row; nothing if it is not asked for, or needs none of its own."""
    assert expected.faults
    slot_ns = expected.faults.slot_ns(instant_ns)
    if not asked[0] <= slot_ns < asked[1]:
        return ""
    if any(start_ns <= slot_ns < end_ns for start_ns, end_ns in stops):
        return "stopped"
    if expected.faults.is_dropped(instant_ns):
        return "dropped"
    return "missing" if expected.has_row(instant_ns) else ""


@lru_cache(maxsize=1000)
def day_spans(day: date, time_zone: tzinfo | None) -> Sequence[Span]:
    """When it is this local day: 23, 24 or 25 hours, and hardly ever in more than one piece."""
    noon = ((day - _1970).days * 24 + 12) * 3600 * SECOND_NS // HALF_MINUTE_NS
    reach = 28 * 3600 * SECOND_NS // HALF_MINUTE_NS
    near = range(max(0, noon - reach), min(noon + reach, END_NS // HALF_MINUTE_NS))
    if (offset := _only_offset(near[::_HALF_HOUR], time_zone)) is not None:
        start = noon - _DAY // 2 - offset
        found = [range(max(0, start), min(start + _DAY, END_NS // HALF_MINUTE_NS))]
    else:
        found = list(runs([each for each in near if local_day(each * HALF_MINUTE_NS, time_zone) == day], 1))
    return [(run.start * HALF_MINUTE_NS, run.stop * HALF_MINUTE_NS) for run in found]


def _only_offset(half_minutes: Iterable[int], time_zone: tzinfo | None) -> int | None:
    """How far the local time is ahead of UTC at all of these, in half minutes; None if that changes."""
    step_s = HALF_MINUTE_NS // SECOND_NS
    try:
        local = [(each, datetime.fromtimestamp(each * step_s, time_zone).replace(tzinfo=UTC)) for each in half_minutes]
    except (ValueError, OverflowError):  # the year 10000
        return None
    offsets = {int(there.timestamp()) // step_s - each for each, there in local}
    return offsets.pop() if len(offsets) == 1 else None


def _days(since_ns: int, until_ns: int, time_zone: tzinfo | None) -> Iterator[date]:
    if since_ns < until_ns:
        first, last = local_day(since_ns, time_zone), local_day(until_ns - 1, time_zone)
        yield from (first + timedelta(days) for days in range((last - first).days + 1))


def runs(ascending: Sequence[int], step: int) -> Iterator[range]:
    """The numbers, each once, as ranges with this step."""
    if ascending:
        breaks = [each for each in pairwise(ascending) if each[1] - each[0] != step]
        starts, ends = (
            [ascending[0], *(after for _, after in breaks)],
            [*(last for last, _ in breaks), ascending[-1]],
        )
        yield from (range(start, end + step, step) for start, end in zip(starts, ends, strict=True))


def _absent(wanted: range, present: Iterable[range]) -> Iterator[range]:
    at = wanted.start
    for run in present:
        if at < min(run.start, wanted.stop):
            yield range(at, min(run.start, wanted.stop), wanted.step)
        at = max(at, run.stop)
    if at < wanted.stop:
        yield range(at, wanted.stop, wanted.step)


def _split(gap: range, stops: Iterable[Span]) -> Iterator[tuple[range, bool]]:
    """The gap in pieces that are in a stop as a whole, or not at all."""
    bounds = {bound for stop in stops for bound in stop if gap.start < bound < gap.stop}
    for start, end in pairwise(sorted({gap.start, gap.stop, *bounds})):
        piece = range(gap.start - (gap.start - start) // gap.step * gap.step, end, gap.step)
        if piece:
            yield piece, any(from_ns <= start < to_ns for from_ns, to_ns in stops)


def _adjoining(gaps: Iterable[tuple[Report, range]], interval_ns: int) -> Iterator[Sequence[tuple[Report, range]]]:
    """Gaps that go on over midnight, together."""
    together: list[tuple[Report, range]] = []
    for each in gaps:
        if together and together[-1][1][-1] + interval_ns != each[1][0]:
            yield together
            together = []
        together.append(each)
    if together:
        yield together
