"""The package, built here and in each suite, and a booted machine of each suite that it is installed in.

The tests of a suite's workshop run in one worker, and those of its machines in two, of which each has a machine; what
is built is built once for all workers. PVSIM_SUITES names the suites.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.images import locked
from tests.package.machine import Machine, booted
from tests.package.workshop import RESULT, Workshop, built, opened

CHECKOUT = Path(__file__).parents[2]
CONFIGURATION = "/etc/pvsim"
LIFE = ("test_checkers", "test_lifecycle")  # what installs and removes takes as long as all else does in a machine
SUITES = os.environ.get("PVSIM_SUITES", "bookworm trixie").split()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have xdist run what shares a machine, or a workshop, in one worker."""
    names: list[str] = getattr(item, "fixturenames", [])
    callspec = getattr(item, "callspec", None)
    suite = callspec.params.get("suite", "") if callspec else ""
    machine = "life" if item.path.stem in LIFE else "machine"
    place = "workshop" if "checkers" in names else machine if "machine" in names else "here"
    item.add_marker(pytest.mark.xdist_group(f"{suite}-{place}"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this run have."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def package(shared: Path) -> Path:
    """The .deb, built from this checkout as a user builds it."""
    done = shared / "built-here"
    with locked(shared / "build-here.lock"):
        if not done.exists():
            subprocess.run(["sh", CHECKOUT / "debian/build.sh"], check=True)
            done.touch()
    return CHECKOUT / "pvsim.deb"


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """The name of a Debian release."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def made(suite: str, shared: Path) -> Path:
    """A directory with all that came of building the package, source and all, with the suite's own tools."""
    directory = shared / f"made-{suite}"
    with locked(shared / f"{suite}.lock"):
        if not directory.exists():
            built(suite, CHECKOUT, directory)
    return directory


@pytest.fixture(scope="session")
def suite_package(made: Path) -> Path:
    """The .deb that was built with the suite's own tools."""
    (path,) = made.glob("pvsim_*_all.deb")
    return path


@pytest.fixture(scope="session")
def workshop(suite: str, made: Path) -> Iterator[Workshop]:
    """A root of the suite that looks as if the package had just been built in it."""
    with opened(suite, CHECKOUT) as workshop:
        shutil.copytree(made, workshop.path(RESULT), symlinks=True, dirs_exist_ok=True)
        yield workshop


@pytest.fixture(scope="session")
def machine(suite: str, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine with a running RabbitMQ and the suite's own package installed."""
    with booted(suite) as machine:
        suite_package = request.getfixturevalue("suite_package")  # it is built while the machine boots
        shutil.copy(suite_package, machine.root / "root/pvsim.deb")
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
