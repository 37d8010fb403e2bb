"""How much light of a cloudless sky a PV system turns into power, at an instant and a place.

A chain of published models, each a function here: position of the sun, what a clear sky lets through, what of it
falls on a tilted plane, and what the glass reflects. Angles are in degrees, irradiance in W/m².
"""

from __future__ import annotations

from bisect import bisect
from functools import lru_cache
from math import acos, asin, atan2, cos, degrees, exp, pi, radians, sin, sqrt, tan
from typing import NamedTuple

from pvsim.models.days import DAY_S, YEAR_DAYS, on_day

SOLAR_CONSTANT = 1366.1
_GLASS_INDEX, _GLASS_ABSORPTION = 1.526, 4 * 0.002
ALBEDO = 0.25  # grass, and the usual assumption
AIR_TEMPERATURE_C = 20.0
_2000_S = 946_728_000  # 2000-01-01T12:00:00Z
_2025_S = 1_735_689_600  # 2025-01-01T00:00:00Z


class Site(NamedTuple):
    """Where a PV system stands and how it is mounted.

    `latitude`, `longitude`: degrees north and east; `elevation`: m above the sea; `tilt`: degrees from the
    horizontal; `azimuth`: degrees from north by east, so 180 faces south; `turbidity`: Linke turbidities, of the
    year or of each month.
    """

    latitude: float
    longitude: float
    elevation: float
    tilt: float
    azimuth: float
    turbidity: tuple[float, ...]


class Sky(NamedTuple):
    """Irradiance: `beam` on a plane that faces the sun, `diffuse` and `all` (both) on a horizontal one."""

    beam: float
    diffuse: float
    all: float


def sun_position(time_s: float, latitude: float, longitude: float) -> tuple[float, float]:
    """Zenith angle and azimuth of the centre of the sun, without refraction.

    PSA algorithm with the coefficients of 2020, valid from 2020 to 2050 to some 0.01°: Blanco, Milidonis, Bonanos,
    "Updating the PSA sun position algorithm", Solar Energy 212 (2020) 339.
    """
    days = (time_s - _2000_S) / DAY_S
    node = 2.267127827 - 9.300339267e-4 * days
    mean_longitude = 4.895036035 + 1.720279602e-2 * days
    anomaly = 6.239468336 + 1.720200135e-2 * days
    ecliptic_longitude = (
        mean_longitude + 3.338320972e-2 * sin(anomaly) + 3.497596876e-4 * sin(2 * anomaly)
        - 1.544353226e-4 - 8.689729360e-6 * sin(node)
    )  # fmt: skip
    obliquity = 4.090904909e-1 - 6.213605399e-9 * days + 4.418094944e-5 * cos(node)
    right_ascension = atan2(cos(obliquity) * sin(ecliptic_longitude), cos(ecliptic_longitude))
    declination = asin(sin(obliquity) * sin(ecliptic_longitude))
    greenwich_hours = 6.697096103 + 6.570984737e-2 * days + time_s % DAY_S / 3600
    hour_angle = radians(greenwich_hours * 15 + longitude) - right_ascension
    north_pole = radians(latitude)
    up = cos(north_pole) * cos(hour_angle) * cos(declination) + sin(declination) * sin(north_pole)
    north = sin(declination) * cos(north_pole) - cos(declination) * sin(north_pole) * cos(hour_angle)
    east = -cos(declination) * sin(hour_angle)
    zenith = acos(max(-1.0, min(1.0, up)))
    parallax = 6371.01 / 149_597_890 * sin(zenith)
    return degrees(zenith + parallax), degrees(atan2(east, north)) % 360


def pressure_ratio(elevation: float) -> float:
    """Air pressure relative to that at the sea, of the standard atmosphere."""
    ratio: float = ((44331.514 - elevation) / 11880.516) ** (1 / 0.1902632) / 1013.25
    return ratio


def refracted(zenith: float, pressure: float) -> float:
    """The zenith angle at which the sun is seen. Reda and Andreas, NREL/TP-560-34302 (2008), equation 42."""
    elevation = 90 - zenith
    if elevation < -0.84:
        return zenith
    bending = 1.02 / (60 * tan(radians(elevation + 10.3 / (elevation + 5.11))))
    return zenith - pressure * 1013.25 / 1010 * 283 / (273 + AIR_TEMPERATURE_C) * bending


def air_mass(zenith: float) -> float:
    """Relative air mass up to a zenith angle of 90°. Kasten and Young, Applied Optics 28 (1989) 4735."""
    mass: float = 1 / (cos(radians(zenith)) + 0.50572 * (96.07995 - zenith) ** -1.6364)
    return mass


def beyond_air(day_of_year: float) -> float:
    """Irradiance above the atmosphere on a plane that faces the sun. Spencer, Search 2 (1971) 172."""
    angle = 2 * pi * day_of_year / YEAR_DAYS
    return SOLAR_CONSTANT * (
        1.00011 + 0.034221 * cos(angle) + 0.00128 * sin(angle) + 0.000719 * cos(2 * angle) + 0.000077 * sin(2 * angle)
    )


def turbidity_on(day_of_year: float, monthly: tuple[float, ...]) -> float:
    """The Linke turbidity of a day."""
    return on_day(monthly, day_of_year)


def clear_sky(zenith: float, mass: float, extra: float, elevation: float, turbidity: float) -> Sky:
    """Ineichen and Perez, Solar Energy 73 (2002) 151, for the refracted zenith angle, below 90°.

    `mass`: the absolute air mass; `extra`: irradiance above the atmosphere.
    """
    up = cos(radians(zenith))
    low, high = exp(-elevation / 8000), exp(-elevation / 1250)
    global_1, global_2 = 5.09e-5 * elevation + 0.868, 3.92e-5 * elevation + 0.0387
    everything = global_1 * extra * up * exp(-global_2 * mass * (low + high * (turbidity - 1)))
    beam = extra * (0.664 + 0.163 / low) * exp(-0.09 * mass * (turbidity - 1))
    limit = everything * (1 - (0.1 - 0.2 * exp(-turbidity)) / (0.1 + 0.882 / low)) / up
    beam = min(beam, max(0.0, limit))
    return Sky(beam, everything - beam * up, everything)


# Clearness bins, and what the brightening around the sun and at the horizon is made of in each.
_PEREZ_BINS = (1.065, 1.23, 1.5, 1.95, 2.8, 4.5, 6.2)
_PEREZ = (
    (-0.008, 0.588, -0.062, -0.060, 0.072, -0.022),
    (0.130, 0.683, -0.151, -0.019, 0.066, -0.029),
    (0.330, 0.487, -0.221, 0.055, -0.064, -0.026),
    (0.568, 0.187, -0.295, 0.109, -0.152, -0.014),
    (0.873, -0.392, -0.362, 0.226, -0.462, 0.001),
    (1.132, -1.237, -0.412, 0.288, -0.823, 0.056),
    (1.060, -1.600, -0.359, 0.264, -1.127, 0.131),
    (0.678, -0.327, -0.250, 0.156, -1.377, 0.251),
)


def diffuse_on_plane(sky: Sky, zenith: float, cos_incidence: float, tilt: float, mass: float, extra: float) -> float:
    """What the sky alone sends to a tilted plane; `mass`: the relative air mass.

    Perez, Ineichen, Seals, Michalsky, Stewart, Solar Energy 44 (1990) 271, table 6.
    """
    if sky.diffuse <= 0:
        return 0.0
    angle = radians(zenith)
    cube = 1.041 * angle**3
    clearness = ((sky.diffuse + sky.beam) / sky.diffuse + cube) / (1 + cube)
    brightness = sky.diffuse * mass / extra
    f11, f12, f13, f21, f22, f23 = _PEREZ[bisect(_PEREZ_BINS, clearness)]
    around_sun = max(0.0, f11 + f12 * brightness + f13 * angle)
    at_horizon = f21 + f22 * brightness + f23 * angle
    slope = radians(tilt)
    ratio = max(0.0, cos_incidence) / max(cos(angle), cos(radians(85)))
    share = 0.5 * (1 - around_sun) * (1 + cos(slope)) + around_sun * ratio + at_horizon * sin(slope)
    return max(0.0, sky.diffuse * share)


def beam_through_glass(cos_incidence: float) -> float:
    """The share of the beam that gets through the glass, relative to one that falls on it at a right angle.

    De Soto, Klein, Beckman, Solar Energy 80 (2006) 78: Fresnel and Bouguer, glass of 2 mm, n = 1.526, 4 per m.
    """
    if cos_incidence <= 0:
        return 0.0
    cos_inside = sqrt(1 - (1 - cos_incidence**2) / _GLASS_INDEX**2)
    across = (cos_inside - _GLASS_INDEX * cos_incidence) / (cos_inside + _GLASS_INDEX * cos_incidence)
    along = (_GLASS_INDEX * cos_inside - cos_incidence) / (_GLASS_INDEX * cos_inside + cos_incidence)
    straight = 1 - ((_GLASS_INDEX - 1) / (_GLASS_INDEX + 1)) ** 2
    absorbed = exp(-_GLASS_ABSORPTION * (1 / cos_inside - 1))
    return absorbed * (1 - (across**2 + along**2) / 2) / straight


@lru_cache(maxsize=100)
def diffuse_through_glass(tilt: float) -> tuple[float, float]:
    """The shares of the light of the sky and of the ground that get through the glass of a tilted plane.

    Marion, "Numerical method for angle-of-incidence correction factors for diffuse radiation incident photovoltaic
    modules", Solar Energy 147 (2017) 344: `beam_through_glass`, averaged over what the plane sees of either.
    """
    slope, rings, parts = radians(tilt), 60, 60
    seen, passed = [0.0, 0.0], [0.0, 0.0]
    for ring in range(rings):
        angle = pi / 2 * (ring + 0.5) / rings
        for part in range(parts):
            around = pi * (part + 0.5) / parts
            is_ground = cos(angle) * cos(slope) + sin(angle) * cos(around) * sin(slope) < 0
            weight = sin(angle) * cos(angle)
            seen[is_ground] += weight
            passed[is_ground] += weight * beam_through_glass(cos(angle))
    sky, ground = (round(passed[each] / seen[each], 6) if seen[each] else 0.0 for each in (0, 1))
    return sky, ground


def diffuse_shares(tilt: float) -> tuple[float, float]:
    """What gets to the cells of light that comes evenly from the whole sky, and of all light by way of the ground."""
    of_sky, of_ground = diffuse_through_glass(tilt)
    slope = radians(tilt)
    return of_sky * (1 + cos(slope)) / 2, of_ground * ALBEDO * (1 - cos(slope)) / 2


class Light(NamedTuple):
    """What a cloudless sky gives a PV system, W/m²: by the glass, from `beam`, `sky` and `ground`.

    And what of it falls on a horizontal plane: `beam_flat`, and `all`; `even`: what its glass would get of the same
    diffuse light if it came evenly from the whole sky; `mass`: the relative air mass.
    """

    beam: float = 0.0
    sky: float = 0.0
    ground: float = 0.0
    beam_flat: float = 0.0
    all: float = 0.0
    even: float = 0.0
    mass: float = 0.0


def light(time_s: float, site: Site) -> Light:
    """The light of a cloudless sky on a PV system; its sum of `beam`, `sky` and `ground` is what the cells get."""
    zenith, azimuth = sun_position(time_s, site.latitude, site.longitude)
    pressure = pressure_ratio(site.elevation)
    zenith = refracted(zenith, pressure)
    if zenith >= 90:
        return Light()
    day_of_year = time_s / DAY_S % YEAR_DAYS
    extra, mass = beyond_air(day_of_year), air_mass(zenith)
    sky = clear_sky(zenith, mass * pressure, extra, site.elevation, turbidity_on(day_of_year, site.turbidity))
    slope, angle = radians(site.tilt), radians(zenith)
    towards = cos(slope) * cos(angle) + sin(slope) * sin(angle) * cos(radians(azimuth - site.azimuth))
    beam = sky.beam * max(0.0, towards) * beam_through_glass(towards)
    of_sky, _ = diffuse_through_glass(site.tilt)
    even, by_ground = diffuse_shares(site.tilt)
    return Light(
        beam,
        diffuse_on_plane(sky, zenith, towards, site.tilt, mass, extra) * of_sky,
        sky.all * by_ground,
        sky.beam * cos(angle),
        sky.all,
        sky.diffuse * even,
        mass,
    )


def effective_irradiance(time_s: float, site: Site) -> float:
    """The light that the cells of a PV system get from a cloudless sky."""
    parts = light(time_s, site)
    return parts.beam + parts.sky + parts.ground


@lru_cache(maxsize=100)
def clear_sky_clearness(latitude: float, elevation: float, turbidity: tuple[float, ...]) -> tuple[float, ...]:
    """The clearness index of each month under a cloudless sky: its radiation by that above the atmosphere.

    0 for a month in which the sun does not rise.
    """
    found, pressure = [], pressure_ratio(elevation)
    for month in range(12):
        day = (month + 0.5) / 12 * YEAR_DAYS
        received, offered = 0.0, 0.0
        for part in range(48):
            zenith, _ = sun_position(_2025_S + (int(day) + (part + 0.5) / 48) * DAY_S, latitude, 0.0)
            if zenith < 90:
                extra, mass = beyond_air(day), air_mass(zenith)
                received += clear_sky(zenith, mass * pressure, extra, elevation, turbidity_on(day, turbidity)).all
                offered += extra * cos(radians(zenith))
        found.append(round(received / offered, 6) if offered else 0.0)
    return tuple(found)
