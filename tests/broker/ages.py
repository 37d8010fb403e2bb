"""Meters of one age in a cluster, and messages of somebody else in their queues."""

from __future__ import annotations

from pvsim.broker import arguments
from pvsim.config import BrokerSettings
from pvsim.meter import progress
from pvsim.reading import encode
from pvsim.tools.verify.report import KINDS
from tests.broker.client import connected
from tests.broker.cluster import Cluster
from tests.broker.conftest import Service, Services, held, wait_until

FOREIGN = 1_000  # messages of somebody else in each queue
LONG_AGO_S = 1_000_000  # and their times, which tell them apart
HISTORY_S = 6 * 3_600
HISTORY = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T06:00:00Z")


class Meters:
    """Three meters of one age, whose queues are led by different nodes and have messages of somebody else."""

    def __init__(self, cluster: Cluster, services: Services, name: str, *more: str) -> None:
        self.name = name
        self.ids = [f"{name}_{number}" for number in range(len(cluster.nodes))]
        self.cluster = cluster
        self.services = services
        self._more = more
        self._foreign = 0
        self._running: list[Service] = []

    def fill(self) -> None:
        """A thousand messages of somebody else for each queue."""
        times_ns = [(LONG_AGO_S + self._foreign + number) * 10**9 for number in range(FOREIGN)]
        self._foreign += FOREIGN
        for queue, node in zip(self.ids, self.cluster.nodes, strict=True):
            with connected(node) as client:
                client.declare(queue, arguments(BrokerSettings()))
                client.flood([encode(queue, [time_ns], [1000]) for time_ns in times_ns], queue)
            assert held(node, queue) >= FOREIGN

    def start(self) -> None:
        """Start a fleet of them; the second time, a second one beside it."""
        directory = f"{self.name}-{len(self._running)}"
        (self.services.directory / directory).mkdir()
        ids = ("-conf", "broker.ini", "-ids", *self.ids, "--state-dir", directory)
        self._running.append(self.services.start("pvsim.meter", *ids, *self._more))

    def stop(self, keep: int = 0) -> None:
        """Wait for the end of a history; stop all else, but for so many fleets."""
        for each in self._running[keep:]:
            if each.is_running or self._more:
                assert (each.wait(60) if self._more else each.stop()) == 0, each.output

    def wait_for_messages(self) -> None:
        """Wait until each has published some, beside what is there of somebody else."""
        node = self.cluster.nodes[0]
        wait_until(lambda: min(held(node, each) for each in self.ids) > FOREIGN + 1, 60, f"messages of {self.name}")

    def wait_for_rows(self, until_s: int) -> None:
        """Wait for the rows of somebody else, and for those up to a moment, or of the whole history."""
        for each in self.ids:
            wait_until(lambda: self._has_rows(each, until_s), 60, f"rows of {each}")  # noqa: B023  (called at once)

    def _has_rows(self, meter_id: str, until_s: int) -> bool:
        times = self.services.times(meter_id)
        foreign = sum(time_s < 2 * LONG_AGO_S for time_s in times)
        own = len(times) - foreign >= HISTORY_S if self._more else max(times, default=0) >= until_s
        return own and foreign >= self._foreign

    def check(self, until_s: int) -> int:
        """Everything is there, once; returns how many rows of somebody else that are."""
        for each in self.ids:
            foreign = [time_s for time_s in self.services.times(each) if time_s < 2 * LONG_AGO_S]
            assert foreign == [LONG_AGO_S + number for number in range(self._foreign)]
        span = self._more or ("--from", str(self._first_s()), "--to", str(until_s))
        found = self.services.examine(*span, files=" ".join(f"{each}-20*.csv" for each in self.ids))
        wrong = {kind for kind in KINDS if found["total"][kind]}
        assert wrong <= ({"out_of_order"} if len(self._running) > 1 else set()), found  # two fleets do not wait in turn
        return self._foreign * len(self.ids)

    def _first_s(self) -> int:
        """The first instant of the first fleet."""
        (path,) = (self.services.directory / f"{self.name}-0").glob("progress*.json")
        return min(track.declared_ns for track in progress.parse(path.read_text()).values()) // 10**9 + 1
