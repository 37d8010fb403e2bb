"""Places of many climates, for tests/bench/weather.py: what PVGIS says of them, and what PV yields there.

All light and energy are PVGIS's own answers, of PVcalc, for free-standing crystalline silicon with 14 % of losses and
the shadows of the land, means of 2005 to 2023 where nothing else is said. They were found, quoted or stored, in public
code. `source` is one or two of these, the light first, then the energy:

- breos: github.com/Str4vinci/breos, validation/data/references; with 17.51 % of losses, here turned into 14 %. The
  temperatures beside are those of PVGIS's typical years in validation/data/weather.
- ultimat-sim: github.com/akarshgopal/ultimat-sim, data/pvgis-*.json.
- solar_pro: github.com/202510010022-prog/solar_pro, mobile_app/test/fixtures/pvgis_brazil_cases.json.
- foton: github.com/semanursancar/test-foton-solar-generation-verification, test_jrc_api_connection.py; no losses, here
  turned into 14 %; 2005 to 2020.
- site: github.com/wyplerszymon0-lab/Solar-site-intelligence, README.md and test/solar-model.test.js.
- cases: solar-simulation-reference-cases.ts, kWh/m² a day on a horizontal plane. What follows was found, as this file,
  without the name of its repository:
- notes: a text with "PVGIS fixtures and validation"; it has the same year of London's light as cases.
- route: PVGIS's answer for Madrid with 1 % of losses, here turned into 14 %, in a route.ts.
- page: PVGIS's answer for 42.052, 1.625, 2005 to 2016, in the code of a page on generation.
- example: PVGIS's answer for 45, 8, in two parsers of its CSV.
- engine: __fixtures__/pvgis.ts, 2005 to 2020; with 10.05 % of losses, here turned into 14 %.

No model was fitted to any of them. The temperatures of all but breos are the author's recollection of the usual ones,
rounded: a kelvin is 0.4 % of energy.
"""

from __future__ import annotations

from typing import NamedTuple


class Climate(NamedTuple):
    """A place with its months, January first; `azimuth` from north.

    `light`: kWh/m² of each month on the plane of the PV system, or, if `is_flat`, on a horizontal one. `temperature`:
    monthly means, °C. `energy`: what 1 kW makes in a year, kWh.
    """

    name: str
    kind: str
    source: str
    latitude: float
    longitude: float
    elevation: float
    tilt: float
    azimuth: float
    is_flat: bool
    light: tuple[float, ...]
    temperature: tuple[float, ...]
    energy: float


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
    Climate("Oslo", "cold winters", "cases, site", 59.91, 10.75, 20, 54, 180, True,
            (8, 25, 70, 115, 152, 168, 159, 123, 77, 37, 11, 5),
            (-4, -4, 0, 5, 11, 15, 17, 16, 11, 6, 1, -3), 948),
    Climate("London", "oceanic", "cases, notes", 51.51, -0.13, 20, 35, 180, True,
            (25, 40, 79, 124, 147, 159, 159, 131, 96, 57, 31, 21),
            (5, 5, 7, 10, 13, 16, 19, 18, 16, 12, 8, 6), 1019),
    Climate("Berlin", "oceanic", "breos", 52.52, 13.4, 40, 35, 180, False,
            (37, 63, 107, 149, 167, 172, 169, 156, 129, 85, 45, 32),
            (1, 4, 1, 13, 11, 16, 22, 23, 16, 10, 5, 3), 1049),
    Climate("Porto", "dry summers", "breos", 41.16, -8.63, 90, 35, 180, False,
            (108, 126, 156, 175, 197, 194, 212, 210, 185, 143, 107, 102),
            (10, 11, 12, 15, 17, 20, 23, 23, 20, 17, 10, 10), 1509),
    Climate("Catalonia", "mountain", "page", 42.05, 1.63, 981, 35, 180, False,
            (123, 129, 170, 167, 188, 195, 213, 205, 174, 149, 116, 118),
            (4, 5, 8, 10, 14, 18, 21, 21, 17, 13, 7, 5), 1547),
    Climate("Madrid", "hot, dry summers", "route, site", 40.42, -3.7, 669, 36, 180, True,
            (72, 91, 136, 168, 208, 227, 247, 217, 161, 114, 74, 64),
            (6, 8, 11, 13, 17, 23, 26, 26, 21, 16, 10, 7), 1620),
    Climate("Madrid, flat", "hot, dry summers", "route", 40.42, -3.7, 669, 0, 180, True,
            (72, 91, 136, 168, 208, 227, 247, 217, 161, 114, 74, 64),
            (6, 8, 11, 13, 17, 23, 26, 26, 21, 16, 10, 7), 1360),
    Climate("Po valley, flat", "humid, hot summers", "example", 45.0, 8.0, 250, 0, 180, True,
            (48, 65, 117, 146, 186, 202, 220, 186, 132, 82, 48, 42),
            (2, 4, 9, 12, 17, 21, 24, 23, 19, 13, 7, 3), 1137),
    Climate("Euphrates", "hot, dry summers", "foton", 37.0, 38.0, 417, 35, 180, False,
            (109, 120, 165, 183, 205, 219, 232, 228, 211, 175, 137, 113),
            (6, 7, 11, 16, 22, 28, 32, 31, 27, 20, 13, 7), 1555),
    Climate("Golden, Colorado", "cold steppe", "breos", 39.74, -105.17, 1730, 35, 180, False,
            (167, 180, 216, 211, 205, 205, 209, 211, 204, 190, 166, 152),
            (-5, -4, 5, 9, 10, 20, 22, 21, 18, 11, 4, 0), 1829),
    Climate("Corpus Christi", "humid, hot summers", "ultimat-sim", 27.81, -97.4, 0, 20, 180, False,
            (125, 124, 160, 171, 185, 184, 190, 194, 166, 164, 126, 114),
            (14, 16, 19, 22, 26, 28, 29, 29, 27, 24, 19, 15), 1478),
    Climate("Ain Sokhna", "hot desert", "ultimat-sim", 29.65, 32.36, 0, 20, 180, False,
            (165, 167, 212, 221, 232, 225, 232, 229, 210, 192, 164, 155),
            (14, 15, 18, 21, 25, 28, 29, 29, 27, 24, 20, 16), 1817),
    Climate("Ras Laffan", "hot desert", "ultimat-sim", 25.89, 51.56, 5, 20, 180, False,
            (167, 176, 206, 206, 220, 206, 206, 212, 203, 201, 171, 164),
            (18, 19, 21, 26, 31, 33, 35, 35, 33, 30, 25, 20), 1761),
    Climate("Walvis Bay", "foggy desert", "ultimat-sim", -22.96, 14.5, 6, 23, 1, False,
            (224, 207, 228, 208, 200, 183, 194, 210, 221, 236, 226, 229),
            (19, 19, 19, 18, 17, 16, 15, 14, 14, 15, 17, 18), 2001),
    Climate("New Delhi", "monsoon", "breos", 28.61, 77.21, 215, 28, 180, False,
            (177, 178, 212, 213, 208, 172, 137, 139, 159, 198, 181, 177),
            (13, 19, 21, 30, 33, 31, 29, 28, 27, 26, 21, 16), 1614),
    Climate("Mundra", "monsoon", "ultimat-sim", 22.74, 69.71, 0, 23, 180, False,
            (207, 198, 225, 215, 208, 157, 117, 120, 146, 200, 190, 195),
            (19, 21, 26, 29, 30, 31, 30, 28, 29, 29, 25, 21), 1654),
    Climate("Nairobi", "tropical highland", "breos", -1.29, 36.82, 1680, 10, 0, False,
            (191, 185, 204, 174, 151, 127, 124, 132, 157, 175, 159, 176),
            (19, 21, 21, 20, 19, 18, 17, 18, 19, 20, 19, 19), 1490),
    Climate("Manaus", "rain forest", "solar_pro", -3.12, -60.02, 49, 2, 43, False,
            (140, 126, 134, 132, 134, 147, 165, 177, 172, 170, 151, 140),
            (27, 27, 27, 27, 27, 27, 27, 28, 28, 28, 28, 27), 1313),
    Climate("Salvador", "rain forest", "solar_pro", -12.97, -38.5, 68, 11, 1, False,
            (200, 184, 195, 162, 141, 136, 150, 170, 178, 191, 178, 191),
            (27, 27, 27, 26, 25, 24, 24, 24, 25, 26, 26, 26), 1587),
    Climate("Minaçu", "savanna", "ultimat-sim", -13.53, -48.22, 366, 13, 1, False,
            (156, 148, 166, 174, 189, 188, 203, 209, 196, 177, 149, 153),
            (26, 26, 26, 26, 26, 25, 25, 27, 28, 28, 26, 26), 1547),
    Climate("São Paulo", "tropical highland", "breos", -23.55, -46.63, 778, 23, 0, False,
            (153, 152, 163, 149, 135, 126, 143, 150, 143, 145, 150, 160),
            (22, 24, 21, 21, 18, 18, 17, 17, 18, 21, 20, 22), 1346),
    Climate("Curitiba", "oceanic", "solar_pro", -25.43, -49.27, 919, 26, 1, False,
            (157, 150, 156, 140, 125, 115, 133, 141, 132, 134, 152, 160),
            (21, 21, 20, 18, 15, 14, 13, 15, 16, 17, 19, 20), 1304),
    Climate("Sydney", "humid, hot summers", "cases, site", -33.87, 151.21, 40, 30, 0, True,
            (200, 161, 146, 115, 95, 71, 87, 116, 148, 180, 191, 210),
            (24, 24, 22, 19, 16, 13, 13, 14, 17, 19, 21, 23), 1557),
    Climate("Melbourne", "oceanic", "breos", -37.81, 144.96, 25, 35, 0, False,
            (203, 178, 176, 137, 112, 95, 105, 127, 153, 181, 181, 197),
            (20, 19, 19, 15, 11, 11, 9, 11, 11, 17, 17, 18), 1459),
    Climate("Cape Town", "dry summers", "cases, engine", -33.92, 18.42, 25, 30, 0, True,
            (256, 211, 183, 131, 90, 71, 83, 107, 142, 198, 225, 258),
            (21, 21, 20, 18, 15, 13, 13, 13, 15, 17, 19, 21), 1684),
    Climate("Qaidam", "cold desert", "ultimat-sim", 38.15, 90.87, 2873, 20, 180, False,
            (160, 167, 216, 226, 229, 210, 210, 208, 196, 191, 156, 147),
            (-12, -8, -2, 4, 9, 14, 17, 16, 10, 2, -6, -11), 1850),
    Climate("Zabuye, Tibet", "cold highland", "ultimat-sim", 31.35, 84.05, 4424, 20, 180, False,
            (196, 202, 241, 238, 244, 231, 215, 207, 216, 212, 192, 188),
            (-10, -8, -4, 0, 5, 9, 11, 10, 7, 0, -6, -9), 2071),
    Climate("Kwinana, facing south", "dry summers", "ultimat-sim", -32.23, 115.77, 10, 20, 180, False,
            (239, 182, 143, 86, 55, 39, 44, 69, 106, 166, 213, 248),
            (24, 24, 22, 20, 17, 14, 13, 14, 15, 17, 20, 22), 1200),
    Climate("Puerto Madryn, facing south", "cold steppe", "ultimat-sim", -42.77, -65.04, 11, 20, 180, False,
            (217, 151, 110, 56, 28, 17, 22, 44, 84, 146, 196, 229),
            (21, 20, 17, 13, 9, 7, 6, 8, 10, 14, 17, 19), 978),
)  # fmt: skip
