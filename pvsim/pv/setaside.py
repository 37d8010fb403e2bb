"""What is no reading: moved to the queue REJECTED, whole, with why and when.

Acknowledged where it came from only when it is confirmed there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from pvsim.broker import REFUSED, UNROUTABLE, Broker, Delivery, Queue, rejected_arguments
from pvsim.foreign import foreign
from pvsim.reading import REJECTED

log = logging.getLogger("pvsim.pv")

SILENT = f"the queue {REJECTED} does not answer (if that goes on, delete it: rabbitmqctl delete_queue {REJECTED})"

MOST_BYTES = 16 * 2**20  # bodies on their way to the queue
HEADER_BYTES = 2**16  # more than what a message weighs besides its body
FLOOD_S = 10.0
YOUNG_S = 2.0  # a broker that is killed may forget a queue that it has declared a moment ago, and what that has held


class SetAside:
    """Moves messages, counts them, and logs them: the first at once, a flood as one line every ten seconds."""

    def __init__(self, broker: Broker, clock: Callable[[], float]) -> None:
        self.count = 0
        self._broker = broker
        self._clock = clock
        self._is_new = False  # the queue: declared by us, and it has not confirmed anything yet
        self._is_dead = False
        self._unlogged = 0
        self._next_log = 0.0
        self._last = ("", "")
        self.forget()

    def forget(self) -> None:
        """Nothing is under way, and whether there is a queue is not known."""
        self._bytes_under_way = 0
        self._too_many: list[int] = []  # the tags of what is given back later, when there is room again
        self._has_queue = False
        self._unsent: list[Callable[[], None]] = []  # what waits for the queue

    def add(self, delivery: Delivery, reason: str) -> None:
        """This message is no reading."""
        if self._bytes_under_way > MOST_BYTES:  # given back at once, it would come again at once
            self._too_many.append(delivery.tag)
            return
        reason = foreign(reason)
        self.count += 1
        self._unlogged += 1
        self._last = (delivery.queue, reason)
        self._report()
        self._bytes_under_way += len(delivery.body) + HEADER_BYTES
        self._send(delivery, reason)

    def _give_back(self) -> None:
        """There is room again for what was too much."""
        if self._too_many and self._bytes_under_way <= MOST_BYTES // 2:
            tags, self._too_many = self._too_many, []
            self._broker.give_back(tags)

    def tick(self) -> None:
        """Called every second."""
        self._report()
        if self._broker.publishes_in_vain:
            self._broker.look(REJECTED, self._on_silent)

    def _report(self) -> None:
        """Log what is not logged yet, unless that was done a moment ago."""
        now_s = time.monotonic()
        if self._unlogged and now_s >= self._next_log:
            queue, reason = self._last
            more = f" ({self._unlogged - 1} more since the last such line)" if self._unlogged > 1 else ""
            log.warning("Set aside to %s: a message of %s is no reading: %s%s", REJECTED, queue, reason, more)
            self._unlogged, self._next_log = 0, now_s + FLOOD_S

    def _send(self, delivery: Delivery, reason: str) -> None:
        if not self._has_queue:
            self._unsent.append(partial(self._send, delivery, reason))
            if len(self._unsent) == 1:
                self._find_queue()
            return
        done = partial(self._on_answer, delivery, reason)
        self._broker.set_aside(delivery, reason, time.strftime("%FT%TZ", time.gmtime(self._clock())), done)

    def _on_answer(self, delivery: Delivery, reason: str, outcome: str) -> None:
        if outcome == UNROUTABLE:  # somebody has deleted the queue
            self._has_queue = False
            self._send(delivery, reason)
        elif outcome == REFUSED and self._is_new:
            self._replace_queue()
        elif outcome == REFUSED:  # somebody has declared it to refuse when it is full
            self._broker.later(FLOOD_S, partial(self._send, delivery, reason))
        else:
            self._is_new = False
            self._bytes_under_way -= len(delivery.body) + HEADER_BYTES
            self._broker.ack([delivery.tag])
            self._give_back()

    # --- the queue
    #
    # A broker that is killed within a second of declaring a queue may come back with one that is dead: it exists, and
    # answers no publish, or refuses each (see fleet.py). One that we have declared and that has never confirmed
    # anything holds nothing, so it can be replaced; on a new connection, because the broker chokes on deleting what it
    # has unanswered messages for.

    def _find_queue(self) -> None:
        if self._is_dead:
            self._broker.delete(REJECTED, self._on_deleted)
        else:
            self._broker.look(REJECTED, self._on_looked)

    def _on_deleted(self) -> None:
        self._is_dead = False
        self._find_queue()

    def _on_looked(self, queue: Queue | None) -> None:
        if queue:
            self._on_ready()
        else:
            self._is_new = True
            self._broker.declare(REJECTED, rejected_arguments(self._broker.settings), self._on_declared)

    def _on_declared(self, _queue: Queue) -> None:
        self._broker.later(YOUNG_S, self._on_ready)

    def _on_ready(self) -> None:
        self._has_queue = True
        unsent, self._unsent = self._unsent, []
        for send in unsent:
            send()

    def _on_silent(self, _queue: Queue | None) -> None:
        """The broker answers, but not this queue: it was deleted and declared with something on its way, say."""
        if not self._broker.publishes_in_vain:
            return
        if self._is_new:
            self._replace_queue()
        else:
            self._broker.reset(SILENT)

    def _replace_queue(self) -> None:
        self._is_dead = True
        self._broker.reset(f"the queue {REJECTED} does not work, and is declared anew")
