"""One day: what is wrong in the rows that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from operator import ne

from pvsim.dayfile import HALF_MINUTE_NS, local_day
from pvsim.instants import END_NS, SECOND_NS
from pvsim.models.faults import Faulty
from pvsim.row import HEADER, parse_row, sum_w, with_points
from pvsim.texts import decimal_text, fixed_text, power_text
from pvsim.tools.verify.clean import clean_runs, line_time
from pvsim.tools.verify.expected import Expected
from pvsim.tools.verify.gaps import runs
from pvsim.tools.verify.report import Report, cut, moment

Numbered = tuple[int, int, str, int]  # number of the line, time of the row, line, instant of the reading


def check_day(expected: Expected, day: date, contents: Iterable[tuple[str, str]]) -> Report:
    """What is wrong in the rows of the files of one day: pairs of a path and the text."""
    report = Report(expected.meter_id, day)
    files = []
    for path, text in contents:
        report.paths.append(path)
        files.append((path, _rows(report, path, text)))
    if len(files) == 1 and (present := clean_runs(expected, day, files[0][1])):
        report.present, report.sent = present, (present[0].start, present[-1][-1] + 1)
    else:
        _check_files(report, expected, day, files)
    return report


def _check_files(report: Report, expected: Expected, day: date, files: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Numbered by row; each is known by its instant."""
    found: dict[int, str] = {}
    for path, lines in files:
        rows = _check_rows(report, expected, path, lines)
        found |= _check_sequence(report, expected, path, rows, found)
    _take(report, expected, sorted(_in_day(found, day, expected)))


def _take(report: Report, expected: Expected, instants: Sequence[int]) -> None:
    if instants and expected.faults:
        is_stray = [local_day(instant, expected.time_zone) != report.day for instant in instants]
        report.strays = [instant for instant, stray in zip(instants, is_stray, strict=True) if stray]
        slots = [expected.faults.slot_ns(instant) for instant in instants]
        report.sent = min(slots), max(slots) + 1
        instants = [instant for instant, stray in zip(instants, is_stray, strict=True) if not stray]
    elif instants:
        report.sent = instants[0], instants[-1] + 1
    report.present = list(runs(instants, expected.interval_ns))


def _rows(report: Report, path: str, text: str) -> list[str]:
    """The lines after the header, if it is one and they are whole."""
    *lines, rest = text.split("\n")
    if lines[:1] != [HEADER] and (lines or not HEADER.startswith(rest)):
        report.add(path, 1, "foreign_header", f"{cut(lines[0] if lines else rest)} is not {HEADER}")
        return []
    if rest or not lines:
        report.add(path, len(lines) + 1, "torn", f"{cut(rest)} does not end in a newline")
    report.rows += max(0, len(lines) - 1)
    return lines[1:]


def _check_rows(report: Report, expected: Expected, path: str, lines: Sequence[str]) -> list[Numbered]:
    """The rows of this meter; each is checked on its own."""
    rows: list[Numbered] = []
    for number, (time_ns, line) in enumerate(zip(_line_times(lines), lines, strict=True), 2):
        if time_ns is None:
            report.add(path, number, "malformed", f"{cut(line)} is no row")
        elif (instant_ns := expected.instant(time_ns, line)) is None:
            report.add(path, number, "not_meant", f"{cut(line)} is of a time that faults leave without a reading")
        else:
            rows.append((number, time_ns, line, instant_ns))
    right = expected.lines([row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows])
    rows = [
        row if row[2] == wanted else (*row[:2], with_points(row[2]), row[3])
        for row, wanted in zip(rows, right, strict=True)
    ]
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


def _count_faults(report: Report, faults: Faulty, rows: Sequence[Numbered]) -> None:
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
    pv_kw, wanted_kw = power_text(row.pv_milliwatts, 6), power_text(wanted.pv_milliwatts, 6)
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


def _check_instants(report: Report, expected: Expected, path: str, rows: Sequence[Numbered]) -> None:
    interval_ns = expected.interval_ns
    for number, time_ns, *_ in [row for row in rows if row[3] % interval_ns]:
        text = f"{moment(time_ns, expected.time_zone)} is no multiple of {fixed_text(interval_ns, 9)} s"
        report.add(path, number, "off_grid", text)
    slots = {row[1] // HALF_MINUTE_NS for row in rows}
    foreign = {slot for slot in slots if local_day(slot * HALF_MINUTE_NS, expected.time_zone) != report.day}
    for number, time_ns, *_ in [row for row in rows if row[1] // HALF_MINUTE_NS in foreign] if foreign else ():
        report.add(path, number, "wrong_day", f"{moment(time_ns, expected.time_zone)} is another day")


def _check_sequence(
    report: Report, expected: Expected, path: str, rows: Sequence[Numbered], elsewhere: Mapping[int, str]
) -> dict[int, str]:
    """The rows of one file by the instant of their reading; what does not fit together is said."""
    here: dict[int, str] = {}
    _check_order(report, expected.faults, path, rows)
    for number, _, line, instant in rows:
        other = here.get(instant)
        if other is not None and _value(other) == _value(line):
            report.add(path, number, "repeated", f"{cut(line)} stands in this file already")
        elif (other := other or elsewhere.get(instant)) and other != line:
            report.add(path, number, "conflicting", f"{cut(line)} and {cut(other)} are of one instant")
        elif other:
            report.shared += 1
        here[instant] = line
    return here


def _check_order(report: Report, faults: Faulty | None, path: str, rows: Sequence[Numbered]) -> None:
    """Rows ascend in time, but for those that faults displace and those that follow one."""
    previous_ns = steady_ns = -1  # the time of the row before, and of the last one that is not displaced
    for number, time_ns, line, instant in rows:
        is_displaced = faults is not None and faults.is_displaced(instant)
        if time_ns < previous_ns and (is_displaced or time_ns >= steady_ns):
            report.on_purpose["out_of_order"] += 1
        elif time_ns < previous_ns:
            report.add(path, number, "out_of_order", f"{cut(line)} is earlier than the row before")
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
    return [line_time(line) for line in lines]
