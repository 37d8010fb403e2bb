"""Rows and figures of the installed services, as somebody sees them who only looks."""

from __future__ import annotations

from tests.package import dayfiles
from tests.package.machine import Machine

METER, PV = "pvsim-meter", "pvsim-pv@Meter_0"


def test_pvsim_watch_shows_the_rows(pvsim: Machine) -> None:
    """One a second, and those that stand in the file."""
    pvsim.run(f"systemctl start {PV}")
    dayfiles.wait_for_rows(pvsim, "Meter_0", 2)
    header, *lines = pvsim.run("timeout 60 pvsim watch --rows 5").splitlines()
    assert header.endswith(",sum_meter_pv_w,grid_power_w")
    assert len(lines) == 5
    rows = pvsim.run(f"cat {dayfiles.DIRECTORY}/Meter_0-*.csv").splitlines()
    assert {line.rpartition(",")[0] for line in lines} <= set(rows)
    dayfiles.assert_every_second([int(line.split(",")[1]) for line in lines])


def test_every_unit_has_its_figures(pvsim: Machine) -> None:
    """Anybody may read them; they go with their unit, and leave those of the others alone."""
    pvsim.run(f"systemctl start {PV} pvsim-pv@Garage_0..1")
    files = [f"/run/pvsim/{unit}.prom" for unit in (METER, PV, "pvsim-pv@Garage_0..1")]
    for file in files:
        pvsim.wait_for(f"grep -q 'pvsim_connected{{.*}} 1' {file}")
    assert pvsim.run(f"stat -c '%a %U' /run/pvsim {files[0]}").splitlines() == ["755 pvsim", "644 pvsim"]
    pvsim.run("systemctl stop pvsim-pv@Garage_0..1")
    assert pvsim.run("ls /run/pvsim").split() == [f"{METER}.prom", f"{PV}.prom"]
    pvsim.run(f"systemctl restart {METER}")
    pvsim.wait_for(f"test -s {files[0]}")
    pvsim.run(f"test -s {files[1]}")


def test_old_day_files_are_removed_if_somebody_wants_that(pvsim: Machine) -> None:
    """As the example does it: no progress, and nothing that is newer."""
    directory = dayfiles.DIRECTORY
    old, new = f"{directory}/Old-2026-01-01.csv", f"{directory}/New-2026-01-01.csv"
    progress = f"{directory}/progress-of-long-ago.json"
    try:
        pvsim.run("cp /usr/share/doc/pvsim/examples/retention.conf /etc/tmpfiles.d/pvsim.conf")
        pvsim.run(f"touch {new} && touch -d '-91 days' {old} {progress} && systemd-tmpfiles --clean pvsim.conf")
        assert pvsim.run(f"ls -d {directory}/*2026-01-01.csv {progress}").split() == [new, progress]
    finally:
        pvsim.run(f"rm -f /etc/tmpfiles.d/pvsim.conf {old} {new} {progress}")
    pvsim.run(f"systemctl restart {METER}")
