"""Meter and PV service as a user runs them by hand, against a real broker, and with strangers at the other end."""

from __future__ import annotations

import json
import os
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from pvsim.row import HEADER
from pvsim.tools.node import Node
from tests.broker.conftest import Amqp, Services, held, wait_for_queue, wait_until


def test_three_meters_give_three_files(node: Node, services: Services) -> None:
    """One file a meter, one row a second, every sum exact; Ctrl-C ends both services with status 0 at once."""
    meter = services.meter(node, "-nb", "3")
    pv = services.pv(node, "-ids", "Meter_0", "Meter_1", "Meter_2")
    ids = ["Meter_0", "Meter_1", "Meter_2"]
    wait_until(lambda: min(len(services.rows(meter_id)) for meter_id in ids) >= 4, 20, "four rows a meter")
    began = time.monotonic()
    assert meter.stop(signal.SIGINT) == 0
    assert pv.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 5
    assert "pvsim-meter: Meter created: ['Meter_0', 'Meter_1', 'Meter_2']" in meter.output
    for meter_id in ids:
        (file,) = services.directory.glob(f"{meter_id}-????-??-??.csv")
        assert file.read_text().splitlines()[0] == HEADER
        lines = services.rows(meter_id)
        times = [int(line[1]) for line in lines]
        assert times == list(range(times[0], times[0] + len(times)))
        for _, _, meter_w, pv_kw, sum_w in lines:
            assert Decimal(meter_w) + 1000 * Decimal(pv_kw) == Decimal(sum_w)
            assert 0 <= Decimal(meter_w) <= 9000
            assert 0 <= Decimal(pv_kw) <= 4


def test_a_reading_on_the_wire(node: Node, services: Services, amqp: Amqp) -> None:
    """An independent client reads the documented JSON, with exactly its keys."""
    services.meter(node)
    wait_until(lambda: "Connected" in services.all_output(), 10, "a connection")
    wait_until(lambda: held(node, "Meter_0") >= 2, 20, "a message after the first, which brings what was due before")
    amqp.consume("Meter_0")
    before = time.time()
    reading = json.loads(amqp.consume("Meter_0"))
    assert set(reading) == {"meter_id", "value", "time_s"}
    assert reading["meter_id"] == "Meter_0"
    assert 0 <= reading["value"] <= 9000
    assert before - 10 < reading["time_s"] <= before + 1


def test_a_message_of_somebody_else_becomes_a_row(node: Node, services: Services, amqp: Amqp) -> None:
    """Whoever publishes a reading gets its row, with the value as sent."""
    services.pv(node, "-ids", "M")
    wait_until(lambda: "Connected" in services.all_output(), 10, "a connection")
    wait_for_queue(node, "M")
    amqp.publish(
        "M", b'{"value": 0.1, "time_s": 1700000000.5, "meter_id": "M", "colour": "red"}', content_type="text/plain"
    )
    amqp.publish(
        "M", b'{"meter_id":"M","value":1,"time_s":1700000001}\n{"meter_id":"M","value":2,"time_s":1700000002}\n'
    )
    wait_until(lambda: len(services.rows("M")) == 3, 10, "three rows")
    assert [line[:3] for line in services.rows("M")] == [
        ["M", "1700000000.5", "0.1"],
        ["M", "1700000001", "1.0"],
        ["M", "1700000002", "2.0"],
    ]


def test_the_first_version_at_the_other_end(node: Node, services: Services, amqp: Amqp) -> None:
    """Non-durable queues, no confirms, automatic acknowledgement: both directions work, with a warning."""
    amqp.declare("Meter_0", durable=False)
    amqp.declare("Other", durable=False)
    meter = services.meter(node)
    body = wait_until(lambda: amqp.get("Meter_0"), 10, "a reading of ours")
    assert body
    assert json.loads(body)["meter_id"] == "Meter_0"
    assert meter.output.count("exists with other arguments and is used as it is") == 1
    pv = services.pv(node, "-ids", "Other", "Meter_0")
    amqp.publish("Other", b'{"meter_id": "Other", "value": 5.5, "time_s": 1700000000}')
    wait_until(lambda: services.rows("Other") and services.rows("Meter_0"), 10, "rows of both")
    assert pv.output.count("exists with other arguments and is used as it is") == 2
    assert meter.stop() == pv.stop() == 0


@pytest.mark.parametrize("limits, open_at_a_time", [("80:80", 16), ("80:1000", 40)])
def test_few_open_files(node: Node, services: Services, limits: str, open_at_a_time: int) -> None:
    """More meters than files that may be open: slower, which is said, and no row is missing or twice."""
    (services.directory / "simulation.ini").write_text("[meter]\nbatch = 5\n")
    pv = services.pv(node, "-ids", "Meter_0..39", before=["prlimit", f"--nofile={limits}"])
    ids = [f"Meter_{number}" for number in range(40)]
    for count in (20, 25):  # the second time, what comes again comes before what is new
        span = ["--from", "1767225590", "--to", str(1767225590 + count)]
        meter = services.meter(node, "-nb", "40", *span)
        assert meter.wait(60) == 0, meter.output
        wait_until(lambda: set(map(len, map(services.rows, ids))) == {count}, 30, "rows")  # noqa: B023 - called at once
    most = len(list(Path(f"/proc/{pv.process.pid}/fd").iterdir()))
    assert pv.stop() == 0
    few = "40 meters, but only 16 of their files may be open at a time, so rows take longer: raise LimitNOFILE"
    assert (few in pv.output) == (open_at_a_time < 40)
    assert (most >= 40) == (open_at_a_time == 40)
    services.verify(*span)


def test_a_broker_that_comes_later(services: Services) -> None:
    """Without a broker both start and wait, with one line in the log; when it comes, they work."""
    node = Node()
    try:
        meter, pv = services.meter(node), services.pv(node, "-ids", "Meter_0")
        time.sleep(3)
        assert meter.is_running
        assert pv.is_running
        assert meter.output.count("Connection refused") == 1
        node.start()
        wait_until(lambda: len(services.rows("Meter_0")) >= 3, 15, "rows")
        assert meter.stop() == pv.stop() == 0
    finally:
        node.close()


def test_without_a_broker_they_stop_too(services: Services) -> None:
    """SIGTERM ends a service that has no connection, with status 0."""
    node = Node()
    try:
        meter, pv = services.meter(node), services.pv(node, "-ids", "Meter_0")
        wait_until(lambda: services.all_output().count("Connection refused") == 2, 10, "both to be refused")
        assert meter.stop() == pv.stop() == 0
    finally:
        node.close()


BAD = [
    (["-conf", "missing.ini"], "missing.ini"),
    (["-conf", "unknown_key.ini"], "hots"),
    (["-conf", "bad_port.ini"], "abc"),
    (["-conf", "directory"], "directory"),
    (["-conf", "good.ini", "-ids", "../x"], "../x"),
    (["-conf", "good.ini", "--simulation-file", "missing.ini"], "missing.ini"),
]


@pytest.mark.parametrize("module", ["pvsim.meter", "pvsim.pv"])
@pytest.mark.parametrize("arguments, names", BAD)
def test_bad_configuration(services: Services, module: str, arguments: list[str], names: str) -> None:
    """One sentence that names what is wrong, exit status 78 (2 for an id on the command line), no traceback."""
    write_configurations(services.directory)
    if module == "pvsim.pv" and "-ids" not in arguments:
        arguments = [*arguments, "-ids", "M"]
    service = services.start(module, *arguments)
    assert service.wait() == (2 if names == "../x" else 78)
    assert names in service.output
    assert len(service.output.splitlines()) == 1
    assert "Traceback" not in service.output


def write_configurations(directory: Path) -> None:
    """Configuration files, most of them wrong in one way."""
    (directory / "good.ini").write_text("[broker]\n")
    (directory / "unknown_key.ini").write_text("[broker]\nhots = localhost\n")
    (directory / "bad_port.ini").write_text("[broker]\nport = abc\n")
    (directory / "directory").mkdir()


def test_an_unreadable_file(services: Services) -> None:
    """A configuration file that the user may not read: the same."""
    path = services.directory / "secret.ini"
    path.write_text("[broker]\n")
    path.chmod(0)
    less = "-dac_override,-dac_read_search"  # so that root may read no more than its owner
    before = ("setpriv", f"--bounding-set={less}", f"--inh-caps={less}") if os.geteuid() == 0 else ()
    service = services.start("pvsim.meter", "-conf", str(path), before=before)
    assert service.wait() == 78
    assert "secret.ini" in service.output
    assert "Permission denied" in service.output
    assert len(service.output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["-nb", "x"], ["-nb", "2", "-ids", "M"]])
def test_wrong_options(services: Services, arguments: list[str]) -> None:
    """argparse says what is wrong; exit status 2."""
    service = services.start("pvsim.meter", *arguments)
    assert service.wait() == 2
    assert service.output.startswith("usage: pvsim-meter")
