"""What waits says what for."""

from __future__ import annotations

import signal
import time

import pytest

from pvsim.tools.node import Node
from tests.broker.conftest import Services, wait_until
from tests.broker.told import Told, at


def test_a_meter_that_nobody_runs(node: Node, services: Services, told: Told) -> None:
    """The status of its PV service asks for it, until a reading comes."""
    services.pv(node, "-ids", "Meter_7", env=at(told))
    sentence = "no reading of Meter_7 yet: is a meter of that name running?"
    wait_until(lambda: sentence in told.status, 20, f"a status: {told.status}")
    services.meter(node, "-ids", "Meter_7")
    wait_until(lambda: "last reading" in told.status, 10, f"a status: {told.status}")
    assert "no reading" not in told.status


def test_a_history_that_nobody_records(node: Node, services: Services, told: Told) -> None:
    """Log and status say whom it takes; and the end of it, again."""
    history = ("-ids", "Meter_60..69", "--from", "1767225600", "--to", "1767225630", "--speed", "1.5")
    meter = services.meter(node, *history, env=at(told))
    sentence = "obody consumes Meter_60, Meter_61, Meter_62 and 7 more: start pvsim-pv for them"
    wait_until(lambda: f"n{sentence}" in told.status, 20, f"a status: {told.status}")
    # A status that nobody reads would hold it up.
    wait_until(lambda: told.status and f"N{sentence}." in meter.output, 20, "a sentence in the log")
    wait_until(lambda: told.status and not meter.is_running, 30, "the end")
    assert meter.wait(5) == 0
    assert meter.output.count(sentence) == 2
    services.pv(node, "-ids", "Meter_60..69")
    services.wait_for_rows("Meter_60", 30)
    meter = services.meter(node, *history)
    assert meter.wait(40) == 0
    assert "obody consumes" not in meter.output


def test_a_history_that_is_over_at_once_says_so_too(node: Node, services: Services) -> None:
    meter = services.meter(node, "-ids", "Brief", "--from", "1767225600", "--to", "1767225660")
    assert meter.wait(40) == 0
    assert meter.output.endswith("Nobody consumes Brief: start pvsim-pv for it.\n")


@pytest.mark.long
def test_timeout(own_node: Node, services: Services) -> None:
    """Without a broker, at the start or later, a history gives up with status 1, and can go on after that."""
    own_node.kill()
    span = ("-ids", "M", "--from", "1767225600", "--to", "1767225660", "--speed", "2", "--state-dir", ".")
    began = time.monotonic()
    meter = services.meter(own_node, *span, "--timeout", "3")
    assert meter.wait(20) == 1
    assert 2 < time.monotonic() - began < 8
    assert "Gave up after 3 s without a broker (--timeout). Cannot reach the broker at" in meter.output
    assert "Next try" not in meter.output.splitlines()[-1]
    own_node.start()
    services.pv(own_node, "-ids", "M")
    meter = services.meter(own_node, *span, "--timeout", "3")
    services.wait_for_rows("M", 10)
    own_node.kill()
    assert meter.wait(20) == 1
    own_node.start()
    assert services.meter(own_node, *span, "--timeout", "10").wait(60) == 0
    assert services.wait_for_rows("M", 60, timeout=60) == [1767225600 + each for each in range(60)]
    meter = services.meter(own_node, "--timeout", "2")
    wait_until(lambda: "Connected" in meter.output, 10, "a connection")
    time.sleep(3)
    assert meter.stop(signal.SIGINT) == 0
