"""What varies slowly over time and place: the weather of days, a function of seed, place and hour.

A sum of plane waves, each with a direction and a length in space and a period of its own, all drawn from the seed. So
the weather is as smooth over the Earth as over time, there are no borders in it, and no rhythm: two places differ
the more the further they are apart, two days the more the longer. Values are about normally distributed, with mean 0
and standard deviation 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import atan, cos, log, pi, radians, sin, sqrt, tan
from typing import NamedTuple

from pvsim.models.noise import Fractions

_WAVES = 64
_EARTH_KM = 6371.0
# How far places are alike; together some 0.87 of the variance at 200 km, 0.5 at 550 km, 0.25 at 1000 km.
_REACH_KM = (250.0, 500.0, 1000.0)


class Rhythm(NamedTuple):
    """How fast it changes: hours until two instants are alike by 1/e only, and its shortest and longest period.

    The longest keeps the mean of a month near the climate's.
    """

    memory_h: float
    shortest_h: float
    longest_h: float


class _Wave(NamedTuple):
    """Radians an hour, radians a km towards x, y and z from the centre of the Earth, and radians at the start."""

    per_hour: float
    per_km: tuple[float, float, float]
    start: float


@lru_cache(maxsize=16)
def _waves(seed: int, purpose: str, rhythm: Rhythm) -> tuple[_Wave, ...]:
    """Periods as those of a process that forgets exponentially (a Lorentz spectrum), one of each part of it."""
    draw = Fractions(seed, "", purpose)
    slow, fast = (atan(2 * pi / period * rhythm.memory_h) for period in (rhythm.longest_h, rhythm.shortest_h))
    found = []
    for number in range(_WAVES):
        part, *drawn, start = (draw(8 * number + each) for each in range(6))
        per_hour = tan(slow + (fast - slow) * (number + part) / _WAVES) / rhythm.memory_h
        reach_km = _REACH_KM[number % len(_REACH_KM)]
        x, y = _normals(drawn[0], drawn[1])
        z, _ = _normals(drawn[2], drawn[3])
        found.append(_Wave(round(per_hour, 12), (x / reach_km, y / reach_km, z / reach_km), 2 * pi * start))
    return tuple(found)


def _normals(one: float, two: float) -> tuple[float, float]:
    """Two normally distributed numbers from two uniform ones. Box and Muller, Ann. Math. Stat. 29 (1958) 610."""
    far = sqrt(-2 * log(1 - one))
    return far * cos(2 * pi * two), far * sin(2 * pi * two)


@lru_cache(maxsize=256)
def _at(seed: int, purpose: str, rhythm: Rhythm, latitude: float, longitude: float) -> tuple[tuple[float, float], ...]:
    """Radians an hour and radians at the start, of each wave at this place; places are shared by many meters."""
    north, east = radians(latitude), radians(longitude)
    x, y, z = (_EARTH_KM * each for each in (cos(north) * cos(east), cos(north) * sin(east), sin(north)))
    return tuple(
        (wave.per_hour, round(wave.start + wave.per_km[0] * x + wave.per_km[1] * y + wave.per_km[2] * z, 9))
        for wave in _waves(seed, purpose, rhythm)
    )


def waves(seed: int, purpose: str, rhythm: Rhythm, latitude: float, longitude: float) -> Callable[[float], float]:
    """A function of hours since 1970: the state of the weather at this place."""
    here, scale = _at(seed, purpose, rhythm, latitude, longitude), sqrt(2 / _WAVES)
    return lambda hour: round(scale * sum(cos(speed * hour + phase) for speed, phase in here), 6)
