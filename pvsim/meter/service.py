"""The meter service: a fleet with a real clock, a real broker and a real progress file."""

from __future__ import annotations

import logging
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pvsim import runtime
from pvsim.broker import Broker, Loop, Owner, arguments
from pvsim.errors import BrokerError, UsageError
from pvsim.ids import shown_ids
from pvsim.meter.figures import MeterFigures
from pvsim.meter.fleet import Fleet, Meter
from pvsim.meter.progressfiles import ProgressFile
from pvsim.meter.readers import Readers
from pvsim.meter.tracks import Tracks, power_of
from pvsim.metrics import PERIOD_S

if TYPE_CHECKING:
    from pvsim.meter import Options

log = logging.getLogger("pvsim.meter")

TICK_S = 1.0  # at most, between two looks at what is due
FAST_TICK_S = 0.01  # with a clock that is faster than real time
EARLY_S = 0.0012  # before a reading is due
LAST_S = 0.0002  # of that time, which is not slept: the system lets a sleep last longer by some 0.1 ms
SETTLE_S = 1.0  # between two marks of what the broker has confirmed
SAVE_S = 5.0  # between two writes of the progress file
LOOK_S = 5.0  # between two looks at who reads a history
END_S = 0.1  # between two looks whether all is sent that was asked for
DRAIN_S = 1.5  # for the last readings, when told to stop
AHEAD_NS = 2 * 10**9  # a clock that is corrected by less is not worth a word
_BAR_WIDTH = 30


class Service(Owner):
    """A fleet with a real clock, a real broker and a real progress file.

    All that touches the world outside is made here, once, and handed on: so there is a field for each.
    """

    def __init__(self, options: Options, host: runtime.Host, clock: Callable[[], int] = time.time_ns) -> None:
        now_ns = clock()
        self._host = host
        self._clock = clock
        self._loop = Loop()
        self._broker = Broker(options.broker, self._loop, self)
        self._broker.marks.are_heeded = True
        self._timeline = options.timeline
        progress = _progress_file(options)
        if options.timeline.ends_before(now_ns) and not (progress and progress.tracks):
            raise UsageError("--to is in the past; give --from, too.")
        self._tracks = Tracks(progress, options.timeline, now_ns)
        meters = [
            Meter(meter_id, settings, power_of(meter_id, settings), self._tracks.start(meter_id, settings))
            for meter_id, settings in options.meters.items()
        ]
        self._timeline = self._timeline.begin(min(meter.track.confirmed_ns for meter in meters), now_ns)
        self.fleet = Fleet(meters, self._broker, arguments(options.broker), clock, self._timeline)
        self._figures = MeterFigures()
        self._stop_ns: int | None = None
        self._bar: Bar | None = None
        if self._timeline.end_ns is not None and sys.stderr.isatty():
            self._bar = Bar(options.timeline.start_ns or now_ns, self._timeline.end_ns)
        self._goes_on_ns: int | None = None  # when, because the clock was ahead
        self._readers = Readers([*options.meters], self._broker.look) if self._timeline.is_history else None
        self._patience = Patience(options.timeout_s, time.monotonic())

    def run(self) -> None:
        """Work until a signal says stop."""
        log.info("Meter created: %s", shown_ids([meter.meter_id for meter in self.fleet.meters]))
        self._tracks.log_changes()
        self._tracks.save()
        self._loop.watch(self._host.wake_fd, self._on_wake)
        self._broker.start()
        self._tick()
        self._every(SETTLE_S, self.fleet.settle)
        self._every(SAVE_S, self._tracks.save)
        if self._host.metrics_file:
            self._write_metrics()
            self._every(PERIOD_S, self._write_metrics)
        if self._timeline.end_ns is not None:
            self._every(END_S, self._look_for_the_end)
        if self._readers:
            self._every(LOOK_S, self._readers.look)
        self._host.ready()
        self._loop.run()
        if self._patience.reason:
            raise BrokerError(self._patience.reason)

    # --- what the broker tells

    def on_up(self) -> None:
        self._patience.on_up()
        self.fleet.up()

    def on_down(self) -> None:
        self._patience.on_down(time.monotonic())
        self.fleet.down()
        if self._stop_ns is not None:
            self._finish()

    # --- time

    def _every(self, period_s: float, call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self._loop.later(period_s, again)

        self._loop.later(period_s, again)

    def _tick(self) -> None:
        now_ns = self._clock()
        if self._stop_ns is None:
            self.fleet.tick(now_ns)
        due_ns = self.fleet.next_tick_ns(now_ns)
        wait_s = (due_ns - self._clock()) / 1e9
        if self._timeline.speed or not EARLY_S < wait_s < TICK_S:
            self._loop.later(max(FAST_TICK_S if self._timeline.speed else 0.0, min(wait_s, TICK_S)), self._tick)
        else:
            self._loop.later(wait_s - EARLY_S, partial(self._tick_on_time, due_ns))
        self._loop.later(0, partial(self._tell, now_ns))  # when what is due is on its way

    def _tick_on_time(self, due_ns: int) -> None:
        """The loop waits whole milliseconds: it wakes up before the time, and most of the rest is slept."""
        wait_s = min(EARLY_S, (due_ns - self._clock()) / 1e9)
        if wait_s > LAST_S:
            select.select((), (), (), wait_s - LAST_S)  # sleep() fails under libfaketime
        end_s = time.perf_counter() + LAST_S  # whatever the clock does
        while self._clock() < due_ns and time.perf_counter() < end_s:
            pass
        self._tick()

    def _tell(self, now_ns: int) -> None:
        if self._stop_ns is None:
            self._look_at_the_clock(now_ns)
            self._host.status(self._status())
            if self._patience.is_over(time.monotonic()) and not self._patience.reason:
                self._give_up()
        self._host.alive()

    def _look_at_the_clock(self, now_ns: int) -> None:
        """One that was ahead has made readings of instants that are still to come."""
        before_ns, reach_ns = self._goes_on_ns, max(meter.track.reach_ns for meter in self.fleet.meters)
        is_ahead = reach_ns > self._timeline.due_ns(now_ns) + AHEAD_NS and not self._timeline.is_over(now_ns)
        self._goes_on_ns = self._timeline.clock_ns(reach_ns + 1) if is_ahead else None
        if is_ahead and before_ns is None:
            log.warning("It %s.", self._why_it_waits())
        elif before_ns is not None and not is_ahead:
            log.info("It goes on: the clock has reached its next readings.")

    def _why_it_waits(self) -> str:
        assert self._goes_on_ns is not None
        when = time.strftime("%F %T", time.localtime(self._goes_on_ns // 10**9))
        if self._timeline.start_ns is not None and self._goes_on_ns <= self._timeline.start_ns:
            return f"begins at {when}"
        return f"goes on at {when}: the clock was ahead, so readings up to then exist already"

    def _look_for_the_end(self) -> None:
        """There is one: when all up to it is due and confirmed, nothing is left to do."""
        now_ns = self._clock()
        if self._bar:
            self._bar.show(self.fleet)
        if self._stop_ns is not None or not self._timeline.is_over(now_ns):
            return
        if not self.fleet.is_last_call:
            self.fleet.is_last_call = True
            self.fleet.tick(now_ns)
        if self.fleet.is_done() and (not self._readers or self._readers.have_looked_last(time.monotonic())):
            self._stop_ns = now_ns
            self._host.stopping()
            log.info("All readings asked for are confirmed, %d of them by this run.", self.fleet.confirmed)
            if self._readers:
                self._readers.tell()
            self._finish()

    def _status(self) -> str:
        self._count()
        parts = [self._figures.status(self.fleet.meters[0].meter_id)]
        if self._goes_on_ns is not None:
            parts.append(self._why_it_waits())
        if self._readers and self._readers.missing:
            parts.append(self._readers.missing)
        if self._tracks.trouble:
            parts.append(self._tracks.trouble)
        return f"{', '.join(parts)}; {self._broker.state}"

    def _count(self) -> None:
        self._figures.update(self.fleet, self._broker, self._goes_on_ns is not None)

    def _write_metrics(self) -> None:
        assert self._host.metrics_file
        self._count()
        self._host.metrics_file.write(self._figures)

    # --- the end

    def _on_wake(self) -> None:
        self._host.drain_wake()
        if self._host.stop_requested and self._stop_ns is None:
            self._stop()

    def _stop(self) -> None:
        """Told to stop: the last reading is that of now; deliver what is due, as far as it goes in a short time."""
        self._stop_ns = now_ns = self._clock()
        self._host.stopping()
        log.info("Stopping.")
        self.fleet.is_last_call = True
        self.fleet.tick(now_ns)
        self._wait_until_done(time.monotonic() + DRAIN_S)

    def _wait_until_done(self, deadline: float) -> None:
        assert self._stop_ns is not None
        if self.fleet.is_done() or not self._broker.is_up or time.monotonic() > deadline:
            self._finish()
        else:
            self._loop.later(0.01, partial(self._wait_until_done, deadline))

    def _give_up(self) -> None:
        """It was not told to stop, so its progress does not say so."""
        self._patience.end(self._broker.trouble)
        self._tracks.save()
        self._broker.close(self._loop.stop)

    def _finish(self) -> None:
        assert self._stop_ns is not None
        for meter in self.fleet.meters:
            meter.track.stop(self._stop_ns)
        self._tracks.save()
        self._broker.close(self._loop.stop)


class Patience:
    """How long a service is without a broker before it gives up. `reason`: why it has."""

    def __init__(self, timeout_s: float | None, now_s: float) -> None:
        self.reason = ""
        self._timeout_s = timeout_s
        self._since_s: float | None = now_s

    def on_up(self) -> None:
        """There is a connection."""
        self._since_s = None

    def on_down(self, now_s: float) -> None:
        """There is none."""
        if self._since_s is None:
            self._since_s = now_s

    def is_over(self, now_s: float) -> bool:
        """Whether it has been long enough."""
        return self._timeout_s is not None and self._since_s is not None and now_s - self._since_s > self._timeout_s

    def end(self, trouble: str) -> None:
        """Give up because of this trouble."""
        sentence, _, _ = trouble.partition(" Next try ")
        self.reason = f"Gave up after {self._timeout_s:g} s without a broker (--timeout). {sentence}"


class Bar:
    """How far a history has come, on a terminal."""

    def __init__(self, first_ns: int, end_ns: int) -> None:
        self._first_ns = first_ns
        self._end_ns = end_ns
        self._began_s = time.monotonic()

    def show(self, fleet: Fleet) -> None:
        """Draw it anew."""
        first_ns, end_ns, meters = self._first_ns, self._end_ns, fleet.meters
        done_ns = sum(max(0, min(meter.track.confirmed_ns + 1, end_ns) - first_ns) for meter in meters)
        share = min(1.0, done_ns / max(1, (end_ns - first_ns) * len(meters)))
        text = bar(share, fleet.confirmed, time.monotonic() - self._began_s)
        print(f"{text}\x1b[K", end="\r", file=sys.stderr, flush=True)


def _progress_file(options: Options) -> ProgressFile | None:
    timeline = options.timeline
    history = timeline.name if timeline.is_history else ""
    return ProgressFile(options.progress, options.meters.keys(), history) if options.progress else None


def bar(share: float, readings: int, seconds: float) -> str:
    """How far it has come, for a terminal: the share of all, and the readings of the last `seconds`."""
    done = "#" * int(share * _BAR_WIDTH)
    return f"{share:6.1%} [{done:-<{_BAR_WIDTH}}] {readings:,} readings, {readings / max(seconds, 0.001):,.0f}/s"
