"""Weather of any place: as clear as its months say, alike nearby, and each kind of light on a plane in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import cos, exp, radians
from statistics import correlation, fmean, pstdev
from typing import Any

import pytest

from pvsim import config
from pvsim.models import beam, clouds, solar, sunlight, temperature
from pvsim.models.days import DAY_S, of_hemisphere
from pvsim.models.waves import Rhythm, waves

SECOND = 10**9
NEW_YEAR_S = 1_735_689_600  # 2025-01-01T00:00:00Z


def kilowatt_hours(seconds: Sequence[int], name: str = "weather", seed: int = 0, **given: Any) -> float:
    """What a system of 1 kW at Munich makes at these seconds, in all, except for what is given."""
    texts = {each: config.PV[each].default for each in solar.MODELS[name].keys} | {"peak_kw": 1, "inverter_kw": 2}
    values = {each: config.PV[each].parse(str(text)) for each, text in (texts | given).items()}
    power = solar.model(name, seed, "Meter_0", **values)
    return sum(power([second * SECOND for second in seconds])) / 1e6


def days_at(
    latitude: float, longitude: float, meter_id: str = "Meter_0", seed: int = 0, days: int = 300
) -> list[float]:
    """The mean index of days between 8 h and 16 h, of a place where all months are alike."""
    index = clouds.clear_sky_index(seed, meter_id, latitude, longitude, (0.66,))
    mornings = range(NEW_YEAR_S + 7 * 3600, NEW_YEAR_S + days * DAY_S, DAY_S)
    return [fmean(index([(start + part) * SECOND for part in range(0, 8 * 3600, 3600)])) for start in mornings]


def test_table_of_covers() -> None:
    """The table gives the cover under which the mean of the index is what it says."""
    swings, patterns = [], []
    for seed in range(4):
        weather = waves(seed, "clouds cover", clouds.WEATHER, 48.0, 11.0)
        layers = [clouds.layer(seed, number, 5e6, *each) for number, each in enumerate(clouds.PATTERN)]
        for step in range(850_000_000, 850_000_000 + 1000 * 14_023, 14_023):
            swings.append(weather(step * clouds.STEP_S / 3600))
            patterns.append(sum(layer(step) for layer in layers))
    assert abs(fmean(swings)) < 0.06
    assert 0.9 < pstdev(swings) < 1.1
    haze = 1 - clouds.HAZE / 2
    for mean, cover in zip(clouds.MEAN_INDICES, clouds.MEAN_COVERS, strict=True):
        found = [
            haze * clouds.index_at(cover + clouds.COVER_SWING * swing - pattern)
            for swing, pattern in zip(swings, patterns, strict=True)
        ]
        assert fmean(found) == pytest.approx(mean, abs=0.02)
    assert all(one < two for one, two in pairwise(clouds.MEAN_INDICES))
    assert all(one > two for one, two in pairwise(clouds.MEAN_COVERS))


@pytest.mark.parametrize("clearness", [0.3, 0.45, 0.6])
def test_clearness(clearness: float) -> None:
    """The radiation of a year by that above the atmosphere is the clearness index that was given."""
    site = sunlight.Site(40.0, 0.0, 100.0, 0.0, 180.0, (3.0,))
    index = clouds.clear_sky_index(0, "Meter_0", 40.0, 0.0, solar.sky_of((clearness,), site))
    received = offered = 0.0
    for second in range(NEW_YEAR_S, NEW_YEAR_S + 730 * DAY_S, 5 * 3600 + 660):
        zenith, _ = sunlight.sun_position(second, 40.0, 0.0)
        if zenith < 90:
            received += sunlight.light(second, site).all * index([second * SECOND])[0]
            offered += sunlight.beyond_air(second / DAY_S % 365.2425) * cos(radians(zenith))
    assert received / offered == pytest.approx(clearness, rel=0.05)


def test_months() -> None:
    """Each month is as clear as its own number says."""
    months = "0.25 " * 6 + "0.6 " * 6
    winter, summer = (range(NEW_YEAR_S + day * DAY_S, NEW_YEAR_S + (day + 59) * DAY_S, 2401) for day in (0, 212))
    for seconds, low, high in ((winter, 0.3, 0.6), (summer, 0.75, 1.05)):
        share = kilowatt_hours(seconds, clearness=months) / kilowatt_hours(seconds, "clear-sky")
        assert low < share < high


def overcast(days: range, step_s: int) -> list[int]:
    """The seconds of these days of 2025 at which the sky of Munich is thickly clouded."""
    seconds = range(NEW_YEAR_S + days.start * DAY_S, NEW_YEAR_S + days.stop * DAY_S, step_s)
    index = clouds.clear_sky_index(0, "Meter_0", 48.137, 11.575)
    return [second for second in seconds if index([second * SECOND])[0] < 0.3]


def test_overcast_light_has_no_direction() -> None:
    """Under thick cloud roofs to the north and to the south make the same, nearly as much as a flat one."""
    december = overcast(range(335, 365), 301)
    assert len(december) > 1000
    south, north, flat = (
        kilowatt_hours(december, tilt=tilt, azimuth=azimuth) for tilt, azimuth in ((30, 180), (30, 0), (0, 180))
    )
    assert north == pytest.approx(south, rel=0.08)
    assert south == pytest.approx(flat, rel=0.1)
    clear = [kilowatt_hours(december, "clear-sky", tilt=30, azimuth=azimuth) for azimuth in (180, 0)]
    assert clear[0] > 5 * clear[1]


def test_overcast_facade() -> None:
    """A façade sees half of an even sky, and the ground, a quarter as bright: 0.5 + 0.25 / 2 of a flat roof's light.

    Its glass takes as much of either (Marion 2017). What the inverter uses itself weighs more on less power: in June by
    a few percent, in December by a quarter.
    """
    light = [sum(sunlight.diffuse_shares(tilt)) for tilt in (90, 0)]
    assert light[0] / light[1] == pytest.approx(0.625, abs=0.005)
    for days, low, high in ((range(151, 181), 0.55, 0.625), (range(335, 365), 0.4, 0.6)):
        facade, flat = (kilowatt_hours(overcast(days, 301), tilt=tilt, inverter_kw=1) for tilt in (90, 0))
        assert low < facade / flat < high


def test_shares_of_the_beam() -> None:
    """As Erbs has it from the clearness index; whole from a clear sky on, next to nothing below a half.

    At twice the air mass the square of it, by the law of Beer: a cloud that hides half of a usual sun hides more of a
    low one. What hides a low sun alone takes 9 % of that.
    """
    usual, low = beam.beam_shares(1.5), beam.beam_shares(3.0)
    found = [round(beam.beam_share(index, usual), 2) for index in (0, 0.2, 0.5, 0.75, 1, 1.3)]
    assert found == [0, 0, 0.08, 0.44, 1, 1]
    assert low == pytest.approx([exp(-0.06 * 1.5) * each**2 for each in usual], abs=1e-5)
    assert beam.beam_shares(40) == beam.beam_shares(12)
    for shares in (usual, low):
        each = [beam.beam_share(number / 500, shares) for number in range(601)]
        assert each == sorted(each)


def test_diffuse_light_through_glass() -> None:
    """pvlib 0.16.1: iam.marion_diffuse("physical", tilt)."""
    for tilt, sky, ground in MARION:
        assert sunlight.diffuse_through_glass(tilt) == pytest.approx((sky, ground), abs=0.003)


MARION = (
    (0, 0.9444, 0.0),
    (10, 0.9484, 0.4212),
    (30, 0.9577, 0.7597),
    (60, 0.958, 0.9036),
    (90, 0.9444, 0.9444),
)


def test_distance() -> None:
    """Neighbours have the same days, also across a degree; the further apart two places are, the less alike."""
    own = days_at(48.49, 11.5)
    near, there, far, elsewhere = (
        correlation(own, days_at(latitude, longitude, "Meter_1"))
        for latitude, longitude in ((48.51, 11.5), (48.49, 14.21), (48.49, 20.0), (-30.0, 150.0))
    )
    assert near > 0.94
    assert 0.75 < there < 0.92
    assert 0.2 < far < 0.65
    assert abs(elsewhere) < 0.2
    assert abs(correlation(own, days_at(48.49, 11.5, seed=1))) < 0.2


def test_days_follow_each_other() -> None:
    """A day tells something of the next, nothing of the week after, and as much on each day of three."""
    days = days_at(48.1, 11.6, days=1200)
    assert 0.2 < correlation(days[1:], days[:-1]) < 0.42
    assert abs(correlation(days[7:], days[:-7])) < 0.17
    thirds = [correlation(days[first:-1:3], days[first + 1 :: 3][: len(days[first:-1:3])]) for first in range(3)]
    assert max(thirds) - min(thirds) < 0.2
    assert min(days) < 0.12
    assert 0.25 < sum(day > 0.8 for day in days) / len(days) < 0.42


def test_waves() -> None:
    """Mean 0, standard deviation 1, everywhere, also at the poles and on both sides of the date line."""
    rhythm = Rhythm(27.0, 3.0, 720.0)
    for latitude, longitude in ((90, 0), (-90, 77), (12.5, 179.9), (12.5, -179.9)):
        values = [waves(3, "p", rhythm, latitude, longitude)(hour) for hour in range(480_000, 480_000 + 20_000, 7)]
        assert abs(fmean(values)) < 0.1
        assert 0.85 < pstdev(values) < 1.15
    east, west = (waves(3, "p", rhythm, 12.5, longitude) for longitude in (179.99, -179.99))
    assert max(abs(east(hour) - west(hour)) for hour in range(480_000, 482_000, 11)) < 0.1


def test_temperature() -> None:
    """The months of the place, day and night, and spells; half a year later in the south if none are given."""
    air = temperature.air_temperature(0, 48.1, 11.6, temperature.monthly_c(None, 48.1), 9.0)
    for month, mean in enumerate(temperature.MUNICH_C):
        hours = range(NEW_YEAR_S // 3600 + round(730.5 * month), NEW_YEAR_S // 3600 + round(730.5 * (month + 1)))
        values = [air(hour + year * 8766) for year in range(4) for hour in hours]
        assert fmean(values) == pytest.approx(mean, abs=1.6)
    noon, night = (fmean(air(day * 24 + hour) for day in range(20_000, 20_400)) for hour in (14, 2))
    assert noon - night == pytest.approx(9, abs=0.3)
    assert temperature.monthly_c(None, -10) == of_hemisphere(temperature.MUNICH_C, -10)
    assert temperature.monthly_c(None, -10)[6] == temperature.MUNICH_C[0]
    assert temperature.monthly_c((5.0,), -10) == (5.0,)


def test_heat_costs_power() -> None:
    """Ten kelvins more cost 4 % of what silicon makes."""
    noons = range(NEW_YEAR_S + 160 * DAY_S + 11 * 3600, NEW_YEAR_S + 200 * DAY_S, DAY_S)
    cold, warm = (kilowatt_hours(noons, temperature=each, temperature_swing=0) for each in (10, 20))
    assert warm / cold == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize("first", [-1, 0, 1])
def test_a_layer_may_be_asked_for_any_index_first(first: int) -> None:
    """Where the sun rises late, indices of 1970 are negative."""
    indices = [*range(-8, 9)]
    wanted = list(map(clouds.layer(3, 1, 5e6, 4, 1.0), indices))
    layer = clouds.layer(3, 1, 5e6, 4, 1.0)
    assert layer(4 * first) == wanted[indices.index(4 * first)]
    assert list(map(layer, indices)) == wanted
