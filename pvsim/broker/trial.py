"""A trial of the broker, for `pvsim check`: what the services do, once, step by step."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
import pika.exceptions as errors

from pvsim.broker import pika_private
from pvsim.broker.queues import arguments
from pvsim.broker.transport import connection_parameters
from pvsim.broker.trouble import USE, Trouble, explain
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError
from pvsim.foreign import foreign


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
        parameters = connection_parameters(self._settings, self._address)
        parameters.blocked_connection_timeout = self._settings.connect_timeout_s
        parameters.heartbeat = self._settings.connect_timeout_s  # a trial ends
        try:
            self._connection = pika_private.blocking(parameters)
            self._channel = self._connection.channel()
        except Exception as error:  # pika raises whatever comes up in the socket, too
            raise self._error(error, "") from None
        properties = pika_private.server_properties(self._connection)
        return " ".join(foreign(properties.get(name, ""), 80) for name in ("product", "version")).strip()

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
            raise BrokerError("the message that came is not the one that was sent")
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
