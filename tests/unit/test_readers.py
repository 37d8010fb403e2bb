"""Whoever reads a day file by guessing its types gets the numbers that were written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from pvsim import config
from pvsim.models import load, solar
from pvsim.reading import block
from pvsim.row import HEADER, format_block

DAY_S = 1_781_992_800  # 2026-06-21T00:00:00+02:00
POWERS = ("meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w")
MODELS = [
    ("random", "random"),
    ("household", "clear-sky"),
    ("household", "weather"),
    ("replay", "replay"),
]


def by_csv(path: Path) -> list[float]:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, quoting=csv.QUOTE_NONE))
    return [sum(float(row[name]) for row in rows) for name in POWERS]


def by_pandas(path: Path) -> list[float]:
    frame = import_module("pandas").read_csv(path)
    assert [str(frame[name].dtype) for name in POWERS] == ["float64"] * 3
    return [float(frame[name].sum()) for name in POWERS]


def by_polars(path: Path) -> list[float]:
    frame = import_module("polars").read_csv(path)
    return [float(frame[name].sum()) for name in POWERS]


def by_pyarrow(path: Path) -> list[float]:
    table = import_module("pyarrow.csv").read_csv(path)
    assert [str(table[name].type) for name in POWERS] == ["double"] * 3
    return [sum(table[name].to_pylist()) for name in POWERS]


def by_duckdb(path: Path) -> list[float]:
    names = ", ".join(f"sum({name})" for name in POWERS)
    (row,) = import_module("duckdb").sql(f"select {names} from read_csv('{path}')").fetchall()
    return [float(each) for each in row]


READERS: dict[str, Callable[[Path], list[float]]] = {
    "csv": by_csv,
    "pandas": by_pandas,
    "polars": by_polars,
    "pyarrow": by_pyarrow,
    "duckdb": by_duckdb,
}
AT_HAND = [name for name in READERS if find_spec(name)]


@pytest.fixture(scope="module")
def day_files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Path, list[float]]]:
    """A day of each pair of models, a row in four seconds, which begins at night; and the sums of its columns."""
    directory = tmp_path_factory.mktemp("days")
    times = [(DAY_S + second) * 10**9 for second in range(0, 86_400, 4)]
    (directory / "profile.csv").write_text("time,P\n2026-06-21T00:00Z,0\n2026-06-21T12:00Z,800.5\n")
    made = {}
    for meter_model, pv_model in MODELS:
        lines = [f"[{name}]\nmodel = {model}" for name, model in (("meter", meter_model), ("pv", pv_model))]
        lines = [f"{each}\nfile = profile.csv" if each.endswith("replay") else each for each in lines]
        (directory / "simulation.ini").write_text("\n".join(lines))
        simulation = config.load_simulation(directory / "simulation.ini", None)
        meter, pv = simulation.meter("M"), simulation.pv("M")
        watts = load.model(meter.model, 0, "M", **meter.parameters)(times)
        pvs = solar.model(pv.model, 0, "M", **pv.parameters)(times)
        path = directory / f"M-{meter_model}-{pv_model}.csv"
        path.write_text("\n".join([HEADER, *format_block("M", block(times, watts), pvs), ""]))
        sums = [Decimal(sum(watts)) / 1000, Decimal(sum(pvs)) / 10**6, Decimal(sum(watts) + sum(pvs)) / 1000]
        made[meter_model, pv_model] = path, [float(each) for each in sums]
    return made


@pytest.mark.parametrize("models", MODELS, ids="-".join)
@pytest.mark.parametrize("reader", AT_HAND)
def test_sums(reader: str, models: tuple[str, str], day_files: dict[tuple[str, str], tuple[Path, list[float]]]) -> None:
    """The sum of each column, as read, is that of the numbers that the models gave."""
    path, sums = day_files[models]
    assert READERS[reader](path) == pytest.approx(sums, rel=1e-12)
