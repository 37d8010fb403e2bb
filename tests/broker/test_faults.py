"""Meters that misbehave on purpose: that arrives as it is meant, after outages too, and what else is wrong is found."""

from __future__ import annotations

import signal
import time
from typing import Any

from pvsim.config import load_simulation
from pvsim.ids import REJECTED
from pvsim.models import load
from pvsim.models.faults import Faulty, Given
from pvsim.tools.node import Node
from pvsim.tools.verify.report import KINDS, ON_PURPOSE
from tests.broker.conftest import Services, held, wait_until, wait_until_acknowledged

START_S, END_S = 1_767_220_000, 1_767_230_000  # around a midnight in UTC
FILE = ("--simulation-file", "simulation.ini")
SPAN = ("--from", str(START_S), "--to", str(END_S))
SIMULATION = """\
[meter]
fault_dropout = 10% of 2
fault_stuck = 10% of 1
fault_spike_w = 20000 in 2% of 1
fault_offset_w = -100 in 5% of 6
fault_drift_percent = 3 in 10% of 6
fault_noise_w = 10 in 20% of 6
fault_clock_s = 4.5 in 10% of 6
fault_duplicate = 5% of 1
fault_late_s = 3 in 10% of 6
fault_shuffle = 5 in 20% of 6
fault_rubbish = 5% of 1
[pv]
timezone = UTC
"""


def expected_rows(services: Services, meter_id: str) -> set[Given]:
    """The readings of the history of a meter."""
    settings = load_simulation(services.directory / "simulation.ini", None).meter(meter_id)
    power = load.model(settings.model, settings.seed, meter_id, **settings.parameters)
    faulty = Faulty(settings.seed, meter_id, settings.interval_ns, power, settings.faults)
    slots = range(START_S * 10**9, END_S * 10**9, settings.interval_ns)
    return {item for item in faulty.sequence(slots) if not isinstance(item, bytes)}


def problems(found: dict[str, Any]) -> dict[str, int]:
    return {kind: found["total"][kind] for kind in KINDS if found["total"][kind]}


def test_history(node: Node, services: Services) -> None:
    """All kinds at once, killed and gone on with: each row that is to exist once, and one that gets lost is found."""
    (services.directory / "simulation.ini").write_text(SIMULATION)
    pv = services.pv(node, "-ids", "M_0..1")
    history = ("-ids", "M_0..1", *SPAN, "--state-dir", ".")
    for _ in range(2):
        meter = services.meter(node, *history)
        rows = len(services.rows("M_0"))
        wait_until(lambda: len(services.rows("M_0")) > rows, 30, "further rows")  # noqa: B023  (it is called at once)
        assert meter.is_running
        meter.stop(signal.SIGKILL)
        pv.stop(signal.SIGKILL)
        pv = services.pv(node, "-ids", "M_0..1")
    meter = services.meter(node, *history)
    assert meter.wait(120) == 0
    wait_until_acknowledged(node, "M_0", "M_1")
    total = services.verify(*FILE, *SPAN)
    assert total["rows"] == sum(len(expected_rows(services, meter_id)) for meter_id in ("M_0", "M_1"))
    assert all(total[f"{kind}_on_purpose"] > 100 for kind in ON_PURPOSE)
    assert held(node, REJECTED) >= 700  # 5 % of 20,000, less four standard deviations
    path = max(services.directory.glob("M_1-*.csv"))
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:1000], *lines[1001:]]))
    assert problems(services.examine(*FILE, *SPAN)) == {"missing": 1}


def test_live(own_node: Node, services: Services) -> None:
    """The broker is killed among faults: after that, too, everything that is to exist has its row, and no other."""
    often = SIMULATION.replace("10% of 2", "0.3 of 2")
    (services.directory / "simulation.ini").write_text(often)
    services.pv(own_node, "-ids", "M")
    meter = services.meter(own_node, "-ids", "M", "--interval", "0.1", "--state-dir", ".")
    services.wait_for_rows("M", 50)
    own_node.kill()
    time.sleep(1)
    own_node.start()
    wait_until(lambda: meter.output.count("Connected") == 2, 30, "the meter to be back")
    count = len(services.rows("M"))
    services.wait_for_rows("M", count + 100)
    assert meter.stop() == 0
    wait_until_acknowledged(own_node, "M")
    total = services.verify(*FILE, "--interval", "0.1", "--progress", "progress-M.json")
    assert total["missing_on_purpose"] > 0
