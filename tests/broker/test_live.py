"""The live copy: whoever looks sees the rows, and whatever happens to it, nothing that is promised suffers."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pika
import pytest

from pvsim.broker import Copy, LiveLink, Loop, pika_private
from pvsim.broker.live import MOST_UNSENT, NAME
from pvsim.config import Address, BrokerSettings
from pvsim.reading import encode
from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.conftest import Amqp, Services, wait_until, wait_until_acknowledged

SECOND = 10**9


class Subscriber:
    """Somebody who looks: a queue of its own, bound to some keys of amq.topic."""

    def __init__(self, node: Node, *keys: str) -> None:
        self._connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port, heartbeat=0))
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        for key in keys:
            self._channel.queue_bind(self._queue, "amq.topic", key)

    def take(self) -> list[tuple[Any, Any, dict[str, Any]]]:
        """The copies that have come: what was delivered, its properties, and what the body says."""
        found = []
        while (got := self._channel.basic_get(self._queue, auto_ack=True))[0] is not None:
            found.append((got[0], got[1], json.loads(got[2])))
        return found

    def close(self) -> None:
        self._connection.close()


@contextmanager
def subscribed(node: Node, *keys: str) -> Iterator[Subscriber]:
    with closing(Subscriber(node, *keys)) as subscriber:
        yield subscriber


def as_row(copy: dict[str, Any]) -> list[float]:
    names = ("time_s", "meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w")
    return [float(copy[name]) for name in names]


def live_connection(node: Node) -> str:
    """The process of the connection that copies, as the broker names it."""
    lines = shell.ctl(node, "list_connections", "pid", "client_properties", "--no-table-headers").splitlines()
    return next((line.split()[0] for line in lines if NAME in line), "")


def test_copies_are_the_rows_of_the_file(node: Node, services: Services) -> None:
    """Once a second and meter, transient, with the key of the meter; who looks at one sees no other."""
    with subscribed(node, "pvsim.#") as all_of_them, subscribed(node, "pvsim.Meter_1") as one:
        services.meter(node, "-nb", "3")
        services.pv(node, "-ids", "Meter_0..2")
        services.wait_for_rows("Meter_2", 8)
        copies = all_of_them.take()
        rows = {
            (f"pvsim.{row[0]}", *map(float, row[1:])) for number in range(3) for row in services.rows(f"Meter_{number}")
        }
        found = {(given.routing_key, *as_row(copy)) for given, _, copy in copies}
        assert found <= rows
        assert len(found) == len(copies) >= 3 * 5
        assert {(properties.delivery_mode, properties.content_type) for _, properties, _ in copies} == {
            (1, "application/json")
        }
        for _, _, copy in copies:
            assert copy["grid_power_w"] == pytest.approx(copy["meter_power_value_w"] - 1000 * copy["pv_power_value_kw"])
        seconds = sorted({copy["time_s"] for _, _, copy in copies})
        assert seconds == list(range(seconds[0], seconds[-1] + 1))
        assert {given.routing_key for given, _, _ in one.take()} == {"pvsim.Meter_1"}


def test_pvsim_watch_takes_nothing_away(own_node: Node, services: Services) -> None:
    """It prints rows of the file, goes on when the broker comes back, and leaves no queue and no gap."""
    services.meter(own_node)
    services.pv(own_node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    watch = services.start("pvsim.tools", "watch", "-conf", "broker.ini", "--csv", "--rows", "12", "Meter_0")
    wait_until(lambda: watch.output.count("\nMeter_0,") >= 3, 30, "rows to be shown")
    own_node.restart()
    assert watch.wait(90) == 0
    shown = {line.rpartition(",")[0] for line in watch.output.splitlines() if line.startswith("Meter_0,")}
    assert len(shown) == 12
    assert shown <= {",".join(row) for row in services.rows("Meter_0")}
    assert "Trying again until it works." in watch.output
    times = services.times("Meter_0")
    assert times == list(range(int(times[0]), int(times[-1]) + 1))
    assert shell.ctl(own_node, "list_queues", "name", "--no-table-headers").split() == ["Meter_0"]


def test_pvsim_watch_says_why_it_cannot(node: Node, services: Services) -> None:
    """A login that is refused, from the start."""
    services.start("pvsim.meter", *services._configure(node, "password = wrong\n"), "--help").wait()
    watch = services.start("pvsim.tools", "watch", "-conf", "broker.ini")
    assert watch.wait(30) == 1
    assert "pvsim watch: Refused login as 'guest'" in watch.output


def test_what_is_old_is_not_copied(node: Node, services: Services, amqp: Amqp) -> None:
    """A meter that catches up has rows, and copies none of them but for the last moment's."""
    now_s = int(time.time())
    old = encode("Meter_0", [(now_s - second) * SECOND for second in range(500, 100, -1)], [1000] * 400)
    amqp.declare("Meter_0")
    amqp.publish("Meter_0", old)
    amqp.publish("Meter_0", encode("Meter_0", [now_s * SECOND], [1000]))
    with subscribed(node, "pvsim.#") as subscriber:
        services.pv(node, "-ids", "Meter_0")
        services.wait_for_rows("Meter_0", 401)
        # The first copy only opens the connection; a reading more is copied.
        for later in range(1, 20):
            amqp.publish("Meter_0", encode("Meter_0", [(now_s + later) * SECOND], [1000]))
            time.sleep(0.2)
        assert {copy["time_s"] >= now_s for _, _, copy in subscriber.take()} == {True}


def test_live_no_copies_nothing(node: Node, services: Services) -> None:
    (services.directory / "simulation.ini").write_text("[pv]\nlive = no\n")
    with subscribed(node, "#") as subscriber:
        services.meter(node)
        services.pv(node, "-ids", "Meter_0")
        services.wait_for_rows("Meter_0", 4)
        assert subscriber.take() == []
        assert live_connection(node) == ""


def test_without_permission_it_is_said_once_and_all_goes_on(own_node: Node, services: Services) -> None:
    """And copies come back with the permission."""
    shell.ctl(own_node, "set_permissions", "guest", ".*", r"^(?!amq\.topic$).*$", ".*")
    services.meter(own_node)
    pv = services.pv(own_node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 15)
    assert pv.output.count("No live copies: No permission") == 1
    assert "Lost the broker" not in pv.output
    shell.ctl(own_node, "set_permissions", "guest", ".*", ".*", ".*")
    with subscribed(own_node, "pvsim.#") as subscriber:
        wait_until(subscriber.take, 90, "copies to come back")
    wait_until(lambda: "Live copies are sent again." in pv.output, 30, "that it says so")
    times = services.times("Meter_0")
    assert times == list(range(int(times[0]), int(times[-1]) + 1))


def test_its_connection_is_killed(node: Node, services: Services) -> None:
    """Rows do not notice, and copies come back."""
    services.meter(node)
    pv = services.pv(node, "-ids", "Meter_0")
    pid = wait_until(lambda: live_connection(node), 30, "a connection that copies")
    with subscribed(node, "pvsim.#") as subscriber:
        wait_until(subscriber.take, 10, "a copy")
        shell.ctl(node, "close_connection", pid, "by a test")
        subscriber.take()
        wait_until(subscriber.take, 10, "a copy after that")
    assert "No live copies: " in pv.output
    assert pv.output.count("Connected to the broker") == 1


@pytest.mark.timeout(240)
def test_a_broker_without_memory_still_has_rows_acknowledged(own_node: Node, services: Services) -> None:
    """It stops reading from those that publish: copies must not make of the PV service one of them."""
    amqp = Amqp(own_node)
    meter, pv = services.meter(own_node), services.pv(own_node, "-ids", "Meter_0")
    wait_until(lambda: live_connection(own_node), 30, "a connection that copies")
    meter.stop()
    wait_until_acknowledged(own_node, "Meter_0")
    pv.process.send_signal(signal.SIGSTOP)
    now_ns = int(time.time()) * SECOND
    for number in range(200):  # of this moment, so that they are copied
        amqp.publish("Meter_0", encode("Meter_0", [now_ns + number * SECOND // 50], [1000]))
    shell.ctl(own_node, "set_vm_memory_high_watermark", "0.0001")
    pv.process.send_signal(signal.SIGCONT)
    services.wait_for_rows("Meter_0", 200)
    wait_until_acknowledged(own_node, "Meter_0")


def test_copies_that_the_broker_does_not_take_are_dropped(own_node: Node) -> None:
    """It is frozen: what waits for its socket stays bounded, and copies go on afterwards."""
    address, loop = Address(own_node.host, own_node.port), Loop()
    link = LiveLink(BrokerSettings(addresses=(address,)), loop)
    batch = [Copy("pvsim.M", b"x" * 400)] * 100
    steps = [(100, own_node.pause), *[(0, lambda: None)] * 50, (0, own_node.resume), (100, loop.stop)]
    unsent = [0]

    def send() -> None:
        taken, (wanted, go_on) = link.send(batch, address), steps[0]
        if link._connection.is_open:
            unsent.append(pika_private.unsent_bytes(link._connection))
        if taken == wanted:
            del steps[0]
            go_on()
        if steps:
            loop.later(0.01, send)

    send()
    loop.run()
    link.close()
    assert not steps
    assert MOST_UNSENT // 2 < max(unsent) < MOST_UNSENT + 100 * 500


def test_the_figures_are_as_prometheus_wants_them(node: Node, services: Services) -> None:
    """Its own tool finds nothing wrong, and the numbers are those of the rows."""
    promtool = shutil.which("promtool")
    assert promtool, "prometheus is not installed; run: apt install prometheus"
    services.meter(node, "-nb", "2", "--metrics-file", "meter.prom")
    pv = services.pv(node, "-ids", "Meter_0..1", "--metrics-file", "pv.prom")
    services.wait_for_rows("Meter_0", 20)
    texts = {name: (services.directory / f"{name}.prom").read_text() for name in ("meter", "pv")}
    for text in texts.values():
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    samples = [line for text in texts.values() for line in text.splitlines() if not line.startswith("#")]
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in samples)}
    assert values['pvsim_connected{unit="pv"}'] == values['pvsim_connected{unit="meter"}'] == 1
    assert 2 * 14 <= values['pvsim_rows_written_total{unit="pv"}'] <= 2 * 40
    assert values['pvsim_commit_duration_seconds_bucket{unit="pv",le="+Inf"}'] > 5
    pv.stop()
    assert not (services.directory / "pv.prom").exists()
