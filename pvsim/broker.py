"""The broker: one connection that comes back by itself, and what goes over it. Only this file imports pika.

Everything runs in one thread on one `Loop`. A `Broker` connects, and tells its owner when it is up and when
it is down; between those two moments it declares queues, publishes with confirms, and consumes. Whatever was
under way when the connection is lost is forgotten here: the owner knows how to do it again. Three channels,
because a refused declaration closes the one that it was asked on.
"""

from __future__ import annotations

import logging
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

import pika
import pika.adapters.select_connection as select_connection
import pika.data
import pika.exceptions as errors

from pvsim.config import BrokerSettings
from pvsim.errors import BrokerError
from pvsim.reading import REJECTED

log = logging.getLogger(__name__)

CONFIRMED, REFUSED, UNROUTABLE = "confirmed", "refused", "unroutable"
OTHER_ARGUMENTS = "The queue %s exists with other arguments and is used as it is: %s"
REJECTED_KEPT = 100_000
_NOT_FOUND, _PRECONDITION_FAILED = 404, 406  # AMQP 0-9-1, section 1.2
_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 4.0  # to be refused costs nothing, so that is tried more often
_GOODBYE_S, _SILENT_S = 1.0, 10.0
_STABLE_S = 3.0  # a connection that does not live longer is one more failed try
_USER_TIMEOUT_MS = 15_000

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
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-overflow": "reject-publish",
        "x-max-length": settings.max_queue_length,
        "x-delivery-limit": 2**31 - 1,
    }


def rejected_arguments() -> dict[str, Any]:
    """The arguments of the queue of what was set aside: it keeps the newest."""
    return {"x-queue-type": "quorum", "x-overflow": "drop-head", "x-max-length": REJECTED_KEPT}


def back_off(attempt: int, longest_s: float, chance: float) -> float:
    """Seconds to wait before try `attempt` (from 1): half as long again each time, spread by `chance` 0 … 1."""
    return min(longest_s, 0.5 * 1.5 ** min(attempt - 1, 50)) * (0.5 + chance / 2)


class Broker:
    """One connection to the broker for one service."""

    def __init__(self, settings: BrokerSettings, loop: Loop, owner: Owner) -> None:
        self.settings = settings
        self.address = f"{settings.host}:{settings.port}"
        self.is_up = False
        self.blocked = ""
        self.trouble = f"connecting to the broker at {self.address}"
        self._logged = ""
        self._loop = loop
        self._owner = owner
        self._attempt = 0
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
        self._connection = pika.SelectConnection(
            _parameters(self.settings),
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
        log.info("Connected to the broker at %s.", self.address)
        self._owner.on_up()

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

    def _on_lost(self, _connection: Any, reason: Exception) -> None:
        self.is_up, self._is_dropping, self.blocked = False, False, ""
        self._publisher.clear()
        self._queues.clear()
        self._tags.clear()
        self._asked.clear()
        if self._closed:
            self._closed()
            return
        if self._up_since and time.monotonic() - self._up_since > _STABLE_S:
            self._attempt, self._logged = 0, ""
        self._up_since = 0.0
        self._owner.on_down()
        self._retry(reason)

    def _retry(self, reason: Exception) -> None:
        self._attempt += 1
        why, is_refused = explain(reason, self.settings)
        wait_s = back_off(self._attempt, _REFUSED_WAIT_S if is_refused else _LONGEST_WAIT_S, random.random())
        self.trouble = f"{why} Next try in {wait_s:.0f} s." if wait_s >= 1 else why
        if why != self._logged:
            log.warning("%s Trying again until it works.", why)
            self._logged = why
        self._loop.later(wait_s, self._connect)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = str(frame.method.reason)
        log.warning("The broker at %s takes nothing now: %s.", self.address, self.blocked)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = ""
        log.info("The broker at %s takes messages again.", self.address)

    def _on_message(self, queue: str, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._owner.on_delivery(Delivery(queue, method.delivery_tag, body, properties))


class _Publisher:
    """Publishes on a channel in confirm mode, and matches the answers to what they answer."""

    def __init__(self) -> None:
        self._channel: Any = None
        self.clear()

    def clear(self) -> None:
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
            _, done = self._waiting.pop(tag)
            if tag in self._unroutable:
                self._unroutable.discard(tag)
                done(UNROUTABLE)
            else:
                done(outcome)

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
        self.trouble = ""
        self._channel: Any = None
        self._is_busy = False  # with a request, or with opening a channel
        self._requests: deque[_Look | _Declare | _Delete] = deque()

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
        self.trouble, self._is_busy = "", False
        self._requests.popleft().succeed(frame.method)
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
        self.trouble = f"cannot use the queue {request.queue}: {getattr(reason, 'reply_text', reason)}"
        log.warning("C%s. Trying again every %.0f s.", self.trouble[1:], _LONGEST_WAIT_S)
        self._broker.later(_LONGEST_WAIT_S, partial(self.add, request))


def _probe(queue: str, done: Callable[[bool], None], channel: Any) -> None:
    def on_closed(_channel: Any, reason: Exception) -> None:
        if isinstance(reason, errors.ChannelClosed):  # or else the connection is lost, and everything with it
            done(isinstance(reason, errors.ChannelClosedByClient))

    channel.add_on_close_callback(on_closed)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, callback=lambda _: channel.close())


def _parameters(settings: BrokerSettings) -> Any:
    return pika.ConnectionParameters(
        host=settings.host,
        port=settings.port,
        virtual_host=settings.virtual_host,
        credentials=pika.PlainCredentials(settings.username, settings.password, erase_on_connect=True),
        heartbeat=settings.heartbeat_s,
        connection_attempts=1,
        socket_timeout=10,
        stack_timeout=15,
        client_properties={"product": "pvsim"},
        # A host that vanishes answers nothing: unacknowledged bytes tell sooner than a missed heartbeat.
        tcp_options={"TCP_KEEPIDLE": 10, "TCP_USER_TIMEOUT": _USER_TIMEOUT_MS},
    )


def _can_carry(headers: dict[str, Any] | None) -> bool:
    """Whether pika can send these headers, which it received, and whether ours still fit into the frame."""
    pieces: list[bytes] = []
    try:
        return not headers or pika.data.encode_table(pieces, headers) < 60_000
    except Exception:  # pika raises whatever comes up in encoding
        return False


def explain(reason: Exception, settings: BrokerSettings) -> tuple[str, bool]:
    """A sentence on why there is no connection, and whether it was refused, so that trying again soon is cheap."""
    where = f"the broker at {settings.host}:{settings.port}"
    cause = _cause(reason)
    if isinstance(cause, errors.ConnectionClosed | errors.ChannelClosed):
        return f"Lost {where}: {cause.reply_code} {cause.reply_text}.", True
    if isinstance(cause, errors.ProbableAuthenticationError | errors.AuthenticationError):
        return f"Refused login as {settings.username!r} by {where}; look at {settings.source}.", False
    if isinstance(cause, errors.ProbableAccessDeniedError):
        return f"Refused virtual host {settings.virtual_host!r} by {where}; look at {settings.source}.", False
    if isinstance(cause, BrokerError):
        return f"Begins anew with {where}: {cause}.", True
    if isinstance(cause, errors.IncompatibleProtocolError):
        return f"No AMQP broker answers at {settings.host}:{settings.port}; look at {settings.source}.", False
    if isinstance(cause, errors.StreamLostError):
        return f"Lost {where}: the connection broke.", True
    if isinstance(cause, errors.AMQPHeartbeatTimeout):
        return f"Lost {where}: it did not answer in time.", True
    if isinstance(cause, socket.gaierror):
        return f"Cannot find {settings.host}: {cause.strerror}; look at {settings.source}.", False
    if isinstance(cause, OSError):
        text = cause.strerror or str(cause) or type(cause).__name__
        return f"Cannot reach {where}: {text}.", isinstance(cause, ConnectionRefusedError)
    return f"Cannot use {where}: {cause or type(cause).__name__}.", False


def _cause(reason: BaseException) -> BaseException:
    """The innermost of the errors that pika wraps into each other."""
    for inner in (getattr(reason, "exceptions", None) or [])[-1:] or [
        each for each in (getattr(reason, "exception", None), *reason.args) if isinstance(each, BaseException)
    ]:
        return _cause(inner)
    return reason
