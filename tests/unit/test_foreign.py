"""What others say is shown to people, and does nothing to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.foreign import MOST, foreign, printable

SHOWN = [
    ("as it is: ä → 電", "as it is: ä → 電"),
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
    ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
    ("\u2028\u00a0\u200b\ufeff", r"\u2028\xa0\u200b\ufeff"),
    ("\udcff\ud800", r"\udcff\ud800"),
    ("\U000e0041", r"\U000e0041"),
    (b"bytes \xff\x1b", r"bytes \xff\x1b"),
    (None, "None"),
    (["\x1b"], r"['\x1b']"),
    ("x" * 500, "x" * (MOST - 1) + "…"),
    (b"x" * 10**6, "x" * (MOST - 1) + "…"),
    ([10**5000], "(list)"),
]


@pytest.mark.parametrize("value, text", SHOWN, ids=range(len(SHOWN)))
def test_shown(value: object, text: str) -> None:
    """Letters of all languages as they are; what cannot be seen as an escape; all of it short."""
    assert foreign(value) == text


@given(st.text() | st.binary())
def test_any_text(value: str | bytes) -> None:
    """One line that can be printed and encoded, whatever comes."""
    text = foreign(value)
    assert text.isprintable()
    assert len(text) <= 10 * MOST
    assert printable(text) == text
    text.encode()
