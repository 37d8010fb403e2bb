"""The broker: one connection that comes back by itself, and what goes over it. Only this file imports pika.

Everything runs in one thread on one `Loop`. A `Broker` connects to one of the broker's nodes, and to the next when
that fails, and tells its owner when it is up and when it is down; between those two moments it declares queues,
publishes with confirms, and consumes. Whatever was under way when the connection is lost is forgotten here: the owner
knows how to do it again. Three channels, because a refused declaration closes the one that it was asked on.
"""

from __future__ import annotations

import logging
import random
import re
import secrets
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

import pika
import pika.adapters.select_connection as select_connection
import pika.adapters.utils.connection_workflow as workflow
import pika.data
import pika.exceptions as errors

from pvsim import tls
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError, ConfigError
from pvsim.reading import REJECTED

log = logging.getLogger(__name__)

NAME, TCP, TLS, AMQP, LOGIN, VIRTUAL_HOST, USE = "name", "TCP", "TLS", "AMQP", "login", "virtual host", "use"
CONFIRMED, REFUSED, UNROUTABLE = "confirmed", "refused", "unroutable"
OTHER_ARGUMENTS = "The queue %s exists with other arguments and is used as it is: %s"
REJECTED_KEPT = 100_000
_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED = 403, 404, 406  # AMQP 0-9-1, section 1.2
_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 4.0  # to be refused costs nothing, so that is tried more often
_GOODBYE_S, _SILENT_S, _REFUSING_S = 1.0, 10.0, 5.0
_STABLE_S = 3.0  # a connection that does not live longer is one more failed try
_USER_TIMEOUT_MS = 15_000
_TLS_REASON = re.compile(r"\[SSL: (\w+)")

Done = Callable[[str], None]
_decode_properties = pika.BasicProperties.decode


def _decode_leniently(self: Any, encoded: bytes, offset: int = 0) -> Any:
    """pika lets a header that Python cannot hold (a NaN, a date in the year 300000) end the whole process."""
    try:
        return _decode_properties(self, encoded, offset)
    except Exception:  # whatever it is, the body is what counts
        return self


pika.BasicProperties.decode = _decode_leniently


class Loop:
    """The event loop of a service: timers, file descriptors, and the broker's connection."""

    def __init__(self) -> None:
        self.pika = select_connection.IOLoop()

    def later(self, delay_s: float, call: Callable[[], None]) -> Any:
        """Call once after `delay_s` seconds; the result is for `cancel`."""
        return self.pika.call_later(max(0.0, delay_s), call)

    def cancel(self, timer: Any) -> None:
        """Forget what `later` was to call."""
        self.pika.remove_timeout(timer)

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call whenever the descriptor is readable."""
        self.pika.add_handler(descriptor, lambda _fd, _events: call(), self.pika.READ)

    def run(self) -> None:
        """Work until `stop`."""
        self.pika.start()

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


class Delivery(NamedTuple):
    """A message from a queue, to be acknowledged, given back or set aside by its tag."""

    queue: str
    tag: int
    body: bytes
    properties: Any


class Queue(NamedTuple):
    """What the broker says of a queue. `other_arguments`: why it is not as it was to be declared."""

    messages: int
    consumers: int
    other_arguments: str = ""


def arguments(settings: BrokerSettings) -> dict[str, Any]:
    """The arguments of a meter's queue, the same from either side: others would be refused (406).

    A quorum queue is the one whose confirm survives a power cut. The limit of deliveries is large because 4.0
    drops a message after 20 returns otherwise, and -1 loses them on 3.10.
    """
    return {
        **_type(settings),
        "x-single-active-consumer": True,
        "x-overflow": "reject-publish",
        "x-max-length": settings.max_queue_length,
    }


def rejected_arguments(settings: BrokerSettings) -> dict[str, Any]:
    """The arguments of the queue of what was set aside: it keeps the newest."""
    return {**_type(settings), "x-overflow": "drop-head", "x-max-length": REJECTED_KEPT}


def _type(settings: BrokerSettings) -> dict[str, Any]:
    if settings.queue_type == "classic":
        return {"x-queue-type": "classic"}
    return {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}


def back_off(attempt: int, longest_s: float, chance: float) -> float:
    """Seconds to wait before try `attempt` (from 1): half as long again each time, spread by `chance` 0 … 1."""
    return min(longest_s, 0.5 * 1.5 ** min(attempt - 1, 50)) * (0.5 + chance / 2)


class Trouble(NamedTuple):
    """Why there is no connection: the step that fails, and a sentence.

    `is_cheap`: it was refused at once, so that trying again soon costs nothing.
    """

    step: str
    sentence: str
    is_cheap: bool = False


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
        self._is_flapping = False  # the last connections lived no longer than a moment
        self._loop = loop
        self._owner = owner
        self._up_since = 0.0
        self._is_dropping = False
        self._connection: Any = None
        self._closed: Callable[[], None] | None = None
        self._publisher = _Publisher()
        self._queues = _Queues(self)
        self._consumer: Any = None
        self._prefetch = 1
        self._tags: dict[str, str] = {}
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
        return self.is_up and not self.blocked

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
        self._queues.add(_Look(queue, done))

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Make sure that a durable queue exists, if with other arguments."""
        self._queues.add(_Declare(queue, args, done))

    def delete(self, queue: str, done: Callable[[], None]) -> None:
        """Delete a queue and what it holds."""
        self._queues.add(_Delete(queue, done))

    def publish(self, queue: str, body: bytes, content_type: str, done: Done) -> None:
        """Publish a persistent message; `done` is told CONFIRMED, REFUSED (queue full) or UNROUTABLE (gone)."""
        self._publisher.publish(queue, body, pika.BasicProperties(content_type, delivery_mode=2), done)

    def set_aside(self, delivery: Delivery, reason: str, time_text: str, done: Done) -> None:
        """Publish a message that is no reading to the queue REJECTED, whole, with why and when."""
        given = delivery.properties
        ours = {"x-pvsim-queue": delivery.queue, "x-pvsim-reason": reason, "x-pvsim-time": time_text}
        headers = {**(given.headers or {}), **ours} if _can_carry(given.headers) else ours
        properties = pika.BasicProperties(
            content_type=given.content_type,
            content_encoding=given.content_encoding,
            headers=headers,
            delivery_mode=2,
        )
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

    def probe(self, queue: str, done: Callable[[bool], None]) -> None:
        """Ask whether a queue answers a consumer, on a channel of its own: one that does not holds up its channel."""
        self.open_channel(partial(_probe, queue, done))

    @property
    def silent_queue(self) -> str:
        """The queue that does not answer that it is consumed, and so holds up those behind it; or nothing."""
        is_silent = self._asked and time.monotonic() - self._asked_s > _SILENT_S
        return self._asked[0] if is_silent else ""

    @property
    def publishes_in_vain(self) -> bool:
        """Whether nothing of what was published was answered for long, though the broker takes messages."""
        return self.can_publish and self._publisher.is_silent

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue; `done` when the last one has come. What is given back then keeps its order.

        pika's own basic_cancel may wait for answers, and be overtaken by what is given back: that is delivered again.
        """
        if tag := self._tags.pop(queue, None):
            channel, spec = self._consumer, pika.spec.Basic
            arguments = {"consumer_tag": tag}
            channel.callbacks.add(channel.channel_number, spec.CancelOk, lambda _: done(), arguments=arguments)
            channel._send_method(spec.Cancel(**arguments))
        else:
            done()

    def ack(self, tag: int, multiple: bool = False) -> None:
        """The message is done with; with `multiple`, all before it too."""
        self._consumer.basic_ack(tag, multiple)

    def give_back(self, tag: int) -> None:
        """The message goes back to its place in the queue."""
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
            parameters = _parameters(self.settings, self.address)
        except ConfigError as error:  # a file that could be read when the service was started
            self._on_lost(None, error)
            return
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_lost,
            on_close_callback=self._on_lost,
            custom_ioloop=self._loop.pika,
        )

    def _on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_publisher_open)

    def _on_publisher_open(self, channel: Any) -> None:
        self._guard(channel)
        self._publisher.open(channel, lambda: self._connection.channel(on_open_callback=self._on_consumer_open))

    def _on_consumer_open(self, channel: Any) -> None:
        self._guard(channel)
        self._consumer = channel
        channel.add_on_cancel_callback(self._on_cancelled)
        channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _: self._up())

    def _up(self) -> None:
        self.is_up, self.trouble, self._up_since = True, "", time.monotonic()
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

    def _guard(self, channel: Any) -> None:
        """Whatever closes one of these channels, a new connection puts everything right."""
        channel.add_on_close_callback(self._on_channel_closed)

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        self._drop(reason)

    def reset(self, reason: str) -> None:
        """Begin anew with another connection."""
        self._drop(BrokerError(reason))

    def _drop(self, reason: Exception) -> None:
        """End the connection without a good-bye: a broker that is stuck would never answer it."""
        if self._connection.is_open and not self._is_dropping:
            self._is_dropping = True
            self._connection._terminate_stream(reason)

    def _on_cancelled(self, frame: Any) -> None:
        for queue in [queue for queue, tag in self._tags.items() if tag == frame.method.consumer_tag]:
            del self._tags[queue]
            self._owner.on_cancelled(queue)

    def _on_lost(self, connection: Any, reason: Exception) -> None:
        self.is_up, self._is_dropping, self.blocked = False, False, ""
        self._publisher.clear()
        self._queues.clear()
        self._tags.clear()
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
        self._retry(explain(reason, self.settings, self.address, _received(connection)))

    def _retry(self, trouble: Trouble) -> None:
        wait_s = self._turn.fail(_REFUSED_WAIT_S if trouble.is_cheap else _LONGEST_WAIT_S, random.random())
        where = f" at {self._turn.address}" if len(self.settings.addresses) > 1 else ""
        self.trouble = f"{trouble.sentence} Next try in {wait_s:.0f} s{where}." if wait_s >= 1 else trouble.sentence
        if trouble.sentence != self._logged.get(self.address):
            log.warning("%s Trying again until it works.", trouble.sentence)
            self._logged[self.address] = trouble.sentence
        self._loop.later(wait_s, self._connect)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = str(frame.method.reason)
        log.warning("The broker at %s takes nothing now: %s.", self.address, self.blocked)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = ""
        log.info("The broker at %s takes messages again.", self.address)

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._owner.on_delivery(Delivery(queue, method.delivery_tag, body, properties))


class Trial:
    """One connection to one address, tried step by step; what fails raises a TrialError."""

    def __init__(self, settings: BrokerSettings, address: Address) -> None:
        self.queue = f"pvsim.check.{secrets.token_hex(4)}"
        self._settings = settings
        self._address = address
        self._body = secrets.token_bytes(16)
        self._connection: Any = None
        self._channel: Any = None

    def connect(self) -> str:
        """Log in, and open the virtual host; returns what the broker says it is."""
        parameters = _parameters(self._settings, self._address)
        parameters.blocked_connection_timeout = self._settings.connect_timeout_s
        parameters.heartbeat = self._settings.connect_timeout_s  # a trial ends
        try:
            self._connection = pika.BlockingConnection(parameters)
            self._channel = self._connection.channel()
        except Exception as error:  # pika raises whatever comes up in the socket, too
            raise self._error(error, "") from None
        properties = self._connection._impl.server_properties or {}
        return " ".join(str(properties.get(name, "")) for name in ("product", "version")).strip()

    def declare(self) -> None:
        """Declare a queue of its own, of the kind that meters have, which the broker removes if we cannot."""
        args = {**arguments(self._settings), "x-expires": 60_000}
        self._try("declare", lambda: self._channel.queue_declare(self.queue, durable=True, arguments=args))

    def publish(self) -> None:
        """Publish a message to it, which the broker confirms."""
        properties = pika.BasicProperties(delivery_mode=2)
        self._try("publish", self._channel.confirm_delivery)
        self._try(
            "publish", lambda: self._channel.basic_publish("", self.queue, self._body, properties, mandatory=True)
        )

    def consume(self) -> None:
        """Have it delivered."""
        self._try("consume", self._consume)

    def delete(self) -> None:
        """Remove the queue."""
        self._try("delete", lambda: self._channel.queue_delete(self.queue))

    def close(self) -> None:
        """Close the connection, and remove the queue before if it may be there."""
        with suppress(Exception):  # it may be closed already
            if self._connection.is_open:
                self._connection.channel().queue_delete(self.queue)
        with suppress(Exception):
            self._connection.close()

    def _consume(self) -> None:
        timeout_s = self._settings.connect_timeout_s
        method, _properties, body = next(self._channel.consume(self.queue, inactivity_timeout=timeout_s))
        if method is None:
            raise BrokerError(f"no message came within {timeout_s} s")
        if body != self._body:
            raise BrokerError("another message came than was sent")
        self._channel.basic_ack(method.delivery_tag)

    def _try(self, what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            raise self._error(error, what) from None

    def _error(self, error: Exception, what: str) -> TrialError:
        if isinstance(error, BrokerError):
            return TrialError(Trouble(USE, f"Cannot {what} at the broker at {self._address}: {error}."))
        if isinstance(error, errors.NackError | errors.UnroutableError | errors.ConnectionBlockedTimeout):
            why = "it takes nothing now, or the queue is gone; look at its alarms (rabbitmqctl status)"
            return TrialError(Trouble(USE, f"Cannot {what} at the broker at {self._address}: {why}."))
        received = b"" if self._settings.tls else _first_bytes(self._address, self._settings.connect_timeout_s)
        return TrialError(explain(error, self._settings, self._address, received))


def _first_bytes(address: Address, timeout_s: float) -> bytes:
    """What a server answers to a client of AMQP: pika does not tell, when it is nothing that it knows."""
    with suppress(OSError), socket.create_connection((address.host, address.port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(8)
    return b""


class TrialError(BrokerError):
    """A step of a trial that fails: where, and why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.sentence)
        self.step = trouble.step


class _Publisher:
    """Publishes on a channel in confirm mode, and matches the answers to what they answer."""

    def __init__(self) -> None:
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
        return bool(self._waiting) and time.monotonic() - self._answered_s > _SILENT_S

    def publish(self, queue: str, body: bytes, properties: Any, done: Done) -> None:
        if not self._waiting:
            self._answered_s = time.monotonic()
        self._channel.basic_publish("", queue, body, properties, mandatory=True)
        self._published += 1
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


class _Look(NamedTuple):
    queue: str
    done: Callable[[Queue | None], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(self.queue, passive=True, callback=answered)

    def succeed(self, answer: Any) -> None:
        self.done(Queue(answer.message_count, answer.consumer_count))

    def fail(self, code: int, _text: str) -> bool:
        if code == _NOT_FOUND:
            self.done(None)
        return code == _NOT_FOUND


class _Declare(NamedTuple):
    queue: str
    arguments: dict[str, Any]
    done: Callable[[Queue], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(self.queue, durable=True, arguments=self.arguments, callback=answered)

    def succeed(self, answer: Any) -> None:
        self.done(Queue(answer.message_count, answer.consumer_count))

    def fail(self, code: int, text: str) -> bool:
        if code == _PRECONDITION_FAILED:
            self.done(Queue(0, 0, text))
        return code == _PRECONDITION_FAILED


class _Delete(NamedTuple):
    queue: str
    done: Callable[[], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_delete(self.queue, callback=answered)

    def succeed(self, _answer: Any) -> None:
        self.done()

    def fail(self, _code: int, _text: str) -> bool:
        return False


class _Queues:
    """Asks about queues, one after the other. A refusal closes the channel; a new one goes on with the next."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.clear()

    def clear(self) -> None:
        """What was asked on a connection that is lost is asked no more."""
        self._refused: dict[str, str] = {}  # queues, and why they cannot be used
        self._channel: Any = None
        self._is_busy = False  # with a request, or with opening a channel
        self._requests: deque[_Look | _Declare | _Delete] = deque()

    @property
    def trouble(self) -> str:
        """The queues that cannot be used, and why the first of them; or nothing."""
        if not self._refused:
            return ""
        queue, why = next(iter(self._refused.items()))
        more = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return f"cannot use the queue {queue}{more} at {self._broker.address}: {why}"

    def add(self, request: _Look | _Declare | _Delete) -> None:
        if self._broker.is_up:
            self._requests.append(request)
            self._next()

    def _next(self) -> None:
        if self._requests and not self._is_busy:
            self._is_busy = True
            if self._channel is None:
                self._broker.open_channel(self._on_open)
            else:
                self._requests[0].ask(self._channel, self._on_answer)

    def _on_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_closed)
        self._channel, self._is_busy = channel, False
        self._next()

    def _on_answer(self, frame: Any) -> None:
        self._is_busy = False
        request = self._requests.popleft()
        if self._refused.pop(request.queue, None) and not self._refused:
            log.info("All queues can be used again.")
        request.succeed(frame.method)
        self._next()

    def _on_closed(self, channel: Any, reason: Exception) -> None:
        if channel is not self._channel or not isinstance(reason, errors.ChannelClosed):
            return  # the connection is lost, and everything with it
        self._channel, self._is_busy = None, False
        if not self._requests:
            return
        request = self._requests.popleft()
        if not request.fail(getattr(reason, "reply_code", 0), getattr(reason, "reply_text", str(reason))):
            self._try_later(request, reason)
        self._next()

    def _try_later(self, request: _Look | _Declare | _Delete, reason: Exception) -> None:
        """No permission, a queue that is somebody's own: the others go on, this one is tried again."""
        is_first = not self._refused
        self._refused[request.queue] = _refusal(reason, self._broker.settings)
        if is_first:
            log.warning("C%s Trying again every %.0f s.", self.trouble[1:], _LONGEST_WAIT_S)
        self._broker.later(_LONGEST_WAIT_S, partial(self.add, request))


def _probe(queue: str, done: Callable[[bool], None], channel: Any) -> None:
    def on_closed(_channel: Any, reason: Exception) -> None:
        if isinstance(reason, errors.ChannelClosed):  # or else the connection is lost, and everything with it
            done(isinstance(reason, errors.ChannelClosedByClient))

    channel.add_on_close_callback(on_closed)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, callback=lambda _: channel.close())


def _parameters(settings: BrokerSettings, address: Address) -> Any:
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


def _can_carry(headers: dict[str, Any] | None) -> bool:
    """Whether pika can send these headers, which it received, and whether ours still fit into the frame."""
    pieces: list[bytes] = []
    try:
        return not headers or pika.data.encode_table(pieces, headers) < 60_000
    except Exception:  # pika raises whatever comes up in encoding
        return False


def explain(reason: Exception, settings: BrokerSettings, address: Address, received: bytes = b"") -> Trouble:
    """What went wrong with a connection, in a sentence. `received`: bytes of the broker that are no AMQP (yet)."""
    where = f"the broker at {address}"
    cause = _cause(reason)
    if isinstance(cause, ConfigError):
        return Trouble(TLS, str(cause))
    if isinstance(cause, BrokerError):
        return Trouble(USE, f"Begins anew with {where}: {cause}.", True)
    if isinstance(cause, ssl.SSLError):
        return Trouble(TLS, tls.explain(cause, where, address, settings))
    if isinstance(cause, socket.gaierror):
        return Trouble(NAME, f"Cannot find {address.host}: {cause.strerror}; look at host in {settings.source}.")
    if isinstance(cause, OSError):
        return Trouble(TCP, _unreachable(cause, where, settings), isinstance(cause, ConnectionRefusedError))
    return _explain_amqp(cause, settings, address, received)


def _explain_amqp(cause: BaseException, settings: BrokerSettings, address: Address, received: bytes) -> Trouble:
    where = f"the broker at {address}"
    if isinstance(cause, errors.ProbableAuthenticationError | errors.AuthenticationError):
        return Trouble(LOGIN, _refused_login(where, settings))
    if isinstance(cause, errors.ProbableAccessDeniedError):
        return Trouble(VIRTUAL_HOST, _refused_virtual_host(str(cause), where, settings))
    if isinstance(cause, errors.IncompatibleProtocolError | errors.ProtocolSyntaxError):
        if match := _TLS_REASON.search(str(cause)):  # one that came after the handshake: pika keeps its text alone
            return Trouble(TLS, tls.explain_reason(match[1], where, settings))
        return Trouble(AMQP, _no_amqp(address, received, settings))
    if isinstance(cause, errors.ConnectionClosed | errors.ChannelClosed):
        if cause.reply_code == _ACCESS_REFUSED:
            return Trouble(USE, f"No permission at {where}: {_refusal(cause, settings)}", True)
        return Trouble(USE, f"Lost {where}: {cause.reply_code} {cause.reply_text}.", True)
    if isinstance(cause, workflow.AMQPConnectorStackTimeout | errors.ConnectionOpenAborted):
        seconds = settings.connect_timeout_s
        return Trouble(
            AMQP, f"No answer from {where} within {seconds} s; look at host, port and tls in {settings.source}."
        )
    if isinstance(cause, errors.AMQPHeartbeatTimeout):
        return Trouble(AMQP, f"Lost {where}: it did not answer in time; look whether it runs.", True)
    if isinstance(cause, errors.StreamLostError):
        return Trouble(AMQP, f"Lost {where}: the connection broke.", True)
    return Trouble(AMQP, f"Cannot use {where}: {cause or type(cause).__name__}.")


def _unreachable(error: OSError, where: str, settings: BrokerSettings) -> str:
    text = error.strerror or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        text = f"no answer within {settings.connect_timeout_s} s"
    return f"Cannot reach {where}: {text}; look whether it runs, and at host and port in {settings.source}."


def _refused_login(where: str, settings: BrokerSettings) -> str:
    if settings.external:
        return (
            f"Refused login by certificate by {where}; look at cert_file in {settings.source}, and whether the broker"
            " has the user and the plugin rabbitmq_auth_mechanism_ssl."
        )
    return f"Refused login as {settings.username!r} by {where}; look at username and password in {settings.source}."


def _refused_virtual_host(text: str, where: str, settings: BrokerSettings) -> str:
    virtual_host = settings.virtual_host
    if "not found" in text:
        return f"No virtual host {virtual_host!r} at {where}; look at virtual_host in {settings.source}."
    return (
        f"Refused virtual host {virtual_host!r} by {where}; look at virtual_host in {settings.source}, and at"
        f" rabbitmqctl list_permissions -p {virtual_host}."
    )


def _no_amqp(address: Address, received: bytes, settings: BrokerSettings) -> str:
    if received[:1] == b"\x15":  # a TLS alert (RFC 8446, section 5.1)
        return f"TLS is spoken at {address}, and not plain AMQP; give tls = yes in {settings.source}, or another port."
    if settings.tls:  # it may refuse our certificate without the time to say so
        return (
            f"The broker at {address} hangs up as soon as TLS is set up; look at port, cert_file and key_file in"
            f" {settings.source}, and into the broker's log."
        )
    return f"No AMQP broker answers at {address}; look at host, port and tls in {settings.source}."


def _refusal(reason: Exception, settings: BrokerSettings) -> str:
    """The broker's words on what it does not allow, and what to look at."""
    text = getattr(reason, "reply_text", str(reason)).removeprefix("ACCESS_REFUSED - ")
    if getattr(reason, "reply_code", 0) == _ACCESS_REFUSED:
        return f"{text}; look at rabbitmqctl list_permissions -p {settings.virtual_host}."
    return f"{text}."


def _received(connection: Any) -> bytes:
    """What has come and was no frame (yet)."""
    return getattr(connection, "_frame_buffer", None) or b""


def _cause(reason: BaseException) -> BaseException:
    """The innermost of the errors that pika wraps into each other; of several addresses, the most telling one."""
    several = [_cause(each) for each in getattr(reason, "exceptions", None) or []]
    inner = several or [
        _cause(each) for each in (getattr(reason, "exception", None), *reason.args) if isinstance(each, BaseException)
    ]
    telling = [each for each in inner if not isinstance(each, ConnectionRefusedError)]
    return (telling or inner or [reason])[-1]
