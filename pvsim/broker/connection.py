"""One connection that comes back by itself, and what goes over it.

Everything runs in one thread on one `Loop`. A `Broker` tells its owner when it is connected and when it is not any
more; between those two moments it declares queues, publishes with confirms, and consumes. Whatever was under way when
the connection is lost is forgotten here: the owner knows how to do it again. Publishing has one channel, consuming has
some, and what is asked about queues has others: a refused declaration closes the one that it was asked on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pika
import pika.exceptions as errors

from pvsim.broker import queues, tls
from pvsim.broker.admission import Admission, State
from pvsim.broker.answers import Answers
from pvsim.broker.consuming import Consumer, Delivery, consume_once
from pvsim.broker.counts import Counts
from pvsim.broker.ledger import SILENT_S, Kind, Ledger
from pvsim.broker.link import STABLE_S, Link
from pvsim.broker.marks import Marks
from pvsim.broker.outcome import TOO_LARGE, Done
from pvsim.broker.proof import properties_text
from pvsim.broker.publishing import Publisher
from pvsim.broker.queues import Queue, Queues, Request
from pvsim.broker.side import Probe, Side
from pvsim.broker.transport import Loop
from pvsim.broker.trouble import NOT_FOUND, refusal
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError

log = logging.getLogger("pvsim.broker")

_HANGS_S = 70.0  # a channel that waits for a queue gives up after a minute
_CHANNELS = 3  # at least: for publishing, for consuming, and for what is asked
_FEW_CHANNELS = "it allows {} channels a connection, and {} are needed; raise channel_max in rabbitmq.conf"


class Owner:
    """What a broker tells the service that owns it; which takes what concerns it, and leaves the rest as it is here."""

    def on_up(self) -> None:
        """Connected: declare, publish and consume from now on."""

    def on_down(self) -> None:
        """Not connected, or not any more: nothing that was under way will be answered."""

    def on_delivery(self, delivery: Delivery) -> None:
        """A message has come."""

    def on_cancelled(self, queue: str) -> None:
        """A queue that was consumed is gone."""

    def on_forbidden(self, queue: str) -> None:
        """A queue may not be consumed; to have asked for it costs the connection."""

    def on_silent(self, queues: Sequence[str]) -> None:
        """The first of these does not answer that it is consumed, and holds up the others; it costs the connection."""


class Broker:
    """One connection to the broker for one service: where its parts meet, each of which has a file of its own."""

    def __init__(self, settings: BrokerSettings, loop: Loop, owner: Owner) -> None:
        self.settings = settings
        if settings.tls:
            tls.context(settings)  # what is wrong with its files is to be said now
        self.loop = loop
        self.owner = owner
        self.counts = Counts()
        self.ledger = Ledger()
        self.admission = Admission(settings.virtual_host)
        self.answers = Answers(self)
        self.marks = Marks(self)
        self._link = Link(settings, loop, self)
        self._side = Side(self)
        self._publisher = Publisher(self)
        self._consumer = Consumer(self)
        self._queues = Queues(self)
        self._told_blocked = ""

    @property
    def address(self) -> Address:
        """The node of this connection, or of the next try."""
        return self._link.address

    @property
    def is_up(self) -> bool:
        """Whether anything can be asked of the broker."""
        return self._link.is_up

    @property
    def trouble(self) -> str:
        """Why there is no connection, for people; or nothing."""
        return self._link.trouble

    @property
    def state(self) -> str:
        """What is going on, for people."""
        if not self.is_up:
            return self.trouble
        if self.blocked:
            return f"the broker at {self.address} takes nothing now: {self.blocked}"
        now_s = time.monotonic()
        trouble = self.admission.trouble(now_s) or self.ledger.trouble(now_s)
        if trouble.startswith("cannot"):
            return trouble
        return f"connected to {self.address}{'; ' if trouble else ''}{trouble}"

    @property
    def blocked(self) -> str:
        """Why the broker takes no messages now, or nothing."""
        return self._link.blocked or self._side.blocked

    @property
    def can_publish(self) -> bool:
        """Whether a message would go out now."""
        return self.is_up and not self.blocked

    def start(self, queues: int = 1, prefetch: int = 1) -> None:
        """Begin to connect, and to come back whenever the connection is lost.

        `queues`: how many are going to be consumed; `prefetch`: messages of each that may be unsettled.
        """
        self._consumer.queues, self._consumer.prefetch = queues, prefetch
        self._link.connect()

    def close(self, done: Callable[[], None]) -> None:
        """Close the connection for good, then call `done`."""
        self._link.close(done)

    def reset(self, reason: str) -> None:
        """Begin anew with another connection."""
        self.drop(BrokerError(reason))

    def drop(self, reason: Exception) -> None:
        """The same: whatever closes a channel of the main connection, a new connection puts everything right."""
        self._link.drop(reason)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call after a while, if this connection still stands then."""
        self.loop.later(delay_s, partial(self._call, self._link.connection, call))

    def _call(self, connection: Any, call: Callable[[], None]) -> None:
        if self.is_up and connection is self._link.connection:
            call()

    def open_channel(self, on_open: Callable[[Any], None]) -> None:
        """Open one more channel, if there still is a connection."""
        if self._link.connection.is_open:
            self._link.connection.channel(on_open_callback=self.loop.guard(on_open))

    # --- queues

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Ask whether a queue exists."""
        self._queues.add(queues.look(queue, done))

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Make sure that a durable queue exists, if with other arguments."""
        self._queues.add(queues.declare(queue, args, done))

    def declare_marked(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """The same by somebody who is not its meter, for a queue that is not there: it is marked (see marks.py)."""
        self.marks.declare(queue, args, done)

    def ask(self, request: Request) -> None:
        """Ask anything else."""
        self._queues.add(request)

    def works(self, queue: str) -> bool:
        """Whether a queue has answered, so that messages can be sent to it as fast as they come."""
        return self.admission.works(queue) or (self._side.is_refused and self.admission.state(queue) is not State.YOUNG)

    def prove(self, queue: str, ready: Callable[[], None]) -> None:
        """Call `ready` when it is the turn of a queue that does not work (yet): one message may be published then."""
        if wait_s := self.admission.grow(queue, time.monotonic()):
            self.later(wait_s, partial(self.prove, queue, ready))
        else:
            self._side.prove(queue, ready)

    def asks(self, queue: str) -> bool:
        """Whether the message of this turn is to tell whose the queue is.

        It is taken if the queue is another one than its meter has declared, and so is to be the first that such a queue
        needs (REPLACED); or else it is not (UNMARKED).
        """
        return self._side.asks(queue)

    # --- publishing

    def publish(self, queue: str, body: bytes, content_type: str, done: Done) -> None:
        """Publish a persistent message; `done` is told how it ends (see outcome.py)."""
        self._publish(queue, body, pika.BasicProperties(content_type, delivery_mode=2), done)

    def set_aside(self, queue: str, delivery: Delivery, reason: str, time_text: str, done: Done) -> None:
        """Publish a message that is no reading to a queue for such, whole, with why and when."""
        headers = {
            "x-pvsim-queue": delivery.queue,
            "x-pvsim-reason": reason,
            "x-pvsim-time": time_text,
            "x-pvsim-properties": properties_text(delivery.properties),
        }
        properties = pika.BasicProperties(headers=headers, delivery_mode=2)
        self._publish(queue, delivery.body, properties, done)

    def _publish(self, queue: str, body: bytes, properties: Any, done: Done) -> None:
        if self.answers.is_too_large(body):
            self.later(0, partial(done, TOO_LARGE))
        elif not self._side.publish(queue, body, properties, done):
            self._publisher.publish(queue, body, properties, done)

    # --- consuming

    def consume(self, queue: str) -> None:
        """Have the messages of a queue delivered to the owner."""
        self._consumer.consume(queue)

    def consumes(self, queue: str) -> bool:
        """Whether the broker has answered that it delivers the messages of a queue."""
        return self._consumer.consumes(queue)

    @property
    def consumes_any(self) -> bool:
        """Whether it has answered so of any queue on this connection."""
        return self._consumer.consumes_any

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue; `done` when the last has come."""
        self._consumer.cancel(queue, done)

    def ack(self, tags: Sequence[int]) -> None:
        """These messages are done with."""
        self._consumer.ack(tags)

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues."""
        self._consumer.give_back(tags)

    def holds(self, queue: str) -> bool:
        """Whether messages of a queue have come that are neither acknowledged nor given back."""
        return self._consumer.holds(queue)

    def probe(self, queue: str, done: Callable[[str], None]) -> None:
        """Ask whether a queue answers a consumer, beside the main connection.

        `done` is told nothing, or why the broker refuses. Nothing, too, of a queue that is gone: it holds up nobody.
        """

        def on_tried(reason: Exception | None) -> None:
            if not reason or getattr(reason, "reply_code", 0) == NOT_FOUND:
                done("")
            elif isinstance(reason, errors.ChannelClosed):
                done(refusal(reason, self.settings))
            else:
                done(f"the queue {queue} does not answer; {self.admission.mend(queue)}")

        self._side.probe(Probe(Kind.CONSUME, queue, partial(consume_once, queue), on_tried))

    def try_beside(self, request: Request, done: Callable[[Exception | None], None]) -> None:
        """Ask the same beside the main connection: `done` is told nothing, or why there is no answer."""
        self._side.probe(Probe(request.kind, request.queue, request.call, done))

    # --- what the connection tells

    def on_open(self, connection: Any) -> None:
        """There is a connection: open its channels, one after the other."""
        channels = connection.params.channel_max or 2**16 - 1
        if channels < _CHANNELS:
            self.reset(_FEW_CHANNELS.format(channels, _CHANNELS))
            return
        askers = min(queues.AT_ONCE, channels - _CHANNELS + 1)
        self._queues.open(askers)
        on_open = partial(self._on_publisher_open, channels - 1 - askers)
        connection.channel(on_open_callback=self.loop.guard(on_open))

    def _on_publisher_open(self, most: int, channel: Any) -> None:
        channel.add_on_close_callback(self.loop.guard(self.on_channel_closed))
        self._publisher.open(channel, partial(self._consumer.open, most, self._on_channels_open))

    def _on_channels_open(self) -> None:
        self._link.up()
        if not self.is_up:
            return
        self.counts.connections += 1
        if self._link.is_flapping:
            self.later(STABLE_S, self._log_up)
        else:
            self._log_up()
        self.later(1, self._watch)
        self.marks.begin(self.owner.on_up)

    def _log_up(self) -> None:
        log.info("Connected to the broker at %s.", self.address)

    def on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        """The broker has closed a channel that the others cannot do without."""
        self.answers.note_size(reason)
        self.drop(reason)

    def on_lost(self, reason: Exception) -> None:
        """The connection is gone, and what was under way with it."""
        self._consumer.on_lost(reason)
        self._side.close()
        for part in (self._publisher, self._queues, self._consumer, self.ledger, self.marks):
            part.clear()
        self.admission.lost(time.monotonic())
        if not self._link.is_ended:
            self.owner.on_down()

    def on_blocked_changed(self) -> None:
        """One of the connections is blocked, or is not any more."""
        if self.blocked == self._told_blocked:
            return
        if self.blocked:
            self.ledger.hold()
            log.warning("The broker at %s takes nothing now: %s.", self.address, self.blocked)
        elif self.is_up:
            self.ledger.release(time.monotonic())
            log.info("The broker at %s takes messages again.", self.address)
        self._told_blocked = self.blocked

    def _watch(self) -> None:
        """Where there are several nodes, the one that we are connected to may be the trouble.

        One that is cut off from its cluster answers nothing, and does not know it yet.
        """
        now_s = time.monotonic()
        self.ledger.check(now_s)
        self.admission.tick(now_s)
        self._side.tick(now_s)
        self.marks.tick(now_s)
        is_alone = len(self.settings.addresses) > 1 and self.ledger.silent_s(now_s) > SILENT_S
        if is_alone or (not self.blocked and self._publisher.silent_s(now_s) > _HANGS_S):
            self.reset("it confirms nothing")
        self.later(1, self._watch)
