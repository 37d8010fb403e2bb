"""One connection that comes back by itself, and what goes over it.

Everything runs in one thread on one `Loop`. A `Broker` connects to one of the broker's nodes, and to the next when
that fails, and tells its owner when it is up and when it is down; between those two moments it declares queues,
publishes with confirms, and consumes. Whatever was under way when the connection is lost is forgotten here: the owner
knows how to do it again. Publishing and consuming have a channel each, and what is asked about queues has others: a
refused declaration closes the one that it was asked on.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import pika

from pvsim.broker import pika_private, tls
from pvsim.broker.admission import EMPTY_REFUSALS, MAIN_FAILURES, Admission, Event, State
from pvsim.broker.counts import Counts
from pvsim.broker.ledger import SILENT_S, Entry, Kind, Ledger
from pvsim.broker.marks import Marks
from pvsim.broker.outcome import CONFIRMED, REFUSED, REPLACED, SILENT, TOO_LARGE, UNMARKED, UNROUTABLE, Done
from pvsim.broker.proof import properties_text
from pvsim.broker.publishing import Publisher
from pvsim.broker.queues import Ask, Declare, Look, Queue, Queues
from pvsim.broker.settling import Unsettled
from pvsim.broker.side import Side
from pvsim.broker.transport import Loop, connection_parameters
from pvsim.broker.trouble import ACCESS_REFUSED, INTERNAL_ERROR, Trouble, blocked_reason, explain
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError, ConfigError

log = logging.getLogger("pvsim.broker")

UNENCRYPTED = (
    "Password and readings go to the broker at %s unencrypted, and whoever is in between can read them:"
    " give tls = yes in %s if that is not a network of your own."
)

_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 4.0  # to be refused costs nothing, so that is tried more often
_GOODBYE_S = 1.0
_HANGS_S = 70.0  # a channel that waits for a queue gives up after a minute
_RESET_AGAIN_S = 60.0
_STABLE_S = 3.0  # a connection that does not live longer is one more failed try
_CHANNELS = 3  # at least: for publishing, for consuming, and for what is asked
_ASKED_AT_ONCE = 64  # queues to be consumed
_TOO_LARGE = re.compile(r"message size \d+ is larger than configured max size (\d+)")
_FEW_CHANNELS = "it allows {} channels a connection, and {} are needed; raise channel_max in rabbitmq.conf"
_EVENTS = {
    CONFIRMED: Event.CONFIRMED,
    REPLACED: Event.CONFIRMED,
    UNMARKED: Event.UNMARKED,
    UNROUTABLE: Event.RETURNED,
    SILENT: Event.SILENT,
}


class Owner(Protocol):
    """What a broker tells the service that owns it."""

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


class Delivery(NamedTuple):
    """A message from a queue, to be acknowledged, given back or set aside by its tag."""

    queue: str
    tag: int
    body: bytes
    properties: Any


def is_local(ours: str, theirs: str) -> bool:
    """Whether a connection between these addresses stays on this machine."""
    return ours == theirs or theirs == "::1" or theirs.startswith(("127.", "::ffff:127."))


def back_off(attempt: int, longest_s: float, chance: float) -> float:
    """Seconds to wait before try `attempt` (from 1): half as long again each time, spread by `chance` 0 … 1."""
    return min(longest_s, 0.5 * 1.5 ** min(attempt - 1, 50)) * (0.5 + chance / 2)


class Turn:
    """Whose turn it is to be tried: all addresses one after the other, beginning with any of them.

    `chance`, from 0 up to 1, says with which: so many services spread over the nodes of a cluster.
    """

    def __init__(self, addresses: Sequence[Address], chance: float) -> None:
        first = int(chance * len(addresses))
        self._addresses = [*addresses[first:], *addresses[:first]]
        self._failures = 0

    @property
    def address(self) -> Address:
        """The one to try now."""
        return self._addresses[0]

    def fail(self, longest_s: float, chance: float) -> float:
        """On to the next: seconds to wait before, more from round to round, and little within a round."""
        self._addresses.append(self._addresses.pop(0))
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._addresses))
        return back_off(1 if rest else rounds, longest_s, chance)

    def succeed(self) -> None:
        """All is well: what fails from now on has not failed before."""
        self._failures = 0


class Broker:
    """One connection to the broker for one service."""

    def __init__(self, settings: BrokerSettings, loop: Loop, owner: Owner) -> None:
        self.settings = settings
        if settings.tls:
            tls.context(settings)  # what is wrong with its files is to be said now
        self._turn = Turn(settings.addresses, random.random())
        self.address = self._turn.address
        self.is_up = False
        self._blocked = self._told_blocked = ""
        self.trouble = f"connecting to the broker at {self.address}"
        self._logged: dict[Address, str] = {}
        self._is_warned = False  # that the connection is not encrypted
        self._is_flapping = False  # the last connections lived no longer than a moment
        self.loop = loop
        self._owner = owner
        self._up_since = 0.0
        self._is_dropping = False
        self._connection: Any = None
        self._closed: Callable[[], None] | None = None
        self.counts = Counts()
        self.ledger = Ledger()
        self.admission = Admission(settings.virtual_host)
        self.marks = Marks(self)
        self.heeds_marks = False  # as meters do
        self._side = Side(self)
        self._publisher = Publisher(self)
        self._queues = Queues(self)
        self._largest_bytes = 0  # what the broker takes in a message, once it has told
        self._reset_s = 0.0
        self._consumer: Any = None
        self._prefetch = 1
        self._tags: dict[str, str] = {}
        self._unsettled = Unsettled()
        self._asked: dict[str, Entry] = {}  # the queues whose consuming the broker has not answered yet
        self._to_ask: deque[str] = deque()

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
        return self._blocked or self._side.blocked

    @property
    def can_publish(self) -> bool:
        """Whether a message would go out now."""
        return self.is_up and not self.blocked and not self._closed

    def start(self, prefetch: int = 1) -> None:
        """Begin to connect, and to come back whenever the connection is lost."""
        self._prefetch = prefetch
        self._connect()

    def close(self, done: Callable[[], None]) -> None:
        """Close the connection for good, then call `done`."""
        self._closed = done
        if self._connection and self._connection.is_open:
            self.loop.later(_GOODBYE_S, done)
            self._connection.close()
        else:  # pika chokes on closing what is not open yet
            done()

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Ask whether a queue exists."""
        self._queues.add(Look(queue, done))

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Make sure that a durable queue exists, if with other arguments."""
        self._queues.add(Declare(queue, args, done))

    def declare_marked(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """The same by somebody who is not its meter, for a queue that is not there: it is marked (see marks.py)."""
        self.marks.declare(queue, args, done)

    def ask(self, request: Ask) -> None:
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

    def mend(self, queue: str) -> str:
        """What a person can do about a queue that does not answer."""
        return self.admission.mend(queue)

    def publish(self, queue: str, body: bytes, content_type: str, done: Done) -> None:
        """Publish a persistent message; `done` is told how it ends (see outcome.py)."""
        self._publish(queue, body, pika.BasicProperties(content_type, delivery_mode=2), done)

    def _publish(self, queue: str, body: bytes, properties: Any, done: Done) -> None:
        if 0 < self._largest_bytes < len(body):
            self.later(0, partial(done, TOO_LARGE))
        elif not self._side.publish(queue, body, properties, done):
            self._publisher.publish(queue, body, properties, done)

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

    def consume(self, queue: str) -> None:
        """Have the messages of a queue delivered to the owner."""
        self._to_ask.append(queue)
        self._ask_to_consume()

    def _ask_to_consume(self) -> None:
        while self._to_ask and len(self._asked) < _ASKED_AT_ONCE:
            queue = self._to_ask.popleft()
            self._tags[queue] = self._consumer.basic_consume(
                queue, partial(self._on_message, queue), callback=partial(self._on_consuming, queue)
            )
            self._asked[queue] = self.ledger.open(Kind.CONSUME, queue, time.monotonic(), self._on_consume_late)

    def _on_consuming(self, queue: str, _frame: Any) -> None:
        if entry := self._asked.pop(queue, None):
            self.ledger.close(entry, time.monotonic())
        self._ask_to_consume()

    def _on_consume_late(self) -> None:
        if self._asked:
            queue = next(iter(self._asked))
            self._owner.on_silent([*self._asked, *self._to_ask])
            self.reset(f"the queue {queue} does not answer")

    def consumes(self, queue: str) -> bool:
        """Whether the broker has answered that it delivers the messages of a queue."""
        return queue in self._tags and queue not in self._asked

    def holds(self, queue: str) -> bool:
        """Whether messages of a queue have come that are neither acknowledged nor given back."""
        return self._unsettled.holds(queue)

    def probe(self, queue: str, done: Callable[[str], None]) -> None:
        """Ask whether a queue answers a consumer, beside the main connection.

        `done` is told nothing, or why the broker refuses.
        """
        self._side.probe(queue, done)

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue; `done` when the last has come. What is given back then keeps its order."""
        if tag := self._tags.pop(queue, None):
            pika_private.cancel(self._consumer, tag, done)
        else:
            done()

    def ack(self, tags: Iterable[int]) -> None:
        """These messages are done with."""
        through, singles = self._unsettled.settle(tags)
        if through:
            self._consumer.basic_ack(through, multiple=True)
        for tag in singles:
            self._consumer.basic_ack(tag)

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues."""
        self._unsettled.settle(tags)
        for tag in tags:
            self._consumer.basic_nack(tag, requeue=True)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call after a while, if this connection still stands then."""
        self.loop.later(delay_s, partial(self._call, self._connection, call))

    def _call(self, connection: Any, call: Callable[[], None]) -> None:
        if self.is_up and connection is self._connection:
            call()

    def open_channel(self, on_open: Callable[[Any], None]) -> None:
        """Open one more channel, if there still is a connection."""
        if self._connection.is_open:
            self._connection.channel(on_open_callback=on_open)

    # --- the connection

    def _connect(self) -> None:
        self.address = self._turn.address
        try:
            parameters = connection_parameters(self.settings, self.address)
        except ConfigError as error:  # a file that could be read when the service was started
            self._on_lost(None, error)
            return
        self._connection = pika_private.Connection(
            self.loop,
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_lost,
            on_close_callback=self._on_lost,
        )

    def _warn_of_eavesdroppers(self, connection: Any) -> None:
        """The password has gone out with the first words; that is said once, and not where nobody can listen."""
        if not self.settings.tls and not self._is_warned and not is_local(*pika_private.ends(connection)):
            self._is_warned = True
            log.warning(UNENCRYPTED, self.address, self.settings.source)

    def _on_open(self, connection: Any) -> None:
        self._warn_of_eavesdroppers(connection)
        channels = connection.params.channel_max or 2**16 - 1
        if channels < _CHANNELS:
            self._drop(BrokerError(_FEW_CHANNELS.format(channels, _CHANNELS)))
            return
        self._queues.open(channels - _CHANNELS + 1)
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_publisher_open)

    def _on_publisher_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self._publisher.open(channel, lambda: self._connection.channel(on_open_callback=self._on_consumer_open))

    def _on_consumer_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_consumer_closed)
        self._consumer = channel
        channel.add_on_cancel_callback(self._on_cancelled)
        channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _: self._up())

    def _up(self) -> None:
        self.is_up, self.trouble, self._up_since = True, "", time.monotonic()
        self.counts.connections += 1
        if self._is_flapping:
            self.later(_STABLE_S, self._log_up)
        else:
            self._log_up()
        self.later(1, self._watch)
        if self.heeds_marks:
            self.marks.look(self._owner.on_up)
        else:
            self._owner.on_up()

    def _log_up(self) -> None:
        log.info("Connected to the broker at %s.", self.address)

    # --- what has no answer, and what refuses

    def _watch(self) -> None:
        """Where there are several nodes, the one that we are connected to may be the trouble.

        One that is cut off from its cluster answers nothing, and does not know it yet.
        """
        now_s = time.monotonic()
        self.ledger.check(now_s)
        self.admission.tick(now_s)
        self._side.tick(now_s)
        if self.heeds_marks:
            self.admission.forget_quiet(now_s)
            self.marks.tick(now_s)
        is_alone = len(self.settings.addresses) > 1 and self.ledger.silent_s(now_s) > SILENT_S
        if is_alone or (not self.blocked and self._publisher.silent_s(now_s) > _HANGS_S):
            self.reset("it confirms nothing")
        self.later(1, self._watch)

    def on_answer(self, queue: str, outcome: str, done: Done | None, *, is_main: bool) -> None:
        """A message has its answer, or has had none for too long."""
        if outcome == REFUSED:
            self._on_refused(queue, done, is_main)
            return
        if outcome == CONFIRMED and is_main:
            self.admission.confirmed_s[queue] = time.monotonic()
        if outcome == REPLACED:
            self.marks.heed(queue)
        if outcome != CONFIRMED or not self.admission.works(queue):
            if outcome == SILENT and is_main:
                self._on_main_failure(queue)
            self.admission.note(queue, _EVENTS[outcome], time.monotonic())
        if done:
            done(outcome)

    def _on_refused(self, queue: str, done: Done | None, is_main: bool) -> None:
        self.counts.refused += 1
        count = self.admission.note_refusal(queue)
        if count in (1, EMPTY_REFUSALS) or count % 16 == 0:
            self.look(queue, partial(self._on_refusal_looked, queue, done, is_main, count))
        elif done:
            done(SILENT if self.admission.state(queue) is State.STUCK else REFUSED)

    def _on_refusal_looked(self, queue: str, done: Done | None, is_main: bool, count: int, found: Queue | None) -> None:
        is_empty = found is not None and not found.messages and not found.consumers
        is_stuck = is_empty and (count >= EMPTY_REFUSALS or self.admission.state(queue) is State.STUCK)
        self.admission.note(queue, Event.EMPTY if is_stuck else Event.REFUSED, time.monotonic())
        if is_main and found and not found.messages:
            self._on_main_failure(queue)
        if done:
            done(SILENT if is_stuck else REFUSED)

    def _on_main_failure(self, queue: str) -> None:
        """A queue fails that has answered beside the main connection, again and again.

        A channel that was opened right after another node had failed may refuse messages to a queue for ever, because
        it has remembered the leader that is gone (3.10).
        """
        now_s = time.monotonic()
        if self.admission.note_main_failure(queue) < MAIN_FAILURES or now_s - self._reset_s < _RESET_AGAIN_S:
            return
        if len(self.settings.addresses) > 1:
            self._reset_s = now_s
            self.reset(f"it refuses messages to {queue}, which has room")

    def on_publish_refused(self, queue: str, reason: Exception, done: Done | None) -> None:
        """The broker has closed the channel of a message."""
        if self._note_size(reason):
            self.admission.note(queue, Event.LOST, time.monotonic())
            if done:
                done(TOO_LARGE)
        else:
            self._drop(reason)

    def _note_size(self, reason: Exception) -> bool:
        match = _TOO_LARGE.search(getattr(reason, "reply_text", ""))
        if match:
            self._largest_bytes = int(match[1])
        return bool(match)

    def _on_consumer_closed(self, channel: Any, reason: Exception) -> None:
        if self._asked and getattr(reason, "reply_code", 0) == ACCESS_REFUSED:
            self._owner.on_forbidden(next(iter(self._asked)))
        self._on_channel_closed(channel, reason)

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        """Whatever closes one of these channels, a new connection puts everything right."""
        self._note_size(reason)
        self._drop(reason)

    def reset(self, reason: str) -> None:
        """Begin anew with another connection."""
        self._drop(BrokerError(reason))

    def _drop(self, reason: Exception) -> None:
        """End the connection without a good-bye: a broker that is stuck would never answer it.

        pika tells each channel the reason; what closed one of them is not to look as if it had closed them all.
        """
        if self._connection.is_open and not self._is_dropping:
            self._is_dropping = True
            pika_private.terminate(self._connection, reason)

    def _on_cancelled(self, frame: Any) -> None:
        for queue in [queue for queue, tag in self._tags.items() if tag == frame.method.consumer_tag]:
            del self._tags[queue]
            self._owner.on_cancelled(queue)

    def _on_lost(self, connection: Any, reason: Exception) -> None:
        self.is_up, self._is_dropping, self._blocked = False, False, ""
        if self._asked and getattr(reason, "reply_code", 0) == INTERNAL_ERROR:
            self._owner.on_silent([*self._asked, *self._to_ask])
        self._side.close()
        self._publisher.clear()
        self._queues.clear()
        self._tags.clear()
        self._unsettled.clear()
        self._asked.clear()
        self._to_ask.clear()
        self.ledger.clear()
        self.admission.lost(time.monotonic())
        self.marks.clear()
        if self._closed:
            self._closed()
            return
        lived_s = time.monotonic() - self._up_since if self._up_since else 0
        self._is_flapping = 0 < lived_s <= _STABLE_S
        if lived_s > _STABLE_S:
            self._turn.succeed()
            self._logged.clear()
        self._up_since = 0.0
        self._owner.on_down()
        self._retry(explain(reason, self.settings, self.address, pika_private.received(connection)))

    def _retry(self, trouble: Trouble) -> None:
        wait_s = self._turn.fail(_REFUSED_WAIT_S if trouble.is_cheap else _LONGEST_WAIT_S, random.random())
        where = f" at {self._turn.address}" if len(self.settings.addresses) > 1 else ""
        self.trouble = f"{trouble.sentence} Next try in {wait_s:.0f} s{where}." if wait_s >= 1 else trouble.sentence
        if trouble.sentence != self._logged.get(self.address):
            log.warning("%s Trying again until it works.", trouble.sentence)
            self._logged[self.address] = trouble.sentence
        self.loop.later(wait_s, self._connect)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._blocked = blocked_reason(frame)
        self.on_blocked_changed()

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._blocked = ""
        self.on_blocked_changed()

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

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.counts.received_bytes += len(body)
        self._unsettled.add(method.delivery_tag, queue)
        self._owner.on_delivery(Delivery(queue, method.delivery_tag, body, properties))
