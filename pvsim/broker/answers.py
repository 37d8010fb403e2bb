"""How messages ended, and what that says of their queues: full, stuck, or a connection that is to blame."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING

from pvsim.broker.admission import EMPTY_REFUSALS, MAIN_FAILURES, Event, State
from pvsim.broker.outcome import CONFIRMED, REFUSED, REPLACED, SILENT, TOO_LARGE, UNMARKED, UNROUTABLE, Done
from pvsim.broker.queues import Queue

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

_RESET_AGAIN_S = 60.0
_LOOK_EVERY = 16  # refusals in a row
_TOO_LARGE = re.compile(r"message size \d+ is larger than configured max size (\d+)")
_EVENTS = {
    CONFIRMED: Event.CONFIRMED,
    REPLACED: Event.CONFIRMED,
    UNMARKED: Event.UNMARKED,
    UNROUTABLE: Event.RETURNED,
    SILENT: Event.SILENT,
}


class Answers:
    """What the answers to messages say, told to admission and to whoever has sent them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._largest_bytes = 0  # what the broker takes in a message, once it has told
        self._reset_s = 0.0

    def is_too_large(self, body: bytes) -> bool:
        """Whether the broker is known to take no message of that size."""
        return 0 < self._largest_bytes < len(body)

    def take(self, queue: str, outcome: str, done: Done | None, *, is_main: bool) -> None:
        """A message has its answer, or has had none for too long."""
        admission = self._broker.admission
        if outcome == REFUSED:
            self._on_refused(queue, done, is_main)
            return
        if outcome == CONFIRMED and is_main:
            admission.confirmed_s[queue] = time.monotonic()
        if outcome == REPLACED:
            self._broker.marks.heed(queue)
        if outcome != CONFIRMED or not admission.works(queue):
            if outcome == SILENT and is_main:
                self._on_main_failure(queue)
            admission.note(queue, _EVENTS[outcome], time.monotonic())
        if done:
            done(outcome)

    def _on_refused(self, queue: str, done: Done | None, is_main: bool) -> None:
        admission = self._broker.admission
        self._broker.counts.refused += 1
        count = admission.note_refusal(queue)
        if count in (1, EMPTY_REFUSALS) or count % _LOOK_EVERY == 0:
            self._broker.look(queue, partial(self._on_refusal_looked, queue, done, is_main, count))
        elif done:
            done(SILENT if admission.state(queue) is State.STUCK else REFUSED)

    def _on_refusal_looked(self, queue: str, done: Done | None, is_main: bool, count: int, found: Queue | None) -> None:
        admission = self._broker.admission
        is_empty = found is not None and not found.messages and not found.consumers
        is_stuck = is_empty and (count >= EMPTY_REFUSALS or admission.state(queue) is State.STUCK)
        admission.note(queue, Event.EMPTY if is_stuck else Event.REFUSED, time.monotonic())
        if is_main and found and not found.messages:
            self._on_main_failure(queue)
        if done:
            done(SILENT if is_stuck else REFUSED)

    def _on_main_failure(self, queue: str) -> None:
        """A queue fails that has answered beside the main connection, again and again.

        A channel that was opened right after another node had failed may refuse messages to a queue for ever, because
        it has remembered the leader that is gone (3.10).
        """
        now_s = time.monotonic()
        if self._broker.admission.note_main_failure(queue) < MAIN_FAILURES or now_s - self._reset_s < _RESET_AGAIN_S:
            return
        if len(self._broker.settings.addresses) > 1:
            self._reset_s = now_s
            self._broker.reset(f"it refuses messages to {queue}, which has room")

    def on_closed(self, queue: str, reason: Exception, done: Done | None) -> None:
        """The broker has closed the channel of a message."""
        if self.note_size(reason):
            self._broker.admission.note(queue, Event.LOST, time.monotonic())
            if done:
                done(TOO_LARGE)
        else:
            self._broker.drop(reason)

    def note_size(self, reason: Exception) -> bool:
        """Whether a message was too large: the broker then tells how large one may be."""
        match = _TOO_LARGE.search(getattr(reason, "reply_text", ""))
        if match:
            self._largest_bytes = int(match[1])
        return bool(match)
