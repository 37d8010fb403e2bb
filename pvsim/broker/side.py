"""A second connection, for what may hang: the first message to a queue, and what has cost the main one before.

Each goes over a channel of its own, some at a time. A queue that does not answer holds up that channel, and nothing
else. RabbitMQ may close the whole connection on such a queue (541): the main one does not notice. It is opened when it
is needed, and closed when it was not for a while. Where the broker does not allow a second connection, the main one
has to do.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pika
import pika.exceptions as errors

from pvsim.broker import pika_private
from pvsim.broker.admission import Event, State
from pvsim.broker.ledger import Entry, Kind
from pvsim.broker.outcome import CONFIRMED, REFUSED, REPLACED, SILENT, UNMARKED, UNROUTABLE, Done
from pvsim.broker.queues import Call
from pvsim.broker.transport import connection_parameters
from pvsim.broker.trouble import ACCESS_REFUSED, NOT_FOUND, blocked_reason, explain
from pvsim.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

log = logging.getLogger("pvsim.broker")

LANES = 64
MOST_TRIES = 3  # to open it
_IDLE_S, _HUNG_S = 10.0, 30.0

NO_SECOND = "No second connection to the broker, so one queue that does not answer may hold up the others: %s"


class Lane:
    """A channel of the side connection, in confirm mode, and the one message that is on its way over it."""

    __slots__ = ("channel", "done", "entry", "exchange", "is_returned", "queue")

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.queue = self.exchange = ""
        self.done: Done | None = None  # whoever still waits for the answer
        self.entry: Entry | None = None
        self.is_returned = False


class Probe(NamedTuple):
    """Something that is asked of a queue to see whether it is answered, on a channel that is closed then.

    `done` is told nothing, or why there is no answer: what has ended the channel, or the connection.
    """

    kind: Kind
    queue: str
    call: Call
    done: Callable[[Exception | None], None]


class Side:
    """The second connection of a broker's owner.

    First messages and probes are in one class because they share what may hang: the connection, and its end.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._guard = broker.loop.guard
        self._connection: Any = None
        self._idle: list[Lane] = []
        self._lanes: set[Lane] = set()
        self._opening = 0
        self._reserved: dict[str, Lane] = {}  # queues whose turn it is
        self._first: deque[tuple[str, Callable[[], None]]] = deque()
        self._again: deque[tuple[str, Callable[[], None]]] = deque()
        self._probes: deque[Probe] = deque()
        self._probe: Probe | None = None
        self._used_s = 0.0
        self._tries = 0
        self.blocked = ""

    @property
    def is_refused(self) -> bool:
        """Whether there is none to be had."""
        return self._tries >= MOST_TRIES

    def prove(self, queue: str, ready: Callable[[], None]) -> None:
        """Call `ready` when it is this queue's turn to be sent a message: those that were stuck come last."""
        is_new = self._broker.admission.state(queue) is State.NEW
        (self._first if is_new else self._again).append((queue, ready))
        self._next()

    def probe(self, probe: Probe) -> None:
        """Try whether the broker answers."""
        self._probes.append(probe)
        self._next()

    def asks(self, queue: str) -> bool:
        """Whether it is this queue's turn to be sent a message that tells whose it is (see marks.py)."""
        return queue in self._reserved and bool(self._reserved[queue].exchange)

    def publish(self, queue: str, body: bytes, properties: Any, done: Done) -> bool:
        """Publish, if it is this queue's turn."""
        lane = self._reserved.pop(queue, None)
        if lane is None:
            return False
        now_s = time.monotonic()
        self._broker.admission.note(queue, Event.TRIED, now_s)
        lane.queue, lane.done = queue, done
        lane.entry = self._broker.ledger.open(Kind.PUBLISH, queue, now_s, partial(self._on_late, lane))
        lane.is_returned = False
        self._broker.counts.published_bytes += len(body)
        lane.channel.basic_publish(lane.exchange, queue, body, properties, mandatory=True)
        return True

    def tick(self, now_s: float) -> None:
        """Called every second."""
        if not self._connection or not self._connection.is_open:
            return
        if self._is_busy():
            self._used_s = now_s
        elif now_s - self._used_s > _IDLE_S:
            self._connection.close()
            self._forget()
        if self._waits() and self._is_hung(now_s):
            self._end()

    def close(self) -> None:
        """The main connection is lost, and nothing of this is of use any more."""
        self._first.clear()
        self._again.clear()
        self._probes.clear()
        self._probe = None
        for lane in self._lanes:
            lane.done = None
        self._end()
        self._tries = 0

    # --- whose turn it is

    def _waits(self) -> bool:
        return bool(self._first or self._again or self._probes)

    def _is_busy(self) -> bool:
        return self._waits() or self._probe is not None or self._opening > 0 or len(self._idle) < len(self._lanes)

    def _is_hung(self, now_s: float) -> bool:
        """All channels wait in vain; those who wait for them know it."""
        entries = [lane.entry for lane in self._lanes]
        is_full = bool(entries) and self._room() <= 0
        return is_full and all(entry and now_s - entry.since_s > _HUNG_S for entry in entries)

    def _room(self) -> int:
        """How many more lanes there may be: one channel is left for probes."""
        return min(LANES - len(self._lanes) - self._opening, pika_private.free_channels(self._connection) - 1)

    def _next(self) -> None:
        if not self._waits():
            return
        if self.is_refused:
            self._do_without()
        elif self._connection is None:
            self._open()
        elif self._connection.is_open:
            self._start_probe()
            while (self._first or self._again) and self._idle:
                self._reserve(self._idle.pop())
            wanted = len(self._first) + len(self._again) - self._opening
            for _ in range(min(wanted, self._room())):
                self._opening += 1
                self._connection.channel(on_open_callback=self._guard(self._on_lane_open))

    def _reserve(self, lane: Lane) -> None:
        queue, ready = (self._first or self._again).popleft()
        lane.exchange = self._broker.marks.exchange(queue)
        self._reserved[queue] = lane
        ready()
        if self._reserved.pop(queue, None):  # there was nothing to be sent
            self._idle.append(lane)

    def _do_without(self) -> None:
        while self._first or self._again:
            (self._first or self._again).popleft()[1]()
        while self._probes:
            self._probes.popleft().done(None)

    # --- messages

    def _on_lane_open(self, channel: Any) -> None:
        lane = Lane(channel)
        guard = self._guard
        channel.add_on_close_callback(guard(partial(self._on_lane_closed, lane)))
        channel.add_on_return_callback(guard(lambda *_: setattr(lane, "is_returned", True)))
        channel.confirm_delivery(
            guard(partial(self._on_answer, lane)), callback=guard(lambda _: self._on_lane_ready(lane))
        )

    def _on_lane_ready(self, lane: Lane) -> None:
        self._opening -= 1
        self._lanes.add(lane)
        self._idle.append(lane)
        self._next()

    def _on_answer(self, lane: Lane, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            lane.channel.close()  # a channel remembers whom it has asked: the next try is to ask anew
            self._finish(lane, REFUSED)
        elif lane.exchange and lane.is_returned:
            self._idle.append(lane)
            self._broker.marks.note_none(lane.queue)
            self._finish(lane, UNMARKED)
        else:
            self._idle.append(lane)
            confirmed = REPLACED if lane.exchange else CONFIRMED
            self._finish(lane, UNROUTABLE if lane.is_returned else confirmed)
        self._next()

    def _finish(self, lane: Lane, outcome: str) -> None:
        done, lane.done = lane.done, None
        if lane.entry:
            self._broker.ledger.close(lane.entry, time.monotonic())
            lane.entry = None
            self._broker.answers.take(lane.queue, outcome, done, is_main=False)

    def _on_late(self, lane: Lane) -> None:
        """Whoever waits need not wait any longer; the channel is free when an answer comes."""
        done, lane.done = lane.done, None
        self._broker.answers.take(lane.queue, SILENT, done, is_main=False)

    def _on_lane_closed(self, lane: Lane, _channel: Any, reason: Exception) -> None:
        if not isinstance(reason, errors.ChannelClosed):
            return  # the connection is lost
        self._lanes.discard(lane)
        self._broker.later(0, self._next)
        if lane.exchange and reason.reply_code in (ACCESS_REFUSED, NOT_FOUND):
            self._broker.marks.do_without(reason)
            self._finish(lane, UNMARKED)
        if lane.entry:
            self._broker.ledger.close(lane.entry, time.monotonic())
            lane.entry = None
            self._broker.answers.on_closed(lane.queue, reason, lane.done)

    # --- probes, one at a time: each may cost the connection

    def _start_probe(self) -> None:
        if self._probes and not self._probe and pika_private.free_channels(self._connection):
            self._probe = self._probes.popleft()
            self._connection.channel(on_open_callback=self._guard(partial(self._on_probe_open, self._probe)))

    def _on_probe_open(self, probe: Probe, channel: Any) -> None:
        ledger = self._broker.ledger

        def on_late() -> None:
            if self._broker.consumes_any:  # it is not the node that is silent
                ledger.close(entry, time.monotonic())
            self._end_probe(probe, self._silence(probe))

        entry = ledger.open(probe.kind, probe.queue, time.monotonic(), on_late)

        def on_closed(_channel: Any, reason: Exception) -> None:
            ledger.close(entry, time.monotonic())
            if isinstance(reason, errors.ChannelClosed):  # or else the connection is lost
                self._end_probe(probe, None if isinstance(reason, errors.ChannelClosedByClient) else reason)

        channel.add_on_close_callback(self._guard(on_closed))
        probe.call(channel, self._guard(lambda _: pika_private.close_channel(channel)))

    def _end_probe(self, probe: Probe, reason: Exception | None) -> None:
        self._broker.later(0, self._next)  # pika counts a channel until those who wait for its end are told
        if self._probe is probe:
            self._probe = None
            probe.done(reason)

    # --- the connection

    def _open(self) -> None:
        self._used_s = time.monotonic()
        try:
            parameters = connection_parameters(self._broker.settings, self._broker.address)
        except ConfigError:  # a file that could be read before: the main connection says so when it is lost
            self._broker.later(1.0, self._next)
            return
        self._connection = pika_private.Connection(
            self._broker.loop,
            parameters,
            on_open_callback=self._guard(self._on_open),
            on_open_error_callback=self._guard(self._on_failed),
            on_close_callback=self._guard(self._on_lost),
        )

    def _on_open(self, connection: Any) -> None:
        if connection is not self._connection:
            connection.close()
            return
        self._tries = 0
        guard = self._guard
        connection.add_on_connection_blocked_callback(guard(lambda _, frame: self._set_blocked(blocked_reason(frame))))
        connection.add_on_connection_unblocked_callback(guard(lambda *_: self._set_blocked("")))
        self._next()

    def _set_blocked(self, reason: str) -> None:
        self.blocked = reason
        self._broker.on_blocked_changed()

    def _on_failed(self, connection: Any, reason: Exception) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._tries += 1
        if self.is_refused:
            log.warning(NO_SECOND, explain(reason, self._broker.settings, self._broker.address).sentence)
        self._broker.later(1.0, self._next)

    def _on_lost(self, connection: Any, reason: Exception) -> None:
        if connection is self._connection:
            self._forget(reason)

    def _end(self) -> None:
        """Without a good-bye: what hangs there would not answer it."""
        connection = self._connection
        self._forget()
        if connection and connection.is_open:
            pika_private.terminate(connection, BrokerError("it is not needed any more"))

    def _forget(self, reason: Exception | None = None) -> None:
        """The connection is gone: who waits for an answer gets none, and who waits for a turn has it with the next."""
        lanes, self._lanes = self._lanes, set()
        probe, self._probe = self._probe, None
        self._connection, self._opening = None, 0
        self._idle.clear()
        self._reserved.clear()
        self._broker.later(0.5, self._next)
        if self.blocked:
            self._set_blocked("")
        for lane in lanes:
            if lane.entry:
                self._broker.ledger.close(lane.entry, time.monotonic())
                self._broker.admission.note(lane.queue, Event.LOST, time.monotonic())
                if lane.done:
                    lane.done(SILENT)
        if probe:
            probe.done(reason or self._silence(probe))

    def _silence(self, probe: Probe) -> Exception:
        return BrokerError(f"it does not answer; {self._broker.admission.mend(probe.queue)}")
