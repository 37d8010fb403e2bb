"""debian/demo.sh on a booted machine of somebody new to it: no broker is there, and other machines are near."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.conftest import CHECKOUT
from tests.package.machine import Machine, running
from tests.package.workshop import RESULT, SOURCE, opened

HERE, NEIGHBOUR = "192.0.2.1", "192.0.2.2"
AMQP, DISTRIBUTION, EPMD = 5672, 25672, 4369
SPEAKS = "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"


@pytest.fixture(scope="module")
def newcomer(suite: str, suite_package: Path) -> Iterator[Machine]:
    """A booted machine with what building needs, and what apt is to install in apt's cache: it has no network."""
    with opened(suite, CHECKOUT) as workshop:
        shutil.copy(suite_package, workshop.path(f"{RESULT}/wanted.deb"))
        workshop.apt_get("install -y -qq dbus iproute2")
        workshop.apt_get("install -y -qq --download-only ./wanted.deb && rm wanted.deb")
        with running(workshop.root, suite) as machine:
            yield machine


@pytest.fixture(scope="module")
def shown(newcomer: Machine) -> Machine:
    """The same machine, after the demo, and with a cable to a neighbour."""
    said = newcomer.run(f"cd {SOURCE} && sh debian/demo.sh", 600)
    assert "\nMeter_0,1" in said, said
    newcomer.run(
        "ip netns add neighbour && ip link add cable type veth peer name cable netns neighbour"
        f" && ip address add {HERE}/24 dev cable && ip link set cable up"
        f" && ip -n neighbour address add {NEIGHBOUR}/24 dev cable && ip -n neighbour link set cable up"
    )
    return newcomer


def reaches(machine: Machine, address: str, port: int, place: str = "") -> bool:
    """Whether a port answers, from the machine itself or from its neighbour."""
    return machine.try_run(f"{place} {SPEAKS.format(address=address, port=port)}").returncode == 0


def test_its_broker_is_for_this_machine_alone(shown: Machine) -> None:
    """AMQP, what nodes say to each other, and epmd: each answers here, none to another machine or on its address."""
    neighbour = "ip netns exec neighbour"
    shown.run(f"systemd-run --unit=open python3 -m http.server --bind {HERE} 8000")
    shown.wait_for(f"{neighbour} {SPEAKS.format(address=HERE, port=8000)}")  # so there is a way
    for port in AMQP, DISTRIBUTION, EPMD:
        assert reaches(shown, "127.0.0.1", port), port
        assert not reaches(shown, HERE, port), port
        assert not reaches(shown, HERE, port, neighbour), port
    shown.run("systemctl stop open")
    ends = [line.split()[3].rpartition(":") for line in shown.run("ss -Hltn").splitlines()]
    assert {AMQP, DISTRIBUTION, EPMD} <= {int(port) for _, _, port in ends}
    assert {address for address, _, _ in ends} <= {"127.0.0.1", "[::1]"}
