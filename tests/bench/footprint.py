"""What the installed package costs a machine: sizes, start to READY, memory, and what systemd thinks of its units.

    sudo sh debian/build.sh && sudo python3 -m tests.bench.footprint [--json] [--suite bookworm|trixie]

Measured on a booted machine of its own, with a RabbitMQ beside it. READY is the time from systemd's start of the
process to its READY=1, the median of 20 starts; PSS is the memory that the process would give back, its share of
what it has in common with others included, after a minute of rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path

from tests.package.machine import Machine, booted

PACKAGE = Path(__file__).parents[2] / "pvsim.deb"
METER, PV = "pvsim-meter.service", "pvsim-pv@Meter_0.service"
UNITS = (METER, "pvsim-meter@Garage.service", PV)
STARTS, WARM_UP_S = 20, 60


def measure(suite: str) -> dict[str, float]:
    """The figures of one Debian release, by name."""
    with booted(suite) as machine:
        shutil.copy(PACKAGE, machine.root / "root/pvsim.deb")
        machine.run("cd && apt-get install -y ./pvsim.deb", timeout=180)
        figures: dict[str, float] = {"deb_kib": PACKAGE.stat().st_size / 1024}
        figures["installed_kib"] = float(machine.run("dpkg-query -W -f='${Installed-Size}' pvsim"))
        figures |= {f"exposure {unit}": exposure(machine, unit) for unit in UNITS}
        figures |= {f"ready_s {unit}": ready_s(machine, unit) for unit in (METER, PV)}
        time.sleep(WARM_UP_S)
        figures |= {f"pss_mib {unit}": pss_mib(machine, unit) for unit in (METER, PV)}
        return figures


def exposure(machine: Machine, unit: str) -> float:
    """As systemd-analyze security has it, from 0 to 10."""
    last = machine.run(f"systemd-analyze security --no-pager {unit}").splitlines()[-1]
    return float(last.rpartition(": ")[2].split()[0])


def ready_s(machine: Machine, unit: str) -> float:
    """From the start of the process to READY=1, the median of some starts."""
    return statistics.median(_ready_s(machine, unit) for _ in range(STARTS))


def _ready_s(machine: Machine, unit: str) -> float:
    machine.run(f"systemctl restart {unit}")
    started, ready = (
        int(machine.property(unit, name))
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    return (ready - started) / 1e6


def pss_mib(machine: Machine, unit: str) -> float:
    """The proportional set size of the unit's process."""
    return (
        float(machine.run(f"awk '/^Pss:/ {{print $2}}' /proc/{machine.property(unit, 'MainPID')}/smaps_rollup")) / 1024
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="footprint", description="What the installed package costs a machine.")
    parser.add_argument("--suite", action="append", choices=["bookworm", "trixie"], help="one of them (default: both)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = {suite: measure(suite) for suite in options.suite or ["bookworm", "trixie"]}
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    for suite, values in figures.items():
        for name, value in values.items():
            print(f"{suite:10}{name:40}{value:10.3f}")


if __name__ == "__main__":
    main()
