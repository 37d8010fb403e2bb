"""One row of a day file: a reading, the PV power at its instant, and their sum, as a line of CSV.

A row's text is canonical (shortest exact decimals with a decimal point), so rows are compared as text: within a day,
the order of text is the order of time (but for the days on which epoch seconds get one more digit; they are only
slower). Rows in the older form, in which a whole number had no point, are rows, too, and of the same readings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from itertools import repeat
from operator import add
from typing import NamedTuple

from pvsim.instants import END_NS, SECOND_NS
from pvsim.reading import Block, Reading
from pvsim.texts import decimal_text, kilowatts_texts, power_text, time_text, watts_texts

HEADER = "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w"
_COLUMNS = HEADER.count(",") + 1
_EXACT = Context(prec=200, traps=[Inexact])
_NUMBER = r"(?!-0(?:\.0)?(?:,|$))-?(?:0|[1-9]\d{0,29})(?:\.(?:0|\d{0,39}[1-9]))?"
_KILOWATTS = r"(?!-0(?:\.0)?,)-?(?:0|[1-9]\d{0,19})(?:\.(?:0|\d{0,5}[1-9]))?"
_ROW = re.compile(
    r"(?P<id>[^,\n]+),(?P<seconds>0|[1-9]\d{0,11})(?:\.(?P<part>\d{0,8}[1-9]))?,"
    rf"(?P<power>{_NUMBER}),(?P<pv>{_KILOWATTS}),(?P<sum>{_NUMBER})",
    re.ASCII,
)


class Row(NamedTuple):
    """One line of a day file. `time_ns`: ns since the epoch; `power_w`: the meter's W; `sum_w`: W."""

    meter_id: str
    time_ns: int
    power_w: Decimal
    pv_milliwatts: int
    sum_w: Decimal


def format_row(reading: Reading, pv_milliwatts: int) -> str:
    """The line, without its newline, of a reading and the PV power at its instant. The sum is exact."""
    meter_id, time_ns, power_w = reading
    row_sum = decimal_text(sum_w(power_w, pv_milliwatts))
    return f"{meter_id},{time_text(time_ns)},{decimal_text(power_w)},{power_text(pv_milliwatts, 6)},{row_sum}"


def format_block(meter_id: str, readings: Block, pv_milliwatts: Sequence[int]) -> list[str]:
    """`format_row` of each reading of a block."""
    sums = watts_texts(list(map(add, readings.milliwatts, pv_milliwatts)))
    columns = readings.times, readings.powers, kilowatts_texts(pv_milliwatts), sums
    return list(map(",".join, zip(repeat(meter_id, len(sums)), *columns, strict=True)))


def sum_w(power_w: Decimal, pv_milliwatts: int) -> Decimal:
    """The power of meter and PV system together, in W, exactly."""
    return _EXACT.add(power_w, _EXACT.scaleb(Decimal(pv_milliwatts), -3))


def reading_key(row: str) -> str:
    """What tells one reading from another: the row up to and with the meter's power, without a last ".0".

    Rows in the older form have powers such as 5 for 5.0. In either form a reading has the same key, and its row begins
    with it; so what is less than a row's key is, as text, less than the row.
    """
    return row.rsplit(",", 2)[0].removesuffix(".0")


def instant_key(row: str) -> str:
    """The row up to and with the time of its reading; as text, less than the row."""
    return row.rsplit(",", 3)[0]


def with_points(row: str) -> str:
    """The row as it is written now; in the older form whole powers have no decimal point. Any other line as it is."""
    cells = row.split(",")
    if len(cells) != _COLUMNS or not is_row(row):
        return row
    return ",".join([*cells[:2], *(each if "." in each else f"{each}.0" for each in cells[2:])])


def is_row(line: str) -> bool:
    """Whether a line is in the form of a row."""
    return _ROW.fullmatch(line) is not None


def parse_row(line: str) -> Row:
    """The row in a line as `format_row` writes it, its sum unchecked; ValueError says why there is none."""
    match = _ROW.fullmatch(line)
    if not match:
        raise ValueError(f"{line[:200]!r} is no row of {HEADER} with numbers in their shortest form")
    time_ns = int(match["seconds"]) * SECOND_NS + int((match["part"] or "").ljust(9, "0"))
    if time_ns >= END_NS:
        raise ValueError(f"{line[:200]!r} is no row: its time is beyond the year 9999")
    pv_milliwatts = int(_EXACT.scaleb(Decimal(match["pv"]), 6))
    return Row(match["id"], time_ns, Decimal(match["power"]), pv_milliwatts, Decimal(match["sum"]))
