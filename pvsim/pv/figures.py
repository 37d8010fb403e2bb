"""What a PV service counts, and its status line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pvsim.broker import Broker
from pvsim.metrics import Counter, Figures, Gauge, Histogram
from pvsim.pv.intake import Intake
from pvsim.pv.recorder import Recorder
from pvsim.pv.setaside import SetAside

STANDBY, QUEUE, FILE = "standby", "queue", "file"
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class PvFigures(Figures):
    """The figures of a recorder."""

    def __init__(self) -> None:
        super().__init__([STANDBY, QUEUE, FILE])
        self.troubles: Sequence[str] = ()  # a sentence each
        self.second_values: Mapping[str, str] = {}
        self.rows = Counter("pvsim_rows_written_total", "Rows that were written and are durable.")
        self.set_aside = Counter("pvsim_messages_set_aside_total", "Messages that are no reading.")
        self.received_bytes = Counter("pvsim_received_bytes_total", "Bytes of the messages that were received.")
        self.last_reading = Gauge("pvsim_last_reading_timestamp_seconds", "The instant of the newest durable reading.")
        self.last_commit = Gauge("pvsim_last_commit_timestamp_seconds", "When rows were made durable last.")
        self.live_copies = Counter("pvsim_live_copies_total", "Live copies that were sent.")
        self.commits = Histogram("pvsim_commit_duration_seconds", "How long writing rows and syncing took.", _BOUNDS_S)

    def update(self, broker: Broker, recorder: Recorder, intake: Intake, set_aside: SetAside) -> None:
        """As it is now."""
        self.connected.value = int(broker.is_up)
        self.reconnects.value = max(0, broker.counts.connections - 1)
        self.received_bytes.value = broker.counts.received_bytes
        self.rows.value = recorder.rows
        self.last_reading.value = (recorder.last_ns or 0) / 1e9
        self.set_aside.value = set_aside.count
        self.second_values = recorder.second_values
        queues, files = intake.troubles, recorder.troubles
        self.waiting.values |= {STANDBY: intake.standby, QUEUE: len(queues), FILE: len(files)}
        self.troubles = queues + files + ([set_aside.trouble] if set_aside.trouble else [])

    def status(self, name: str) -> str:
        """What it says for people; `name`: of the meter, if it is one."""
        parts = [f"{self.meters.value} meters" if self.meters.value > 1 else name]
        parts.append(f"{self.rows.value} rows written")
        if self.last_reading.value:
            parts.append(f"last reading of {time.strftime('%F %T', time.localtime(self.last_reading.value))}")
        if standby := self.waiting.values[STANDBY]:
            parts.append(f"{standby} on standby: another PV service consumes them")
        if self.set_aside.value:
            parts.append(f"{self.set_aside.value} messages set aside")
        if self.second_values:
            of = f", of {len(self.second_values)} meters" if len(self.second_values) > 1 else ""
            meter_id, time_s = max(self.second_values.values(), key=lambda row: row.split(",")[1]).split(",")[:2]
            parts.append(f"two values of one instant{of}, last of {meter_id} at time_s {time_s}")
        if self.troubles:
            parts.append(f"{len(self.troubles)} waiting: {self.troubles[0]}")
        return ", ".join(parts)
