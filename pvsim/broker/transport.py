"""The event loop that all runs on, and what pika is told of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pika.adapters.select_connection as select_connection
import pika.exceptions as errors

from pvsim.broker import tls
from pvsim.config import Address, BrokerSettings

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

    def guard(self, call: Callable[..., Any]) -> Callable[..., None]:
        """`call`, for pika to call: an error in it makes `run` raise it.

        pika would take it for a connection that is broken, and go on. Its own errors it may have.
        """

        def guarded(*arguments: Any) -> None:
            try:
                call(*arguments)
            except errors.AMQPError:
                raise
            except Exception as error:
                self.fail(error)

        return guarded

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
