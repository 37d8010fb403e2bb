"""`pvsim check --offline` reads both files, and says of each how it is. With a broker: tests/broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvsim.tools import main
from pvsim.tools.check import _known
from pvsim.tools.policies import FAILED, OK, _in_force, _loss, _matches

GOOD_BROKER, GOOD_SIMULATION = "[broker]\nport = 1\n", "[meter]\nnb_meter = 3\nmodel = household\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """broker.ini and simulation.ini, both well; returns their directory."""
    (tmp_path / "broker.ini").write_text(GOOD_BROKER)
    (tmp_path / "simulation.ini").write_text(GOOD_SIMULATION)
    return tmp_path


def check(directory: Path, *arguments: str) -> int:
    return main(["check", "--offline", "-conf", str(directory / "broker.ini"), *arguments])


def test_both_files_are_well(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(files) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{files}/broker.ini",
        "  ok      no TLS, user 'guest', virtual host '/', quorum queues",
        f"{files}/simulation.ini",
        "  ok      3 meters; Meter_0: load household, every 1 s, PV random",
    ]


def test_a_file_that_is_not_there(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It means the defaults, and is not said to be well."""
    (files / "simulation.ini").unlink()
    assert check(files) == 0
    said = "  ok      there is no such file; by default: 1 meter; Meter_0: load random, every 1 s, PV random"
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_what_is_wrong_in_both_files_is_said_at_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "broker.ini").write_text("[broker]\nport = x\n")
    (files / "simulation.ini").write_text("[meter]\nnb_meters = 3\n")
    assert check(files) == 78
    out = capsys.readouterr().out
    assert out.count("FAILED") == 2
    assert "port" in out
    assert "nb_meters" in out


def test_a_profile_that_one_meter_replays_is_read(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "simulation.ini").write_text("[pv Meter_7]\nmodel = replay\nfile = none.csv\n")
    assert check(files) == 78
    assert f"{files}/none.csv is no file" in capsys.readouterr().out


def test_json_says_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(files, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert [(part["place"], part["steps"][0]["result"]) for part in report["checked"]] == [
        (f"{files}/broker.ini", OK),
        (f"{files}/simulation.ini", OK),
    ]
    (files / "simulation.ini").write_text("[meter]\nseed = x\n")
    assert check(files, "--json") == 78
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["checked"][1]["steps"][0]["result"] == FAILED


def test_nothing_is_written(files: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in files.iterdir())
    assert check(files) == 0
    assert sorted((path.name, path.stat().st_mtime_ns) for path in files.iterdir()) == before


@pytest.mark.parametrize(
    "definition, word",
    [
        ('{"message-ttl":1000}', "message-ttl"),
        ('{"expires":60000}', "expires"),
        ('{"max-length":5,"overflow":"drop-head"}', "drop-head"),
        ('{"delivery-limit":3}', "delivery-limit"),
        ('{"delivery-limit":-1}', ""),
        ('{"max-length":5}', ""),
        ('{"max-length":5,"overflow":"reject-publish"}', ""),
        ('{"queue-leader-locator":"balanced"}', ""),
    ],
)
def test_policies_that_lose_readings(definition: str, word: str) -> None:
    assert word in _loss({"apply-to": "queues", "definition": definition})
    assert bool(_loss({"apply-to": "all", "definition": json.loads(definition)})) is bool(word)
    assert not _loss({"apply-to": "exchanges", "definition": definition})


def test_a_pattern_that_only_erlang_knows_counts_as_a_match() -> None:
    assert _matches("^Meter", "Meter_0")
    assert not _matches("^Other", "Meter_0")
    assert _matches("(?|a", "Meter_0")


def test_of_two_policies_that_match_the_one_of_the_higher_priority_is_in_force() -> None:
    low, high = {"pattern": "", "priority": 0}, {"pattern": "^Meter", "priority": 7}
    exchanges = {"pattern": "", "priority": 9, "apply-to": "exchanges"}
    assert _in_force([low, exchanges, high], "Meter_0") is high
    assert _in_force([low, exchanges, high], "Garage") is low
    assert _in_force([exchanges], "Garage") is None


@pytest.mark.parametrize(
    "product, nb_nodes, nb_meters, words",
    [
        ("RabbitMQ 3.10.8", 3, 20_000, []),
        ("RabbitMQ 3.10.8", 1, 20_001, ["LimitNOFILE=80004"]),
        ("RabbitMQ 4.0.5", 1, 20_001, []),
        ("RabbitMQ 3.9.13", 1, 1, ["tested with RabbitMQ 3.10 to 4.3"]),
        ("RabbitMQ 4.2.1", 3, 1, []),
        ("RabbitMQ 4.3.0", 1, 1, []),
        ("RabbitMQ 4.3.0", 3, 1, ["consumer_disconnected_timeout"]),
        ("RabbitMQ 10.0", 3, 1, ["tested with", "consumer_disconnected_timeout"]),
        ("LavinMQ 2.0.0", 1, 1, ["does not say that it is RabbitMQ"]),
        ("", 1, 1, ["does not say that it is RabbitMQ"]),
    ],
)
def test_what_is_known_of_a_version_is_told(product: str, nb_nodes: int, nb_meters: int, words: list[str]) -> None:
    told = list(_known(product, nb_nodes, nb_meters))
    assert len(told) == len(words)
    for text, word in zip(told, words, strict=True):
        assert word in text
