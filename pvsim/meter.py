"""The meter service: a reading of each of its meters at each instant of the grid, delivered to the broker.

A meter has at most one message on its way. What has become due until the broker confirms it goes together
into the next message: a reading at a time when all is well, many when the meter is behind. So readings keep
their order, nothing has to be stored, and what is unconfirmed is bounded, whatever happens. History is no case of
its own: a meter that is asked for the past is one that is behind. A meter with faults may make several messages of what
is due, or none; they go one by one, and count as delivered when the last is. `Fleet` decides, without clock, broker or
files of its own; `Service` gives it the real ones.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pvsim import config, history, runtime
from pvsim.broker import CONFIRMED, OTHER_ARGUMENTS, UNROUTABLE, Broker, Delivery, Loop, Queue, arguments, back_off
from pvsim.history import Timeline, bar, parse_speed
from pvsim.models import PowerModel, load
from pvsim.progress import ProgressFile, Track, file_name
from pvsim.reading import END_NS, JSON, content_type, encode, expand_ids

if TYPE_CHECKING:
    from pvsim.models.faults import Given

log = logging.getLogger("pvsim.meter")

UNCONFIRMED_READINGS = 65_536  # in one process, whatever the number of meters
SETTLE_S, SAVE_S, TICK_S, DRAIN_S, END_S, FAST_TICK_S = 30.0, 5.0, 1.0, 1.5, 0.1, 0.01
DEAD_NS = 3 * 10**9  # a queue that answers no publish for so long, after a lost connection, is suspect
DEAD_REFUSALS = 4  # or refuses so often: one that is being declared from the other side refuses, too, for a moment
TRIALS = 64  # young queues that are tried at a time
BUSY_NS = 15 * 10**9  # or for so long on the first connection: a broker may be slow when thousands of meters start
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

    def __init__(self, meter_id: str, settings: config.MeterSettings, power: PowerModel, track: Track) -> None:
        self.meter_id = meter_id
        self.interval_ns = settings.interval_ns
        self.batch = settings.batch
        self.backlog_ns = settings.backlog_ns
        self.messages = _composer(meter_id, settings, power)
        self.instants = range(0)
        self.unsent: list[Message] = []
        self.track = track
        self.is_busy = False
        self.refusals = 0
        self.is_proven = self.is_doubtful = self.is_suspect = self.is_dead = False  # its queue
        self.linger_ns = settings.linger_ns // settings.interval_ns * settings.interval_ns
        self.phase_ns = 0

    def spread(self, number: int, count: int) -> None:
        """Let the meters of a fleet, of which this is one, not send all at the same moment what they have gathered."""
        self.phase_ns = self.linger_ns // self.interval_ns * number // count * self.interval_ns

    def until_ns(self, due_ns: int) -> int:
        """Up to which instant readings are to be sent when they are due up to `due_ns`: all of a linger, or none."""
        if not self.linger_ns:
            return due_ns
        ahead_ns = self.interval_ns + self.phase_ns
        return (due_ns + ahead_ns) // self.linger_ns * self.linger_ns - self.phase_ns - 1


def _composer(meter_id: str, settings: config.MeterSettings, power: PowerModel) -> Callable[[range], list[Message]]:
    def plain(instants: range) -> list[Message]:
        return [Message(encode(meter_id, instants, power(instants)), content_type(len(instants)), len(instants))]

    if not settings.faults:
        return plain
    from pvsim.models.faults import Faulty  # most meters have none

    faulty = Faulty(settings.seed, meter_id, settings.interval_ns, power, settings.faults)
    return lambda instants: messages(meter_id, faulty.sequence(instants), settings.batch)


class Fleet:
    """The meters of one process, and what each has to send next."""

    def __init__(
        self,
        meters: Sequence[Meter],
        link: Link,
        queue_arguments: dict[str, Any],
        now_ns: int,
        timeline: Timeline = Timeline(),  # noqa: B008  (it is immutable)
    ) -> None:
        self.meters = meters
        self.now_ns = now_ns  # by the clock
        self.due_ns = timeline.due_ns(now_ns)
        self.is_last_call = False  # nothing more becomes due: send what was gathered, too
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
        self._connections = 0
        self._undeclared = {meter.meter_id for meter in meters}
        for number, meter in enumerate(meters):
            meter.spread(number, len(meters))

    def tick(self, now_ns: int) -> None:
        """Send what has become due. A clock that was set back makes nothing due: those readings exist."""
        self.now_ns, self.due_ns = now_ns, self._timeline.due_ns(now_ns)
        for meter in self.meters:
            if not meter.is_busy and self._has_more(meter):
                self._enqueue(meter)
        self._look_for_dead_queues()
        self._pump()

    def next_tick_ns(self, now_ns: int) -> int:
        """When the next reading becomes due, by the clock."""
        if self._timeline.is_over(now_ns):
            return END_NS
        due_ns, intervals = self._timeline.due_ns(now_ns), {meter.interval_ns for meter in self.meters}
        return self._timeline.clock_ns(min((due_ns // interval + 1) * interval for interval in intervals))

    def up(self) -> None:
        """There is a new connection, and nothing is under way on it.

        Queues are declared once. If one is gone later, the next message to it is returned.
        """
        self._connections += 1
        self._unconfirmed = 0
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
        while self._ready and self._unconfirmed < UNCONFIRMED_READINGS and self._link.can_publish:
            meter = self._ready.popleft()
            if self._may_send(meter):
                self._send(meter)

    def _send(self, meter: Meter) -> None:
        if not meter.unsent:
            self._skip_old(meter)
            meter.instants = meter.track.upcoming(self._until_ns(meter), meter.interval_ns, meter.batch)
            meter.unsent = meter.messages(meter.instants) if meter.instants else []
        if meter.unsent:
            self._publish(meter, meter.unsent[0])
        elif meter.instants:
            self._on_nothing(meter)
        else:
            meter.is_busy = False

    def _on_nothing(self, meter: Meter) -> None:
        """Faults leave no reading of its instants. Many such may follow: the loop has its turn in between."""
        meter.track.confirm(meter.instants[-1])
        self._link.later(0, partial(self._try_again, meter))

    def _publish(self, meter: Meter, message: Message) -> None:
        if not meter.is_proven:
            self._trial_ns = self._trial_ns if self._on_trial else self.now_ns
            self._on_trial.add(meter)
        self._unconfirmed += message.readings
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


class Options(NamedTuple):
    """The command line and both configuration files, read and checked."""

    broker: config.BrokerSettings
    meters: Mapping[str, config.MeterSettings]
    progress: Path | None
    timeline: Timeline


class Service:
    """A fleet with a real clock, a real broker and a real progress file."""

    def __init__(self, options: Options, host: runtime.Host, clock: Callable[[], int] = time.time_ns) -> None:
        now_ns = clock()
        self._host = host
        self._clock = clock
        self._loop = Loop()
        self._broker = Broker(options.broker, self._loop, self)
        self._file = ProgressFile(options.progress) if options.progress else None
        self._tracks = self._file.load() if self._file else {}
        self._timeline = options.timeline
        meters = [self._meter(meter_id, settings, now_ns) for meter_id, settings in options.meters.items()]
        self._timeline = self._timeline.begin(min(meter.track.confirmed_ns for meter in meters), now_ns)
        self.fleet = Fleet(meters, self._broker, arguments(options.broker), now_ns, self._timeline)
        self._stop_ns: int | None = None
        self._began_s = time.monotonic()
        self._first_ns = options.timeline.start_ns or now_ns
        self._has_bar = self._timeline.end_ns is not None and sys.stderr.isatty()

    def _meter(self, meter_id: str, settings: config.MeterSettings, now_ns: int) -> Meter:
        track = self._tracks.get(meter_id)
        if track is None:
            start_ns = self._timeline.start_ns
            track = self._tracks[meter_id] = Track(now_ns if start_ns is None else start_ns - 1)
        else:
            track.start(now_ns, self._timeline.has_stops)
        return Meter(
            meter_id, settings, load.model(settings.model, settings.seed, meter_id, **settings.parameters), track
        )

    def run(self) -> None:
        """Work until a signal says stop."""
        log.info("Meter created: %s", [meter.meter_id for meter in self.fleet.meters])
        self._save()
        self._loop.watch(self._host.wake_fd, self._on_wake)
        self._broker.start()
        self._tick()
        self._every(SETTLE_S, self.fleet.settle)
        self._every(SAVE_S, self._save)
        if self._timeline.end_ns is not None:
            self._every(END_S, self._look_for_the_end)
        self._host.ready()
        self._loop.run()

    # --- what the broker tells

    def on_up(self) -> None:
        """Connected."""
        self.fleet.up()

    def on_down(self) -> None:
        """Not connected."""
        self.fleet.down()
        if self._stop_ns is not None:
            self._finish()

    def on_delivery(self, delivery: Delivery) -> None:
        """A meter consumes nothing."""

    def on_cancelled(self, queue: str) -> None:
        """A meter consumes nothing."""

    def on_forbidden(self, queue: str) -> None:
        """A meter consumes nothing."""

    # --- time

    def _every(self, period_s: float, call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self._loop.later(period_s, again)

        self._loop.later(period_s, again)

    def _tick(self) -> None:
        now_ns = self._clock()
        if self._stop_ns is None:
            self.fleet.tick(now_ns)
            self._host.status(self._status())
        self._host.alive()
        wait_s = (self.fleet.next_tick_ns(now_ns) - self._clock()) / 1e9
        shortest_s = FAST_TICK_S if self._timeline.speed else 0.0
        self._loop.later(max(shortest_s, min(wait_s, TICK_S)), self._tick)

    def _look_for_the_end(self) -> None:
        """There is one: when all up to it is due and confirmed, nothing is left to do."""
        now_ns = self._clock()
        if self._has_bar:
            self._show_bar()
        if self._stop_ns is not None or not self._timeline.is_over(now_ns):
            return
        if not self.fleet.is_last_call:
            self.fleet.is_last_call = True
            self.fleet.tick(now_ns)
        if self.fleet.is_done():
            self._stop_ns = now_ns
            self._host.stopping()
            log.info("All readings asked for are confirmed, %d of them by this run.", self.fleet.confirmed)
            self._finish()

    def _show_bar(self) -> None:
        first_ns, end_ns, tracks = self._first_ns, self._timeline.end_ns, self._tracks.values()
        assert end_ns is not None
        done_ns = sum(max(0, min(track.confirmed_ns + 1, end_ns) - first_ns) for track in tracks)
        share = min(1.0, done_ns / max(1, (end_ns - first_ns) * len(tracks)))
        text = bar(share, self.fleet.confirmed, time.monotonic() - self._began_s)
        print(f"{text}\x1b[K", end="\r", file=sys.stderr, flush=True)

    def _status(self) -> str:
        fleet = self.fleet
        parts = [f"{len(fleet.meters)} meters" if len(fleet.meters) > 1 else fleet.meters[0].meter_id]
        parts.append(f"{fleet.confirmed} readings confirmed")
        if fleet.refused:
            parts.append(f"{fleet.refused} full queues")
        if behind := fleet.behind():
            parts.append(f"{behind} behind")
        return f"{', '.join(parts)}; {self._broker.state}"

    # --- the end

    def _on_wake(self) -> None:
        self._host.drain_wake()
        if self._host.stop_requested and self._stop_ns is None:
            self._stop()

    def _stop(self) -> None:
        """Told to stop: the last reading is that of now; deliver what is due, as far as it goes in a short time."""
        self._stop_ns = now_ns = self._clock()
        self._host.stopping()
        log.info("Stopping.")
        self.fleet.is_last_call = True
        self.fleet.tick(now_ns)
        self._wait_until_done(time.monotonic() + DRAIN_S)

    def _wait_until_done(self, deadline: float) -> None:
        assert self._stop_ns is not None
        if self.fleet.is_done() or not self._broker.is_up or time.monotonic() > deadline:
            self._finish()
        else:
            self._loop.later(0.01, partial(self._wait_until_done, deadline))

    def _finish(self) -> None:
        assert self._stop_ns is not None
        for meter in self.fleet.meters:
            meter.track.stop(self._stop_ns)
        self._save()
        self._broker.close(self._loop.stop)

    def _save(self) -> None:
        if not self._file:
            return
        try:
            self._file.save(self._tracks)
        except OSError as error:
            log.error("Cannot save the progress in %s: %s. Trying again.", self._file.path, error.strerror)


def parser() -> argparse.ArgumentParser:
    """The command line of pvsim-meter."""
    parser = argparse.ArgumentParser(
        prog="pvsim-meter",
        description="Simulated electricity meters that publish their readings to RabbitMQ.",
    )
    config.add_options(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-nb",
        "--nb-meter",
        type=config.parse_nb_meter,
        metavar="N",
        help="publish Meter_0 … Meter_N-1 (default: nb_meter of the simulation file, else 1)",
    )
    which.add_argument(
        "-ids", "--meter-ids", nargs="+", metavar="ID", help="publish these, ranges like Meter_0..499 too"
    )
    parser.add_argument(
        "--interval",
        type=config.parse_interval,
        metavar="SECONDS",
        help="seconds between two readings of a meter (default: interval of the simulation file, else 1)",
    )
    history.add_options(
        parser,
        "publish the past from then on, as fast as it goes: 2026-01-01, local or with +02:00, or epoch seconds",
        "end when all readings before that time are confirmed",
    )
    parser.add_argument(
        "--speed",
        type=parse_speed,
        metavar="FACTOR",
        help="let time go by so many times as fast, from --from or else from now on",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=os.environ.get("STATE_DIRECTORY"),
        help="keep the progress there, so that no restart leaves a gap (default: $STATE_DIRECTORY, else nowhere)",
    )
    runtime.add_options(parser)
    return parser


def prepare(given: argparse.Namespace) -> Options:
    """Read and check everything that the user has set; ConfigError says what is wrong."""
    simulation = config.load_simulation(given.simulation_file, given.configuration_file)
    count = simulation.nb_meter if given.nb_meter is None else given.nb_meter
    meter_ids = expand_ids(given.meter_ids or [f"Meter_{number}" for number in range(count)])
    meters = {meter_id: simulation.meter(meter_id) for meter_id in meter_ids}
    if given.interval is not None:
        meters = {meter_id: replace(settings, interval_ns=given.interval) for meter_id, settings in meters.items()}
    timeline = Timeline(*history.span_ns(given, config.zone(simulation.timezone)), given.speed)
    if timeline.is_history:  # whoever asks for the past wants all of it
        meters = {meter_id: replace(settings, backlog_ns=None) for meter_id, settings in meters.items()}
    specs = [*(given.meter_ids or []), *([timeline.name] if timeline.is_history else [])]
    directory = given.state_dir and Path(given.state_dir).absolute()
    progress = directory / file_name(specs) if directory else None
    return Options(config.load_broker(given.configuration_file), meters, progress, timeline)


def serve(options: Options, host: runtime.Host) -> None:
    """Run the service until it is told to stop."""
    Service(options, host).run()


def main(argv: Sequence[str] | None = None) -> int:
    """The command pvsim-meter."""
    return runtime.execute(parser(), prepare, serve, argv)


if __name__ == "__main__":
    raise SystemExit(main())
