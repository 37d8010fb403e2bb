"""What is no reading: moved to the queue REJECTED, whole, with why and when.

Acknowledged where it came from only when it is confirmed there. If that queue takes nothing (somebody has declared it
to refuse when it is full, say), messages go to a second one, SPARE: kept back, they would stop the
readings behind them. From time to time one is tried on the first again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import NamedTuple

from pvsim.broker import CONFIRMED, UNROUTABLE, YOUNG_S, Broker, Delivery, Queue, rejected_arguments
from pvsim.foreign import foreign
from pvsim.ids import REJECTED

log = logging.getLogger("pvsim.pv")

SPARE = f"{REJECTED}.spare"
MOST_BYTES = 16 * 2**20  # bodies on their way to the queue
HEADER_BYTES = 2**16  # more than what a message weighs besides its body
FLOOD_S = 10.0


class Item(NamedTuple):
    """A message, and why it is no reading."""

    delivery: Delivery
    reason: str


class Phase(Enum):
    """Where a place is."""

    UNKNOWN = "whether there is a queue is not known"
    SOUGHT = "looked for or declared"
    READY = "it is there"


class Place:
    """One of the two queues."""

    __slots__ = ("again_s", "is_tried", "phase", "queue")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.again_s = 0.0  # it has taken nothing, and is tried again then
        self.is_tried = False  # with one message
        self.phase = Phase.UNKNOWN


class SetAside:
    """Moves messages, counts them, and logs them: the first at once, a flood as one line every ten seconds.

    `clock`: seconds from any beginning; `time_s`: since the epoch.
    """

    def __init__(self, broker: Broker, clock: Callable[[], float], time_s: Callable[[], float]) -> None:
        self.count = 0  # that are safe there
        self._broker = broker
        self._clock = clock
        self._time_s = time_s
        self._places = [Place(REJECTED), Place(SPARE)]
        self._unlogged = 0
        self._next_log = 0.0
        self._last = ("", "")
        self.forget()

    def forget(self) -> None:
        """Nothing is under way, and whether there are queues is not known."""
        self._bytes_under_way = 0
        self._too_many: list[int] = []  # the tags of what is given back later, when there is room again
        self._unsent: deque[Item] = deque()
        for place in self._places:
            place.phase, place.is_tried = Phase.UNKNOWN, False

    @property
    def trouble(self) -> str:
        """What keeps messages from being set aside, or nothing."""
        first, spare = self._places
        if not first.again_s:
            return ""
        if spare.again_s:
            return f"{len(self._unsent)} messages cannot be set aside: the queues {REJECTED} and {SPARE} take none"
        return f"the queue {REJECTED} takes no messages: what is set aside goes to {SPARE}"

    def add(self, delivery: Delivery, reason: str) -> None:
        """This message is no reading."""
        if self._bytes_under_way > MOST_BYTES:  # given back at once, it would come again at once
            self._too_many.append(delivery.tag)
            return
        reason = foreign(reason)
        self._unlogged += 1
        self._last = (delivery.queue, reason)
        self._report()
        self._bytes_under_way += len(delivery.body) + HEADER_BYTES
        self._unsent.append(Item(delivery, reason))
        self._send()

    def _give_back(self) -> None:
        """There is room again for what was too much."""
        if self._too_many and self._bytes_under_way <= MOST_BYTES // 2:
            tags, self._too_many = self._too_many, []
            self._broker.give_back(tags)

    def tick(self) -> None:
        """Called every second."""
        self._report()
        self._send()

    def _report(self) -> None:
        """Log what is not logged yet, unless that was done a moment ago."""
        now_s = self._clock()
        if self._unlogged and now_s >= self._next_log:
            queue, reason = self._last
            more = f" ({self._unlogged - 1} more since the last such line)" if self._unlogged > 1 else ""
            log.warning("Set aside to %s: a message of %s is no reading: %s%s", REJECTED, queue, reason, more)
            self._unlogged, self._next_log = 0, now_s + FLOOD_S

    def _send(self) -> None:
        """Send what there is to send, as far as one of the queues takes it."""
        while self._unsent and (place := self._place()):
            if place.phase is Phase.UNKNOWN:
                place.phase = Phase.SOUGHT
                self._broker.look(place.queue, partial(self._on_looked, place))
            if place.phase is not Phase.READY:
                return
            if not self._broker.works(place.queue):
                place.is_tried = True
                self._broker.prove(place.queue, partial(self._publish, place))
                return
            self._publish(place)

    def _place(self) -> Place | None:
        """Where the next one goes."""
        now_s = self._clock()
        for place in self._places:
            if not place.is_tried and now_s >= place.again_s:
                return place
            if not place.again_s:  # it is being tried for the first time
                return None
        return None

    def _publish(self, place: Place) -> None:
        if not self._unsent:
            place.is_tried = False
            return
        item = self._unsent.popleft()
        when = time.strftime("%FT%TZ", time.gmtime(self._time_s()))
        self._broker.set_aside(place.queue, item.delivery, item.reason, when, partial(self._on_answer, place, item))

    def _on_answer(self, place: Place, item: Item, outcome: str) -> None:
        place.is_tried = False
        if outcome == CONFIRMED:
            if place.again_s:
                place.again_s = 0.0
                log.info("The queue %s takes messages again.", place.queue)
            self.count += 1
            self._bytes_under_way -= len(item.delivery.body) + HEADER_BYTES
            self._broker.ack([item.delivery.tag])
            self._give_back()
        else:
            self._unsent.appendleft(item)
            if outcome == UNROUTABLE:  # somebody has deleted the queue
                place.phase = Phase.UNKNOWN
            else:
                self._pass_over(place)
        self._send()

    def _pass_over(self, place: Place) -> None:
        is_first = not place.again_s
        place.again_s = self._clock() + FLOOD_S
        if is_first:
            log.warning(
                "The queue %s takes no messages: it is full, or does not answer (see rabbitmqctl list_queues)."
                " Trying again every %.0f s; if it never does, delete it with all that it holds:"
                " rabbitmqctl delete_queue %s",
                place.queue,
                FLOOD_S,
                place.queue,
            )

    # --- the queues

    def _on_looked(self, place: Place, queue: Queue | None) -> None:
        if queue:
            self._on_ready(place)
        else:
            arguments = rejected_arguments(self._broker.settings)
            self._broker.declare(place.queue, arguments, partial(self._on_declared, place))

    def _on_declared(self, place: Place, _queue: Queue) -> None:
        self._broker.later(YOUNG_S, partial(self._on_ready, place))

    def _on_ready(self, place: Place) -> None:
        place.phase = Phase.READY
        self._send()
