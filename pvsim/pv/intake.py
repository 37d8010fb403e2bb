"""Consuming the queues of a PV service, each from asking for it to standby.

A queue is declared the first time. If it is gone later, its meter declares it, and only if none does within a minute,
we do. What we declare has a mark, which tells its meter that what it had confirmed is gone (see broker/marks.py).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any

from pvsim.broker import OTHER_ARGUMENTS, Broker, Queue

log = logging.getLogger("pvsim.pv")

GONE_S = 60.0  # for which a queue that is gone is left to its meter
LOOK_S = 1.0  # between two looks for it
PROBE_S = 5.0  # between two tries to consume a queue that does not answer
ROUND_S = 15  # in which each queue has its turn to be looked at
MOST_PATIENCE = 31  # rounds


class Phase(Enum):
    """Where a queue is on its way to being consumed."""

    IDLE = "not asked for"
    ASKED = "asked for"
    GONE = "its meter is to declare it"
    TRIED = "to consume it has cost a connection: tried on the side"
    CONSUMED = "its messages come, or are going to"
    STANDBY = "another PV service consumes it"


class Source:
    """One queue, and what is known of it."""

    __slots__ = (
        "declare_at_s", "is_doubtful", "is_known", "is_quiet", "messages", "misses", "patience", "phase", "queue",
        "trouble"
    )  # fmt: skip

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.phase = Phase.IDLE
        self.is_known = False  # it has been there
        self.is_doubtful = False  # to consume it has cost a connection
        self.declare_at_s = 0.0  # until then, its meter is to do that
        self.is_quiet = False  # nothing has come since its last turn
        self.messages = 0  # that it held at the last look
        self.misses = 0  # looks in a row that showed no sign of its consumer
        self.patience = 1  # so many of them are borne
        self.trouble = ""


class Intake:
    """The queues of a PV service. `clock`: seconds from any beginning."""

    def __init__(
        self, queues: Iterable[str], broker: Broker, arguments: dict[str, Any], clock: Callable[[], float]
    ) -> None:
        self._sources = {queue: Source(queue) for queue in queues}
        self._broker = broker
        self._arguments = arguments
        self._clock = clock
        self._seconds = 0

    @property
    def standby(self) -> int:
        """How many queues another PV service consumes."""
        return sum(source.phase is Phase.STANDBY for source in self._sources.values())

    @property
    def consumed(self) -> list[str]:
        """The queues whose messages come to us, if there are any."""
        return [source.queue for source in self._sources.values() if source.phase is Phase.CONSUMED]

    @property
    def troubles(self) -> list[str]:
        """Why queues are not consumed, a sentence each."""
        return [source.trouble for source in self._sources.values() if source.trouble]

    def up(self, but: Collection[str] = ()) -> None:
        """Connected: consume each queue, `but` those."""
        for source in self._sources.values():
            if source.queue in but:
                continue
            if source.is_doubtful:
                self._try(source)
            else:
                self._ask(source)

    def down(self) -> None:
        """Not connected."""
        for source in self._sources.values():
            source.phase = Phase.IDLE
            self._expect_meter_to_declare(source)

    def begin(self, queue: str) -> None:
        """Consume a queue again, after `Broker.cancel`."""
        self._ask(self._sources[queue])

    def on_delivery(self, queue: str) -> None:
        """A message of this queue has come."""
        source = self._sources[queue]
        source.is_quiet, source.misses, source.patience = False, 0, 1
        if source.phase is Phase.STANDBY:
            source.phase = Phase.CONSUMED
            log.info("Takes over %s from another PV service.", queue)

    def on_cancelled(self, queue: str) -> None:
        """A queue was deleted."""
        source = self._sources[queue]
        self._expect_meter_to_declare(source)
        self._ask(source)

    def on_forbidden(self, queue: str) -> None:
        """A queue that may not be consumed."""
        self._sources[queue].is_doubtful = True

    def on_silent(self, queues: Sequence[str]) -> None:
        """The first of these holds up the others: which of them answer is found out on the side."""
        for queue in queues:
            self._sources[queue].is_doubtful = True

    def tick(self) -> None:
        """Called every second."""
        self._look_for_lost_consumers()

    def _ask(self, source: Source) -> None:
        source.phase = Phase.ASKED
        self._broker.look(source.queue, partial(self._on_looked, source))

    def _expect_meter_to_declare(self, source: Source) -> None:
        if source.is_known:
            source.declare_at_s = self._clock() + GONE_S

    def _on_looked(self, source: Source, queue: Queue | None) -> None:
        if queue:
            self._broker.declare(source.queue, self._arguments, partial(self._on_declared, source))
        elif self._clock() >= source.declare_at_s:
            self._broker.declare_marked(source.queue, self._arguments, partial(self._on_declared, source))
        else:
            self._expect(source)

    def _expect(self, source: Source) -> None:
        """It is its meter's turn."""
        if source.phase is not Phase.GONE:
            source.phase = Phase.GONE
            log.warning("The queue %s is gone: waiting for its meter to declare it.", source.queue)
        look = partial(self._broker.look, source.queue, partial(self._on_looked, source))
        self._broker.later(LOOK_S, look)

    def _on_declared(self, source: Source, queue: Queue) -> None:
        if queue.other_arguments:
            log.warning(OTHER_ARGUMENTS, source.queue, queue.other_arguments)
        source.is_known = True
        source.phase = Phase.STANDBY if queue.consumers else Phase.CONSUMED
        if queue.consumers:
            log.info("Another PV service consumes %s: waiting to take over.", source.queue)
        self._broker.consume(source.queue)

    def _try(self, source: Source) -> None:
        source.phase = Phase.TRIED
        self._broker.probe(source.queue, partial(self._on_tried, source))

    def _on_tried(self, source: Source, refusal: str) -> None:
        if refusal:
            if not self.troubles:
                log.warning("%s%s.", refusal[0].upper(), refusal[1:].removesuffix("."))
            source.trouble = refusal
            self._broker.later(PROBE_S, partial(self._try, source))
        else:
            if source.trouble:
                log.info("The queue %s can be consumed again.", source.queue)
            source.is_doubtful, source.trouble = False, ""
            self._ask(source)

    # A broker may lose a consumer without a word: one in a cluster did, whose queue was deleted while its leader moved.
    # And where a queue is declared again before its consumers were told that it was deleted, the broker (3.10) moves
    # them by itself, and then drops what it should deliver: it says that it has a consumer, and nothing comes. A
    # consumer on standby is moved, too, and holds up the queue once the active one has gone. It cannot tell that from
    # one that waits behind a slow consumer, but by the messages, which become no fewer; so it may be wrong, and takes
    # longer each time.

    def _look_for_lost_consumers(self) -> None:
        """Each queue has its turn every ROUND_S; if nothing has come since the last one, the broker is asked."""
        self._seconds += 1
        for source in islice(self._sources.values(), self._seconds % ROUND_S, None, ROUND_S):
            if source.is_quiet and self._broker.consumes(source.queue):
                self._broker.look(source.queue, partial(self._on_quiet_looked, source))
            source.is_quiet = True

    def _on_quiet_looked(self, source: Source, queue: Queue | None) -> None:
        before, source.messages = source.messages, queue.messages if queue else 0
        least = 1 if source.phase is Phase.CONSUMED else before or sys.maxsize
        is_kept = source.messages >= least and not self._broker.holds(source.queue)
        source.misses = 0 if queue and queue.consumers and not is_kept else source.misses + 1
        if source.misses > source.patience:
            source.misses, source.patience = 0, min(2 * source.patience + 1, MOST_PATIENCE)
            why = "holds messages, and none comes" if queue and queue.consumers else "has lost its consumer"
            self._broker.reset(f"the queue {source.queue} {why}")
