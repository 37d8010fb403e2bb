"""What mends a queue never destroys what it holds: each queue here has messages of somebody else, and keeps them.

And what cannot be mended is named, with what to do, while everything else goes on.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pika
import pytest

from pvsim.broker import arguments
from pvsim.config import BrokerSettings
from pvsim.ids import REJECTED
from pvsim.reading import encode
from pvsim.tools.node import Node
from tests.allowed import require
from tests.broker import shell
from tests.broker.client import PERSISTENT, publish
from tests.broker.conftest import Service, Services, held, wait_until
from tests.broker.told import Told, at

FOREIGN = 100  # messages of somebody else in each queue
LONG_AGO_S = 1_000_000  # and their times, which tell them apart


@contextmanager
def channel_of(node: Node) -> Iterator[Any]:
    """A channel in confirm mode."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port, heartbeat=0))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        yield channel
    finally:
        with suppress(pika.exceptions.AMQPError):
            connection.close()


def prefill(node: Node, *queues: str, **changed: Any) -> None:
    """Declare queues as pvsim does, but for some arguments, with messages of somebody else."""
    with channel_of(node) as channel:
        for queue in queues:
            channel.queue_declare(queue, durable=True, arguments={**arguments(BrokerSettings()), **changed})
            for number in range(FOREIGN):
                body = encode(queue, [(LONG_AGO_S + number) * 10**9], [1000])
                publish(channel, "", queue, body, PERSISTENT)


def foreign_left(node: Node, queue: str) -> int:
    """How many of somebody else's messages a queue still holds, which are taken."""
    count = 0
    end_s = time.monotonic() + 20  # where a meter goes on, the queue is never empty
    with channel_of(node) as channel:
        for method, _, body in channel.consume(queue, inactivity_timeout=3):
            if method is None or time.monotonic() > end_s:
                break
            channel.basic_ack(method.delivery_tag)
            count += json.loads(body.split(b"\n")[0])["time_s"] < LONG_AGO_S + FOREIGN
    return count


def leader(node: Node, queue: str, what: str) -> None:
    """`stop_server` takes a queue's leader away, `restart_server` brings it back."""
    member = f"{{'%2F_{queue}', node()}}"
    then = f" ra:trigger_election({member})," if what == "restart_server" else ""  # as RabbitMQ does when it starts
    done = shell.ctl(node, "eval", f"R = ra:{what}(quorum_queues, {member}),{then} R.")
    assert done.strip() == "ok", done


def confirmed(told: Told) -> int:
    """How many readings a meter's status says are confirmed."""
    match = re.search(r"(\d+) readings confirmed", told.status)
    return int(match[1]) if match else 0


@pytest.mark.parametrize("options", [(), ("--state-dir", "."), ("--from", "2026-01-01", "--to", "2026-01-02")])
def test_leader_away(node: Node, services: Services, told: Told, options: Sequence[str]) -> None:
    """A queue whose leader is away is named with its mend, keeps what it holds, and is sent everything later."""
    prefill(node, "Away")
    leader(node, "Away", "stop_server")
    meter = services.meter(node, "-ids", "Away", "Fine", *options, env=at(told))
    wait_until(lambda: "rabbitmqctl delete_queue Away" in meter.output, 30, f"the mend: {meter.output}")
    wait_until(lambda: "delete_queue Away" in told.status, 5, f"the mend: {told.status}")
    wait_until(lambda: confirmed(told) > 20, 40, f"readings of the other meter: {told.status}")
    assert "Connects again" not in meter.output
    leader(node, "Away", "restart_server")
    wait_until(lambda: "The queue Away answers again" in meter.output, 30, "the queue to answer")
    wait_until(lambda: held(node, "Away") > FOREIGN, 30, "messages of the meter")
    wait_until(lambda: "delete_queue" not in told.status or not meter.is_running, 5, "a status without it")
    meter.stop()
    assert foreign_left(node, "Away") == FOREIGN


def test_leader_goes_while_it_runs(node: Node, services: Services, told: Told) -> None:
    """The same for a meter at work: no new connection, the others go on, and nothing is missing."""
    prefill(node, "Away")
    meter = services.meter(node, "-ids", "Away", "Fine", env=at(told))
    wait_until(lambda: held(node, "Away") > FOREIGN + 2, 30, "messages of the meter")
    leader(node, "Away", "stop_server")
    wait_until(lambda: "delete_queue Away" in told.status, 40, f"the mend: {told.status}")
    leader(node, "Away", "restart_server")
    wait_until(lambda: "delete_queue" not in told.status, 40, f"a status without it: {told.status}")
    assert meter.output.count("Connected") == 1
    services.pv(node, "-ids", "Away")
    rows = services.wait_for_rows("Away", FOREIGN + 30, timeout=60)
    live = sorted(set(rows[FOREIGN:]))
    assert live == [live[0] + number for number in range(len(live))]
    assert sum(each < LONG_AGO_S + FOREIGN for each in rows) == FOREIGN


@pytest.mark.parametrize("options", [(), ("--state-dir", "."), ("--from", "2026-01-01", "--to", "2026-01-02")])
def test_alarm(own_node: Node, services: Services, told: Told, options: Sequence[str]) -> None:
    """An alarm while a meter starts: it waits, says so, nothing is deleted, and no reading is missing afterwards."""
    prefill(own_node, "Meter_0")
    shell.ctl(own_node, "set_vm_memory_high_watermark", "absolute", "1")
    meter = services.meter(own_node, *options, env=at(told))
    wait_until(lambda: "takes nothing now" in told.status, 20, f"the alarm: {told.status}")
    blocked_s = time.time()
    time.sleep(20)
    shell.ctl(own_node, "set_vm_memory_high_watermark", "0.6")
    wait_until(lambda: held(own_node, "Meter_0") > FOREIGN + 5, 30, f"messages of the meter: {meter.output}")
    assert meter.output.count("Connected") == 1
    assert "delete_queue" not in meter.output
    meter.stop()
    services.pv(own_node, "-ids", "Meter_0")
    wait_until(lambda: not held(own_node, "Meter_0"), 30, "all to have rows")
    rows = services.times("Meter_0")
    live = sorted(rows[FOREIGN:])
    assert sum(each < LONG_AGO_S + FOREIGN for each in rows) == FOREIGN
    assert live == [live[0] + number for number in range(len(live))]
    assert "--from" in options or live[0] <= blocked_s


@contextmanager
def slow_disk(node: Node) -> Iterator[None]:
    """Each sync of the broker takes five seconds."""
    require("trace")
    assert node._server
    calls = "fsync,fdatasync"
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter=5000000")
    command = ["strace", "-f", *inject, "-o", "/dev/null", "-p", str(node._server.pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        yield
        strace.terminate()


@pytest.mark.long
def test_slow_disk(own_node: Node, services: Services, told: Told) -> None:
    """A broker that takes seconds to answer, and a connection that is lost: the meter waits, and goes on."""
    prefill(own_node, "Meter_0")
    with slow_disk(own_node):
        meter = services.meter(own_node, env=at(told))
        for number in (1, 2):
            wait_until(lambda: meter.output.count("Connected") == number, 20, "a connection")  # noqa: B023
            before = confirmed(told)
            wait_until(lambda: confirmed(told) > before, 40, f"a confirm: {meter.output}")  # noqa: B023
            shell.ctl(own_node, "close_all_connections", "test")
    meter.stop()
    assert foreign_left(own_node, "Meter_0") == FOREIGN


@pytest.mark.parametrize("is_older", [False, True])
def test_bounded_by_others(node: Node, services: Services, told: Told, is_older: bool) -> None:
    """A queue that a policy, or whoever declared it, bounds below our own bound is full, not dead."""
    if is_older:
        prefill(node, "Meter_0", **{"x-max-length": FOREIGN})
    else:
        prefill(node, "Meter_0")
        shell.ctl(node, "set_policy", "small", "^Meter_0$", f'{{"max-length":{FOREIGN}}}')
    meter = services.meter(node, env=at(told))
    wait_until(lambda: "1 full queues" in told.status, 30, f"a full queue: {told.status}")
    time.sleep(20)
    assert meter.output.count("The queue Meter_0 is full") == 1
    assert meter.output.count("Connected") == 1
    assert meter.output.count("\n") < 10
    assert foreign_left(node, "Meter_0") >= FOREIGN
    wait_until(lambda: "has room again" in meter.output, 30, "the meter to notice the room")
    if not is_older:
        shell.ctl(node, "clear_policy", "small")


class Proxy:
    """A proxy far from a node: all takes a while, on every machine. It cuts all connections at once."""

    def __init__(self, node: Node) -> None:
        self.host, self._target = node.host, (node.host, node.port)
        self._listener = socket.create_server((node.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._pairs.append((near, far))
                threading.Thread(target=self._pump, args=(near, far), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    if not (data := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                        return self.cut(near, far)
                    time.sleep(0.02)
                    key.data.sendall(data)

    def cut(self, *some: socket.socket) -> None:
        """End these, or all."""
        for each in some or [each for pair in self._pairs for each in pair]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.cut()


@pytest.mark.long
def test_flapping(node: Node, services: Services) -> None:
    """Cut when it has begun and every fifteen seconds from then on, a history gets on, and ends."""
    proxy = Proxy(node)
    conf = services.directory / "proxy.ini"
    conf.write_text(f"[broker]\nhost = {proxy.host}\nport = {proxy.port}\nmax_queue_length = 100000000\n")
    (services.directory / "simulation.ini").write_text("[meter]\nbatch = 10\n")
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T02:00:00Z")
    meter = services.start("pvsim.meter", "-conf", "proxy.ini", "-ids", "H", *span, "--state-dir", ".")
    wait_until(lambda: shell.queues(node) == {"H"} and held(node, "H") > 0, 20, "messages")
    for _ in range(32):
        if meter.is_running:
            proxy.cut()
            time.sleep(15)
    proxy.close()
    assert meter.process.poll() == 0, meter.output
    assert "All readings asked for are confirmed" in meter.output
    assert meter.output.count("Connected") > 3


def test_vhost_limit(node: Node, services: Services, told: Told) -> None:
    """A virtual host that takes no more queues: one line, a status, and work when it does."""
    shell.ctl(node, "set_vhost_limits", '{"max-queues":0}')
    try:
        meter = services.meter(node, env=at(told))
        wait_until(lambda: "cannot use the queue Meter_0" in told.status, 20, f"the limit: {told.status}")
        time.sleep(3)
        assert "queue limit" in meter.output
        assert meter.output.count("\n") < 6, meter.output
    finally:
        shell.ctl(node, "clear_vhost_limits")
    wait_until(lambda: held(node, "Meter_0") > 5, 50, "messages")
    assert "cannot use" not in told.status


# What RabbitMQ leaves when a queue is deleted while somebody declares it: a Raft member without a queue.
_KEEP_MEMBER = """
Delete = fun(What) -> rabbit_amqqueue:internal_delete(What, <<"tests">>) end,
[try Delete(amqqueue:get_name(Queue)) catch error:_ -> Delete(Queue) end || Queue <- rabbit_amqqueue:list()]
"""


def test_a_part_of_a_deleted_queue(node: Node, services: Services) -> None:
    """The broker closes the whole connection on its name: the mend is named, the others go on, and then it does."""
    prefill(node, "M")
    shell.ask(node, _KEEP_MEMBER)
    assert shell.queues(node) == set()
    meter = services.meter(node, "-ids", "M", "Other")
    wait_until(lambda: "Cannot use the queue M " in meter.output, 30, f"the queue: {meter.output}")
    assert "restart the broker: it has kept a part" in meter.output
    before = held(node, "Other")
    wait_until(lambda: held(node, "Other") > before + 20, 40, f"messages of the other: {meter.output}")
    assert meter.output.count("Lost the broker") == 1, meter.output
    shell.ask(node, "ra:force_delete_server(quorum_queues, {'%2F_M', node()})")
    wait_until(lambda: held(node, "M") > 0, 40, f"messages: {meter.output}")


def test_rejected_refuses(node: Node, services: Services, told: Told) -> None:
    """What is set aside goes to a second queue while the first takes nothing; the rows behind it are not held up."""
    queue = {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-max-length": 1}
    with channel_of(node) as channel:
        channel.queue_declare(REJECTED, durable=True, arguments=queue)
        for _ in range(3):
            with suppress(pika.exceptions.NackError):
                channel.basic_publish("", REJECTED, b"foreign", PERSISTENT)
        pv = services.pv(node, "-ids", "M", env=at(told))
        wait_until(lambda: "M" in shell.ctl(node, "list_queues", "name").split(), 20, "the queue")
        for number in range(300):
            publish(channel, "", "M", b"rubbish %d" % number, PERSISTENT)
            publish(channel, "", "M", encode("M", [number * 10**9], [1000]), PERSISTENT)
        services.wait_for_rows("M", 300)
        wait_until(lambda: "300 messages set aside" in told.status, 40, f"all set aside: {told.status}")
        assert f"the queue {REJECTED} takes no messages" in told.status
        wait_until(lambda: held(node, f"{REJECTED}.spare") == 300, 20, "all of it in the second queue")
        cpu = cpu_s(pv)
        time.sleep(5)
        assert cpu_s(pv) - cpu < 1
        channel.queue_purge(REJECTED)
        channel.queue_delete(REJECTED)

        def is_used_again() -> bool:
            publish(channel, "", "M", b"later", PERSISTENT)
            return f"the queue {REJECTED}" not in told.status

        wait_until(is_used_again, 60, "the first again")
        assert held(node, REJECTED) >= 0
    assert pv.stop() == 0


def cpu_s(service: Service) -> float:
    """The processor time that a service has had."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_silent_queue_of_a_pv_service(node: Node, services: Services, told: Told) -> None:
    """An old queue that never answers: all others have their rows, and it has them when it answers."""
    prefill(node, "Away")
    leader(node, "Away", "stop_server")
    services.meter(node, "-ids", "Away", "Fine_0..9")
    pv = services.pv(node, "-ids", "Away", "Fine_0..9", env=at(told))
    services.wait_for_rows("Fine_9", 5, timeout=60)
    wait_until(lambda: "delete_queue Away" in told.status, 40, f"the mend: {told.status}")
    time.sleep(15)
    assert pv.output.count("Connected") <= 3, pv.output
    leader(node, "Away", "restart_server")
    wait_until(lambda: "can be consumed again" in pv.output, 40, "the queue to answer")
    services.wait_for_rows("Away", FOREIGN, timeout=20)


@pytest.mark.parametrize("channels", [2, 4])
def test_few_channels(services: Services, told: Told, channels: int) -> None:
    """A broker with few channels a connection: they do, or the sentence says how many it takes."""
    with Node(conf=f"channel_max = {channels}\n") as node:
        meter = services.meter(node, "-nb", "20", env=at(told))
        if channels < 3:
            sentence = "it allows 2 channels a connection, and 3 are needed; raise channel_max"
            wait_until(lambda: sentence in told.status and sentence in meter.output, 20, f"a word: {told.status}")
        else:
            services.pv(node, "-ids", "Meter_0..19")
            services.wait_for_rows("Meter_19", 5, timeout=40)


def test_small_messages(services: Services, told: Told) -> None:
    """A broker that takes small messages only gets such, and the log names the key."""
    with Node(conf="max_message_size = 5000\n") as node:
        meter = services.meter(node, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:30:00Z", env=at(told))
        services.pv(node, "-ids", "Meter_0")
        services.wait_for_rows("Meter_0", 1800, timeout=60)
        assert meter.wait(20) == 0
        assert "as batch" in meter.output
        assert meter.output.count("Connected") <= 2


def test_one_connection(node: Node, services: Services) -> None:
    """Where only one connection is allowed, it does."""
    shell.ctl(node, "add_user", "one", "x")
    shell.ctl(node, "set_permissions", "one", ".*", ".*", ".*")
    shell.ctl(node, "set_user_limits", "one", '{"max-connections": 1}')
    meter = services.meter(node, "-nb", "3", conf="username = one\npassword = x\n")
    wait_until(lambda: held(node, "Meter_2") > 3, 40, f"messages: {meter.output}")
    assert meter.output.count("No second connection") == 1


def forget_everything(node: Node) -> None:
    """The broker is set up anew."""
    shell.ctl(node, "delete_vhost", "/")
    shell.ctl(node, "add_vhost", "/")
    shell.ctl(node, "set_permissions", "guest", ".*", ".*", ".*")


@pytest.mark.long
@pytest.mark.parametrize("interval", [1, 25])
def test_set_up_anew(own_node: Node, services: Services, interval: int) -> None:
    """A PV service declares the queue before the meter comes: what the meter had confirmed before is sent again."""
    options = ("--interval", str(interval), "--state-dir", ".")
    meter = services.meter(own_node, *options)
    wait_until(lambda: held(own_node, "Meter_0") >= 2, 90, "readings that are confirmed")
    time.sleep(11)
    meter.kill()
    kept = json.loads((services.directory / "progress.json").read_text())["meters"]["Meter_0"]
    forget_everything(own_node)
    pv = services.pv(own_node, "-ids", "Meter_0")
    wait_until(lambda: "Meter_0" in shell.ctl(own_node, "list_queues", "name").split(), 20, f"the queue: {pv.output}")
    meter = services.meter(own_node, *options)
    first = (kept["declared_ns"] // 10**9 // interval + 1) * interval
    instants = services.wait_for_rows("Meter_0", 6, timeout=150)
    assert instants[:6] == [first + number * interval for number in range(6)], meter.output


@pytest.mark.long
def test_marked_and_flapping(node: Node, services: Services) -> None:
    """However often connections break, a queue that a PV service had declared is taken for a new one no longer."""
    services.pv(node, "-ids", "M")
    wait_until(lambda: "M" in shell.ctl(node, "list_queues", "name").split(), 20, "the queue")
    meter = services.start("tests.broker.hasty", "-conf", "broker.ini", "-ids", "M")
    services.wait_for_rows("M", 4)
    counts: list[int] = []
    while len(counts) < 3 or not 0 < counts[-3] == counts[-1]:
        assert len(counts) < 12, meter.output
        services.wait_for_rows("M", len(services.times("M")) + 8)  # so that some are settled
        shell.ctl(node, "close_all_connections", "test")
        services.wait_for_rows("M", len(services.times("M")) + 1)
        counts.append(meter.output.count("The queue M was replaced"))


@pytest.mark.long
def test_declared_anew_while_it_is_quiet(own_node: Node, services: Services) -> None:
    """A queue is deleted, and declared by a PV service before the meter's next reading: nothing is missing."""
    services.meter(own_node, "--interval", "25")
    wait_until(lambda: held(own_node, "Meter_0") == 1, 60, "a reading")
    shell.ctl(own_node, "delete_queue", "Meter_0")
    services.pv(own_node, "-ids", "Meter_0")
    instants = sorted(services.wait_for_rows("Meter_0", 3, timeout=90))
    assert [b - a for a, b in pairwise(instants)] == [25] * (len(instants) - 1)
    assert len(instants) >= 3
