"""What the clouds let through: the clear-sky index, 1 under a clear sky, a function of place and instant.

Two things that vary smoothly decide. `cover` is the weather: over days and hours, how much of the sky is clouded.
`field` is the pattern that drifts past: a two-dimensional noise with features from 20 km down to 80 m, carried by
a wind of 10 m/s. Where the field is below the cover there is cloud, the darker the further below. So a clear day, an
overcast one and broken clouds with their sharp, bright edges are the same formula.

All PV systems of one seed within a degree of latitude and longitude are under the same sky; each stands somewhere in
an area of 3 km × 3 km, and sees the same clouds sooner or later than its neighbours, and not quite the same edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sqrt

from pvsim.models.noise import Curve, between, fractions

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
STEP_NS = 8 * SECOND_NS  # of the finest features
WIND_M_S = 10.0
AREA_M = 3000.0
_YEAR_NS = 365.2425 * 24 * HOUR_NS

# Period and weight. Three days are the distance of one depression from the next.
_WEATHER = ((72 * HOUR_NS, 0.50), (21 * HOUR_NS, 0.32), (5 * HOUR_NS, 0.18))
_PATTERN = ((256 * STEP_NS, 0.46), (64 * STEP_NS, 0.36), (16 * STEP_NS, 0.20), (4 * STEP_NS, 0.05), (STEP_NS, 0.02))
# The cover: its mean above that of the pattern, how far the weather swings, and how much worse January is.
_MEAN_COVER, _COVER_SWING, _WINTER_COVER = 0.06, 1.7, 0.13

# The index by depth: how far the field is below the cover. Above it there is blue sky, brightest beside a cloud.
_DEPTHS = (-0.200, -0.008, 0.005, 0.250, 0.750)
_INDICES = (1.0, 1.15, 0.50, 0.37, 0.17)
_HAZE = 0.04  # how much the air, apart from clouds, takes away at most


def clear_sky_index(seed: int, meter_id: str, latitude: float, longitude: float) -> Curve:
    """The index over the PV system beside one meter."""
    place = f"{round(latitude)} {round(longitude)}"
    where = fractions(seed, meter_id, "clouds where")
    delay_ns = round(where(0) * AREA_M / WIND_M_S * SECOND_NS)
    depth = between(_depth(seed, place, where(1) * AREA_M), STEP_NS)
    haze = between(fractions(seed, place, "clouds haze"), 20 * HOUR_NS, is_level=True)

    def index(instants_ns: Sequence[int]) -> list[float]:
        shifted = [instant + delay_ns for instant in instants_ns]
        return [(1 - _HAZE * thick) * index_at(deep) for deep, thick in zip(depth(shifted), haze(shifted), strict=True)]

    return index


def index_at(depth: float) -> float:
    """The index where the pattern is so far below the cover."""
    if depth <= _DEPTHS[0]:
        return _INDICES[0]
    for place in range(1, len(_DEPTHS)):
        if depth < _DEPTHS[place]:
            before = place - 1
            part = (depth - _DEPTHS[before]) / (_DEPTHS[place] - _DEPTHS[before])
            return _INDICES[before] + part * (_INDICES[place] - _INDICES[before])
    return _INDICES[-1]


def _depth(seed: int, place: str, across_m: float) -> Callable[[int], float]:
    """Cover minus pattern at each multiple of STEP_NS, on the line that is `across_m` beside the wind."""
    weather = [
        (between(fractions(seed, place, f"cover {number}"), period_ns, is_level=True), weight)
        for number, (period_ns, weight) in enumerate(_WEATHER)
    ]
    pattern = [
        (between(_row(seed, place, number, across_m, period_ns), period_ns, is_level=True), weight)
        for number, (period_ns, weight) in enumerate(_PATTERN)
    ]

    def node(index: int) -> float:
        at = [index * STEP_NS]
        weather_now = sum(weight * (curve(at)[0] - 0.5) for curve, weight in weather)
        pattern_now = sum(weight * (curve(at)[0] - 0.5) for curve, weight in pattern)
        season = _WINTER_COVER * cos(2 * pi * (at[0] / _YEAR_NS))
        return round(_MEAN_COVER + season + _COVER_SWING * weather_now - pattern_now, 9)

    return node


def _row(seed: int, place: str, number: int, across_m: float, period_ns: int) -> Callable[[int], float]:
    """The pattern's nodes on a line between two rows of nodes, with the spread that the nodes of a row have."""
    row, part = divmod(across_m / (WIND_M_S * period_ns / SECOND_NS), 1)
    left = fractions(seed, f"{place} {row:.0f}", f"pattern {number}")
    right = fractions(seed, f"{place} {row + 1:.0f}", f"pattern {number}")
    spread = 1 / sqrt((1 - part) ** 2 + part**2)
    return lambda index: 0.5 + spread * ((1 - part) * (left(index) - 0.5) + part * (right(index) - 0.5))
