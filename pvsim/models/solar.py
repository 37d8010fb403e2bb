"""The power that a PV system makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from pvsim.models import PowerModel
from pvsim.models.noise import uniform

_MILLIWATTS_PER_KW = 10**6


def random(seed: int, meter_id: str, peak_kw: Decimal) -> PowerModel:
    """Uniform over 0 … `peak_kw` in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "solar random")
    steps = int(peak_kw * _MILLIWATTS_PER_KW) + 1

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * steps >> 64 for number in numbers(instants_ns)]

    return power


MODELS: dict[str, Callable[[int, str, Decimal], PowerModel]] = {"random": random}


def model(name: str, seed: int, meter_id: str, peak_kw: Decimal) -> PowerModel:
    """The PV model of this name for the PV system beside one meter."""
    return MODELS[name](seed, meter_id, peak_kw)
