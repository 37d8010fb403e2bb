"""The power that a household draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pvsim.models import Model, PowerModel
from pvsim.models.noise import uniform

MAX_LOAD_MILLIWATTS = 9_000_000


def random(seed: int, meter_id: str) -> PowerModel:
    """Uniform over 0 … 9000 W in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "load random")

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * (MAX_LOAD_MILLIWATTS + 1) >> 64 for number in numbers(instants_ns)]

    return power


MODELS = {"random": Model(random)}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The load model of this name for one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
