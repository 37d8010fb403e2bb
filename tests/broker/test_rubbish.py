"""Messages that are no reading, from a publisher that shares no code with us: none stops, harms or gets lost."""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pika
import pika.exceptions
import pytest

from pvsim.ids import REJECTED
from pvsim.pv.setaside import FLOOD_S, SPARE
from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.client import Client, connected
from tests.broker.conftest import (
    PATIENCE,
    Service,
    Services,
    held,
    wait_for_queue,
    wait_until,
    wait_until_acknowledged,
)

START_S = 1_700_000_000
MIB = 2**20
NO_NUMBERS: list[object] = ["1", None, True, [1], {}, float("nan"), float("inf"), -float("inf")]


def reading(number: int, **other: object) -> bytes:
    """Reading `number` of the meter M, or something that is like it but for `other`."""
    return json.dumps({"meter_id": "M", "value": number, "time_s": START_S + number, **other}).encode()


def rubbish_bodies(outside: Path) -> list[bytes]:
    """Bodies that are no reading, of every kind. `outside`: a path that some of them give as a meter id."""
    digits = "7" * 1_000
    return [
        b"",
        b"\xff\xfe\x00",
        reading(1)[:-2] + b"\xe9",
        b"hello",
        reading(1)[:-1],
        b"[]",
        b"null",
        b"17",
        b'"M"',
        b"{}",
        b'{"meter_id": "M", "value": 1}',
        b'{"meter_id": "M", "time_s": 1}',
        b'{"value": 1, "time_s": 1}',
        *(reading(1, **{key: value}) for key in ("value", "time_s") for value in NO_NUMBERS),
        reading(1, time_s=-1),
        reading(1, time_s=-0.5),
        reading(1, time_s=9_404_294_400_000),
        f'{{"meter_id": "M", "value": {digits}, "time_s": 1}}'.encode(),
        f'{{"meter_id": "M", "value": 0.{digits}, "time_s": 1}}'.encode(),
        f'{{"meter_id": "M", "value": 1, "time_s": {digits}}}'.encode(),
        b'{"meter_id": "M", "value": 1e999999999, "time_s": 1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        *(reading(1, meter_id=other) for other in ("N", "m", "M ", "", 0, None, ["M"], "..", "../M", "M/../../M")),
        reading(1, meter_id=str(outside)),
        reading(1, meter_id="M\0"),
        reading(1) + b"\nnot this line\n" + reading(2),
        reading(1) + b"\n" + reading(2, meter_id="N"),
        b"x" * 16 * MIB,
        *(bytes([letter]) * 5 * MIB for letter in b"abcd"),
        reading(1) + b" " * 5 * MIB,
    ]


class RawProperties(pika.BasicProperties):  # type: ignore[misc]  # pika has no types
    """Properties of which the headers are given as bytes: what pika would not write."""

    def __init__(self, table: bytes) -> None:
        super().__init__(delivery_mode=2)
        self._table = table

    def encode(self) -> list[bytes]:
        """As in section 4.2.6 of AMQP 0-9-1: flags, then headers and delivery mode."""
        flags = self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE
        return [struct.pack(">HI", flags, len(self._table)), self._table, b"\2"]


def field(kind: bytes, value: bytes) -> bytes:
    """One header, whose name is x."""
    return b"\1x" + kind + value


def long_string(value: bytes) -> bytes:
    """As AMQP writes it."""
    return struct.pack(">I", len(value)) + value


def nested_tables(depth: int) -> bytes:
    """A table in a table in a table …"""
    table = b""
    for _ in range(depth):
        table = field(b"F", long_string(table))
    return table


ODD_PROPERTIES = {
    "a date that Python has not": RawProperties(field(b"T", struct.pack(">Q", 2**62))),
    "text that is not UTF-8": RawProperties(field(b"S", long_string(b"\xff\xfe"))),
    "a great header": RawProperties(field(b"S", long_string(b"x" * 120_000))),
    "many tables": RawProperties(nested_tables(5_000)),
    "great numbers": RawProperties(field(b"l", b"\xff" * 8) + field(b"d", struct.pack(">d", 1e300))),
    "a decimal": RawProperties(field(b"D", b"\xff\x7f\xff\xff\xff")),
    "an array of all": RawProperties(field(b"A", long_string(b"V" + b"t\1" + b"s\x80\0" + b"x" + long_string(b"\0")))),
    "expiration": pika.BasicProperties(delivery_mode=2, expiration="600000"),
    "priority": pika.BasicProperties(delivery_mode=2, priority=200),
    "timestamp": pika.BasicProperties(delivery_mode=2, timestamp=2**63),
    "content": pika.BasicProperties(content_type="image/png", content_encoding="gzip", delivery_mode=2),
    "everything else": pika.BasicProperties(
        headers={"x-mine": "kept"}, correlation_id="c", reply_to="r", message_id="m", type="t", app_id="a"
    ),
    "our own headers": pika.BasicProperties(headers={"x-pvsim-queue": "N", "x-pvsim-reason": 1, "x-death": []}),
}


OUR_HEADERS = {"x-pvsim-queue", "x-pvsim-reason", "x-pvsim-time", "x-pvsim-properties"}


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    """A client of `node`."""
    with connected(node) as client:
        yield client


def start(node: Node, services: Services) -> Service:
    """A PV service of M that writes to the directory `files`, and has its queue."""
    (services.directory / "files").mkdir(exist_ok=True)
    pv = services.pv(node, "-ids", "M", "--output-dir", "files")
    wait_until(lambda: "Connected" in pv.output, 20, "a connection")
    wait_for_queue(node, "M")
    return pv


def wait_for_set_aside(client: Client, pv: Service, count: int, timeout: float = 40) -> None:
    """Wait until so many messages are set aside, which may take as long as a flood does."""
    deadline = time.monotonic() + PATIENCE * timeout
    while (found := client.count(REJECTED) + client.count(SPARE)) < count:
        waiting = f"{found} of {count} are set aside, {client.count('M')} wait"
        assert time.monotonic() < deadline, f"{waiting}; the service said:\n{pv.output}"
        time.sleep(0.05)


def numbers(services: Services) -> list[int]:
    """Which readings have a row, in the order of the file."""
    return [int(time_s) - START_S for time_s in services.times("M", "files")]


def check_end(client: Client, pv: Service) -> None:
    """The service has run all the time, and stops well; nothing is left in its queue."""
    assert pv.is_running
    assert pv.stop() == 0
    assert client.count("M") == 0
    assert "Traceback" not in pv.output


def files_around(directory: Path) -> set[Path]:
    """Every file of a test, but for logs and our configuration."""
    return {path for path in directory.parent.rglob("*") if path.is_file() and path.suffix not in (".log", ".ini")}


def test_every_kind(node: Node, services: Services, client: Client) -> None:
    """Set aside whole, with queue, reason and time; the good readings between them have their rows."""
    pv = start(node, services)
    outside = services.directory / "outside"
    before = files_around(services.directory)
    began = datetime.now(UTC)
    rubbish = rubbish_bodies(outside)
    for number, body in enumerate(rubbish):
        client.publish(body)
        client.publish(reading(number))
    services.wait_for_rows("M", len(rubbish), directory="files")
    wait_for_set_aside(client, pv, len(rubbish))
    assert sorted(numbers(services)) == list(range(len(rubbish)))
    found = list(client.take(REJECTED, len(rubbish)))
    assert Counter(body for _, body in found) == Counter(rubbish)
    for properties, _ in found:
        assert properties.delivery_mode == 2
        assert properties.headers["x-pvsim-queue"] == "M"
        assert 0 < len(properties.headers["x-pvsim-reason"]) < 300
        set_aside = datetime.fromisoformat(properties.headers["x-pvsim-time"])
        assert set_aside.utcoffset() == timedelta(0)
        assert began - timedelta(seconds=1) <= set_aside <= datetime.now(UTC)
    assert {path.parent for path in files_around(services.directory) - before} == {services.directory / "files"}
    check_end(client, pv)


def test_great_bodies(node: Node, services: Services, client: Client) -> None:
    """120 MB that are delivered at once to a broker that takes nothing are held a few at a time: memory is bounded."""
    assert start(node, services).stop() == 0
    client.flood(bytes([letter]) * 5 * MIB for letter in range(24))
    shell.ctl(node, "set_vm_memory_high_watermark", "absolute", "1")  # too little: it takes nothing more
    try:
        pv = services.pv(node, "-ids", "M", "--output-dir", "files")
        wait_until(lambda: "takes nothing now" in pv.output, 10, "the broker to block it")
        time.sleep(3)
    finally:
        shell.ctl(node, "set_vm_memory_high_watermark", "0.6")
    wait_for_set_aside(client, pv, 24)
    # The service alone takes 25 MiB, and bodies on their way out 16 MiB and one more of them. What comes in
    # meanwhile stands in memory twice: as it is read, and whole.
    assert pv.memory_kib("VmHWM") < 100 * 1024
    check_end(client, pv)


def test_odd_properties(node: Node, services: Services, client: Client) -> None:
    """Whatever the properties, the body counts: a reading has its row, what is none is set aside."""
    pv = start(node, services)
    for number, (name, properties) in enumerate(ODD_PROPERTIES.items()):
        client.publish(reading(number), properties)
        client.publish(name.encode(), properties)
    client.publish(reading(len(ODD_PROPERTIES)))
    services.wait_for_rows("M", len(ODD_PROPERTIES) + 1, directory="files")
    wait_for_set_aside(client, pv, len(ODD_PROPERTIES))
    found = {body.decode(): properties for properties, body in client.take(REJECTED, len(ODD_PROPERTIES))}
    assert found.keys() == ODD_PROPERTIES.keys()
    assert {properties.headers["x-pvsim-queue"] for properties in found.values()} == {"M"}
    assert all({"x-pvsim-reason", "x-pvsim-time"} <= properties.headers.keys() for properties in found.values())
    proof = {
        name: json.loads(properties.headers["x-pvsim-properties"])
        for name, properties in found.items()
        if "great" not in name
    }
    assert proof["everything else"]["headers"] == {"x-mine": "kept"}
    assert proof["everything else"]["correlation_id"] == "c"
    assert proof["content"] == {"content_type": "image/png", "content_encoding": "gzip", "delivery_mode": 2}
    assert proof["our own headers"]["headers"]["x-pvsim-queue"] == "N"
    assert base64.b64decode(proof["many tables"]["undecoded"]["base64"]).endswith(b"\1xF\0\0\0\0\2")
    for properties in found.values():
        assert properties.headers.keys() == OUR_HEADERS
        assert (properties.content_type, properties.content_encoding, properties.expiration) == (None, None, None)
    assert pv.output.count("Connected") == 1
    check_end(client, pv)


def flood(count: int, good: Sequence[bytes] = ()) -> Iterator[bytes]:
    """So many different bodies that are no reading, with good ones among them at equal distances."""
    step = count // len(good) if good else count
    for number in range(count):
        yield f"rubbish {number}".encode()
        if number % step == step // 2 and number // step < len(good):
            yield good[number // step]


def test_flood(node: Node, services: Services, client: Client) -> None:
    """20,000 pieces of rubbish: the good readings among them have rows, the log stays short, the memory flat."""
    pv = start(node, services)
    client.flood(flood(2_000))
    wait_for_set_aside(client, pv, 2_000)
    memory, log_lines = pv.memory_kib("VmRSS"), pv.output.count("\n")
    client.flood(flood(18_000, [reading(number) for number in range(10)]))
    services.wait_for_rows("M", 10, timeout=60, directory="files")
    wait_for_set_aside(client, pv, 20_000)
    assert numbers(services) == list(range(10))
    # At most 64 messages are delivered at a time, and the rest is none of our memory: 18,000 more make no difference
    # beyond what the allocator keeps. 100 bytes kept of each would show.
    assert pv.memory_kib("VmRSS") - memory < 1024
    assert pv.output.count("\n") - log_lines < 10
    assert client.bodies(REJECTED) == Counter(chain(flood(2_000), flood(18_000)))
    check_end(client, pv)


def test_killed_in_a_flood(node: Node, services: Services, client: Client) -> None:
    """kill -9 again and again: a message leaves its queue only when it is safe in the other one."""
    pv = start(node, services)
    client.flood(flood(8_000, [reading(number) for number in range(8)]))
    for count in (1_000, 2_500, 4_000):
        wait_until(lambda count=count: client.count(REJECTED) > count, 30, "some to be set aside")  # type: ignore[misc]
        pv.kill()
        pv = services.pv(node, "-ids", "M", "--output-dir", "files")
    services.wait_for_rows("M", 8, directory="files")
    wait_until_acknowledged(node, "M")
    assert numbers(services) == list(range(8))
    check_end(client, pv)
    found = client.bodies(REJECTED)
    assert found.keys() == set(flood(8_000))
    # Twice there is what was delivered and not acknowledged when it was killed, no more.
    assert found.total() <= 8_000 + 3 * 64


def test_rejected_deleted(node: Node, services: Services, client: Client) -> None:
    """The queue of what is set aside is deleted, in a flood too: declared again, nothing is lost from then on."""
    pv = start(node, services)
    client.delete(REJECTED)
    client.publish(b"rubbish")
    wait_for_set_aside(client, pv, 1)
    assert pv.output.count("Connected") == 1
    client.flood(flood(6_000))
    wait_until(lambda: client.count(REJECTED) > 500, 30, "some to be set aside")
    client.delete(REJECTED)
    later = [f"later {number}".encode() for number in range(2_000)]
    client.flood([*later, reading(0)])
    services.wait_for_rows("M", 1, timeout=60, directory="files")
    wait_until_acknowledged(node, "M")
    check_end(client, pv)
    found = client.bodies(REJECTED) + client.bodies(SPARE)  # the second one, if the first fell silent as it was deleted
    assert set(later) <= found.keys()


# What a broker leaves that is killed right after declaring a queue: the queue is known, but its log was never begun.
# RabbitMQ 4.3 has no Mnesia, and what it knows is on its disk at once. It begins the log when it starts again; before
# anybody can use the queue then, its only member is stopped.
_NEVER_BEGIN = """
Queue = '%2F_pvsim.rejected',
Wait = fun Wait() -> ra_leaderboard:lookup_leader(Queue) =/= undefined orelse begin timer:sleep(5), Wait() end end,
Wait(),
timer:sleep(50),
ok = ra:force_delete_server(quorum_queues, {Queue, node()}),
catch mnesia:sync_log(),
ok
"""
_STAY_DEAD = """
Member = {'%2F_pvsim.rejected', node()},
case ra:members(Member, 2000) of {ok, _, _} -> ra:stop_server(quorum_queues, Member); _ -> ok end
"""


def start_with_dead_queue(node: Node, services: Services) -> Service:
    """The broker is killed when the first message was to be set aside: the queue for that is dead from then on."""
    pv = start(node, services)
    with ThreadPoolExecutor() as pool, connected(node) as client:
        dead = pool.submit(shell.ask, node, _NEVER_BEGIN)
        client.publish(b"rubbish")
        assert dead.result() == "ok"
    pv.process.send_signal(signal.SIGSTOP)
    node.kill()
    node.start()
    wait_for_queue(node, "M", 30)
    assert shell.ask(node, _STAY_DEAD) == "ok"
    pv.process.send_signal(signal.SIGCONT)
    if not held(node, "M"):  # a broker that is killed may forget what it confirmed a moment before
        with connected(node) as client:
            client.publish(b"rubbish")
    return pv


def test_rejected_is_dead(own_node: Node, services: Services) -> None:
    """A queue that has never worked is named, with what mends it, and left alone: another one takes its messages."""
    pv = start_with_dead_queue(own_node, services)
    with connected(own_node) as client:
        wait_until(lambda: "rabbitmqctl delete_queue pvsim.rejected" in pv.output, 60, "the mend")
        wait_until(lambda: client.count(SPARE) == 1, 60, f"it to be set aside:\n{pv.output}")
        client.publish(b"more")
        client.publish(reading(0))
        wait_until(lambda: client.count(SPARE) == 2, 60, f"it to be set aside:\n{pv.output}")
        wait_until_acknowledged(own_node, "M")
        check_end(client, pv)
        assert numbers(services) == [0]
        assert list(client.bodies(SPARE)) == [b"rubbish", b"more"]


def test_rejected_was_dead_before(own_node: Node, services: Services) -> None:
    """The same if it may have worked: rows go on, and once the user has deleted it, it is used again."""
    start_with_dead_queue(own_node, services).stop(signal.SIGKILL)
    pv = start(own_node, services)
    with connected(own_node) as client:
        client.publish(reading(0))
        wait_until(lambda: "rabbitmqctl delete_queue pvsim.rejected" in pv.output, 60, "the mend")
        client.publish(reading(1))
        services.wait_for_rows("M", 2, directory="files")
        shell.ctl(own_node, "delete_queue", REJECTED)
        time.sleep(FLOOD_S)
        client.publish(b"later")
        wait_until(lambda: client.count(REJECTED) + client.count(SPARE) == 2, 60, "both to be set aside")
        wait_until_acknowledged(own_node, "M")
        check_end(client, pv)
        assert numbers(services) == [0, 1]


def test_headers_are_no_orders(node: Node, services: Services, client: Client) -> None:
    """Who may write to one queue reaches no other, and that one no more than once, whatever headers ask for."""
    pv = start(node, services)
    client.declare("N")
    client.bind("M", "amq.direct", "rubbish")
    forged = reading(1, meter_id="N")
    for header in "CC", "BCC":
        for names in ["N"], ["M"], ["M", "M", "N"], [REJECTED, REJECTED]:
            client.publish(forged, pika.BasicProperties(headers={header: names}), exchange="amq.direct", key="rubbish")
    client.publish(reading(0))
    services.wait_for_rows("M", 1, directory="files")
    wait_for_set_aside(client, pv, 8)
    time.sleep(2)
    assert (client.count(REJECTED), client.count("N")) == (8, 0)
    check_end(client, pv)


def cpu_s(service: Service) -> float:
    """The seconds that a process has computed."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_refused_bodies_cost_little(node: Node, services: Services, client: Client) -> None:
    """While neither queue for what is set aside takes any, great bodies wait quietly, and readings have their rows."""
    for queue in REJECTED, SPARE:
        client.declare(queue, {"x-max-length": 0, "x-overflow": "reject-publish"})
    pv = start(node, services)
    client.flood(bytes([letter]) * 4 * MIB for letter in range(14))
    client.publish(reading(0))
    services.wait_for_rows("M", 1, directory="files")
    time.sleep(2)
    before = cpu_s(pv)
    time.sleep(10)
    assert cpu_s(pv) - before < 1
    assert (client.count(REJECTED), client.count(SPARE)) == (0, 0)
    client.delete(REJECTED)
    wait_for_set_aside(client, pv, 14)
    check_end(client, pv)
