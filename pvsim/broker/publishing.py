"""Publishing with confirms."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pika

from pvsim.broker.counts import Counts

CONFIRMED, REFUSED, UNROUTABLE = "confirmed", "refused", "unroutable"
SILENT_S = 10.0  # a broker that answers nothing for so long does not work

Done = Callable[[str], None]


class Publisher:
    """Publishes on a channel in confirm mode, and matches the answers to what they answer."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._channel: Any = None
        self.suspects: set[str] = set()  # queues that have refused with room, until they confirm again
        self.clear()

    def clear(self) -> None:
        self.refused_s: dict[str, float] = {}  # queues that refuse, and since when
        self._published = 0
        self._answered_s = 0.0
        self._waiting: dict[int, tuple[str, Done]] = {}
        self._unroutable: set[int] = set()

    def open(self, channel: Any, ready: Callable[[], None]) -> None:
        self.clear()
        self._channel = channel
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_answer, callback=lambda _: ready())

    @property
    def is_silent(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._answered_s > SILENT_S

    def publish(self, queue: str, body: bytes, properties: Any, done: Done) -> None:
        if not self._waiting:
            self._answered_s = time.monotonic()
        self._channel.basic_publish("", queue, body, properties, mandatory=True)
        self._published += 1
        self._counts.published_bytes += len(body)
        self._waiting[self._published] = (queue, done)

    def _on_return(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """A queue is gone. What is returned has no tag: every message to that queue counts as returned."""
        self._unroutable |= {tag for tag, (queue, _) in self._waiting.items() if queue == method.routing_key}

    def _on_answer(self, frame: Any) -> None:
        answer = frame.method
        self._answered_s = time.monotonic()
        outcome = CONFIRMED if isinstance(answer, pika.spec.Basic.Ack) else REFUSED
        for tag in self._answered(answer.delivery_tag, answer.multiple):
            queue, done = self._waiting.pop(tag)
            self._note(queue, outcome)
            if tag in self._unroutable:
                self._unroutable.discard(tag)
                done(UNROUTABLE)
            else:
                done(outcome)

    def _note(self, queue: str, outcome: str) -> None:
        if outcome == REFUSED:
            self._counts.refused += 1
            self.refused_s.setdefault(queue, time.monotonic())
        else:
            self.refused_s.pop(queue, None)
            self.suspects.discard(queue)

    def refusing(self, seconds: float) -> str:
        """A queue that has refused for so long, and not been found out to do so with room; or nothing."""
        before_s = time.monotonic() - seconds
        long = (queue for queue, since_s in self.refused_s.items() if since_s < before_s)
        return next((queue for queue in long if queue not in self.suspects), "")

    def _answered(self, tag: int, multiple: bool) -> list[int]:
        if multiple:
            return list(takewhile(lambda waiting: waiting <= tag, self._waiting))
        return [tag] if tag in self._waiting else []
