"""The models against those that the field trusts: PV against pvlib, load against the standard profile of demandlib.

    sh tests/run.sh models [--households N]

Prints tables of the clear sky, of households, and those of weather.py;
ends with status 1 if a figure is beyond its limit. Both libraries come from PyPI, and share no code
with pvsim. The unit tests hold some of these figures as literals; this computes all of them anew.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from statistics import correlation, fmean
from typing import Any, NamedTuple

import pandas as pd
import pvlib
from demandlib import bdew

from pvsim import config
from pvsim.models import PowerModel, load, solar, sunlight
from pvsim.models.temperature import spells
from tests.bench import weather

YEAR, BERLIN = 2025, "Europe/Berlin"
SECOND_NS, QUARTER_S = 10**9, 900
HOLIDAYS = [
    date(YEAR, *day) for day in ((1, 1), (4, 18), (4, 21), (5, 1), (5, 29), (6, 9), (10, 3), (12, 25), (12, 26))
]
HOURS = pd.date_range(f"{YEAR}-01-01T00:30Z", periods=8760, freq="h")


class Place(NamedTuple):
    """A site: degrees north and east, m above the sea, and some mountings (tilt, azimuth)."""

    name: str
    latitude: float
    longitude: float
    elevation: float
    mountings: tuple[tuple[float, float], ...]


PLACES = (
    Place("Oslo", 59.913, 10.752, 20, ((45, 180), (90, 180), (20, 270))),
    Place("Hamburg", 53.551, 9.994, 10, ((15, 90), (35, 180), (0, 180))),
    Place("Munich", 48.137, 11.575, 520, ((30, 180), (30, 90), (30, 270))),
    Place("Davos", 46.8, 9.83, 1590, ((60, 180), (30, 135), (90, 180))),
    Place("Madrid", 40.417, -3.703, 660, ((35, 225), (20, 180), (45, 90))),
    Place("Denver", 39.739, -104.99, 1610, ((90, 180), (40, 180), (10, 0))),
    Place("Singapore", 1.352, 103.82, 15, ((10, 180), (10, 0), (30, 90))),
    Place("Nairobi", -1.286, 36.817, 1795, ((0, 180), (15, 0), (15, 270))),
    Place("Cape Town", -33.925, 18.424, 25, ((30, 0), (30, 60), (60, 0))),
    Place("Sydney", -33.869, 151.209, 40, ((30, 0), (20, 315), (90, 0))),
)
ENERGY_PERCENT, HOUR_W, ZENITH_DEGREES = 1.0, 25.0, 0.02
CORRELATION, LOAD_PERCENT = 0.95, 2.0
VELANDER_KW = 0.00033 * 3500 + 0.05 * (3500 / 100) ** 0.5


def of_pvlib(place: Place, tilt: float, azimuth: float) -> Any:
    """W per kW at each of HOURS, by pvlib's best chain, with its own turbidities interpolated from day to day."""
    location = pvlib.location.Location(place.latitude, place.longitude, altitude=place.elevation)
    sun = location.get_solarposition(HOURS, temperature=20)
    sky = location.get_clearsky(HOURS, model="ineichen", solar_position=sun)
    beyond = pvlib.irradiance.get_extra_radiation(HOURS)
    zenith, sun_azimuth = sun["apparent_zenith"], sun["azimuth"]
    parts = pvlib.irradiance.get_total_irradiance(
        tilt, azimuth, zenith, sun_azimuth, sky["dni"], sky["ghi"], sky["dhi"], beyond, location.get_airmass(
            solar_position=sun)["airmass_relative"], model="perez",
    )  # fmt: skip
    incidence = pvlib.irradiance.aoi(tilt, azimuth, zenith, sun_azimuth)
    diffuse = pvlib.iam.marion_diffuse("physical", tilt)
    light = (
        parts["poa_direct"] * pvlib.iam.physical(incidence)
        + parts["poa_sky_diffuse"].fillna(0) * diffuse["sky"]
        + parts["poa_ground_diffuse"].fillna(0) * (diffuse["ground"] if tilt else 0)
    )
    cell = pvlib.temperature.sapm_cell(light, 20, 1, -3.56, -0.075, 3)
    dc = pvlib.pvsystem.pvwatts_dc(light, cell, 1000, -0.004) * (1 - 0.1408)
    return pvlib.inverter.pvwatts(dc, 1000 / 0.96).clip(lower=0).fillna(0)


def of_pvsim(place: Place, tilt: float, azimuth: float) -> list[float]:
    """The same by `clear-sky`, with pvlib's turbidity of each month."""
    months = pd.DatetimeIndex([f"{YEAR}-{month:02}-15" for month in range(1, 13)])
    turbidity = pvlib.clearsky.lookup_linke_turbidity(months, place.latitude, place.longitude, interp_turbidity=False)
    given = {
        **{name: config.PV[name].default for name in solar.MODELS["clear-sky"].keys},
        "latitude": place.latitude, "longitude": place.longitude, "elevation": place.elevation, "peak_kw": 1,
        "tilt": tilt, "azimuth": azimuth, "turbidity": " ".join(map(str, turbidity)),
    }  # fmt: skip
    power = solar.model(
        "clear-sky", 0, "Meter_0", **{name: config.PV[name].parse(str(text)) for name, text in given.items()}
    )
    return [milliwatts / 1000 for milliwatts in power([instant.value for instant in HOURS])]


def pv(place: Place) -> tuple[str, float, float, float]:
    """Of all mountings the worst: energy in %, an hour in W per kW; and of the true zenith angle, degrees."""
    energies, hours = [], []
    for tilt, azimuth in place.mountings:
        expected, found = list(of_pvlib(place, tilt, azimuth)), of_pvsim(place, tilt, azimuth)
        energies.append(100 * (sum(found) / sum(expected) - 1))
        hours.append(max(abs(one - two) for one, two in zip(found, expected, strict=True)))
    zeniths = pvlib.solarposition.spa_python(HOURS, place.latitude, place.longitude, place.elevation)["zenith"]
    angle = max(
        abs(sunlight.sun_position(instant.timestamp(), place.latitude, place.longitude)[0] - zenith)
        for instant, zenith in zeniths.items()
    )
    return place.name, max(energies, key=abs), max(hours), angle


def household(number: int) -> PowerModel:
    """The household of Meter_`number`, with the defaults."""
    keys = load.MODELS["household"].keys
    parameters = {name: config.METER[name].parse(config.METER[name].default) for name in keys}
    return load.model("household", 0, f"Meter_{number}", **parameters)


def quarters() -> Any:
    """The start of each quarter-hour of the year in local time."""
    return pd.date_range(f"{YEAR}-01-01", f"{YEAR + 1}-01-01", freq="15min", tz=BERLIN, inclusive="left")


def sums(samples: int, numbers: range) -> list[float]:
    """The sum of these households, W, for each quarter-hour, from so many instants in each."""
    step_s = QUARTER_S // samples
    starts = [instant.value // SECOND_NS for instant in quarters()]
    total = [0.0] * len(starts)
    for number in numbers:
        offset_s = number * 37 % step_s
        instants = [(start + offset_s + at) * SECOND_NS for start in starts for at in range(0, QUARTER_S, step_s)]
        values = household(number)(instants)
        for place in range(len(starts)):
            total[place] += fmean(values[place * samples : (place + 1) * samples]) / 1000
    return total


def h0() -> list[float]:
    """The dynamised profile H0 of 3,500 kWh, W, for each quarter-hour: it goes by the clock on the wall."""
    profile = bdew.ElecSlp(YEAR, holidays=HOLIDAYS).get_scaled_profiles({"h0_dyn": 3500.0})["h0_dyn"]
    clock = quarters().tz_localize(None)
    return [float(profile.iloc[place]) * 4000 for place in (clock - clock[0]) // pd.Timedelta("15min")]


def peak_kw(first: int) -> float:
    """The highest quarter-hour of a hundred households in the evenings of the coldest days of winter, kW of each."""
    cold = spells(0, 48.137, 11.575)
    new_year = pd.Timestamp(f"{YEAR}-01-01").value // (86400 * SECOND_NS)
    days = sorted(
        [*range(new_year, new_year + 59), *range(new_year + 304, new_year + 365)], key=lambda day: cold(24 * day + 12)
    )
    total: dict[int, float] = {}
    for number in range(first, first + 100):
        home = household(number)
        for quarter in (day * 96 + part for day in days[:6] for part in range(62, 86)):
            minutes = [(quarter * QUARTER_S + second) * SECOND_NS for second in range(0, QUARTER_S, 60)]
            total[quarter] = total.get(quarter, 0.0) + fmean(home(minutes)) / 1e8
    return max(total.values())


def main() -> int:
    """The command; 1 if a figure is beyond its limit."""
    parser = argparse.ArgumentParser(prog="tests/run.sh models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--households", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=3, help="instants in each quarter-hour and household")
    options = parser.parse_args()
    is_good = True
    print(f"{'clear-sky and pvlib ' + pvlib.__version__:<32}{'energy, %':>12}{'worst hour, W/kW':>20}{'zenith, °':>12}")
    with ProcessPoolExecutor() as pool:
        for name, energy, hour, zenith in pool.map(pv, PLACES):
            print(f"{name:<32}{energy:>+12.2f}{hour:>20.1f}{zenith:>12.4f}")
            is_good &= abs(energy) <= ENERGY_PERCENT and hour <= HOUR_W and zenith <= ZENITH_DEGREES
        chunks = [range(first, min(first + 10, options.households)) for first in range(0, options.households, 10)]
        total = [sum(each) for each in zip(*pool.map(partial(sums, options.samples), chunks), strict=True)]
    expected = h0()
    found = [each / options.households for each in total]
    agreement, energy = correlation(found, expected), 100 * (sum(found) / sum(expected) - 1)
    print(f"\n{options.households} households and H0 of demandlib: correlation {agreement:.4f}, energy {energy:+.2f} %")
    with ProcessPoolExecutor() as pool:
        peak = fmean(pool.map(peak_kw, range(0, 400, 100)))
    print(f"peak of a quarter-hour of 100 households: {peak:.2f} kW each; Velander {VELANDER_KW:.2f}")
    is_good &= abs(peak / VELANDER_KW - 1) < 0.1
    is_good &= weather.show()
    return int(not is_good or agreement < CORRELATION or abs(energy) > LOAD_PERCENT)


if __name__ == "__main__":
    raise SystemExit(main())
