"""Which columns of a header hold the times, the power, its unit, and the names of meters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pvsim.profiles import looks, meters, times, units
from pvsim.profiles.bad import BadProfile, listed
from pvsim.profiles.csvlines import Line
from pvsim.profiles.wishes import Wishes

_INFLUX = {"_time", "_start", "_stop"}
_UNIT_NAME = re.compile(r"units?|.*[ _]units?|unit[_ ]of[_ ]measurement|uom|einheit|unité|unite|unidad", re.IGNORECASE)
_PARTS = {
    "%Y": ("year", "jahr", "année", "annee", "año", "yyyy"),
    "%m": ("month", "monat", "mois", "mes", "mm", "mo"),
    "%d": ("day", "tag", "jour", "día", "dia", "dd", "dy"),
    "%H": ("hour", "stunde", "heure", "hora", "hh", "hr"),
    "%M": ("minute", "min", "mi"),
}


class Columns(NamedTuple):
    """Where in a row they stand. `unit`: what tells the unit of each row; `unnamed`: where nothing may stand."""

    times: tuple[int, ...]
    value: int
    where: int | None
    unit: int | None
    ids: list[int]
    unnamed: list[int]


def wished(names: Sequence[str], wishes: Wishes) -> list[str]:
    """The columns that the user has named, other than that of the power."""
    where = [wishes.where[0]] if wishes.where else []
    if not wishes.time_column:
        return where
    if wishes.time_column in names:
        return [wishes.time_column, *where]
    return [each.strip() for each in wishes.time_column.split(" + ")] + where


def moments(names: Sequence[str], cells: Sequence[str], wishes: Wishes) -> list[int]:
    """The columns that hold times: what can be nothing else, or numbers under a name for times."""
    return [
        at
        for at, cell in enumerate(cells[: len(names)])
        if looks.is_moment(cell, wishes.time_format)
        or (names[at].lower() in looks.NAMES and looks.is_number(cell) and wishes.time_format in ("", "%s"))
    ]


def only(line: int, names: Sequence[str], name: str) -> int:
    """Where the one column of this name is."""
    places = [at for at, each in enumerate(names) if each == name]
    if len(places) > 1:
        raise BadProfile(
            f"line {line} has {len(places)} columns {name} (the {' and the '.join(f'{at + 1}.' for at in places)});"
            " give them different names."
        )
    return places[0]


# Times.


def times_at(line: int, names: list[str], row: Line, wishes: Wishes) -> tuple[int, ...] | None:
    """Where the times are; None if there are none, so that this is no header."""
    if wishes.time_column:
        return tuple(only(line, names, name) for name in wished(names, wishes._replace(where=None)))
    candidates = moments(names, row.cells, wishes)
    full = [at for at in candidates if not looks.is_day(row.cells[at])]
    days = [at for at in candidates if looks.is_day(row.cells[at])]
    if len(full) == 1:
        return (full[0],)
    if "_time" in names and {names[at] for at in full} <= _INFLUX:
        return (names.index("_time"),)
    if len(candidates) > 1:
        found = [names[at] or "(no name)" for at in (full or days)]
        raise BadProfile(f"line {line} has several columns of times, {listed(found)}; give time_column = one of them.")
    if days:
        _check_day_alone(line, names, row, days[0])
        _check_hour_alone(line, names, days[0])
        return (days[0],)
    _check_parts(line, names)
    _tell_of_unclear(names, row, wishes)
    return None


def _clocks(row: Line) -> list[int]:
    return [at for at, cell in enumerate(row.cells) if looks.is_time_of_day(cell)]


def _check_day_alone(line: int, names: list[str], row: Line, day: int) -> None:
    for clock in _clocks(row)[:1]:
        raise BadProfile(
            f"line {line} has dates in {names[day]} and times of day in {names[clock]}; give time_column ="
            f" {names[day]} + {names[clock]} for both together, or time_column = {names[day]}."
        )


def _check_hour_alone(line: int, names: list[str], day: int) -> None:
    for hour in [name for name in names if name.lower() in _PARTS["%H"]][:1]:
        raise BadProfile(
            f"line {line} has dates in {names[day]} and hours in {hour}; give time_column = {names[day]} + {hour} and"
            f" time_format = %Y-%m-%d %H for both together, or time_column = {names[day]}."
        )


def _check_parts(line: int, names: list[str]) -> None:
    """Year, month and so on may each have a column."""
    found = {
        part: name for part, words in _PARTS.items() for name in reversed(names) if name.lower().strip("[]#") in words
    }
    if {"%Y", "%m", "%d"} <= set(found):
        raise BadProfile(
            f"line {line} has a time in parts; give time_column = {' + '.join(found.values())}, and time_format ="
            f" {' '.join(found)}."
        )


def _tell_of_unclear(names: list[str], row: Line, wishes: Wishes) -> None:
    """BadProfile for what looks like a time, or stands under a name for times."""
    clocks = _clocks(row)
    unclear = [at for at, cell in enumerate(row.cells) if looks.is_unclear(cell)]
    by_name = [at for at, name in enumerate(names) if name.lower() in looks.NAMES and at < len(row.cells)]
    if len(unclear) == 1 and len(clocks) == 1 and not wishes.time_format:
        raise BadProfile(
            f"line {row.number}: {row.cells[unclear[0]]} may have the day or the month first; give time_column ="
            f" {names[unclear[0]]} + {names[clocks[0]]}, and time_format = %d.%m.%Y %H:%M or as the file has it."
        )
    for at in (*unclear, *by_name):
        try:
            times.choose(row.cells[at], names[at], wishes.time_format, None)
        except BadProfile as error:
            raise BadProfile(f"line {row.number}: {str(error).rstrip('.')}.") from None


# Power.


def find(line: int, names: list[str], row: Line, times_at: tuple[int, ...], wishes: Wishes) -> Columns:
    """All of them, for a header whose times are known; BadProfile if it is not clear which the power is."""
    where_at = only(line, names, wishes.where[0]) if wishes.where else None
    taken = {*times_at, *moments(names, row.cells, wishes), where_at}
    value_at = _value_at(line, names, [name for at, name in enumerate(names) if name and at not in taken], wishes)
    if value_at in times_at:
        raise BadProfile(f"line {line}: {names[value_at]} is the column of times; name another one.")
    unit_at = _unit_at(names, row.cells, value_at)
    ids = [
        at
        for at, name in enumerate(names)
        if name and at not in (*taken, value_at) and (meters.may_be_several(name) or at == unit_at)
    ]
    unnamed = [at for at, name in enumerate(names) if not name and at]
    return Columns(times_at, value_at, where_at, unit_at, ids, unnamed)


def _value_at(line: int, names: list[str], others: list[str], wishes: Wishes) -> int:
    wanted = wishes.column or ("P" if "P" in others else others[0] if len(others) == 1 else "")
    if sum(map(looks.is_time_of_day, others)) > 1 and (not wanted or looks.is_time_of_day(wanted)):
        raise BadProfile(f"line {line} has a column for each time of day; write a line for each time.")
    if not wanted:
        what = "has several columns; name one of " + listed(others) if others else "has no column of powers; give one"
        raise BadProfile(f"line {line} {what}.")
    return only(line, names, wanted)


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
