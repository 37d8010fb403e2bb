"""The header: which line it is, what separates its columns, and which of them are wanted.

A line is the header if the next line with data has as many cells, one of them a time. So a preamble, whatever words it
has, is none. Columns are found by name; the column of times is the one that holds times, if it is only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from pvsim.profiles import columns, csvlines, looks, said, times, units
from pvsim.profiles.bad import BadProfile, listed, shown
from pvsim.profiles.columns import Columns
from pvsim.profiles.csvlines import Line
from pvsim.profiles.times import Times
from pvsim.profiles.units import Unit
from pvsim.profiles.wishes import Wishes

WITHIN = 200  # lines
_OTHER_FILES = {r"\s*(?:\{|\[\s*[\[{])": "JSON", r"\s*<": "a web page or XML"}


class Head(NamedTuple):
    """A header: its line, its cells and what separates them, where in a row what stands, and what the columns hold."""

    line: int
    names: list[str]
    delimiter: str
    text: str
    at: Columns
    unit: Unit
    unit_cell: str  # what the first row holds in the column of units
    may_be_total: bool
    is_counter_unlikely: bool
    times: Times
    is_naive_said: bool  # the name of the column of times says UTC, or the user does
    are_instants: bool
    end_name: str  # the name of the column of times, if it says that these are ends


class Rank(IntEnum):
    """How near to a header a line is that is none."""

    NOTHING = 0
    LIKELY = 1  # below it is what looks like a time
    NO_HEADER = 2
    QUOTE = 3
    NO_COLUMN = 4
    WIDTH = 5
    BROKEN = 6


class Failure(NamedTuple):
    """Why a line is not the header."""

    rank: Rank
    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class _Candidate:
    """A line that may be the header, split by one delimiter; the lines above it, and the first rows below it."""

    line: int
    text: str
    delimiter: str
    names: list[str]
    rows: list[Line]
    above: Sequence[str]
    wishes: Wishes

    @property
    def row(self) -> Line:
        """The first row."""
        return self.rows[0]

    @property
    def moments(self) -> list[int]:
        """The columns that hold times."""
        return columns.moments(self.names, self.row.cells, self.wishes)

    @property
    def looks_right(self) -> bool:
        """Whether there is a time below it, or a name for times in it."""
        return bool(self.moments) or any(name.lower() in looks.NAMES for name in self.names)


def find(first: Sequence[str], wishes: Wishes) -> Head:
    """The header in the first lines of a file, or BadProfile."""
    _check_kind(first)
    failures: list[Failure] = []
    for found in _tries(first, wishes):
        if isinstance(found, Failure):
            failures.append(found)
        elif failures and _is_below_data(first[: found.line - 1], found, wishes):
            break
        else:
            return found
    worst = max(failures, key=_weight, default=Failure(Rank.NOTHING))
    if worst.rank == Rank.NOTHING:
        raise BadProfile(
            "has no header in its first lines; give one with a column of times, and lines of data with as many cells."
        )
    raise BadProfile(worst.text)


def _weight(failure: Failure) -> tuple[Rank, int]:
    """The nearest to a header is told: of lines that are hardly one the first, of others the last."""
    return failure.rank, failure.line if failure.rank >= Rank.NO_COLUMN else -failure.line


def _check_kind(first: Sequence[str]) -> None:
    start = "\n".join(first[:9])
    for pattern, kind in _OTHER_FILES.items():
        if re.match(pattern, start):
            raise BadProfile(f"is {kind}, not CSV; export it as CSV.")


def _tries(first: Sequence[str], wishes: Wishes) -> Iterator[Head | Failure]:
    """What comes of each line with each delimiter; a line behind # is tried when no other one is a header."""
    for with_comments in (False, True):
        for at, line in enumerate(first):
            if csvlines.is_blank(line) or line.startswith("#") != with_comments:
                continue
            text = line.lstrip("#").strip() if with_comments else line
            for delimiter in csvlines.delimiters(first):
                yield _try(first, at, text, delimiter, wishes)


def _is_below_data(above: Sequence[str], found: Head, wishes: Wishes) -> bool:
    """Whether lines above a header are rows of its kind, which would be left out."""
    for line in above:
        try:
            cells = csvlines.split(line, found.delimiter)
        except BadProfile:
            cells = [cell.strip('" ') for cell in line.split(found.delimiter)]
        if csvlines.fits(cells, found.names) and all(at < len(cells) for at in found.at.times):
            text = " ".join(cells[at] for at in found.at.times)
            if looks.is_moment(text, wishes.time_format) or (looks.is_number(text) and not found.times.is_naive):
                return True
    return False


# One line.


def _try(first: Sequence[str], at: int, text: str, delimiter: str, wishes: Wishes) -> Head | Failure:
    """The header, if this line is it; or why it is not."""
    try:
        names = csvlines.split(text, delimiter)
        rows = csvlines.first_rows(first, at, delimiter, names, wishes.where)
    except BadProfile as error:
        rank = Rank.QUOTE if text.count('"') % 2 else Rank.NOTHING
        return Failure(rank, at + 1, f"line {at + 1} has {error}; close it on its line.")
    if len(names) < 2 or not rows:
        return Failure(Rank.NOTHING)
    one = _Candidate(at + 1, text, delimiter, names, rows, first[:at], wishes)
    failure = _is_row(one) or _lacks_columns(one) or _has_another_width(one)
    if failure:
        return failure
    try:
        return _head(one)
    except BadProfile as error:
        return Failure(Rank.BROKEN, one.line, str(error))


def _no_names(one: _Candidate) -> Failure:
    return Failure(Rank.NO_HEADER, one.line, "has no header; give one with the names of the columns.")


def _is_row(one: _Candidate) -> Failure | None:
    if any(looks.is_moment(name, one.wishes.time_format) or looks.is_unclear(name) for name in one.names):
        return _no_names(one)
    return None


def _lacks_columns(one: _Candidate) -> Failure | None:
    wanted = (one.wishes.column, *columns.wished(one.names, one.wishes))
    missing = next((name for name in wanted if name and name not in one.names), "")
    if not missing:
        return None
    if not one.looks_right:
        return Failure(Rank.NOTHING)
    others = [name for at, name in enumerate(one.names) if name and at not in one.moments]
    named = listed(others or ["none: there is no other"])
    return Failure(Rank.NO_COLUMN, one.line, f"line {one.line} has no column {missing}; name one of {named}.")


def _has_another_width(one: _Candidate) -> Failure | None:
    if csvlines.fits(one.row.cells, one.names):
        return None
    if not one.looks_right:
        return Failure(Rank.NOTHING)
    return Failure(
        Rank.WIDTH,
        one.line,
        f"line {one.row.number} has {len(one.row.cells)} columns, and the header, line {one.line}, has"
        f" {len(one.names)}; give as many as the header has. If decimals are behind a comma, put numbers into quotes,"
        " or ; between columns.",
    )


def _head(one: _Candidate) -> Head | Failure:
    times_at = columns.times_at(one.line, one.names, one.row, one.wishes)
    if times_at is None:
        return _likely(one)
    if _is_data(one, times_at):
        return _no_names(one)
    _check_rows(one, times_at)
    at = columns.find(one.line, one.names, one.row, times_at, one.wishes)
    taken = _unit(one, at)
    said.check_hints(at.ids, one.row, one.wishes, taken)
    said.check_factors(one.above, one.names, one.row)
    said.check_preamble(one.above, one.delimiter, one.names[at.value], taken, one.wishes)
    name = " ".join(one.names[each] for each in times_at)
    kind = _times(one, times_at, name)
    return Head(
        line=one.line,
        names=one.names,
        delimiter=one.delimiter,
        text=one.text,
        at=at,
        unit=taken.unit,
        unit_cell="" if at.unit is None else one.row.cells[at.unit],
        may_be_total=taken.may_be_total,
        is_counter_unlikely=taken.is_said or units.is_power(one.names[at.value]),
        times=kind,
        is_naive_said=said.is_utc(name) or bool(one.wishes.file_timezone),
        are_instants=kind.is_pvgis and said.says_instants(_text(one.row, times_at), one.above),
        end_name=name if said.is_end(name) else "",
    )


def _likely(one: _Candidate) -> Failure:
    """A line above what looks like a time, or a count, but is none."""
    for name, cell in zip(one.names, one.row.cells, strict=False):
        if looks.like_one(cell) or looks.is_count(name, cell):
            text = looks.refusal(cell, name)
            return Failure(Rank.LIKELY, one.line, f"line {one.row.number}: {text}")
    return Failure(Rank.NOTHING)


def _is_data(one: _Candidate, times_at: tuple[int, ...]) -> bool:
    """Whether a line looks like a row whose time is broken. pandas names columns 0, 1 and so on, in the first line."""
    if any(one.names[at][:1].isdigit() for at in times_at):
        return True
    others = [name for at, name in enumerate(one.names) if at not in times_at and name]
    is_first = all(map(csvlines.is_blank, one.above))
    return not is_first and any(re.fullmatch(r"[+\-−]?[\d.,]+", name) for name in others)


def _check_rows(one: _Candidate, times_at: tuple[int, ...]) -> None:
    """A preamble may have a date in one line; data have a time in each. Below an empty line there may be notes."""
    are_numbers = looks.is_number(_text(one.row, times_at))
    for count, row in enumerate(one.rows):
        text = _text(row, times_at)
        looks_so = looks.is_moment(text, one.wishes.time_format) or looks.is_unclear(text)
        is_note = csvlines.is_foot(row.cells[0]) or (row.is_after_blank and count > 1)
        if looks_so or is_note or (are_numbers and looks.is_number(text)):
            continue
        if csvlines.fits(row.cells, one.names):
            raise BadProfile(f"line {row.number}: {shown(text)} is no time; give one such as {looks.RIGHT}.")


def _text(row: Line, times_at: tuple[int, ...]) -> str:
    return " ".join(row.cells[at] for at in times_at if at < len(row.cells))


def _unit(one: _Candidate, at: Columns) -> units.Counted:
    unit_at = None if at.unit == at.where else at.unit
    cell = said.unit(one.names[at.value], at.value, unit_at, one.row, one.wishes)
    try:
        return units.choose(one.wishes.unit, one.names[at.value], cell)
    except BadProfile as error:
        raise BadProfile(f"line {one.line}: {error}") from None


def _times(one: _Candidate, times_at: tuple[int, ...], name: str) -> Times:
    zone = said.zone(one.line, name, one.wishes)
    first = _text(one.row, times_at)
    try:
        kind = times.choose(first, name, one.wishes.time_format, zone)
        kind.read([first], -1)
    except ValueError as error:
        raise BadProfile(f"line {one.row.number}: {times.no_time(first, error).rstrip('.')}.") from None
    said.check_zone(one.line, name, kind, one.row, first, one.above, one.wishes)
    return kind
