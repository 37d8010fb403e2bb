"""`pvsim verify`: recompute day files, and say what is missing, repeated, out of order, wrong or torn.

Every row is a function of seed, meter id and instant, so the line that each row should be is computed from
its instant alone, and compared as text; only lines that differ are looked at closely. What a file should hold
beyond its rows it cannot tell: instants are expected from a meter's first row to its last, over all its files
that are given, or as --from and --to say. A meter that was told to stop leaves a gap of more than 90 s, so
only such a gap may be one; whether it is, --stopped or the meter's progress file has to say.

Faults on purpose are functions of the instant, too: what they do is expected, and counted apart. With a wrong clock, a
row's time is not that of its reading, so rows are known by the instant of the reading; and what is late counts as of
the instant with which it is sent.
"""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from operator import ne
from pathlib import Path
from typing import Any, NamedTuple

from pvsim import config, history, progress
from pvsim.dayfile import (
    HEADER,
    SLOT_NS,
    file_name,
    format_row,
    local_day,
    parse_file_name,
    parse_row,
    sum_w,
)
from pvsim.errors import ConfigError
from pvsim.history import Time, instant_ns, parse_time
from pvsim.models import PowerModel, load, solar
from pvsim.models.faults import Faulty
from pvsim.reading import END_NS, SECOND_NS, Reading, decimal_text, fixed_text, time_text

KINDS = (
    "missing",
    "repeated",  # the same reading again
    "conflicting",  # another row of an instant that has one
    "out_of_order",  # earlier than the row before it
    "not_meant",  # of an instant at which faults leave no reading
    "off_grid",  # not at a multiple of the interval
    "wrong_value",
    "wrong_pv",
    "wrong_sum",
    "wrong_meter",
    "wrong_day",
    "malformed",  # a line that is no row
    "torn",  # what follows the last newline
    "foreign_header",
)
ON_PURPOSE = ("missing", "wrong_value", "wrong_time", "out_of_order")  # by faults of the meter
_KEPT, _SHOWN = 100, 5  # problems of a day
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Span = tuple[int, int]  # from the first instant up to and without the second, ns
Row = tuple[int, int, str, int]  # number of the line, time of the row, line, instant of the reading


@dataclass(frozen=True)
class Expected:
    """How the rows of a meter come about. `power`: None where the meter's values are not to be checked."""

    meter_id: str
    interval_ns: int
    power: PowerModel | None
    pv_power: PowerModel
    time_zone: tzinfo | None
    faults: Faulty | None = None

    def grid(self, start_ns: int, end_ns: int) -> range:
        """The instants of its readings from the first instant up to and without the second."""
        return range(-(-start_ns // self.interval_ns) * self.interval_ns, end_ns, self.interval_ns)

    def lines(self, times: Sequence[int], lines: Sequence[str], instants: Sequence[int] | None = None) -> list[str]:
        """What `lines`, rows with these times, should be; where they are no rows it is something else.

        `instants`: those of their readings, if these are not their times.
        """
        pv = self.pv_power(times)
        if self.power is None:
            return [self._line_with_value(*each) for each in zip(times, lines, pv, strict=True)]
        return [
            f"{self.meter_id},{time_text(time_ns)},{fixed_text(power_mw, 3)},{fixed_text(pv_mw, 6)},"
            f"{fixed_text(power_mw + pv_mw, 3)}"
            for time_ns, power_mw, pv_mw in zip(times, self.power(instants or times), pv, strict=True)
        ]

    def instant(self, time_ns: int, line: str) -> int | None:
        """The instant of the reading of a row; None if faults leave no reading that says this time."""
        if self.faults is None:
            return time_ns
        origins = self.faults.origins(time_ns)
        if len(origins) > 1:
            origins = [each for each in origins if self.lines([time_ns], [line], [each]) == [line]] or origins
        if not origins and time_ns % self.interval_ns:
            return time_ns  # it is off the grid, and said to be
        return origins[0] if origins else None

    def time_ns(self, instant_ns: int) -> int:
        """The time of the row of the reading of an instant."""
        return self.faults.time_ns(instant_ns) if self.faults else instant_ns

    def has_row(self, instant_ns: int) -> bool:
        """Whether there is to be a row of this instant, and not only one that looks the same."""
        if self.faults is None:
            return True
        time_ns = self.faults.time_ns(instant_ns)
        (line,) = self.lines([time_ns], [""], [instant_ns])
        return not self.faults.is_dropped(instant_ns) and self.instant(time_ns, line) == instant_ns

    def _line_with_value(self, time_ns: int, line: str, pv_milliwatts: int) -> str:
        try:
            power_w = parse_row(line).power_w
        except ValueError:
            power_w = Decimal(0)
        return format_row(Reading(self.meter_id, time_ns, power_w), pv_milliwatts)


class Problem(NamedTuple):
    """Something wrong in one line of one file."""

    path: str
    line: int
    kind: str
    text: str


class Gap(NamedTuple):
    """Instants that have no row; `may_be_stop`: it is as long as one that a stopped meter leaves."""

    instants: range
    may_be_stop: bool


@dataclass
class Report:
    """What was found for one meter and day, in one file or in the files of several PV services."""

    meter_id: str
    day: date
    paths: list[str] = field(default_factory=list)
    rows: int = 0
    shared: int = 0  # rows that stand identically in more than one file
    stopped: int = 0  # instants without a row at which the meter was stopped
    on_purpose: Counter[str] = field(default_factory=Counter)  # what faults of the meter did
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    present: list[range] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)  # instants of other days, whose readings say that they are of this
    sent: Span | None = None  # from when to when what is present was sent

    def add(self, path: str, line: int, kind: str, text: str) -> None:
        """Count a problem; the first ones are kept."""
        self.counts[kind] += 1
        if len(self.problems) < _KEPT:
            self.problems.append(Problem(path, line, kind, text))


# One day.


def check_day(expected: Expected, day: date, contents: Iterable[tuple[str, str]]) -> Report:
    """What is wrong in the rows of the files of one day: pairs of a path and the text."""
    report = Report(expected.meter_id, day)
    found: dict[int, str] = {}  # by instant
    for path, text in contents:
        report.paths.append(path)
        lines = _rows(report, path, text)
        rows = _check_rows(report, expected, path, lines)
        found |= _check_sequence(report, expected, path, rows, found)
    _take(report, expected, sorted(_in_day(found, day, expected)))
    return report


def _take(report: Report, expected: Expected, instants: Sequence[int]) -> None:
    if instants and expected.faults:
        is_stray = [local_day(instant, expected.time_zone) != report.day for instant in instants]
        report.strays = [instant for instant, stray in zip(instants, is_stray, strict=True) if stray]
        slots = [expected.faults.slot_ns(instant) for instant in instants]
        report.sent = min(slots), max(slots) + 1
        instants = [instant for instant, stray in zip(instants, is_stray, strict=True) if not stray]
    elif instants:
        report.sent = instants[0], instants[-1] + 1
    report.present = list(_runs(instants, expected.interval_ns))


def _rows(report: Report, path: str, text: str) -> list[str]:
    """The lines after the header, if it is one and they are whole."""
    *lines, rest = text.split("\n")
    if lines[:1] != [HEADER] and (lines or not HEADER.startswith(rest)):
        report.add(path, 1, "foreign_header", f"{_cut(lines[0] if lines else rest)} is not {HEADER}")
        return []
    if rest or not lines:
        report.add(path, len(lines) + 1, "torn", f"{_cut(rest)} does not end in a newline")
    report.rows += max(0, len(lines) - 1)
    return lines[1:]


def _check_rows(report: Report, expected: Expected, path: str, lines: Sequence[str]) -> list[Row]:
    """The rows of this meter; each is checked on its own."""
    rows: list[Row] = []
    for number, (time_ns, line) in enumerate(zip(_line_times(lines), lines, strict=True), 2):
        if time_ns is None:
            report.add(path, number, "malformed", f"{_cut(line)} is no row")
        elif (instant_ns := expected.instant(time_ns, line)) is None:
            report.add(path, number, "not_meant", f"{_cut(line)} is of a time that faults leave without a reading")
        else:
            rows.append((number, time_ns, line, instant_ns))
    right = expected.lines([row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows])
    differing = {
        row[0]
        for row, wanted in zip(rows, right, strict=True)
        if row[2] != wanted and not _check_row(report, path, row[0], row[2], wanted)
    }
    if differing:
        rows = [row for row in rows if row[0] not in differing]
    _check_instants(report, expected, path, rows)
    if expected.faults:
        _count_faults(report, expected.faults, rows)
    return rows


def _count_faults(report: Report, faults: Faulty, rows: Sequence[Row]) -> None:
    instants = [instant_ns for *_, instant_ns in rows]
    report.on_purpose["wrong_time"] += sum(time_ns != instant_ns for _, time_ns, _, instant_ns in rows)
    report.on_purpose["wrong_value"] += sum(map(ne, faults.power(instants), faults.true_power(instants)))


def _check_row(report: Report, path: str, number: int, line: str, wanted_line: str) -> bool:
    """Say why a line is not what it should be; return whether it is a row of this meter at all."""
    try:
        row, wanted = parse_row(line), parse_row(wanted_line)
    except ValueError as error:
        report.add(path, number, "malformed", str(error))
        return False
    if row.meter_id != wanted.meter_id:
        report.add(path, number, "wrong_meter", f"a row of {row.meter_id}")
        return False
    pv_kw, wanted_kw = fixed_text(row.pv_milliwatts, 6), fixed_text(wanted.pv_milliwatts, 6)
    row_sum_w = sum_w(row.power_w, row.pv_milliwatts)
    if row.power_w != wanted.power_w:
        text = f"{decimal_text(row.power_w)} W instead of {decimal_text(wanted.power_w)} W"
        report.add(path, number, "wrong_value", text)
    if row.pv_milliwatts != wanted.pv_milliwatts:
        report.add(path, number, "wrong_pv", f"{pv_kw} kW instead of {wanted_kw} kW")
    if row.sum_w != row_sum_w:
        terms = f"{decimal_text(row.power_w)} W and {pv_kw} kW make {decimal_text(row_sum_w)} W"
        report.add(path, number, "wrong_sum", f"{decimal_text(row.sum_w)} W; {terms}")
    return True


def _check_instants(report: Report, expected: Expected, path: str, rows: Sequence[Row]) -> None:
    interval_ns = expected.interval_ns
    for number, time_ns, *_ in [row for row in rows if row[3] % interval_ns]:
        text = f"{_moment(time_ns, expected.time_zone)} is no multiple of {fixed_text(interval_ns, 9)} s"
        report.add(path, number, "off_grid", text)
    slots = {row[1] // SLOT_NS for row in rows}
    foreign = {slot for slot in slots if local_day(slot * SLOT_NS, expected.time_zone) != report.day}
    for number, time_ns, *_ in [row for row in rows if row[1] // SLOT_NS in foreign] if foreign else ():
        report.add(path, number, "wrong_day", f"{_moment(time_ns, expected.time_zone)} is another day")


def _check_sequence(
    report: Report, expected: Expected, path: str, rows: Sequence[Row], elsewhere: Mapping[int, str]
) -> dict[int, str]:
    """The rows of one file by the instant of their reading; what does not fit together is said."""
    here: dict[int, str] = {}
    _check_order(report, expected.faults, path, rows)
    for number, _, line, instant in rows:
        other = here.get(instant)
        if other is not None and _value(other) == _value(line):
            report.add(path, number, "repeated", f"{_cut(line)} stands in this file already")
        elif (other := other or elsewhere.get(instant)) and other != line:
            report.add(path, number, "conflicting", f"{_cut(line)} and {_cut(other)} are of one instant")
        elif other:
            report.shared += 1
        here[instant] = line
    return here


def _check_order(report: Report, faults: Faulty | None, path: str, rows: Sequence[Row]) -> None:
    """Rows ascend in time, but for those that faults displace and those that follow one."""
    previous_ns = steady_ns = -1  # the time of the row before, and of the last one that is not displaced
    for number, time_ns, line, instant in rows:
        is_displaced = faults is not None and faults.is_displaced(instant)
        if time_ns < previous_ns and (is_displaced or time_ns >= steady_ns):
            report.on_purpose["out_of_order"] += 1
        elif time_ns < previous_ns:
            report.add(path, number, "out_of_order", f"{_cut(line)} is earlier than the row before")
        previous_ns = time_ns
        if not is_displaced:
            steady_ns = time_ns


def _value(line: str) -> str:
    return line.split(",", 3)[2]


def _in_day(instants: Iterable[int], day: date, expected: Expected) -> list[int]:
    """Those instants that the meter has readings of, and whose rows are of this day."""
    return [
        instant_ns
        for instant_ns in instants
        if instant_ns % expected.interval_ns == 0 and local_day(expected.time_ns(instant_ns), expected.time_zone) == day
    ]


def _line_times(lines: Sequence[str]) -> list[int | None]:
    """The instant (ns) of each line of five columns, None where there is none; quick, and not strict."""
    try:
        seconds = [int(time_s) for _, time_s, _, _, _ in (line.split(",") for line in lines)]
        if min(seconds) >= 0 and max(seconds) < END_NS // SECOND_NS:
            return [time_s * SECOND_NS for time_s in seconds]
    except ValueError:  # fractions of seconds, or lines that are no rows
        pass
    return [_line_time(line) for line in lines]


def _line_time(line: str) -> int | None:
    try:
        _, time_s, _, _, _ = line.split(",")
        whole, point, part = time_s.partition(".")
        time_ns = int(whole) * SECOND_NS + (int(part[:9].ljust(9, "0")) if point else 0)
    except ValueError:
        return None
    return time_ns if 0 <= time_ns < END_NS else None


# What is missing.


def check_meter(
    expected: Expected,
    reports: Iterable[Report],
    since_ns: int | None = None,
    until_ns: int | None = None,
    stops: Sequence[Span] = (),
) -> list[Report]:
    """Find the instants without a row, over all days; days without a file get a report, too."""
    by_day = {report.day: report for report in reports}
    _bring_home(by_day, expected)
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


def _bring_home(by_day: dict[date, Report], expected: Expected) -> None:
    """Readings whose rows are of another day, by a wrong clock, are present in their own."""
    strays: dict[date, list[int]] = {}
    for report in by_day.values():
        for instant in report.strays:
            strays.setdefault(local_day(instant, expected.time_zone), []).append(instant)
    for day, instants in strays.items():
        report = by_day.setdefault(day, Report(expected.meter_id, day))
        together = {*instants, *(instant for run in report.present for instant in run)}
        report.present = list(_runs(sorted(together), expected.interval_ns))


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
                runs = _runs([each for each, its in zip(absent, fates, strict=True) if its == fate], wanted.step)
                yield from ((run, fate) for run in runs)
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
    noon = ((day - _EPOCH.date()).days * 24 + 12) * 3600 * SECOND_NS // SLOT_NS
    reach = 28 * 3600 * SECOND_NS // SLOT_NS
    slots = range(max(0, noon - reach), min(noon + reach, END_NS // SLOT_NS))
    runs = _runs([slot for slot in slots if local_day(slot * SLOT_NS, time_zone) == day], 1)
    return [(run.start * SLOT_NS, run.stop * SLOT_NS) for run in runs]


def _days(since_ns: int, until_ns: int, time_zone: tzinfo | None) -> Iterator[date]:
    if since_ns < until_ns:
        first, last = local_day(since_ns, time_zone), local_day(until_ns - 1, time_zone)
        yield from (first + timedelta(days) for days in range((last - first).days + 1))


def _runs(ascending: Sequence[int], step: int) -> Iterator[range]:
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


# The command.


def add_parser(subparsers: Any) -> None:
    """The command line of `pvsim verify`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="recompute day files and compare",
        description="Recompute day files from simulation.ini and say what is missing, repeated or wrong. "
        "Exit status: 0 if all is well, 1 if not, 78 if a file cannot be read.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="METER_ID-YYYY-MM-DD.csv")
    config.add_simulation_option(parser, "what was simulated")
    for name, key, text in (
        ("seed", config.METER["seed"], "the seed of meters and PV systems"),
        ("interval", config.METER["interval"], "seconds between two readings"),
        ("peak-kw", config.PV["peak_kw"], "the peak power of the PV systems"),
        ("timezone", config.PV["timezone"], "the time zone of the days"),
    ):
        text += ", instead of what the file says"
        parser.add_argument(f"--{name}", type=_option(key), metavar=key.name.upper(), help=text)
    parser.add_argument(
        "--no-values",
        action="store_true",
        help="another meter's readings: check their instants and order, the PV power and the sums",
    )
    history.add_options(
        parser,
        "expect rows from then on: 2025-06-01T12:00:00, local or with +02:00, or epoch seconds",
        "expect rows before that time",
    )
    parser.add_argument(
        "--stopped",
        action="append",
        default=[],
        type=_time_span,
        metavar="TIME..TIME",
        help="expect none from the first time to the second: the meter was told to stop; may be repeated",
    )
    parser.add_argument(
        "--progress",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a progress.json of the meters, which tells when they were told to stop; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Check the files; 0 if all is well, 1 if not. ConfigError if a file cannot be read or is no day file."""
    simulation = config.load_simulation(options.simulation_file, None)
    time_zone = config.zone(options.timezone or simulation.timezone)
    since_ns, until_ns = history.span_ns(options, time_zone)
    stops = [(instant_ns(start, time_zone), instant_ns(end, time_zone)) for start, end in options.stopped]
    stops_of = _stops(options.progress)
    reports: list[Report] = []
    for meter_id, days in _by_meter(options.files).items():
        wanted = _expected(options, simulation, meter_id, time_zone)
        found = (check_day(wanted, day, _contents(days[day])) for day in sorted(days))
        own_stops = [*stops, *stops_of.get(meter_id, [])]
        reports += check_meter(wanted, found, since_ns, until_ns, own_stops)
    print(_as_json(reports, time_zone) if options.json else _as_text(reports, time_zone))
    return 0 if all(not report.counts.total() for report in reports) else 1


def _expected(
    options: argparse.Namespace, simulation: config.Simulation, meter_id: str, time_zone: tzinfo | None
) -> Expected:
    meter, pv = simulation.meter(meter_id), simulation.pv(meter_id)
    if options.seed is not None:
        meter, pv = replace(meter, seed=options.seed), replace(pv, seed=options.seed)
    if options.peak_kw is not None:
        if "peak_kw" not in pv.parameters:
            raise ConfigError(f"The model {pv.model} of {meter_id} has no peak power; leave --peak-kw out.")
        pv = replace(pv, parameters={**pv.parameters, "peak_kw": options.peak_kw})
    if options.interval is not None:
        meter = replace(meter, interval_ns=options.interval)
    if options.no_values:  # it is another meter, then
        return replace(expect(meter_id, replace(meter, faults={}), pv, time_zone), power=None)
    return expect(meter_id, meter, pv, time_zone)


def expect(meter_id: str, meter: config.MeterSettings, pv: config.PvSettings, time_zone: tzinfo | None) -> Expected:
    """How the rows of a meter with these settings come about."""
    power = load.model(meter.model, meter.seed, meter_id, **meter.parameters)
    pv_power = solar.model(pv.model, pv.seed, meter_id, **pv.parameters)
    if not meter.faults:
        return Expected(meter_id, meter.interval_ns, power, pv_power, time_zone)
    faults = Faulty(meter.seed, meter_id, meter.interval_ns, power, meter.faults)
    return Expected(meter_id, meter.interval_ns, faults.power, pv_power, time_zone, faults)


def _by_meter(paths: Iterable[Path]) -> dict[str, dict[date, list[Path]]]:
    meters: dict[str, dict[date, list[Path]]] = {}
    for path in {path.absolute(): path for path in paths}.values():
        try:
            meter_id, day = parse_file_name(path.name)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}; give day files.") from None
        meters.setdefault(meter_id, {}).setdefault(day, []).append(path)
    return meters


def _contents(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    return ((str(path), _read(path)) for path in paths)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}; give a file that you may read.") from None


def _stops(paths: Iterable[Path]) -> dict[str, list[Span]]:
    """By meter, when it was told to stop: from just after `stopped_ns` up to and with `started_ns`."""
    stops: dict[str, list[Span]] = {}
    for path in paths:
        try:
            tracks = progress.parse(_read(path))
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"{path} is no progress file: {error}; give a meter's progress.json.") from None
        for meter_id, track in tracks.items():
            spans = stops.setdefault(meter_id, [])
            spans += [(stopped_ns + 1, started_ns + 1) for stopped_ns, started_ns in track.gaps]
            if track.stopped_ns is not None:
                spans.append((track.stopped_ns + 1, END_NS))
    return stops


def _option(key: config.Key) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return key.parse(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not {key.noun}; give {key.right}.") from None

    return parse


def _time_span(text: str) -> tuple[Time, Time]:
    start, dots, end = text.partition("..")
    if not dots:
        raise ArgumentTypeError(f"{text!r} is no span of time; give two times with .. between them.")
    return parse_time(start), parse_time(end)


def _moment(time_ns: int, time_zone: tzinfo | None) -> str:
    """An instant as people read it, exact."""
    seconds, part_ns = divmod(time_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC)
    with suppress(ValueError, OverflowError):  # it may be the year 10000 there
        moment = moment.astimezone(time_zone)
    text = moment.isoformat()
    return f"{text[:19]}{fixed_text(part_ns, 9)[1:]}{text[19:]}"


def _cut(line: str) -> str:
    return repr(line if len(line) <= 100 else f"{line[:100]}…")


def _as_json(reports: Sequence[Report], time_zone: tzinfo | None) -> str:
    return json.dumps(
        {
            "ok": all(not report.counts.total() for report in reports),
            "total": _numbers(reports),
            "files": [
                {
                    "meter_id": report.meter_id,
                    "day": report.day.isoformat(),
                    "paths": report.paths,
                    **_numbers([report]),
                    "gaps": [
                        {
                            "first": _moment(gap.instants[0], time_zone),
                            "last": _moment(gap.instants[-1], time_zone),
                            "missing": len(gap.instants),
                            "may_be_stop": gap.may_be_stop,
                        }
                        for gap in report.gaps
                    ],
                    "problems": [problem._asdict() for problem in report.problems],
                }
                for report in reports
            ],
        },
        indent=1,
    )


def _numbers(reports: Sequence[Report]) -> dict[str, int]:
    counts = sum((report.counts for report in reports), Counter[str]())
    purposes = sum((report.on_purpose for report in reports), Counter[str]())
    return {
        "rows": sum(report.rows for report in reports),
        "shared": sum(report.shared for report in reports),
        "stopped": sum(report.stopped for report in reports),
        **{f"{kind}_on_purpose": purposes[kind] for kind in ON_PURPOSE},
        **{kind: counts[kind] for kind in KINDS},
    }


def _as_text(reports: Sequence[Report], time_zone: tzinfo | None) -> str:
    lines = [line for report in reports for line in _report_lines(report, time_zone)]
    lines.append(f"Total: {_summary(reports)}")
    if any(gap.may_be_stop for report in reports for gap in report.gaps):
        lines.append(
            f"A gap of more than {progress.RESTART_NS // SECOND_NS} s may be a time when the meter was told to stop;"
            " if so, say it with --stopped TIME..TIME or --progress FILE."
        )
    return "\n".join(lines)


def _report_lines(report: Report, time_zone: tzinfo | None) -> Iterator[str]:
    name = " + ".join(report.paths) or f"{file_name(report.meter_id, report.day)} (not given)"
    yield f"{name}: {_summary([report])}"
    for problem in sorted(report.problems, key=lambda each: each.line)[:_SHOWN]:
        place = f"{problem.path}, line" if len(report.paths) > 1 else "line"
        yield f"  {place} {problem.line}: {problem.kind.replace('_', ' ')}: {problem.text}"
    yield from _rest(report.counts.total() - report.counts["missing"], "problems")
    for gap in report.gaps[:_SHOWN]:
        first, last = _moment(gap.instants[0], time_zone), _moment(gap.instants[-1], time_zone)
        hint = ", perhaps a stop of the meter" if gap.may_be_stop else ""
        yield f"  missing: {first} to {last} ({len(gap.instants)}{hint})"
    yield from _rest(len(report.gaps), "gaps")


def _rest(count: int, what: str) -> Iterator[str]:
    if count > _SHOWN:
        yield f"  and {count - _SHOWN} more {what}"


def _summary(reports: Sequence[Report]) -> str:
    numbers = _numbers(reports)
    parts = [f"{numbers['rows']} rows"]
    parts += [f"{numbers[name]} {name}" for name in ("shared", "stopped") if numbers[name]]
    purposes = [f"{kind}_on_purpose" for kind in ON_PURPOSE]
    parts += [f"{numbers[name]} {name.replace('_', ' ')}" for name in purposes if numbers[name]]
    wrong = [f"{numbers[kind]} {kind.replace('_', ' ')}" for kind in KINDS if numbers[kind]]
    return f"{', '.join(parts)}; {', '.join(wrong) or 'all is well'}"
