"""Everything that is promised, at once: 20 meters at 10 readings a second, while things break at random.

A schedule that follows from a seed alone kills the broker, the meter and the PV service, restarts them, cuts their
connections, freezes them, fills the disk, takes away leaders, room in queues and memory, allows no more queues, and
publishes rubbish and duplicates. What it breaks mends itself a little
later, so that breakdowns overlap. In the end each instant has its row once, in order and right, and the rubbish, and
nothing else, was set aside. The short run is part of the tests; a long one, and one again that failed, are

    PVSIM_CHAOS_SECONDS=600 sh tests/run.sh broker -k chaos
    PVSIM_CHAOS_SEED=7 sh tests/run.sh broker -k chaos -s
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pika
import pytest

from pvsim.errors import PvsimError
from pvsim.ids import REJECTED
from pvsim.meter import progress, progressfiles
from pvsim.models import load
from pvsim.pv.setaside import SPARE
from pvsim.reading import encode
from pvsim.tools.node import Node
from tests.allowed import require
from tests.broker import shell
from tests.broker.client import connected
from tests.broker.conftest import Service, Services, wait_until

IDS = [f"M_{number}" for number in range(20)]
INTERVAL_NS = 10**8
SECONDS = float(os.environ.get("PVSIM_CHAOS_SECONDS", "45"))
SEED = int(os.environ.get("PVSIM_CHAOS_SEED") or secrets.randbelow(1_000_000))
DISK = "disk"  # holds the progress and the day files
PIDFD_GETFD = 438  # the system call's number on every architecture

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.long]

Break = Callable[[], None]


@pytest.fixture
def disk(services: Services) -> Iterator[Path]:
    """A disk of 64 MB, in the directory of the services."""
    require("mount")
    path = services.directory / DISK
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    gc.collect()  # the sockets that pika left open, while the test's filter of warnings holds


class Crowd:
    """Others who publish. The broker may go away meanwhile, or a queue be dead: so each has a connection of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.confirmed: dict[bytes, str] = {}  # bodies, and their queues

    def publish(self, queue: str, body: bytes) -> None:
        """Publish a message, and note whether it was confirmed; do not wait for that."""
        threading.Thread(target=self._publish, args=(queue, body), daemon=True).start()

    def _publish(self, queue: str, body: bytes) -> None:
        with suppress(pika.exceptions.AMQPError, OSError), connected(self._node) as client:
            client.publish(body, key=queue)
            self.confirmed[body] = queue


class Chaos:
    """The broker and both services, and what may happen to them. `numbers`: all that is random."""

    def __init__(self, node: Node, services: Services, disk: Path, numbers: random.Random) -> None:
        self.node = node
        self.services = services
        self.disk = disk
        self.numbers = numbers
        self.crowd = Crowd(node)
        self.rubbish: list[bytes] = []
        self.deleted: set[str] = set()
        self._menders = ThreadPoolExecutor(16)
        self._mending: list[Future[None]] = []
        self._starting = threading.Lock()
        self._is_broker_down = False
        self.running: dict[str, Service] = {}
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
        ]  # fmt: skip
        last_kinds = [self.kill_pv, self.fill_disk, self.freeze, self.publish_rubbish, self.publish_duplicates]
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

    def be_the_admin(self) -> None:
        """Do what the services say that a person is to do: a queue that a killed broker has left dead is deleted."""
        advice = set(
            re.findall(r"rabbitmqctl delete_queue (M_\d+|pvsim\S+)\.?$", self.services.all_output(), re.MULTILINE)
        )
        for queue in advice - self.deleted:
            if not self._is_broker_down:
                self.deleted.add(queue)
                print(f"the admin deletes {queue}")
                with suppress(PvsimError):
                    shell.ctl(self.node, "delete_queue", queue)

    def start(self, name: str) -> None:
        """Start `meter` or `pv`."""
        with self._starting:
            if name == "meter":
                more = ["-ids", "M_0..19", "--interval", "0.1", "--state-dir", DISK]
                self.running[name] = self.services.meter(self.node, *more)
            else:
                self.running[name] = self.services.pv(self.node, "-ids", "M_0..19", "--output-dir", DISK)

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
        name = self._choose()
        if service := self.running.get(name):
            assert service.stop() == 0, service.output
            self.start(name)

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
                    encode("M_20", [instant_ns], [1]),
                    good + b'\n{"meter_id": 7}',
                    good.replace(b'"time_s": 1', b'"time_s": -1'),
                ]
            )
            self.rubbish.append(body)
            self.crowd.publish(meter_id, body)

    def publish_duplicates(self) -> None:
        """Readings that have their row already, some while ago or just now, one or more a message."""
        for meter_id in self.numbers.sample(IDS, 5):
            rows = self.services.rows(meter_id, DISK)
            written = [round(float(time_s) * 10) * INTERVAL_NS for _, time_s, *_ in rows][-300:-10]
            number = self.numbers.randint(1, 50)
            start = self.numbers.randrange(300)
            if instants := written[start : start + number]:
                self.crowd.publish(meter_id, encode(meter_id, instants, load.model("random", 0, meter_id)(instants)))

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
        for _ in range(100):
            with suppress(PvsimError):
                shell.ctl(self.node, *arguments)
                return
            time.sleep(0.5)
        raise AssertionError(f"rabbitmqctl {arguments} does not work")

    # --- how it happens, and mends

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
            each.result(120)
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


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pika leaves its broken sockets open
def test_chaos(own_node: Node, services: Services, disk: Path) -> None:
    """Whatever breaks, each instant has its row once, and rubbish is set aside."""
    print(f"PVSIM_CHAOS_SEED={SEED} PVSIM_CHAOS_SECONDS={SECONDS:g}")
    chaos = Chaos(own_node, services, disk, random.Random(SEED))
    saved = disk / progressfiles.file_name(["M_0..19"])
    wait_until(saved.exists, 20, "the meter's first instant")
    first_ns = {track.declared_ns for track in progress.parse(saved.read_text()).values()}.pop()
    since_ns = (first_ns // INTERVAL_NS + 1) * INTERVAL_NS
    chaos.run(SECONDS)

    until_ns = time.time_ns() // INTERVAL_NS * INTERVAL_NS
    began = time.monotonic()
    late = set(IDS)

    def is_caught_up() -> bool:
        chaos.be_the_admin()
        late.difference_update([each for each in late if max(services.times(each, DISK), default=0) >= until_ns / 1e9])
        return not late

    try:
        wait_until(is_caught_up, 120, "all meters to catch up")
    except AssertionError as error:
        queues = shell.ctl(
            own_node, "list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers", "state"
        )
        raise AssertionError(f"{sorted(late)} are late:\n{queues}\n{services.all_output()}") from error
    print(f"caught up {time.monotonic() - began:.1f} s after the last breakdown")
    check_rubbish(chaos)
    assert [chaos.running[name].stop() for name in ("meter", "pv")] == [0, 0]
    assert "Traceback" not in services.all_output()
    span = ["--from", f"{since_ns / 1e9:.1f}", "--to", f"{until_ns / 1e9:.1f}"]
    found = services.verify("--interval", "0.1", *span, files=f"{DISK}/M_*.csv")
    assert found["rows"] >= len(IDS) * (until_ns - since_ns) // INTERVAL_NS
    assert {path.name[:-15] for path in (services.directory / DISK).glob("M_*.csv")} == set(IDS)
    print(f"{found['rows']} rows, each as it should be")


def check_rubbish(chaos: Chaos) -> None:
    """All rubbish was set aside, and nothing else.

    What the broker had not confirmed may be lost, and what was in a queue that the meter had to replace. A message may
    be set aside twice, if something broke in the midst of it.
    """
    replaced = {meter_id for meter_id in IDS if f"The queue {meter_id} is gone" in chaos.services.all_output()}
    replaced |= chaos.deleted
    expected = {body for body, queue in chaos.crowd.confirmed.items() if queue not in replaced} & set(chaos.rubbish)
    found: list[bytes] = []

    def is_complete() -> bool:
        with connected(chaos.node) as client:
            found.extend(client.take_all(REJECTED) + client.take_all(SPARE))
        return expected <= set(found)

    wait_until(is_complete, 30, "all of the rubbish to be set aside")
    assert set(found) <= set(chaos.rubbish)
    assert len(found) <= len(chaos.rubbish) + 20, "rubbish is set aside again and again"
    print(f"{len(chaos.rubbish)} pieces of rubbish, {len(expected)} confirmed, {len(found)} set aside; {replaced=}")
