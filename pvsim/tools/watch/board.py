"""What was seen last of each meter, and how it is laid out."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from pvsim.errors import IdError
from pvsim.ids import check_id
from pvsim.row import HEADER

COLUMNS = (*HEADER.split(","), "grid_power_w")
STALE_S = 5.0  # a row that is older is worth a look
_NUMBER = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?")
_BARS = "▁▂▃▄▅▆▇█"
_REMEMBERED = 30  # values of each meter
_AROUND = 6  # lines of the screen that are not for meters


class _Number(str):
    """A number as it was written."""


class LiveRow(NamedTuple):
    """A live copy: its values, as they were written."""

    meter_id: str
    values: Sequence[str]  # of the other columns


class Seen(NamedTuple):
    """What the table says of a meter, in cells; `is_stale`: its row is old."""

    cells: Sequence[str]
    is_stale: bool


def parse(body: bytes) -> LiveRow | None:
    """The live copy in a message; None for anything else."""
    try:
        found = json.loads(body, parse_float=_Number, parse_int=_Number)
        meter_id, *values = (found[name] for name in COLUMNS)
        is_copy = type(meter_id) is str and all(isinstance(value, _Number) for value in values)
        if is_copy and all(map(_NUMBER.fullmatch, values)):
            return LiveRow(check_id(meter_id), values)
    except (ValueError, KeyError, TypeError, RecursionError, IdError):
        pass
    return None


class Board:
    """The meters that were seen, each with its newest row and the grid's power of its last ones."""

    titles = ("meter", "load W", "PV W", "grid W", "age s", "grid")

    def __init__(self) -> None:
        self.ignored = 0  # messages that are no live copies
        self.rows = 0
        self._lines: dict[str, LiveRow] = {}
        self._grids_w: dict[str, deque[float]] = {}

    def add(self, line: LiveRow) -> None:
        """One more row."""
        self.rows += 1
        self._lines[line.meter_id] = line
        self._grids_w.setdefault(line.meter_id, deque(maxlen=_REMEMBERED)).append(float(line.values[-1]))

    def table(self, now_s: float, height: int) -> tuple[list[Seen], str]:
        """As many meters as fit into a screen, by name, and what is to be said of all."""
        names = sorted(self._lines, key=_natural)
        shown = names[: max(1, height - _AROUND)]
        return [self._seen(name, now_s) for name in shown], self._summary(len(names) - len(shown))

    def _seen(self, name: str, now_s: float) -> Seen:
        time_s, load_w, pv_kw, _, grid_w = map(Decimal, self._lines[name].values)
        age_s = now_s - float(time_s)
        powers = (f"{each:,.0f}" for each in (load_w, 1000 * pv_kw, grid_w))
        return Seen((name, *powers, f"{age_s:.1f}", spark(list(self._grids_w[name]))), age_s > STALE_S)

    def _summary(self, hidden: int) -> str:
        if not self._lines:
            return "no rows yet"
        values = [list(map(float, line.values)) for line in self._lines.values()]
        load_kw, pv_kw, grid_kw = (sum(each[at] for each in values) * by for at, by in ((1, 0.001), (2, 1), (4, 0.001)))
        parts = [f"{_meters(len(values))}: load {load_kw:,.3f} kW, PV {pv_kw:,.3f} kW, grid {grid_kw:,.3f} kW"]
        if hidden:
            parts.append(f"{hidden} of them do not fit here: name those to be seen, as in pvsim watch Meter_0..9")
        if self.ignored:
            parts.append(f"{self.ignored} other messages")
        return "; ".join(parts)


def spark(values: Sequence[float]) -> str:
    """A line of bars, from the least of the values to the most."""
    low, high = min(values, default=0), max(values, default=0)
    span = high - low or 1
    return "".join(_BARS[round((each - low) / span * (len(_BARS) - 1))] for each in values)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Meter_2 before Meter_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split("([0-9]+)", name)]


def _meters(count: int) -> str:
    return "1 meter" if count == 1 else f"{count} meters"
