"""A fleet against a broker that forgets, refuses, loses queues and goes away: no reading is ever missing.

The broker here is a dict that carries the real bytes; it obeys the rules that real ones were seen to obey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pvsim.broker import CONFIRMED, REFUSED, REPLACED, SILENT, TOO_LARGE, UNMARKED, UNROUTABLE, Queue
from pvsim.config import MeterSettings
from pvsim.errors import NotAReading
from pvsim.meter import fleet
from pvsim.meter.fleet import Fleet, Meter
from pvsim.meter.pacing import Linger
from pvsim.meter.progress import Track, dump, parse
from pvsim.meter.timeline import Timeline
from pvsim.models import load
from pvsim.models.faults import WHOLE, Fault, Faulty, Periods
from pvsim.reading import decode
from tests.examples import examples

SECOND = 10**9
FORGETS_NS = 5 * SECOND - 1  # a broker that is killed forgets no more than that
START = 1_700_000_000 * SECOND
IDS = ["M_0", "M_1", "M_2"]


class World:
    """Clock, timers and broker for a fleet, and what the consumer of its queues has received."""

    def __init__(
        self,
        batch: int = 5,
        interval_ns: int = SECOND,
        backlog_ns: int | None = None,
        linger_ns: int = 0,
        timeline: Timeline = Timeline(),  # noqa: B008  (it is immutable)
        faults: Mapping[str, Fault] = {},
        ids: Sequence[str] = IDS,
    ) -> None:
        self.now_ns = START
        self.most_under_way = 0
        self.timeline = timeline
        self.settings = MeterSettings(
            batch=batch, interval_ns=interval_ns, backlog_ns=backlog_ns, linger_ns=linger_ns, faults=faults
        )
        self.received: dict[str, set[int]] = {meter_id: set() for meter_id in ids}
        self.order: dict[str, list[int]] = {}  # of what was received at the last look
        self.rubbish: dict[str, set[bytes]] = {meter_id: set() for meter_id in ids}
        self.messages: list[int] = []
        self.queues: dict[str, list[tuple[int, bytes]]] = {}  # (when confirmed, body)
        self.dead: set[str] = set()  # queues that do not answer (for now), and what is sent to them waits
        self.unanswered: list[tuple[str, bytes, Callable[[str], None], bool]] = []
        self.marked: set[str] = set()  # queues that somebody who is no meter has declared
        self._needs_no_question: set[str] = set()
        self._asking = ""
        self.blocked = False
        self.is_prompt = False  # a turn comes at once: channels are idle
        self.most_bytes = 10**9
        self.proven: set[str] = set()
        self._declared_ns: dict[str, int] = {}
        self.is_connected = False
        self.is_full = False
        self._under_way: list[Callable[[], None]] = []
        self._timers: list[Callable[[], None]] = []
        self._saved = ""
        self._start()

    # what the fleet sees

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """A timer of this connection; it fires when the test says so."""
        self._timers.append(call)

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        """Look, answered later."""
        self._under_way.append(lambda: done(Queue(self._messages(queue), 0) if queue in self.queues else None))

    def _messages(self, queue: str) -> int:
        return 0 if queue in self.dead else len(self.queues[queue])  # a count of 0 proves nothing

    def declare(self, queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> None:
        """Declare, answered later."""

        def answer() -> None:
            if queue not in self.queues:
                self.queues[queue], self._declared_ns[queue] = [], self.now_ns
            done(Queue(0, 0))

        self._under_way.append(answer)

    @property
    def can_publish(self) -> bool:
        """Whether a message would go out now."""
        return self.is_connected and not self.blocked

    def works(self, queue: str) -> bool:
        """Whether a queue has answered on this connection."""
        return queue in self.proven

    def prove(self, queue: str, ready: Callable[[], None]) -> None:
        """Its turn comes later, or at once."""

        def turn() -> None:
            self._asking = queue if self.marked and queue not in self._needs_no_question else ""
            ready()
            self._asking = ""

        if self.is_prompt:
            turn()
        else:
            self._under_way.append(turn)

    def asks(self, queue: str) -> bool:
        """Whether a message tells whose the queue is."""
        return queue == self._asking

    def publish(self, queue: str, body: bytes, content_type: str, done: Callable[[str], None]) -> None:
        """Publish, answered later."""
        assert self.can_publish
        self.messages.append(body.count(b"\n") + 1)
        self._under_way.append(partial(self._arrive, queue, body, done, self.asks(queue)))
        self.most_under_way = max(self.most_under_way, sum(isinstance(call, partial) for call in self._under_way))

    def _arrive(self, queue: str, body: bytes, done: Callable[[str], None], asks: bool) -> None:
        if len(body) > self.most_bytes:
            done(TOO_LARGE)
        elif asks and queue not in self.marked:
            self._needs_no_question.add(queue)
            done(UNMARKED)
        elif queue not in self.queues:
            self.proven.discard(queue)
            done(UNROUTABLE)
        elif queue in self.dead:
            self.unanswered.append((queue, body, done, asks))
        elif self.is_full:
            done(REFUSED)
        else:
            self.queues[queue].append((self.now_ns, body))
            self.proven.add(queue)
            self._needs_no_question.add(queue)
            done(REPLACED if asks else CONFIRMED)

    # what happens to it

    def happen(self, *events: str | float) -> None:
        """One after the other: those that have a name here, or seconds that go by."""
        for event in events:
            if isinstance(event, str):
                getattr(self, event)()
            else:
                self.pass_time(event)

    def _start(self) -> None:
        tracks = parse(self._saved) if self._saved else {}
        for track in tracks.values():
            track.start(self.now_ns, self.timeline.has_stops)
        first_ns = self.now_ns if self.timeline.start_ns is None else self.timeline.start_ns - 1
        self.tracks = {meter_id: tracks.get(meter_id) or Track(first_ns) for meter_id in self.received}
        meters = [Meter(m, self.settings, load.random(0, m), track) for m, track in self.tracks.items()]
        self.fleet = Fleet(meters, self, {"x-max-length": 0}, lambda: self.now_ns, self.timeline)
        self._saved = dump(self.tracks)

    def pass_time(self, seconds: float) -> None:
        """The clock goes on; every second the fleet settles, and every 5 s it saves."""
        before, self.now_ns = self.now_ns, self.now_ns + int(seconds * SECOND)
        for period, call in ((1, self.fleet.settle), (5, self.save)):
            if before // (period * SECOND) != self.now_ns // (period * SECOND):
                call()
        self.fleet.tick(self.now_ns)

    def save(self) -> None:
        """Save the progress."""
        self._saved = dump(self.tracks)

    def up(self) -> None:
        """The connection comes back."""
        if not self.is_connected:
            self.is_connected = True
            self.fleet.up()

    def block(self) -> None:
        """An alarm: the broker takes no messages."""
        self.blocked = True

    def unblock(self) -> None:
        """The alarm is over."""
        self.blocked = False

    def hasten(self) -> None:
        """From now on, turns come at once."""
        self.is_prompt = True

    def leader_goes(self) -> None:
        """A queue does not answer any more."""
        if "M_1" in self.queues:
            self.dead.add("M_1")

    def leader_comes(self) -> None:
        """All queues answer: what waits for them arrives, and is answered if its patience has not ended."""
        self.dead.clear()
        unanswered, self.unanswered = self.unanswered, []
        for waiting in unanswered:
            self._arrive(*waiting)

    def patience_ends(self) -> None:
        """What has had no answer is told to be silent."""
        for index, (queue, body, done, asks) in enumerate(self.unanswered):
            self.unanswered[index] = (queue, body, lambda _: None, asks)
            self.proven.discard(queue)
            done(SILENT)

    def down(self) -> None:
        """The connection is lost, with what was under way: some of it arrived, its answers did not."""
        self.is_connected = False
        for call in self._under_way[: len(self._under_way) // 2]:
            if not isinstance(call, partial):
                continue
            queue, body, _, asks = call.args
            if queue in self.queues and not self.is_full and (queue in self.marked or not asks):
                self.queues[queue].append((self.now_ns, body))
        self._under_way, self._timers, self.unanswered = [], [], []
        self.proven.clear()
        self._needs_no_question.clear()
        self.blocked = False
        self.fleet.down()

    def answer(self) -> None:
        """The broker answers what is under way."""
        while self._under_way:
            self._under_way.pop(0)()

    def live(self) -> None:
        """All is well for three seconds."""
        self.pass_time(3)
        self.answer()

    def broker_forgets(self) -> None:
        """Killed: what it confirmed in the last seconds is gone, and so are queues that are seconds old."""
        self.down()
        self.dead |= {queue for queue, when in self._declared_ns.items() if self.now_ns - when < SECOND}
        for queue, messages in self.queues.items():
            self.queues[queue] = [(when, body) for when, body in messages if self.now_ns - when > FORGETS_NS]

    def queue_goes(self) -> None:
        """A queue is deleted, with all that nobody has consumed."""
        self.queues.pop("M_0", None)

    def set_up_anew(self) -> None:
        """A broker without anything, and a PV service that is there first."""
        self.down()
        self.queues["M_0"] = []
        self.marked.add("M_0")

    def consume(self) -> None:
        """The PV service takes what is there."""
        self.order = {queue: [] for queue in self.queues}
        for queue, messages in self.queues.items():
            for _, body in messages:
                try:
                    times_ns = [reading.time_ns for reading in decode(body, queue)]
                    self.received[queue] |= {*times_ns}
                    self.order[queue] += times_ns
                except NotAReading:
                    self.rubbish[queue].add(body)
            messages.clear()

    def crash(self) -> None:
        """kill -9: what is not saved is gone."""
        self.is_connected = self.blocked = False
        self._under_way, self._timers, self.unanswered = [], [], []
        self.proven.clear()
        self._start()

    def restart(self) -> None:
        """systemctl restart: told to stop, then started again at once."""
        self._stop()
        self.crash()

    def pause(self) -> None:
        """Told to stop, started again after a minute; meanwhile the broker was killed."""
        self._stop()
        self.broker_forgets()
        self.now_ns += 60 * SECOND
        self.crash()

    def _stop(self) -> None:
        for track in self.tracks.values():
            track.stop(self.now_ns)
        self.save()

    def fire(self) -> None:
        """What waited for a while has waited long enough."""
        timers, self._timers = self._timers, []
        for call in timers:
            call()

    def fill(self) -> None:
        """The queues are full."""
        self.is_full = True

    def make_room(self) -> None:
        """The queues have room."""
        self.is_full = False

    def calm_down(self, intervals: int = 1) -> None:
        """Everything works again, for long enough."""
        self.is_full = self.blocked = False
        self.fleet.is_last_call = True
        self.up()
        self.leader_comes()
        self.patience_ends()
        self.pass_time(
            intervals * self.settings.interval_ns / SECOND
        )  # the next message shows whether its queue is gone
        self._settle_down()
        self.consume()

    def _settle_down(self) -> None:
        while self._under_way or self._timers:
            self.answer()
            self.patience_ends()
            self.leader_comes()
            self.fire()


EVENTS = [
    "up",
    "live",
    "down",
    "answer",
    "broker_forgets",
    "queue_goes",
    "set_up_anew",
    "consume",
    "crash",
    "restart",
    "pause",
    "fire",
    "fill",
    "make_room",
    "block",
    "unblock",
    "hasten",
    "leader_goes",
    "leader_comes",
    "patience_ends",
]
events = st.lists(st.sampled_from(EVENTS) | st.floats(0.1, 40), min_size=5, max_size=60)


def test_rows_of_another_queue_are_in_order() -> None:
    """What the queue that was lost had held comes first, and then what is new; that of other meters just goes on."""
    world = World(batch=3)
    world.happen("up", "live", "live", "live", "consume", 10.0, "answer", "consume")
    world.happen("set_up_anew", "up", "answer", 4.0)
    confirmed = world.fleet.confirmed
    world.calm_down(0)
    for meter_id in IDS:
        assert world.received[meter_id] == set(range(START + SECOND, world.now_ns + 1, SECOND))
    assert world.order["M_0"] == [*range(START + SECOND, world.now_ns + 1, SECOND)]
    assert world.fleet.confirmed > confirmed


@examples(200)
@example(["live", "live", "live", "restart", 1.0, "broker_forgets"], 1, SECOND, 0)
@given(events, st.integers(1, 7), st.sampled_from([SECOND, SECOND // 4, 7 * SECOND]), st.sampled_from([0, 5 * SECOND]))
def test_nothing_is_missing(happens: list[str | float], batch: int, interval_ns: int, linger_ns: int) -> None:
    """Whatever happens, once all is well again the consumer has every reading since the meter began."""
    world = World(batch, interval_ns, linger_ns=linger_ns)
    world.up()
    world.happen(*happens)
    world.calm_down()
    expected = set(range((START // interval_ns + 1) * interval_ns, world.now_ns + 1, interval_ns))
    for meter_id in IDS:
        assert expected <= world.received[meter_id], f"{meter_id} lacks {min(expected - world.received[meter_id])}"
        assert world.received[meter_id] == expected


def some_turns(chance: int) -> Periods:
    return Periods(8 * SECOND, 3 * SECOND, chance)


EVERYTHING = {
    "dropout": Fault(some_turns(WHOLE // 2)),
    "clock": Fault(some_turns(WHOLE // 2), 20 * SECOND),
    "late": Fault(some_turns(WHOLE // 2), 9 * SECOND),
    "shuffle": Fault(some_turns(WHOLE // 2), 3),
    "duplicate": Fault(some_turns(WHOLE)),
    "rubbish": Fault(some_turns(WHOLE // 2)),
}


@examples(130)
@given(events, st.integers(1, 7), st.sampled_from([SECOND, 7 * SECOND]), st.sampled_from([0, 5 * SECOND]))
def test_nothing_is_missing_with_faults(
    happens: list[str | float], batch: int, interval_ns: int, linger_ns: int
) -> None:
    """Whatever happens to a meter with faults, the consumer has every reading that is to exist, and all the rubbish."""
    world = World(batch, interval_ns, linger_ns=linger_ns, faults=EVERYTHING)
    world.up()
    world.happen(*happens)
    world.calm_down(intervals=20)  # not all of them are dropped
    slots = range((START // interval_ns + 1) * interval_ns, world.now_ns + 1, interval_ns)
    for meter_id in IDS:
        faulty = Faulty(0, meter_id, interval_ns, load.random(0, meter_id), EVERYTHING)
        sequence = list(faulty.sequence(slots))
        assert world.received[meter_id] == {item.time_ns for item in sequence if not isinstance(item, bytes)}
        assert world.rubbish[meter_id] == {item for item in sequence if isinstance(item, bytes)}
    assert world.fleet.is_done()


def test_a_drop_out_is_no_delay() -> None:
    """A meter that has no readings for long is not behind, and goes on at once when it has some again."""
    world = World(batch=10, faults={"dropout": Fault(((START, START + 1000 * SECOND),))})
    world.up()
    world.answer()
    world.pass_time(1000)
    world._settle_down()
    assert (world.messages, world.fleet.behind()) == ([1, 1, 1], 0)
    world.pass_time(1)
    world.answer()
    world.consume()
    assert [len(times) for times in world.received.values()] == [2, 2, 2]
    assert world.fleet.confirmed == 6


@examples(100)
@given(events)
def test_unconfirmed_readings_are_bounded(happens: list[str | float]) -> None:
    """Whatever happens, one message of a meter is on its way at most, with as many readings as it may carry."""
    world = World(batch=3)
    for event in happens:
        world.happen(event)
        queues = [call.args[0] for call in world._under_way if isinstance(call, partial)]
        assert len(queues) == len(set(queues))
    assert all(count <= 3 for count in world.messages)


def test_the_window_of_a_process_is_bounded() -> None:
    """With many meters far behind, what is unconfirmed stays within the window, and all still get through."""
    world = World(batch=1000)
    world.up()
    world.answer()
    window, fleet.UNCONFIRMED_READINGS = fleet.UNCONFIRMED_READINGS, 1500
    try:
        world.pass_time(5000)
        assert sum(world.messages[-3:]) <= 2000
        world.calm_down()
    finally:
        fleet.UNCONFIRMED_READINGS = window
    assert all(len(times) == 5001 for times in world.received.values())


def test_a_full_window_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that has not answered yet has its turn at once, but there is no room: it is sent to later."""
    monkeypatch.setattr(fleet, "UNCONFIRMED_READINGS", 1500)
    world = World(batch=1000)
    world.happen("hasten", 5000, "up", "answer")
    assert world.messages == [1000] * 15
    world.consume()
    assert all(len(times) == 5000 for times in world.received.values())


def test_a_busy_broker_gets_fewer_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many messages are under way; what becomes due until it is a meter's turn shares its next message."""
    monkeypatch.setattr(fleet, "UNCONFIRMED_MESSAGES", 2)
    world = World(batch=1000)
    world.happen("up", "answer", 1, "answer")
    world.most_under_way, world.messages = 0, []
    world.happen(1, 1, 1)
    assert world.most_under_way == 2
    assert world.messages == [1, 1]
    world.answer()
    assert sorted(world.messages) == [1, 1, 2, 2, 3]
    world.consume()
    assert all(len(times) == 4 for times in world.received.values())


def test_live_readings_go_one_by_one() -> None:
    """When all is well, a reading is a message of its own, at its instant."""
    world = World(batch=1000)
    world.up()
    world.answer()
    for _ in range(10):
        world.pass_time(1)
        world.answer()
    assert world.messages == [1] * 30


def test_nothing_goes_out_before_a_connection_is_told_of() -> None:
    """It stands a moment earlier. What becomes due in that moment is sent once, not twice, and confirmed once."""
    world = World()
    world.is_connected = True
    world.pass_time(3)
    world.fleet.up()
    world.answer()
    assert world.messages == [3] * 3
    world.down()
    world.is_connected = True
    world.pass_time(2)
    world.fleet.up()
    world.answer()
    assert len(world.messages) == 6
    assert world.fleet.is_done()


def test_a_full_queue_stops_only_its_meter() -> None:
    """A refused meter stays behind and catches up; the others do not notice."""
    world = World(batch=1000)
    world.up()
    world.answer()
    arrive = world._arrive

    def refuse(queue: str, body: bytes, done: Callable[[str], None], asks: bool) -> None:
        done(REFUSED) if queue == "M_1" and full else arrive(queue, body, done, asks)

    full = True
    world._arrive = refuse  # type: ignore[method-assign]
    for _ in range(20):
        world.pass_time(1)
        world.answer()
    world.consume()
    assert [len(world.received[meter_id]) for meter_id in IDS] == [20, 0, 20]
    assert (world.fleet.refused, world.fleet.behind()) == (1, 1)
    full = False
    world.fire()
    world.answer()
    world.consume()
    assert [len(world.received[meter_id]) for meter_id in IDS] == [20, 20, 20]
    assert (world.fleet.refused, world.fleet.behind()) == (0, 0)


def test_a_clock_set_back_repeats_nothing() -> None:
    """Set back by an hour, a meter waits until the clock has caught up; set forward, it fills the gap."""
    world = World(batch=10_000)
    world.up()
    world.answer()
    for step_s in (1, -3600, 1, 1, 3598, 1, 7200):
        world.now_ns += step_s * SECOND
        world.fleet.tick(world.now_ns)
        world.answer()
    world.consume()
    assert len(world.received["M_0"]) == 7202
    assert sum(world.messages) == 3 * 7202


def test_what_is_made_is_the_model() -> None:
    """The bytes on the wire are the model's values for the instants."""
    world = World(batch=10)
    world.up()
    world.answer()
    world.pass_time(3)
    world.answer()
    ((_, body),) = world.queues["M_2"]
    readings = decode(body, "M_2")
    assert [int(reading.power_w * 1000) for reading in readings] == load.random(0, "M_2")(
        [reading.time_ns for reading in readings]
    )


def test_backlog_limits_how_far_a_meter_goes_back() -> None:
    """With a backlog of ten seconds, an outage of a minute leaves a gap of the first fifty, and no other."""
    world = World(batch=1000, backlog_ns=10 * SECOND)
    world.pass_time(60)
    world.up()
    world.calm_down()
    assert sorted(world.received["M_0"]) == list(range(START + 51 * SECOND, START + 62 * SECOND, SECOND))


@examples(40)
@given(events, st.integers(1, 500), st.integers(0, 400))
def test_history_is_whole(happens: list[str | float], batch: int, ahead_s: int) -> None:
    """Whatever happens, and however long it is stopped, a span that is asked for is delivered, and nothing else."""
    span = range(START - 300 * SECOND, START + ahead_s * SECOND, SECOND)
    world = World(batch, timeline=Timeline(span.start, span.stop))
    world.happen("up", *happens, "_stop", 200.0, "crash")
    world.pass_time(ahead_s)
    world.calm_down()
    assert world.fleet.is_done()
    assert [sorted(world.received[meter_id]) for meter_id in IDS] == [list(span)] * 3


def test_linger() -> None:
    """Live readings of some seconds share a message, meters take turns, and what was gathered goes out at the end."""
    world = World(batch=1000, linger_ns=3 * SECOND)
    world.up()
    world.answer()
    sent = []
    for _ in range(12):
        before = len(world.messages)
        world.pass_time(1)
        world.answer()
        sent.append(len(world.messages) - before)
        assert world.fleet.behind() == 0
    assert sent == [1] * 12
    assert world.messages[3:] == [3] * 9
    world.fleet.is_last_call = True
    world.fleet.tick(world.now_ns)
    world.answer()
    assert world.fleet.is_done()
    assert len(world.messages) == 14  # of the three, one has just sent its own


def rounds(world: World, *waits: float) -> list[tuple[int, int]]:
    """For each: an interval later, the broker answers after so many seconds. How many messages then, and readings."""
    sent, interval_s = [], world.settings.interval_ns / SECOND
    for wait_s in waits:
        before = len(world.messages)
        world.pass_time(interval_s)
        world.now_ns += int(wait_s * SECOND)
        world.answer()
        world.fleet.tick(world.now_ns)  # as it does whenever its owner likes
        world.now_ns -= int(wait_s * SECOND)
        sent.append((len(world.messages) - before, sum(world.messages[before:])))
    return sent


def test_a_busy_fleet_sends_pairs() -> None:
    """When meters wait half an interval for their turn, readings go two by two, until they hardly wait any more."""
    world = World(batch=1000, ids=[f"M_{number}" for number in range(600)])
    world.up()
    world.answer()
    assert rounds(world, 0, 0.4, 0.6) == [(600, 600)] * 3
    assert rounds(world, 0.3, 0.3, 0.3) == [(300, 300), (300, 600), (300, 600)]
    assert world.fleet.behind() == 0
    assert rounds(world, 0.2, 0.4, 0.4) == [(300, 600), (600, 900), (600, 600)]
    world.calm_down()
    assert all(len(times) == (world.now_ns - START) // SECOND for times in world.received.values())


@pytest.mark.parametrize(
    "count, options",
    [
        pytest.param(200, {"batch": 1000}, id="few"),
        pytest.param(300, {"batch": 1}, id="one a message"),
        pytest.param(300, {"batch": 1000, "interval_ns": 2 * SECOND}, id="time enough"),
    ],
)
def test_others_do_not(count: int, options: dict[str, Any]) -> None:
    """Few meters do not wait for each other; and whoever cannot take two readings a message does not get them."""
    world = World(ids=[f"M_{number}" for number in range(count)], **options)
    world.up()
    world.answer()
    assert rounds(world, 0.6, 0.6, 0.6) == [(count, count)] * 3


def test_who_shares_readings_is_left_alone() -> None:
    """A linger is as long as it was asked for, however busy the fleet is."""
    world = World(batch=1000, linger_ns=3 * SECOND, ids=[f"M_{number}" for number in range(900)])
    world.up()
    world.answer()
    assert rounds(world, 0.6, 0.6, 0.6, 0.6, 0.6)[-1] == (300, 900)


def test_who_has_time_is_left_alone() -> None:
    """A meter with a longer interval than others does not wait for its next reading, however busy the fleet is."""
    world = World(ids=[f"M_{number}" for number in range(600)])
    kinds = [world.settings, replace(world.settings, interval_ns=60 * SECOND)]
    meters = [Meter(m, kinds[m == "M_0"], load.random(0, m), track) for m, track in world.tracks.items()]
    world.fleet = Fleet(meters, world, {"x-max-length": 0}, lambda: world.now_ns)
    world.up()
    world.answer()
    rounds(world, *[0.6] * (60 - START // SECOND % 60))
    assert [body.count(b"\n") + 1 for _, body in world.queues["M_599"]][-1] == 2
    assert len(world.queues["M_0"]) == 1


@given(st.integers(0, 20), st.integers(1, 4), st.integers(1, 20), st.integers(0, 19))
def test_how_long_a_reading_lingers(linger: int, interval: int, count: int, number: int) -> None:
    """Never as long as the linger, never past the next reading if there is none; and then all of it at once."""
    some = Linger(interval, linger)
    some.spread(number % count, count)
    untils = [some.until_ns(due) for due in range(0, 100, interval)]
    late = [due - until for due, until in zip(range(0, 100, interval), untils, strict=True)]
    assert max(late) <= max(0, linger - interval)
    assert sorted(untils) == untils
    if linger >= interval:
        steps = {after - before for before, after in pairwise(untils)}
        assert steps <= {0, linger // interval * interval}


def test_a_faster_clock() -> None:
    """With a speed, that many instants become due in a second; what was asked for ends where it was to."""
    start = START - 10_000 * SECOND
    timeline = Timeline(start, start + 100 * SECOND, Decimal(60)).begin(start - 1, START)
    world = World(batch=1000, timeline=timeline)
    world.up()
    world.answer()
    for expected in (60, 100, 100):
        assert world.fleet.next_tick_ns(world.now_ns) - world.now_ns <= SECOND or expected == 100
        world.pass_time(1)
        world.answer()
        world.consume()
        assert sorted(world.received["M_0"]) == list(range(start, start + expected * SECOND, SECOND))
    assert timeline.is_over(world.now_ns)
    assert not timeline.is_over(START + SECOND)


def test_a_silent_queue_stops_only_its_meter() -> None:
    """One queue that does not answer: the others go on, and its readings follow when it does."""
    world = World(batch=1000)
    world.happen("up", "answer", 1, "answer", "leader_goes", 1, "answer", "patience_ends")
    for _ in range(20):
        world.happen(1, "answer", "fire", "answer", "patience_ends")
    assert [len(world.queues[meter_id]) for meter_id in IDS] == [22, 1, 22]
    assert (world.fleet.refused, world.fleet.behind()) == (0, 1)
    world.happen("leader_comes", "fire", "answer", "fire", "answer", "consume")
    assert [len(world.received[meter_id]) for meter_id in IDS] == [22, 22, 22]
    assert world.fleet.behind() == 0


def test_many_silent_queues_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many queues do not answer, the messages of the others find room."""
    monkeypatch.setattr(fleet, "UNCONFIRMED_MESSAGES", 2)
    ids = [f"M_{number}" for number in range(20)]
    world = World(batch=1000, ids=ids)
    world.happen("up", "answer")
    world.dead = set(ids[:15])
    for _ in range(5):
        world.happen(1, "answer")
    assert [len(world.queues[meter_id]) for meter_id in ids] == [0] * 15 + [5] * 5


def test_large_messages_become_smaller() -> None:
    """A broker that takes only so many bytes gets messages of so many, and all readings."""
    world = World(batch=1000)
    world.most_bytes = 700
    world.happen("up", "answer", 100)
    world.calm_down()
    assert [len(times) for times in world.received.values()] == [101] * 3
    assert max(len(body) for messages in world.queues.values() for _, body in messages or [(0, b"")]) <= 700
