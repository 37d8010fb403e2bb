"""The PV service: a recorder with a real clock, a real broker and real files."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pvsim import runtime
from pvsim.broker import Broker, Delivery, LiveLink, Loop, Owner, arguments
from pvsim.dayfile import DayFiles
from pvsim.ids import shown_ids
from pvsim.instants import SECOND_NS
from pvsim.metrics import PERIOD_S
from pvsim.models import solar
from pvsim.pv.figures import PvFigures
from pvsim.pv.intake import Intake
from pvsim.pv.live import Live
from pvsim.pv.recorder import Recorder, Settings
from pvsim.pv.setaside import SetAside

if TYPE_CHECKING:
    from pvsim.pv import Options

log = logging.getLogger("pvsim.pv")

MOST_PREFETCHED = 64  # messages of one meter that are delivered and not acknowledged
FEW_FILES = (
    "%d meters, but only %d of their files may be open at a time, so rows take longer: "
    "raise LimitNOFILE (ulimit -Hn), or run fewer meters in one process."
)
TICK_S, QUIET_S = 1.0, 5.0


class Service(Owner):
    """A recorder with a real clock, a real broker and real files.

    All that touches the world outside is made here, once, and handed on: so there is a field for each.
    """

    def __init__(
        self, options: Options, host: runtime.Host, files: DayFiles, clock: Callable[[], float] = time.time
    ) -> None:
        if host.files < len(options.meters):
            log.warning(FEW_FILES, len(options.meters), host.files)
        self._host = host
        self._loop = Loop()
        self._broker = Broker(options.broker, self._loop, self)
        self._meters = {
            meter_id: solar.model(settings.model, settings.seed, meter_id, **settings.parameters)
            for meter_id, settings in options.meters.items()
        }
        self._intake = Intake(options.meters, self._broker, arguments(options.broker), time.monotonic)
        self._set_aside = SetAside(self._broker, time.monotonic, clock)
        windows_ns = {each: window for each, of in options.meters.items() if (window := of.time_window_ns)}
        settings = Settings(
            self._loop.later, time.monotonic, windows_ns=windows_ns, now_ns=lambda: round(clock() * SECOND_NS)
        )
        self._recorder = Recorder(self._meters, self._broker, files, self, settings)
        self._clock = clock
        self._figures = PvFigures()
        self._live = Live(LiveLink(options.broker, self._loop), clock) if options.live else None
        self._unheard = set(options.meters)  # meters of which no message has come yet
        self._up_s = math.inf  # since when there is a connection
        self._is_stopping = False

    def run(self) -> None:
        """Work until a signal says stop."""
        log.info("PV created: %s", shown_ids(list(self._meters)))
        self._loop.watch(self._host.wake_fd, self._on_wake)
        count = len(self._meters)
        self._broker.start(count, max(2, min(MOST_PREFETCHED, 20_000 // count)))
        self._tick()
        if self._host.metrics_file:
            self._write_metrics()
        self._host.ready()
        self._loop.run()

    # --- what the broker tells

    def on_up(self) -> None:
        self._up_s = time.monotonic()
        self._intake.up(self._recorder.waiting)

    def on_down(self) -> None:
        self._up_s = math.inf
        self._intake.down()
        self._recorder.down()
        self._set_aside.forget()

    def on_delivery(self, delivery: Delivery) -> None:
        self._unheard.discard(delivery.queue)
        self._intake.on_delivery(delivery.queue)
        self._recorder.deliver(delivery)

    def on_cancelled(self, queue: str) -> None:
        self._intake.on_cancelled(queue)

    def on_forbidden(self, queue: str) -> None:
        self._intake.on_forbidden(queue)

    def on_silent(self, queues: Sequence[str]) -> None:
        self._intake.on_silent(queues)

    # --- what the recorder tells

    def on_rejected(self, delivery: Delivery, reason: str) -> None:
        self._set_aside.add(delivery, reason)

    def on_writable(self, queue: str) -> None:
        if not self._is_stopping:
            self._intake.begin(queue)

    def on_durable(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> None:
        self._figures.last_commit.value = self._clock()
        if self._live:
            self._live.add(meter_id, times_ns, rows)

    def on_commit(self, duration_s: float) -> None:
        self._figures.commits.observe(duration_s)
        if self._live:
            self._live.send(self._broker.address)

    # --- time and the end

    def _tick(self) -> None:
        self._intake.tick()
        self._set_aside.tick()
        self._recorder.tick()
        self._host.status(self._status())
        self._host.alive()
        self._loop.later(TICK_S, self._tick)

    def _status(self) -> str:
        self._count()
        parts = [self._figures.status(next(iter(self._meters)))]
        if unheard := self._what_has_not_come():
            parts.append(unheard)
        return f"{', '.join(parts)}; {self._broker.state}"

    def _count(self) -> None:
        self._figures.update(self._broker, self._recorder, self._intake, self._set_aside)
        self._figures.meters.value = len(self._meters)
        self._figures.live_copies.value = self._live.sent if self._live else 0

    def _write_metrics(self) -> None:
        assert self._host.metrics_file
        self._count()
        self._host.metrics_file.write(self._figures)
        self._loop.later(PERIOD_S, self._write_metrics)

    def _what_has_not_come(self) -> str:
        if not self._unheard or time.monotonic() < self._up_s + QUIET_S:
            return ""
        ids = [meter_id for meter_id in self._intake.consumed if meter_id in self._unheard]
        if len(ids) > 1:
            return f"no reading of {len(ids)} meters yet ({ids[0]} and more): are meters of these names running?"
        return f"no reading of {ids[0]} yet: is a meter of that name running?" if ids else ""

    def _on_wake(self) -> None:
        self._host.drain_wake()
        if self._host.stop_requested and not self._is_stopping:
            self._is_stopping = True
            self._host.stopping()
            log.info("Stopping.")
            self._recorder.stop()
            if self._live:
                self._live.close()
            self._broker.close(self._loop.stop)
