"""Publishing with confirms, on the main connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import pika

from pvsim.broker.ledger import Entry, Kind
from pvsim.broker.outcome import CONFIRMED, REFUSED, SILENT, UNROUTABLE, Done

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker


class Waiting(NamedTuple):
    """A message without an answer, and who waits for it; nobody does any more once it is late."""

    queue: str
    done: Done | None
    entry: Entry


class Publisher:
    """Publishes on a channel in confirm mode, and matches the answers to what they answer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._channel: Any = None
        self.clear()

    def clear(self) -> None:
        """Nothing is under way."""
        self._published = 0
        self._answered_s = 0.0
        self._waiting: dict[int, Waiting] = {}
        self._unroutable: set[int] = set()

    def open(self, channel: Any, ready: Callable[[], None]) -> None:
        """Publish on this channel from now on."""
        self.clear()
        self._channel = channel
        guard = self._broker.loop.guard
        channel.add_on_return_callback(guard(self._on_return))
        channel.confirm_delivery(guard(self._on_answer), callback=guard(lambda _: ready()))

    def silent_s(self, now_s: float) -> float:
        """For how long nothing was answered, though something was sent."""
        return now_s - self._answered_s if self._waiting else 0.0

    def publish(self, queue: str, body: bytes, properties: Any, done: Done) -> None:
        """Publish; `done` is told how it ends."""
        now_s = time.monotonic()
        if not self._waiting:
            self._answered_s = now_s
        self._channel.basic_publish("", queue, body, properties, mandatory=True)
        self._published += 1
        self._broker.counts.published_bytes += len(body)
        entry = self._broker.ledger.open(Kind.PUBLISH, queue, now_s, partial(self._on_late, self._published))
        self._waiting[self._published] = Waiting(queue, done, entry)

    def _on_late(self, tag: int) -> None:
        waiting = self._waiting[tag]
        self._waiting[tag] = waiting._replace(done=None)
        self._broker.answers.take(waiting.queue, SILENT, waiting.done, is_main=True)

    def _on_return(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """A queue is gone. What is returned has no tag: every message to that queue counts as returned."""
        self._unroutable |= {tag for tag, waiting in self._waiting.items() if waiting.queue == method.routing_key}

    def _on_answer(self, frame: Any) -> None:
        answer = frame.method
        self._answered_s = time.monotonic()
        is_taken = isinstance(answer, pika.spec.Basic.Ack)
        for tag in self._answered(answer.delivery_tag, answer.multiple):
            queue, done, entry = self._waiting.pop(tag)
            self._broker.ledger.close(entry, self._answered_s)
            outcome = UNROUTABLE if tag in self._unroutable else CONFIRMED if is_taken else REFUSED
            self._unroutable.discard(tag)
            if done or outcome == CONFIRMED:
                self._broker.answers.take(queue, outcome, done, is_main=True)

    def _answered(self, tag: int, multiple: bool) -> list[int]:
        if multiple:
            return list(takewhile(lambda waiting: waiting <= tag, self._waiting))
        return [tag] if tag in self._waiting else []
