"""Progress belongs to meter ids, and knows what readings were made with: no gap, and no instant with two values."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.conftest import Services, wait_until
from tests.broker.test_promises import faked_clock, gaps, set_clock
from tests.broker.told import Told, at


def simulate(services: Services, text: str) -> None:
    """Write simulation.ini."""
    (services.directory / "simulation.ini").write_text(text)


def rows_of_instants(services: Services, meter_id: str) -> Counter[float]:
    """How many different rows each instant has."""
    rows = {tuple(row) for row in services.rows(meter_id)}
    return Counter(float(row[1]) for row in rows)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("text", ["seed = 1", "model = household", "fault_offset_w = 7 in 100% of 1"])
def test_settings_that_change(node: Node, services: Services, text: str, number: signal.Signals) -> None:
    """Seed, model or a fault changes; then the queue is lost, the connection is lost, the meter starts again."""
    simulate(services, "[meter]\ninterval = 0.1\n")
    meter = services.meter(node, "-ids", "M", "--state-dir", ".")
    services.pv(node, "-ids", "M")
    services.wait_for_rows("M", 60)
    meter.stop(number)
    simulate(services, f"[meter]\ninterval = 0.1\n{text}\n")
    meter = services.meter(node, "-ids", "M", "--state-dir", ".")
    wait_until(lambda: "Connected" in meter.output, 10, "a connection")
    assert "M: its settings have changed" in meter.output
    for lose in (["close_all_connections", "test"], ["delete_queue", "M"], ["close_all_connections", "test"]):
        count = len(services.times("M"))
        services.wait_for_rows("M", count + 15, timeout=90)
        shell.ctl(node, *lose)
    meter.stop()
    meter = services.meter(node, "-ids", "M", "--state-dir", ".")
    count = len(services.times("M"))
    services.wait_for_rows("M", count + 30)
    assert not [instant for instant, rows in rows_of_instants(services, "M").items() if rows > 1]
    if number == signal.SIGTERM:  # or else nobody knows what was sent last
        instants = sorted(rows_of_instants(services, "M"))
        assert not gaps(instants, 0.1)


def test_what_could_not_be_sent_is_made_with_the_new_settings(own_node: Node, services: Services) -> None:
    """The broker was away before the change: what was never sent has no other value yet, so it is sent.

    What was on its way when the broker was killed may have been taken: that alone is not sent with another value.
    """
    simulate(services, "[meter]\ninterval = 0.1\n")
    meter = services.meter(own_node, "-ids", "M", "--state-dir", ".")
    services.pv(own_node, "-ids", "M")
    services.wait_for_rows("M", 20)
    own_node.kill()
    time.sleep(5)
    meter.stop()
    simulate(services, "[meter]\ninterval = 0.1\nseed = 1\n")
    services.meter(own_node, "-ids", "M", "--state-dir", ".")
    own_node.start()
    wait_until(lambda: max(services.times("M")) > time.time() - 1, 60, "the present")
    assert not [instant for instant, rows in rows_of_instants(services, "M").items() if rows > 1]
    missing = gaps(sorted(rows_of_instants(services, "M")), 0.1)
    assert sum(after - before - 0.1 for before, after in missing) < 0.35, missing


def test_one_more_id(node: Node, services: Services) -> None:
    """Another list, another fleet, from a fleet to a list: whoever is in both goes on without a gap."""
    ids = ["Meter_0", "Meter_1", "Meter_2", "House"]
    services.pv(node, "-ids", *ids)
    for arguments in (
        ["-ids", "Meter_0", "Meter_1"],
        ["-ids", "Meter_0", "Meter_1", "House"],
        ["-ids", "Meter_0..1", "House"],
        ["-nb", "2"],
        ["-nb", "3"],
        ["-ids", "Meter_1", "Meter_2", "Meter_0"],
    ):
        meter = services.meter(node, *arguments, "--state-dir", ".")
        count = len(services.times("Meter_0"))
        services.wait_for_rows("Meter_0", count + 3)
        assert meter.stop() == 0
        time.sleep(2)
    for meter_id in ("Meter_0", "Meter_1"):
        assert len(services.times(meter_id)) > 15
        assert gaps(services.times(meter_id)) == []


def test_a_meter_that_another_process_publishes(node: Node, services: Services) -> None:
    """It is refused with both named, while the other runs, and taken over when that has ended."""
    fleet = services.meter(node, "-nb", "2", "--state-dir", ".", "--interval", "0.1")
    services.pv(node, "-ids", "Meter_1")
    services.wait_for_rows("Meter_1", 5)
    meter = services.meter(node, "-ids", "Meter_1", "--state-dir", ".", "--interval", "0.1")
    assert meter.wait() == 1
    assert "Meter_1 of progress-Meter_1.json: another process publishes that already" in meter.output
    assert f"keeps its progress in {services.directory}/progress.json" in meter.output
    fleet.kill()
    services.meter(node, "-ids", "Meter_1", "--state-dir", ".", "--interval", "0.1")
    count = len(services.times("Meter_1"))
    assert gaps(services.wait_for_rows("Meter_1", count + 20), 0.1) == []


def as_version_1(path: Path) -> str:
    """What the version before has written of the same meters."""
    keys = ("confirmed_ns", "settled_ns", "declared_ns", "gaps", "stopped_ns")
    meters = json.loads(path.read_text())["meters"]
    kept = {each: {key: record[key] for key in keys if key in record} for each, record in meters.items()}
    return json.dumps({"version": 1, "meters": kept})


@pytest.mark.parametrize("text", ["", "seed = 1\n"])
def test_upgrade(node: Node, services: Services, text: str) -> None:
    """Progress of the version before is gone on with: no gap, and no instant with two values."""
    simulate(services, "[meter]\ninterval = 0.1\n")
    meter = services.meter(node, "-nb", "2", "--state-dir", ".")
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 30)
    meter.stop()
    path = services.directory / "progress.json"
    path.write_text(as_version_1(path))
    simulate(services, f"[meter]\ninterval = 0.1\n{text}")
    services.meter(node, "-ids", "Meter_0", "--state-dir", ".")
    for _ in range(2):
        count = len(services.times("Meter_0"))
        services.wait_for_rows("Meter_0", count + 20)
        shell.ctl(node, "close_all_connections", "test")
    services.wait_for_rows("Meter_0", len(services.times("Meter_0")) + 20)
    assert gaps(services.times("Meter_0"), 0.1) == []


def test_a_history_whose_settings_change(node: Node, services: Services) -> None:
    """It cannot go on with other values, and does not begin anew by itself: that is said, and nothing is sent."""
    history = ("-ids", "M", "--from", "1767225600", "--to", "1767226600", "--state-dir", ".")
    meter = services.meter(node, *history)
    assert meter.wait(30) == 0
    simulate(services, "[meter]\nseed = 1\n")
    meter = services.meter(node, *history)
    assert meter.wait(30) == 1
    assert "The history of M cannot go on: its settings have changed" in meter.output
    services.pv(node, "-ids", "M")
    services.wait_for_rows("M", 1000)
    time.sleep(2)
    assert len(services.times("M")) == 1000


def test_clock_that_was_ahead(node: Node, services: Services, told: Told) -> None:
    """Set right, in one process and over a restart: status and log say until when readings exist, and it goes on."""
    clock = services.directory / "clock"
    set_clock(clock, 3600)
    environment = {**faked_clock(clock), **at(told), "TZ": "UTC"}
    meter = services.meter(node, "--state-dir", ".", env=environment)
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 3)
    set_clock(clock, 0)
    until = time.strftime("%F %H:", time.gmtime(time.time() + 3600))
    wait_until(lambda: f"goes on at {until}" in told.status, 10, f"a status: {told.status}")
    assert "the clock was ahead, so readings up to then exist already" in told.status
    assert f"It goes on at {until}" in meter.output
    assert meter.stop() == 0
    meter = services.meter(node, "--state-dir", ".", env=environment)
    wait_until(lambda: f"It goes on at {until}" in meter.output, 10, f"a sentence in {meter.output}")
    wait_until(lambda: f"goes on at {until}" in told.status, 10, f"a status: {told.status}")
    set_clock(clock, 3600)
    wait_until(lambda: "goes on" not in told.status, 10, f"a status: {told.status}")
    count = len(services.times("Meter_0"))
    assert gaps(services.wait_for_rows("Meter_0", count + 5)) == []
    assert all(b > a for a, b in pairwise(services.times("Meter_0")))
