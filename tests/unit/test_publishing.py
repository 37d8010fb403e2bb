"""Publishing to a broker that confirms in any way, refuses, returns, blocks, is slow, loses queues and goes away."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from hypothesis import example, given
from hypothesis import strategies as st

from pvsim.broker import CONFIRMED, REFUSED, REPLACED, UNMARKED, UNROUTABLE, Broker, Delivery, Owner, arguments
from pvsim.broker.ledger import Kind
from pvsim.broker.marks import MARKS
from pvsim.config import BrokerSettings
from tests.examples import examples
from tests.unit.world import Rabbit, new_rabbit

SETTINGS = BrokerSettings()
A, B = "A", "B"  # queues; it is the first that things happen to


class World(Owner):
    """A broker with two queues that work, and somebody who publishes as a fleet does."""

    def __init__(self, rabbit: Rabbit) -> None:
        self.rabbit = rabbit
        self.untold: dict[bytes, str] = {}  # the queues of messages that were sent and are not told of
        self.told = Counter[tuple[str, str]]()
        self._number = 0
        self._wanted: set[str] = set()
        self.broker = Broker(SETTINGS, rabbit.loop(), self)
        self.broker.marks.are_heeded = True
        for queue in A, B:
            self.declare(queue)
        self.broker.start()
        rabbit.live(1)
        for queue in A, B:
            self.publish(queue)
        rabbit.live(1)

    def declare(self, queue: str) -> None:
        """Somebody declares a queue."""
        self.rabbit.declare(queue, arguments(SETTINGS))

    def mark(self) -> None:
        """A PV service has declared the queue."""
        self.declare(A)
        self.rabbit.exchanges.setdefault(MARKS, set()).add(A)

    # as an owner

    def on_up(self) -> None:
        """Connected."""
        assert not self.untold

    def on_down(self) -> None:
        """Not connected: how it ended with what is not told of is not known, and is not told any more."""
        self.untold.clear()
        self._wanted.clear()

    def on_delivery(self, delivery: Delivery) -> None:
        """Nothing is consumed."""

    def on_cancelled(self, queue: str) -> None:
        """Nothing is consumed."""

    def on_forbidden(self, queue: str) -> None:
        """Nothing is consumed."""

    def on_silent(self, queues: Sequence[str]) -> None:
        """Nothing is consumed."""

    # what it does

    def publish(self, queue: str) -> None:
        """One message, if it can go out now, or when it is its turn."""
        if not self.broker.can_publish:
            return
        if self.broker.works(queue):
            self._publish(queue)
        elif queue not in self._wanted:
            self._wanted.add(queue)
            self.broker.prove(queue, partial(self._publish, queue))

    def _publish(self, queue: str) -> None:
        self._wanted.discard(queue)
        if self.broker.can_publish:
            self._number += 1
            body = b"%d" % self._number
            self.untold[body] = queue
            self.broker.publish(queue, body, "", partial(self._on_done, body))

    def _on_done(self, body: bytes, outcome: str) -> None:
        queue = self.untold.pop(body)  # told once, and only while that connection stands
        self.told[queue, outcome] += 1
        if outcome in (CONFIRMED, REPLACED):
            assert body in self.rabbit.safe
        if outcome in (REFUSED, UNMARKED):
            assert not any(body == message.body for box in self.rabbit.boxes.values() for message in box.ready)
        if outcome == UNROUTABLE:
            self.broker.look(queue, lambda _: self.broker.declare(queue, arguments(SETTINGS), lambda _: None))

    def unanswered(self) -> Counter[str]:
        """The queues that have not answered messages, as the ledger has them."""
        return Counter(entry.queue for entry in self.broker.ledger.late(math.inf, Kind.PUBLISH))

    def check(self) -> None:
        """All that is not told of is in the ledger."""
        if not self.broker.blocked:
            assert Counter(self.untold.values()) <= self.unanswered()

    def settle(self) -> None:
        """All is told, and soon everything is confirmed."""
        self.rabbit.mend()
        self.rabbit.live(40)
        connections = self.broker.counts.connections
        self.rabbit.live(80)
        assert self.broker.counts.connections == connections  # or else what has no answer would have gone down with it
        assert not self.untold
        assert not self.unanswered()
        self.told.clear()
        for queue in A, B:
            for _ in range(10):
                self.publish(queue)
                self.rabbit.live(10)
            assert self.told[queue, CONFIRMED] + self.told[queue, REPLACED] > 3, self.told
        assert self.broker.state == "connected to localhost:5672"


@contextmanager
def new_world() -> Iterator[World]:
    """A world in which all is well."""
    with new_rabbit() as rabbit:
        yield World(rabbit)


EVENTS: Mapping[str, Callable[[World], object]] = {
    "publish A": lambda world: world.publish(A),
    "publish B": lambda world: world.publish(B),
    "serve": lambda world: world.rabbit.serve(),
    "hear": lambda world: world.rabbit.hear(),
    "hear one": lambda world: world.rabbit.hear(1),
    "turn": lambda world: world.rabbit.turn(),
    "live": lambda world: world.rabbit.live(1),
    "live long": lambda world: world.rabbit.live(25),
    "silence": lambda world: world.rabbit.pass_time(12),
    "long silence": lambda world: world.rabbit.pass_time(80),
    "slow": lambda world: setattr(world.rabbit, "style", ""),
    "singles": lambda world: setattr(world.rabbit, "style", "singles"),
    "backwards": lambda world: setattr(world.rabbit, "style", "backwards"),
    "multiple": lambda world: setattr(world.rabbit, "style", "multiple"),
    "lost": lambda world: world.rabbit.lose_connections(True),
    "away": lambda world: world.rabbit.lose_connections(False),
    "back": lambda world: setattr(world.rabbit, "is_reachable", True),
    "alarm": lambda world: world.rabbit.set_alarm("low on memory"),
    "no alarm": lambda world: world.rabbit.set_alarm(""),
    "leader goes": lambda world: world.rabbit.set_dead(A, True),
    "leader comes": lambda world: world.rabbit.set_dead(A, False),
    "full": lambda world: world.rabbit.set_refusing(A, True),
    "room": lambda world: world.rabbit.set_refusing(A, False),
    "deleted": lambda world: world.rabbit.delete(A),
    "declared": lambda world: world.declare(A),
    "marked": lambda world: world.mark(),
}


@examples(60)
@example(["publish A", "silence"])
@example(["publish A", "publish B"])
@example(["deleted", "publish A"])
@example(["full", "publish A", "live"])
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=40))
def test_each_message_ends_once(events: list[str]) -> None:
    """In any order of events: each is told of once or goes down with its connection, what is told is true.

    The ledger has all that has no answer, and nothing else once there is one.
    """
    with new_world() as world:
        for event in events:
            EVENTS[event](world)
            world.check()
        world.settle()
