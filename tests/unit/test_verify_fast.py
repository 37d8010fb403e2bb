"""`pvsim verify` on many cores, and of whole blocks, says what it says of rows one by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import config
from pvsim.errors import ConfigError, PvsimError
from pvsim.reading import block
from pvsim.row import HEADER, format_block
from pvsim.tools.verify import clean, command, rows
from pvsim.tools.verify.expected import Expected, expect
from pvsim.tools.verify.report import Report
from pvsim.tools.workers import in_order
from tests.examples import examples
from tests.unit.test_verify import NAME, SETTINGS, START_S, Run, run, write, wrong

__all__ = ["run"]  # a fixture

DAY = date(2025, 11, 22)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    path = tmp_path_factory.mktemp("settings") / "simulation.ini"
    path.write_text(SETTINGS)
    simulation = config.load_simulation(path, None)
    return expect("Meter_0", simulation.meter("Meter_0"), simulation.pv("Meter_0"), UTC)


def lines_of(expected: Expected, seconds: list[int]) -> list[str]:
    times = [(START_S + each) * 10**9 for each in seconds]
    assert expected.power
    return format_block("Meter_0", block(times, expected.power(times)), expected.pv_power(times))


def text_of(lines: list[str]) -> str:
    return "\n".join([HEADER, *lines, ""])


def slowly(call: Callable[[], Report]) -> Report:
    """The same with no way round: row by row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "clean_runs", lambda *_: None)
        return call()


@examples(150)
@given(
    st.lists(st.tuples(st.integers(0, 86_000), st.integers(1, 40)), min_size=1, max_size=5),
    st.booleans(),
    st.integers(1, 30),
    st.none() | st.tuples(st.floats(0, 1), st.sampled_from(["", "0", "1", "\n", ",", "x", "\n\n"]), st.integers(0, 3)),
    st.sampled_from([1, 2, 60]),
)
def test_as_row_by_row(
    expected: Expected,
    spans: list[tuple[int, int]],
    in_order: bool,
    most: int,
    damage: tuple[float, str, int] | None,
    interval_s: int,
) -> None:
    """Whatever stands in a file: with gaps, out of order, damaged, in other intervals, on other days."""
    seconds = [each for start, count in spans for each in range(start, start + count)]
    lines = lines_of(expected, sorted(set(seconds)) if in_order else seconds)
    text = text_of(lines)
    if damage:
        place, put, cut = damage
        at = len(HEADER) + 1 + int(place * (len(text) - len(HEADER) - 1))
        text = text[:at] + put + text[at + cut :]
    wanted = replace(expected, interval_ns=interval_s * 10**9)
    for day in (DAY, date(2025, 11, 23)):
        check = partial(rows.check_day, wanted, day, [("a.csv", text)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clean, "_MOST", most)
            assert check() == slowly(check)


def test_clean_files_take_the_short_way(expected: Expected, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day with some gaps is told without a look at single rows."""
    lines = lines_of(expected, [*range(5000), *range(6000, 12_000), 70_000])
    monkeypatch.setattr(rows, "_check_rows", None)
    report = rows.check_day(expected, DAY, [("a.csv", text_of(lines))])
    assert [len(run) for run in report.present] == [5000, 6000, 1]
    assert report.rows == 11_001


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_in_order(workers: int) -> None:
    """Results come in order, an error when it is its turn."""
    calls = [partial(int, str(number)) for number in range(50)]
    assert list(in_order(calls, workers)) == list(range(50))
    results = in_order([*calls[:7], partial(int, "x"), *calls[7:]], workers)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)


def test_a_process_that_is_killed() -> None:
    """It is told, and nothing waits for it."""
    calls: list[Callable[[], object]] = [partial(int, "1"), lambda: os.kill(os.getpid(), signal.SIGKILL)]
    with pytest.raises(PvsimError, match="was killed"):
        list(in_order(calls, 2))


def test_many_processes(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say is what one says, in the same order, for several meters and days; and a file that is gone."""
    for meter_id in ("Meter_0", "Meter_1"):
        write(tmp_path, range(3 * 86_400 // 60), meter_id, step_ns=60 * 10**9)
    path = tmp_path / NAME
    path.write_text(path.read_text().replace(",", ";", 7))
    names = [each.name for each in tmp_path.glob("*.csv")]
    one = run(*names, "--interval", "60")
    monkeypatch.setattr(command, "_MANY_BYTES", 0)
    monkeypatch.setattr(command, "cores", lambda: 3)
    assert run(*names, "--interval", "60") == one
    assert wrong(one[1]["total"])
    with pytest.raises(ConfigError, match=r"Cannot read .*Meter_9-2025-11-22\.csv"):
        run(*names, "Meter_9-2025-11-22.csv")
