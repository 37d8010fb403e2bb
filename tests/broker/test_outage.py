"""A broker that is away, and how soon all is well after its return. The figures are printed: run it with -s.

A longer time away: PVSIM_OUTAGE_SECONDS=600 sh tests/run.sh broker -k outage -s
"""

from __future__ import annotations

import os
import time

import pytest

from pvsim.tools.node import Node
from tests.broker.conftest import Service, Services, wait_until
from tests.broker.dayfiles import have_come

AWAY_S = float(os.environ.get("PVSIM_OUTAGE_SECONDS", "20"))
METERS = 1000
INTERVAL_S = 5
INTERVAL = ("--interval", str(INTERVAL_S))


def catch_up(services: Services, timeout: float, instant_s: float = 0) -> float:
    """Wait until all meters have rows up to an instant, now if none is given; return how long it took, s."""
    instant_s, began = instant_s or int(time.time()) // INTERVAL_S * INTERVAL_S, time.monotonic()
    late = [f"M_{number}" for number in range(METERS)]
    wait_until(lambda: have_come(services.directory, late, instant_s), timeout, f"rows of all meters up to {instant_s}")
    return time.monotonic() - began


def watch_memory(service: Service, seconds: float) -> int:
    """The most that a service has resident within some time, kB."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, service.memory_kib())
        time.sleep(0.2)
    return most


@pytest.mark.timeout(3 * AWAY_S + 600)
@pytest.mark.xdist_group("outage")
@pytest.mark.long
def test_outage(own_node: Node, services: Services) -> None:
    """A broker that is away for long: a thousand meters need no more memory, and catch up with every reading."""
    meter = services.meter(own_node, "-ids", "M_0..999", *INTERVAL, "--state-dir", ".")
    pv = services.pv(own_node, "-ids", "M_0..999")
    catch_up(services, 180, instant_s=1)
    catch_up(services, 60)
    time.sleep(3)
    before = meter.memory_kib()
    own_node.kill()
    during = watch_memory(meter, AWAY_S)
    own_node.start()
    seconds = catch_up(services, 120 + AWAY_S)
    print(f"\n{METERS} meters, broker away for {AWAY_S:g} s: caught up {seconds:.1f} s after its return")
    print(f"RSS of the meter: {before} kB before, {during} kB at most during, {meter.memory_kib()} kB after")
    until_s = int(time.time()) - 10
    assert meter.stop() == pv.stop() == 0
    assert during <= 1.1 * before
    first_s = min(services.times(f"M_{number}")[0] for number in range(METERS))
    found = services.verify(*INTERVAL, "--from", f"{first_s:.0f}", "--to", str(until_s), timeout=300)
    print(f"{found['rows']} rows, each as it should be")


def test_back_soon(own_node: Node, services: Services) -> None:
    """The first new row comes soon after a killed broker speaks AMQP again."""
    services.meter(own_node, "--interval", "0.1", "--state-dir", ".")
    services.pv(own_node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 30)
    for _ in range(3):
        own_node.kill()
        count = len(services.times("Meter_0"))
        own_node.start()
        began = time.monotonic()
        services.wait_for_rows("Meter_0", count + 1, timeout=15)
        print(f"\nfrom the broker's return to the first new row: {time.monotonic() - began:.2f} s")
        time.sleep(3)
