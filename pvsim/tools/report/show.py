"""What was found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from functools import reduce
from itertools import groupby
from typing import Any

from pvsim.instants import SECOND_NS
from pvsim.texts import fixed_text
from pvsim.tools.report.energy import Day, Energy
from pvsim.tools.verify.report import moment

_SHOWN = 5  # gaps of a day
_HEAD = (
    ("meter", "day", "recorded", "load", "PV", "import", "export", "self-consumption", "self-sufficiency"),
    ("", "", "h", "kWh", "kWh", "kWh", "kWh", "%", "%"),
)
_NOTES = {
    "repeated": "rows stand more than once, and are counted once",
    "conflicting": "rows are of an instant that has another row already, and are NOT COUNTED",
    "other_day": "rows are not of this day in this time zone, and are counted; give the --timezone of the files",
    "no_rows": "lines are no rows of this meter, and are NOT COUNTED",
    "torn": "files end in half a line, which may be being written",
}


def as_text(days: Sequence[Day], time_zone: tzinfo | None) -> str:
    """A table, and below it what is missing or odd."""
    rows = list(_rows(days))
    widths = [max(map(len, column)) for column in zip(*_HEAD, *rows, strict=True)]
    lines = [_line(row, widths) for row in (*_HEAD, *rows)]
    notes = [f"{what}: {note}" for what, note in _all_notes(days, time_zone)]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def as_json(days: Sequence[Day], time_zone: tzinfo | None) -> str:
    """One object: the days, the sum of each meter's, and the sum of all."""
    meters = [
        {"meter_id": meter_id, **_sums(list(own))} for meter_id, own in groupby(days, key=lambda day: day.meter_id)
    ]
    found = {"days": [_day(day, time_zone) for day in days], "meters": meters, "total": _sums(days)}
    return json.dumps(found, indent=1)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = zip(row, widths, strict=True)
    cells = [cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(padded)]
    return "  ".join(cells).rstrip()


def _rows(days: Sequence[Day]) -> Iterator[tuple[str, ...]]:
    meters = 0
    for meter_id, group in groupby(days, key=lambda day: day.meter_id):
        own = list(group)
        meters += 1
        yield from (_row(meter_id, day.day.isoformat(), [day]) for day in own if day.paths)
        if len(own) > 1:
            yield _row(meter_id, f"{len(own)} days", own)
    if meters > 1:
        yield _row(f"{meters} meters", "", days)


def _row(meter_id: str, what: str, days: Sequence[Day]) -> tuple[str, ...]:
    energy = _energy(days)
    is_known = any(day.interval_ns for day in days)
    return (
        meter_id,
        what,
        f"{sum(day.recorded_ns for day in days) / SECOND_NS / 3600:.2f}",
        *(f"{each / 1000:.3f}" if is_known else "-" for each in energy),
        *("-" if each is None else f"{100 * each:.1f}" for each in (energy.self_consumption, energy.self_sufficiency)),
    )


def _energy(days: Iterable[Day]) -> Energy:
    return reduce(Energy.plus, (day.energy for day in days), Energy())


def _all_notes(days: Sequence[Day], time_zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    """What each note is about, and the note. Days in a row without a file share one."""
    for (meter_id, is_there), group in groupby(days, key=lambda day: (day.meter_id, bool(day.paths))):
        own = list(group)
        if is_there:
            yield from ((f"{meter_id} {day.day}", note) for day in own for note in _notes(day, time_zone))
        elif len(own) == 1:
            yield f"{meter_id} {own[0].day}", "there is no file of this day"
        else:
            yield f"{meter_id} {own[0].day} to {own[-1].day}", f"there are no files of these {len(own)} days"


def _notes(day: Day, time_zone: tzinfo | None) -> Iterator[str]:
    if day.interval_ns is None and day.rows:
        yield f"{day.rows} rows do not tell how long each counts, and are NOT COUNTED; give --interval"
    for start_ns, end_ns in day.gaps[:_SHOWN]:
        seconds = fixed_text(end_ns - start_ns, 9)
        yield f"no rows from {moment(start_ns, time_zone)} to {moment(end_ns, time_zone)} ({seconds} s)"
    if len(day.gaps) > _SHOWN:
        rest_ns = sum(end - start for start, end in day.gaps[_SHOWN:])
        yield f"and {len(day.gaps) - _SHOWN} more gaps ({fixed_text(rest_ns, 9)} s)"
    yield from (f"{count} {text}" for name, text in _NOTES.items() if (count := getattr(day, name)))


def _day(day: Day, time_zone: tzinfo | None) -> dict[str, Any]:
    return {
        "meter_id": day.meter_id,
        "day": day.day.isoformat(),
        "paths": day.paths,
        "interval_s": day.interval_ns and day.interval_ns / SECOND_NS,
        **_sums([day]),
        "gaps": [
            {"from": moment(start, time_zone), "to": moment(end, time_zone), "seconds": (end - start) / SECOND_NS}
            for start, end in day.gaps
        ],
    }


def _sums(days: Sequence[Day]) -> dict[str, Any]:
    energy = _energy(days)
    shares = {"self_consumption": energy.self_consumption, "self_sufficiency": energy.self_sufficiency}
    return {
        "rows": sum(day.rows for day in days),
        "length_s": sum(day.length_ns for day in days) / SECOND_NS,
        "recorded_s": sum(day.recorded_ns for day in days) / SECOND_NS,
        **{name.replace("_wh", "_kwh"): round(each / 1000, 6) for name, each in energy._asdict().items()},
        **{f"{name}_percent": None if each is None else round(100 * each, 3) for name, each in shares.items()},
        "uncounted": sum(day.uncounted for day in days),
        **{name: sum(getattr(day, name) for day in days) for name in _NOTES},
    }
