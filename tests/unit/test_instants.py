"""Instants, many at a time: what a range tells at once is what its instants tell one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.instants import ends, joined

RANGES = st.builds(
    lambda first, count, step: range(first, first + count * step, step),
    st.integers(0, 6),
    st.integers(1, 3),
    st.integers(1, 2),
)
LISTS = st.lists(st.integers(0, 9), min_size=1, max_size=4)


@given(st.one_of(RANGES, LISTS))
def test_ends(instants: Sequence[int]) -> None:
    """In any order."""
    assert ends(instants) == (min(instants), max(instants))


@given(st.one_of(st.just(()), RANGES, LISTS), st.one_of(RANGES, LISTS))
def test_joined(first: Sequence[int], then: Sequence[int]) -> None:
    """All of both, in this order, and neither is changed."""
    before = list(first), list(then)
    assert list(joined(first, then)) == before[0] + before[1]
    assert (list(first), list(then)) == before


@pytest.mark.parametrize(
    "first, then, whole",
    [
        ((), range(3), range(3)),
        (range(0, 4, 2), range(4, 8, 2), range(0, 8, 2)),
        (range(0, 4, 2), range(4, 6), [0, 2, 4, 5]),
        (range(0, 4, 2), range(6, 8, 2), [0, 2, 6]),
        (range(2), [2], [0, 1, 2]),
    ],
)
def test_a_range_that_goes_on(first: Sequence[int], then: Sequence[int], whole: Sequence[int]) -> None:
    """It stays one; another range, or a list, makes it a list."""
    assert joined(first, then) == whole
