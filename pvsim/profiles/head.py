"""The header: which line it is, what separates its columns, and which of them are wanted.

A line is the header if the next line with data has as many cells, one of them a time. So a preamble, whatever words it
has, is none. Columns are found by name; the column of times is the one that holds times, if it is only one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pvsim.profiles import times, units
from pvsim.profiles.bad import BadProfile, listed, shown
from pvsim.profiles.times import Times, Zone
from pvsim.profiles.wishes import Wishes

WITHIN = 200  # lines
UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
_LOOKED_AT = 3  # lines of data
_FOOT = re.compile(
    r"(?:grand )?(?:total|sum|summe|gesamt|average|avg|mean|min|max|minimum|maximum|mittelwert|durchschnitt|count)"
    r"[^\d]*",
    re.IGNORECASE,
)
_DELIMITERS = (",", ";", "\t", "|")
_UTC = re.compile(r"(?<![a-z])(?:utc|gmt|zulu)(?![a-z])(?!\s*[+-]\s*\d)", re.IGNORECASE)
_NOT_UTC = re.compile(
    r"(?<![a-z])(?:utc|gmt)\s*[+-]\s*\d|(?<![a-z])(?:local|lokal|cet|cest|mez|mesz|bst|est|edt|pst|pdt|aest)(?![a-z])",
    re.IGNORECASE,
)
_UNIT_NAME = re.compile(r"units?|.*[ _]units?|unit[_ ]of[_ ]measurement|uom|einheit|unité|unite|unidad", re.IGNORECASE)
_UNIT_LINE = re.compile(r"(?<![^\W_])(?:units?|einheit(?:en)?|unité|unidad)[\s:;,=\"|]{1,4}(\w+)", re.IGNORECASE)
_END = re.compile(r"(?<![^\W_])(?:end|ende|ending|bis|fin|until)(?![^\W_])", re.IGNORECASE)
_SEVERAL = re.compile(
    r"(?:^|[^a-z])(?:ids?|.*meter|entity|device|sensor|serial|field|measurement|station|house|household|building|"
    r"inverter|channel|phase|register|obis|nmi|mpan|prm|ean|customer|location|z(?:ä|ae)hler|name|tag|label|variable|"
    r"metric|quantity|parameter|signal|topic|key|source|site|plant|unit|module|string|circuit|appliance|feeder|node|"
    r"bus|area|zone|region|country|anlage|wechselrichter|ger(?:ä|ae)t|standort|messstelle|messpunkt|kanal|compteur|"
    r"point|contador)(?:$|[^a-z])|id$",
    re.IGNORECASE,
)


class Head(NamedTuple):
    """A header: its line, its cells, and where in a row the times, the power, the wished value and ids stand."""

    line: int
    names: list[str]
    delimiter: str
    text: str
    times_at: tuple[int, ...]
    value_at: int
    where_at: int | None
    ids_at: list[int]
    unnamed_at: list[int]  # where nothing may stand
    unit: units.Unit
    may_be_total: bool
    times: Times
    unit_at: int | None  # where each row tells its unit
    is_naive_told: bool  # the name of the column of times says UTC
    are_instants: bool
    end_name: str  # the name of the column of times, if it says that these are ends


class Line(NamedTuple):
    """A line below a header: `unit_cells` are those of a row of units above it."""

    number: int
    cells: list[str]
    unit_cells: list[str]
    is_after_blank: bool


class Failure(NamedTuple):
    """Why a line is not the header; the last one of the highest rank is told."""

    rank: int
    line: int
    text: str


def split(line: str, delimiter: str) -> list[str]:
    """The cells of one line, stripped; BadProfile if a quote is not closed."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error:
        raise BadProfile("a quote that is not closed") from None
    return [cell.strip() for cell in rows[0]] if rows else []


def is_blank(line: str) -> bool:
    """Whether a line holds nothing, or nothing but delimiters."""
    return not line.strip(' ,;\t|"\r')


def is_foot(cell: str) -> bool:
    """Whether a line that begins with this sums up the lines above it."""
    return _FOOT.fullmatch(cell) is not None


def fits(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a row has the cells of a header; delimiters at the end count for nothing."""
    if len(cells) == len(names):
        return True
    return not any(cells[len(names) :]) and not any(names[len(cells) :])


def find(lines: Sequence[str], wishes: Wishes) -> Head:
    """The header in the first lines of a file, or BadProfile."""
    failures: list[Failure] = []
    for with_comments in (False, True):
        for at, line in enumerate(lines):
            text = line.lstrip("#").strip() if with_comments else line
            if is_blank(line) or line.startswith("#") != with_comments:
                continue
            for delimiter in _delimiters(lines):
                found = _try(lines, at, text, delimiter, wishes)
                if isinstance(found, Head):
                    if failures and _is_below_data(lines[:at], found, wishes):
                        raise BadProfile(_worst(failures))
                    return found
                if found:
                    failures.append(found)
    if not failures:
        raise BadProfile(
            "has no header in its first lines; give one with a column of times, and lines of data with as many cells."
        )
    raise BadProfile(_worst(failures))


def _worst(failures: list[Failure]) -> str:
    return max(failures, key=lambda each: (each.rank, each.line)).text


def _is_below_data(before: Sequence[str], found: Head, wishes: Wishes) -> bool:
    """Whether lines above a header are rows of its kind, which would be left out."""
    for line in before:
        try:
            cells = split(line, found.delimiter)
        except BadProfile:
            cells = [cell.strip('" ') for cell in line.split(found.delimiter)]
        if fits(cells, found.names) and all(at < len(cells) for at in found.times_at):
            text = " ".join(cells[at] for at in found.times_at)
            if times.is_moment(text, wishes.time_format) or (times.is_number(text) and not found.times.is_naive):
                return True
    return False


def _delimiters(lines: Sequence[str]) -> tuple[str, ...]:
    match = re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\r\n ")) if lines else None
    return (match[1],) if match else _DELIMITERS


def _try(lines: Sequence[str], at: int, text: str, delimiter: str, wishes: Wishes) -> Head | Failure | None:
    """The header, if this line is it; or why it is not, if it looks like one."""
    try:
        names = split(text, delimiter)
        rows = list(islice(_data(lines, at, delimiter), _LOOKED_AT))
    except BadProfile:
        return None
    if len(names) < 2 or not rows:
        return None
    number, cells, unit_cells, _ = rows[0]
    named = next((name for name in (wishes.column, *_wished_times(names, wishes)) if name and name not in names), "")
    candidates = _moments(names, cells, wishes)
    looks_right = bool(candidates) or any(name.lower() in times.NAMES for name in names)
    if any(times.is_moment(name, wishes.time_format) or times.is_unclear(name) for name in names):
        return Failure(0, at + 1, "has no header; give one with the names of the columns.")
    if named:
        return (
            Failure(
                1,
                at + 1,
                f"line {at + 1} has no column {named}; name one of {listed(_named(names, candidates))}.",
            )
            if looks_right
            else None
        )
    if not fits(cells, names):
        return (
            Failure(
                2,
                at + 1,
                f"line {number} has {len(cells)} columns, and the header, line {at + 1}, has {len(names)}; give as many"
                " as the header has. If decimals are behind a comma, put numbers into quotes, or ; between columns.",
            )
            if looks_right
            else None
        )
    try:
        times_at = _times_at(at + 1, number, names, cells, candidates, wishes)
        if times_at is None:
            return None
        if _is_data(names, times_at, is_first=not any(not is_blank(each) for each in lines[:at])):
            return Failure(0, at + 1, "has no header; give one with the names of the columns.")
        _check_rows(names, times_at, rows, wishes)
        return _head(at, names, delimiter, text, times_at, cells, unit_cells, wishes, number, lines)
    except BadProfile as error:
        return Failure(3, at + 1, str(error))


def _is_data(names: list[str], times_at: tuple[int, ...], is_first: bool) -> bool:
    """Whether a line looks like a row whose time is broken. pandas names columns 0, 1 and so on, in the first line."""
    if any(names[at][:1].isdigit() for at in times_at):
        return True
    others = [name for at, name in enumerate(names) if at not in times_at and name]
    return not is_first and any(re.fullmatch(r"[+\-−]?[\d.,]+", name) for name in others)


def _named(names: list[str], candidates: list[int]) -> list[str]:
    """The names of columns other than those of times."""
    return [name for at, name in enumerate(names) if name and at not in candidates] or ["none: there is no other"]


def _check_rows(names: list[str], times_at: tuple[int, ...], rows: list[Line], wishes: Wishes) -> None:
    """A preamble may have a date in one line; data have a time in each. Below an empty line there may be notes."""
    are_numbers = False
    for count, row in enumerate(rows):
        text = " ".join(row.cells[at] for at in times_at if at < len(row.cells))
        looks_so = times.is_moment(text, wishes.time_format) or times.is_unclear(text)
        if count == 0:
            are_numbers = times.is_number(text)
        if (
            looks_so
            or (are_numbers and times.is_number(text))
            or is_foot(row.cells[0])
            or (row.is_after_blank and count > 1)
        ):
            continue
        if fits(row.cells, names):
            raise BadProfile(f"line {row.number}: {shown(text)} is no time; give one such as {times.RIGHT}.")


def _wished_times(names: list[str], wishes: Wishes) -> list[str]:
    if not wishes.time_column:
        return [wishes.where[0]] if wishes.where else []
    both = (
        [wishes.time_column]
        if wishes.time_column in names
        else [each.strip() for each in wishes.time_column.split(" + ")]
    )
    return both + ([wishes.where[0]] if wishes.where else [])


def _data(lines: Sequence[str], at: int, delimiter: str) -> Iterator[Line]:
    """The lines after a header that may be data."""
    unit_cells: list[str] = []
    is_first, is_after_blank = True, False
    for number, line in enumerate(lines[at + 1 :], at + 2):
        is_after_blank = is_after_blank or (is_blank(line) and not is_first)
        if is_blank(line) or line.startswith("#") or line.strip() == lines[at].strip():
            continue
        try:
            cells = split(line, delimiter)
        except BadProfile:
            if is_first:
                raise
            return  # who reads the rows tells of it
        if is_first and not unit_cells and is_row_of_units(cells):
            unit_cells = cells
            continue
        yield Line(number, cells, unit_cells, is_after_blank)
        is_first = False


def is_row_of_units(cells: Sequence[str]) -> bool:
    """Whether a row tells units: no cell with a number, and one with a unit of power or energy."""
    return not any(re.match(r"[+-]?\d", cell) for cell in cells) and any(map(units.in_cell, cells))


def _moments(names: list[str], cells: list[str], wishes: Wishes) -> list[int]:
    """The columns that hold times: what can be nothing else, or numbers under a name for times."""
    return [
        at
        for at, cell in enumerate(cells[: len(names)])
        if times.is_moment(cell, wishes.time_format)
        or (names[at].lower() in times.NAMES and times.is_number(cell) and wishes.time_format in ("", "%s"))
    ]


def _times_at(
    line: int, number: int, names: list[str], cells: list[str], candidates: list[int], wishes: Wishes
) -> tuple[int, ...] | None:
    """Where the times are. None: there are none, so this is no header."""
    if wishes.time_column:
        wished = _wished_times(names, wishes._replace(where=None))
        return tuple(_only(line, names, name) for name in wished)
    full = [at for at in candidates if not times.is_day(cells[at])]
    days = [at for at in candidates if times.is_day(cells[at])]
    clocks = [at for at, cell in enumerate(cells) if times.is_time_of_day(cell)]
    if len(full) == 1:
        return (full[0],)
    if {names[at] for at in full} <= {
        "_time",
        "_start",
        "_stop",
    } and "_time" in names:  # InfluxDB's
        return (names.index("_time"),)
    if len(candidates) > 1:
        told = [names[at] or "(no name)" for at in (full or days)]
        raise BadProfile(f"line {line} has several columns of times, {listed(told)}; give time_column = one of them.")
    if days and clocks:
        raise BadProfile(
            f"line {line} has dates in {names[days[0]]} and times of day in {names[clocks[0]]}; give time_column ="
            f" {names[days[0]]} + {names[clocks[0]]} for both together, or time_column = {names[days[0]]}."
        )
    if days:
        return (days[0],)
    unclear = [at for at, cell in enumerate(cells) if times.is_unclear(cell)]
    by_name = [at for at, name in enumerate(names) if name.lower() in times.NAMES and at < len(cells)]
    if len(unclear) == 1 and len(clocks) == 1 and not wishes.time_format:
        raise BadProfile(
            f"line {number}: {cells[unclear[0]]} may have the day or the month first; give time_column ="
            f" {names[unclear[0]]} + {names[clocks[0]]}, and time_format = %d.%m.%Y %H:%M or as the file has it."
        )
    for at in (*unclear, *by_name):
        try:
            times.choose(cells[at], names[at], wishes.time_format, None)
        except BadProfile as error:
            raise BadProfile(f"line {number}: {_sentence(error)}") from None
    return None


def _sentence(error: BadProfile) -> str:
    return str(error).rstrip(".") + "."


def _only(line: int, names: list[str], name: str) -> int:
    """Where the one column of this name is."""
    places = [at for at, each in enumerate(names) if each == name]
    if len(places) > 1:
        raise BadProfile(
            f"line {line} has {len(places)} columns {name} (the {' and the '.join(f'{at + 1}.' for at in places)});"
            " give them different names."
        )
    return places[0]


def _head(
    at: int,
    names: list[str],
    delimiter: str,
    text: str,
    times_at: tuple[int, ...],
    cells: list[str],
    unit_cells: list[str],
    wishes: Wishes,
    number: int,
    lines: Sequence[str],
) -> Head:
    where_at = _only(at + 1, names, wishes.where[0]) if wishes.where else None
    is_time = {*times_at, *_moments(names, cells, wishes)}
    others = [name for place, name in enumerate(names) if name and place not in is_time and place != where_at]
    wanted = wishes.column or ("P" if "P" in others else others[0] if len(others) == 1 else "")
    if not wanted:
        what = "has several columns; name one of " + listed(others) if others else "has no column of powers; give one"
        raise BadProfile(f"line {at + 1} {what}.")
    value_at = _only(at + 1, names, wanted)
    if value_at in times_at:
        raise BadProfile(f"line {at + 1}: {wanted} is the column of times; name another one.")
    cell = units.in_cell(unit_cells[value_at]) if len(unit_cells) > value_at else None
    if unit_cells and len(unit_cells) > value_at and unit_cells[value_at] and cell is None and not wishes.unit:
        raise BadProfile(
            f"line {number - 1} says that {wanted} is in {shown(unit_cells[value_at])}, which is no power; give"
            f" unit = one of {', '.join(units.UNITS)}."
        )
    unit_at = _unit_at(names, cells, value_at)
    if unit_at is not None and unit_at != where_at:
        cell = units.in_cell(cells[unit_at]) or cell
        if cell is None and cells[unit_at] and not wishes.unit:
            raise BadProfile(
                f"line {number} says that {wanted} is in {shown(cells[unit_at])}, which is no power; give unit = one of"
                f" {', '.join(units.UNITS)}."
            )
    try:
        unit, may_be_total = units.choose(wishes.unit, wanted, cell)
    except BadProfile as error:
        raise BadProfile(f"line {at + 1}: {error}") from None
    _check_preamble(lines[:at], wanted, unit, wishes)
    name = " ".join(names[each] for each in times_at)
    zone = _zone(at + 1, name, wishes)
    first = " ".join(cells[each] for each in times_at)
    try:
        kind = times.choose(first, name, wishes.time_format, zone)
        kind.read([first], -1)
    except ValueError as error:
        raise BadProfile(f"line {number}: {_sentence(BadProfile(times.no_time(first, error)))}") from None
    _check_zone(at + 1, name, kind, zone, wishes, number, first)
    return Head(
        line=at + 1,
        names=names,
        delimiter=delimiter,
        text=text,
        times_at=times_at,
        value_at=value_at,
        where_at=where_at,
        ids_at=[
            place
            for place, each in enumerate(names)
            if each and place not in (*is_time, value_at, where_at) and (_SEVERAL.search(each) or place == unit_at)
        ],
        unit_at=unit_at,
        unnamed_at=[place for place, each in enumerate(names) if not each and place],
        unit=unit,
        may_be_total=may_be_total,
        times=kind,
        is_naive_told=bool(_UTC.search(name)) or bool(wishes.file_timezone),
        are_instants=kind.is_pvgis and _says_instants(first, lines[:at]),
        end_name=name if _END.search(name) else "",
    )


def _unit_at(names: list[str], cells: list[str], value_at: int) -> int | None:
    """The column in which each row tells the unit of its value: the one behind it, or the only one.

    W alone may be a wind's direction, unless the column is named for units.
    """
    places = [at for at, name in enumerate(names) if at < len(cells) and at != value_at and _UNIT_NAME.fullmatch(name)]
    places += [
        at for at, cell in enumerate(cells[: len(names)]) if at not in places and units.in_cell(cell) not in (None, "W")
    ]
    if value_at + 1 in places:
        return value_at + 1
    return places[0] if len(places) == 1 else None


def _check_preamble(before: Sequence[str], wanted: str, unit: units.Unit, wishes: Wishes) -> None:
    """A line above the header that tells a unit, as in `Unit;kWh`, has to be the one of the column."""
    for number, line in enumerate(before, 1):
        match = _UNIT_LINE.search(line)
        told = units.in_cell(match[1]) if match else None
        if told and told != unit.name and not wishes.unit:
            raise BadProfile(
                f"line {number} says {told}, and {wanted} is taken as {unit.name}; give unit = {told} or unit ="
                f" {unit.name}."
            )


def _says_instants(first: str, before: Sequence[str]) -> bool:
    """Whether a file of PVGIS has values of instants: of minutes of the satellite's, or as its head says."""
    return not first.endswith("00") or any(line.startswith("Irradiance Time Offset") for line in before)


def _zone(line: int, name: str, wishes: Wishes) -> Zone | None:
    if not wishes.file_timezone:
        return None
    if _UTC.search(name) and wishes.file_timezone not in UTC:
        raise BadProfile(
            f"line {line}: the times are UTC, as the column {name} says, and of {wishes.file_timezone}, as the key"
            " file_timezone says; take the key away, or rename the column."
        )
    return Zone(wishes.file_timezone)


def _check_zone(line: int, name: str, kind: Times, zone: Zone | None, wishes: Wishes, number: int, first: str) -> None:
    if kind.is_naive and zone is None and _NOT_UTC.search(name):
        raise BadProfile(
            f"line {line}: the times are not UTC, as the column {name} says, and have no offset; give file_timezone ="
            " their time zone, such as Europe/Berlin, or UTC."
        )
    if kind.is_naive and zone is None and not _UTC.search(name) and wishes.days_timezone not in ("", *UTC):
        raise BadProfile(
            f"line {number}: {shown(first)} has no offset, and is UTC or of {wishes.days_timezone}, as timezone of [pv]"
            f" is; give file_timezone = UTC or file_timezone = {wishes.days_timezone}."
        )
    if kind.is_pvgis and zone is not None and wishes.file_timezone not in UTC:
        raise BadProfile(
            f"line {line}: times such as 20260621:1200 are PVGIS's, and UTC, but file_timezone is"
            f" {wishes.file_timezone}; take the key away, or give time_format = %Y%m%d:%H%M."
        )
