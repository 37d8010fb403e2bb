"""Tables of the weather, for tests/bench/models.py: places, clouds, days and distances, and each kind of light."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, radians
from statistics import correlation, fmean, pstdev
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pvlib

from pvsim import config
from pvsim.models import PowerModel, clouds, solar, sunlight
from pvsim.models.days import DAY_S
from pvsim.models.waves import waves
from tests.bench.places import ASIDE, CLIMATES, Aside, Climate

YEAR, START_S, SECOND_NS = 2025, 1_735_689_600, 10**9  # 2025-01-01T00:00:00Z
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MUNICH = sunlight.Site(48.137, 11.575, 520, 30, 180, config.PV["turbidity"].parse(config.PV["turbidity"].default))
YEARS, QUARTERS = 4, 96
PLACE_PERCENT, ROOF_PERCENT, FACADE_PERCENT = 7.0, 8.0, 13.0  # how far from PVGIS, and from pvlib


def power(**given: Any) -> PowerModel:
    """The model `weather` of 1 kW at Munich, except for what is given."""
    texts = {name: config.PV[name].default for name in solar.MODELS["weather"].keys} | {"peak_kw": 1} | given
    values = {name: config.PV[name].parse(str(text)) for name, text in texts.items()}
    return solar.model("weather", 0, "Meter_0", **values)


def mean_days(latitude: float) -> Any:
    """Each quarter of an hour of the middle day of each month at 0° E: the sun, and the light beyond the air, W/m².

    `flat`: of it, on a horizontal plane; `shape`: what of a day's light arrives then, in proportion: Collares-Pereira
    and Rabl 1979; `sunset`: the hour angle, radians.
    """
    times = pd.DatetimeIndex([f"{YEAR}-{month:02}-15" for month in range(1, 13)], tz="UTC").repeat(QUARTERS)
    times += pd.to_timedelta(np.tile(np.arange(QUARTERS) * 900 + 450, 12), unit="s")
    sun = pvlib.solarposition.get_solarposition(times, latitude, 0)
    sun["height"] = np.cos(np.radians(sun["zenith"])).clip(lower=0)
    sun["beyond"] = pvlib.irradiance.get_extra_radiation(times)
    sun["flat"] = sun["beyond"] * sun["height"]
    sun["sunset"] = pi * (sun["height"] > 0).groupby(times.month).transform("mean").to_numpy()
    hour = np.radians(pvlib.solarposition.hour_angle(times, 0, sun["equation_of_time"]))
    turned = np.sin(sun["sunset"] - pi / 3)
    shape = sun["flat"] * (0.409 + 0.5016 * turned + (0.6609 - 0.4767 * turned) * np.cos(hour))
    sun["shape"] = shape * daily(sun["flat"]).repeat(QUARTERS) / daily(shape).repeat(QUARTERS)
    return sun


def daily(light: Any) -> Any:
    """The sum of each of twelve days, kWh/m²."""
    return light.to_numpy().reshape(12, QUARTERS).sum(axis=1) * 24 / QUARTERS / 1000


def on_plane(climate: Climate, sun: Any, indices: Any) -> Any:
    """kWh/m² a day on the plane of the PV system in each month with such a clearness index.

    The diffuse part is that of Erbs, Klein and Duffie 1982 for months, the sky that of Hay and Davies 1980.
    """
    index = indices.repeat(QUARTERS)
    is_winter = sun["sunset"].to_numpy() < radians(81.4)
    powers = np.where(is_winter[:, None], (1.391, -3.56, 4.189, -2.137), (1.311, -3.022, 3.427, -1.821))
    received = sun["shape"] * index
    diffuse = (sun["flat"] * index * (powers * index[:, None] ** np.arange(4)).sum(axis=1)).clip(upper=received)
    direct = ((received - diffuse) / sun["height"].clip(lower=0.02)).clip(upper=sun["beyond"])
    light = pvlib.irradiance.get_total_irradiance(
        climate.tilt, climate.azimuth, sun["apparent_zenith"], sun["azimuth"], direct, received, diffuse,
        sun["beyond"], model="haydavies",
    )  # fmt: skip
    return daily(light["poa_global"].fillna(0))


def clearness(climate: Climate) -> Any:
    """The clearness index of each month: that with which the plane receives what PVGIS says of it."""
    sun, wanted = mean_days(climate.latitude), np.array(climate.light) / MONTH_DAYS
    indices = (wanted / daily(sun["flat"])).clip(0.05, 0.85)
    for _ in range(0 if climate.is_flat else 12):
        indices = (indices * (wanted / on_plane(climate, sun, indices)) ** 0.7).clip(0.05, 0.85)
    return indices


def place(climate: Climate) -> tuple[float, float]:
    """What a place yields in a year, kWh, and by how many percent that differs from what PVGIS says of it."""
    middles = pd.DatetimeIndex([f"{YEAR}-{month:02}-15" for month in range(1, 13)])
    turbidity = pvlib.clearsky.lookup_linke_turbidity(
        middles, climate.latitude, climate.longitude, interp_turbidity=False
    )
    model = power(
        turbidity=" ".join(map(str, turbidity)),
        latitude=climate.latitude, longitude=climate.longitude, elevation=climate.elevation, tilt=climate.tilt,
        azimuth=climate.azimuth, clearness=" ".join(f"{each:.3f}" for each in clearness(climate)),
        temperature=" ".join(map(str, climate.temperature)), temperature_swing=10,
    )  # fmt: skip
    seconds = range(START_S, START_S + YEARS * 365 * DAY_S, 7207)
    energy = sum(model([second * SECOND_NS for second in seconds])) * seconds.step / 3.6e9 / YEARS
    return energy, 100 * (energy / climate.energy - 1)


def mean_indices(covers: Sequence[float], seeds: int = 20, samples: int = 2000) -> list[float]:
    """The mean clear-sky index under each cover: clouds.MEAN_INDICES and MEAN_COVERS."""
    depths = []
    for seed in range(seeds):
        weather = waves(seed, "clouds cover", clouds.WEATHER, 48.0, 11.0)
        layers = [clouds.layer(seed, number, 1e6 + 7000.0 * seed, *each) for number, each in enumerate(clouds.PATTERN)]
        for step in range(850_000_000, 850_000_000 + samples * 14_023, 14_023):
            swing = clouds.COVER_SWING * weather(step * clouds.STEP_S / 3600)
            depths.append(swing - sum(layer(step) for layer in layers))
    haze = 1 - clouds.HAZE / 2
    return [haze * fmean(clouds.index_at(cover + depth) for depth in depths) for cover in covers]


def broken_hours() -> dict[str, tuple[float, float]]:
    """Percent of seconds and changes in broken hours; ours, and those of HOPE at Melpitz on 2013-09-08."""
    hours = []
    for seed in range(4):
        index = clouds.clear_sky_index(seed, "Meter_0", 51.5, 12.9)
        for day in range(0, 365, 4):
            first = START_S + day * DAY_S + 11 * 3600
            values = index(range(first * SECOND_NS, (first + 3600) * SECOND_NS, SECOND_NS))
            if 0.7 < fmean(values) < 0.95 and pstdev(values) > 0.2:
                hours.append(values)
    seconds = [value for hour in hours for value in hour]
    found = {
        "0.5 to 0.95": (100 * fmean(0.5 < each < 0.95 for each in seconds), 55.0),
        "above 1.15": (100 * fmean(each > 1.15 for each in seconds), 27.0),
        "above 1.3": (100 * fmean(each > 1.3 for each in seconds), 7.5),
    }
    for apart, limit, expected in ((10, 0.1, 27.0), (10, 0.25, 8.0), (60, 0.1, 49.0), (60, 0.5, 8.0)):
        changes = [abs(two - one) for hour in hours for one, two in zip(hour, hour[apart:], strict=False)]
        found[f"changes in {apart} s above {limit}"] = 100 * fmean(each > limit for each in changes), expected
    return found


def days(latitude: float, longitude: float, meter_id: str = "Meter_0", count: int = 1095) -> list[float]:
    """The mean index of days between 8 h and 16 h under the sky of Munich."""
    index = clouds.clear_sky_index(0, meter_id, latitude, longitude, solar.sky_of(None, MUNICH))
    mornings = range(START_S + 7 * 3600, START_S + count * DAY_S, DAY_S)
    return [fmean(index([(start + part) * SECOND_NS for part in range(0, 8 * 3600, 600)])) for start in mornings]


class Plane(NamedTuple):
    """A mounting (degrees from the horizontal, and from the equator by west), and what it makes in these hours, kWh/kW.

    `ours`; `expected`: by Erbs, Perez and Faiman of pvlib, from the same light on a horizontal plane.
    """

    tilt: float
    turned: float
    ours: float
    expected: float


MOUNTINGS = ((0, 0), (15, 90), (15, -90), (30, 0), (30, 180), (45, 0), (60, 0), (90, 0))


def planes(aside: Aside, seconds: Sequence[int], is_overcast: bool = False) -> list[Plane]:
    """Each of MOUNTINGS at these seconds, or at those of them at which the sky is thickly clouded."""
    site = sunlight.Site(aside.latitude, aside.longitude, aside.elevation, 0, 180, MUNICH.turbidity)
    sky = solar.sky_of((aside.clearness,), site)
    indices = clouds.clear_sky_index(0, "Meter_0", site.latitude, site.longitude, sky)(
        [second * SECOND_NS for second in seconds]
    )
    kept = [(second, each) for second, each in zip(seconds, indices, strict=True) if each < 0.3 or not is_overcast]
    times = pd.to_datetime([second for second, _ in kept], unit="s", utc=True)
    sun = pvlib.location.Location(site.latitude, site.longitude, altitude=site.elevation).get_solarposition(times)
    zenith, extra = sun["apparent_zenith"], pvlib.irradiance.get_extra_radiation(times)
    received = pd.Series([sunlight.light(second, site).all * each for second, each in kept], times)
    erbs = pvlib.irradiance.erbs(received, zenith, times)
    mass = pvlib.atmosphere.get_relative_airmass(zenith)
    hours = (max(seconds) - min(seconds)) / (len(seconds) - 1) / 3600
    found = []
    for tilt, turned in MOUNTINGS:
        azimuth = ((180 if site.latitude > 0 else 0) + turned) % 360
        parts = pvlib.irradiance.get_total_irradiance(
            tilt, azimuth, zenith, sun["azimuth"], erbs["dni"], received, erbs["dhi"], extra, mass, model="perez"
        ).fillna(0)  # fmt: skip
        glass, dim = (
            pvlib.iam.physical(pvlib.irradiance.aoi(tilt, azimuth, zenith, sun["azimuth"])),
            pvlib.iam.marion_diffuse("physical", tilt),
        )
        light = parts["poa_direct"] * glass + dim["sky"] * parts["poa_sky_diffuse"]
        light += (dim["ground"] if tilt else 0) * parts["poa_ground_diffuse"]
        cell = pvlib.temperature.faiman(light, aside.temperature, 3, 26.92, 6.24)
        dc = pvlib.pvsystem.pvwatts_dc(light, cell, 1000, -0.004) * 0.8592 * 1.01
        expected = pvlib.inverter.pvwatts(dc, 1000 / 0.96).clip(lower=0).fillna(0).sum()
        model = power(
            latitude=site.latitude, longitude=site.longitude, elevation=site.elevation, tilt=tilt, azimuth=azimuth,
            clearness=aside.clearness, temperature=aside.temperature, temperature_swing=0,
        )  # fmt: skip
        ours = sum(model([second * SECOND_NS for second, _ in kept])) / 1000
        found.append(Plane(tilt, turned, *(hours / 1000 * float(each) for each in (ours, expected))))
    return found


def show_planes() -> bool:
    """The tables of mountings; False if a year of one differs too much."""
    is_good = True
    december = range(START_S + 334 * DAY_S + 450, START_S + 365 * DAY_S, 900)
    munich = Aside("Munich", MUNICH.latitude, MUNICH.longitude, MUNICH.elevation, 0.43, 10)
    print(f"\n{'overcast in December, kWh/kW':<32}{'ours':>12}{'Erbs, Perez':>12}")
    for each in planes(munich, december, is_overcast=True):
        print(f"{f'{each.tilt}°, turned by {each.turned}°':<32}{each.ours:>12.2f}{each.expected:>12.2f}")
    print(
        f"\n{'a year beside Erbs and Perez, %':<32}"
        + "".join(f"{f'{tilt}, {turned}':>9}" for tilt, turned in MOUNTINGS)
    )
    for aside in (munich, *ASIDE):
        found = planes(aside, range(START_S + 1800, START_S + 365 * DAY_S, 3600))
        percents = [100 * (each.ours / each.expected - 1) for each in found]
        print(f"{aside.name:<32}" + "".join(f"{each:>+9.1f}" for each in percents))
        *roofs, facade = map(abs, percents)
        is_good &= max(roofs) <= ROOF_PERCENT and facade <= FACADE_PERCENT
    return is_good


def show() -> bool:
    """Print the tables; False if a place is beyond its limit."""
    print("\nmean index by cover: " + " ".join(f"{each:.3f}" for each in mean_indices(clouds.MEAN_COVERS)))
    print("held by clouds.py:   " + " ".join(f"{each:.3f}" for each in clouds.MEAN_INDICES))
    print(f"\n{'broken hours, %':<32}{'ours':>12}{'HOPE':>12}")
    for name, (ours, measured) in broken_hours().items():
        print(f"{name:<32}{ours:>12.1f}{measured:>12.1f}")
    own = days(48.137, 11.575)
    above, below, dark = (fmean(map(each, own)) for each in ((0.8).__lt__, (0.35).__gt__, (0.18).__gt__))
    print(
        f"\ndays at Munich: above 0.8 {above:.2f}, below 0.35 {below:.2f}, below 0.18 {dark:.3f}, least {min(own):.2f},"
        f" correlation from day to day {correlation(own[1:], own[:-1]):.2f}"
    )
    for north in (0.02, 0.9, 1.8, 4.5, 9.0):
        other = days(48.137 + north, 11.575, "Meter_1")
        print(f"{north * 111:>6.0f} km away: correlation of days {correlation(own, other):.2f}")
    is_good = show_planes()
    print(f"\n{'a year, kWh/kW':<32}{'climate':<28}{'tilt, °':>8}{'ours':>8}{'PVGIS':>8}{'differ, %':>12}")
    for each in CLIMATES:
        energy, percent = place(each)
        print(f"{each.name:<32}{each.kind:<28}{each.tilt:>8}{energy:>8.0f}{each.energy:>8.0f}{percent:>+12.1f}")
        is_good &= abs(percent) <= PLACE_PERCENT
    return is_good


if __name__ == "__main__":
    raise SystemExit(not show())
