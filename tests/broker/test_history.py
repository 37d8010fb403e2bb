"""The past, as fast as it goes: whole, in order, and gone on with where it was interrupted."""

from __future__ import annotations

import signal
import sys
import time

from pvsim.tools.node import Node
from tests.broker.conftest import Services, wait_until
from tests.broker.dayfiles import have_come

SPAN = ("--from", "1767225600", "--to", "1767425600")
READINGS = 200_000


def test_interrupted(node: Node, services: Services) -> None:
    """A history that is stopped, and killed, ends whole: each row once, in order, in the files of its days."""
    services.pv(node, "-ids", "M_0..2")
    history = ("-ids", "M_0..2", *SPAN, "--state-dir", ".")
    for number in (signal.SIGTERM, signal.SIGKILL):
        meter = services.meter(node, *history)
        wait_until(lambda: "Connected" in meter.output, 10, "a connection")  # noqa: B023  (it is called at once)
        if meter.is_running:
            meter.stop(number)
    meter = services.meter(node, *history)
    assert meter.wait(60) == 0
    assert "All readings asked for are confirmed" in meter.output
    wait_until(lambda: len(list(services.directory.glob("M_*.csv"))) >= 9, 60, "the files of three days")
    late = ["M_0", "M_1", "M_2"]
    wait_until(lambda: have_come(services.directory, late, 1767425600 - 1), 60, "the last rows")
    assert services.verify(*SPAN)["rows"] == 3 * READINGS


def test_more_than_may_be_unconfirmed(node: Node, services: Services) -> None:
    """A hundred meters have twice as many readings to send at once: each has its turn, and the rest waits."""
    span = ("--from", "1767225600", "--to", "1767227100")
    services.pv(node, "-ids", "M_0..99")
    meter = services.meter(node, "-ids", "M_0..99", *span)
    assert meter.wait(60) == 0
    late = [f"M_{number}" for number in range(100)]
    wait_until(lambda: have_come(services.directory, late, 1767227100 - 1), 60, "the last rows")
    assert services.verify(*span)["rows"] == 100 * 1500


def test_then_live(node: Node, services: Services) -> None:
    """Without an end, history goes over into the present, without a gap."""
    services.pv(node, "-ids", "M")
    services.meter(node, "-ids", "M", "--from", "2026-01-01T00:00:00Z", "--interval", "600")
    wait_until(lambda: services.rows("M"), 30, "rows")
    wait_until(lambda: have_come(services.directory, ["M"], time.time() - 600), 30, "the present")

    def is_whole() -> bool:
        times = services.times("M")
        return times == [1767225600 + 600 * number for number in range(len(times))]

    wait_until(is_whole, 30, "each row of before, in order")  # files of a commit come in any order


def test_speed(node: Node, services: Services) -> None:
    """A faster clock: five minutes in five seconds, not at once, then the end."""
    services.pv(node, "-ids", "M")
    span = ("--from", "1767225600", "--to", "1767225900")
    meter = services.meter(node, "-ids", "M", *span, "--speed", "60")
    services.wait_for_rows("M", 20)
    assert len(services.times("M")) < 300
    assert meter.wait(30) == 0
    services.wait_for_rows("M", 300)
    assert services.verify(*span)["rows"] == 300


def test_bar(node: Node, services: Services) -> None:
    """On a terminal, and nowhere else, one sees how far it has come."""
    services.pv(node, "-ids", "M")
    terminal = (sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)")
    tool = services.start("pvsim.meter", "-conf", "broker.ini", "-ids", "M", *SPAN, before=terminal)
    assert tool.wait(60) == 0, tool.output
    assert "% [" in tool.output
    assert "\x1b[K" in tool.output
    meter = services.meter(node, "-ids", "M", *SPAN)
    assert meter.wait(60) == 0
    assert "% [" not in meter.output
