"""A connection of its own for live copies: what is sent over it may be lost, and holds up nothing.

It is not a channel of the connection that carries acknowledgements: a broker that runs out of memory or disk stops
reading from connections that publish, and goes on with those that consume and acknowledge. What the broker does not
take at once is dropped here: nothing is kept, confirmed or sent again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import Any, NamedTuple

import pika
import pika.frame

from pvsim.broker import pika_private
from pvsim.broker.transport import Loop, connection_parameters
from pvsim.broker.trouble import explain
from pvsim.broker.turn import back_off
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError, ConfigError
from pvsim.foreign import foreign
from pvsim.reading import JSON

log = logging.getLogger("pvsim.live")

EXCHANGE = "amq.topic"
NAME = "pvsim live copies"  # of the connection, as rabbitmqctl list_connections has it
MOST_UNSENT = 2**16  # bytes that the socket has not taken yet; then copies are dropped
_LONGEST_WAIT_S = 60.0
_STABLE_S = 5.0  # a broker that refuses copies does so within that time
_CHANNEL = 1
_PROPERTIES = pika.BasicProperties(content_type=JSON, delivery_mode=1)


class Copy(NamedTuple):
    """What is published, and with which routing key."""

    key: str
    body: bytes


class _State(Enum):
    CLOSED = auto()  # until something is to be sent, and between two tries
    OPENING = auto()
    OPEN = auto()
    BLOCKED = auto()  # the broker takes nothing now
    ENDED = auto()


class LiveLink:
    """Publishes to EXCHANGE, at most once, and never waits. A copy opens it, and after a failure a later one."""

    def __init__(self, settings: BrokerSettings, loop: Loop) -> None:
        self._settings = settings
        self._loop = loop
        self._state = _State.CLOSED
        self._connection: Any = None
        self._failures = 0
        self._next_try_s = 0.0
        self._opened_s = 0.0
        self._said = ""  # why there are no copies

    def send(self, copies: Sequence[Copy], address: Address) -> int:
        """Send copies, or drop them; returns how many were sent. `address`: the node to connect to, if need be."""
        if self._can_send():
            pika_private.send_frames(self._connection, b"".join(map(_frames, copies)))
            self._say_again()
            return len(copies)
        if self._state is _State.CLOSED and time.monotonic() >= self._next_try_s:
            self._open(address)
        elif self._state is _State.OPENING and time.monotonic() >= self._next_try_s and self._connection.is_open:
            pika_private.terminate(self._connection, BrokerError("it does not open a channel"))
        return 0

    def close(self) -> None:
        """No more copies."""
        if self._state in (_State.OPEN, _State.BLOCKED) and self._connection.is_open:
            self._connection.close()
        self._state = _State.ENDED

    def _can_send(self) -> bool:
        is_open = self._state is _State.OPEN and self._connection.is_open
        return is_open and pika_private.unsent_bytes(self._connection) < MOST_UNSENT

    def _open(self, address: Address) -> None:
        self._state = _State.OPENING
        self._next_try_s = time.monotonic() + _LONGEST_WAIT_S
        self._address = address
        try:
            parameters = connection_parameters(self._settings, address)
        except ConfigError as error:  # a file that could be read when the service was started
            self._on_lost(None, error)
            return
        parameters.client_properties = {**parameters.client_properties, "connection_name": NAME}
        self._connection = pika_private.Bounded(
            parameters, self._on_connected, self._on_lost, self._on_lost, custom_ioloop=self._loop.pika
        )

    def _on_connected(self, connection: Any) -> None:
        if self._state is _State.ENDED:
            connection.close()
            return
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(_CHANNEL, self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self._opened_s = time.monotonic()
        self._to(_State.OPEN)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        log.warning("No live copies for now: the broker takes nothing: %s.", foreign(frame.method.reason))
        self._to(_State.BLOCKED)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        log.info("Live copies are sent again.")
        self._to(_State.OPEN)

    def _to(self, state: _State) -> None:
        if self._state is not _State.ENDED:
            self._state = state

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        """It may not publish there, most likely. A channel that goes with its connection is told in `_on_lost`."""
        if self._connection.is_open:
            self._fail(reason)
            self._connection.close()

    def _on_lost(self, _connection: Any, reason: Any) -> None:
        if self._state not in (_State.CLOSED, _State.ENDED):
            self._fail(reason)

    def _fail(self, reason: Exception) -> None:
        """Say once why there are no copies, and try again later."""
        self._state = _State.CLOSED
        is_stable = self._opened_s and time.monotonic() - self._opened_s > _STABLE_S
        self._failures, self._opened_s = (1 if is_stable else self._failures + 1), 0.0
        self._next_try_s = time.monotonic() + back_off(self._failures, _LONGEST_WAIT_S, random.random())
        sentence = explain(reason, self._settings, self._address).sentence
        if sentence != self._said:
            self._said = sentence
            log.warning("No live copies: %s Nothing else depends on them; trying again until it works.", sentence)

    def _say_again(self) -> None:
        if self._said and time.monotonic() - self._opened_s > _STABLE_S:
            self._said = ""
            log.info("Live copies are sent again.")


# A message in frames (AMQP 0-9-1, section 4.2). What they have in common from copy to copy is made once.


def _frames(copy: Copy) -> bytes:
    body = pika.frame.Body(_CHANNEL, copy.body).marshal()
    return b"".join((_method(copy.key), _header(len(copy.body)), body))


@lru_cache(maxsize=100_000)
def _method(key: str) -> bytes:
    method = pika.spec.Basic.Publish(exchange=EXCHANGE, routing_key=key)
    return bytes(pika.frame.Method(_CHANNEL, method).marshal())


@lru_cache(maxsize=1000)
def _header(length: int) -> bytes:
    return bytes(pika.frame.Header(_CHANNEL, length, _PROPERTIES).marshal())
