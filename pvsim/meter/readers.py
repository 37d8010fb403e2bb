"""Whether anybody reads what a history publishes: it is soon so much that this is not to be found out at the end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

from pvsim.broker import Queue

log = logging.getLogger("pvsim.meter")

AT_A_TIME = 100  # queues that are looked at in a round
MISSES = 2  # rounds in which a queue had no consumer: one may just be starting
LAST_LOOK_S = 2.0  # the most that an answer is waited for when all is sent


Look = Callable[[str, Callable[[Queue | None], None]], None]
"""Asks whether a queue exists."""


class Readers:
    """Who consumes the queues of some meters."""

    def __init__(self, meter_ids: Sequence[str], look: Look) -> None:
        self._meter_ids = meter_ids
        self._in_turn = cycle(meter_ids)
        self._count = min(len(meter_ids), AT_A_TIME)
        self._look = look
        self._misses = Counter[str]()
        self._enough = MISSES
        self._asked = 0
        self._last_s: float | None = None
        self._is_told = False

    @property
    def missing(self) -> str:
        """Whose queues nobody consumes, as a sentence; or nothing."""
        return f"nobody {what}" if (what := self._unread()) else ""

    def _unread(self) -> str:
        ids = [meter_id for meter_id in self._meter_ids if self._misses[meter_id] >= self._enough]
        if not ids:
            return ""
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        them = "them" if len(ids) > 1 else "it"
        return f"consumes {', '.join(ids[:3])}{more}: start pvsim-pv for {them}"

    def look(self) -> None:
        """To be called every few seconds: say what the looks before have found, and look again."""
        if self.missing and not self._is_told:
            self._is_told = True
            self.tell()
        self._ask()

    def _ask(self) -> None:
        for meter_id in islice(self._in_turn, self._count):
            self._asked += 1
            self._look(meter_id, partial(self._on_looked, meter_id))

    def have_looked_last(self, now_s: float) -> bool:
        """To be called again and again when all is sent, which may be sooner than two looks: whether `tell` may be."""
        if self._last_s is None:
            self._last_s, self._enough, self._asked = now_s, 1, 0
            self._ask()
        return self._asked <= 0 or now_s - self._last_s > LAST_LOOK_S

    def tell(self) -> None:
        """Log it again: the history is over."""
        if what := self._unread():
            log.warning("Nobody %s.", what)

    def _on_looked(self, meter_id: str, queue: Queue | None) -> None:
        self._asked -= 1
        if queue and not queue.consumers:
            self._misses[meter_id] += 1
        else:
            del self._misses[meter_id]
