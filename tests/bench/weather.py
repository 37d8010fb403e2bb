"""Tables of the weather, for tests/bench/models.py: places, clouds, days and distances, and each kind of light."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians
from statistics import correlation, fmean, pstdev
from typing import Any

import pandas as pd
import pvlib

from pvsim import config
from pvsim.models import PowerModel, clouds, solar, sunlight
from pvsim.models.days import DAY_S
from pvsim.models.waves import waves
from tests.bench.places import CLIMATES, Climate

START_S, SECOND_NS = 1_735_689_600, 10**9  # 2025-01-01T00:00:00Z
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MUNICH = sunlight.Site(48.137, 11.575, 520, 30, 180, config.PV["turbidity"].parse(config.PV["turbidity"].default))
PLACE_PERCENT = 7.0


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
    step_s = 2400
    values = model([second * SECOND_NS for second in range(START_S, START_S + 365 * DAY_S, step_s)])
    energy = sum(values) * step_s / 3.6e12 * 1000
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


def kinds_of_light(december: bool) -> dict[str, tuple[float, float]]:
    """kWh/kW of mountings at Munich under the overcast of December or in a year: ours, and by Erbs and Perez."""
    first = 334 if december else 0
    seconds = range(START_S + first * DAY_S + 450, START_S + 365 * DAY_S, 900 if december else 3600)
    index = clouds.clear_sky_index(0, "Meter_0", MUNICH.latitude, MUNICH.longitude, solar.sky_of(None, MUNICH))
    indices = index([second * SECOND_NS for second in seconds])
    kept = [(second, each) for second, each in zip(seconds, indices, strict=True) if each < 0.3 or not december]
    times = pd.DatetimeIndex([pd.Timestamp(second, unit="s", tz="UTC") for second, _ in kept])
    sun = pvlib.location.Location(MUNICH.latitude, MUNICH.longitude, altitude=MUNICH.elevation).get_solarposition(times)
    zenith = sun["apparent_zenith"]
    received = pd.Series([sunlight.light(second, MUNICH).all * each for second, each in kept], times)
    erbs = pvlib.irradiance.erbs(received, zenith, times)
    air_mass = pvlib.atmosphere.get_relative_airmass(zenith)
    extra = pvlib.irradiance.get_extra_radiation(times)
    found = {}
    for name, tilt, azimuth in (
        ("south 30°", 30, 180),
        ("north 30°", 30, 0),
        ("façade south", 90, 180),
        ("flat", 0, 180),
    ):
        parts = pvlib.irradiance.get_total_irradiance(
            tilt, azimuth, zenith, sun["azimuth"], erbs["dni"], received, erbs["dhi"], extra, air_mass, model="perez"
        )
        glass = pvlib.iam.physical(pvlib.irradiance.aoi(tilt, azimuth, zenith, sun["azimuth"]))
        light = parts["poa_direct"].fillna(0) * glass + 0.955 * parts["poa_diffuse"].fillna(0)
        dc = pvlib.pvsystem.pvwatts_dc(
            light, pvlib.temperature.sapm_cell(light, 9.7, 3, -3.56, -0.075, 3), 1000, -0.004
        )
        expected = pvlib.inverter.pvwatts(dc * 0.8592, 1000 / 0.96).clip(lower=0).fillna(0).sum()
        ours = sum(power(tilt=tilt, azimuth=azimuth)([second * SECOND_NS for second, _ in kept])) / 1000
        found[name] = ours * seconds.step / 3.6e6, float(expected) * seconds.step / 3.6e6
    return found


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
    for december in (True, False):
        print(
            f"\n{'overcast in December, kWh/kW' if december else 'the year, kWh/kW':<32}{'ours':>12}{'Erbs, Perez':>12}"
        )
        for name, (ours, expected) in kinds_of_light(december).items():
            print(f"{name:<32}{ours:>12.2f}{expected:>12.2f}")
    is_good = True
    print(f"\n{'a year, kWh/kW':<32}{'ours':>12}{'PVGIS':>14}{'differ, %':>12}")
    for climate in CLIMATES:
        name, energy, percent = place(climate)
        print(f"{name:<32}{energy:>12.0f}{'{}–{}'.format(*climate.energy):>14}{percent:>+12.1f}")
        is_good &= abs(percent) <= PLACE_PERCENT
    return is_good


if __name__ == "__main__":
    raise SystemExit(not show())
