"""Whose a queue is: a PV service that declares one leaves a mark, which its meter finds.

To a meter, a queue that is there looks like the one that it has declared. If a broker was set up anew meanwhile, and a
PV service has declared the queue since, what the meter had confirmed is gone, and nothing tells. So whoever declares a
queue and is no meter binds it to the exchange MARKS, too, with its own name as the key. Where that exchange exists, the
first message of a meter on a connection, or after a while, goes through it, mandatory: returned, there is no mark. So
that message is the oldest which a queue needs that is another one: what comes after it is in order, either way.
Where it does not exist, which is so with most brokers, nothing of this costs anything.

A mark stays for a minute after its meter has found it, on however many connections: another host may publish the same
meter. Until then each connection takes it for new, and all since the queue was declared is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pvsim.broker.queues import Call, Queue, ask
from pvsim.broker.trouble import refusal

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

log = logging.getLogger("pvsim.broker")

MARKS = "pvsim.declared"
NOT_TOLD = "Queues that others have declared are not told from our own: %s"
_LOOK_S, _STAYS_S, _HEEDED_S = 15.0, 60.0, 120.0


class Marks:
    """The marks of the queues of one service."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.are_heeded = False  # as meters do
        self._exist = False
        self._looked_s = 0.0
        self._heeded_s: dict[str, float] = {}
        self._found_s: dict[str, float] = {}  # when marks that are not removed yet were found, on any connection
        self._none: set[str] = set()  # queues without one, as their next messages need not ask again
        self._is_denied = False

    def clear(self) -> None:
        """The connection is lost."""
        self._exist = self._is_denied = False
        self._heeded_s.clear()
        self._none.clear()

    def begin(self, ready: Callable[[], None]) -> None:
        """Connected: nothing is sent before it is known whether there are any."""
        if self.are_heeded:
            self._look(ready)
        else:
            ready()

    def _look(self, done: Callable[[], None]) -> None:
        def on_looked(exist: bool) -> None:
            self._exist = exist and not self._is_denied
            done()

        self._looked_s = time.monotonic()
        self._ask(MARKS, lambda channel, told: channel.exchange_declare(MARKS, passive=True, callback=told), on_looked)

    def tick(self, now_s: float) -> None:
        """Called every second."""
        if not self.are_heeded:
            return
        self._broker.admission.forget_quiet(now_s)
        if now_s - self._looked_s > _LOOK_S:
            self._look(lambda: None)

    def exchange(self, queue: str) -> str:
        """What the next first message of a queue is to go through."""
        if queue in self._none:
            self._none.discard(queue)
            return ""
        is_heeded = time.monotonic() - self._heeded_s.get(queue, -_HEEDED_S) < _HEEDED_S
        return MARKS if self._exist and not is_heeded else ""

    def note_none(self, queue: str) -> None:
        """A queue has no mark: its next message goes straight to it."""
        self._found_s.pop(queue, None)
        self._none.add(queue)

    def do_without(self, reason: Exception) -> None:
        """Messages may not go through the exchange, or it is gone: then none is asked for on this connection."""
        if not self._is_denied:
            log.warning(NOT_TOLD, refusal(reason, self._broker.settings))
        self._exist, self._is_denied = False, True

    def heed(self, queue: str) -> None:
        """Its meter has found the mark of a queue."""
        now_s = time.monotonic()
        self._heeded_s[queue] = now_s
        found_s = self._found_s.setdefault(queue, now_s)
        self._broker.later(max(0.0, found_s + _STAYS_S - now_s), partial(self._remove, queue))

    def _remove(self, queue: str) -> None:
        def on_answered(is_removed: bool) -> None:
            if is_removed:
                self._found_s.pop(queue, None)

        self._ask(queue, lambda channel, told: channel.queue_unbind(queue, MARKS, queue, callback=told), on_answered)

    def declare(self, queue: str, arguments: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Declare a queue that is not there, and leave a mark. Without the permission for one, there is none."""

        def on_exchange(_: bool) -> None:
            self._broker.declare(queue, arguments, on_declared)

        def on_declared(found: Queue) -> None:
            self._ask(queue, bind, lambda _: done(found))

        def bind(channel: Any, told: Callable[[Any], None]) -> None:
            channel.queue_bind(queue, MARKS, queue, callback=told)

        def declare_exchange(channel: Any, told: Callable[[Any], None]) -> None:
            channel.exchange_declare(MARKS, "direct", durable=True, callback=told)

        self._ask(queue, declare_exchange, on_exchange)

    def _ask(self, queue: str, call: Call, done: Callable[[bool], None]) -> None:
        self._broker.ask(ask(queue, call, done))
