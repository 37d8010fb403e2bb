"""Reading day files fast: blocks of lines become columns of numbers.

A block that holds nothing but rows of its meter, whose instants follow each other by the same step, is parsed by a few
calls for all of its rows together. Any other block is parsed line by line, strictly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pvsim.errors import ConfigError
from pvsim.instants import SECOND_NS
from pvsim.row import HEADER, parse_row
from pvsim.tools.dayfiles import unreadable

_BLOCK = 2**18  # bytes
_HEADER_LINE = f"{HEADER}\n".encode()
_OF_NUMBERS = b"0123456789.,-"


class Piece(NamedTuple):
    """Rows that follow each other in a file: their instants (a range if they are regular), and W of load and PV."""

    times_ns: Sequence[int]
    loads_w: Sequence[float]
    pvs_w: Sequence[float]
    no_rows: int = 0  # lines between them that are no rows of this meter
    is_torn: bool = False  # what follows does not end in a newline


def pieces(path: Path, meter_id: str) -> Iterator[Piece]:
    """The rows of a day file. ConfigError if it cannot be read, or is none."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_HEADER_LINE))
            if start != _HEADER_LINE and not _HEADER_LINE.startswith(start):
                raise ConfigError(f"{path} is no day file: its first line is not {HEADER}; leave it out.")
            rest = b""
            while block := stream.read(_BLOCK):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield _regular(whole, f"{meter_id},".encode()) or _any(whole, meter_id)
            if rest or len(start) < len(_HEADER_LINE):
                yield Piece((), (), (), is_torn=True)
    except OSError as error:
        raise unreadable(path, error) from None


def _regular(lines: bytes, prefix: bytes) -> Piece | None:
    """The rows of lines that are nothing else and in step, in whole seconds; or None."""
    if not lines.startswith(prefix):
        return None
    count = lines.count(b"\n") + 1
    text = lines[len(prefix) :].replace(b"\n" + prefix, b",")
    cells = text.split(b",")
    if len(cells) != 4 * count or text.translate(None, _OF_NUMBERS):
        return None
    try:
        seconds = list(map(int, cells[::4]))
        loads_w, pvs_w = list(map(float, cells[1::4])), [1000 * kw for kw in map(float, cells[2::4])]
    except ValueError:
        return None
    step = seconds[1] - seconds[0] if count > 1 else 1
    if step <= 0 or seconds != list(range(seconds[0], seconds[-1] + 1, step)):
        return None
    times_ns = range(seconds[0] * SECOND_NS, seconds[-1] * SECOND_NS + 1, step * SECOND_NS)
    return Piece(times_ns, loads_w, pvs_w)


def _any(lines: bytes, meter_id: str) -> Piece:
    times_ns: list[int] = []
    loads_w: list[float] = []
    pvs_w: list[float] = []
    all_lines = lines.decode("latin-1").split("\n")
    for line in all_lines:
        try:
            row = parse_row(line)
        except ValueError:
            continue
        if row.meter_id == meter_id:
            times_ns.append(row.time_ns)
            loads_w.append(float(row.power_w))
            pvs_w.append(row.pv_milliwatts / 1000)
    return Piece(times_ns, loads_w, pvs_w, len(all_lines) - len(times_ns))
