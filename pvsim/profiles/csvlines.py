"""The lines of a CSV file and their cells, whatever these hold."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pvsim.profiles import units
from pvsim.profiles.bad import BadProfile

_LOOKED_AT = 3  # lines of data
_DELIMITERS = (",", ";", "\t", "|")
_FOOT = re.compile(
    r"(?:grand )?(?:total|sum|summe|gesamt|average|avg|mean|min|max|minimum|maximum|mittelwert|durchschnitt|count)"
    r"[^\d]*",
    re.IGNORECASE,
)
OPEN_QUOTE = "a quote that is not closed"


class Line(NamedTuple):
    """A line below a header: `unit_cells` are those of a row of units above it."""

    number: int
    cells: list[str]
    unit_cells: list[str]
    is_after_blank: bool


def delimiters(lines: Sequence[str]) -> tuple[str, ...]:
    """What may separate the cells; a first line such as sep=; says it."""
    match = re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\r\n ")) if lines else None
    return (match[1],) if match else _DELIMITERS


def split(line: str, delimiter: str) -> list[str]:
    """The cells of one line, stripped; BadProfile if a quote is not closed."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error:
        raise BadProfile(OPEN_QUOTE) from None
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


def is_row_of_units(cells: Sequence[str]) -> bool:
    """Whether a row tells units: no cell with a number, and one with a unit of power or energy."""
    return not any(re.match(r"[+-]?\d", cell) for cell in cells) and any(map(units.in_cell, cells))


def first_rows(
    lines: Sequence[str], at: int, delimiter: str, names: Sequence[str], where: tuple[str, str] | None
) -> list[Line]:
    """The first lines after a header that may be data; those of the meter that the user has chosen, if it is there."""
    name, value = where or ("", "")
    wanted: list[Line] = []
    if name in names:
        place = names.index(name)
        rows = (row for row in below(lines, at, delimiter) if row.cells[place : place + 1] == [value])
        wanted = list(islice(rows, _LOOKED_AT))
    return wanted or list(islice(below(lines, at, delimiter), _LOOKED_AT))


def below(lines: Sequence[str], at: int, delimiter: str) -> Iterator[Line]:
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
