"""A recorded profile comes back as it was recorded, looped, shifted, scaled; a bad file is told with its line."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvsim import config
from pvsim.config.profiles import _profile
from pvsim.errors import ConfigError
from pvsim.models import PowerModel, solar
from pvsim.models.replay import Profile
from pvsim.profiles import BadProfile, Wishes, read

SECOND = 10**9
NOON_S = 1_782_043_200  # 2026-06-21T12:00:00Z
Replay = Callable[..., PowerModel]

# From an hourly file that PVGIS gave, as pvlib keeps it for its own tests: its head, some of its lines, and its end, in
# pvgis_hourly_Timeseries_45.000_8.000_SA_30deg_0deg_2016_2016.csv. It was asked for without PV power.
PVGIS_LIGHT = """\
Latitude (decimal degrees):\t45.000
Longitude (decimal degrees):\t8.000
Elevation (m):\t250
Radiation database:\tPVGIS-SARAH


Slope: 30 deg.\x20
Azimuth: 0 deg.\x20
time,Gb(i),Gd(i),Gr(i),H_sun,T2m,WS10m,Int
20160101:0710,0.0,0.0,0.0,0.0,3.06,1.49,0.0
20160101:0810,26.71,8.28,0.21,8.06,3.87,1.22,1.0
20160101:0910,14.69,5.76,0.16,14.8,4.67,0.95,1.0
20160101:1010,2.19,0.94,0.03,19.54,5.73,0.77,1.0

Gb(i): Beam (direct) irradiance on the inclined plane (plane of the array) (W/m2)
Gd(i): Diffuse irradiance on the inclined plane (plane of the array) (W/m2)
Gr(i): Reflected irradiance on the inclined plane (plane of the array) (W/m2)
H_sun: Sun height (degree)
T2m: 2-m air temperature (degree Celsius)
WS10m: 10-m total wind speed (m/s)
Int: 1 means solar radiation values are reconstructed



PVGIS (c) European Union, 2001-2021
"""
# The same with PV power: two more lines in the head, a column and its legend, as in such files of others; the powers
# are made up.
PVGIS = (
    PVGIS_LIGHT.replace(
        "time,", "Nominal power of the PV system (c-Si) (kWp):\t1.0\nSystem losses (%):\t14.0\n\ntime,P,"
    )
    .replace("\nGb(i):", "\nP: PV system power (W)\nGb(i):")
    .replace(":0710,", ":0710,0.0,")
    .replace(":0810,", ":0810,18.64,")
    .replace(":0910,", ":0910,7.03,")
    .replace(":1010,", ":1010,0.0,")
)
SIMPLE = "time,power\n2026-06-21T12:00:00Z,100\n2026-06-21T12:01:00Z,200.5\n2026-06-21T12:02:00Z,0\n"


def parse(lines: list[str], column: str, unit: str) -> Profile:
    """The profile in these lines."""
    return read([each if each.endswith("\n") else f"{each}\n" for each in lines], Wishes(column=column, unit=unit))


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    """The load of Meter_0, or another one, from a file and lines of simulation.ini."""

    def make(text: str, *lines: str, meter_id: str = "Meter_0") -> PowerModel:
        (tmp_path / "profile.csv").write_bytes(text.encode())
        _profile.cache_clear()
        (tmp_path / "simulation.ini").write_text("\n".join(["[pv]", "model = replay", "file = profile.csv", *lines]))
        settings = config.load_simulation(tmp_path / "simulation.ini", None).pv(meter_id)
        return solar.model(settings.model, settings.seed, meter_id, **settings.parameters)

    return make


def at(power: PowerModel, *seconds: float) -> list[float]:
    """W at seconds after NOON_S."""
    return [each / 1000 for each in power([NOON_S * SECOND + round(second * SECOND) for second in seconds])]


def test_step_and_loop(replay: Replay) -> None:
    """A power stays until the next; when the last has lasted as long as its predecessor, all begins again."""
    power = replay(SIMPLE)
    assert at(power, 0, 59.999, 60, 119, 120, 179, 180, 240, -1, -60, 180 * 10**6 + 61) == [
        100, 100, 200.5, 200.5, 0, 0, 100, 200.5, 0, 0, 200.5,
    ]  # fmt: skip


def test_linear(replay: Replay) -> None:
    """Straight lines between the times, and from the last to the first of the next round."""
    power = replay(SIMPLE, "interpolation = linear")
    assert at(power, 0, 30, 60, 90, 120, 150, 179.999) == [100, 150.25, 200.5, 100.25, 0, 50, 99.998]


@pytest.mark.parametrize(
    "line,expected",
    [
        ("shift = 60", [0, 100, 200.5, 0]),
        ("shift = -60.0", [200.5, 0, 100, 200.5]),
        ("scale = 0.000001", [0, 0, 0, 0]),
        ("scale = 2.5", [250, 501.25, 0, 250]),
        ("unit = kW", [100_000, 200_500, 0, 100_000]),
        ("loop = 120", [100, 200.5, 100, 200.5]),
        ("loop = 200", [100, 200.5, 0, 0]),
        ("loop = 0", [100, 200.5, 0, 0]),
        ("loop = 0\nshift = 30", [0, 100, 200.5, 0]),
        ("loop = 0\ninterpolation = linear\nshift = -30", [150.25, 100.25, 0, 0]),
        ("column = power", [100, 200.5, 0, 100]),
    ],
)
def test_keys(replay: Replay, line: str, expected: list[float]) -> None:
    """Each key does what the README says of it, at 0, 60, 120 and 180 s."""
    found = at(replay(SIMPLE, line), 0, 60, 120, 180)
    assert found == pytest.approx(expected, abs=0.001)


def test_spread(replay: Replay) -> None:
    """Each meter has its own delay, always the same, of less than `spread`."""
    times = [f"{NOON_S + second},{second}" for second in range(600)]
    text = "\n".join(["time,P", *times])
    delays = [at(replay(text, "spread = 100", meter_id=f"Meter_{number}"), 300)[0] for number in range(8)]
    assert len(set(delays)) > 5
    assert all(200 < 300 - delay + 200 <= 300 or delay == 300 for delay in delays)
    assert all(delay == int(delay) for delay in delays)
    assert at(replay(text, "spread = 100", meter_id="Meter_3"), 300)[0] == delays[3]


def test_pvgis(replay: Replay) -> None:
    """An hourly file of PVGIS is read as it was downloaded: the column P, in W, with times in UTC."""
    first_s = 1_451_632_200  # 2016-01-01T07:10:00Z
    for text in (PVGIS, PVGIS.replace("\n", "\r\n")):
        profile = parse(text.splitlines(keepends=True), "", "W")
        assert list(profile.times) == [(first_s + hour * 3600) * SECOND for hour in range(4)]
        assert list(profile.milliwatts) == [0, 18_640, 7030, 0]
        assert replay(text)([(first_s + 3600) * SECOND]) == [18_640]
    assert list(parse(PVGIS_LIGHT.splitlines(keepends=True), "Gd(i)", "W").milliwatts) == [0, 8280, 5760, 940]
    with pytest.raises(BadProfile, match=r"line 9 has several columns; name one of Gb\(i\), Gd\(i\)"):
        parse(PVGIS_LIGHT.splitlines(keepends=True), "", "W")


LATER = {"2000-02-29T00:00:00Z": "2000-03-01T00:00:00Z", "1970-01-01T00:00:00Z": "1971-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "text,ns",
    [
        ("0", 0),
        ("1782043200", NOON_S * SECOND),
        ("1782043200.25", NOON_S * SECOND + 250_000_000),
        ("2026-06-21T12:00:00Z", NOON_S * SECOND),
        ("2026-06-21 12:00", NOON_S * SECOND),
        ("2026-06-21T14:00:00.5+02:00", NOON_S * SECOND + 500_000_000),
        ("2026-06-21T06:30-0530", NOON_S * SECOND),
        ("20260621:1200", NOON_S * SECOND),
        ("2000-02-29T00:00:00Z", 951_782_400 * SECOND),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times(text: str, ns: int) -> None:
    """Times of every kind that the README names; UTC where no offset stands."""
    later = str(int(float(text)) + 60) if text.isdigit() or "." in text[:12] else text.replace("20", "21", 1)
    assert parse(["time,P", f"{text},1", f"{LATER.get(text, later)},2"], "", "W").times[0] == ns


def test_other_files() -> None:
    """Semicolons with decimal commas, tabs, quotes, a byte order mark's absence, further columns, and our day files."""
    assert list(parse(["Zeit;x", "Timestamp;Leistung", "60;1,5", "120;-2,25"], "", "W").milliwatts) == [1500, -2250]
    assert list(parse(["time\tP\tQ", "60\t1e3\t7", "120\t0\t8"], "", "W").milliwatts) == [1_000_000, 0]
    assert list(parse(['"time","my, power"', '"60","1.5"', '"120","2"'], "my, power", "kW").milliwatts) == [
        1500000,
        2000000,
    ]
    day_file = [
        "meter_id,time_s,meter_power_value_w,pv_power_value_kw,sum_meter_pv_w",
        "M,1,5.5,0.001,6.5",
        "M,2,6,0,6",
    ]
    assert list(parse(day_file, "pv_power_value_kw", "kW").milliwatts) == [1000, 0]


BAD = [
    ("time,P\n1,1\n2,x\n", "line 3: x is no power; give a number."),
    ("time,P\n1,1\n2,\n", "line 3: (nothing) is no power, but a mark for one that is missing; give missing = skip"),
    ("time,P\n1,1\n2,nan\n", "line 3: nan is no power"),
    ("time,P\n1,1\n2,1_0\n", "line 3: 1_0 is no power"),
    ("time,P\n1,1\n2,1e99\n", "line 3: 1e99 is no power"),
    ("time,P\n1,1\n1,2\n", "line 3 is not later than the line before; sort the lines, each time once."),
    ("time,P\n1,1\n2\n", "line 3 has 1 columns, and the header, line 1, has 2; give as many as the header has."),
    ("time,P\n1,1\nnoon,2\n", "line 3: noon is no time; give one such as 2026-06-21T12:00:00+02:00 (without an"),
    ("time,P\n2025-02-29T00:00,1\n", "line 2: 2025-02-29T00:00 is no time"),
    ("time,P\n2025-02-28T24:01,1\n", "line 2: 2025-02-28T24:01 is no time"),
    ("time,P\n2999-01-01T00:00,1\n", "line 2: 2999-01-01T00:00 is not between 1970 and 2262"),
    ("time,P\n1,1\n9999999999999999999,1\n", "line 3: 9999999999999999999 is not between 1970 and 2262"),
    ("time,P\n1,1\n", "has fewer than two lines of data; give at least two."),
    ("\n", "has no header in its first lines; give one with a column of times, and lines of data"),
    ("1,1\n2,2\n", "has no header in its first lines"),
    ("time,a,b\n1,1,1\n2,2,2\n", "line 1 has several columns; name one of a, b."),
    ("time,P\n1,1\n2,2\n\nNotes:\n3,3\n", "line 6 comes after line 5, which is no data; take that one away."),
    (PVGIS.replace("20160101:0910,7.03", "20160101:0910,--"), "line 15: -- is no power"),
]


@pytest.mark.parametrize("content, told", [
    (b"", "is empty; give a header, and lines of data."),
    (gzip.compress(b"time,P\n"), "is compressed, by gzip; give its content as a CSV file in UTF-8."),
    (b"PK\x03\x04\x14\0\0\0", "is a spreadsheet, or an archive of ZIP; give its content as a CSV file in UTF-8."),
    ("time,P\n".encode("utf-32"), "is UTF-32; give its content as a CSV file in UTF-8."),
    ("time,P\n".encode("utf-16-le"), "is UTF-16 without a mark that says so, or no text; save the file as UTF-8."),
], ids=["nothing", "gzip", "zip", "utf-32", "utf-16"])  # fmt: skip
def test_what_is_no_text(content: bytes, told: str, tmp_path: Path) -> None:
    """What a file is, where its first bytes tell."""
    (tmp_path / "other.csv").write_bytes(content)
    (tmp_path / "simulation.ini").write_text("[pv]\nmodel = replay\nfile = other.csv\n")
    with pytest.raises(ConfigError, match=re.escape(f"other.csv {told}")):
        config.load_simulation(tmp_path / "simulation.ini", None).pv("M")


@pytest.mark.parametrize("text,told", BAD)
def test_bad_files(text: str, told: str, replay: Replay, tmp_path: Path) -> None:
    """What is wrong in a file is one sentence with file and line, and exit status 78."""
    with pytest.raises(ConfigError) as caught:
        replay(text)
    assert str(caught.value).startswith(str(tmp_path / "profile.csv"))
    assert told in str(caught.value)
    assert str(caught.value).endswith(".")
    with pytest.raises(BadProfile):
        parse(text.splitlines(keepends=True), "", "W")


def test_no_column(replay: Replay) -> None:
    """A column that is not there is told with those that are."""
    with pytest.raises(ConfigError, match=r"line 1 has no column Q; name one of power\."):
        replay(SIMPLE, "column = Q")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, or no text, is told by who needs it, and only then."""
    path = tmp_path / "simulation.ini"
    path.write_text("[meter Meter_3]\nmodel = replay\nfile = none.csv\n")
    simulation = config.load_simulation(path, None)
    assert simulation.meter("Meter_2").model == "random"
    with pytest.raises(ConfigError, match=r"none\.csv is no file; create it, or name another one"):
        simulation.meter("Meter_3")
    (tmp_path / "none.csv").write_bytes(b"time,P\n1,\xff\n")
    with pytest.raises(ConfigError, match=r"none\.csv, line 2: .* is no power"):
        simulation.meter("Meter_3")


@pytest.mark.parametrize(
    "given, hint",
    [
        ('"p3.csv"', "the quotes count as part of the name: take them away"),
        ("'p3.csv'", "the quotes count"),
        ('"days/p3.csv"', "the quotes count"),
        ("~/p3.csv", "~ is not your home directory here: write the whole name"),
        ("~pi/p3.csv", "~ is not your home directory here"),
        ("p3.csv # morning", "a comment needs a line of its own: take it away"),
        ("p3.csv ; morning", "a comment needs a line of its own"),
    ],
)
def test_names_that_a_shell_would_read(given: str, hint: str, tmp_path: Path) -> None:
    """A name is taken as it stands; what a shell, or another program, would make of it is a hint, and no more."""
    (tmp_path / "p3.csv").write_text("time,P\n0,1\n60,2\n")
    path = tmp_path / "simulation.ini"
    path.write_text(f"[pv]\nmodel = replay\nfile = {given}\n")
    with pytest.raises(ConfigError, match="is no file; ") as caught:
        config.load_simulation(path, None).pv("Meter_0")
    assert f"is no file; {hint}" in str(caught.value)
    assert str(caught.value).endswith(", create it, or name another one.")


@pytest.mark.parametrize("name", ["a~b.csv", "it's #1.csv", "p3 2026.csv"])
def test_names_without_a_hint(name: str, tmp_path: Path) -> None:
    """Unusual names work, and one that is missing has no hint that is wrong."""
    path = tmp_path / "simulation.ini"
    path.write_text(f"[pv]\nmodel = replay\nfile = {name}\n")
    simulation = config.load_simulation(path, None)
    if "#" not in name:
        with pytest.raises(ConfigError, match="is no file; create it, or name another one"):
            simulation.pv("Meter_0")
    (tmp_path / name).write_text("time,P\n0,1\n60,2\n")
    assert simulation.pv("Meter_0").model == "replay"


def test_large_file() -> None:
    """100,000 rows take 16 bytes each, and a second or so."""
    lines = ["time,P", *(f"{NOON_S + second},{second % 4000}.5" for second in range(100_000))]
    begin = time.process_time()
    profile = parse(lines, "", "W")
    assert time.process_time() - begin < 3
    assert len(profile.times) == 100_000
    assert profile.times.itemsize == profile.milliwatts.itemsize == 8
