"""The models are pure functions of (seed, meter id, instant), uniform where they say so."""

from __future__ import annotations

import struct
from decimal import Decimal
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.models import load, noise, solar

SECOND = 10**9
START = 1_700_000_000 * SECOND
HOUR = range(START, START + 3600 * SECOND, SECOND)


def test_uniform_is_blake2b() -> None:
    """The numbers are those of the documented construction, computed here by hand."""
    second = 1_700_000_003
    digest = blake2b(
        b"Meter_0" + struct.pack("<qI", second // 8, 0),
        key=struct.pack("<q", 42),
        person=b"purpose",
        digest_size=64,
    ).digest()
    expected = struct.unpack("<8Q", digest)[second % 8]
    assert noise.uniform(42, "Meter_0", "purpose")([second * SECOND]) == [expected]


def test_values_stay() -> None:
    """Files written by this version must be verified by the next: these values do not change."""
    assert load.model("random", 0, "Meter_0")([START, START + SECOND, START + 500_000_000]) == FIRST_LOADS
    assert solar.model("random", 0, "Meter_0", peak_kw=Decimal("4.0"))([START, START + SECOND]) == FIRST_PV


FIRST_LOADS = [3_812_856, 8_758_497, 8_055_018]
FIRST_PV = [3_546_184, 314_747]


@given(st.lists(st.integers(0, 10**19), max_size=20))
def test_order_and_company_do_not_matter(instants: list[int]) -> None:
    """The same instant has the same value, asked alone, together, again or in another order."""
    model = load.model("random", 7, "M")
    together = model(instants)
    assert together == [load.model("random", 7, "M")([instant])[0] for instant in instants]
    assert model(instants[::-1]) == together[::-1]


def test_everything_counts() -> None:
    """Another seed, id, purpose, second or part of a second: another number."""
    base = noise.uniform(0, "M", "p")([START])[0]
    others = [
        noise.uniform(1, "M", "p")([START])[0],
        noise.uniform(-1, "M", "p")([START])[0],
        noise.uniform(0, "N", "p")([START])[0],
        noise.uniform(0, "M", "q")([START])[0],
        noise.uniform(0, "M", "p")([START + SECOND])[0],
        noise.uniform(0, "M", "p")([START + 1])[0],
    ]
    assert len({base, *others}) == 7


@pytest.mark.parametrize("peak_kw", ["4.0", "0.000001", "1000000"])
def test_ranges(peak_kw: str) -> None:
    """Load within 0 … 9000 W, PV within 0 … peak, in whole milliwatts, and both ends are in reach of the mean."""
    loads = load.model("random", 0, "M")(HOUR)
    pv = solar.model("random", 0, "M", peak_kw=Decimal(peak_kw))(HOUR)
    peak = int(Decimal(peak_kw) * 10**6)
    assert all(type(value) is int for value in loads + pv)
    assert 0 <= min(loads) < 90_000
    assert 8_910_000 < max(loads) <= 9_000_000
    assert 0 <= min(pv) <= max(pv) <= peak
    assert abs(sum(loads) / len(loads) - 4_500_000) < 4 * 9_000_000 / (12 * len(loads)) ** 0.5
    assert abs(sum(pv) / len(pv) - peak / 2) < 4 * (peak + 1) / (12 * len(pv)) ** 0.5


def test_neighbours_are_independent() -> None:
    """Load and PV, two meters, and successive seconds do not follow each other."""
    loads = load.model("random", 0, "M")(HOUR)
    for other in (
        load.model("random", 0, "N")(HOUR),
        solar.model("random", 0, "M", peak_kw=Decimal(9))(HOUR),
        load.model("random", 0, "M")([instant + SECOND for instant in HOUR]),
    ):
        assert abs(_correlation(loads, other)) < 4 / len(loads) ** 0.5


def _correlation(one: list[int], two: list[int]) -> float:
    mean_one, mean_two = sum(one) / len(one), sum(two) / len(two)
    both = sum((a - mean_one) * (b - mean_two) for a, b in zip(one, two, strict=True))
    squares = sum((a - mean_one) ** 2 for a in one) * sum((b - mean_two) ** 2 for b in two)
    return float(both / squares**0.5)


@given(st.integers(-(10**10), 10**10), st.integers(1, 40), st.sampled_from([SECOND, 2 * SECOND, SECOND // 2]))
def test_runs_of_instants(first_ns: int, count: int, step_ns: int) -> None:
    """An instant has its number whether it is asked for alone or in a row with others."""
    numbers = noise.uniform(3, "M", "p")
    for start_ns in (first_ns, first_ns // SECOND * SECOND):
        instants = range(start_ns, start_ns + count * step_ns, step_ns)
        alone = [numbers([instant])[0] for instant in instants]
        assert numbers(instants) == numbers(list(instants)) == alone
