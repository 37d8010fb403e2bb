"""The power that a PV system makes.

`clear-sky` and `weather` compute the light once a minute and the clouds every eight seconds; what is between is
interpolated, by less than 0.1 W a kW. From the light, each instant has its own cell temperature, DC and AC power.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from math import exp
from typing import Any, NamedTuple

from pvsim.instants import SECOND_NS
from pvsim.models import Model, PowerModel
from pvsim.models.beam import beam_share, beam_shares
from pvsim.models.clouds import STEP_S, index_nodes
from pvsim.models.days import of_hemisphere
from pvsim.models.noise import Curve, between, uniform
from pvsim.models.replay import KEYS, replay
from pvsim.models.sunlight import (
    AIR_TEMPERATURE_C,
    Site,
    clear_sky_clearness,
    diffuse_shares,
    effective_irradiance,
    light,
)
from pvsim.models.temperature import air_temperature, monthly_c

_MILLIWATTS_PER_KW = 10**6
_LIGHT_STEP_S = 60

# How much warmer than the air a cell is, K per W/m². Of `clear-sky`: King, Boyson, Kratochvil, SAND2004-3535 (2004),
# open rack, glass and polymer, 1 m/s. Of `weather`: Faiman, Progress in Photovoltaics 16 (2008) 307, with what Koehl et
# al., Solar Energy Materials and Solar Cells 95 (2011) 1638, found for silicon, at 3 m/s, as PVGIS has it.
_CALM_HEATING, _HEATING = round(exp(-3.56 - 0.075 * 1) + 3 / 1000, 9), round(1 / (26.92 + 6.24 * 3), 9)
_SPECTRUM = 1.01  # what silicon makes of daylight, to that of the laboratory: PVGIS's "spectral effects", 0.6 to 1.6 %
_PER_KELVIN = -0.004  # of the DC power, crystalline silicon
MUNICH_CLEARNESS = (0.36, 0.40, 0.44, 0.46, 0.46, 0.46, 0.48, 0.48, 0.45, 0.40, 0.35, 0.33)
_POLAR_NIGHT = 0.5  # the index of a month without sun, which no one sees

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
    """Under a cloudless sky at 20 °C; the same for all meters and seeds, except where their keys differ.

    `site`: the fields of Site. `inverter_kw`: None for as much as `peak_kw`; `losses`: % of the DC power.
    """
    irradiances, most_mw = _light(Site(**site)), _most_mw(inverter_kw or peak_kw)
    ac_power = _converter(peak_kw, inverter_kw, losses, _CALM_HEATING)

    def power(instants_ns: Sequence[int]) -> list[int]:
        return _within(most_mw, [ac_power(irradiance, AIR_TEMPERATURE_C) for irradiance in irradiances(instants_ns)])

    return power


def weather(
    seed: int,
    meter_id: str,
    peak_kw: Decimal,
    inverter_kw: Decimal | None,
    losses: float,
    clearness: tuple[float, ...] | None = None,
    temperature: tuple[float, ...] | None = None,
    temperature_swing: float = 9.0,
    **site: Any,
) -> PowerModel:
    """As `clear_sky`, with clouds, and at the temperature of the place.

    `clearness`, `temperature`: of the year or of each month, None for Munich's; `temperature_swing`: K.
    """
    place = Site(**site)
    north, east = place.latitude, place.longitude
    air = air_temperature(seed, north, east, monthly_c(temperature, north), temperature_swing)
    index = index_nodes(seed, meter_id, north, east, sky_of(clearness, place))
    minutes = _minutes(place, between(air, 3600 * SECOND_NS))
    ac_power = _converter(peak_kw, inverter_kw, losses, _HEATING, _SPECTRUM)
    curve = between(_under_clouds(place, minutes, index, ac_power), STEP_S * SECOND_NS)
    most_mw = _most_mw(inverter_kw or peak_kw)

    def power(instants_ns: Sequence[int]) -> list[int]:
        return _within(most_mw, curve(instants_ns))

    return power


def _within(most_mw: int, powers_mw: list[float]) -> list[int]:
    """What the inverter gives of it."""
    return [(int(each) if each < most_mw else most_mw) if each > 0 else 0 for each in powers_mw]


def _light(site: Site) -> Curve:
    """Effective irradiance; rounded at its nodes, since sin and exp differ in the last bit between machines."""
    return between(lambda minute: round(effective_irradiance(minute * _LIGHT_STEP_S, site), 4), _LIGHT_STEP_S * 10**9)


def sky_of(clearness: tuple[float, ...] | None, site: Site) -> tuple[float, ...]:
    """The mean clear-sky index of each month, from clearness indices of the year or of each month."""
    given = clearness or of_hemisphere(MUNICH_CLEARNESS, site.latitude)
    clear = clear_sky_clearness(site.latitude, site.elevation, site.turbidity)
    return tuple(
        round(given[month % len(given)] / most, 6) if most else _POLAR_NIGHT for month, most in enumerate(clear)
    )


class _Minute(NamedTuple):
    """The light of a cloudless sky, W/m²: of the beam on the cells and on a horizontal plane, and `all` on the latter.

    `uneven`: what share of the diffuse light gets to the cells, beyond the share of a sky that is equally bright
    everywhere. `air_c`: °C. `mass`: the relative air mass.
    """

    beam: float
    beam_flat: float
    all: float
    uneven: float
    air_c: float
    mass: float


def _minutes(site: Site, air: Curve) -> Callable[[int], _Minute]:
    """The light at each minute since 1970; rounded, since sin and exp differ in the last bit between machines."""

    @lru_cache(maxsize=2)  # of a run of minutes, each is computed once
    def node(minute: int) -> _Minute:
        seen = light(minute * _LIGHT_STEP_S, site)
        uneven = (seen.sky - seen.even) / (seen.all - seen.beam_flat) if seen.all > seen.beam_flat else 0.0
        air_c = air([minute * _LIGHT_STEP_S * SECOND_NS])[0]
        return _Minute(*(round(each, 6) for each in (seen.beam, seen.beam_flat, seen.all, uneven, air_c, seen.mass)))

    return node


def _under_clouds(
    site: Site, minutes: Callable[[int], _Minute], index: Callable[[int], float], ac_power: Callable[..., float]
) -> Callable[[int], float]:
    """The AC power at each multiple of STEP_S, mW, as if the inverter had no limit.

    Beam and sky each fall on the plane in their own way: the sky is brighter towards the sun as far as there is a beam.
    """
    even, ground = (round(each, 6) for each in diffuse_shares(site.tilt))
    night, steps = ac_power(0.0, 0.0), _LIGHT_STEP_S // STEP_S

    @lru_cache(maxsize=1)
    def from_minute(minute: int) -> tuple[Any, ...]:
        """How much of the beam clouds leave then, a minute's numbers, and their slopes up to the next minute."""
        now, later = minutes(minute), minutes(minute + 1)
        slopes = [(two - one) / steps for one, two in zip(now, later, strict=True)]
        return beam_shares(now.mass or later.mass), *now, *slopes

    def node(step: int) -> float:
        minute, part = divmod(step, steps)
        shares, beam_0, flat_0, all_0, uneven_0, air_0, _, beam_1, flat_1, all_1, uneven_1, air_1, _ = from_minute(
            minute
        )
        flat = all_0 + part * all_1
        if flat <= 0:
            return night
        left = index(step)
        beam = beam_share(left, shares)
        flat *= left
        sky = flat - beam * (flat_0 + part * flat_1)
        irradiance = (
            beam * (beam_0 + part * beam_1) + sky * (even + beam * (uneven_0 + part * uneven_1)) + flat * ground
        )
        return ac_power(irradiance, air_0 + part * air_1)

    return node


def _most_mw(kw: Decimal) -> int:
    return int(kw * _MILLIWATTS_PER_KW)


def _converter(
    peak_kw: Decimal, inverter_kw: Decimal | None, losses: float, heating: float, spectrum: float = 1.0
) -> Callable[[float, float], float]:
    """From effective irradiance, W/m², and air temperature, °C, to AC power, mW: as if the inverter had no limit.

    Dobos, PVWatts version 5, NREL/TP-6A20-62641 (2014). `heating`: of the cells, K per W/m²; `spectrum`: their power
    under this light to that under the light of the laboratory.
    """
    dc_mw = float(peak_kw) * _MILLIWATTS_PER_KW / 1000 * (1 - losses / 100) * spectrum  # per W/m²
    dc_most_mw = _most_mw(inverter_kw or peak_kw) / _NOMINAL

    def ac_power(irradiance: float, air_c: float) -> float:
        load = irradiance * dc_mw * (1 + _PER_KELVIN * (air_c - 25 + heating * irradiance)) / dc_most_mw
        return _NOMINAL / _REFERENCE * ((0.9858 - 0.0162 * load) * load - 0.0059) * dc_most_mw

    return ac_power


_CLIMATE = ("clearness", "temperature", "temperature_swing")
_PANEL = ("peak_kw", "inverter_kw", "losses", "latitude", "longitude", "elevation", "tilt", "azimuth", "turbidity")
MODELS = {
    "random": Model(random, ("peak_kw",)),
    "clear-sky": Model(clear_sky, _PANEL),
    "weather": Model(weather, _PANEL + _CLIMATE),
    "replay": Model(replay, KEYS),
}


def model(name: str, seed: int, meter_id: str, **parameters: Any) -> PowerModel:
    """The PV model of this name for the PV system beside one meter; `parameters` are its keys' values, all of them."""
    return MODELS[name].make(seed, meter_id, **parameters)
