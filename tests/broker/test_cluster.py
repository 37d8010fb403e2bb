"""A cluster of three nodes that lose each other: each reading once in the end, and whatever queues held of others.

More of it: PVSIM_ROUNDS=10 sudo -E sh tests/run.sh broker -k cluster -s, or -k majority, or -k settled
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.ages import HISTORY, Meters
from tests.broker.cluster import Cluster
from tests.broker.conftest import PATIENCE, Service, Services, wait_until
from tests.broker.dayfiles import have_come
from tests.broker.witness import ROUNDS, lost_by, witnesses

METERS = 50
DOWN_S = 30
pytestmark = pytest.mark.xdist_group("heavy")  # one cluster for all of them


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[Cluster]:
    """Three nodes for all tests of this file."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: Cluster) -> Cluster:
    """Three nodes that run, without queues."""
    for node in whole_cluster.nodes:
        node.start()
    whole_cluster.wait_until_united()
    shell.delete_queues(whole_cluster.nodes[0])
    return whole_cluster


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
@pytest.mark.long
def test_cluster(cluster: Cluster, services: Services) -> None:
    """Leaders killed, all nodes restarted in turn, one cut off: rows flow on, and in the end none is missing."""
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


@pytest.mark.timeout(600 + 240 * ROUNDS)
@pytest.mark.long
def test_majority_lost(cluster: Cluster, services: Services) -> None:
    """Two of three nodes killed for half a minute: whatever the age of a meter, its queue keeps what it held."""
    (services.directory / "broker.ini").write_text(f"[broker]\nhost = {cluster.hosts}\n")
    (services.directory / "simulation.ini").write_text("[meter]\nbatch = 10\n")
    old = Meters(cluster, services, "Old")
    old.fill()
    old.start()
    for number in range(ROUNDS):
        if number:
            old.fill()
        lose_majority(old, number)
    old.stop()


def lose_majority(old: Meters, number: int) -> None:
    """Meters that run for long, for seconds, since a moment, that begin when two nodes are gone, and a history."""
    cluster, services = old.cluster, old.services
    seconds, fresh, late = (Meters(cluster, services, f"{name}{number}") for name in ("Seconds", "Fresh", "Late"))
    history = Meters(cluster, services, f"History{number}", *HISTORY)
    for each in (seconds, fresh, late, history):
        each.fill()
    for each in (seconds, history):
        each.start()
        each.wait_for_messages()
    time.sleep(random.uniform(0, 2))
    fresh.start()
    time.sleep(random.uniform(0, 1.5))
    survivor = cluster.nodes[number % 3]
    with without_majority(cluster, survivor, "ignore" if number % 2 == 0 else "pause_minority"):
        late.start()
        old.start()  # the second fleet
    ages = [old, seconds, fresh, late, history]
    pv = services.start(
        "pvsim.pv", "-conf", "broker.ini", "-ids", *(meter_id for each in ages for meter_id in each.ids)
    )
    until_s = int(time.time())
    for each in ages:
        each.wait_for_rows(until_s)
    for each in ages:
        each.stop(keep=each is old)
    assert pv.stop(timeout=30) == 0
    count = sum(each.check(until_s) for each in ages)
    print(f"round {number + 1}: {count} messages of somebody else, and every reading")


@contextmanager
def without_majority(cluster: Cluster, survivor: Node, handling: str) -> Iterator[None]:
    """kill -9 of two nodes at once, which are started again half a minute later."""
    shell.ask(survivor, f"application:set_env(rabbit, cluster_partition_handling, {handling})")
    killed = [node for node in cluster.nodes if node is not survivor]
    for node in killed:
        node.kill()
    end_s = time.monotonic() + DOWN_S
    yield
    time.sleep(end_s - time.monotonic())
    for node in killed:
        node.start()
    cluster.wait_until_whole()


@pytest.mark.timeout(600 + 120 * ROUNDS)
@pytest.mark.long
def test_settled(cluster: Cluster) -> None:
    """kill -9 of the leader of queues: what it has confirmed is there with the next one."""
    lost: list[str] = []
    for number in range(ROUNDS):
        leader, other, _ = random.sample(cluster.nodes, 3)
        lost += lost_by(witnesses(leader, number), leader, other)
        leader.start()
        cluster.wait_until_whole()
    assert not lost


def test_services_spread(node: Node, services: Services) -> None:
    """Of many services, some begin with one host and some with another, and all of them find the one that works."""
    (services.directory / "broker.ini").write_text(f"[broker]\nhost = 127.0.0.1:1, 127.0.0.1:{node.port}\n")
    meters = [services.start("pvsim.meter", "-conf", "broker.ini", "-ids", f"Spread_{n}") for n in range(12)]
    wait_until(lambda: all("Connected" in meter.output for meter in meters), 30, "all connections")
    refused = sum("127.0.0.1:1: Connection refused" in meter.output for meter in meters)
    assert 0 < refused < 12  # by chance, all twelve begin with the same one once in 2,000 times
    assert [meter.stop() for meter in meters] == [0] * 12


def test_password_on_a_network(node: Node, cluster: Cluster, services: Services) -> None:
    """That others can listen is said once, however often the connection is made; to this machine itself it is not."""
    remote = cluster.nodes[0]
    local = services.meter(node, "-ids", "Local")
    wait_until(lambda: "Connected" in local.output, 20, "a connection")
    meter = services.meter(remote)
    wait_until(lambda: "Connected" in meter.output, 20, "a connection")
    shell.ctl(remote, "close_all_connections", "again")
    wait_until(lambda: meter.output.count("Connected") == 2, 20, "another connection")
    assert meter.output.count(f"go to the broker at {remote.host}:{remote.port} unencrypted") == 1
    assert "unencrypted" not in local.output
