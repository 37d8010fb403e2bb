"""Everything that is promised, at once: 20 meters at 10 readings a second, while things break at random.

A schedule that follows from a seed alone kills the broker, the meter and the PV service, restarts them, cuts their
connections, freezes them, turns their clocks, fills the disk, takes away leaders, room in queues and memory, allows no
more queues, changes the seed or the model of a meter, adds meters, and publishes rubbish, duplicates and readings of
somebody else. What it breaks mends itself a little later, so that breakdowns overlap. In the end each instant has its
row once, in order and right, so has each reading of somebody else that was confirmed, and the rubbish, and nothing
else, was set aside. The short run is part of the tests; a long one, and one again that failed, are

    PVSIM_CHAOS_SECONDS=600 sh tests/run.sh broker -k chaos
    PVSIM_CHAOS_SEED=7 sh tests/run.sh broker -k chaos -s
"""

from __future__ import annotations

import gc
import os
import random
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvsim.config import load_simulation
from pvsim.ids import REJECTED
from pvsim.meter import progress, progressfiles
from pvsim.meter.tracks import power_of
from pvsim.models import PowerModel
from pvsim.pv.setaside import SPARE
from pvsim.tools.node import Node
from pvsim.tools.verify.report import KINDS
from tests.allowed import require
from tests.broker import shell
from tests.broker.chaos import DISK, IDS, INTERVAL_NS, LONG_AGO_S, STEADY, Chaos
from tests.broker.client import connected
from tests.broker.conftest import Services, wait_until

SECONDS = float(os.environ.get("PVSIM_CHAOS_SECONDS", "45"))
SEED = int(os.environ.get("PVSIM_CHAOS_SEED") or secrets.randbelow(1_000_000))
BATCH_NS = 500 * INTERVAL_NS  # what a message of a meter that is behind holds at most
LOST_S = 60.0  # after the last breakdown; a queue that has no rows then is lost for good
FOREIGN = re.compile(rb'"time_s": ?(\d{7})}')

pytestmark = [pytest.mark.xdist_group("outage"), pytest.mark.long]


@pytest.fixture
def disk(services: Services) -> Iterator[Path]:
    """A disk of 128 MB, in the directory of the services."""
    require("mount")
    path = services.directory / DISK
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128M", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    gc.collect()  # the sockets that pika left open, while the test's filter of warnings holds


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pika leaves its broken sockets open
def test_chaos(own_node: Node, services: Services, disk: Path) -> None:
    """Whatever breaks, each instant has its row once, and rubbish is set aside."""
    print(f"PVSIM_CHAOS_SEED={SEED} PVSIM_CHAOS_SECONDS={SECONDS:g}")
    chaos = Chaos(own_node, services, disk, random.Random(SEED))
    saved = disk / progressfiles.file_name([f"M_0..{len(IDS) - 1}"])
    wait_until(saved.exists, 20, "the meter's first instant")
    first_ns = {track.declared_ns for track in progress.parse(saved.read_text()).values()}.pop()
    since_ns = (first_ns // INTERVAL_NS + 1) * INTERVAL_NS
    chaos.run(SECONDS)

    until_ns = time.time_ns() // INTERVAL_NS * INTERVAL_NS
    began = time.monotonic()
    late = {f"M_{number}" for number in range(chaos.meters)}

    dead: set[str] = set()

    def is_caught_up() -> bool:
        new = late - dead if time.monotonic() > began + LOST_S else set()
        dead.update(new)
        chaos.be_the_admin(new)
        late.difference_update([each for each in late if max(services.times(each, DISK), default=0) >= until_ns / 1e9])
        return not late

    try:
        wait_until(is_caught_up, 120, "all meters to catch up")
    except AssertionError as error:
        queues = shell.ctl(
            own_node, "list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers", "state"
        )
        raise AssertionError(f"{sorted(late)} are late:\n{queues}\n{services.all_output()}") from error
    print(f"caught up {time.monotonic() - began:.1f} s after the last breakdown")
    check_rubbish(chaos)
    check_foreign_readings(chaos)
    assert [chaos.running[name].stop() for name in ("meter", "pv")] == [0, 0]
    assert "Traceback" not in services.all_output()
    to = ["--interval", "0.1", "--to", f"{until_ns / 1e9:.1f}"]
    steady = " ".join(f"{DISK}/{meter_id}-20*.csv" for meter_id in IDS[:STEADY])
    found = services.verify(*to, "--from", f"{since_ns / 1e9:.1f}", files=steady)
    assert found["rows"] >= STEADY * (until_ns - since_ns) // INTERVAL_NS
    print(f"{found['rows']} rows, each as it should be")
    if added := " ".join(f"{DISK}/M_{number}-20*.csv" for number in range(len(IDS), chaos.meters)):
        print(f"{services.verify(*to, files=added)['rows']} rows of meters that were added")
    for meter_id in IDS[STEADY:]:
        check_changes(chaos, meter_id, since_ns, until_ns)
    names = {path.name[:-15] for path in (services.directory / DISK).glob("M_*.csv")}
    assert names == {f"M_{number}" for number in range(chaos.meters)}


def check_changes(chaos: Chaos, meter_id: str, since_ns: int, until_ns: int) -> None:
    """Each instant has one row, of one of the settings that the meter has had, in their order.

    After a change nothing is sent again: one message that nobody knew the fate of may be missing there, and only there.
    """
    found = chaos.services.examine("--interval", "0.1", "--no-values", files=f"{DISK}/{meter_id}-20*.csv")
    wrong = {kind: count for kind, count in found["total"].items() if kind in KINDS and count and kind != "missing"}
    assert not wrong, (meter_id, found["files"])
    rows = [row for row in chaos.services.rows(meter_id, DISK) if since_ns / 1e9 <= float(row[1]) <= until_ns / 1e9]
    instants = [round(float(row[1]) * 10) * INTERVAL_NS for row in rows]
    values = [round(float(row[2]) * 1000) for row in rows]
    changes = chaos.changes[meter_id]
    may_be = [model_of(chaos, change, meter_id)(instants) for change in changes]
    at = 0  # the change that the row before was made with
    before_ns = since_ns - INTERVAL_NS
    missing = 0
    for number, instant_ns in enumerate(instants):
        now = next((each for each in range(at, len(changes)) if may_be[each][number] == values[number]), None)
        assert now is not None, f"{meter_id}: {rows[number]} was made with none of {changes[at:]}"
        gap_ns = instant_ns - before_ns - INTERVAL_NS
        assert gap_ns == 0 or (now > at and gap_ns <= BATCH_NS), f"{meter_id}: {gap_ns / 1e9} s before {rows[number]}"
        missing += gap_ns // INTERVAL_NS
        at, before_ns = now, instant_ns
    print(f"{len(rows)} rows of {meter_id}, made with {changes}; {missing} missing where one ended")


def model_of(chaos: Chaos, change: str, meter_id: str) -> PowerModel:
    """What a meter's readings come from after a change."""
    path = chaos.services.directory / "change.ini"
    path.write_text(f"[meter]\n{change}\n")
    return power_of(meter_id, load_simulation(path, None).meter(meter_id))


def check_foreign_readings(chaos: Chaos) -> None:
    """Each reading of somebody else that the broker has confirmed has its row, once."""
    expected = {(queue, float(reading[1])) for body, queue in chaos.kept().items() if (reading := FOREIGN.search(body))}

    def left() -> set[tuple[str, float]]:
        return expected - {(each, time_s) for each in IDS for time_s in chaos.services.times(each, DISK)}

    wait_until(lambda: not left(), 30, "a row of each reading of somebody else")
    for meter_id in IDS:
        times = [time_s for time_s in chaos.services.times(meter_id, DISK) if time_s < 2 * LONG_AGO_S]
        assert len(times) == len(set(times))
    print(f"{chaos.foreign} readings of somebody else, {len(expected)} confirmed; {chaos.deleted=}")


def check_rubbish(chaos: Chaos) -> None:
    """All rubbish was set aside, and nothing else.

    What the broker had not confirmed may be lost. A message may be set aside twice, if something broke in the midst.
    """
    expected = chaos.kept(REJECTED, SPARE).keys() & set(chaos.rubbish)
    found: list[bytes] = []

    def is_complete() -> bool:
        with connected(chaos.node) as client:
            found.extend(client.take_all(REJECTED) + client.take_all(SPARE))
        return expected <= set(found)

    wait_until(is_complete, 30, "all of the rubbish to be set aside")
    assert set(found) <= set(chaos.rubbish)
    assert len(found) <= len(chaos.rubbish) * 1.2 + 20, "rubbish is set aside again and again"
    print(
        f"{len(chaos.rubbish)} pieces of rubbish, {len(expected)} confirmed, {len(found)} set aside; {chaos.deleted=}"
    )
