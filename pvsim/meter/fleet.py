"""A fleet of meters: what each has to send next. Without clock, broker or files: those are given.

A meter has at most one message on its way, and a fleet some hundred. What has become due until it is a meter's turn
goes together into its next message: a reading at a time when all is well, many when the meter is behind, or the broker
busy. So readings keep their order, nothing has to be stored, what is unconfirmed is bounded, and a broker that cannot
keep up gets fewer messages; one that just can gets half as many, before rows are late. History is no case of its own:
a meter that is asked for the past is one that is behind. A meter with faults may make several messages of what is due,
or none; they go one by one, and count as delivered when the last is.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pvsim.broker import CONFIRMED, OTHER_ARGUMENTS, UNROUTABLE, Queue, back_off
from pvsim.config import MeterSettings
from pvsim.meter.progress import Track
from pvsim.meter.timeline import Timeline
from pvsim.models import PowerModel
from pvsim.reading import END_NS, JSON, content_type, encode, most_readings

if TYPE_CHECKING:
    from pvsim.models.faults import Given

log = logging.getLogger("pvsim.meter")

UNCONFIRMED_READINGS = 65_536  # in one process, whatever the number of meters
UNCONFIRMED_MESSAGES = 200  # so a broker that is slow to confirm soon gets fewer, with more readings each
DEAD_NS = 3 * 10**9  # a queue that answers no publish for so long, after a lost connection, is suspect
BUSY_NS = 15 * 10**9  # or for so long on the first connection: a broker may be slow when thousands of meters start
DEAD_REFUSALS = 4  # or refuses so often: one that is being declared from the other side refuses, too, for a moment
TRIALS = 64  # young queues that are tried at a time
_LONGEST_REFUSED_WAIT_S = 10.0


class Link(Protocol):
    """What a fleet needs of the broker."""

    @property
    def can_publish(self) -> bool:
        """Whether a message would go out now."""

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Ask whether a queue exists."""

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Make sure that a queue exists."""

    def delete(self, queue: str, done: Callable[[], None]) -> None:
        """Delete a queue."""

    def reset(self, reason: str) -> None:
        """Begin anew with another connection."""

    def publish(self, queue: str, body: bytes, content_type: str, done: Callable[[str], None]) -> None:
        """Publish, and tell `done` how it ended."""

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call after a while, if this connection still stands then."""


class Message(NamedTuple):
    """What is published at a time. `readings`: how many are in it; none is in what is rubbish on purpose."""

    body: bytes
    content_type: str
    readings: int


def messages(meter_id: str, sequence: Iterable[Given | bytes], most: int) -> list[Message]:
    """The messages with these readings and these bodies, in this order.

    Readings share one as long as their times ascend, `most` at most.
    """
    made: list[Message] = []
    run: list[Given] = []

    def end_run() -> None:
        if run:
            body = encode(meter_id, [each.time_ns for each in run], [each.milliwatts for each in run])
            made.append(Message(body, content_type(len(run)), len(run)))
            run.clear()

    for item in sequence:
        if isinstance(item, bytes):
            end_run()
            made.append(Message(item, JSON, 0))
            continue
        if run and (len(run) == most or item.time_ns <= run[-1].time_ns):
            end_run()
        run.append(item)
    end_run()
    return made


class Meter:
    """One meter of a fleet. `is_busy`: a message is on its way, or the next one waits for its turn.

    `messages`: what it has to send for some instants, in this order; `instants` are those of which `unsent`, the first
    of them perhaps on its way, is what is not confirmed yet.
    """

    __slots__ = (
        "backlog_ns",
        "batch",
        "instants",
        "interval_ns",
        "is_busy",
        "is_dead",
        "is_doubtful",
        "is_proven",
        "is_suspect",
        "linger_ns",
        "messages",
        "meter_id",
        "phase_ns",
        "refusals",
        "track",
        "unsent",
    )

    def __init__(self, meter_id: str, settings: MeterSettings, power: PowerModel, track: Track) -> None:
        self.meter_id = meter_id
        self.interval_ns = settings.interval_ns
        self.batch = min(settings.batch, most_readings(settings.interval_ns))
        self.backlog_ns = settings.backlog_ns
        self.messages = _composer(meter_id, settings, power, track)
        self.instants = range(0)
        self.unsent: list[Message] = []
        self.track = track
        self.is_busy = False
        self.refusals = 0
        self.is_proven = self.is_doubtful = self.is_suspect = self.is_dead = False  # its queue
        self.linger_ns = settings.linger_ns // settings.interval_ns * settings.interval_ns
        self.phase_ns = 0

    def pair(self, is_paired: bool) -> None:
        """Whether two readings share a message, for a meter that otherwise sends each by itself."""
        self.linger_ns = 2 * self.interval_ns if is_paired else 0

    def spread(self, number: int, count: int) -> None:
        """Let the meters of a fleet, of which this is one, not send all at the same moment what they have gathered."""
        self.phase_ns = self.linger_ns // self.interval_ns * number // count * self.interval_ns

    def until_ns(self, due_ns: int) -> int:
        """Up to which instant readings are to be sent when they are due up to `due_ns`: all of a linger, or none."""
        if not self.linger_ns:
            return due_ns
        ahead_ns = self.interval_ns + self.phase_ns
        return (due_ns + ahead_ns) // self.linger_ns * self.linger_ns - self.phase_ns - 1


def _composer(
    meter_id: str, settings: MeterSettings, power: PowerModel, track: Track
) -> Callable[[range], list[Message]]:
    def plain(instants: range) -> list[Message]:
        return [Message(encode(meter_id, instants, power(instants)), content_type(len(instants)), len(instants))]

    if not settings.faults:
        return plain
    from pvsim.models.faults import Faulty  # most meters have none

    faulty = Faulty(settings.seed, meter_id, settings.interval_ns, power, settings.faults)

    def is_ours(item: Given | bytes) -> bool:
        """Not a late reading of before the settings changed: it had another value, and was sent with that."""
        return isinstance(item, bytes) or item.instant_ns > track.floor_ns

    return lambda instants: messages(meter_id, filter(is_ours, faulty.sequence(instants)), settings.batch)


class Fleet:
    """The meters of one process, and what each has to send next."""

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
        self.refused = 0
        self._link = link
        self._queue_arguments = queue_arguments
        self._ready: deque[Meter] = deque()
        self._on_trial: set[Meter] = set()
        self._trial_ns = 0  # when the first of them was tried, or one was answered
        self._untried: deque[Meter] = deque()
        self._unconfirmed = 0
        self._under_way = 0
        self._connections = 0
        self._undeclared = {meter.meter_id for meter in meters}
        for number, meter in enumerate(meters):
            meter.spread(number, len(meters))
        self._intervals_ns = {meter.interval_ns for meter in meters}
        self._shortest_ns = min(self._intervals_ns)
        self._pairable = [meter for meter in meters if self._is_pairable(meter)]
        self._is_paired = False
        self._waited_ns = 0  # the most that a message's last reading had to wait for its turn, since more became due

    def tick(self, now_ns: int) -> None:
        """Send what has become due. A clock that was set back makes nothing due: those readings exist."""
        before_ns, self.now_ns, self.due_ns = self.due_ns, now_ns, self._timeline.due_ns(now_ns)
        if before_ns // self._shortest_ns != self.due_ns // self._shortest_ns:
            self._pace()
        for meter in self.meters:
            if not meter.is_busy and self._has_more(meter):
                self._enqueue(meter)
        self._look_for_dead_queues()
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
        self._connections += 1
        self._unconfirmed = 0
        self._under_way = 0
        self._ready.clear()
        for meter in self.meters:
            meter.is_busy = meter.is_proven = meter.is_suspect = False
            meter.unsent = []
            if meter.is_dead:
                self._replace(meter)
            elif meter.meter_id in self._undeclared:
                self._look(meter)
        self.tick(self.now_ns)

    def down(self) -> None:
        """There is no connection, and the broker may have lost what it had confirmed in its last seconds."""
        self._on_trial.clear()
        self._untried.clear()
        for meter in self.meters:
            meter.track.go_back()

    def settle(self) -> None:
        """To be called every 30 s."""
        for meter in self.meters:
            meter.track.settle()

    def is_done(self) -> bool:
        """Whether every reading that is due is confirmed."""
        return all(meter.track.next_ns(meter.interval_ns) > self.due_ns for meter in self.meters)

    def behind(self) -> int:
        """How many meters have readings that should have been confirmed a second ago."""
        late_ns = self._timeline.due_ns(self.now_ns - 10**9)
        return sum(meter.track.next_ns(meter.interval_ns) <= meter.until_ns(late_ns) for meter in self.meters)

    def _has_more(self, meter: Meter) -> bool:
        return meter.track.next_ns(meter.interval_ns) <= self._until_ns(meter)

    def _until_ns(self, meter: Meter) -> int:
        return self.due_ns if self.is_last_call else meter.until_ns(self.due_ns)

    def _enqueue(self, meter: Meter) -> None:
        meter.is_busy = True
        self._ready.append(meter)

    def _pump(self) -> None:
        while self._ready and self._has_room() and self._link.can_publish:
            meter = self._ready.popleft()
            if self._may_send(meter):
                self._send(meter)

    def _has_room(self) -> bool:
        return self._unconfirmed < UNCONFIRMED_READINGS and self._under_way < UNCONFIRMED_MESSAGES

    def _send(self, meter: Meter) -> None:
        if not meter.unsent:
            self._skip_old(meter)
            meter.instants = meter.track.upcoming(self._until_ns(meter), meter.interval_ns, meter.batch)
            meter.unsent = meter.messages(meter.instants) if meter.instants else []
            if meter.instants:
                meter.track.sending(meter.instants[-1])
            self._measure(meter)
        if meter.unsent:
            self._publish(meter, meter.unsent[0])
        elif meter.instants:
            self._on_nothing(meter)
        else:
            meter.is_busy = False

    # A fleet that takes most of an interval to send what has become due is near what the broker can take: when that has
    # something else to do, as for a minute whenever its log is full, rows would be late. So meters then take turns, two
    # readings a message, which costs the broker half. Few meters never wait for each other.

    def _is_pairable(self, meter: Meter) -> bool:
        is_one_by_one = not meter.linger_ns and meter.batch > 1
        return is_one_by_one and meter.interval_ns == self._shortest_ns and len(self.meters) > UNCONFIRMED_MESSAGES

    def _measure(self, meter: Meter) -> None:
        if meter.instants and self._pairable:
            waited_ns = self._timeline.due_ns(self._clock()) - meter.instants[-1]
            self._waited_ns = max(self._waited_ns, waited_ns)

    def _pace(self) -> None:
        """Pairs when the last readings had to wait for half an interval; until pairs do not for a quarter of it."""
        is_paired = self._waited_ns > self._shortest_ns // (4 if self._is_paired else 2)
        self._waited_ns = 0
        if is_paired != self._is_paired:
            self._is_paired = is_paired
            for number, meter in enumerate(self._pairable):
                meter.pair(is_paired)
                meter.spread(number, len(self._pairable))

    def _on_nothing(self, meter: Meter) -> None:
        """Faults leave no reading of its instants. Many such may follow: the loop has its turn in between."""
        meter.track.confirm(meter.instants[-1])
        self._link.later(0, partial(self._try_again, meter))

    def _publish(self, meter: Meter, message: Message) -> None:
        if not meter.is_proven:
            if not self._on_trial:
                self._trial_ns = self.now_ns
            self._on_trial.add(meter)
        self._unconfirmed += message.readings
        self._under_way += 1
        answer = partial(self._on_answer, meter, message)
        self._link.publish(meter.meter_id, message.body, message.content_type, answer)

    def _skip_old(self, meter: Meter) -> None:
        if meter.backlog_ns is None:
            return
        oldest_ns = self.due_ns - meter.backlog_ns
        if meter.track.next_ns(meter.interval_ns) < oldest_ns:
            log.info("%s skips the readings that are older than its backlog allows.", meter.meter_id)
            meter.track.skip_to(oldest_ns - 1)

    def _on_answer(self, meter: Meter, message: Message, outcome: str) -> None:
        self._unconfirmed -= message.readings
        self._under_way -= 1
        if meter in self._on_trial:
            self._end_trial(meter, outcome)
        if outcome == CONFIRMED:
            self._on_confirmed(meter, message)
        elif outcome == UNROUTABLE:
            self._on_queue_gone(meter)
        else:
            self._on_refused(meter)
        self._pump()

    def _on_confirmed(self, meter: Meter, message: Message) -> None:
        self.confirmed += message.readings
        if meter.refusals:
            log.info("The queue %s has room again.", meter.meter_id)
            meter.refusals = 0
            self.refused -= 1
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

    def _on_refused(self, meter: Meter) -> None:
        """The queue is full: this meter stays behind, the others go on."""
        if not meter.refusals:
            self.refused += 1
            log.warning("The queue %s is full: its readings follow when there is room.", meter.meter_id)
        meter.refusals += 1
        if meter.refusals >= DEAD_REFUSALS:
            self._suspect(meter)
        wait_s = back_off(meter.refusals, _LONGEST_REFUSED_WAIT_S, random.random())
        self._link.later(wait_s, partial(self._try_again, meter))

    def _try_again(self, meter: Meter) -> None:
        self._ready.append(meter)
        self._pump()

    # --- queues

    def _on_queue_gone(self, meter: Meter) -> None:
        log.warning("The queue %s is gone: all since it was declared is sent again.", meter.meter_id)
        meter.track.queue_lost()
        meter.unsent = []
        self._declare(meter)

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

    # A broker that is killed within a second of declaring a queue may come back with one that is dead: it exists, and
    # answers no publish, or refuses each as if it were full (quorum queues of RabbitMQ 3.10, seen many times). All that
    # such a young queue can hold is sent again, so it can be replaced; on a new connection, because the broker chokes
    # on deleting what it has unanswered messages for. First the broker has to show that it answers at all. A dead queue
    # holds up all answers on its connection. So that it is known which one does, a young queue gets one message first:
    # some queues at a time, and those that were not answered then, on the next connection, one by one.

    def _may_send(self, meter: Meter) -> bool:
        if not meter.is_proven:
            meter.is_proven = not meter.track.is_young()
        if meter.is_proven or self._can_try(meter):
            return True
        self._untried.append(meter)
        return False

    def _can_try(self, meter: Meter) -> bool:
        is_alone = meter.is_doubtful or any(each.is_doubtful for each in self._on_trial)
        return len(self._on_trial) < (1 if is_alone else TRIALS)

    def _end_trial(self, meter: Meter, outcome: str) -> None:
        meter.is_proven, meter.is_doubtful = outcome != UNROUTABLE, False
        self._on_trial.remove(meter)
        self._trial_ns = self.now_ns
        for _ in range(min(len(self._untried), TRIALS - len(self._on_trial))):
            self._ready.append(self._untried.popleft())

    def _look_for_dead_queues(self) -> None:
        if self._are_trials_silent():
            self._suspect(next(iter(self._on_trial)))

    def _are_trials_silent(self) -> bool:
        patience_ns = DEAD_NS if self._connections > 1 else BUSY_NS
        return bool(self._on_trial) and self.now_ns - self._trial_ns > patience_ns

    def _suspect(self, meter: Meter) -> None:
        if meter.track.is_young() and not meter.is_suspect:
            meter.is_suspect = True
            self._link.look(meter.meter_id, partial(self._on_suspect, meter))

    def _on_suspect(self, meter: Meter, queue: Queue | None) -> None:
        meter.is_suspect = False
        is_silent = meter in self._on_trial and self._are_trials_silent()
        refuses = meter.refusals and queue and queue.messages < self._queue_arguments["x-max-length"]
        if is_silent and len(self._on_trial) > 1:
            for each in self._on_trial:
                each.is_doubtful = True
            self._link.reset(f"one of {len(self._on_trial)} young queues does not answer")
        elif is_silent or refuses:
            meter.is_dead = True
            self._link.reset(f"the queue {meter.meter_id} does not work")

    def _replace(self, meter: Meter) -> None:
        meter.is_busy = True
        self._link.delete(meter.meter_id, partial(self._on_deleted, meter))

    def _on_deleted(self, meter: Meter) -> None:
        meter.is_dead = False
        self._on_queue_gone(meter)
