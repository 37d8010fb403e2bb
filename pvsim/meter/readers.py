"""Whether anybody reads what a history publishes: it is soon so much that this is not to be found out at the end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Protocol

from pvsim.broker import Queue

log = logging.getLogger("pvsim.meter")

AT_A_TIME = 100  # queues that are looked at in a round
MISSES = 2  # rounds in which a queue had no consumer: one may just be starting


class Link(Protocol):
    """What is needed of the broker."""

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Ask whether a queue exists."""


class Readers:
    """Who consumes the queues of some meters."""

    def __init__(self, meter_ids: Sequence[str], link: Link) -> None:
        self._meter_ids = meter_ids
        self._in_turn = cycle(meter_ids)
        self._count = min(len(meter_ids), AT_A_TIME)
        self._link = link
        self._misses = Counter[str]()
        self._is_told = False

    @property
    def missing(self) -> str:
        """Whose queues nobody consumes, as a sentence; or nothing."""
        ids = [meter_id for meter_id in self._meter_ids if self._misses[meter_id] >= MISSES]
        if not ids:
            return ""
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        them = "them" if len(ids) > 1 else "it"
        return f"nobody consumes {', '.join(ids[:3])}{more}: start pvsim-pv for {them}"

    def look(self) -> None:
        """To be called every few seconds: say what the looks before have found, and look again."""
        if self.missing and not self._is_told:
            self._is_told = True
            self.tell()
        for meter_id in islice(self._in_turn, self._count):
            self._link.look(meter_id, partial(self._on_looked, meter_id))

    def tell(self) -> None:
        """Log it again: the history is over."""
        if self.missing:
            log.warning("N%s.", self.missing[1:])

    def _on_looked(self, meter_id: str, queue: Queue | None) -> None:
        if queue and not queue.consumers:
            self._misses[meter_id] += 1
        else:
            del self._misses[meter_id]
