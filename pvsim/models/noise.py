"""(seed, id, purpose, instant) → uniform numbers, and what varies smoothly: the only source of chance in pvsim.

A keyed blake2b (RFC 7693) of id and instant; the seed is the key, the purpose the personalisation, so that
two purposes never share a number. One digest holds eight 64-bit numbers: eight successive whole seconds take one
each, which makes a run of seconds cheap without any state.

What varies in time is drawn, or computed, at nodes of a coarse grid and interpolated between them. Between two
nodes there is nothing but additions and multiplications, which give the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import eq
from struct import Struct

from pvsim.instants import SECOND_NS

_LANES = 8
_BLOCK = Struct("<qI")
_NUMBERS = Struct("<8Q")

Uniform = Callable[[Sequence[int]], list[int]]
Curve = Callable[[Sequence[int]], list[float]]


def _start(seed: int, meter_id: str, purpose: str) -> blake2b:
    return blake2b(meter_id.encode(), key=seed.to_bytes(8, "little", signed=True), person=purpose.encode())


def _block(start: blake2b, number: int, part_ns: int) -> tuple[int, ...]:
    """The numbers of eight seconds from second 8 × `number` on, each at this part of it."""
    digest = start.copy()
    digest.update(_BLOCK.pack(number, part_ns))
    return _NUMBERS.unpack(digest.digest())


def uniform(seed: int, meter_id: str, purpose: str) -> Uniform:
    """A function of instants (ns since the epoch) that gives each its number, uniform over 0 … 2**64 - 1.

    `seed`: a signed 64-bit number; `purpose`: at most 16 ASCII characters.
    """
    start = _start(seed, meter_id, purpose)

    def numbers(instants_ns: Sequence[int]) -> list[int]:
        if _are_successive_seconds(instants_ns):
            return of_seconds(instants_ns[0] // SECOND_NS, len(instants_ns))
        found, at = [], None
        lanes: tuple[int, ...] = ()
        for instant in instants_ns:
            second, part_ns = divmod(instant, SECOND_NS)
            key = (second // _LANES, part_ns)
            if key != at:
                at, lanes = key, _block(start, *key)
            found.append(lanes[second % _LANES])
        return found

    def of_seconds(first: int, count: int) -> list[int]:
        found: list[int] = []
        for number in range(first // _LANES, (first + count - 1) // _LANES + 1):
            found += _block(start, number, 0)
        return found[first % _LANES : first % _LANES + count]

    return numbers


def _are_successive_seconds(instants_ns: Sequence[int]) -> bool:
    if len(instants_ns) < _LANES or instants_ns[0] % SECOND_NS:
        return False
    seconds = range(instants_ns[0], instants_ns[0] + len(instants_ns) * SECOND_NS, SECOND_NS)
    return instants_ns == seconds if isinstance(instants_ns, range) else all(map(eq, instants_ns, seconds))


class Fractions:
    """A function of whole numbers that gives each its own number, uniform from 0 up to and without 1.

    It is made of the number that `uniform` has for that second. The last block is kept, for a run of numbers.
    """

    __slots__ = ("_lanes", "_number", "_start")

    def __init__(self, seed: int, meter_id: str, purpose: str) -> None:
        self._start = _start(seed, meter_id, purpose)
        self._number: int | None = None
        self._lanes: tuple[int, ...] = ()

    def __call__(self, index: int) -> float:
        number, lane = divmod(index, _LANES)
        if number != self._number:
            self._number, self._lanes = number, _block(self._start, number, 0)
        return (self._lanes[lane] >> 11) / (1 << 53)


class Pair:
    """A node, `low` at `at`, and how much higher the next one is: `rise`. A run of moves computes each node once."""

    __slots__ = ("_high", "_node", "at", "low", "rise")

    def __init__(self, node: Callable[[int], float]) -> None:
        self._node = node
        self.at: int | None = None
        self.low = self.rise = self._high = 0.0

    def move(self, at: int) -> None:
        """Have another node at `low`."""
        self.low = self._high if self.at is not None and at == self.at + 1 else self._node(at)
        self.at, self._high = at, self._node(at + 1)
        self.rise = self._high - self.low


def between(node: Callable[[int], float], step_ns: int) -> Curve:
    """A function of instants: `node(i)` at i × `step_ns`, and linear in between."""
    pair = Pair(node)

    def values(instants_ns: Sequence[int]) -> list[float]:
        found = []
        for instant in instants_ns:
            index, part_ns = divmod(instant, step_ns)
            if index != pair.at:
                pair.move(index)
            found.append(pair.low + pair.rise * (part_ns / step_ns))
        return found

    return values
