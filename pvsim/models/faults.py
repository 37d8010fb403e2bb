"""A meter that misbehaves, on purpose.

Each kind of fault has its times, which depend on seed, meter id, kind and instant alone; so each reading's fate does,
too: whether there is one, what it says, and with which instant, its slot, it is sent. Progress counts slots. After any
crash the same slots send the same again, in the same order, and nothing has to be kept of what is late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pvsim.instants import END_NS, SECOND_NS, Span
from pvsim.models import PowerModel
from pvsim.models.noise import uniform

WHOLE = 10**8  # of a chance, or of a gain

Times = Callable[[int], Span | None]
"""The time around an instant in which a fault is there, None if it is not."""


class Periods(NamedTuple):
    """The first `length_ns` of each `period_ns` since the epoch, with a chance of `chance` / WHOLE."""

    period_ns: int
    length_ns: int
    chance: int = WHOLE


class Fault(NamedTuple):
    """When a kind of fault is there, and how great it is: mW, ns, readings, or parts of WHOLE."""

    when: Periods | tuple[Span, ...]
    size: int = 0


Faults = Mapping[str, Fault]  # by kind


class Given(NamedTuple):
    """What is sent: the reading of an instant, with the time that it says it is of, and its power in mW."""

    instant_ns: int
    time_ns: int
    milliwatts: int


class _Order:
    """When the readings of a meter are sent, and with which time: dropout, late, shuffle and clock."""

    def __init__(self, seed: int, meter_id: str, interval_ns: int, faults: Faults) -> None:
        self._interval_ns = interval_ns
        find = partial(_find, faults, seed, meter_id)
        self._dropout, self._late = find("dropout"), find("late")
        self._shuffle, self._clock = find("shuffle"), find("clock")
        self._clock_ns = _size(faults, "clock")
        self.late_ns = -(-_size(faults, "late") // interval_ns) * interval_ns
        self.shuffled = _size(faults, "shuffle")
        self._places = uniform(seed, meter_id, "fault place")

    def is_dropped(self, instant_ns: int) -> bool:
        """Whether there is no reading of this instant."""
        return self._dropout(instant_ns) is not None

    def time_ns(self, instant_ns: int) -> int:
        """The time that the reading of this instant says it is of."""
        time_ns = instant_ns + self._clock_ns
        return time_ns if self._clock(instant_ns) and 0 <= time_ns < END_NS else instant_ns

    def slot_ns(self, instant_ns: int) -> int:
        """With the readings of which instant the reading of this one is sent."""
        if self._late(instant_ns):
            return instant_ns + self.late_ns
        if self._shuffle(instant_ns):
            return instant_ns + _between(0, self.shuffled, self._places([instant_ns])[0]) * self._interval_ns
        return instant_ns

    def is_displaced(self, instant_ns: int) -> bool:
        """Whether its reading may stand among others: sent later, or with a wrong time."""
        return self.slot_ns(instant_ns) != instant_ns or self.time_ns(instant_ns) != instant_ns

    def origins(self, time_ns: int) -> list[int]:
        """The instants whose readings say this time: none, one or two."""
        instants = dict.fromkeys((time_ns, time_ns - self._clock_ns))
        return [instant for instant in instants if self._is_reading(instant) and self.time_ns(instant) == time_ns]

    def _is_reading(self, instant: int) -> bool:
        return instant >= 0 and instant % self._interval_ns == 0 and not self.is_dropped(instant)


class Faulty(_Order):
    """A meter with faults. `power`: what its readings say; `true_power`: what they would say without faults.

    reach_ns: how much later than its instant a reading is sent, at most.
    """

    def __init__(self, seed: int, meter_id: str, interval_ns: int, true_power: PowerModel, faults: Faults) -> None:
        super().__init__(seed, meter_id, interval_ns, faults)
        self.true_power = true_power
        self.power = distorted(true_power, seed, meter_id, faults)
        self.reach_ns = max(self.late_ns, self.shuffled * interval_ns)
        self._meter_id = meter_id
        self._duplicate = _find(faults, seed, meter_id, "duplicate")
        self._rubbish = _find(faults, seed, meter_id, "rubbish")
        self._kinds = uniform(seed, meter_id, "fault rubbish is")

    def sent(self, slots: range) -> list[int]:
        """The instants of the readings that these slots send, in that order: the newest of a slot first."""
        return [-place for _, place in self._places_in(slots)]

    def sequence(self, slots: range) -> Iterator[Given | bytes]:
        """All that these slots send, in that order: readings, some of them twice, and bodies that are rubbish."""
        places = self._places_in(slots)
        instants = [-place for _, place in places]
        given = dict(
            zip(instants, map(Given, instants, map(self.time_ns, instants), self.power(instants)), strict=True)
        )
        rubbish = [(slot, 1) for slot in slots if self._rubbish(slot)]
        for slot, place in sorted([*places, *rubbish]):
            if place == 1:
                yield self._rubbish_body(slot)
            else:
                yield given[-place]
                if self._duplicate(-place):
                    yield given[-place]

    def _places_in(self, slots: range) -> list[tuple[int, int]]:
        """Slot and negative instant of each reading that these slots send, sorted."""
        first, end, step = slots.start, slots.stop, self._interval_ns
        instants = {
            *range(max(0, first - self.shuffled * step), end, step),
            *range(max(0, first - self.late_ns), max(0, end - self.late_ns), step),
        }
        places = [(self.slot_ns(instant), -instant) for instant in instants if not self.is_dropped(instant)]
        return sorted(place for place in places if first <= place[0] < end)

    def _rubbish_body(self, slot: int) -> bytes:
        bodies = _rubbish(self._meter_id, slot // SECOND_NS)
        return bodies[_between(0, len(bodies) - 1, self._kinds([slot])[0])]


def _rubbish(meter_id: str, time_s: int) -> tuple[bytes, ...]:
    """Bodies that are no reading: what broken meters, gateways and proxies are known to send."""
    texts = (
        "",
        f'{{"meter_id": "{meter_id}", "value": 1',
        f'{{"meter_id": "{meter_id}", "time_s": {time_s}}}',
        f'{{"meter_id": "{meter_id}", "value": "n/a", "time_s": {time_s}}}',
        f'{{"meter_id": "{meter_id}", "value": null, "time_s": {time_s}}}',
        f'{{"meter_id": "{meter_id}", "value": NaN, "time_s": {time_s}}}',
        f'{{"meter_id": "", "value": 1, "time_s": {time_s}}}',
        f'{{"meter_id": "{meter_id}", "value": 1, "time_s": -1}}',
        "<html><body>502 Bad Gateway</body></html>",
        "ERR 17",
        "[]",
    )
    return (*(text.encode() for text in texts), b"\x00\xff\xfe\x00\x80")


# What the readings say. A change is made to a power in mW at an instant, in the span of the fault.

Change = Callable[[int, int, Span], int]


def distorted(power: PowerModel, seed: int, meter_id: str, faults: Faults) -> PowerModel:
    """What a meter measures of `power`, mW: stuck, then drift, offset, noise and spike, one after the other."""
    stuck = _find(faults, seed, meter_id, "stuck")
    changes = [
        (_find(faults, seed, meter_id, kind), change(_size(faults, kind), seed, meter_id))
        for kind, change in _CHANGES.items()
        if kind in faults
    ]

    def measure(instants_ns: Sequence[int]) -> list[int]:
        instants = [span[0] if (span := stuck(instant)) else instant for instant in instants_ns]
        values = list(power(instants))
        for find, change in changes:
            spans = map(find, instants)
            values = [
                change(value, instant, span) if span else value
                for value, instant, span in zip(values, instants, spans, strict=True)
            ]
        return values

    return measure


def _drift(gain: int, _seed: int, _meter_id: str) -> Change:
    def change(milliwatts: int, instant: int, span: Span) -> int:
        start, end = span
        return milliwatts + milliwatts * gain * (instant - start) // ((end - start) * WHOLE)

    return change


def _offset(size: int, _seed: int, _meter_id: str) -> Change:
    return lambda milliwatts, _instant, _span: milliwatts + size


def _noise(size: int, seed: int, meter_id: str) -> Change:
    numbers = uniform(seed, meter_id, "fault noise w")
    return lambda milliwatts, instant, _span: milliwatts + _between(-size, size, numbers([instant])[0])


def _spike(size: int, seed: int, meter_id: str) -> Change:
    numbers = uniform(seed, meter_id, "fault spike w")

    def change(milliwatts: int, instant: int, _span: Span) -> int:
        height, is_low = divmod(numbers([instant])[0], 2)
        spike = _between(size - size // 2, size, height << 1)
        return milliwatts - spike if is_low else milliwatts + spike

    return change


_CHANGES = {"drift": _drift, "offset": _offset, "noise": _noise, "spike": _spike}


def _between(low: int, high: int, number: int) -> int:
    """A whole number from `low` to `high`, as a uniform number of 64 bits has it."""
    return low + (number * (high - low + 1) >> 64)


# When.


def _find(faults: Faults, seed: int, meter_id: str, kind: str) -> Times:
    if kind not in faults:
        return lambda _instant: None
    when = faults[kind].when
    return _in_periods(when, seed, meter_id, kind) if isinstance(when, Periods) else _in_spans(when)


def _size(faults: Faults, kind: str) -> int:
    return faults[kind].size if kind in faults else 0


def _in_periods(periods: Periods, seed: int, meter_id: str, kind: str) -> Times:
    numbers = uniform(seed, meter_id, f"fault {kind}")
    at, span = -1, (0, 0)

    def find(instant: int) -> Span | None:
        nonlocal at, span
        index = instant // periods.period_ns
        if index != at:
            at, start = index, index * periods.period_ns
            is_on = numbers([index * SECOND_NS])[0] * WHOLE < periods.chance << 64
            span = (start, start + periods.length_ns) if is_on else (start, start)
        return span if instant < span[1] else None

    return find


def _in_spans(spans: Sequence[Span]) -> Times:
    return lambda instant: next((span for span in spans if span[0] <= instant < span[1]), None)
