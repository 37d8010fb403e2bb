"""What a meter service counts, and its status line."""

from __future__ import annotations

from pvsim.broker import Broker
from pvsim.meter.fleet import Fleet
from pvsim.metrics import Counter, Figures, Gauge

QUEUE_FULL, CLOCK = "queue_full", "clock"


class MeterFigures(Figures):
    """The figures of a fleet."""

    def __init__(self) -> None:
        super().__init__([QUEUE_FULL, CLOCK])
        self.confirmed = Counter("pvsim_readings_confirmed_total", "Readings that the broker has confirmed.")
        self.refused = Counter("pvsim_messages_refused_total", "Messages that the broker has refused: a queue is full.")
        self.published_bytes = Counter("pvsim_published_bytes_total", "Bytes of the messages that were published.")
        self.behind = Gauge("pvsim_meters_behind", "Meters with unconfirmed readings that were due a second ago.")

    def update(self, fleet: Fleet, broker: Broker, is_ahead: bool) -> None:
        """As it is now; `is_ahead`: the clock was, and the fleet waits until it is not."""
        self.meters.value = len(fleet.meters)
        self.connected.value = int(broker.is_up)
        self.reconnects.value = max(0, broker.counts.connections - 1)
        self.waiting.values |= {QUEUE_FULL: fleet.refused, CLOCK: len(fleet.meters) if is_ahead else 0}
        self.confirmed.value = fleet.confirmed
        self.refused.value = broker.counts.refused
        self.published_bytes.value = broker.counts.published_bytes
        self.behind.value = fleet.behind()

    def status(self, name: str) -> str:
        """What it says for people; `name`: of the meter, if it is one."""
        parts = [f"{self.meters.value} meters" if self.meters.value > 1 else name]
        parts.append(f"{self.confirmed.value} readings confirmed")
        if full := self.waiting.values[QUEUE_FULL]:
            parts.append(f"{full} full queues")
        if self.behind.value:
            parts.append(f"{self.behind.value} behind")
        return ", ".join(parts)
