"""A fleet of meters: what each has to send next. Without clock, broker or files: those are given.

A meter has at most one message on its way, and a fleet at most 200. When it is a meter's turn, all of its readings that
are due go into one message: one reading when all is well, many when the meter is behind or the broker is busy. So
readings keep their order, nothing is stored, and what is unconfirmed is bounded. A broker that cannot keep up gets
fewer messages; one that barely keeps up gets half as many, before rows come late (see pacing.py). History is no special
case: a meter that is asked for the past is a meter that is behind. Faults may make several messages of what is due, or
none. They are sent one by one, and all is delivered when the last is confirmed.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from pvsim.broker import CONFIRMED, OTHER_ARGUMENTS, REFUSED, REPLACED, TOO_LARGE, UNMARKED, UNROUTABLE, Queue, back_off
from pvsim.config import MeterSettings
from pvsim.instants import END_NS
from pvsim.meter.pacing import FEW, Linger, Message, Pacer, composer
from pvsim.meter.progress import Track
from pvsim.meter.timeline import Timeline
from pvsim.models import PowerModel
from pvsim.reading import most_readings

log = logging.getLogger("pvsim.meter")

UNCONFIRMED_READINGS = 65_536  # in one process, whatever the number of meters
UNCONFIRMED_MESSAGES = 200  # so a broker that is slow to confirm soon gets fewer, with more readings each
_LONGEST_WAIT_S = 10.0

TOO_LARGE_BATCH = (
    "The broker takes no messages of %d bytes: %s sends at most %d readings a message from now on. Set that as batch"
    " in simulation.ini, or raise max_message_size in rabbitmq.conf."
)
TOO_LARGE_MESSAGE = (
    "The broker takes no messages of %d bytes, which is one reading of %s: raise max_message_size in rabbitmq.conf."
)


class Link(Protocol):
    """What a fleet needs of the broker; see Broker, which has all of it."""

    @property
    def can_publish(self) -> bool: ...
    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None: ...
    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None: ...
    def works(self, queue: str) -> bool: ...
    def prove(self, queue: str, ready: Callable[[], None]) -> None: ...
    def asks(self, queue: str) -> bool: ...
    def publish(self, queue: str, body: bytes, content_type: str, done: Callable[[str], None]) -> None: ...
    def later(self, delay_s: float, call: Callable[[], None]) -> None: ...


class Outgoing(NamedTuple):
    """Some instants, and all that there is to send for them."""

    instants: range
    messages: list[Message]


class Meter:
    """One meter of a fleet. `is_busy`: a message is on its way, or the next one waits for its turn.

    `messages`: what it has to send for some instants, in this order; `instants` are those of which `unsent`, the first
    of them perhaps on its way, is what is not confirmed yet. `failures`: how often in a row its message was not taken.
    """

    __slots__ = (
        "backlog_ns", "batch", "failures", "instants", "interval_ns", "is_busy", "linger", "messages", "meter_id",
        "track", "unsent",
    )  # fmt: skip

    def __init__(self, meter_id: str, settings: MeterSettings, power: PowerModel, track: Track) -> None:
        self.meter_id = meter_id
        self.interval_ns = settings.interval_ns
        self.batch = min(settings.batch, most_readings(settings.interval_ns))
        self.backlog_ns = settings.backlog_ns
        self.linger = Linger(settings.interval_ns, settings.linger_ns)
        self.messages = composer(meter_id, settings, power, track)
        self.instants = range(0)
        self.unsent: list[Message] = []
        self.track = track
        self.is_busy = False
        self.failures = 0


class Fleet:
    """The meters of one process, and what each has to send next.

    It is long because it holds all that decides on the next message of a meter: due, admitted, sent, refused, behind.
    To read that in one place is worth more than a shorter class.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        link: Link,
        queue_arguments: dict[str, Any],
        clock: Callable[[], int],
        timeline: Timeline = Timeline(),  # noqa: B008  (it is immutable)
    ) -> None:
        self.meters = meters
        self.now_ns = clock()
        self.due_ns = timeline.due_ns(self.now_ns)
        self.is_last_call = False  # nothing more becomes due: send what was gathered, too
        self._clock = clock
        self._timeline = timeline
        self.confirmed = 0
        self._full: set[str] = set()
        self._link = link
        self._queue_arguments = queue_arguments
        self._ready: deque[Meter] = deque()
        self._unconfirmed = 0
        self._under_way = 0
        self._undeclared = {meter.meter_id for meter in meters}
        self._is_up = False
        for number, meter in enumerate(meters):
            meter.linger.spread(number, len(meters))
        self._intervals_ns = {meter.interval_ns for meter in meters}
        self._shortest_ns = min(self._intervals_ns)
        pairable = [meter.linger for meter in meters if self._is_pairable(meter)]
        self._pacer = Pacer(pairable, self._shortest_ns) if pairable else None

    @property
    def refused(self) -> int:
        """How many queues are full."""
        return len(self._full)

    def tick(self, now_ns: int) -> None:
        """Send what has become due. A clock that was set back makes nothing due: those readings exist."""
        before_ns, self.now_ns, self.due_ns = self.due_ns, now_ns, self._timeline.due_ns(now_ns)
        if self._pacer and before_ns // self._shortest_ns != self.due_ns // self._shortest_ns:
            self._pacer.pace()
        for meter in self.meters:
            if not meter.is_busy and self._has_more(meter):
                self._enqueue(meter)
        self._pump()

    def next_tick_ns(self, now_ns: int) -> int:
        """When the next reading becomes due, by the clock."""
        if self._timeline.is_over(now_ns):
            return END_NS
        due_ns = self._timeline.due_ns(now_ns)
        return self._timeline.clock_ns(min((due_ns // interval + 1) * interval for interval in self._intervals_ns))

    def up(self) -> None:
        """There is a new connection, and nothing is under way on it.

        Queues are declared once. If one is gone later, the next message to it is returned.
        """
        self._is_up = True
        self._unconfirmed = 0
        self._under_way = 0
        self._ready.clear()
        for meter in self.meters:
            meter.is_busy = False
            meter.unsent = []
            if meter.meter_id in self._undeclared:
                self._look(meter)
        self.tick(self.now_ns)

    def down(self) -> None:
        """There is no connection, and the broker may have lost what it had confirmed in its last seconds."""
        self._is_up = False
        for meter in self.meters:
            meter.track.go_back()

    def settle(self) -> None:
        """To be called every second."""
        for meter in self.meters:
            meter.track.settle()

    def is_done(self) -> bool:
        """Whether every reading that is due is confirmed."""
        return all(meter.track.next_ns(meter.interval_ns) > self.due_ns for meter in self.meters)

    def behind(self) -> int:
        """How many meters have readings that should have been confirmed a second ago."""
        late_ns = self._timeline.due_ns(self.now_ns - 10**9)
        return sum(meter.track.next_ns(meter.interval_ns) <= meter.linger.until_ns(late_ns) for meter in self.meters)

    def _has_more(self, meter: Meter) -> bool:
        return meter.track.next_ns(meter.interval_ns) <= self._until_ns(meter)

    def _until_ns(self, meter: Meter) -> int:
        return self.due_ns if self.is_last_call else meter.linger.until_ns(self.due_ns)

    def _enqueue(self, meter: Meter) -> None:
        meter.is_busy = True
        self._ready.append(meter)

    def _pump(self) -> None:
        """Send, as far as there is room. A queue that has not answered yet is sent one message, beside all others.

        Nothing goes out over a connection that `up` has not told of yet: it would be sent again, and confirmed twice.
        """
        while self._is_up and self._ready and self._link.can_publish and self._unconfirmed < UNCONFIRMED_READINGS:
            meter = self._ready[0]
            works = self._link.works(meter.meter_id)
            if works and self._under_way >= UNCONFIRMED_MESSAGES:
                break
            self._ready.popleft()
            if works:
                self._send(meter)
            else:
                self._link.prove(meter.meter_id, partial(self._send_first, meter))

    def _send_first(self, meter: Meter) -> None:
        if not self._link.can_publish or self._unconfirmed >= UNCONFIRMED_READINGS:
            self._ready.append(meter)
        elif self._link.asks(meter.meter_id) and (first := self._first_of_another_queue(meter)).messages:
            meter.track.sending(first.instants[-1])
            self._publish(meter, first.messages[0], first)
        else:
            self._send(meter)

    def _first_of_another_queue(self, meter: Meter) -> Outgoing:
        """What is to be sent first if this queue is not the one that was declared, and is not sent if it is."""
        track = meter.track.without_queue()
        if meter.backlog_ns is not None:
            track.skip_to(self.due_ns - meter.backlog_ns - 1)
        instants = track.upcoming(self._until_ns(meter), meter.interval_ns, meter.batch)
        return Outgoing(instants, meter.messages(instants, meter.batch) if instants else [])

    def _send(self, meter: Meter) -> None:
        if not meter.unsent:
            self._skip_old(meter)
            meter.instants = meter.track.upcoming(self._until_ns(meter), meter.interval_ns, meter.batch)
            meter.unsent = meter.messages(meter.instants, meter.batch) if meter.instants else []
            if meter.instants:
                meter.track.sending(meter.instants[-1])
            if meter.instants and self._pacer:
                self._pacer.measure(self._timeline.due_ns(self._clock()) - meter.instants[-1])
        if meter.unsent:
            self._publish(meter, meter.unsent[0])
        elif meter.instants:
            self._on_nothing(meter)
        else:
            meter.is_busy = False

    def _is_pairable(self, meter: Meter) -> bool:
        is_one_by_one = not meter.linger.linger_ns and meter.batch > 1
        return is_one_by_one and meter.interval_ns == self._shortest_ns and len(self.meters) > FEW

    def _on_nothing(self, meter: Meter) -> None:
        """Faults leave no reading of its instants. Many such may follow: the loop has its turn in between."""
        meter.track.confirm(meter.instants[-1])
        self._link.later(0, partial(self._try_again, meter))

    def _publish(self, meter: Meter, message: Message, first: Outgoing | None = None) -> None:
        slots = 1 if self._link.works(meter.meter_id) else 0  # one that may not answer takes no room from the others
        self._unconfirmed += message.readings
        self._under_way += slots
        answer = partial(self._on_answer, meter, message, slots, first)
        self._link.publish(meter.meter_id, message.body, message.content_type, answer)

    def _skip_old(self, meter: Meter) -> None:
        if meter.backlog_ns is None:
            return
        oldest_ns = self.due_ns - meter.backlog_ns
        if meter.track.next_ns(meter.interval_ns) < oldest_ns:
            log.info("%s skips the readings that are older than its backlog allows.", meter.meter_id)
            meter.track.skip_to(oldest_ns - 1)

    def _on_answer(self, meter: Meter, message: Message, slots: int, first: Outgoing | None, outcome: str) -> None:
        self._unconfirmed -= message.readings
        self._under_way -= slots
        if outcome == CONFIRMED:
            self._on_confirmed(meter, message)
        elif outcome == REPLACED:
            self._on_replaced(meter, message, first)
        elif outcome == UNMARKED:
            self._ready.append(meter)
        elif outcome == UNROUTABLE:
            self._on_queue_gone(meter)
        elif outcome == TOO_LARGE:
            self._on_too_large(meter, message)
        else:
            self._on_not_taken(meter, outcome)
        self._pump()

    def _on_confirmed(self, meter: Meter, message: Message) -> None:
        self.confirmed += message.readings
        meter.failures = 0
        if self._full and meter.meter_id in self._full:
            log.info("The queue %s has room again.", meter.meter_id)
            self._full.discard(meter.meter_id)
        del meter.unsent[0]
        if meter.unsent:
            self._ready.append(meter)
        else:
            self._on_delivered(meter)

    def _on_delivered(self, meter: Meter) -> None:
        """All that there is to send for its instants is confirmed."""
        meter.track.confirm(meter.instants[-1])
        if self._has_more(meter):
            self._ready.append(meter)
        else:
            meter.is_busy = False

    def _on_not_taken(self, meter: Meter, outcome: str) -> None:
        """The queue is full, or does not answer: this meter stays behind, the others go on."""
        if outcome != REFUSED:
            self._full.discard(meter.meter_id)
        elif meter.meter_id not in self._full:
            self._full.add(meter.meter_id)
            log.warning("The queue %s is full: its readings follow when there is room.", meter.meter_id)
        self._send_later(meter, self._try_again)

    def _on_too_large(self, meter: Meter, message: Message) -> None:
        """The broker takes no message of that size: smaller ones from now on."""
        meter.unsent = []
        if meter.batch > 1:
            meter.batch //= 2
            log.warning(TOO_LARGE_BATCH, len(message.body), meter.meter_id, meter.batch)
            self._ready.append(meter)
        else:
            if not meter.failures:
                log.error(TOO_LARGE_MESSAGE, len(message.body), meter.meter_id)
            self._send_later(meter, self._try_again)

    def _send_later(self, meter: Meter, call: Callable[[Meter], None]) -> None:
        meter.failures += 1
        wait_s = back_off(meter.failures, _LONGEST_WAIT_S, random.random())
        self._link.later(wait_s, partial(call, meter))

    def _try_again(self, meter: Meter) -> None:
        self._ready.append(meter)
        self._pump()

    # --- queues

    def _on_queue_gone(self, meter: Meter) -> None:
        log.warning("The queue %s is gone: all readings since it was declared are sent again.", meter.meter_id)
        meter.track.queue_lost()
        meter.unsent = []
        self._send_later(meter, self._declare)  # its consumer is to hear of it before (see Intake)

    def _on_replaced(self, meter: Meter, message: Message, first: Outgoing | None) -> None:
        """The queue is not the one that this meter has declared: that one is gone, with all that it held."""
        if meter.track.settled_ns > meter.track.declared_ns:
            log.warning(
                "The queue %s was replaced: all readings since the old one was declared are sent again.", meter.meter_id
            )
        meter.track.queue_lost()
        meter.unsent = []
        if first:
            meter.instants, meter.unsent = first
            self._on_confirmed(meter, message)
        else:
            self._ready.append(meter)

    def _look(self, meter: Meter) -> None:
        meter.is_busy = True
        self._link.look(meter.meter_id, partial(self._on_looked, meter))

    def _on_looked(self, meter: Meter, queue: Queue | None) -> None:
        if queue is None:
            meter.track.queue_lost()
        self._declare(meter)

    def _declare(self, meter: Meter) -> None:
        self._link.declare(meter.meter_id, self._queue_arguments, partial(self._on_declared, meter))

    def _on_declared(self, meter: Meter, queue: Queue) -> None:
        self._undeclared.discard(meter.meter_id)
        if queue.other_arguments:
            log.warning(OTHER_ARGUMENTS, meter.meter_id, queue.other_arguments)
        self._ready.append(meter)
        self._pump()
