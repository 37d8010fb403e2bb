"""Whatever happens in whatever order: no row is lost or twice, and no message is acknowledged before it is durable.

A simulated broker that holds encoded messages, and real day files in a real directory.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.broker import Delivery
from pvsim.dayfile import DayFiles, file_name, files
from pvsim.errors import DayFileError
from pvsim.models import solar
from pvsim.pv import recorder
from pvsim.pv.recorder import LONGEST_WRITE_S, Recorder, Settings
from pvsim.reading import encode
from pvsim.row import HEADER
from tests.examples import examples

SECOND = 10**9
DAY = 86_400 * SECOND
BREAKABLE, SOUND = "A", "B"  # meters
PREFETCH = 5
READING_S = 0.05  # what the clock says that it takes to write a part


class WatchedFiles(DayFiles):
    """Day files that know which rows are durable, and take their time."""

    def __init__(self, directory: Path, world: World) -> None:
        super().__init__(directory, ZoneInfo("UTC"), 4)
        self.durable: set[str] = set()
        self.slices = 0
        self._since: list[tuple[str, Sequence[str]]] = []
        self._world = world

    def prepare(self, meter_id: str, day: date) -> bool:
        """As it is; to open a file takes its time."""
        is_open = super().prepare(meter_id, day)
        if not is_open:
            self._world.now_s += READING_S
        return is_open

    def write_day(self, meter_id: str, day: date, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """As it is, and remember."""
        count = super().write_day(meter_id, day, times_ns, rows)
        self._since.append((meter_id, rows))
        self._world.now_s += READING_S
        return count

    def commit(self) -> dict[str, DayFileError]:
        """As it is, and remember."""
        failed = super().commit()
        self.durable |= {row for meter_id, rows in self._since if meter_id not in failed for row in rows}
        self._since.clear()
        self.slices += 1
        return failed

    def close(self) -> None:
        """As it is: what was not committed is forgotten."""
        super().close()
        self._since.clear()


class World:
    """A broker, its connection, a loop and a disk, in which events happen one by one."""

    def __init__(self, directory: Path, windows_ns: Mapping[str, int]) -> None:
        self.now_s = 0.0
        self.is_up = True
        self.directory = directory
        self.published = Counter[str]()
        self.queues: dict[str, list[tuple[int, bytes]]] = {BREAKABLE: [], SOUND: []}
        self.consumed = set(self.queues)
        self.unsettled: dict[int, tuple[str, int, bytes]] = {}  # by tag
        self.returns = Counter[int]()  # by message
        self.rejected: list[bytes] = []
        self.reasons: set[str] = set()
        self.breaks = 0
        self._tag = self._message = self._instant = 0
        self._turns: list[Callable[[], None]] = []
        self._holder = -1
        self.files = WatchedFiles(directory, self)
        models = {meter_id: solar.random(0, meter_id, peak_kw=Decimal(4)) for meter_id in self.queues}
        settings = Settings(
            lambda _, call: self._turns.append(call), self._clock, lambda: 0.5, windows_ns, self._now_ns
        )
        self.recorder = Recorder(models, self, self.files, self, settings)

    def _clock(self) -> float:
        return self.now_s

    def _now_ns(self) -> int:
        return round(self.now_s) * SECOND

    # what the recorder sees

    def ack(self, tags: Sequence[int]) -> None:
        """Everything that is acknowledged has to be durable."""
        for tag in tags:
            meter_id, _, body = self.unsettled.pop(tag)
            rows = {f"{meter_id},{line.split(b'time_s')[1][3:-1].decode()}," for line in body.split(b"\n")}
            assert rows <= {",".join(row.split(",", 2)[:2]) + "," for row in self.files.durable}

    def give_back(self, tags: Sequence[int]) -> None:
        """Back to its place."""
        for tag in tags:
            meter_id, message, body = self.unsettled.pop(tag)
            self.returns[message] += 1
            self.queues[meter_id] = sorted([*self.queues[meter_id], (message, body)])

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No new deliveries; but one more is on its way already."""
        self.deliver(queue)
        self.consumed.discard(queue)
        done()

    def on_rejected(self, delivery: Delivery, reason: str) -> None:
        """It goes elsewhere."""
        assert reason
        self.reasons.add(reason)
        self.rejected.append(self.unsettled.pop(delivery.tag)[2])

    def on_writable(self, queue: str) -> None:
        """Consumed again."""
        assert queue not in self.consumed
        if self.is_up:
            self.consumed.add(queue)

    def on_durable(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> None:
        """What is told to be durable is."""
        assert len(times_ns) == len(rows) > 0
        assert {row.split(",")[0] for row in rows} == {meter_id}
        assert {",".join(row.split(",", 2)[:2]) for row in rows} <= {
            ",".join(row.split(",", 2)[:2]) for row in self.files.durable
        }

    def on_commit(self, duration_s: float) -> None:
        """A commit is over, and was not long."""
        assert 0 <= duration_s < LONGEST_WRITE_S + 2 * READING_S

    # what happens

    def publish(self, meter_id: str, count: int = 1, step_ns: int = SECOND) -> None:
        """A message with so many readings."""
        instants = [self._instant + number * step_ns for number in range(1, count + 1)]
        self._instant = instants[-1]
        self.published.update(f"{meter_id},{each // SECOND}" for each in instants)
        self._put(meter_id, encode(meter_id, instants, [1000] * count))

    def publish_at(self, meter_id: str, *seconds: int) -> None:
        """A message with readings of these instants."""
        self._put(meter_id, encode(meter_id, [each * SECOND for each in seconds], [1000] * len(seconds)))

    def publish_rubbish(self, meter_id: str) -> None:
        """A message that is no reading."""
        self._put(meter_id, b"{}")

    def _put(self, meter_id: str, body: bytes) -> None:
        self._message += 1
        self.queues[meter_id].append((self._message, body))

    def deliver(self, meter_id: str) -> None:
        """The next message of a queue arrives, if the broker would send it."""
        under_way = sum(queue == meter_id for queue, _, _ in self.unsettled.values())
        if self.is_up and meter_id in self.consumed and self.queues[meter_id] and under_way < PREFETCH:
            self._tag += 1
            message, body = self.queues[meter_id].pop(0)
            self.unsettled[self._tag] = (meter_id, message, body)
            delivery = SimpleNamespace(queue=meter_id, tag=self._tag, body=body, properties=None)
            self.recorder.deliver(delivery)  # type: ignore[arg-type]

    def turn(self) -> None:
        """A turn of the loop."""
        turns, self._turns = self._turns, []
        for call in turns:
            call()

    def tick(self, seconds: float = 1.0) -> None:
        """Time goes by."""
        self.now_s += seconds
        self.recorder.tick()

    def down(self) -> None:
        """The connection is lost: what was not acknowledged goes back."""
        for tag in sorted(self.unsettled):
            meter_id, message, body = self.unsettled.pop(tag)
            self.queues[meter_id] = sorted([*self.queues[meter_id], (message, body)])
        self.is_up = False
        self.consumed.clear()
        self.recorder.down()

    def up(self) -> None:
        """It comes back."""
        if not self.is_up:
            self.is_up = True
            self.consumed = set(self.queues) - self.recorder.waiting

    def break_file(self) -> None:
        """Another process takes the file of a meter, as soon as the recorder has closed it."""
        self.mend_file()
        self.files.close()
        self.recorder.down()
        self.breaks += 1
        self._holder = os.open(self.directory / file_name(BREAKABLE, date(1970, 1, 1)), os.O_RDWR | os.O_CREAT, 0o640)
        fcntl.flock(self._holder, fcntl.LOCK_EX)
        self.down()
        self.up()

    def mend_file(self) -> None:
        """And lets it go."""
        if self._holder >= 0:
            os.close(self._holder)
            self._holder = -1

    def settle(self) -> None:
        """All is well again, for long enough."""
        self.mend_file()
        self.up()
        for _ in range(300):
            for meter_id in self.queues:
                self.deliver(meter_id)
            self.turn()
            self.tick()
            if not any(self.queues.values()) and not self.unsettled:
                return

    def rows(self) -> Counter[str]:
        """How often each reading has a row."""
        lines = [line for path in self.directory.glob("*.csv") for line in path.read_text().splitlines()[1:]]
        return Counter(",".join(line.split(",")[:2]) for line in lines)


@contextmanager
def new_world(**windows_ns: int) -> Iterator[World]:
    """A world in an empty directory; the meters with a window of time have one of so many ns."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), windows_ns)
        yield world
        world.mend_file()
        world.files.close()


EVENTS: Mapping[str, Callable[[World], None]] = {
    "publish A": lambda world: world.publish(BREAKABLE),
    "publish B": lambda world: world.publish(SOUND),
    "publish many": lambda world: world.publish(BREAKABLE, 3),
    "publish days": lambda world: world.publish(SOUND, 8, DAY),
    "rubbish": lambda world: world.publish_rubbish(BREAKABLE),
    "deliver A": lambda world: world.deliver(BREAKABLE),
    "deliver B": lambda world: world.deliver(SOUND),
    "turn": lambda world: world.turn(),
    "tick": lambda world: world.tick(),
    "long tick": lambda world: world.tick(40),
    "down": lambda world: world.down(),
    "up": lambda world: world.up(),
    "break": lambda world: world.break_file(),
    "mend": lambda world: world.mend_file(),
}


@examples(150)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=80))
def test_nothing_is_lost(events: list[str]) -> None:
    """In any order of events: a row for each reading, once; rubbish set aside; nothing acknowledged too early."""
    with new_world() as world:
        rubbish = events.count("rubbish")
        for event in events:
            EVENTS[event](world)
        world.settle()
        assert world.queues == {BREAKABLE: [], SOUND: []}
        assert not world.unsettled
        assert world.rows() == world.published
        assert len(world.rejected) == rubbish
        assert max(world.returns.values(), default=0) <= world.breaks


def test_a_file_that_cannot_be_written_costs_one_return() -> None:
    """However long it lasts, and whatever is published meanwhile: no try takes a message from the queue."""
    with new_world() as world:
        world.break_file()
        for _ in range(4):
            world.publish(BREAKABLE)
            world.deliver(BREAKABLE)
        for _ in range(200):
            world.publish(BREAKABLE)
            world.deliver(BREAKABLE)
            world.turn()
            world.tick(7)
        assert world.recorder.waiting == {BREAKABLE}
        assert "another process" in world.recorder.troubles[0]
        assert sum(world.returns.values()) <= PREFETCH
        assert world.files.slices < 200  # it waits between one try and the next
        world.mend_file()
        world.tick(40)
        world.turn()
        assert sum(world.rows().values()) == PREFETCH  # what was delivered has its rows before it comes again
        world.settle()
        assert world.recorder.waiting == set()
        assert world.rows() == world.published
        assert set(world.returns.values()) == {1}


def test_a_meter_of_many_days_takes_turns() -> None:
    """No slice is longer than it should be by more than a part, and the other meter's row is in the next slice."""
    with new_world() as world:
        world.publish(BREAKABLE, 100, DAY)
        world.deliver(BREAKABLE)
        longest_s, slices = 0.0, 0
        while world.unsettled or not slices:
            before_s, before = world.now_s, world.files.slices
            world.publish(SOUND)
            world.deliver(SOUND)
            world.turn()
            slices += world.files.slices - before
            longest_s = max(longest_s, world.now_s - before_s)
            if slices > 1:
                assert sum(queue == SOUND for queue, _, _ in world.unsettled.values()) <= 2
            if world.recorder.rows > 60 and slices > 80:
                break
        assert longest_s < LONGEST_WRITE_S + 2 * READING_S
        world.settle()
        assert world.rows() == world.published


def test_slices_go_on_by_themselves() -> None:
    """A message of many days is written and acknowledged, though nothing else comes and no time goes by."""
    with new_world() as world:
        world.publish(BREAKABLE, 20, DAY)
        world.deliver(BREAKABLE)
        for _ in range(10):
            world.turn()
        assert not world.unsettled
        assert world.files.slices > 5
        assert world.rows() == world.published


def test_commits_of_a_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a full commit is gathered, too, and when all is committed there are no more commits."""
    monkeypatch.setattr(recorder, "MOST_PENDING", 10)
    with new_world() as world:
        for _ in range(4):
            world.publish(SOUND, 5)
        commits = []
        for arriving in 3, 1, 0, 0, 0:
            for _ in range(arriving):
                world.deliver(SOUND)
            world.turn()
            commits.append((world.files.slices, world.recorder.rows))
        assert commits == [(1, 10), (2, 20), (2, 20), (2, 20), (2, 20)]
        assert world.rows() == world.published


def test_a_file_that_takes_long_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk gives a block at a time: the rows of the other meter go on meanwhile."""
    monkeypatch.setattr(files, "LONGEST_PIECE_S", 0.0)
    with new_world() as world:
        rows = "".join(f"{BREAKABLE},{40000 + number / 10:.1f},1.0,0.0,1.0\n" for number in range(100_000))
        (world.directory / file_name(BREAKABLE, date(1970, 1, 1))).write_text(f"{HEADER}\n{rows}")
        world.publish(BREAKABLE)
        world.deliver(BREAKABLE)
        turns = 0
        while world.unsettled:
            world.publish(SOUND)
            world.deliver(SOUND)
            world.turn()
            world.turn()
            assert [queue for queue, _, _ in world.unsettled.values()] in ([], [BREAKABLE])
            turns += 1
        assert turns > 2
        assert world.recorder.rows == turns + 1


def test_window_of_time() -> None:
    """A reading further from now than the window is none, in a message of any length; a meter without one has all."""
    with new_world(A=60 * SECOND) as world:
        world.now_s = 1000.0
        for seconds in (940, 1060), (939,), (1061,), (1000, 939), (1061, 1000, 1000), (940,), (1060,):
            world.publish_at(BREAKABLE, *seconds)
            world.publish_at(SOUND, *seconds)
            for meter_id in BREAKABLE, SOUND:
                world.deliver(meter_id)
        assert len(world.rejected) == 4
        assert world.reasons == {
            "time_s 939 is more than 60 s from now, the time_window",
            "time_s 1061 is more than 60 s from now, the time_window",
        }
        world.turn()
        world.turn()
        assert {row for row in world.rows() if row[0] == BREAKABLE} == {"A,940", "A,1060"}
        sound = {f"B,{each}" for each in (939, 940, 1000, 1060, 1061)}
        assert {row for row in world.rows() if row[0] == SOUND} == sound


@pytest.mark.parametrize("is_long", [False, True])
def test_stop(is_long: bool) -> None:
    """What has come is committed before the end, but for what would take too long: that comes again."""
    with new_world() as world:
        world.publish(BREAKABLE, 500 if is_long else 1, DAY)
        world.deliver(BREAKABLE)
        world.recorder.stop()
        assert bool(world.unsettled) == is_long
        assert world.now_s < 6
