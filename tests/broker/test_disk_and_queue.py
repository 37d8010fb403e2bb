"""What files do to queues: a disk that is full costs no delivery, and a meter whose files take long holds up nobody."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from pvsim.reading import MAX_DAYS, encode
from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.conftest import PATIENCE, Amqp, Services, held, wait_until, wait_until_acknowledged
from tests.broker.test_promises import gaps, small_disk
from tests.broker.told import Told, at

__all__ = ["small_disk"]

DAY_NS = 86_400 * 10**9
DAYS = 3 * MAX_DAYS


def test_a_full_disk_costs_no_delivery(own_node: Node, services: Services, small_disk: Path, told: Told) -> None:
    """With a policy that drops a message after three deliveries, and a disk that is full, and a connection lost."""
    node = own_node
    (services.directory / "simulation.ini").write_text("[meter]\nbatch = 1\n")
    shell.ctl(node, "set_policy", "limit", ".*", '{"delivery-limit": 3}')
    meter = services.meter(node, "-nb", "2", "--interval", "0.02")
    pv = services.pv(node, "-ids", "Meter_0..1", "--output-dir", str(small_disk), env=at(told))
    wait_until(lambda: "No space left" in pv.output, 60, "the disk to be full")
    wait_until(lambda: "2 waiting: Cannot write" in told.status, 60, f"a status: {told.status}")
    for _ in range(2):
        time.sleep(10)
        shell.ctl(node, "close_all_connections", "test")
    time.sleep(5)
    wait_until(lambda: "2 waiting: Cannot write" in told.status, 30, f"a status: {told.status}")
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    wait_until(lambda: "waiting" not in told.status, 60, f"a status without trouble: {told.status}")
    assert meter.stop() == 0
    wait_until_acknowledged(node, "Meter_0", "Meter_1")
    for meter_id in ("Meter_0", "Meter_1"):
        assert gaps(services.times(meter_id, "small"), 0.02) == []
    assert pv.output.count("No space left") <= 4


def test_messages_of_many_days(node: Node, services: Services, amqp: Amqp, told: Told) -> None:
    """Their files take long; the rows of another meter go on, and the loop lives: heartbeats, status and watchdog."""
    services.pv(node, "-ids", "Meter_0", "Many", conf="heartbeat = 2\n", env=at(told))
    services.meter(node, "--interval", "0.1")
    services.wait_for_rows("Meter_0", 10)
    for first in range(0, DAYS, MAX_DAYS):
        instants = [number * DAY_NS for number in range(first, first + MAX_DAYS)]
        amqp.publish("Many", encode("Many", instants, [1000] * len(instants)), content_type="application/x-ndjson")
    began, late_s, statuses = time.monotonic(), [0.0], {told.status}
    while len(list(services.directory.glob("Many-*.csv"))) < DAYS:
        assert time.monotonic() < began + 100 * PATIENCE
        time.sleep(0.2)
        late_s.append(time.time() - services.times("Meter_0")[-1])
        statuses.add(told.status)
    took_s = time.monotonic() - began
    print(f"{DAYS} files in {took_s:.1f} s; rows of the other meter were {max(late_s):.1f} s late at most")
    assert max(late_s) < max(1, took_s / 3)
    assert len(statuses) > took_s / 3
    wait_until(lambda: held(node, "Many") == 0, 20, "all messages to be acknowledged")
    assert "lost" not in services.all_output()
    assert sum(1 for path in services.directory.glob("Many-*.csv") if path.read_text().count("\n") == 2) == DAYS
    assert gaps(services.times("Meter_0"), 0.1) == []
