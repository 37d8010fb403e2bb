"""What one meter's messages say becomes rows, which are pending until they are durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from pvsim.errors import NotAReading
from pvsim.instants import ends, joined
from pvsim.models import PowerModel
from pvsim.reading import decode, decode_block
from pvsim.row import format_block, format_row
from pvsim.texts import fixed_text, time_text

Check = Callable[[Sequence[int]], None]
"""Raises NotAReading if these instants will not do."""

Part = tuple[Sequence[int], Sequence[str]]
"""Rows of one day, and the instants of their readings before them."""


def check_window(now_ns: Callable[[], int], window_ns: int, times_ns: Sequence[int]) -> None:
    """Raise NotAReading if not all of these instants lie within `window_ns` of now."""
    now = now_ns()
    for each in ends(times_ns):
        if abs(each - now) > window_ns:
            window_s = fixed_text(window_ns, 9)
            raise NotAReading(f"time_s {time_text(each)} is more than {window_s} s from now, the time_window")


class Batch:
    """Rows of one meter, the instants of their readings, and the tags of their messages."""

    __slots__ = ("days", "new", "rows", "tags", "times_ns")

    def __init__(self) -> None:
        self.times_ns: Sequence[int] = ()
        self.rows: list[str] = []
        self.tags: list[int] = []
        self.days: list[tuple[date, Part]] = []  # what is still to be written of it, once that has begun
        self.new = 0  # rows that were not there yet

    def add(self, times_ns: Sequence[int], rows: Sequence[str]) -> None:
        """These rows, too."""
        if isinstance(self.times_ns, list):  # nobody else's any more
            self.times_ns += times_ns
        else:
            self.times_ns = joined(self.times_ns, times_ns)
        self.rows += rows


class Meter:
    """One meter whose readings are recorded. `retry_at_s`: when its file is tried again, None if it can be written."""

    __slots__ = ("check", "failures", "meter_id", "pending", "power", "retry_at_s", "trouble", "writing")

    def __init__(self, meter_id: str, power: PowerModel, check: Check | None) -> None:
        self.meter_id = meter_id
        self.power = power
        self.check = check
        self.pending = Batch()
        self.writing: Batch | None = None
        self.failures = 0
        self.trouble = ""
        self.retry_at_s: float | None = None

    def add(self, body: bytes) -> int:
        """Compute the rows of a message, and keep them for the next commit; returns how many, or NotAReading."""
        times_ns, rows = self._rows(body)
        if self.check:
            self.check(times_ns)
        self.pending.add(times_ns, rows)
        return len(rows)

    def withdraw(self) -> list[int]:
        """All that was not acknowledged is pending again, without its messages, whose tags are returned."""
        writing, later = self.writing or Batch(), self.pending
        self.writing, self.pending = None, Batch()
        for each in writing, later:
            self.pending.add(each.times_ns, each.rows)
        return writing.tags + later.tags

    def _rows(self, body: bytes) -> tuple[Sequence[int], list[str]]:
        if b"\n" in body and (block := decode_block(body, self.meter_id)):
            return block.times_ns, format_block(self.meter_id, block, self.power(block.times_ns))
        readings = decode(body, self.meter_id)
        times_ns = [reading.time_ns for reading in readings]
        return times_ns, list(map(format_row, readings, self.power(times_ns)))
