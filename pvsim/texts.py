"""Numbers as text: the shortest exact decimals, as messages and day files have them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache

from pvsim.instants import SECOND_NS


def fixed_text(scaled: int, decimals: int) -> str:
    """The shortest exact decimal text of `scaled` / 10**`decimals`: (1234500, 3) is 1234.5."""
    whole, part = divmod(abs(scaled), 10**decimals)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}}".rstrip("0") if part else f"{sign}{whole}"


def power_text(scaled: int, decimals: int) -> str:
    """The same, always with a decimal point: (8000000, 3) is 8000.0.

    Readers that guess a column's type from its first rows would take a night of 0 for integers.
    """
    text = fixed_text(scaled, decimals)
    return text if "." in text else f"{text}.0"


_THOUSANDTHS = [power_text(each, 3)[1:] for each in range(1000)]  # ".0", ".001", …, ".999"
_PADDED = [f"{each:03}" for each in range(1000)]
_TAILS = [text.rstrip("0") for text in _PADDED]  # "", "001", "002", …, "01", …
_FEW = 100  # numbers; for more it pays to have a table


@cache
def _kilowatts() -> list[str]:
    """ "0.000", "0.001", …, to which what follows is added; it takes some 100 kB, and only history needs it."""
    return [f"{each // 1000}.{_PADDED[each % 1000]}" for each in range(2**13)]


def watts_texts(milliwatts: Sequence[int]) -> list[str]:
    """`power_text` with three decimals of each."""
    if min(milliwatts, default=0) < 0:
        return [power_text(each, 3) for each in milliwatts]
    return [f"{each // 1000}{_THOUSANDTHS[each % 1000]}" for each in milliwatts]


def kilowatts_texts(milliwatts: Sequence[int]) -> list[str]:
    """`power_text` with six decimals of each."""
    if min(milliwatts, default=0) < 0:
        return [power_text(each, 6) for each in milliwatts]
    if len(milliwatts) < _FEW or max(milliwatts) >= 1000 * 2**13:
        return [
            f"{each // 1_000_000}.{_PADDED[each // 1000 % 1000]}{tail}"
            if (tail := _TAILS[each % 1000])
            else f"{each // 1_000_000}{_THOUSANDTHS[each // 1000 % 1000]}"
            for each in milliwatts
        ]
    heads, tails = _kilowatts(), _TAILS
    return [
        heads[each // 1000] + tail
        if (tail := tails[each % 1000])
        else f"{each // 1_000_000}{_THOUSANDTHS[each // 1000 % 1000]}"
        for each in milliwatts
    ]


def times_texts(times_ns: Sequence[int]) -> list[str]:
    """`time_text` of each."""
    if isinstance(times_ns, range) and not (times_ns.start % SECOND_NS or times_ns.step % SECOND_NS):
        start, step = times_ns.start // SECOND_NS, times_ns.step // SECOND_NS
        return seconds_texts(range(start, start + step * len(times_ns), step))
    return [time_text(each) if each % SECOND_NS else str(each // SECOND_NS) for each in times_ns]


def seconds_texts(seconds: range) -> list[str]:
    """`str` of each, not negative and ascending: a thousand of them have the same digits but for the last three."""
    if len(seconds) < _FEW or seconds.step > 100 or seconds.start < 1000:
        return list(map(str, seconds))
    texts: list[str] = []
    while seconds:
        head, first = divmod(seconds.start, 1000)
        tails = _PADDED[first : first + len(seconds) * seconds.step : seconds.step]
        digits = str(head)
        texts += [digits + tail for tail in tails]
        seconds = seconds[len(tails) :]
    return texts


def decimal_text(value: Decimal) -> str:
    """The shortest exact plain text of a finite number with a decimal point: no exponent, no minus zero."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text == "-0":
        return "0.0"
    return text if "." in text else f"{text}.0"


def time_text(time_ns: int) -> str:
    """Seconds since the epoch, an integer where they are whole."""
    return fixed_text(time_ns, 9)
