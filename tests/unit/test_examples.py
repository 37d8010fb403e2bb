"""The examples name what there is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from pvsim.meter.figures import MeterFigures
from pvsim.pv.figures import PvFigures
from pvsim.tools.watch.board import COLUMNS

EXAMPLES = Path(__file__).parents[2] / "debian/examples"
OF_OTHERS = {"node_textfile_mtime_seconds"}


def text(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


def metrics() -> set[str]:
    """The names of all samples."""
    told = MeterFigures().text("unit") + PvFigures().text("unit")
    return set(re.findall(r"(?m)^(pvsim_\w+)\{", told)) | OF_OTHERS


def test_the_list_names_every_example_and_no_other() -> None:
    assert set(re.findall(r"(?m)^  (\S+)  ", text("README"))) == {path.name for path in EXAMPLES.iterdir()} - {"README"}


def test_the_board_and_the_alerts_use_metrics_that_there_are() -> None:
    board = json.loads(text("grafana-dashboard.json"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += re.findall(r"expr: (.*)", text("pvsim-alerts.yml"))
    used = {name for each in expressions for name in re.findall(r"\b(?:pvsim|node)_\w+", each)}
    assert used <= metrics()
    assert len(expressions) > 15


def test_the_board_shows_every_metric() -> None:
    unseen = {name for name in metrics() - OF_OTHERS if name not in text("grafana-dashboard.json")}
    assert {re.sub("_(sum|count)$", "", name) for name in unseen} <= {
        "pvsim_last_commit_timestamp_seconds",
        "pvsim_commit_duration_seconds",
    }


def test_home_assistant_and_telegraf_use_keys_that_there_are() -> None:
    used = set(re.findall(r"value_json\.(\w+)", text("home-assistant.yaml")))
    assert used <= set(COLUMNS)
    assert "grid_power_w" in used
    (consumer,) = tomllib.loads(text("telegraf.conf"))["inputs"]["mqtt_consumer"]
    assert {*consumer["tag_keys"], consumer["json_time_key"]} <= set(COLUMNS)
