"""Consuming, on channels of the main connection: what was asked for, what has come, what is not settled.

The broker answers one request after the other on a channel, and where many meters publish, it takes some ms to answer
that a quorum queue is consumed: a sync of its log. So queues are shared out to several channels, whose requests share
these syncs. A queue keeps its channel: what is asked of it and given back to it is done in this order.
"""

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

CHANNELS = 8
_AT_ONCE = 16  # queues that are asked for on a channel: each waits for those before it, and has ten seconds


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


class Share:
    """One of the channels, and its queues."""

    def __init__(self, broker: Broker, number: int) -> None:
        self._broker = broker
        self._guard = broker.loop.guard
        self._number = number
        self._channel: Any = None
        self._tags: dict[str, str] = {}
        self._unsettled = Unsettled()
        self._asked: dict[str, Entry] = {}  # the queues whose consuming the broker has not answered yet
        self._to_ask: deque[str] = deque()

    def open(self, channel: Any, prefetch: int, ready: Callable[[], None]) -> None:
        """Consume on this channel from now on."""
        self._channel = channel
        channel.add_on_close_callback(self._guard(self._on_closed))
        channel.add_on_cancel_callback(self._guard(self._on_cancelled))
        channel.basic_qos(prefetch_count=prefetch, callback=self._guard(lambda _: ready()))

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

    def ack(self, tags: Sequence[int]) -> None:
        """These messages are done with, if they are of this channel."""
        through, singles = self._unsettled.settle(self._own(tags))
        if through:
            self._channel.basic_ack(through, multiple=True)
        for tag in singles:
            self._channel.basic_ack(tag)

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues, if they are of this channel."""
        own = self._own(tags)
        self._unsettled.settle(own)
        for tag in own:
            self._channel.basic_nack(tag, requeue=True)

    def tell_silent(self) -> None:
        """The first queue that was asked for does not answer, if there is one, and holds up the others."""
        if self._asked:
            self._broker.owner.on_silent([*self._asked, *self._to_ask])

    def _own(self, tags: Iterable[int]) -> list[int]:
        """As the broker knows them: on each channel, it counts from 1."""
        return [tag // CHANNELS for tag in tags if tag % CHANNELS == self._number]

    def _on_closed(self, channel: Any, reason: Exception) -> None:
        """The broker has closed the channel: it may not consume the queue that it was asked for first."""
        if self._asked and getattr(reason, "reply_code", 0) == ACCESS_REFUSED:
            self._broker.owner.on_forbidden(next(iter(self._asked)))
        self._broker.on_channel_closed(channel, reason)

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
            self.tell_silent()
            self._broker.reset(f"the queue {queue} does not answer")

    def _on_cancelled(self, frame: Any) -> None:
        for queue in [queue for queue, tag in self._tags.items() if tag == frame.method.consumer_tag]:
            del self._tags[queue]
            self._broker.owner.on_cancelled(queue)

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._broker.counts.received_bytes += len(body)
        self._unsettled.add(method.delivery_tag, queue)
        tag = method.delivery_tag * CHANNELS + self._number
        self._broker.owner.on_delivery(Delivery(queue, tag, body, properties))


class Consumer:
    """Has the messages of queues delivered to the broker's owner."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.queues = 1  # that there will be
        self.prefetch = 1  # messages of each that may be unsettled
        self._shares: list[Share] = []
        self._share_of: dict[str, Share] = {}

    def clear(self) -> None:
        """The connection is lost."""
        self._shares.clear()
        self._share_of.clear()

    def open(self, most: int, ready: Callable[[], None]) -> None:
        """Open channels, so many at most."""
        shares = [Share(self._broker, number) for number in range(min(self.queues, most, CHANNELS))]

        def on_ready(share: Share) -> None:
            self._shares.append(share)
            if len(self._shares) == len(shares):
                ready()

        def on_open(share: Share, channel: Any) -> None:
            share.open(channel, self.prefetch, partial(on_ready, share))

        for share in shares:
            self._broker.open_channel(partial(on_open, share))

    def consume(self, queue: str) -> None:
        """Ask for the messages of a queue."""
        share = self._share_of.get(queue) or self._shares[len(self._share_of) % len(self._shares)]
        self._share_of[queue] = share
        share.consume(queue)

    def consumes(self, queue: str) -> bool:
        """Whether the broker has answered that it delivers the messages of a queue."""
        share = self._share_of.get(queue)
        return share is not None and share.consumes(queue)

    @property
    def consumes_any(self) -> bool:
        """Whether there is such a queue."""
        return any(map(self.consumes, self._share_of))

    def holds(self, queue: str) -> bool:
        """Whether messages of a queue have come that are not settled."""
        share = self._share_of.get(queue)
        return share is not None and share.holds(queue)

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue; `done` when the last has come. What is given back then keeps its order."""
        if share := self._share_of.get(queue):
            share.cancel(queue, done)
        else:
            done()

    def ack(self, tags: Sequence[int]) -> None:
        """These messages are done with."""
        for share in self._shares:
            share.ack(tags)

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues."""
        for share in self._shares:
            share.give_back(tags)

    def on_lost(self, reason: Exception) -> None:
        """The connection is lost: RabbitMQ closes it, too, where a queue does not answer that it is consumed."""
        if getattr(reason, "reply_code", 0) == INTERNAL_ERROR:
            for share in self._shares:
                share.tell_silent()
