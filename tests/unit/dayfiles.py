"""What the tests of day files have in common: a day, its file, and what is written to it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pvsim.reading import Reading
from pvsim.row import format_row

SECOND = 10**9
START = 1_763_769_600 * SECOND  # 2025-11-22T00:00:00Z
NAME = "Meter_0-2025-11-22.csv"


def timed_rows(some: Sequence[Reading], pv_milliwatts: Sequence[int]) -> tuple[list[int], list[str]]:
    """What is written of readings: their instants and rows."""
    return [each.time_ns for each in some], list(map(format_row, some, pv_milliwatts))


def spied_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes asked for by each read of a day file from now on."""
    lengths: list[int] = []
    pread = os.pread

    def spy(fd: int, length: int, offset: int) -> bytes:
        lengths.append(length)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", spy)
    return lengths
