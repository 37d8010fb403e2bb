"""How many readings share a message, and which messages a meter makes of what is due.

A fleet that needs most of an interval to send what is due is near the limit of its broker. Rows would come late as soon
as the broker has something else to do, which it has for a minute whenever its log is full. So such a fleet sends pairs:
each meter sends two readings in every second interval, which halves the work of the broker. A small fleet never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pvsim.config import MeterSettings
from pvsim.meter.progress import Track
from pvsim.models import PowerModel
from pvsim.reading import JSON, content_type, encode

if TYPE_CHECKING:
    from pvsim.models.faults import Given

FEW = 200  # meters


class Message(NamedTuple):
    """What is published at a time. `readings`: how many are in it; none is in what is rubbish on purpose."""

    body: bytes
    content_type: str
    readings: int


def messages(meter_id: str, sequence: Iterable[Given | bytes], most: int) -> list[Message]:
    """The messages with these readings and these bodies, in this order.

    Readings share one as long as their times ascend, `most` at most.
    """
    made: list[Message] = []
    run: list[Given] = []

    def end_run() -> None:
        if run:
            body = encode(meter_id, [each.time_ns for each in run], [each.milliwatts for each in run])
            made.append(Message(body, content_type(len(run)), len(run)))
            run.clear()

    for item in sequence:
        if isinstance(item, bytes):
            end_run()
            made.append(Message(item, JSON, 0))
            continue
        if run and (len(run) == most or item.time_ns <= run[-1].time_ns):
            end_run()
        run.append(item)
    end_run()
    return made


def composer(
    meter_id: str, settings: MeterSettings, power: PowerModel, track: Track
) -> Callable[[range, int], list[Message]]:
    """What makes a meter's messages for some instants, with so many readings each at most."""

    def plain(instants: range, _batch: int) -> list[Message]:
        return [Message(encode(meter_id, instants, power(instants)), content_type(len(instants)), len(instants))]

    if not settings.faults:
        return plain
    from pvsim.models.faults import Faulty  # most meters have none

    faulty = Faulty(settings.seed, meter_id, settings.interval_ns, power, settings.faults)

    def is_ours(item: Given | bytes) -> bool:
        """Not a late reading of before the settings changed: it had another value, and was sent with that."""
        return isinstance(item, bytes) or item.instant_ns > track.floor_ns

    return lambda instants, batch: messages(meter_id, filter(is_ours, faulty.sequence(instants)), batch)


class Linger:
    """For how long readings of a meter are gathered, so that they share a message; all in ns."""

    __slots__ = ("interval_ns", "linger_ns", "phase_ns")

    def __init__(self, interval_ns: int, linger_ns: int) -> None:
        self.interval_ns = interval_ns
        self.linger_ns = linger_ns // interval_ns * interval_ns
        self.phase_ns = 0

    def pair(self, is_paired: bool) -> None:
        """Whether two readings share a message, for a meter that otherwise sends each by itself."""
        self.linger_ns = 2 * self.interval_ns if is_paired else 0

    def spread(self, number: int, count: int) -> None:
        """Let the meters of a fleet, of which this is one, not send all at the same moment what they have gathered."""
        self.phase_ns = self.linger_ns // self.interval_ns * number // count * self.interval_ns

    def until_ns(self, due_ns: int) -> int:
        """Up to which instant readings are to be sent when they are due up to `due_ns`: all of a linger, or none."""
        if not self.linger_ns:
            return due_ns
        ahead_ns = self.interval_ns + self.phase_ns
        return (due_ns + ahead_ns) // self.linger_ns * self.linger_ns - self.phase_ns - 1


class Pacer:
    """Whether a fleet sends pairs: when the last readings had to wait for half an interval, until for a quarter."""

    def __init__(self, lingers: Sequence[Linger], interval_ns: int) -> None:
        self._lingers = lingers
        self._interval_ns = interval_ns
        self._is_paired = False
        self._waited_ns = 0  # the most that a message's last reading had to wait for its turn, since more became due

    def measure(self, waited_ns: int) -> None:
        """A message's last reading had to wait for so long."""
        self._waited_ns = max(self._waited_ns, waited_ns)

    def pace(self) -> None:
        """More has become due."""
        is_paired = self._waited_ns > self._interval_ns // (4 if self._is_paired else 2)
        self._waited_ns = 0
        if is_paired != self._is_paired:
            self._is_paired = is_paired
            for number, linger in enumerate(self._lingers):
                linger.pair(is_paired)
                linger.spread(number, len(self._lingers))
