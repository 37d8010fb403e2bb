"""What breaks services, broker, disk, network and clocks at random, by a schedule that follows from a seed alone."""

from __future__ import annotations

import ctypes
import math
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pika

from pvsim.errors import PvsimError
from pvsim.reading import encode
from pvsim.tools.node import Node
from tests.broker.client import connected
from tests.broker.conftest import Service, Services, wait_until
from tests.broker.test_promises import faked_clock, set_clock

STEADY, CHANGING, MOST = 16, 4, 24  # meters: those whose settings stay, those whose settings change, all with the added
IDS = [f"M_{number}" for number in range(STEADY + CHANGING)]
CHANGES = ["seed = 1", "seed = 2", "seed = 3", "model = household"]
LONG_AGO_S = 1_000_000  # readings of somebody else
INTERVAL_NS = 10**8
DISK = "disk"  # holds the progress and the day files
PIDFD_GETFD = 438  # the system call's number on every architecture

Break = Callable[[], None]


class Crowd:
    """Others who publish. The broker may go away meanwhile, or a queue be dead: so each has a connection of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.confirmed: dict[bytes, tuple[str, float]] = {}  # bodies, their queues, and when

    def publish(self, queue: str, body: bytes) -> None:
        """Publish a message, and note whether it was confirmed; do not wait for that."""
        threading.Thread(target=self._publish, args=(queue, body), daemon=True).start()

    def _publish(self, queue: str, body: bytes) -> None:
        with suppress(pika.exceptions.AMQPError, OSError), connected(self._node) as client:
            client.publish(body, key=queue)
            self.confirmed[body] = queue, time.monotonic()


class Chaos:
    """The broker and both services, and what may happen to them. `numbers`: all that is random."""

    def __init__(self, node: Node, services: Services, disk: Path, numbers: random.Random) -> None:
        self.node = node
        self.services = services
        self.disk = disk
        self.numbers = numbers
        self.crowd = Crowd(node)
        self.rubbish: list[bytes] = []
        self.foreign = 0  # readings of somebody else
        self.changes: dict[str, list[str]] = {meter_id: [""] for meter_id in IDS[STEADY:]}
        self.meters = len(IDS)
        self.deleted: dict[str, float] = {}  # queues, and when
        self._menders = ThreadPoolExecutor(1_000)  # none waits for another one: the broker may have to start before
        self._mending: list[Future[None]] = []
        self._starting = threading.Lock()
        self._is_broker_down = False
        self.running: dict[str, Service] = {}
        for name in ("meter", "pv"):
            set_clock(self._clock(name), 0)
        self.start("meter")
        self.start("pv")

    def run(self, seconds: float) -> None:
        """Break things, each kind once before one comes again.

        A meter that is restarted or reconnected sends its last readings again, and so makes up for what others lose. So
        towards the end it is left alone.
        """
        kinds: list[Break] = [
            self.kill_broker, self.kill_meter, self.kill_pv, self.restart, self.cut_connection,
            self.freeze, self.freeze_broker, self.fill_disk, self.publish_rubbish, self.publish_duplicates,
            self.alarm, self.stop_leader, self.shorten_queues, self.allow_no_queues,
            self.turn_clock, self.change_settings, self.add_meter, self.publish_readings,
        ]  # fmt: skip
        last_kinds = [
            self.kill_pv, self.fill_disk, self.freeze, self.publish_rubbish, self.publish_duplicates,
            self.publish_readings,
        ]  # fmt: skip
        began = time.monotonic()
        deck: list[Break] = []
        while (passed := time.monotonic() - began) < seconds:
            if passed > seconds * 2 / 3 and kinds is not last_kinds:
                kinds, deck = last_kinds, []
            deck = deck or self.numbers.sample(kinds, len(kinds))
            kind = deck.pop()
            print(f"{time.monotonic() - began:6.1f} s: {kind.__name__}")
            kind()
            time.sleep(self.numbers.uniform(1, 4))
            self.be_the_admin()
        self._wait_for_menders()

    def be_the_admin(self, dead: Collection[str] = ()) -> None:
        """Do what the services say that a person is to do: a queue that a killed broker has left dead is deleted.

        That goes once a queue, for its leader may be back in a moment; those that are `dead` are deleted anyway.
        """
        advice = set(
            re.findall(r"rabbitmqctl delete_queue (M_\d+|pvsim\S+)\.?$", self.services.all_output(), re.MULTILINE)
        )
        for queue in advice - (self.deleted.keys() - dead):
            if not self._is_broker_down:
                self.deleted[queue] = math.inf
                print(f"the admin deletes {queue}")
                with suppress(PvsimError):
                    self.node.ctl("delete_queue", queue)
                self.deleted[queue] = time.monotonic()

    def kept(self, *through: str) -> dict[bytes, str]:
        """What others were told is safe, and its queue, if that, and those `through` which it goes, is not deleted."""
        lost_s = {queue: max([0.0, *(self.deleted.get(each, 0.0) for each in (queue, *through))]) for queue in IDS}
        gone = {queue for queue in IDS if f"The queue {queue} is gone" in self.services.all_output()}
        return {
            body: queue
            for body, (queue, confirmed_s) in self.crowd.confirmed.items()
            if confirmed_s > lost_s[queue] and (queue in self.deleted or queue not in gone)
        }

    def start(self, name: str) -> None:
        """Start `meter` or `pv`."""
        with self._starting:
            env = faked_clock(self._clock(name))
            if name == "meter":
                more = ["-ids", f"M_0..{self.meters - 1}", "--interval", "0.1", "--state-dir", DISK]
                self.running[name] = self.services.meter(self.node, *more, env=env)
            else:
                more = ["-ids", f"M_0..{MOST - 1}", "--output-dir", DISK]
                self.running[name] = self.services.pv(self.node, *more, env=env)

    # --- what may happen

    def kill_broker(self) -> None:
        """kill -9 of the broker."""
        delay_s = self._delay()
        if not self._is_broker_down:
            self._is_broker_down = True
            self.node.kill()
            self._later(delay_s, self._start_broker)

    def kill_meter(self) -> None:
        """kill -9 of the meter."""
        self._kill("meter")

    def kill_pv(self) -> None:
        """kill -9 of the PV service."""
        self._kill("pv")

    def restart(self) -> None:
        """A service is told to stop, and started again at once."""
        self._restart(self._choose())

    def change_settings(self) -> None:
        """The seed or the model of a meter changes, and it is restarted."""
        meter_id, change = self.numbers.choice([*self.changes]), self.numbers.choice(CHANGES)
        self.changes[meter_id].append(change)
        settings = "".join(f"[meter {each}]\n{changes[-1]}\n" for each, changes in self.changes.items())
        (self.services.directory / "simulation.ini").write_text(settings)
        self._restart("meter")

    def add_meter(self) -> None:
        """The fleet has one more meter."""
        self.meters = min(self.meters + 1, MOST)
        self._restart("meter")

    def turn_clock(self) -> None:
        """The clock of a service that runs is wrong for a while."""
        clock = self._clock(self._choose())
        set_clock(clock, self.numbers.randint(-20, 20))
        self._later(4 * self._delay(), lambda: set_clock(clock, 0))

    def cut_connection(self) -> None:
        """The connection of a service breaks, and nobody has said good-bye."""
        if service := self.running.get(self._choose()):
            cut_connections(service.process.pid, self.node.port)

    def freeze(self) -> None:
        """A service does nothing for a while."""
        name, delay_s = self._choose(), self._delay()
        if service := self.running.get(name):
            service.process.send_signal(signal.SIGSTOP)
            self._later(delay_s, lambda: service.process.send_signal(signal.SIGCONT))

    def freeze_broker(self) -> None:
        """The broker does nothing for a while."""
        self.node.pause()
        self._later(self._delay(), self.node.resume)

    def fill_disk(self) -> None:
        """The disk is full."""
        ballast = self.disk / "ballast"
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(bytes(2**20)) or file.write(b"."):
                pass
        self._later(self._delay() + 1, lambda: ballast.unlink(missing_ok=True))

    def publish_rubbish(self) -> None:
        """Messages that are no readings, each with a number of its own."""
        for _ in range(5):
            meter_id = self.numbers.choice(IDS)
            instant_ns = (10**9 + len(self.rubbish)) * 10**9
            good = encode(meter_id, [instant_ns, instant_ns + INTERVAL_NS], [1, 2])
            body = self.numbers.choice(
                [
                    b"\xff" + good,
                    good.replace(b"{", b"", 1),
                    good[:-9],
                    good.replace(b"0.001", b"NaN"),
                    good.replace(meter_id.encode(), b"../" + meter_id.encode()),
                    encode("M_99", [instant_ns], [1]),
                    good + b'\n{"meter_id": 7}',
                    good.replace(b'"time_s": 1', b'"time_s": -1'),
                ]
            )
            self.rubbish.append(body)
            self.crowd.publish(meter_id, body)

    def publish_duplicates(self) -> None:
        """Readings that have their row already, some while ago or just now, one or more a message."""
        for meter_id in self.numbers.sample(IDS, 5):
            written = [row for row in self.services.rows(meter_id, DISK) if float(row[1]) > 10**9][-300:-10]
            number = self.numbers.randint(1, 50)
            start = self.numbers.randrange(300)
            if rows := written[start : start + number]:
                instants = [round(float(row[1]) * 10) * INTERVAL_NS for row in rows]
                self.crowd.publish(meter_id, encode(meter_id, instants, [round(float(row[2]) * 1000) for row in rows]))

    def publish_readings(self) -> None:
        """Readings of somebody else, who shares the queues."""
        for _ in range(20):
            meter_id = self.numbers.choice(IDS)
            self.crowd.publish(meter_id, encode(meter_id, [(LONG_AGO_S + self.foreign) * 10**9], [1000]))
            self.foreign += 1

    def alarm(self) -> None:
        """The broker has too little memory, and takes nothing for a while."""
        mark = ("set_vm_memory_high_watermark",)
        self._for_a_while((*mark, "absolute", "1"), (*mark, "0.6"))

    def stop_leader(self) -> None:
        """A queue has no leader for a while."""
        member = f"{{'%2F_{self.numbers.choice(IDS)}', node()}}"
        start = f"ra:restart_server(quorum_queues, {member}), ra:trigger_election({member})."
        self._for_a_while(("eval", f"ra:stop_server(quorum_queues, {member})."), ("eval", start))

    def shorten_queues(self) -> None:
        """A policy lets some queues hold five messages, for a while."""
        self._for_a_while(("set_policy", "short", "^M_1", '{"max-length":5}'), ("clear_policy", "short"))

    def allow_no_queues(self) -> None:
        """The virtual host may not have any more queues, for a while."""
        self._for_a_while(("set_vhost_limits", '{"max-queues":0}'), ("clear_vhost_limits",))

    def _for_a_while(self, begin: Sequence[str], end: Sequence[str]) -> None:
        """What rabbitmqctl is told, and what mends it; the broker may be away."""
        delay_s = self._delay()

        def break_and_mend() -> None:
            self._tell_broker(begin)
            time.sleep(delay_s)
            self._tell_broker(end)

        self._mending.append(self._menders.submit(break_and_mend))

    def _tell_broker(self, arguments: Sequence[str]) -> None:
        end_s = time.monotonic() + 300
        while time.monotonic() < end_s:
            try:
                if not self._is_broker_down:
                    self.node.ctl("--timeout", "20", *arguments)
                    return
            except PvsimError as error:
                if "does not exist" in str(error):  # a policy that was cleared by the one before
                    return
            time.sleep(0.5)
        raise AssertionError(f"rabbitmqctl {arguments} does not work")

    # --- how it happens, and mends

    def _clock(self, name: str) -> Path:
        return self.services.directory / f"clock-{name}"

    def _restart(self, name: str) -> None:
        if service := self.running.get(name):
            wait_until(lambda: service.output, 30, "its first words: before, it would not hear the signal")
            assert service.stop() == 0, service.output
            self.start(name)

    def _choose(self) -> str:
        return self.numbers.choice(["meter", "pv"])

    def _delay(self) -> float:
        return self.numbers.uniform(0, 3)

    def _kill(self, name: str) -> None:
        delay_s = self._delay()
        if service := self.running.pop(name, None):
            service.kill()
            self._later(delay_s, lambda: self.start(name))

    def _start_broker(self) -> None:
        self.node.start()
        self._is_broker_down = False

    def _later(self, delay_s: float, mend: Callable[[], object]) -> None:
        def wait_and_mend() -> None:
            time.sleep(delay_s)
            mend()

        self._mending.append(self._menders.submit(wait_and_mend))

    def _wait_for_menders(self) -> None:
        for each in self._mending:
            each.result(600)
        self._menders.shutdown()


def cut_connections(pid: int, port: int) -> None:
    """Shut down the TCP connections of a process to a port, behind its back."""
    process = os.pidfd_open(pid)
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it is closed by now, or not connected
            if str(path.readlink()).startswith("socket:"):
                fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, int(path.name), 0)
                with socket.socket(fileno=fd) as connection:
                    if connection.family == socket.AF_INET and connection.getpeername()[1] == port:
                        connection.shutdown(socket.SHUT_RDWR)
    os.close(process)
