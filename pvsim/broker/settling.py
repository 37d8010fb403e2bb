"""Acknowledging messages in few frames."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple


class Settled(NamedTuple):
    """Delivery tags that are done with: all up to and with `through` (0 for none), and single ones beyond it."""

    through: int
    singles: list[int]


class Unsettled:
    """The delivery tags of a channel, ascending, that are neither acknowledged nor given back.

    A tag that is acknowledged with `multiple` stands for all before it, whatever their queues (AMQP 0-9-1, basic.ack):
    so it can where all of those are done with.
    """

    def __init__(self) -> None:
        self._tags: dict[int, str] = {}

    def add(self, tag: int, queue: str = "") -> None:
        """A message is delivered."""
        self._tags[tag] = queue

    def holds(self, queue: str) -> bool:
        """Whether a message of a queue is among them."""
        return queue in self._tags.values()

    def settle(self, tags: Iterable[int]) -> Settled:
        """These, which were added and not settled since, are done with."""
        tags = sorted(tags)
        for tag in tags:
            del self._tags[tag]
        first = next(iter(self._tags), sys.maxsize)
        through = max((tag for tag in tags if tag < first), default=0)
        return Settled(through, [tag for tag in tags if tag > first])
