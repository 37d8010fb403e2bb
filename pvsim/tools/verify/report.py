"""What was found, and how it is told: to people, and to programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from itertools import groupby
from typing import Any, NamedTuple

from pvsim.dayfile import file_name
from pvsim.instants import SECOND_NS, Span
from pvsim.meter import progress
from pvsim.texts import fixed_text

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


def moment(time_ns: int, time_zone: tzinfo | None) -> str:
    """An instant as people read it, exact."""
    seconds, part_ns = divmod(time_ns, SECOND_NS)
    moment = datetime.fromtimestamp(seconds, UTC)
    with suppress(ValueError, OverflowError):  # it may be the year 10000 there
        moment = moment.astimezone(time_zone)
    text = moment.isoformat()
    return f"{text[:19]}{fixed_text(part_ns, 9)[1:]}{text[19:]}"


def cut(line: str) -> str:
    return repr(line if len(line) <= 100 else f"{line[:100]}…")


def as_json(reports: Sequence[Report], time_zone: tzinfo | None) -> str:
    is_well = all(not report.counts.total() for report in reports)
    files = [_file(report, time_zone) for report in reports]
    return json.dumps({"ok": is_well, "total": _numbers(reports), "files": files}, indent=1)


def _file(report: Report, time_zone: tzinfo | None) -> dict[str, Any]:
    return {
        "meter_id": report.meter_id,
        "day": report.day.isoformat(),
        "paths": report.paths,
        **_numbers([report]),
        "gaps": [_gap(gap, time_zone) for gap in report.gaps],
        "problems": [problem._asdict() for problem in report.problems],
    }


def _gap(gap: Gap, time_zone: tzinfo | None) -> dict[str, Any]:
    first, last = (moment(gap.instants[at], time_zone) for at in (0, -1))
    return {"first": first, "last": last, "missing": len(gap.instants), "may_be_stop": gap.may_be_stop}


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


def as_text(reports: Sequence[Report], time_zone: tzinfo | None) -> str:
    lines = list(_all_lines(reports, time_zone))
    lines.append(f"Total: {_summary(reports)}")
    if any(report.counts["wrong_value"] or report.counts["wrong_pv"] for report in reports):
        lines.append(
            "Wrong values may be from before a change of seed, model or a key of it; if so, keep the simulation.ini of"
            " that time, and name it with --simulation-file."
        )
    if any(gap.may_be_stop for report in reports for gap in report.gaps):
        lines.append(
            f"A gap of more than {progress.RESTART_NS // SECOND_NS} s may be a time when the meter was told to stop;"
            " if so, say it with --stopped TIME..TIME or --progress FILE."
        )
    if wrong := sum(report.counts["wrong_day"] for report in reports):
        lines.append(
            f"{wrong} rows are of another day in the time zone {time_zone or 'of this machine'}; if the files were"
            " written in another one, name it with --timezone, or as timezone in simulation.ini."
        )
    return "\n".join(lines)


def _all_lines(reports: Sequence[Report], time_zone: tzinfo | None) -> Iterator[str]:
    """Of each day; days in a row without a file share one line."""
    for (meter_id, is_given), group in groupby(reports, key=lambda report: (report.meter_id, bool(report.paths))):
        own = list(group)
        if is_given or len(own) == 1:
            yield from (line for report in own for line in _report_lines(report, time_zone))
        else:
            first, last = (file_name(meter_id, report.day) for report in (own[0], own[-1]))
            yield f"{first} to {last} (not given): {_summary(own)}"


def _report_lines(report: Report, time_zone: tzinfo | None) -> Iterator[str]:
    name = " + ".join(report.paths) or f"{file_name(report.meter_id, report.day)} (not given)"
    yield f"{name}: {_summary([report])}"
    for problem in sorted(report.problems, key=lambda each: each.line)[:_SHOWN]:
        place = f"{problem.path}, line" if len(report.paths) > 1 else "line"
        yield f"  {place} {problem.line}: {problem.kind.replace('_', ' ')}: {problem.text}"
    yield from _rest(report.counts.total() - report.counts["missing"], "problems")
    for gap in report.gaps[:_SHOWN]:
        first, last = moment(gap.instants[0], time_zone), moment(gap.instants[-1], time_zone)
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
    well = "nothing to compare" if parts == ["0 rows"] else "all is well"
    return f"{', '.join(parts)}; {', '.join(wrong) or well}"
