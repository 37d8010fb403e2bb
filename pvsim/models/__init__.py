"""What is simulated: pure functions of (seed, meter id, instant). No I/O, no clock, no broker, no files.

A model is made once per meter and then asked for any instants: `power(instants_ns) -> milliwatts`, both lists
of integers. It keeps nothing that changes an answer, so it may be asked in any order, on any machine, any
number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

PowerModel = Callable[[Sequence[int]], list[int]]
