"""The package, which tests/run.sh has built, and a booted machine of each suite that it is installed in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.machine import Machine, booted
from tests.package.workshop import SOURCE, Workshop, opened

CHECKOUT = Path(__file__).parents[2]
CONFIGURATION = "/etc/pvsim"
SUITES = [pytest.param(suite, marks=pytest.mark.xdist_group(suite)) for suite in ("bookworm", "trixie")]


@pytest.fixture(scope="session")
def package() -> Path:
    """The .deb, built from this checkout as a user builds it."""
    path = CHECKOUT / "pvsim.deb"
    assert path.exists(), "built, and tested, by: sudo sh tests/run.sh package"
    return path


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """The name of a Debian release."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def workshop(suite: str) -> Iterator[Workshop]:
    """A root of the suite in which the package, source and all, has been built."""
    with opened(suite, CHECKOUT) as workshop:
        workshop.run(f"cd {SOURCE} && dpkg-buildpackage -us -uc")
        yield workshop


@pytest.fixture(scope="session")
def machine(suite: str, workshop: Workshop) -> Iterator[Machine]:
    """A booted machine with a running RabbitMQ and the suite's own package installed."""
    with booted(suite) as machine:
        shutil.copy(workshop.package, machine.root / "root/pvsim.deb")
        machine.run("cd && apt-get install -y ./pvsim.deb", timeout=180)
        machine.run(f"cp -a {CONFIGURATION} /root/as-installed")
        yield machine


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """The machine, with the package installed, whatever runs."""
    machine.run("cd && dpkg -s pvsim | grep -q 'ok installed' || apt-get install -y ./pvsim.deb")
    return machine


@pytest.fixture
def pvsim(installed: Machine) -> Machine:
    """The machine, with the package as if just installed, but for the data: the fleet runs, and nothing else."""
    machine = installed
    machine.run(f"cp -a /root/as-installed/. {CONFIGURATION}/ && systemctl start rabbitmq-server")
    machine.run("systemctl stop 'pvsim-*' && systemctl reset-failed && systemctl start pvsim-meter")
    return machine
