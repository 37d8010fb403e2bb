"""What the name of a column and the lines above the data say of times and units, which has to be what is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pvsim.profiles import units
from pvsim.profiles.bad import BadProfile, shown
from pvsim.profiles.clocks import Zone
from pvsim.profiles.csvlines import Line
from pvsim.profiles.times import Times
from pvsim.profiles.wishes import Wishes

UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
_UTC = re.compile(r"(?<![a-z])(?:utc|gmt|zulu)(?![a-z])(?!\s*[+-]\s*\d)", re.IGNORECASE)
_PLACE = (
    r"(?:Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/[A-Z]\w+|"
    r"(?<![A-Za-z])(?:UTC|GMT) ?[+-] ?\d{1,2}(?::?\d\d)?|(?<![A-Za-z])(?:CES?T|MES?Z)(?![A-Za-z])"
)
_ZONE = re.compile(_PLACE)
_ZONE_WORD = re.compile(r"time ?zone|zeitzone|fuseau|huso horario", re.IGNORECASE)
_NOT_UTC = re.compile(
    r"(?<![a-z])(?:utc|gmt)\s*[+-]\s*\d|(?<![a-z])(?:local|lokal|cet|cest|mez|mesz|bst|est|edt|pst|pdt|cst|cdt|mst|mdt|hst|jst|eet|"
    r"eest|msk|aest|aedt|acst|awst|nzst|nzdt|lst|locale|ortszeit|lokalzeit|sommerzeit|winterzeit)(?![a-z])|"
    r"[(\[][+-]\d\d:?\d\d[)\]]",
    re.IGNORECASE,
)
_UNIT_LINE = re.compile(r"(?<![^\W_])(?:units?|einheit(?:en)?|unité|unidad)[\s:;,=\"|]{1,4}(\w+)", re.IGNORECASE)
_UNITS = re.compile(r"(?<![^\W_])(?:units?|einheit(?:en)?|unités?|unite|unidad(?:es)?)(?![^\W_])", re.IGNORECASE)
_FACTOR_WORD = r"(?:factor|faktor|facteur|multiplier|scale(?: factor)?|power ?_?of ?_?ten ?_?multiplier|exponent)"
_FACTOR_NAME = re.compile(_FACTOR_WORD, re.IGNORECASE)
_FACTOR_LINE = re.compile(rf"\W*({_FACTOR_WORD})[\s:;,=\"|]{{1,4}}([\d.,]+)", re.IGNORECASE)
_END = re.compile(r"(?<![^\W_])(?:end|ende|ending|bis|fin|until)(?![^\W_])", re.IGNORECASE)


# Times.


def is_utc(name: str) -> bool:
    """Whether a column of this name has times that are UTC."""
    return _UTC.search(name) is not None


def is_end(name: str) -> bool:
    """Whether a column of this name has ends, not beginnings."""
    return _END.search(name) is not None


def says_instants(first: str, above: Sequence[str]) -> bool:
    """Whether a file of PVGIS has values of instants: of minutes of the satellite's, or as its head says."""
    return not first.endswith("00") or any(line.startswith("Irradiance Time Offset") for line in above)


def zone(line: int, name: str, wishes: Wishes) -> Zone | None:
    """The time zone that the user has named; BadProfile if the column has another one."""
    if not wishes.file_timezone:
        return None
    if is_utc(name) and wishes.file_timezone not in UTC:
        raise BadProfile(
            f"line {line}: the times are UTC, as the column {name} says, and of {wishes.file_timezone}, as the key"
            " file_timezone says; take the key away, or rename the column."
        )
    return Zone(wishes.file_timezone)


def check_zone(line: int, name: str, kind: Times, row: Line, first: str, above: Sequence[str], wishes: Wishes) -> None:
    """BadProfile where times without an offset may be other than UTC. `first`: the first one, `above`: the preamble."""
    if kind.is_pvgis and wishes.file_timezone and wishes.file_timezone not in UTC:
        raise BadProfile(
            f"line {line}: times such as 20260621:1200 are PVGIS's, and UTC, but file_timezone is"
            f" {wishes.file_timezone}; take the key away, or give time_format = %Y%m%d:%H%M."
        )
    if not kind.is_naive or wishes.file_timezone:
        return
    if _NOT_UTC.search(name) or _ZONE.search(name):
        raise BadProfile(
            f"line {line}: the times are not UTC, as the column {name} says, and have no offset; give file_timezone ="
            " their time zone, such as Europe/Berlin, or UTC."
        )
    if is_utc(name):
        return
    if wishes.days_timezone not in ("", *UTC):
        raise BadProfile(
            f"line {row.number}: {shown(first)} has no offset, and is UTC or of {wishes.days_timezone}, as timezone of"
            f" [pv] is; give file_timezone = UTC or file_timezone = {wishes.days_timezone}."
        )
    beside = ((row.number, cell) for cell in row.cells if re.fullmatch(rf"{_PLACE}|[+-]\d\d:?\d\d", cell))
    for number, said in (*_zones(above), *_zones([" ".join(row.unit_cells)], row.number - 1), *beside):
        raise BadProfile(
            f"line {number} says {said}, and times such as {shown(first)} have no offset; give file_timezone = UTC, or"
            " the file's time zone by its name, such as Europe/Berlin."
        )


def _zones(lines: Sequence[str], first: int = 1) -> Iterator[tuple[int, str]]:
    """Lines that name a time zone other than UTC, and what they say."""
    for number, line in enumerate(lines, first):
        place, word = _ZONE.search(line), _ZONE_WORD.search(line)
        if place:
            yield number, place[0]
        elif word and not any(_UTC.search(each) for each in lines[number - first : number - first + 2]):
            yield number, word[0]


# Units.


def unit(name: str, value_at: int, unit_at: int | None, row: Line, wishes: Wishes) -> str | None:
    """The unit that a row of units, or a cell of the first row, tells; None if there is none of them."""
    above = row.unit_cells[value_at] if len(row.unit_cells) > value_at else ""
    beside = row.cells[unit_at] if unit_at is not None else ""
    for number, cell in (row.number, beside), (row.number - 1, above):
        found = units.in_cell(cell)
        if found:
            return found
        if cell and not wishes.unit and not units.in_cell(above):
            raise BadProfile(
                f"line {number} says that {name} is in {shown(cell)}, which is no power; give unit = one of"
                f" {', '.join(units.UNITS)}."
            )
    return None


def check_preamble(above: Sequence[str], delimiter: str, wanted: str, taken: units.Counted, wishes: Wishes) -> None:
    """A line above the header that tells units, as in `Unit;kWh`, has to tell the one of the column."""
    for number, line in enumerate(above, 1):
        given = set() if wishes.unit else _units_in(line, delimiter, is_said=taken.is_said)
        if given and taken.unit.name not in given:
            said = min(given)
            raise BadProfile(
                f"line {number} says {said}, and {wanted} is taken as {taken.unit.name}; give unit = {said} or unit ="
                f" {taken.unit.name}."
            )


def check_hints(places: Sequence[int], row: Line, wishes: Wishes, taken: units.Counted) -> None:
    """BadProfile where nobody tells a unit, and the name of the meter or quantity says another one than W."""
    chosen = wishes.where[1:] if wishes.where else ()
    for cell in (*chosen, *(row.cells[at] for at in places if at < len(row.cells))) if not taken.is_said else ():
        if units.hint(cell) not in ("", taken.unit.name):
            raise BadProfile(
                f"line {row.number} is of {shown(cell)}, which says {units.hint(cell)}, and nothing else tells a unit;"
                f" give unit = one of {', '.join(units.UNITS)}."
            )


def check_factors(above: Sequence[str], names: Sequence[str], row: Line) -> None:
    """BadProfile where a line above the header, or a column, says that values are to be multiplied."""
    said = [(number, match[2]) for number, line in enumerate(above, 1) if (match := _FACTOR_LINE.match(line))]
    said += [(row.number, cell) for name, cell in zip(names, row.cells, strict=False) if _FACTOR_NAME.fullmatch(name)]
    for number, factor in said:
        if not re.fullmatch(r"(?:1(?:[.,]0*)?)?", factor.strip()):
            raise BadProfile(
                f"line {number} has a factor, {shown(factor)}; multiply the values, or give scale, and take the factor"
                " away."
            )


def _units_in(line: str, delimiter: str, *, is_said: bool) -> set[str]:
    """The units that a line tells; where the column itself has told one, only if the line says `unit`."""
    match = _UNIT_LINE.search(line)
    given = units.in_cell(match[1]) if match else None
    if given:
        return {given}
    if is_said:
        return set()
    cells = [cell.strip('# "') for cell in line.split(delimiter)]
    found = {units.in_cell(cell) for cell in cells}
    if _UNITS.search(line):
        found |= {units.in_cell(word) for word in re.findall(r"[^\W\d_]+", line)}
    return {each for each in found if each}
