"""The node that a PV service is connected to fails: another one takes over, and soon where the broker is told to."""

from __future__ import annotations

import re
import time

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.cluster import Cluster
from tests.broker.conftest import Services, wait_until
from tests.broker.test_promises import gaps

pytestmark = pytest.mark.long

WAITS_S = 10  # what pvsim-cluster(7) has broker and policy wait for a consumer whose node is gone


def version(node: Node) -> tuple[int, ...]:
    """The version of RabbitMQ."""
    found = re.search(r"(\d+)\.(\d+)", shell.ask(node, "rabbit_misc:version()"))
    assert found
    return tuple(map(int, found.groups()))


def test_the_node_of_a_consumer_fails(services: Services) -> None:
    """From 4.3 on a queue keeps its consumer for a minute, or as long as the policy of pvsim-cluster(7) says."""
    with Cluster() as cluster:
        first, second, third = cluster.nodes
        known = version(first)
        if known >= (4, 3):
            policy = f'{{"consumer-disconnected-timeout": {WAITS_S * 1000}}}'
            shell.ctl(first, "set_policy", "--apply-to", "quorum_queues", "pvsim", ".*", policy)
        meter = services.meter(third, "-ids", "M")
        wait_until(lambda: "Connected" in meter.output, 30, "a connection")  # before broker.ini names another node
        for name, node in (("one", first), ("two", second)):
            (services.directory / name).mkdir()
            pv = services.pv(node, "-ids", "M", "--output-dir", name)
            wait_until(lambda: "Connected" in pv.output, 30, "a connection")  # noqa: B023  (it is called at once)
        services.wait_for_rows("M", 10, directory="one")
        began = time.time()
        first.kill()
        wait_until(lambda: max(services.times("M", "two"), default=0) > began, 150, "rows of the other PV service")
        print(f"RabbitMQ {known}: rows again {time.time() - began:.1f} s after the node had failed")
        instants = sorted({*services.times("M", "one"), *services.times("M", "two")})
        assert gaps(instants) == []
