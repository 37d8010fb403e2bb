"""Files as people have them: each of `cases` is one trait of real ones, and replays as meant, or says why not."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

from pvsim import config
from pvsim.errors import ConfigError
from pvsim.models import solar

CASES = Path(__file__).with_name("cases")
SECOND = 10**9
NOON, MARCH = "2026-06-21T10:00:00Z", "2026-01-31T22:00:00Z"
AUTUMN = "2026-10-24T23:30:00Z"

# Folder, further lines of its [pv] section, the first instant, seconds between instants, and kW or what is said.
RIGHT: list[tuple[str, str, str, int, list[float] | str]] = [
    ("02-pvgis-tmy", "", MARCH, 3600, [0.01, 0.02, 0.03, 0.04]),
    ("04-ha-history", "missing = skip", NOON, 1800, [1.5005, 1.5005, 1.7, 1.7]),
    ("04-ha-history", "missing = zero", NOON, 1800, [1.5005, 0, 1.7, 1.7]),
    ("04-ha-history", "", NOON, 1800, "line 3: unavailable is no power, but a mark for one that is missing; give miss"),
    ("05-ha-history-renamed", "missing = skip", NOON, 1800, [1.5005, 1.5005, 1.7, 1.7]),
    ("07-enedis-horodate", "loop = 0", NOON, 1800, [0.46, 0.478, 0, 0]),
    ("13-lcl", "missing = skip", NOON, 1800, "is in kWh, as its name, KWH/hh (per half hour), says, and in kW"),
    ("13-lcl", "-unit\n-scale\nmissing = skip", NOON, 1800, [0.526, 0.538, 0.55]),
    ("13-lcl", "unit = kWh\n-scale\nmissing = skip", NOON, 1800, [0.526, 0.538, 0.55]),
    ("16-cumulative-kwh", "", NOON, 1800, "the column energy_kWh is in kWh, as its name, energy_kWh, says, and in kW"),
    (
        "16-cumulative-kwh",
        "-unit",
        NOON,
        1800,
        "that never fall: energy of each line until the next, for unit = kWh, o",
    ),
    ("16-cumulative-kwh", "unit = kWh total", NOON, 1800, [1.0, 1.2]),
    (
        "18-dst-fall-local",
        "",
        AUTUMN,
        1800,
        "line 5 is not later than the line before; sort the lines, each time once; if",
    ),
    ("18-dst-fall-local", "file_timezone = Europe/Berlin", AUTUMN, 1800, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    (
        "19-local-as-utc",
        "",
        NOON,
        1800,
        "line 2: 2026-06-21 12:00 has no offset, and is UTC or of Europe/Berlin, as timezone of [pv] is; give",
    ),
    ("19-local-as-utc", "timezone = UTC", NOON, 1800, [0, 0, 0, 0, 0.1]),
    ("19-local-as-utc", "file_timezone = UTC", NOON, 1800, [0, 0, 0, 0, 0.1]),
    ("19-local-as-utc", "file_timezone = Europe/Berlin", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("26-utc-suffix", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("31-comment-inside", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("33-pandas-nan", "missing = skip", NOON, 1800, [0.1, 0.1, 0.2]),
    ("33-pandas-nan", "missing = zero", NOON, 1800, [0.1, 0, 0.2]),
    ("33-pandas-nan", "", NOON, 1800, "line 3: (nothing) is no power, but a mark"),
    ("34-dwd-999", "missing = skip", NOON, 1800, [0.1, 0.1, 0.2]),
    ("34-dwd-999", "", NOON, 1800, "line 3: -999 is no power, but a mark"),
    ("36-blank-mid-time-second", "", NOON, 1800, [0.1, 0.15, 0.2, 0.25]),
    ("38-preamble-date", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("39-preamble-time-match", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("46-iso-basic-and-24", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("48-date-only", "", NOON, 1800, [0.2, 0.2, 0.2, 0.2]),
    ("50-gap-days", "loop = 0", "2026-06-20T00:00:00Z", 3600, [3, 3, 3]),
    ("53-semicolon-dot-decimal-comma-delim", "", NOON, 1800, "line 2 has 3 columns, and the header, line 1, has 2"),
    (
        "55-two-meters-offset",
        "",
        NOON,
        1800,
        "line 4 is of A again, after B: the column meter_id has several; give where",
    ),
    ("55-two-meters-offset", "where = meter_id = A", NOON, 1800, [0.1, 0.11]),
    ("55-two-meters-offset", "where = meter_id = B", "2026-06-21T10:00:01Z", 1800, [0.9, 0.91]),
    ("58-numpad-plus", "", NOON, 1800, [1.2345, 1.2345, 0.9995, 0.9995]),
    ("61-pandas-rangeindex", "", NOON, 1800, [1.5, 1.6, 1.7]),
    ("62-tmy-sorted-as-told", "", "2026-02-01T00:00:00Z", 3600, [0.03, 0.04]),
    (
        "69-yyyymmddhhmm",
        "",
        NOON,
        3600,
        "line 2: 2026062110 is seconds since 1970 or 2026-06-21 10:00; give time_format",
    ),
    ("69-yyyymmddhhmm", "time_format = %Y%m%d%H", NOON, 3600, [0.1, 0.2, 0.3]),
    (
        "71-excel-serial",
        "",
        NOON,
        1800,
        "line 2: 46194.416666667 is seconds since 1970 or the number of a day in a spr",
    ),
    ("79-tab-decimal-comma", "", NOON, 1800, [0.1435, 0.1435, 0.184, 0.184]),
    ("80-quoted-decimal-comma", "", NOON, 1800, [0.1435, 0.1435, 0.18425, 0.18425]),
    ("82-influx", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("87-leap-year-loop", "", "2026-06-21T00:00:00Z", 43200, [0.621, 0.621]),
    ("87-leap-year-loop", "", "2028-02-29T00:00:00Z", 86400, [0.229, 0.301]),
    ("87-leap-year-loop", "loop = 0", "2026-06-21T00:00:00Z", 43200, [0, 0]),
    (
        "89-sorted-local-dst-advice",
        "",
        AUTUMN,
        1800,
        "line 3 is in an hour that comes twice where clocks go back, as in Europe/Berlin, and that hour, 2026-10-25 02",
    ),
    ("89-sorted-local-dst-advice", "file_timezone = UTC", AUTUMN, 1800, [0, 0, 0, 0, 0.1, 0.2]),
    ("89-sorted-local-dst-advice", "file_timezone = Europe/Berlin", AUTUMN, 1800, [0.1, 0.2, 0.3, 0.3, 0.3, 0.6]),
    ("91-own-dayfile-unit", "", NOON, 1800, [3.5, 3.6]),
    (
        "91-own-dayfile-unit",
        "unit = W",
        NOON,
        1800,
        "is in kW, as its name, pv_power_value_kw, says, and in W, as the key",
    ),
    ("92-header-kw", "", NOON, 1800, [3.5, 3.5, 3.6, 3.6]),
    ("95-first-timename-wins", "", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
    ("95-first-timename-wins", "time_column = timestamp", NOON, 1800, [0.1, 0.1, 0.2, 0.2]),
]


def settings(text: str, lines: str) -> str:
    """simulation.ini with these lines, instead of those with the same key; `-key` takes one away."""
    keys = {line.lstrip("-").partition(" =")[0] for line in lines.split("\n")}
    kept = [line for line in text.split("\n") if line.partition(" =")[0] not in keys]
    return "\n".join([*kept, *(line for line in lines.split("\n") if not line.startswith("-")), ""])


@pytest.mark.parametrize("case, lines, first, step_s, right", RIGHT)
def test_case(case: str, lines: str, first: str, step_s: int, right: list[float] | str, tmp_path: Path) -> None:
    """The powers that are meant, or what is said."""
    copytree(CASES / case, tmp_path / case)
    path = tmp_path / case / "simulation.ini"
    path.write_text(settings(path.read_text(), lines))
    simulation = config.load_simulation(path, None)
    if isinstance(right, str):
        with pytest.raises(ConfigError) as caught:
            simulation.pv("Meter_0")
        assert right in str(caught.value)
        assert caught.value.exit_status == 78
        return
    made = simulation.pv("Meter_0")
    start_ns = config.instant_ns(config.parse_time(first), None)
    power = solar.model(made.model, made.seed, "Meter_0", **made.parameters)
    assert [each / 10**6 for each in power([start_ns + at * step_s * SECOND for at in range(len(right))])] == right


def test_every_case_is_tried() -> None:
    assert {case for case, *_ in RIGHT} == {path.name for path in CASES.iterdir()}
