"""What a service counts, as Prometheus reads it."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

import pytest

from pvsim.meter.figures import MeterFigures
from pvsim.metrics import Figures, Gauge, Histogram, MetricsFile
from pvsim.pv.figures import PvFigures

KINDS: list[type[MeterFigures] | type[PvFigures]] = [MeterFigures, PvFigures]
SAMPLE = re.compile(r'(?P<name>[a-z_]+)\{unit="(?P<unit>[^"]+)"(?:,[a-z]+="[^"]+")?\} (?P<value>[0-9.e+-]+)')


def families(text: str) -> dict[str, tuple[str, str]]:
    """The help and the type of each metric."""
    helps = dict(re.findall(r"(?m)^# HELP (\S+) (.+)$", text))
    types = dict(re.findall(r"(?m)^# TYPE (\S+) (.+)$", text))
    assert helps.keys() == types.keys()
    return {name: (helps[name], types[name]) for name in helps}


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_is_one_of_prometheus(kind: type[MeterFigures] | type[PvFigures]) -> None:
    text = kind().text("pvsim-pv@Meter_0..9")
    names = families(text)
    for line in text.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match["unit"] == "pvsim-pv@Meter_0..9"
            assert re.sub("_(bucket|sum|count)$", "", match["name"]) in names


def test_what_both_kinds_have_says_the_same() -> None:
    """node_exporter reads all files together, and refuses a name that says two things."""
    meter, pv = (families(kind().text("unit")) for kind in KINDS)
    both = meter.keys() & pv.keys()
    assert {name: meter[name] for name in both} == {name: pv[name] for name in both}
    assert "pvsim_connected" in both


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("h", "Text.", (0.5, 1))
    for value in (0.5, 0.6, 1.5):
        histogram.observe(value)
    assert list(histogram.lines("u"))[2:] == [
        'h_bucket{unit="u",le="0.5"} 1',
        'h_bucket{unit="u",le="1.0"} 2',
        'h_bucket{unit="u",le="+Inf"} 3',
        'h_sum{unit="u"} 2.6',
        'h_count{unit="u"} 3',
    ]


def test_texts_are_escaped() -> None:
    assert list(Gauge("g", "Text.").lines('a"\\\n'))[2:] == ['g{unit="a\\"\\\\\\n"} 0']


def test_the_file_is_for_everybody_and_whole(tmp_path: Path) -> None:
    """Whatever the umask; and nothing is left beside it."""
    path = tmp_path / "pvsim-pv@Meter_0..9.prom"
    before = os.umask(0o077)
    try:
        MetricsFile(path).write(Figures(["a"]))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert 'pvsim_connected{unit="pvsim-pv@Meter_0..9"} 0\n' in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    MetricsFile(path).remove()
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And when it can be written again."""
    caplog.set_level(logging.INFO)
    file = MetricsFile(tmp_path / "none" / "unit.prom")
    for _ in range(3):
        file.write(Figures([]))
    file.path.parent.mkdir()
    file.write(Figures([]))
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "No such file or directory" in caplog.text
    file.remove()
    file.remove()
