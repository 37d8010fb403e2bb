"""Publishers who know when each message was confirmed, and so how old one was that a killed broker has lost."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import pika

from pvsim.broker import arguments
from pvsim.broker.admission import YOUNG_S
from pvsim.config import BrokerSettings
from pvsim.errors import PvsimError
from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.client import connected
from tests.broker.conftest import wait_until

ROUNDS = int(os.environ.get("PVSIM_ROUNDS", "1"))
_DEAD_S = 10.0


class Witness:
    """Publishes to a queue, one confirm after the other, until the broker is gone."""

    def __init__(self, node: Node, queue: str, young_s: float = 0.0) -> None:
        """`young_s`: how long the queue is left alone after it was declared."""
        self.queue = queue
        self.confirmed: dict[bytes, float] = {}  # bodies, and when
        self._node = node
        self.young_s = young_s
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def _publish(self) -> None:
        with suppress(pika.exceptions.AMQPError, OSError), connected(self._node) as client:
            client.declare(self.queue, arguments(BrokerSettings()))
            time.sleep(self.young_s)
            while True:
                body = f"{self.queue} {time.monotonic_ns()}".encode()
                client.publish(body, key=self.queue)
                self.confirmed[body] = time.monotonic()

    def lost(self, node: Node, killed_s: float) -> list[float]:
        """How many seconds before the broker was killed each message was confirmed that is not there any more."""
        self._thread.join()
        found = self._take_all(node) if self._lives(node) else set()
        return [killed_s - confirmed_s for body, confirmed_s in self.confirmed.items() if body not in found]

    def _lives(self, node: Node) -> bool:
        end_s = time.monotonic() + _DEAD_S
        while time.monotonic() < end_s:
            with suppress(PvsimError):
                return shell.held(node, self.queue) >= 0
        return False

    def _take_all(self, node: Node) -> set[bytes]:
        """The bodies of all messages, up to one that is published now: a queue counts too few after such a start."""
        found: set[bytes] = set()
        end = b"end %d" % time.monotonic_ns()
        with connected(node) as client:
            client.publish(end, key=self.queue)
            for _, body in client.take(self.queue, sys.maxsize):
                if body == end:
                    break
                found.add(body)
        return found


def witnesses(node: Node, number: int) -> list[Witness]:
    """Of a queue that is there for long, and of one that is left to grow as pvsim does.

    From the second round on also of a new one that is not, which tells what would be lost.
    """
    grown = [Witness(node, queue, YOUNG_S) for queue in ("Old", f"Grown_{number}")]
    wait_until(lambda: all(each.confirmed for each in grown), 30, "a confirm of each queue")
    if not number:
        return grown
    newborn = Witness(node, f"Newborn_{number}")
    wait_until(lambda: newborn.confirmed, 30, "a confirm of the new queue")
    return [*grown, newborn]


def lost_by(witnesses: Sequence[Witness], killed: Node, then: Node) -> list[str]:
    """Kill a node within a second; returns which queues, of those that are not new, have lost what was confirmed."""
    time.sleep(random.uniform(0, 1))
    killed_s = time.monotonic()
    killed.kill()
    then.start()
    losers = []
    for each in witnesses:
        ages = each.lost(then, killed_s)
        print(
            f"{each.queue}: {len(each.confirmed)} confirmed, {len(ages)} lost, {max(ages, default=0):.2f} s old at most"
        )
        losers += [each.queue] if ages and each.young_s else []
    return losers
