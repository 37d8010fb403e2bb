"""The power that a PV system makes.

`clear-sky` and `weather` compute the light once a minute and the clouds every eight seconds; what is between is
interpolated, by less than 0.1 W a kW. From the light, each instant has its own cell temperature, DC and AC power.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import exp
from typing import Any

from pvsim.models import Model, PowerModel
from pvsim.models.clouds import clear_sky_index
from pvsim.models.noise import Curve, between, uniform
from pvsim.models.replay import KEYS, replay
from pvsim.models.sunlight import AIR_TEMPERATURE_C, Site, effective_irradiance

_MILLIWATTS_PER_KW = 10**6
_LIGHT_STEP_S = 60

_WIND_M_S = 1.0
_PER_KELVIN = -0.004  # of the DC power, crystalline silicon
_NOMINAL, _REFERENCE = 0.96, 0.9637  # efficiency of the inverter


def random(seed: int, meter_id: str, peak_kw: Decimal) -> PowerModel:
    """Uniform over 0 … `peak_kw` in steps of 1 mW, each instant on its own."""
    numbers = uniform(seed, meter_id, "solar random")
    steps = int(peak_kw * _MILLIWATTS_PER_KW) + 1

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [number * steps >> 64 for number in numbers(instants_ns)]

    return power


def clear_sky(
    seed: int,  # noqa: ARG001 - all models are made alike
    meter_id: str,  # noqa: ARG001
    peak_kw: Decimal,
    inverter_kw: Decimal | None,
    losses: float,
    **site: Any,
) -> PowerModel:
    """Under a cloudless sky; the same for all meters and seeds, except where their keys differ.

    `site`: the fields of Site. `inverter_kw`: None for as much as `peak_kw`; `losses`: % of the DC power.
    """
    light, convert = _light(Site(**site)), _converter(peak_kw, inverter_kw, losses)

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [convert(irradiance) for irradiance in light(instants_ns)]

    return power


def weather(
    seed: int, meter_id: str, peak_kw: Decimal, inverter_kw: Decimal | None, losses: float, **site: Any
) -> PowerModel:
    """As `clear_sky`, with clouds."""
    light, convert = _light(Site(**site)), _converter(peak_kw, inverter_kw, losses)
    clouds = clear_sky_index(seed, meter_id, site["latitude"], site["longitude"])

    def power(instants_ns: Sequence[int]) -> list[int]:
        return [
            convert(irradiance * index)
            for irradiance, index in zip(light(instants_ns), clouds(instants_ns), strict=True)
        ]

    return power


def _light(site: Site) -> Curve:
    """Effective irradiance; rounded at its nodes, since sin and exp differ in the last bit between machines."""
    return between(lambda minute: round(effective_irradiance(minute * _LIGHT_STEP_S, site), 4), _LIGHT_STEP_S * 10**9)


def _converter(peak_kw: Decimal, inverter_kw: Decimal | None, losses: float) -> Callable[[float], int]:
    """From effective irradiance, W/m², to AC power, mW.

    Cell temperature: King, Boyson, Kratochvil, SAND2004-3535 (2004), open rack, glass and polymer. DC power and
    inverter: Dobos, PVWatts version 5, NREL/TP-6A20-62641 (2014).
    """
    heating = round(exp(-3.56 - 0.075 * _WIND_M_S) + 3 / 1000, 9)  # K per W/m²
    dc_mw = float(peak_kw) * _MILLIWATTS_PER_KW / 1000 * (1 - losses / 100)  # per W/m²
    ac_most_mw = int((inverter_kw or peak_kw) * _MILLIWATTS_PER_KW)
    dc_most_mw = ac_most_mw / _NOMINAL

    def convert(irradiance: float) -> int:
        load = irradiance * dc_mw * (1 + _PER_KELVIN * (AIR_TEMPERATURE_C - 25 + heating * irradiance)) / dc_most_mw
        power_mw = _NOMINAL / _REFERENCE * ((0.9858 - 0.0162 * load) * load - 0.0059) * dc_most_mw
        return min(int(power_mw), ac_most_mw) if power_mw > 0 else 0

    return convert


_PANEL = ("peak_kw", "inverter_kw", "losses", "latitude", "longitude", "elevation", "tilt", "azimuth", "turbidity")
MODELS = {
    "random": Model(random, ("peak_kw",)),
    "clear-sky": Model(clear_sky, _PANEL),
    "weather": Model(weather, _PANEL),
    "replay": Model(replay, KEYS),
}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The PV model of this name for the PV system beside one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
