"""A cluster of three nodes that lose each other: 100 meters, and each reading once in the end.

More of it: PVSIM_CLUSTER_ROUNDS=10 sudo -E sh tests/run.sh broker -k cluster -s
"""

from __future__ import annotations

import os
import re
import time

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.cluster import Cluster
from tests.broker.conftest import PATIENCE, Service, Services, wait_until
from tests.broker.dayfiles import have_come

METERS = 100
ROUNDS = int(os.environ.get("PVSIM_CLUSTER_ROUNDS", "3"))


class Fleet:
    """A meter service and a PV service, each connected to any node."""

    def __init__(self, cluster: Cluster, services: Services) -> None:
        self.cluster = cluster
        self.services = services
        (services.directory / "broker.ini").write_text(f"[broker]\nhost = {cluster.hosts}\n")
        ids = ["-conf", "broker.ini", "-ids", f"M_0..{METERS - 1}"]
        self.pv = services.start("pvsim.pv", *ids)
        self.meter = services.start("pvsim.meter", *ids, "--state-dir", ".")
        self.catch_up(90)

    def catch_up(self, timeout: float = 60) -> float:
        """Wait until every meter has rows of a moment from now; return how long it took, s."""
        instant_s, began = int(time.time()) + 2, time.monotonic()
        late = [f"M_{number}" for number in range(METERS)]
        while not have_come(self.services.directory, late, instant_s):
            told = f"no rows of {instant_s} within {PATIENCE * timeout} s, of {late[-1]} and perhaps of {late[:-1]}\n"
            assert time.monotonic() < began + PATIENCE * timeout, told + self.cluster.describe(late[-1]) + self._said()
            time.sleep(0.2)
        return time.monotonic() - began

    def node_of(self, service: Service) -> Node:
        """The node that a service is connected to."""
        host = re.findall(r"Connected to the broker at ([\d.]+):", service.output)[-1]
        return next(node for node in self.cluster.nodes if node.host == host)

    def finish(self) -> None:
        """Stop both, which nobody has started again meanwhile, and verify each row."""
        until_s = int(time.time())
        self.catch_up()
        assert self.meter.stop(timeout=30) == self.pv.stop(timeout=30) == 0
        print(self._said())  # shown if this fails
        print(f"{self.services.verify('--to', str(until_s))['rows']} rows, each as it should be")

    def _said(self) -> str:
        return "\n".join(line[:300] for line in self.services.all_output().splitlines()[-30:])


@pytest.mark.timeout(600 + 120 * ROUNDS)
@pytest.mark.xdist_group("heavy")
@pytest.mark.long
def test_cluster(services: Services) -> None:
    """Leaders killed, all nodes restarted in turn, one cut off: rows flow on, and in the end none is missing."""
    with Cluster() as cluster:
        fleet = Fleet(cluster, services)
        kill_leaders(fleet)
        restart_all(fleet)
        cut_one_off(fleet)
        fleet.finish()


def kill_leaders(fleet: Fleet) -> None:
    """kill -9 of the node that leads most queues, again and again."""
    for _ in range(ROUNDS):
        node = fleet.cluster.busiest()
        node.kill()
        print(f"\nkill -9 of the leader: rows of all {METERS} meters after {fleet.catch_up():.1f} s")
        node.start()
        fleet.cluster.wait_until_whole()
        fleet.catch_up()


def restart_all(fleet: Fleet) -> None:
    """Restart each node in turn, as for an upgrade."""
    for node in fleet.cluster.nodes:
        node.stop()
        print(f"stop of a node: rows of all meters after {fleet.catch_up():.1f} s")
        node.start()
        fleet.cluster.wait_until_whole()


def cut_one_off(fleet: Fleet) -> None:
    """Take the network from the node that serves the PV service: another one has to."""
    node = fleet.node_of(fleet.pv)
    fleet.cluster.cut_off(node)
    print(f"network of a node cut: rows of all meters after {fleet.catch_up(90):.1f} s")
    assert fleet.node_of(fleet.pv) is not node
    fleet.cluster.connect_again(node)
    fleet.cluster.wait_until_united()
    fleet.catch_up()


def test_services_spread(node: Node, services: Services) -> None:
    """Of many services, some begin with one host and some with another, and all of them find the one that works."""
    (services.directory / "broker.ini").write_text(f"[broker]\nhost = 127.0.0.1:1, 127.0.0.1:{node.port}\n")
    meters = [services.start("pvsim.meter", "-conf", "broker.ini", "-ids", f"Spread_{n}") for n in range(12)]
    wait_until(lambda: all("Connected" in meter.output for meter in meters), 30, "all connections")
    refused = sum("127.0.0.1:1: Connection refused" in meter.output for meter in meters)
    assert 0 < refused < 12  # by chance, all twelve begin with the same one once in 2,000 times
    assert [meter.stop() for meter in meters] == [0] * 12


def test_password_on_a_network(node: Node, services: Services) -> None:
    """That others can listen is said once, however often the connection is made; to this machine itself it is not."""
    with Cluster(1) as cluster:
        (remote,) = cluster.nodes
        local = services.meter(node, "-ids", "Local")
        wait_until(lambda: "Connected" in local.output, 20, "a connection")
        meter = services.meter(remote)
        wait_until(lambda: "Connected" in meter.output, 20, "a connection")
        shell.ctl(remote, "close_all_connections", "again")
        wait_until(lambda: meter.output.count("Connected") == 2, 20, "another connection")
        assert meter.output.count(f"go to the broker at {remote.host}:{remote.port} unencrypted") == 1
        assert "unencrypted" not in local.output
