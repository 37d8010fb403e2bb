"""What the clouds let through: the clear-sky index, 1 under a clear sky, a function of place and instant.

Two things that vary smoothly decide. `cover` is the weather: over days and hours, how much of the sky is clouded; its
mean is what the climate of the place says for the month. `pattern` is what drifts past: a two-dimensional noise with
features from 20 km down to 80 m, carried by a wind of 10 m/s. Where the pattern is below the cover there is cloud, the
darker the further below. So a clear day, an overcast one and broken clouds with bright edges are the same formula.

All PV systems of one seed are under the same sky, wherever they are. Each stands somewhere in an area of 3 km × 3 km
around its place, and sees the same clouds sooner or later than its neighbours, and not quite the same edges.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import cos, radians, sqrt

from pvsim.instants import SECOND_NS
from pvsim.models.days import YEAR_DAYS, on_day
from pvsim.models.noise import Curve, Fractions, Pair, between
from pvsim.models.waves import Rhythm, waves

STEP_S = 2  # of the nodes
WIND_M_S = 10.0
AREA_M = 3000.0
_DEGREE_M = 111_195.0

# Steps from one node of a layer to its next, and its standard deviation.
PATTERN = ((1024, 0.65), (256, 0.43), (64, 0.25), (16, 0.33), (4, 0.12))
WEATHER = Rhythm(memory_h=25.0, shortest_h=3.0, longest_h=30 * 24.0)
_HAZY = Rhythm(memory_h=60.0, shortest_h=24.0, longest_h=30 * 24.0)
_WEATHER_STEPS = 1800 // STEP_S
COVER_SWING = 1.05  # standard deviation of the cover

# The index by depth: how far the pattern is below the cover. From blue sky to the bright edge of a cloud and beneath
# it. Calibrated with the 50 sensors of HOPE at Melpitz on 2013-09-08, which tests/bench/models.py repeats.
_DEPTHS = (-1.8, -0.9, -0.62, -0.12, 0.0, 0.1, 0.7, 1.25, 2.3, 3.3, 5.5)
_INDICES = (1.0, 1.015, 1.16, 1.32, 1.48, 0.9, 0.63, 0.49, 0.23, 0.11, 0.05)
_SLOPES = tuple((high - low) / (right - left) for (low, high), (left, right) in zip(
    pairwise(_INDICES), pairwise(_DEPTHS), strict=True))  # fmt: skip
_BRIGHTEST = 1.15  # how much clearer than its turbidity the sky of a place can be
HAZE = 0.06  # how much the air, apart from clouds, takes away at most

# The mean index, and the mean cover that gives it. Computed by tests/bench/models.py; a unit test holds it.
MEAN_INDICES = (0.049, 0.058, 0.121, 0.213, 0.329, 0.488, 0.668, 0.831, 0.934, 0.976, 0.982)
MEAN_COVERS = (8.0, 6.0, 4.0, 3.0, 2.25, 1.5, 0.75, 0.0, -0.75, -1.5, -2.25)

MUNICH_SKY = (0.636, 0.659, 0.678, 0.685, 0.682, 0.681, 0.715, 0.73, 0.709, 0.647, 0.603, 0.602)

Node = Callable[[int], float]


def clear_sky_index(
    seed: int, meter_id: str, latitude: float, longitude: float, sky: Sequence[float] = MUNICH_SKY
) -> Curve:
    """The index over the PV system beside one meter. `sky`: its mean, of the year or of each month."""
    return between(index_nodes(seed, meter_id, latitude, longitude, sky), STEP_S * SECOND_NS)


def index_nodes(seed: int, meter_id: str, latitude: float, longitude: float, sky: Sequence[float]) -> Node:
    """The index at each multiple of STEP_S."""
    where = Fractions(seed, meter_id, "clouds where")
    east_m = where(0) * AREA_M + longitude * _DEGREE_M * cos(radians(latitude))
    north_m = where(1) * AREA_M + latitude * _DEGREE_M
    delay = round(east_m / WIND_M_S / STEP_S)
    one, two, three, four, five = (
        layer(seed, number, north_m, steps, weight) for number, (steps, weight) in enumerate(PATTERN)
    )
    weather = _weather(seed, latitude, longitude, sky)

    @lru_cache(maxsize=1)
    def from_node(number: int) -> tuple[float, float, float, float]:
        """Cover and blue sky at a node of the weather, and their slopes up to the next."""
        (cover, clear), (next_cover, next_clear) = weather(number), weather(number + 1)
        return cover, (next_cover - cover) / _WEATHER_STEPS, clear, (next_clear - clear) / _WEATHER_STEPS

    def index(step: int) -> float:
        number, part = divmod(step, _WEATHER_STEPS)
        cover, more_cover, clear, more_clear = from_node(number)
        here = step + delay
        pattern = one(here) + two(here) + three(here) + four(here) + five(here)
        return (clear + part * more_clear) * index_at(cover + part * more_cover - pattern)

    return index


def index_at(depth: float) -> float:
    """The index where the pattern is so far below the cover."""
    if depth <= _DEPTHS[0]:
        return _INDICES[0]
    if depth >= _DEPTHS[-1]:
        return _INDICES[-1]
    place = bisect(_DEPTHS, depth) - 1
    return _INDICES[place] + (depth - _DEPTHS[place]) * _SLOPES[place]


def cover_for(mean_index: float) -> tuple[float, float]:
    """The mean cover of a sky with this mean index, and by how much such a sky is brighter than any cover allows."""
    least, most = MEAN_INDICES[0], MEAN_INDICES[-1]
    within = min(most, max(least, mean_index))
    place = min(bisect(MEAN_INDICES, within), len(MEAN_INDICES) - 1) - 1
    part = (within - MEAN_INDICES[place]) / (MEAN_INDICES[place + 1] - MEAN_INDICES[place])
    cover = MEAN_COVERS[place] + part * (MEAN_COVERS[place + 1] - MEAN_COVERS[place])
    return round(cover, 6), min(_BRIGHTEST, max(1.0, round(mean_index / within, 6)))


def _weather(
    seed: int, latitude: float, longitude: float, sky: Sequence[float]
) -> Callable[[int], tuple[float, float]]:
    """The cover, and what the index of a blue sky is, every _WEATHER_STEPS."""
    cover_swings = waves(seed, "clouds cover", WEATHER, latitude, longitude)
    haze_swings = waves(seed, "clouds haze", _HAZY, latitude, longitude)
    covers, brights = zip(*(cover_for(each) for each in sky), strict=True)

    def node(number: int) -> tuple[float, float]:
        hour = number * _WEATHER_STEPS * STEP_S / 3600
        day = hour / 24 % YEAR_DAYS
        haze = 0.5 + 0.5 * max(-1.0, min(1.0, haze_swings(hour)))
        return on_day(covers, day) + COVER_SWING * cover_swings(hour), on_day(brights, day) * (1 - HAZE * haze)

    return node


def layer(seed: int, number: int, north_m: float, steps: int, weight: float) -> Node:
    """One layer of the pattern, on the line that is `north_m` beside the wind from the equator's."""
    row, part = divmod(north_m / (WIND_M_S * STEP_S * steps), 1)
    left = Fractions(seed, f"{row:.0f}", f"clouds {number}")
    right = Fractions(seed, f"{row + 1:.0f}", f"clouds {number}")
    scale = weight * sqrt(12) / sqrt((1 - part) ** 2 + part**2)
    of_left, of_right, middle = scale * (1 - part), scale * part, scale * 0.5
    ease = _ease(steps)
    pair = Pair(lambda index: of_left * left(index) + of_right * right(index) - middle)

    def value(index: int) -> float:
        number, place = divmod(index, steps)
        if number != pair.at:
            pair.move(number)
        return pair.low + pair.rise * ease[place]

    return value


@lru_cache(maxsize=8)
def _ease(steps: int) -> tuple[float, ...]:
    """How far from one node to the next, level at both."""
    return tuple((place / steps) ** 2 * (3 - 2 * place / steps) for place in range(steps))
