"""The live copy: the newest durable row of each meter, once more, for whoever wants to look.

It has no promise but one: that it never holds up, slows down or breaks what is promised. A row is copied when it is
durable, and only if it is of this moment: of a meter that catches up there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, Inexact

from pvsim.broker import Copy, LiveLink
from pvsim.config import Address
from pvsim.instants import SECOND_NS, ends
from pvsim.row import HEADER
from pvsim.texts import decimal_text

KEY = "pvsim."  # and the meter id
RECENT_NS = 30 * SECOND_NS  # a row that is older, or ahead, is not of this moment

_EXACT = Context(prec=200, traps=[Inexact])
_BODY = "{" + ", ".join(f'"{column}": %s' for column in (*HEADER.split(","), "grid_power_w")) + "}"


class Live:
    """The copies of a PV service: gathered while a commit is acknowledged, and sent at one go."""

    def __init__(self, link: LiveLink, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._link = link
        self._clock = clock
        self._copies: list[Copy] = []
        self._newest_ns: dict[str, int] = {}
        self.sent = 0

    def add(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> None:
        """These rows are durable: the newest one is to be copied, if it is newer than the last copy."""
        at = len(times_ns) - 1
        if at and times_ns[at] != (newest_ns := ends(times_ns)[1]):
            at = times_ns.index(newest_ns)
        time_ns = times_ns[at]
        if time_ns > self._newest_ns.get(meter_id, -1) and abs(self._clock() * SECOND_NS - time_ns) < RECENT_NS:
            self._newest_ns[meter_id] = time_ns
            self._copies.append(Copy(KEY + meter_id, body(rows[at])))

    def send(self, address: Address) -> None:
        """Send what was gathered, or drop it."""
        if self._copies:
            self.sent += self._link.send(self._copies, address)
            self._copies = []

    def close(self) -> None:
        """No more copies."""
        self._link.close()


def body(row: str) -> bytes:
    """A row as JSON: its columns, and what flows from the grid, which is load less PV, exactly."""
    meter_id, time, power, pv, total = row.split(",")
    grid = decimal_text(_EXACT.subtract(_EXACT.multiply(2, Decimal(power)), Decimal(total)))
    return (_BODY % (f'"{meter_id}"', time, power, pv, total, grid)).encode()
