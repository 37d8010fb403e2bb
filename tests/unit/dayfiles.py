"""What the tests of day files have in common: a day, its file, and what is written to it."""

from __future__ import annotations

from collections.abc import Sequence

from pvsim.reading import Reading
from pvsim.row import format_row

SECOND = 10**9
START = 1_763_769_600 * SECOND  # 2025-11-22T00:00:00Z
NAME = "Meter_0-2025-11-22.csv"


def timed_rows(some: Sequence[Reading], pv_milliwatts: Sequence[int]) -> tuple[list[int], list[str]]:
    """What is written of readings: their instants and rows."""
    return [each.time_ns for each in some], list(map(format_row, some, pv_milliwatts))
