"""Consuming, on a channel of the main connection: what was asked for, what has come, what is not settled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pvsim.broker import pika_private
from pvsim.broker.ledger import Entry, Kind
from pvsim.broker.settling import Unsettled
from pvsim.broker.trouble import ACCESS_REFUSED, INTERNAL_ERROR

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

_AT_ONCE = 64  # queues that are asked for


class Delivery(NamedTuple):
    """A message from a queue, to be acknowledged, given back or set aside by its tag."""

    queue: str
    tag: int
    body: bytes
    properties: Any


def consume_once(queue: str, channel: Any, answered: Callable[[Any], None]) -> None:
    """Ask for one message of a queue, and leave it there."""
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, callback=answered)


class Consumer:
    """Has the messages of queues delivered to the broker's owner."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._guard = broker.loop.guard
        self._channel: Any = None
        self.prefetch = 1  # messages that may be unsettled
        self._tags: dict[str, str] = {}
        self._unsettled = Unsettled()
        self._asked: dict[str, Entry] = {}  # the queues whose consuming the broker has not answered yet
        self._to_ask: deque[str] = deque()

    def clear(self) -> None:
        """The connection is lost."""
        self._tags.clear()
        self._unsettled.clear()
        self._asked.clear()
        self._to_ask.clear()

    def open(self, channel: Any, ready: Callable[[], None]) -> None:
        """Consume on this channel from now on."""
        self._channel = channel
        channel.add_on_cancel_callback(self._guard(self._on_cancelled))
        channel.basic_qos(prefetch_count=self.prefetch, callback=self._guard(lambda _: ready()))

    def consume(self, queue: str) -> None:
        """Ask for the messages of a queue."""
        self._to_ask.append(queue)
        self._ask()

    def consumes(self, queue: str) -> bool:
        """Whether the broker has answered that it delivers the messages of a queue."""
        return queue in self._tags and queue not in self._asked

    def holds(self, queue: str) -> bool:
        """Whether messages of a queue have come that are not settled."""
        return self._unsettled.holds(queue)

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue; `done` when the last has come. What is given back then keeps its order."""
        if tag := self._tags.pop(queue, None):
            pika_private.cancel(self._channel, tag, self._guard(done))
        else:
            done()

    def ack(self, tags: Iterable[int]) -> None:
        """These messages are done with."""
        through, singles = self._unsettled.settle(tags)
        if through:
            self._channel.basic_ack(through, multiple=True)
        for tag in singles:
            self._channel.basic_ack(tag)

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues."""
        self._unsettled.settle(tags)
        for tag in tags:
            self._channel.basic_nack(tag, requeue=True)

    def on_closed(self, _channel: Any, reason: Exception) -> None:
        """The broker has closed the channel: it may not consume the queue that it was asked for first."""
        if self._asked and getattr(reason, "reply_code", 0) == ACCESS_REFUSED:
            self._broker.owner.on_forbidden(next(iter(self._asked)))

    def on_lost(self, reason: Exception) -> None:
        """The connection is lost: RabbitMQ closes it, too, where a queue does not answer that it is consumed."""
        if self._asked and getattr(reason, "reply_code", 0) == INTERNAL_ERROR:
            self._tell_silent()

    def _ask(self) -> None:
        while self._to_ask and len(self._asked) < _AT_ONCE:
            queue = self._to_ask.popleft()
            self._tags[queue] = self._channel.basic_consume(
                queue,
                self._guard(partial(self._on_message, queue)),
                callback=self._guard(partial(self._on_consuming, queue)),
            )
            self._asked[queue] = self._broker.ledger.open(Kind.CONSUME, queue, time.monotonic(), self._on_late)

    def _on_consuming(self, queue: str, _frame: Any) -> None:
        if entry := self._asked.pop(queue, None):
            self._broker.ledger.close(entry, time.monotonic())
        self._ask()

    def _on_late(self) -> None:
        if self._asked:
            queue = next(iter(self._asked))
            self._tell_silent()
            self._broker.reset(f"the queue {queue} does not answer")

    def _tell_silent(self) -> None:
        self._broker.owner.on_silent([*self._asked, *self._to_ask])

    def _on_cancelled(self, frame: Any) -> None:
        for queue in [queue for queue, tag in self._tags.items() if tag == frame.method.consumer_tag]:
            del self._tags[queue]
            self._broker.owner.on_cancelled(queue)

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._broker.counts.received_bytes += len(body)
        self._unsettled.add(method.delivery_tag, queue)
        self._broker.owner.on_delivery(Delivery(queue, method.delivery_tag, body, properties))
