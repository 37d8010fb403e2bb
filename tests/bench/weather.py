"""Tables of the weather, for tests/bench/models.py: places, clouds, days and distances, and each kind of light."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians
from statistics import correlation, fmean, pstdev
from typing import Any, NamedTuple

import pandas as pd
import pvlib

from pvsim import config
from pvsim.models import PowerModel, clouds, solar, sunlight
from pvsim.models.days import DAY_S
from pvsim.models.waves import waves
from tests.bench.places import ASIDE, CLIMATES, Aside, Climate

START_S, SECOND_NS = 1_735_689_600, 10**9  # 2025-01-01T00:00:00Z
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MUNICH = sunlight.Site(48.137, 11.575, 520, 30, 180, config.PV["turbidity"].parse(config.PV["turbidity"].default))
YEARS = 4
PLACE_PERCENT, ROOF_PERCENT, FACADE_PERCENT = 7.0, 7.0, 13.0  # how far from PVGIS, and from pvlib


def power(**given: Any) -> PowerModel:
    """The model `weather` of 1 kW at Munich, except for what is given."""
    texts = {name: config.PV[name].default for name in solar.MODELS["weather"].keys} | {"peak_kw": 1} | given
    values = {name: config.PV[name].parse(str(text)) for name, text in texts.items()}
    return solar.model("weather", 0, "Meter_0", **values)


def beyond(latitude: float) -> list[float]:
    """kWh/m² of each month on a horizontal plane above the atmosphere."""
    found, day = [], 0
    for days in MONTH_DAYS:
        middle = START_S + (day + days // 2) * DAY_S
        zeniths = [sunlight.sun_position(middle + part * 900, latitude, 0.0)[0] for part in range(96)]
        extra = sunlight.beyond_air(day + days / 2)
        found.append(sum(max(0.0, cos(radians(zenith))) for zenith in zeniths) * extra / 4000 * days)
        day += days
    return found


def place(climate: Climate) -> tuple[str, float, float]:
    """What a place yields in a year, kWh, and by how many percent that differs from what is said of it."""
    months = zip(climate.radiation, beyond(climate.latitude), strict=True)
    indices = [min(0.85, max(0.05, received / offered)) if offered > 3 else 0.3 for received, offered in months]
    middles = pd.DatetimeIndex([f"2025-{month:02}-15" for month in range(1, 13)])
    turbidity = pvlib.clearsky.lookup_linke_turbidity(
        middles, climate.latitude, climate.longitude, interp_turbidity=False
    )
    model = power(
        turbidity=" ".join(map(str, turbidity)),
        latitude=climate.latitude, longitude=climate.longitude, elevation=climate.elevation, tilt=climate.tilt,
        azimuth=180 if climate.latitude > 0 else 0, clearness=" ".join(f"{each:.3f}" for each in indices),
        temperature=" ".join(map(str, climate.temperature)), temperature_swing=10,
    )  # fmt: skip
    seconds = range(START_S, START_S + YEARS * 365 * DAY_S, 7207)
    energy = sum(model([second * SECOND_NS for second in seconds])) * seconds.step / 3.6e9 / YEARS
    return climate.name, energy, 100 * (energy / fmean(climate.energy) - 1)


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
    print(f"\ndays at Munich: above 0.8 {fmean(each > 0.8 for each in own):.2f}, below 0.35"
          f" {fmean(each < 0.35 for each in own):.2f}, least {min(own):.2f}, correlation from day to day"
          f" {correlation(own[1:], own[:-1]):.2f}")  # fmt: skip
    for north in (0.02, 0.9, 1.8, 4.5, 9.0):
        other = days(48.137 + north, 11.575, "Meter_1")
        print(f"{north * 111:>6.0f} km away: correlation of days {correlation(own, other):.2f}")
    is_good = show_planes()
    print(f"\n{'a year, kWh/kW':<32}{'ours':>12}{'PVGIS':>14}{'differ, %':>12}")
    for climate in CLIMATES:
        name, energy, percent = place(climate)
        print(f"{name:<32}{energy:>12.0f}{'{}–{}'.format(*climate.energy):>14}{percent:>+12.1f}")
        is_good &= abs(percent) <= PLACE_PERCENT
    return is_good


if __name__ == "__main__":
    raise SystemExit(not show())
