"""The PV service: readings come in, and rows go into day files.

A message is acknowledged only after its rows are durable. What arrives together is committed together:
deliveries are gathered while the loop reads them, then written, synced and acknowledged at one go. A meter
whose file cannot be written gives its messages back and waits, without stopping the others.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pvsim import config, runtime
from pvsim.broker import Broker, Delivery, LiveLink, Loop, arguments, back_off
from pvsim.dayfile import DayFiles
from pvsim.errors import DayFileError, NotAReading
from pvsim.metrics import PERIOD_S
from pvsim.models import PowerModel, solar
from pvsim.pv.figures import PvFigures
from pvsim.pv.intake import Intake
from pvsim.pv.live import Live
from pvsim.pv.setaside import SetAside
from pvsim.reading import decode, decode_block, shown_ids
from pvsim.row import format_block, format_row

if TYPE_CHECKING:
    from pvsim.pv import Options

log = logging.getLogger("pvsim.pv")

MOST_PENDING = 20_000  # readings; then they are committed at once, to bound the memory
MOST_DIRTY = 250  # meters with pending readings; then no more are waited for, for many at a time slow the broker
MOST_PREFETCHED = 64  # messages of one meter that are delivered and not acknowledged
LONGEST_WRITE_S = 0.1  # until what is written is committed
FEW_FILES = (
    "%d meters, but only %d of their files may be open at a time, so rows take longer: "
    "raise LimitNOFILE (ulimit -Hn), or run fewer meters in one process."
)
TICK_S, LONGEST_PAUSE_S = 1.0, 30.0


class Meter:
    """One meter whose readings are recorded."""

    __slots__ = (
        "failures",
        "is_paused",
        "meter_id",
        "power",
        "rows",
        "tags",
        "times_ns",
        "trouble",
    )

    def __init__(self, meter_id: str, power: PowerModel) -> None:
        self.meter_id = meter_id
        self.power = power
        self.is_paused = False
        self.failures = 0
        self.trouble = ""
        self.forget()

    def forget(self) -> None:
        """Nothing is pending."""
        self.times_ns: list[int] = []
        self.rows: list[str] = []
        self.tags: list[int] = []

    def add(self, body: bytes) -> int:
        """Compute the rows of a message, and keep them for the next commit; returns how many, or NotAReading."""
        times_ns, rows = self._rows(body)
        self.times_ns += times_ns
        self.rows += rows
        return len(rows)

    def _rows(self, body: bytes) -> tuple[Sequence[int], list[str]]:
        if b"\n" in body and (block := decode_block(body, self.meter_id)):
            return block.times_ns, format_block(self.meter_id, block, self.power(block.times_ns))
        readings = decode(body, self.meter_id)
        times_ns = [reading.time_ns for reading in readings]
        return times_ns, list(map(format_row, readings, self.power(times_ns)))


class Recorder:
    """A PV service: the messages of its meters, and their day files."""

    def __init__(self, options: Options, host: runtime.Host, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._loop = Loop()
        self._broker = Broker(options.broker, self._loop, self)
        self._intake = Intake(options.meters, self._broker, arguments(options.broker))
        if host.files < len(options.meters):
            log.warning(FEW_FILES, len(options.meters), host.files)
        self._files = DayFiles(options.output_dir, config.zone(options.timezone), host.files)
        self._meters = {
            meter_id: Meter(meter_id, solar.model(settings.model, settings.seed, meter_id, **settings.parameters))
            for meter_id, settings in options.meters.items()
        }
        self._dirty: dict[str, Meter] = {}
        self._pending = 0
        self._commit_is_due = False
        self._set_aside = SetAside(self._broker, clock)
        self._clock = clock
        self._figures = PvFigures()
        self._live = Live(LiveLink(options.broker, self._loop), clock) if options.live else None
        self._is_stopping = False

    def run(self) -> None:
        """Work until a signal says stop."""
        log.info("PV created: %s", shown_ids(list(self._meters)))
        self._loop.watch(self._host.wake_fd, self._on_wake)
        self._broker.start(max(2, min(MOST_PREFETCHED, 20_000 // len(self._meters))))
        self._tick()
        if self._host.metrics_file:
            self._write_metrics()
        self._host.ready()
        self._loop.run()

    # --- what the broker tells

    def on_up(self) -> None:
        """Connected."""
        self._intake.up()

    def on_down(self) -> None:
        """Not connected: what was not acknowledged comes again."""
        for meter in self._meters.values():
            meter.forget()
            meter.is_paused = False
        self._intake.down()
        self._files.close()  # whoever takes over, in this directory too, finds them free
        self._dirty.clear()
        self._pending = 0
        self._set_aside.forget()

    def on_delivery(self, delivery: Delivery) -> None:
        """A message: its readings wait for the next commit."""
        meter = self._meters[delivery.queue]
        if meter.is_paused:
            self._broker.give_back([delivery.tag])
            return
        self._intake.on_delivery(delivery.queue)
        try:
            count = meter.add(delivery.body)
        except NotAReading as reason:
            self._set_aside.add(delivery, str(reason))
            return
        meter.tags.append(delivery.tag)
        self._dirty[meter.meter_id] = meter
        self._commit_soon(count)

    def on_cancelled(self, queue: str) -> None:
        """A queue was deleted."""
        self._intake.on_cancelled(queue)

    def on_forbidden(self, queue: str) -> None:
        """A queue that may not be consumed."""
        self._intake.on_forbidden(queue)

    # --- committing

    def _commit_soon(self, readings: int) -> None:
        """Commit when all that has arrived is read, or at once when it is much."""
        self._pending += readings
        if self._pending >= MOST_PENDING:
            self._commit()
        else:
            self._commit_later()

    def _commit_later(self) -> None:
        if not self._commit_is_due:
            self._commit_is_due = True
            self._loop.later(0, partial(self._commit_when_read, self._pending))

    def _commit_when_read(self, pending: int) -> None:
        """All is read when a turn of the loop has brought nothing more: pika reads 100 kB in each."""
        if pending < self._pending and len(self._dirty) < MOST_DIRTY:
            self._loop.later(0, partial(self._commit_when_read, self._pending))
        else:
            self._commit()

    def _commit(self) -> None:
        """Commit what is pending; if that takes long, the loop goes on in between: a first commit opens many files."""
        self._commit_is_due = False
        begin_s = time.monotonic()
        written = self._write()
        failed = self._files.commit()
        rows = sum(rows for meter_id, rows in written.items() if meter_id not in failed)
        self._figures.on_commit(rows, time.monotonic() - begin_s, self._clock())
        self._acknowledge([self._meters[meter_id] for meter_id in written if meter_id not in failed])
        for meter_id, error in failed.items():
            self._pause(self._meters[meter_id], error)
        if self._dirty:
            self._commit_later()

    def _write(self) -> dict[str, int]:
        """Write pending rows for a while; returns the meters whose rows are written, and how many were new."""
        written: dict[str, int] = {}
        end_s = time.monotonic() + LONGEST_WRITE_S
        for meter_id, meter in list(self._dirty.items()):
            del self._dirty[meter_id]
            self._pending -= len(meter.rows)
            written[meter_id] = self._files.write(meter_id, meter.times_ns, meter.rows)
            if time.monotonic() > end_s:
                break
        return written

    def _acknowledge(self, meters: Sequence[Meter]) -> None:
        self._broker.ack([tag for meter in meters for tag in meter.tags])
        for meter in meters:
            self._figures.on_written(meter.times_ns[-1])
            if self._live:
                self._live.add(meter.meter_id, meter.times_ns, meter.rows)
            meter.forget()
            if meter.failures:
                log.info("The rows of %s are written again.", meter.meter_id)
                meter.failures, meter.trouble = 0, ""
        if self._live:
            self._live.send(self._broker.address)

    def _pause(self, meter: Meter, error: DayFileError) -> None:
        """Nothing of this meter can be written now: its messages go back, and wait in the queue."""
        meter.failures += 1
        wait_s = back_off(meter.failures, LONGEST_PAUSE_S, random.random())
        self._broker.cancel(meter.meter_id, lambda: self._broker.later(wait_s, partial(self._resume, meter)))
        self._broker.give_back(meter.tags)
        meter.forget()
        meter.is_paused = True
        if str(error) != meter.trouble:
            meter.trouble = str(error)
            log.error("%s Its messages stay in the queue; trying again until it works.", meter.trouble)

    def _resume(self, meter: Meter) -> None:
        meter.is_paused = False
        if not self._is_stopping:
            self._intake.begin(meter.meter_id)

    # --- time and the end

    def _tick(self) -> None:
        self._intake.tick()
        self._set_aside.tick()
        self._host.status(self._status())
        self._host.alive()
        self._loop.later(TICK_S, self._tick)

    def _status(self) -> str:
        self._count()
        return f"{self._figures.status(next(iter(self._meters)))}; {self._broker.state}"

    def _count(self) -> None:
        meters = self._meters.values()
        troubles = self._intake.troubles, [meter.trouble for meter in meters if meter.trouble]
        self._figures.update(self._broker, len(meters), self._intake.standby, troubles, self._set_aside.count)
        self._figures.live_copies.value = self._live.sent if self._live else 0

    def _write_metrics(self) -> None:
        assert self._host.metrics_file
        self._count()
        self._host.metrics_file.write(self._figures)
        self._loop.later(PERIOD_S, self._write_metrics)

    def _on_wake(self) -> None:
        self._host.drain_wake()
        if self._host.stop_requested and not self._is_stopping:
            self._is_stopping = True
            self._host.stopping()
            log.info("Stopping.")
            while self._dirty:
                self._commit()
            self._files.close()
            if self._live:
                self._live.close()
            self._broker.close(self._loop.stop)
