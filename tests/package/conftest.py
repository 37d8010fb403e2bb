"""The package, built once, and a booted machine of each suite that it is installed in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.machine import Machine, booted

CHECKOUT = Path(__file__).parents[2]
CONFIGURATION = "/etc/pvsim"


@pytest.fixture(scope="session")
def package() -> Path:
    """The .deb, built from this checkout as a user builds it."""
    assert os.geteuid() == 0, "machines are booted by root: sudo sh tests/run.sh package"
    subprocess.run(["sh", "debian/build.sh"], cwd=CHECKOUT, check=True)
    return CHECKOUT / "pvsim.deb"


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def machine(request: pytest.FixtureRequest, package: Path) -> Iterator[Machine]:
    """A booted machine with a running RabbitMQ and the package installed."""
    with booted(request.param) as machine:
        shutil.copy(package, machine.root / "root/pvsim.deb")
        machine.run("cd && apt-get install -y ./pvsim.deb", timeout=180)
        machine.run(f"cp -a {CONFIGURATION} /root/as-installed")
        yield machine


@pytest.fixture
def pvsim(machine: Machine) -> Machine:
    """The machine, with the package as if just installed, but for the data: the fleet runs, and nothing else."""
    machine.run("cd && dpkg -s pvsim | grep -q 'ok installed' || apt-get install -y ./pvsim.deb")
    machine.run(f"cp -a /root/as-installed/. {CONFIGURATION}/ && systemctl start rabbitmq-server")
    machine.run("systemctl stop 'pvsim-*' && systemctl reset-failed && systemctl start pvsim-meter")
    return machine
