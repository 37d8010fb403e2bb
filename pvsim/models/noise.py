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


def uniform(seed: int, meter_id: str, purpose: str) -> Uniform:
    """A function of instants (ns since the epoch) that gives each its number, uniform over 0 … 2**64 - 1.

    `seed`: a signed 64-bit number; `purpose`: at most 16 ASCII characters.
    """
    start = blake2b(meter_id.encode(), key=seed.to_bytes(8, "little", signed=True), person=purpose.encode())

    def block(number: int, part_ns: int) -> tuple[int, ...]:
        digest = start.copy()
        digest.update(_BLOCK.pack(number, part_ns))
        return _NUMBERS.unpack(digest.digest())

    def numbers(instants_ns: Sequence[int]) -> list[int]:
        if _are_successive_seconds(instants_ns):
            return of_seconds(instants_ns[0] // SECOND_NS, len(instants_ns))
        found, at = [], None
        lanes: tuple[int, ...] = ()
        for instant in instants_ns:
            second, part_ns = divmod(instant, SECOND_NS)
            key = (second // _LANES, part_ns)
            if key != at:
                at, lanes = key, block(*key)
            found.append(lanes[second % _LANES])
        return found

    def of_seconds(first: int, count: int) -> list[int]:
        found: list[int] = []
        for number in range(first // _LANES, (first + count - 1) // _LANES + 1):
            found += block(number, 0)
        return found[first % _LANES : first % _LANES + count]

    return numbers


def _are_successive_seconds(instants_ns: Sequence[int]) -> bool:
    if len(instants_ns) < _LANES or instants_ns[0] % SECOND_NS:
        return False
    seconds = range(instants_ns[0], instants_ns[0] + len(instants_ns) * SECOND_NS, SECOND_NS)
    return instants_ns == seconds if isinstance(instants_ns, range) else all(map(eq, instants_ns, seconds))


def fractions(seed: int, meter_id: str, purpose: str) -> Callable[[int], float]:
    """A function of whole numbers that gives each its own number, uniform from 0 up to and without 1."""
    numbers = uniform(seed, meter_id, purpose)
    return lambda index: (numbers([index * SECOND_NS])[0] >> 11) / (1 << 53)


def between(node: Callable[[int], float], step_ns: int, is_level: bool = False) -> Curve:
    """A function of instants: `node(i)` at i × `step_ns`, linear in between, or level at the nodes.

    The two nodes around the last instant are kept, so that a run of instants computes each node once.
    """
    at, low, high = -1, 0.0, 0.0

    def values(instants_ns: Sequence[int]) -> list[float]:
        nonlocal at, low, high
        found = []
        for instant in instants_ns:
            index, part_ns = divmod(instant, step_ns)
            if index != at:
                low = high if index == at + 1 and at >= 0 else node(index)
                at, high = index, node(index + 1)
            part = part_ns / step_ns
            found.append(low + (high - low) * (part * part * (3 - 2 * part) if is_level else part))
        return found

    return values
