"""The examples of pvsim-profiles(5) are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pvsim import config
from pvsim.models import load, solar

PAGE = (Path(__file__).parents[2] / "debian/man/pvsim-profiles.5").read_text("utf-8")
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


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    """The file and the settings of each, and the powers that come of them."""
    text, settings = re.findall(r"(?ms)^\.Bd .*?$\n(.*?)^\.Ed", EXAMPLES[name])
    (file,) = re.findall(r"(?m)^file = (.*)$", settings)
    (tmp_path / file).write_text(text)
    (tmp_path / "simulation.ini").write_text(settings)
    simulation = config.load_simulation(tmp_path / "simulation.ini", None)
    if settings.startswith("[meter]"):
        meter = simulation.meter("Meter_0")
        power = load.model(meter.model, meter.seed, "Meter_0", **meter.parameters)
    else:
        pv = simulation.pv("Meter_0")
        power = solar.model(pv.model, pv.seed, "Meter_0", **pv.parameters)
    first, step_s, right = RIGHT[name]
    start_ns = config.instant_ns(config.parse_time(first), None)
    assert [each / 1000 for each in power([start_ns + at * step_s * 10**9 for at in range(len(right))])] == right
