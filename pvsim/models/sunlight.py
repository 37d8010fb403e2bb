"""How much light of a cloudless sky a PV system turns into power, at an instant and a place.

A chain of published models, each a function here: position of the sun, what a clear sky lets through, what of it
falls on a tilted plane, and what the glass reflects. Angles are in degrees, irradiance in W/m².
"""

from __future__ import annotations

from bisect import bisect
from math import acos, asin, atan2, cos, degrees, exp, pi, radians, sin, sqrt, tan
from typing import NamedTuple

SOLAR_CONSTANT = 1366.1
_GLASS_INDEX, _GLASS_ABSORPTION = 1.526, 4 * 0.002
ALBEDO = 0.25  # grass, and the usual assumption
AIR_TEMPERATURE_C = 20.0
YEAR_DAYS = 365.2425
_DAY_S = 86400
_2000_S = 946_728_000  # 2000-01-01T12:00:00Z


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
    days = (time_s - _2000_S) / _DAY_S
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
    greenwich_hours = 6.697096103 + 6.570984737e-2 * days + time_s % _DAY_S / 3600
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
    """The Linke turbidity of a day: each value is that of the middle of its part of the year."""
    place = day_of_year / YEAR_DAYS * len(monthly) - 0.5
    before = int(place // 1)
    part = place - before
    low, high = monthly[before % len(monthly)], monthly[(before + 1) % len(monthly)]
    return low + (high - low) * part


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


def effective_irradiance(time_s: float, site: Site) -> float:
    """The light that the cells of a PV system get from a cloudless sky."""
    zenith, azimuth = sun_position(time_s, site.latitude, site.longitude)
    pressure = pressure_ratio(site.elevation)
    zenith = refracted(zenith, pressure)
    if zenith >= 90:
        return 0.0
    day_of_year = time_s / _DAY_S % YEAR_DAYS
    extra, mass = beyond_air(day_of_year), air_mass(zenith)
    sky = clear_sky(zenith, mass * pressure, extra, site.elevation, turbidity_on(day_of_year, site.turbidity))
    slope, angle = radians(site.tilt), radians(zenith)
    towards = cos(slope) * cos(angle) + sin(slope) * sin(angle) * cos(radians(azimuth - site.azimuth))
    beam = sky.beam * max(0.0, towards) * beam_through_glass(towards)
    ground = sky.all * ALBEDO * (1 - cos(slope)) / 2
    return beam + diffuse_on_plane(sky, zenith, towards, site.tilt, mass, extra) + ground
