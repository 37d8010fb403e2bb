"""Places of many climates, for tests/bench/models.py: what they receive, how warm they are, and what PV yields there.

No table was copied: months, temperatures and yields are the author's recollection of the usual figures (the yields as
of PVGIS), rounded, but for these, which were found as PVGIS's own answers, quoted in public code: Paris 1,146 kWh/kW at
39° (1,432 kWh/m² on the plane), Madrid 1,619 (2,093). Others of the same kind have no months: 47.8° N 2.5° E 1,187 at
35° (1,505), Catalonia at 980 m 1,547 at 35° (1,946), Kolkata 1,418 at 28° (1,896); so a plane's kWh/m² make 0.80 kWh/kW
at Paris, 0.77 at Madrid, 0.75 at Kolkata, with 14 % of losses, the inverter among them. The years of radiation of
Tromsø and Oslo are those that MET Norway published in 2022 (SUNPOINT: 669 and 938 kWh/m²), that of Stockholm is SMHI's
(970): their months are recollected, and scaled to these years.
`radiation`: kWh/m² of each month on a horizontal plane; `temperature`: monthly means, °C; `energy`: what a PV system of
1 kW that faces the equator makes in a year with 14 % of losses, kWh, from and to.
"""

from __future__ import annotations

from typing import NamedTuple


class Climate(NamedTuple):
    """A place with its months, January first."""

    name: str
    latitude: float
    longitude: float
    elevation: float
    tilt: float
    radiation: tuple[int, ...]
    temperature: tuple[int, ...]
    energy: tuple[int, int]


class Aside(NamedTuple):
    """A place for whose mountings pvlib is asked, with one clearness and one temperature, °C, of the year."""

    name: str
    latitude: float
    longitude: float
    elevation: float
    clearness: float
    temperature: float


ASIDE = (
    Aside("Reykjavik", 64.15, -21.94, 20, 0.38, 5), Aside("Tromsø", 69.65, 18.96, 10, 0.40, 3),
    Aside("Oslo", 59.91, 10.75, 20, 0.44, 6), Aside("Helsinki", 60.17, 24.94, 10, 0.45, 6),
    Aside("Phoenix", 33.45, -112.07, 340, 0.67, 24), Aside("Riyadh", 24.71, 46.68, 620, 0.64, 27),
    Aside("Lagos", 6.52, 3.38, 20, 0.44, 27), Aside("Singapore", 1.35, 103.82, 15, 0.45, 28),
    Aside("Bogotá", 4.71, -74.07, 2560, 0.45, 14), Aside("Santiago", -33.45, -70.67, 560, 0.59, 15),
    Aside("Cape Town", -33.93, 18.42, 25, 0.59, 17), Aside("Sydney", -33.87, 151.21, 40, 0.53, 18),
)  # fmt: skip
CLIMATES = (
    Climate("Tromsø", 69.65, 18.96, 10, 45, (1, 10, 42, 90, 127, 131, 123, 85, 43, 14, 3, 0),
            (-4, -4, -3, 0, 5, 9, 12, 11, 7, 3, -1, -3), (680, 760)),
    Climate("Oslo", 59.91, 10.75, 20, 40, (10, 25, 65, 110, 156, 168, 159, 120, 73, 33, 13, 6),
            (-4, -4, 0, 5, 11, 15, 17, 16, 11, 6, 1, -3), (850, 950)),
    Climate("Stockholm", 59.33, 18.07, 30, 40, (11, 27, 69, 115, 160, 169, 162, 124, 76, 37, 13, 7),
            (-2, -2, 1, 5, 11, 16, 18, 17, 13, 8, 3, 0), (920, 1000)),
    Climate("Hamburg", 53.55, 9.99, 10, 35, (19, 34, 73, 120, 156, 158, 157, 132, 88, 49, 22, 14),
            (2, 2, 5, 9, 13, 16, 18, 18, 14, 10, 6, 3), (950, 1000)),
    Climate("London", 51.51, -0.13, 20, 35, (22, 37, 76, 117, 147, 150, 151, 128, 90, 53, 27, 17),
            (5, 5, 7, 10, 13, 16, 19, 18, 16, 12, 8, 6), (940, 1010)),
    Climate("Paris", 48.86, 2.35, 40, 39, (31, 51, 95, 132, 155, 168, 169, 146, 110, 66, 36, 26),
            (5, 5, 9, 12, 15, 19, 21, 20, 17, 13, 8, 5), (1146, 1146)),
    Climate("Rome", 41.9, 12.5, 20, 35, (57, 77, 124, 155, 194, 211, 224, 195, 143, 99, 62, 49),
            (8, 8, 11, 14, 18, 22, 25, 25, 21, 17, 12, 9), (1450, 1540)),
    Climate("Madrid", 40.42, -3.7, 660, 35, (66, 88, 136, 164, 203, 225, 238, 208, 153, 105, 70, 57),
            (6, 8, 11, 13, 17, 23, 26, 26, 21, 16, 10, 7), (1619, 1619)),
    Climate("Lisbon", 38.72, -9.14, 80, 33, (69, 87, 137, 169, 207, 219, 231, 213, 161, 111, 76, 62),
            (12, 13, 15, 16, 18, 21, 24, 24, 22, 19, 15, 12), (1570, 1650)),
    Climate("Athens", 37.98, 23.73, 100, 31, (66, 81, 126, 163, 202, 222, 231, 210, 161, 111, 72, 58),
            (10, 11, 13, 16, 21, 26, 29, 29, 25, 20, 15, 12), (1520, 1600)),
    Climate("Phoenix", 33.45, -112.07, 340, 30, (101, 119, 172, 209, 240, 243, 224, 208, 179, 145, 107, 91),
            (14, 16, 19, 23, 28, 33, 35, 34, 32, 25, 18, 13), (1750, 1850)),
    Climate("Cairo", 30.04, 31.24, 30, 28, (101, 117, 166, 193, 220, 231, 232, 214, 182, 145, 107, 92),
            (14, 15, 18, 22, 26, 28, 29, 29, 27, 24, 19, 15), (1680, 1790)),
    Climate("Riyadh", 24.71, 46.68, 620, 25, (123, 135, 172, 185, 212, 223, 222, 210, 187, 170, 130, 115),
            (15, 17, 21, 27, 33, 35, 37, 37, 34, 29, 21, 16), (1700, 1800)),
    Climate("Delhi", 28.61, 77.21, 220, 28, (110, 126, 173, 190, 201, 178, 156, 151, 158, 149, 119, 104),
            (14, 17, 23, 29, 33, 34, 31, 30, 30, 26, 20, 15), (1450, 1550)),
    Climate("Singapore", 1.35, 103.82, 15, 5, (142, 143, 156, 147, 142, 134, 138, 140, 138, 142, 125, 125),
            (27, 27, 28, 28, 29, 29, 28, 28, 28, 28, 27, 27), (1220, 1310)),
    Climate("Nairobi", -1.29, 36.82, 1660, 5, (190, 182, 190, 163, 151, 136, 137, 148, 171, 174, 160, 181),
            (19, 20, 20, 20, 19, 17, 17, 17, 19, 20, 19, 19), (1500, 1600)),
    Climate("Sydney", -33.87, 151.21, 40, 30, (193, 156, 145, 112, 87, 74, 83, 109, 138, 170, 183, 199),
            (24, 24, 22, 19, 16, 13, 13, 14, 17, 19, 21, 23), (1430, 1520)),
    Climate("Cape Town", -33.93, 18.42, 25, 28, (251, 207, 183, 127, 93, 76, 85, 110, 145, 194, 226, 253),
            (21, 21, 20, 18, 15, 13, 13, 13, 15, 17, 19, 21), (1640, 1740)),
)  # fmt: skip
