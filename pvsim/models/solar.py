"""The power that a PV system makes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pvsim.models import Model, PowerModel
from pvsim.models.noise import uniform

_MILLIWATTS_PER_KW = 10**6


def random(seed: int, meter_id: str, peak_kw: Decimal) -> PowerModel:
    """Uniform over 0 … `peak_kw` in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "solar random")
    steps = int(peak_kw * _MILLIWATTS_PER_KW) + 1

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * steps >> 64 for number in numbers(instants_ns)]

    return power


MODELS = {"random": Model(random, ("peak_kw",))}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The PV model of this name for the PV system beside one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
