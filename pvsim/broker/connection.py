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
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import pika
import pika.adapters.select_connection as select_connection

from pvsim.broker import pika_private, tls
from pvsim.broker.counts import Counts
from pvsim.broker.proof import properties_text
from pvsim.broker.publishing import SILENT_S, Done, Publisher
from pvsim.broker.queues import Declare, Delete, Look, Queue, Queues, probe
from pvsim.broker.settling import Unsettled
from pvsim.broker.trouble import ACCESS_REFUSED, Trouble, explain
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError, ConfigError
from pvsim.foreign import foreign
from pvsim.reading import REJECTED

log = logging.getLogger("pvsim.broker")

UNENCRYPTED = (
    "Password and readings go to the broker at %s unencrypted, and whoever is in between can read them:"
    " give tls = yes in %s if that is not a network of your own."
)

_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 4.0  # to be refused costs nothing, so that is tried more often
_GOODBYE_S, _REFUSING_S = 1.0, 5.0
_STABLE_S = 3.0  # a connection that does not live longer is one more failed try
_USER_TIMEOUT_MS = 15_000


class Loop:
    """The event loop of a service: timers, file descriptors, and the broker's connection."""

    def __init__(self) -> None:
        self.pika = select_connection.IOLoop()
        self._error: Exception | None = None

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call once after `delay_s` seconds."""
        self.pika.call_later(max(0.0, delay_s), call)

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call whenever the descriptor is readable."""
        self.pika.add_handler(descriptor, lambda _fd, _events: call(), self.pika.READ)

    def run(self) -> None:
        """Work until `stop`, or until what is called raises an error."""
        self.pika.start()
        if self._error:
            raise self._error

    def fail(self, error: Exception) -> None:
        """Make `run` raise this error."""
        self._error = error
        self.stop()

    def stop(self) -> None:
        """Make `run` return."""
        self.pika.stop()


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
        self.blocked = ""
        self.trouble = f"connecting to the broker at {self.address}"
        self._logged: dict[Address, str] = {}
        self._is_warned = False  # that the connection is not encrypted
        self._is_flapping = False  # the last connections lived no longer than a moment
        self._loop = loop
        self._owner = owner
        self._up_since = 0.0
        self._is_dropping = False
        self._connection: Any = None
        self._closed: Callable[[], None] | None = None
        self.counts = Counts()
        self._publisher = Publisher(self.counts)
        self._queues = Queues(self)
        self._consumer: Any = None
        self._prefetch = 1
        self._tags: dict[str, str] = {}
        self._unsettled = Unsettled()
        self._asked: deque[str] = deque()  # the queues whose consuming the broker has not answered yet
        self._asked_s = 0.0

    @property
    def state(self) -> str:
        """What is going on, for people."""
        if not self.is_up:
            return self.trouble
        if self.blocked:
            return f"the broker at {self.address} takes nothing now: {self.blocked}"
        return self._queues.trouble or f"connected to {self.address}"

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
            self._loop.later(_GOODBYE_S, done)
            self._connection.close()
        else:  # pika chokes on closing what is not open yet
            done()

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Ask whether a queue exists."""
        self._queues.add(Look(queue, done))

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Make sure that a durable queue exists, if with other arguments."""
        self._queues.add(Declare(queue, args, done))

    def delete(self, queue: str, done: Callable[[], None]) -> None:
        """Delete a queue and what it holds."""
        self._queues.add(Delete(queue, done))

    def publish(self, queue: str, body: bytes, content_type: str, done: Done) -> None:
        """Publish a persistent message; `done` is told CONFIRMED, REFUSED (queue full) or UNROUTABLE (gone)."""
        self._publisher.publish(queue, body, pika.BasicProperties(content_type, delivery_mode=2), done)

    def set_aside(self, delivery: Delivery, reason: str, time_text: str, done: Done) -> None:
        """Publish a message that is no reading to the queue REJECTED: its body, and the rest as data in our headers."""
        headers = {
            "x-pvsim-queue": delivery.queue,
            "x-pvsim-reason": reason,
            "x-pvsim-time": time_text,
            "x-pvsim-properties": properties_text(delivery.properties),
        }
        properties = pika.BasicProperties(headers=headers, delivery_mode=2)
        self._publisher.publish(REJECTED, delivery.body, properties, done)

    def consume(self, queue: str) -> None:
        """Have the messages of a queue delivered to the owner."""
        self._tags[queue] = self._consumer.basic_consume(
            queue, partial(self._on_message, queue), callback=self._on_consuming
        )
        if not self._asked:
            self._asked_s = time.monotonic()
        self._asked.append(queue)

    def _on_consuming(self, _frame: Any) -> None:
        self._asked.popleft()
        self._asked_s = time.monotonic()

    def consumes(self, queue: str) -> bool:
        """Whether the broker has answered that it delivers the messages of a queue."""
        return queue in self._tags and queue not in self._asked

    def probe(self, queue: str, done: Callable[[str], None]) -> None:
        """Ask whether a queue answers a consumer, on a channel of its own: one that does not holds up its channel.

        `done` is told nothing, or why the broker refuses.
        """
        self.open_channel(partial(probe, queue, self.settings, done))

    @property
    def silent_queue(self) -> str:
        """The queue that does not answer that it is consumed, and so holds up those behind it; or nothing."""
        is_silent = self._asked and time.monotonic() - self._asked_s > SILENT_S
        return self._asked[0] if is_silent else ""

    @property
    def publishes_in_vain(self) -> bool:
        """Whether nothing of what was published was answered for long, though the broker takes messages."""
        return self.can_publish and self._publisher.is_silent

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
        self._loop.later(delay_s, partial(self._call, self._connection, call))

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
            self._loop,
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
        if len(self.settings.addresses) > 1:
            self.later(1, self._watch_node)
        self._owner.on_up()

    def _log_up(self) -> None:
        log.info("Connected to the broker at %s.", self.address)

    # Where there are several nodes, the one that we are connected to may be the trouble. One that is cut off from its
    # cluster confirms nothing, and does not know it yet. And a channel that was opened right after another node had
    # failed may refuse messages to a queue for ever, because it has remembered the leader that is gone (3.10).

    def _watch_node(self) -> None:
        if self.publishes_in_vain:
            self.reset("it confirms nothing")
        elif queue := self._publisher.refusing(_REFUSING_S):
            self.look(queue, partial(self._on_refusing, queue))
        self.later(1, self._watch_node)

    def _on_refusing(self, queue: str, found: Queue | None) -> None:
        self._publisher.refused_s[queue] = time.monotonic()
        if found and found.messages < self.settings.max_queue_length:
            self._publisher.suspects.add(queue)
            self.reset(f"it refuses messages to {queue}, which has room")

    def _on_consumer_closed(self, channel: Any, reason: Exception) -> None:
        if self._asked and getattr(reason, "reply_code", 0) == ACCESS_REFUSED:
            self._owner.on_forbidden(self._asked[0])
        self._on_channel_closed(channel, reason)

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        """Whatever closes one of these channels, a new connection puts everything right."""
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
        self.is_up, self._is_dropping, self.blocked = False, False, ""
        self._publisher.clear()
        self._queues.clear()
        self._tags.clear()
        self._unsettled.clear()
        self._asked.clear()
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
        self._loop.later(wait_s, self._connect)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = foreign(frame.method.reason) or "it does not say why"
        log.warning("The broker at %s takes nothing now: %s.", self.address, self.blocked)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = ""
        log.info("The broker at %s takes messages again.", self.address)

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.counts.received_bytes += len(body)
        self._unsettled.add(method.delivery_tag)
        self._owner.on_delivery(Delivery(queue, method.delivery_tag, body, properties))


def connection_parameters(settings: BrokerSettings, address: Address) -> Any:
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=settings.virtual_host,
        credentials=_credentials(settings),
        ssl_options=pika.SSLOptions(tls.context(settings), tls.server_name(address)) if settings.tls else None,
        heartbeat=settings.heartbeat_s,
        connection_attempts=1,
        socket_timeout=settings.connect_timeout_s,
        stack_timeout=settings.connect_timeout_s,
        client_properties={"product": "pvsim"},
        # A host that vanishes answers nothing: unacknowledged bytes tell sooner than a missed heartbeat.
        tcp_options={"TCP_KEEPIDLE": 10, "TCP_USER_TIMEOUT": _USER_TIMEOUT_MS},
    )


def _credentials(settings: BrokerSettings) -> Any:
    if settings.external:
        return pika.credentials.ExternalCredentials()
    return pika.PlainCredentials(settings.username, settings.password, erase_on_connect=True)
