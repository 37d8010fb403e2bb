"""Rows are committed, messages acknowledged: when, and what becomes of those that cannot be (rows: pending.py).

A message is acknowledged only after its rows are durable. What arrives together is committed together: deliveries are
gathered while the loop reads them, then written, synced and acknowledged at one go. That goes in slices, a meter and a
day at a time, in turns: whoever's files take long does not hold up the others, nor the loop.

A meter whose file cannot be written gives its messages back, once, and is not consumed until its file can be written.
The rows that failed are kept, and tried again: what could not be written is the best question to ask of a disk. When
they are durable, their messages come again, and find that they have their rows already.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pvsim.broker import Delivery, back_off
from pvsim.errors import DayFileError, NotAReading
from pvsim.models import PowerModel
from pvsim.pv.pending import Batch, Check, Meter, Part, check_window

log = logging.getLogger("pvsim.pv")

MOST_PENDING = 60_000  # readings, 6 MB; then they are committed at once: to sync few takes as long as to sync many
MOST_KEPT = 20_000  # rows of all meters whose files cannot be written; more are computed again when they come again
MOST_DIRTY = 250  # meters with pending readings; then no more are waited for, for many at a time slow the broker
LONGEST_WRITE_S = 0.1  # until what is written is committed
LONGEST_WAIT_S = 30.0  # until a file is tried again
LONGEST_STOP_S = 5.0  # until what is left when the service is stopped is left to its successor


class Link(Protocol):
    """What a recorder needs of the broker."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""

    def ack(self, tags: Sequence[int]) -> None:
        """These messages are done with."""

    def give_back(self, tags: Sequence[int]) -> None:
        """These messages go back to their places in the queues."""

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """No more deliveries from a queue."""


class Files(Protocol):
    """What a recorder needs of day files. `second_values`: by meter, the last row whose instant has two values."""

    second_values: dict[str, str]

    def by_day(self, times_ns: Sequence[int], rows: Sequence[str]) -> Mapping[date, Part]:
        """These rows, by the files that they belong into."""

    def prepare(self, meter_id: str, day: date) -> bool:
        """Open the file of a day, a piece at each call; returns whether it can be written, or why not is told."""

    def write_day(self, meter_id: str, day: date, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """Write rows of one day; returns how many were new. What fails is told by `commit`."""

    def commit(self) -> Mapping[str, DayFileError]:
        """Make durable what was written; returns the meters that failed, and why."""

    def close(self) -> None:
        """Close all files."""


class Owner(Protocol):
    """Whom a recorder tells."""

    def on_rejected(self, delivery: Delivery, reason: str) -> None:
        """This message is no reading."""

    def on_writable(self, queue: str) -> None:
        """The files of this meter can be written again."""

    def on_durable(self, meter_id: str, times_ns: Sequence[int], rows: Sequence[str]) -> None:
        """These rows of a meter are durable, and their messages acknowledged."""

    def on_commit(self, duration_s: float) -> None:
        """A commit is over."""


class Settings(NamedTuple):
    """What else a recorder is given: `later`, of the loop, and a `clock`, seconds from any beginning.

    `windows_ns`: of meters of which not any time will do, how far from `now_ns` that of a reading may lie.
    """

    later: Callable[[float, Callable[[], None]], None]
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    windows_ns: Mapping[str, int] = MappingProxyType({})
    now_ns: Callable[[], int] = time.time_ns

    def check(self, meter_id: str) -> Check | None:
        """What the times of a meter's readings have to pass."""
        window_ns = self.windows_ns.get(meter_id)
        return partial(check_window, self.now_ns, window_ns) if window_ns else None


class Recorder:
    """The messages of some meters, and their day files."""

    def __init__(
        self, meters: Mapping[str, PowerModel], link: Link, files: Files, owner: Owner, settings: Settings
    ) -> None:
        self.rows = 0  # that were written and are durable
        self.last_ns: int | None = None  # the instant of the newest reading
        self._meters = {
            meter_id: Meter(meter_id, power, settings.check(meter_id)) for meter_id, power in meters.items()
        }
        self._link = link
        self._files = files
        self._owner = owner
        self._settings = settings
        self._dirty: dict[str, Meter] = {}  # meters with something to write, in turns
        self._pending = 0  # readings, of meters whose files can be written
        self._arrived = 0  # readings, until now
        self._turn_is_due = False

    @property
    def waiting(self) -> set[str]:
        """The meters that are not to be consumed, because their files cannot be written."""
        return {meter_id for meter_id, meter in self._meters.items() if meter.retry_at_s is not None}

    @property
    def troubles(self) -> list[str]:
        """Why files cannot be written, a sentence each."""
        return [meter.trouble for meter in self._meters.values() if meter.trouble]

    @property
    def second_values(self) -> Mapping[str, str]:
        """By meter, the last row whose instant has another value, too."""
        return self._files.second_values

    def down(self) -> None:
        """Not connected: what was not acknowledged comes again."""
        for meter in self._meters.values():
            meter.withdraw()
            if meter.retry_at_s is None:
                meter.pending = Batch()
        self._files.close()  # whoever takes over, in this directory too, finds them free
        self._dirty.clear()
        self._pending = 0

    def deliver(self, delivery: Delivery) -> None:
        """A message: its readings wait for the next commit."""
        meter = self._meters[delivery.queue]
        try:
            if meter.retry_at_s is not None:
                self._deliver_late(meter, delivery)
                return
            count = meter.add(delivery.body)
        except NotAReading as reason:
            self._owner.on_rejected(delivery, str(reason))
            return
        meter.pending.tags.append(delivery.tag)
        self._dirty[meter.meter_id] = meter
        self._commit_soon(count)

    def tick(self) -> None:
        """Called every second: try again what could not be written."""
        if not self._link.is_up:
            return
        now_s = self._settings.clock()
        for meter in self._meters.values():
            if meter.retry_at_s is not None and now_s >= meter.retry_at_s and meter.writing is None:
                self._dirty[meter.meter_id] = meter
        if self._dirty:
            self._commit_later()

    def stop(self) -> None:
        """Commit what has come, as far as that goes in a short time."""
        end_s = self._settings.clock() + LONGEST_STOP_S
        while self._dirty and self._settings.clock() < end_s:
            self._commit()
        self._files.close()

    def _deliver_late(self, meter: Meter, delivery: Delivery) -> None:
        """It was on its way when the queue was cancelled: it goes back, and its rows are written with the others."""
        if sum(len(each.pending.rows) for each in self._meters.values() if each.trouble) < MOST_KEPT:
            meter.add(delivery.body)
        self._link.give_back([delivery.tag])

    # --- committing

    def _commit_soon(self, readings: int) -> None:
        """Commit when all that has arrived is read, or at once when it is much and nothing else is being written."""
        self._pending += readings
        self._arrived += readings
        if self._pending >= MOST_PENDING and not self._is_writing():
            self._commit()
        else:
            self._commit_later()

    def _commit_later(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._settings.later(0, partial(self._commit_when_read, self._arrived))

    def _commit_when_read(self, arrived: int) -> None:
        """All is read when a turn of the loop has brought nothing more: pika reads 100 kB in each."""
        self._turn_is_due = False
        if arrived < self._arrived and len(self._dirty) < MOST_DIRTY and not self._is_writing():
            self._commit_later()
        elif self._dirty:
            self._commit()

    def _is_writing(self) -> bool:
        """Whether a meter has rows of which not all are written: that goes on, whatever comes meanwhile."""
        return any(meter.writing for meter in self._dirty.values())

    def _commit(self) -> None:
        """Commit a slice of what is pending; the loop goes on between one and the next."""
        begin_s = self._settings.clock()
        written = self._write()
        failed = self._files.commit()
        duration_s = self._settings.clock() - begin_s
        for meter_id, error in failed.items():
            self._wait(self._meters[meter_id], error)
        self._acknowledge([meter for meter in written if meter.meter_id not in failed])
        self._owner.on_commit(duration_s)
        if self._dirty:
            self._commit_later()

    def _write(self) -> list[Meter]:
        """Write for a while, a meter and a day at a time, in turns; returns the meters of which all is written."""
        written: list[Meter] = []
        end_s = self._settings.clock() + LONGEST_WRITE_S
        while self._dirty:
            meter = self._dirty.pop(next(iter(self._dirty)))
            batch = meter.writing = meter.writing or self._take(meter)
            if batch.days and self._files.prepare(meter.meter_id, batch.days[-1][0]):
                day, part = batch.days.pop()
                batch.new += self._files.write_day(meter.meter_id, day, *part)
            if batch.days:
                self._dirty[meter.meter_id] = meter
            else:
                written.append(meter)
            if self._settings.clock() > end_s:
                break
        return written

    def _take(self, meter: Meter) -> Batch:
        """What is pending, to be written from now on."""
        batch, meter.pending = meter.pending, Batch()
        batch.days = list(self._files.by_day(batch.times_ns, batch.rows).items())
        if meter.retry_at_s is None:
            self._pending -= len(batch.rows)
        return batch

    def _acknowledge(self, meters: Sequence[Meter]) -> None:
        self._link.ack([tag for meter in meters if meter.writing for tag in meter.writing.tags])
        for meter in meters:
            batch, meter.writing = meter.writing, None
            if batch and batch.times_ns:
                self.rows += batch.new
                self.last_ns = batch.times_ns[-1]
                self._owner.on_durable(meter.meter_id, batch.times_ns, batch.rows)
            if meter.pending.rows:  # it has come in between
                self._dirty[meter.meter_id] = meter
            elif meter.retry_at_s is not None:
                self._go_on(meter)

    # --- files that cannot be written

    def _wait(self, meter: Meter, error: DayFileError) -> None:
        """Its messages go back, and wait in the queue; its rows are tried again after a while."""
        if meter.retry_at_s is None:
            self._pending -= len(meter.pending.rows)
            self._link.cancel(meter.meter_id, lambda: None)
            self._link.give_back(meter.withdraw())
        else:
            meter.withdraw()
        self._dirty.pop(meter.meter_id, None)
        meter.failures += 1
        wait_s = back_off(meter.failures, LONGEST_WAIT_S, self._settings.chance())
        meter.retry_at_s = self._settings.clock() + wait_s
        if str(error) != meter.trouble:
            meter.trouble = str(error)
            log.error("%s Its messages stay in the queue until it can be written.", meter.trouble)

    def _go_on(self, meter: Meter) -> None:
        meter.retry_at_s, meter.failures, meter.trouble = None, 0, ""
        log.info("The rows of %s are written again.", meter.meter_id)
        self._owner.on_writable(meter.meter_id)
