"""The examples of pvsim-profiles(5), and what README says of the same files, are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pvsim import config
from pvsim.models import load, solar

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "debian/man/pvsim-profiles.5").read_text("utf-8")
EXAMPLES = dict(re.findall(r"(?ms)^\.Ss (.*?)$(.*?)(?=^\.S)", PAGE[PAGE.index(".Sh EXAMPLES") :]))
# The first instant, seconds between instants, and W.
RIGHT: dict[str, tuple[str, int, list[float]]] = {
    "PVGIS, hourly": ("2026-06-21T10:10:00Z", 1800, [1864, 1883.75, 1903.5]),
    "PVGIS, a typical year": ("2026-01-31T23:00:00Z", 3600, [20, 30]),
    "Home Assistant's history": ("2026-06-21T10:00:00Z", 1800, [1500.5, 1500.5, 1700]),
    "A smart meter's kWh of each half hour, in local time": ("2026-06-21T09:00:00Z", 1800, [526, 538, 502]),
    "A counter": ("2026-06-21T10:00:00Z", 1800, [1000, 1200]),
    "An inverter portal's export, with semicolons and decimal commas": ("2026-06-21T10:00:00Z", 900, [1250, 1300]),
    "pandas": ("2026-06-21T10:00:00Z", 1800, [1500, 1500, 1700]),
}


# README's rows, in this order: the name, the header, the keys.
ROWS = re.findall(
    r"(?m)^\| (.*?) \| `(.*?)` \| (.*?) ?\|$",
    (CHECKOUT / "README.md").read_text("utf-8").partition("| its header |")[2],
)[: len(EXAMPLES)]


def example(name: str) -> tuple[str, str]:
    """The file and the settings of an example."""
    text, settings = re.findall(r"(?ms)^\.Bd .*?$\n(.*?)^\.Ed", EXAMPLES[name])
    return text, settings


def assert_replays(name: str, text: str, settings: str, directory: Path) -> None:
    """These settings make of this file what is right."""
    (file,) = re.findall(r"(?m)^file = (.*)$", settings)
    (directory / file).write_text(text)
    (directory / "simulation.ini").write_text(settings)
    simulation = config.load_simulation(directory / "simulation.ini", None)
    if settings.startswith("[meter]"):
        meter = simulation.meter("Meter_0")
        power = load.model(meter.model, meter.seed, "Meter_0", **meter.parameters)
    else:
        pv = simulation.pv("Meter_0")
        power = solar.model(pv.model, pv.seed, "Meter_0", **pv.parameters)
    first, step_s, right = RIGHT[name]
    start_ns = config.instant_ns(config.parse_time(first), None)
    assert [each / 1000 for each in power([start_ns + at * step_s * 10**9 for at in range(len(right))])] == right


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    """The file and the settings of each, and the powers that come of them."""
    assert_replays(name, *example(name), tmp_path)


@pytest.mark.parametrize("at, name", list(enumerate(EXAMPLES)), ids=list(EXAMPLES))
def test_readme(at: int, name: str, tmp_path: Path) -> None:
    """A file with README's header and README's keys replays as that of the manual page."""
    told, header, keys = ROWS[at]
    text, settings = example(name)
    assert header in text.split("\n"), told
    lines = [settings.split("\n")[0], "model = replay", "file = NAME.csv", *re.findall("`(.*?)`", keys)]
    assert_replays(name, text, "\n".join(lines), tmp_path)


def test_readme_has_each_of_them() -> None:
    assert [told.split(",")[0].lower() for told, *_ in ROWS] == [
        "pvgis", "pvgis", "home assistant", "smart meter", "counter", "inverter portal", "pandas",
    ]  # fmt: skip
