"""Which instants a meter service is asked for: those of the clock, those of a span, or those of a faster clock.

A `Timeline` says up to which instant readings are due at a moment; it is pure, and all that a fleet knows of it.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from pvsim.texts import time_text


class Timeline(NamedTuple):
    """Instants in ns since the epoch. Without any of it: those of the clock, from now on, without an end.

    start_ns: the first instant asked for; end_ns: the first one that is not; speed: seconds that go by in one of the
    clock, None if what lies in the past is due at once; origin_ns: what the clock says at `start_ns`, for `speed`.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    speed: Decimal | None = None
    origin_ns: int = 0

    @property
    def is_history(self) -> bool:
        """Whether it is not the clock's, so that its progress is its own."""
        return self.start_ns is not None or self.speed is not None

    @property
    def has_stops(self) -> bool:
        """Whether a meter that is told to stop leaves a gap, as it does if it was asked for no span and no speed."""
        return not self.is_history or (self.end_ns is None and self.speed is None)

    def begin(self, instant_ns: int, now_ns: int) -> Timeline:
        """The timeline that starts, or goes on, at an instant when the clock says `now_ns`."""
        return self._replace(start_ns=instant_ns, origin_ns=now_ns) if self.speed else self

    def due_ns(self, now_ns: int) -> int:
        """Up to which instant, inclusive, readings are due when the clock says `now_ns`."""
        if self.speed and self.start_ns is not None:
            now_ns = self.start_ns + int((now_ns - self.origin_ns) * self.speed)
        return now_ns if self.end_ns is None else min(now_ns, self.end_ns - 1)

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing becomes due any more."""
        return self.end_ns is not None and self.due_ns(now_ns) == self.end_ns - 1

    def ends_before(self, now_ns: int) -> bool:
        """Whether a meter that begins when the clock says `now_ns` has nothing to send."""
        return self.start_ns is None and self.end_ns is not None and self.end_ns <= now_ns

    def clock_ns(self, instant_ns: int) -> int:
        """What the clock says when an instant becomes due."""
        if self.speed and self.start_ns is not None:
            return self.origin_ns + int((instant_ns - self.start_ns) / self.speed)
        return instant_ns

    @property
    def name(self) -> str:
        """What tells this history from others, in the name of a file."""
        start, end = ("" if each is None else time_text(each) for each in (self.start_ns, self.end_ns))
        return f"{start}..{end}{f'x{self.speed:f}' if self.speed else ''}"


def parse_speed(text: str) -> Decimal:
    """How many times as fast as the clock; ArgumentTypeError if it is no such number."""
    with suppress(InvalidOperation):
        speed = Decimal(text)
        if speed.is_finite() and Decimal("0.001") <= speed <= 1_000_000:
            return speed.normalize()
    raise ArgumentTypeError(f"{text!r} is no speed; give a number from 0.001 to 1000000.")
