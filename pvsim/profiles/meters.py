"""Several meters in one file: columns whose values alternate, or change for good."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from pvsim.profiles.bad import BadProfile, shown

_MOST = 1000
_SEVERAL = re.compile(
    r"(?:^|[^a-z])(?:ids?|.*meter|entity|device|sensor|serial|field|measurement|station|house|household|building|"
    r"inverter|channel|phase|register|obis|nmi|mpan|prm|ean|customer|location|z(?:ä|ae)hler|name|tag|label|variable|"
    r"metric|quantity|parameter|signal|topic|key|source|site|plant|unit|module|string|circuit|appliance|feeder|node|"
    r"bus|area|zone|region|country|anlage|wechselrichter|ger(?:ä|ae)t|standort|messstelle|messpunkt|kanal|compteur|"
    r"point|contador|series|table|type|kind|cups|direction|richtung|flow)(?:$|[^a-z])|id$",
    re.IGNORECASE,
)
# A change of these is another quantity, or another meter; of the rest, it may be a part that was replaced.
_FOR_GOOD = re.compile(
    r"(?:^|[^a-z])(?:.*meter|entity|field|measurement|house|household|building|register|obis|nmi|mpan|prm|variable|"
    r"metric|quantity|parameter|signal|topic|channel|phase|series|table|cups|direction|richtung|flow)(?:$|[^a-z])|(?:entity|meter|device|lcl)_?id$",
    re.IGNORECASE,
)


def may_be_several(name: str) -> bool:
    """Whether a column of this name may tell several meters apart."""
    return _SEVERAL.search(name) is not None


class Meters:
    """What the columns that may tell meters apart have held.

    `unit_at`: the one of them that tells units; `unit_cell`: what it holds where the unit was taken from.
    """

    def __init__(self, places: Sequence[int], names: Sequence[str], unit_at: int | None, unit_cell: str) -> None:
        self.names = {at: names[at] for at in places}
        self._unit_at = unit_at
        self._seen: dict[int, Counter[str]] = {at: Counter() for at in places}
        self._last: dict[int, str] = {at: unit_cell for at in places if at == unit_at}

    def is_one(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether all of these rows, one at least, are of the meter of the rows before; they are taken, then."""
        texts = {at: rows[-1][at].strip() for at in self.names}
        if any(self._last.get(at, text) != text for at, text in texts.items()):
            return False
        if any(row[at].strip() != text for at, text in texts.items() for row in rows):
            return False
        for at, text in texts.items():
            self._take(at, text, len(rows))
        return True

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Take one row; BadProfile if it shows that the file has several meters."""
        for at, name in self.names.items():
            text = cells[at] if at < len(cells) else ""
            last = self._last.get(at, text)
            if text != last:
                self._check_change(at, name, number, last, text)
            self._take(at, text, 1)

    def _take(self, at: int, text: str, rows: int) -> None:
        self._last[at] = text
        if len(self._seen[at]) < _MOST:
            self._seen[at][text] += rows

    def _check_change(self, at: int, name: str, number: int, last: str, text: str) -> None:
        if at == self._unit_at:
            raise BadProfile(
                f"line {number} is in {shown(text)}, as the column {name} says, and the lines before"
                f" in {shown(last)}; write all in one unit."
            )
        if text in self._seen[at] and text:
            raise BadProfile(
                f"line {number} is of {shown(text)} again, after {shown(last)}: the column"
                f" {name} has several; give where = {name} = {shown(text)}, say, or take that column away if all lines"
                " are one series."
            )
        if last and text and self._seen[at][last] > 1 and _FOR_GOOD.search(name):
            raise BadProfile(
                f"line {number} is of {shown(text)}, after {shown(last)}: the column {name} has several; give where ="
                f" {name} = {shown(last)}, say, or take that column away if they are one meter."
            )


def several(names: Iterable[str]) -> str:
    """What to do about rows at one time, in a file with these columns."""
    return f"sort the lines, each time once, or choose one of several meters: where = {next(iter(names))} = VALUE"
