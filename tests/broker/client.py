"""A plain AMQP client of the tests: what it publishes has been taken by the broker when its methods return."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
import pika.exceptions

from pvsim.tools.node import Node

PERSISTENT = pika.BasicProperties(delivery_mode=2)
TAKEN_S = 60


def publish(channel: Any, exchange: str, key: str, body: bytes, properties: Any) -> None:
    """Publish on a confirming channel until the broker takes it: a busy one may refuse what comes to a new queue."""
    end = time.monotonic() + TAKEN_S
    while True:
        try:
            channel.basic_publish(exchange, key, body, properties, mandatory=True)
            return
        except pika.exceptions.NackError:
            assert time.monotonic() < end, f"the broker refuses what comes to {exchange} {key}"
            time.sleep(0.2)


class Client:
    """A plain client: what it publishes has been taken by the broker when its methods return."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._confirming = connection.channel()
        self._confirming.confirm_delivery()

    def publish(self, body: bytes, properties: Any = PERSISTENT, exchange: str = "", key: str = "M") -> None:
        """Publish, to M if nothing else is said, and wait for the broker's confirm."""
        publish(self._confirming, exchange, key, body, properties)

    def declare(self, queue: str, arguments: dict[str, Any] | None = None) -> None:
        """Declare a durable queue."""
        self._confirming.queue_declare(queue, durable=True, arguments=arguments)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        """Have a queue get what comes to an exchange with this key."""
        self._confirming.queue_bind(queue, exchange, key)

    def flood(self, bodies: Iterable[bytes], key: str = "M") -> None:
        """Publish as fast as it goes. A channel that is closed may lose what is not confirmed; the last one is."""
        channel = self._connection.channel()
        *most, last = bodies
        for body in most:
            channel.basic_publish("", key, body, PERSISTENT)
        channel.confirm_delivery()
        channel.basic_publish("", key, last, PERSISTENT)
        channel.close()

    def count(self, queue: str) -> int:
        """How many messages wait in a queue, if there is one, not counting what is delivered and not acknowledged."""
        channel = self._connection.channel()
        try:
            answer = channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return 0
        channel.close()
        return int(answer.method.message_count)

    def delete(self, queue: str) -> None:
        """Delete a queue with all that it holds."""
        self._confirming.queue_delete(queue)

    def take(self, queue: str, count: int) -> Iterator[tuple[Any, bytes]]:
        """Properties and bodies of the next messages of a queue."""
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=1_000)
        for number, (method, properties, body) in enumerate(channel.consume(queue, inactivity_timeout=20), 1):
            assert method, f"{queue} has fewer than {count} messages"
            yield properties, body
            channel.basic_ack(method.delivery_tag)
            if number == count:
                break
        channel.close()

    def take_all(self, queue: str, silence_s: float = 2) -> list[bytes]:
        """The bodies of all messages of a queue, until none has come for a while; none if there is no such queue."""
        bodies = []
        channel = self._connection.channel()
        with suppress(pika.exceptions.ChannelClosedByBroker):
            for method, _, body in channel.consume(queue, inactivity_timeout=silence_s):
                if method is None:
                    break
                channel.basic_ack(method.delivery_tag)
                bodies.append(body)
            channel.close()
        return bodies

    def bodies(self, queue: str) -> Counter[bytes]:
        """The bodies of all messages that wait in a queue."""
        count = self.count(queue)
        return Counter(body for _, body in self.take(queue, count)) if count else Counter()


@contextmanager
def connected(node: Node) -> Iterator[Client]:
    """A client of a node."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port, heartbeat=0))
    try:
        yield Client(connection)
    finally:
        connection.close()
