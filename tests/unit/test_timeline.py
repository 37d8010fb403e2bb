"""Times and speeds as users write them, and what becomes due when."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import meter
from pvsim.config import instant_ns, parse_time
from pvsim.errors import ConfigError
from pvsim.meter.service import bar
from pvsim.meter.timeline import Timeline, parse_speed

SECOND = 10**9
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text, second",
    [
        ("2026-01-01", 1767222000),
        ("2026-07-01T00:00", 1782856800),
        ("2026-01-01T00:00:00+00:00", 1767225600),
        ("1767225600", 1767225600),
        ("0", 0),
    ],
)
def test_time(text: str, second: int) -> None:
    """A time without an offset is one of the time zone whose midnight begins a day file (by date -d)."""
    assert instant_ns(parse_time(text), BERLIN) == second * SECOND


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1969-12-31", "nan", "1e20"])
def test_no_time(text: str) -> None:
    """What is none is refused, with what would be right."""
    with pytest.raises(ArgumentTypeError, match="give one such as"):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf", "1e7"])
def test_no_speed(text: str) -> None:
    """So is a speed."""
    with pytest.raises(ArgumentTypeError, match=r"give a number from 0\.001"):
        parse_speed(text)


def test_the_clock() -> None:
    """Without anything, the instants are those of the clock."""
    timeline = Timeline()
    assert (timeline.due_ns(123), timeline.clock_ns(123), timeline.is_over(10**20)) == (123, 123, False)
    assert timeline.has_stops


@given(st.integers(0, 10**6), st.sampled_from(["0.5", "1", "60", "1000000"]))
def test_speed(after_s: int, speed: str) -> None:
    """An instant becomes due when a faster clock shows it, and not before."""
    timeline = Timeline(speed=parse_speed(speed)).begin(10**18, 2 * 10**18)
    instant = 10**18 + after_s * SECOND
    assert timeline.due_ns(timeline.clock_ns(instant)) <= instant
    assert timeline.due_ns(timeline.clock_ns(instant) + 2) >= instant
    assert not timeline.has_stops


def prepare(tmp_path: Path, *arguments: str) -> meter.Options:
    (tmp_path / "broker.ini").write_text("[broker]\n")
    given_options = ["-conf", str(tmp_path / "broker.ini"), "--state-dir", str(tmp_path), *arguments]
    return meter.prepare(meter.parser().parse_args(given_options))


def test_options(tmp_path: Path) -> None:
    """Each history keeps a progress of its own, beside that of the live fleet, and knows no backlog."""
    (tmp_path / "simulation.ini").write_text("[meter]\nbacklog = 10\n[pv]\ntimezone = Europe/Berlin\n")
    live = prepare(tmp_path)
    assert live.progress == tmp_path / "progress.json"
    assert live.meters["Meter_0"].backlog_ns == 10 * SECOND
    past = prepare(tmp_path, "--from", "2026-01-01", "--to", "2026-02-01", "-ids", "M_0..9")
    assert past.timeline == Timeline(1767222000 * SECOND, 1769900400 * SECOND)
    assert past.progress == tmp_path / "progress-M_0..9+1767222000..1769900400.json"
    assert past.meters["M_0"].backlog_ns is None
    assert prepare(tmp_path, "--from", "0", "--speed", "6e1").progress == tmp_path / "progress-0..x60.json"
    assert prepare(tmp_path, "--to", "2026-02-01").progress == live.progress


def test_wrong_order(tmp_path: Path) -> None:
    """A span that ends before it begins is a wrong configuration."""
    with pytest.raises(ConfigError, match="--from is not before --to"):
        prepare(tmp_path, "--from", "2026-02-01", "--to", "2026-02-01")


def test_bar() -> None:
    """How far it has come, in one line."""
    assert bar(0.5, 1_000_000, 4.0) == " 50.0% [###############---------------] 1,000,000 readings, 250,000/s"
    assert bar(1.0, 0, 0.0) == f"100.0% [{'#' * 30}] 0 readings, 0/s"
