"""Looking at live copies, for `pvsim watch`: a queue of its own, which goes with the connection.

Copies are delivered to all who ask for them, so this takes nothing away from anybody. The queue is exclusive, as every
RabbitMQ allows it, and short: of what is not read in time the oldest is dropped by the broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pvsim.broker import pika_private
from pvsim.broker.live import EXCHANGE
from pvsim.broker.transport import connection_parameters
from pvsim.broker.trouble import explain
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError

_MOST_HELD, _MOST_UNREAD = 20_000, 2_000  # messages that the queue holds, and that are on their way


class Subscription:
    """The messages with some routing keys; BrokerError says why there are none."""

    def __init__(self, settings: BrokerSettings, keys: Sequence[str]) -> None:
        self._settings = settings
        self._keys = keys
        self._connection: Any = None
        self._channel: Any = None
        self._bodies: list[bytes] = []
        self._tag = 0
        self.address = settings.addresses[0]

    def connect(self) -> None:
        """Ask the first node that can be reached."""
        self.close()
        trouble: BrokerError | None = None
        for address in self._settings.addresses:
            self.address = address
            try:
                self._subscribe(address)
                return
            except Exception as error:  # pika raises whatever comes up in the socket, too
                self.close()
                trouble = self._error(error)
        assert trouble  # there is an address
        raise trouble

    def take(self, seconds: float) -> list[bytes]:
        """The bodies that have come; waits for so long if there are none."""
        try:
            self._connection.process_data_events(seconds)
            if self._bodies:
                self._channel.basic_ack(self._tag, multiple=True)
        except Exception as error:
            raise self._error(error) from None
        bodies, self._bodies = self._bodies, []
        return bodies

    def close(self) -> None:
        """Nothing is asked for any more."""
        with suppress(Exception):  # it may be closed already
            self._connection.close()
        self._bodies = []

    def _subscribe(self, address: Address) -> None:
        self._connection = pika_private.blocking(connection_parameters(self._settings, address))
        self._channel = self._connection.channel()
        arguments = {"x-max-length": _MOST_HELD}
        queue = self._channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).method.queue
        for key in self._keys:
            self._channel.queue_bind(queue, EXCHANGE, key)
        self._channel.basic_qos(prefetch_count=_MOST_UNREAD)
        self._channel.basic_consume(queue, self._on_message)

    def _on_message(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self._tag = method.delivery_tag
        self._bodies.append(body)

    def _error(self, error: Exception) -> BrokerError:
        return BrokerError(explain(error, self._settings, self.address).sentence)
