"""PV services on a broker that loses, forgets, refuses, blocks and does not answer: nothing is lost, nobody waits.

The services are whole: intake, set-aside, recorder and what they talk to the broker with. The broker is that of
world.py, and of the day files there is no more than which readings have a durable row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika.exceptions import StreamLostError

from pvsim.broker import arguments, rejected_arguments
from pvsim.config import Address, BrokerSettings, PvSettings
from pvsim.errors import DayFileError
from pvsim.ids import REJECTED
from pvsim.pv import Options, service
from pvsim.pv.setaside import SPARE
from pvsim.reading import encode
from tests.examples import examples
from tests.unit.rabbit import Box, Message
from tests.unit.world import Rabbit, new_rabbit

SECOND = 10**9
A, B = "A", "B"  # meters; it is the first that things happen to
SETTINGS = BrokerSettings(max_queue_length=500)
PLAIN = re.compile(
    "2 meters, [0-9]+ rows written(, last reading of [^,]*)?(, no reading of [^,]*)?; connected to [^;]*"
)
LONGEST_S = 400.0  # until all that has come is dealt with, once all is well


def reading(row: str) -> str:
    """What tells it from others: its meter and its instant."""
    return ",".join(row.split(",", 2)[:2])


class Files:
    """Day files of which nothing counts but which readings have durable rows; those of some meters are broken."""

    def __init__(self) -> None:
        self.durable: set[str] = set()
        self.broken: set[str] = set()
        self.second_values: dict[str, str] = {}
        self._new: dict[str, list[str]] = {}

    def by_day(self, times_ns: Sequence[int], rows: Sequence[str]) -> dict[date, Any]:
        """All of one day."""
        return {date(1970, 1, 1): (times_ns, rows)} if rows else {}

    def prepare(self, meter_id: str, day: date) -> bool:
        """It is open."""
        return True

    def write_day(self, meter_id: str, day: date, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Not durable yet."""
        self._new.setdefault(meter_id, []).extend(rows)
        return len({*map(reading, rows)} - self.durable)

    def commit(self) -> Mapping[str, DayFileError]:
        """Durable now, but for what cannot be written."""
        new, self._new = self._new, {}
        for meter_id in new.keys() - self.broken:
            self.durable.update(map(reading, new[meter_id]))
        return {meter_id: DayFileError(f"No room for {meter_id}.") for meter_id in new.keys() & self.broken}

    def close(self) -> None:
        """What was not committed is gone."""
        self._new.clear()


class Pv:
    """One PV service, which is a process and its disk."""

    def __init__(self, rabbit: Rabbit) -> None:
        self._rabbit = rabbit
        self.files = Files()
        self.is_running = False
        self.status = ""

    def start(self) -> None:
        """Start it, if it does not run."""
        if self.is_running:
            return
        self.is_running = True
        self._loop = self._rabbit.loop()
        host: Any = SimpleNamespace(files=100, wake_fd=0, metrics_file=None, stop_requested=False)
        host.ready = host.alive = host.stopping = host.drain_wake = lambda: None
        host.status = self._note_status
        self._host = host
        options = Options(SETTINGS, dict.fromkeys((A, B), PvSettings()), None, Path(), live=False)
        made: Any = self.files
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service, "Loop", lambda: self._loop)
            service.Service(options, host, made, self._rabbit.monotonic).run()

    def _note_status(self, text: str) -> None:
        self.status = text

    def stop(self) -> None:
        """It is told to stop, and does."""
        if self.is_running:
            self._host.stop_requested = True
            self._loop.wake()
            self._end()

    def kill(self) -> None:
        """kill -9."""
        if self.is_running:
            self._end()

    def _end(self) -> None:
        self.is_running = False
        self._rabbit.loops.remove(self._loop)
        for line in [line for line in self._rabbit.lines if line.loop is self._loop]:
            line.lose(StreamLostError("killed"))
        self.files.close()


class World:
    """Two PV services, the second of which does not run yet; two meters, and a broker."""

    def __init__(self, rabbit: Rabbit) -> None:
        self.rabbit = rabbit
        self.published: dict[int, str | bytes] = {}  # a reading, or what is no reading
        self._instant = 0
        rabbit.on_ack = self._on_ack
        self.pvs = [Pv(rabbit), Pv(rabbit)]
        for meter_id in A, B:
            self.declare(meter_id)
        self.pvs[0].start()
        rabbit.live(1)

    def declare(self, meter_id: str) -> None:
        """A meter declares its queue."""
        self.rabbit.declare(meter_id, arguments(SETTINGS))

    def publish(self, meter_id: str) -> bool:
        """A reading, if its queue takes it: if not, its meter has it still."""
        self._instant += 1
        message = self.rabbit.put(meter_id, encode(meter_id, [self._instant * SECOND], [1000]))
        if message:
            self.published[message.number] = f"{meter_id},{self._instant}"
        return message is not None

    def publish_rubbish(self, meter_id: str) -> None:
        """What is no reading."""
        self._instant += 1
        body = b"rubbish %d" % self._instant
        if message := self.rabbit.put(meter_id, body):
            self.published[message.number] = body

    def delete(self, queue: str) -> None:
        """Somebody deletes a queue, and is to blame for what it held."""
        self._excuse(queue)
        self.rabbit.delete(queue)

    def move_and_forget(self) -> None:
        """The same, and its meter declares it at once."""
        self._excuse(A)
        self.rabbit.move_and_forget(A)

    def _excuse(self, queue: str) -> None:
        if box := self.rabbit.boxes.get(queue):
            for number in box.taken:
                self.published.pop(number, None)

    def lose_consumer(self) -> None:
        """The broker loses a consumer without a word."""
        if (box := self.rabbit.boxes.get(A)) and box.consumers:
            del box.consumers[0]
            box.dispatch()

    def is_safe(self, what: str | bytes) -> bool:
        """Whether a reading has a durable row, or what is none is confirmed elsewhere."""
        if isinstance(what, bytes):
            return what in self.rabbit.safe
        return any(what in pv.files.durable for pv in self.pvs)

    def _on_ack(self, message: Message) -> None:
        what = self.published.get(message.number)
        assert what is None or self.is_safe(what), f"{what!r} is acknowledged too early"

    def missing(self) -> list[str | bytes]:
        """What was published and is not safe yet."""
        return [what for what in self.published.values() if not self.is_safe(what)]

    def expect_words(self) -> None:
        """Where messages wait, whoever should consume them says so, if not at once: some of it shows in silence alone.

        A consumer that is forgotten shows when many wait.
        """
        for _ in range(20):
            if not self._is_silent():
                return
            self.rabbit.live(5)
        raise AssertionError([pv.status for pv in self.pvs])

    def _is_silent(self) -> bool:
        box = self.rabbit.boxes.get(A)
        waits = box and (box.ready or any(box is each for each, _ in self.unsettled()))
        is_forgotten = box and any(each.is_forgotten for each in box.consumers)
        statuses = [pv.status for pv in self.pvs if pv.is_running]
        return bool(waits and not is_forgotten and any(map(PLAIN.fullmatch, statuses)))

    def unsettled(self) -> list[tuple[Box, bytes]]:
        """What is delivered, and neither acknowledged nor given back."""
        channels = [channel for line in self.rabbit.lines for channel in line.channels.values()]
        return [
            (box, each.body)
            for channel in channels
            for box, _, each in channel.unsettled.values()
            if not box.is_deleted
        ]

    def settle(self) -> None:
        """Everything is dealt with, and what comes then is dealt with soon."""
        end_s = self.rabbit.now_s + LONGEST_S
        self.rabbit.mend()
        for pv in self.pvs:
            pv.files.broken.clear()
        self.pvs[0].start()
        self._wait()
        while A not in self.rabbit.boxes and self.rabbit.now_s < end_s:
            self.rabbit.live(5)
        for meter_id in A, B:
            assert self.publish(meter_id)
        self._wait()

    def _wait(self) -> None:
        """The meter of a consumer that is forgotten goes on until that is noticed: the first messages are just gone."""
        end_s = self.rabbit.now_s + LONGEST_S
        self.rabbit.live(1)
        while missing := [*self.missing(), *self.unsettled()]:
            assert self.rabbit.now_s < end_s, f"{missing} of {self.pvs[0].status}; {self.pvs[1].status}"
            self.publish(A)
            self.rabbit.live(1)


@contextmanager
def new_world() -> Iterator[World]:
    """A world in which all is well."""
    with new_rabbit() as rabbit:
        yield World(rabbit)


COMMON: Mapping[str, Callable[[World], object]] = {
    "publish A": lambda world: world.publish(A),
    "publish B": lambda world: world.publish(B),
    "rubbish A": lambda world: world.publish_rubbish(A),
    "serve": lambda world: world.rabbit.serve(),
    "hear": lambda world: world.rabbit.hear(),
    "hear one": lambda world: world.rabbit.hear(1),
    "turn": lambda world: world.rabbit.turn(),
    "live": lambda world: world.rabbit.live(1),
    "live long": lambda world: world.rabbit.live(20),
    "silence": lambda world: world.rabbit.pass_time(12),
    "lost": lambda world: world.rabbit.lose_connections(True),
    "away": lambda world: world.rabbit.lose_connections(False),
    "back": lambda world: setattr(world.rabbit, "is_reachable", True),
    "alarm": lambda world: world.rabbit.set_alarm("low on disk"),
    "no alarm": lambda world: world.rabbit.set_alarm(""),
    "gives up": lambda world: world.rabbit.give_up(),
}
INTAKE: Mapping[str, Callable[[World], object]] = {
    "deleted": lambda world: world.delete(A),
    "declared": lambda world: world.declare(A),
    "cannot be declared": lambda world: world.rabbit.undeclarable.add(A),
    "can be declared": lambda world: world.rabbit.undeclarable.clear(),
    "lost consumer": lambda world: world.lose_consumer(),
    "leader goes": lambda world: world.rabbit.set_dead(A, True),
    "leader comes": lambda world: world.rabbit.set_dead(A, False),
    "forbidden": lambda world: world.rabbit.forbidden.add(A),
    "allowed": lambda world: world.rabbit.forbidden.clear(),
    "other starts": lambda world: world.pvs[1].start(),
    "other is killed": lambda world: world.pvs[1].kill(),
    "stop": lambda world: world.pvs[0].stop(),
    "kill": lambda world: world.pvs[0].kill(),
    "start": lambda world: world.pvs[0].start(),
}
# Not both: a consumer that is cancelled, too, keeps what it was sent until its channel ends; forgotten, it has no end.
DISK: Mapping[str, Callable[[World], object]] = {
    "disk full": lambda world: world.pvs[0].files.broken.add(A),
    "disk mended": lambda world: world.pvs[0].files.broken.clear(),
}
FORGOTTEN: Mapping[str, Callable[[World], object]] = {
    "moved and forgotten": lambda world: world.move_and_forget(),
}
SET_ASIDE: Mapping[str, Callable[[World], object]] = {
    "rubbish B": lambda world: world.publish_rubbish(B),
    "rejected slow": lambda world: setattr(world.rabbit, "style", ""),
    "rejected fast": lambda world: setattr(world.rabbit, "style", "multiple"),
    "rejected backwards": lambda world: setattr(world.rabbit, "style", "backwards"),
    "rejected refuses": lambda world: world.rabbit.set_refusing(REJECTED, True),
    "rejected takes": lambda world: world.rabbit.set_refusing(REJECTED, False),
    "rejected dead": lambda world: world.rabbit.set_dead(REJECTED, True),
    "rejected lives": lambda world: world.rabbit.set_dead(REJECTED, False),
    "rejected cannot be declared": lambda world: world.rabbit.undeclarable.add(REJECTED),
    "rejected can be declared": lambda world: world.rabbit.undeclarable.clear(),
    "rejected deleted": lambda world: world.delete(REJECTED),
    "rejected declared": lambda world: world.rabbit.declare(REJECTED, rejected_arguments(SETTINGS)),
    "rejected small": lambda world: world.rabbit.declare(REJECTED, {"x-max-length": 1, "x-overflow": "reject-publish"}),
    "spare refuses": lambda world: world.rabbit.set_refusing(SPARE, True),
    "spare takes": lambda world: world.rabbit.set_refusing(SPARE, False),
    "spare dead": lambda world: world.rabbit.set_dead(SPARE, True),
}
EVENTS = {**COMMON, **INTAKE, **DISK, **FORGOTTEN, **SET_ASIDE}


def orders(*some: Mapping[str, Any]) -> st.SearchStrategy[list[str]]:
    """Events in any order."""
    return st.lists(st.sampled_from(sorted({name for events in some for name in events})), max_size=40)


@examples(60)
@example(["other starts", "live", "moved and forgotten"])
@example(["forbidden", "lost", "live", "publish A"])
@example(["deleted", "live", "declared", "live"])
@example(["lost consumer"])
@example(["leader goes", "lost", "live", "deleted", "silence"])
@example(["disk full", "publish A", "live long"])
@given(orders(COMMON, INTAKE, DISK) | orders(COMMON, INTAKE, FORGOTTEN))
def test_every_queue_is_consumed(events: list[str]) -> None:
    """Whatever happens to a queue, its consumers and their disks: once all is well, each reading gets its row."""
    with new_world() as world:
        for event in events:
            EVENTS[event](world)
        world.rabbit.live(1)
        world.expect_words()
        world.settle()


@examples(60)
@given(orders(COMMON, SET_ASIDE))
def test_what_is_no_reading_is_set_aside(events: list[str]) -> None:
    """Whatever happens to the queues for it: nothing is acknowledged before it is safe, nothing is lost, none waits."""
    with new_world() as world:
        for event in events:
            EVENTS[event](world)
        world.rabbit.mend(but=[REJECTED, SPARE])
        world.rabbit.live(40)
        world.publish(B)
        world.rabbit.live(1)
        assert not [what for what in world.missing() if isinstance(what, str)]
        world.expect_words()
        world.settle()


def test_a_queue_that_cannot_be_declared() -> None:
    """It costs the connection once; after that the other queue has its rows at once, and the status says what mends."""
    with new_world() as world:
        world.delete(A)
        world.rabbit.undeclarable.add(A)
        world.rabbit.live(150)  # on each connection, its meter has a minute to declare it
        assert "cannot use the queue A at localhost:5672: INTERNAL_ERROR" in world.pvs[0].status
        assert "if this goes on, restart the broker" in world.pvs[0].status
        main = world.rabbit.lines[0]
        for _ in range(200):
            assert world.publish(B)
            world.rabbit.live(1)
            assert not world.missing()
        assert main in world.rabbit.lines
        world.settle()


def test_two_values_of_one_instant() -> None:
    """The status says when it was last so."""
    with new_world() as world:
        values = world.pvs[0].files.second_values
        values[A] = "A,1700000000,1.0,0.0,1.0"
        world.rabbit.live(2)
        assert ", two values of one instant, last of A at time_s 1700000000; connected" in world.pvs[0].status
        values[B] = "B,1700000001,1.0,0.0,1.0"
        world.rabbit.live(1)
        assert ", two values of one instant, of 2 meters, last of B at time_s 1700000001;" in world.pvs[0].status


def test_a_queue_that_does_not_answer_holds_up_its_channel_alone() -> None:
    """Its first try costs others nothing: they are consumed, and acknowledged, on other channels."""
    with new_world() as world:
        world.pvs[0].kill()
        world.rabbit.set_dead(A, True)
        world.pvs[0].start()
        world.rabbit.live(1)
        world.publish(B)
        world.rabbit.live(1)
        assert not world.missing()
        assert not world.unsettled()


@pytest.mark.parametrize("most", [3, 4, 100])
def test_a_queue_that_never_answers(most: int) -> None:
    """Its tries take no more channels than there are: the other queue has its rows, and it has them when it answers."""
    with new_world() as world:
        world.pvs[0].kill()
        world.rabbit.channel_max = most
        world.rabbit.set_dead(A, True)
        world.pvs[0].start()
        world.rabbit.live(100)
        assert "1 waiting: the queue A does not answer" in world.pvs[0].status
        assert world.publish(B)
        world.rabbit.live(1)
        assert not world.missing()
        world.settle()


def test_a_queue_that_never_answers_at_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to leave the node that the others are consumed at."""
    addresses = (Address("one"), Address("two"))
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, addresses=addresses))
    with new_world() as world:
        world.pvs[0].kill()
        world.rabbit.set_dead(A, True)
        world.pvs[0].start()
        world.rabbit.live(20)
        main = world.rabbit.lines[0]
        world.rabbit.live(100)
        assert main in world.rabbit.lines
        assert world.pvs[0].status.count("does not answer") == 1
        world.settle()


def test_a_try_beside_a_service_that_waits() -> None:
    """What a try was sent goes back to its place before the service behind it has what is later."""
    with new_world() as world:
        world.pvs[0].kill()
        world.rabbit.set_dead(A, True)
        world.pvs[0].start()
        world.rabbit.live(28)  # it tries A beside the main connection
        world.pvs[1].start()
        world.rabbit.live(1)
        world.rabbit.set_dead(A, False)
        numbers: list[int] = []
        world.rabbit.on_ack = lambda message: numbers.append(message.number)
        for _ in range(5):
            assert world.publish(A)
        world.rabbit.live(1)
        assert numbers == sorted(world.published)


def test_a_node_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are several, it is left, although each queue is only tried on the side."""
    addresses = (Address("one"), Address("two"))
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, addresses=addresses))
    with new_world() as world:
        world.pvs[0].kill()
        for meter_id in A, B:
            world.rabbit.set_dead(meter_id, True)
        world.pvs[0].start()
        world.rabbit.live(20)
        main = world.rabbit.lines[0]
        world.rabbit.live(100)
        assert main not in world.rabbit.lines
        world.settle()


@pytest.mark.parametrize("most", [3, 4, 9, 10, 11])
def test_few_channels(most: int) -> None:
    """A broker that allows few channels a connection: all is recorded over those that there are, and none is asked for.

    With fewer than 11, both queues share one.
    """
    with new_world() as world:
        world.pvs[0].kill()
        world.rabbit.channel_max = most
        world.pvs[0].start()
        world.rabbit.live(1)
        for _ in range(3):
            assert world.publish(A)
            assert world.publish(B)
        world.rabbit.live(1)
        assert not world.missing()
        assert not world.unsettled()
