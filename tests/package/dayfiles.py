"""Day files on a machine, read as an independent reader would: with what DESIGN says of them, and nothing of pvsim."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from tests.package.machine import Machine

HEADER = "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w"
DIRECTORY = "/var/lib/pvsim"


def times(machine: Machine, meter_id: str) -> list[int]:
    """The seconds of this meter's rows; every whole row is checked on the way."""
    found: list[int] = []
    for path in sorted((machine.root / DIRECTORY[1:]).glob(f"{meter_id}-????-??-??.csv")):
        text = path.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        header, *rows = whole.splitlines() or [HEADER]
        assert header == HEADER, path
        found += [_checked(row, meter_id) for row in rows]
    return found


def _checked(row: str, meter_id: str) -> int:
    name, time_s, meter_w, pv_kw, sum_w = row.split(",")
    assert name == meter_id, row
    assert 0 <= Decimal(meter_w) <= 9000, row
    assert 0 <= Decimal(pv_kw) <= 4, row
    assert Decimal(sum_w) == Decimal(meter_w) + 1000 * Decimal(pv_kw), row
    return int(time_s)


def wait_for_rows(machine: Machine, meter_id: str, more: int, seconds: float = 60) -> list[int]:
    """Until this meter has so many rows more than now; gives the seconds of all its rows."""
    wanted = len(times(machine, meter_id)) + more
    files = f"{DIRECTORY}/{meter_id}-????-??-??.csv"
    machine.wait_for(f'[ "$(cat {files} | grep -c ^{meter_id},)" -ge {wanted} ]', seconds)
    return times(machine, meter_id)


def assert_every_second(seconds: list[int]) -> None:
    """No gap, nothing twice, in order."""
    steps = {(now, later - now) for now, later in pairwise(seconds) if later != now + 1}
    assert not steps, f"of {len(seconds)} rows from {seconds[0]} on, these are not followed by the next second: {steps}"
