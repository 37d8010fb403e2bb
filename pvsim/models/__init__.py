"""What is simulated: pure functions of (seed, meter id, instant). No I/O, no clock, no broker, no files.

A model is made once per meter and then asked for any instants: `power(instants_ns) -> milliwatts`, both lists
of integers. It keeps nothing that changes an answer, so it may be asked in any order, on any machine, any
number of times.

`load` and `solar` each have a table of their models. A further model is a function there, and its keys in the
table of pvsim/config/tables.py if no other model has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

PowerModel = Callable[[Sequence[int]], list[int]]


class Model(NamedTuple):
    """`make(seed, meter_id, **parameters)` gives the PowerModel of one meter; `keys` names the parameters."""

    make: Callable[..., PowerModel]
    keys: tuple[str, ...] = ()
