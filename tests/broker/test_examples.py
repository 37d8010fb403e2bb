"""The examples, tried with what Debian has of the other end: mosquitto, Prometheus, pandas, RabbitMQ's own tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from pvsim.tools.nest import Nest
from pvsim.tools.node import Node
from pvsim.tools.ports import Ports
from tests.broker import shell
from tests.broker.conftest import CHECKOUT, Amqp, Services, wait_until

EXAMPLES = CHECKOUT / "debian/examples"


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """What a command prints; fails if the command does."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}, check=False
    )
    assert done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    """Ports for these programs, which no node and no outgoing connection takes in between."""
    ports = Ports()
    yield ports
    ports.close()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@pytest.fixture(scope="module")
def mqtt(ports: Ports) -> Iterator[tuple[Node, int]]:
    """A node with RabbitMQ's MQTT plugin and the user of mqtt.txt, and the plugin's port."""
    port = ports.claim()
    conf = f"mqtt.listeners.tcp.1 = 127.0.0.1:{port}\nmqtt.allow_anonymous = false\n"
    with Node(conf=conf, plugins=("rabbitmq_mqtt",)) as node:
        for words in re.findall(r"(?m)^ +sudo rabbitmqctl (.*)$", (EXAMPLES / "mqtt.txt").read_text()):
            shell.ctl(node, *re.sub("'", "", words).split())
        yield node, port


def heard(port: int, count: int, *login: str) -> list[tuple[str, dict[str, float]]]:
    """What mosquitto_sub hears: topics, and what they say."""
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), *login]
    lines = run(*command, "-t", "pvsim/#", "-v", "-C", str(count), "-W", "40").splitlines()
    return [(topic, json.loads(text)) for topic, _, text in (line.partition(" ") for line in lines)]


def test_an_mqtt_client_sees_each_row(mqtt: tuple[Node, int], services: Services) -> None:
    """Once a second; and what it sees stands in the file."""
    node, port = mqtt
    services.meter(node)
    services.pv(node, "-ids", "Meter_0")
    found = heard(port, 6, "-u", "mqtt", "-P", "A-PASSWORD")
    rows = {tuple(map(float, row[1:])) for row in services.rows("Meter_0")}
    assert {topic for topic, _ in found} == {"pvsim/Meter_0"}
    times = [copy["time_s"] for _, copy in found]
    assert times == list(range(int(times[0]), int(times[0]) + 6))
    names = ("time_s", "meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w")
    assert {tuple(float(copy[name]) for name in names) for _, copy in found} <= rows


def test_a_mosquitto_bridge_passes_them_on(mqtt: tuple[Node, int], ports: Ports, services: Services) -> None:
    node, port = mqtt
    own = ports.claim()
    text = (EXAMPLES / "mosquitto-bridge.conf").read_text().replace("BROKER:1883", f"127.0.0.1:{port}")
    conf = services.directory / "mosquitto.conf"
    conf.write_text(f"listener {own} 127.0.0.1\nallow_anonymous true\nuser root\n{text}")
    with Nest("pvsim-mosquitto-") as nest:
        nest.spawn(["/usr/sbin/mosquitto", "-c", str(conf)], dict(os.environ), services.directory / "mosquitto.log")
        wait_until(lambda: listens(own), 20, "mosquitto to listen")
        services.meter(node)
        services.pv(node, "-ids", "Meter_0")
        wait_until(lambda: listens(own), 60, "mosquitto")
        assert {topic for topic, _ in heard(own, 3)} == {"pvsim/Meter_0"}


def test_prometheus_takes_its_files(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "pvsim-alerts.yml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_node_exporter_reads_the_figures(node: Node, ports: Ports, services: Services) -> None:
    """Those of several units together, from the directory that the example names."""
    (options,) = re.findall(r'(?m)^ARGS="(.*)"$', (EXAMPLES / "prometheus-node-exporter").read_text())
    run_directory = services.directory / "run"
    run_directory.mkdir()
    services.meter(node, "--metrics-file", "run/pvsim-meter.prom")
    services.pv(node, "-ids", "Meter_0", "--metrics-file", "run/pvsim-pv@Meter_0.prom")
    services.wait_for_rows("Meter_0", 2)
    address = f"127.0.0.1:{ports.claim()}"
    with Nest("pvsim-exporter-") as nest:
        arguments = [options.replace("/run/pvsim", str(run_directory)), f"--web.listen-address={address}"]
        command = ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile", *arguments]
        nest.spawn(command, dict(os.environ), services.directory / "exporter.log")
        wait_until(lambda: len(re.findall(r"(?m)^pvsim_connected.* 1$", scraped(address))) == 2, 60, "both connected")
        text = scraped(address)
    assert "node_textfile_scrape_error 0" in text
    assert set(re.findall(r'(?m)^pvsim_connected\{unit="(.*)"\} 1$', text)) == {"pvsim-meter", "pvsim-pv@Meter_0"}


def scraped(address: str) -> str:
    """What an exporter says, nothing while it does not run."""
    host, port = address.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(f"GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            return stream.read().decode()
    return ""


@pytest.fixture
def day(tmp_path: Path) -> tuple[Path, list[str]]:
    """A day file, and its load, PV, import and export in kWh by `pvsim report`."""
    env = {"PYTHONPATH": str(CHECKOUT), "TZ": "UTC"}
    tools = ("/usr/bin/python3", "-m", "pvsim.tools")
    path = tmp_path / "Meter_0-2026-06-21.csv"
    path.write_text(run(*tools, "sample", "Meter_0", "--from", "2026-06-21", "--to", "2026-06-22", env=env))
    report = json.loads(run(*tools, "report", "--json", path, env=env))["total"]
    return path, [f"{report[name]:.3f}" for name in ("load_kwh", "pv_kwh", "import_kwh", "export_kwh")]


def test_pandas_sums_up_as_pvsim_report_does(day: tuple[Path, list[str]]) -> None:
    path, sums = day
    assert run("/usr/bin/python3", EXAMPLES / "energy-pandas.py", path).split()[-4:] == sums


if find_spec("duckdb"):  # Debian has none

    def test_duckdb_does_so_too(day: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        path, sums = day
        monkeypatch.chdir(path.parent)
        (row,) = import_module("duckdb").sql((EXAMPLES / "energy-duckdb.sql").read_text()).fetchall()
        assert [*row[:2], *(f"{each:.3f}" for each in row[2:])] == ["Meter_0", "2026-06-21", *sums]


def test_a_backup_has_all_files(tmp_path: Path) -> None:
    """And takes what has been written since."""
    source, target = tmp_path / "pvsim", tmp_path / "backup"
    source.mkdir()
    for name in ("progress.json", "Meter_0-2026-06-21.csv", "other.txt"):
        (source / name).write_text("a")
    backup = ("sh", EXAMPLES / "backup.sh", target)
    run(*backup, env={"PVSIM_DIRECTORY": str(source)})
    assert {path.name for path in target.iterdir()} == {"progress.json", "Meter_0-2026-06-21.csv"}
    later = time.time() + 10
    (source / "Meter_0-2026-06-21.csv").write_text("ab")
    os.utime(source / "Meter_0-2026-06-21.csv", (later, later))
    run(*backup, env={"PVSIM_DIRECTORY": str(source)})
    assert (target / "Meter_0-2026-06-21.csv").read_text() == "ab"


def test_queues_that_are_left_behind(own_node: Node, services: Services) -> None:
    """Those of pvsim are listed, and those that are named are removed, and nothing else."""
    amqp = Amqp(own_node)
    meter = services.meter(own_node, "-nb", "2")
    wait_until(lambda: "Meter_1" in shell.ctl(own_node, "list_queues", "name"), 60, "queues")
    meter.stop()
    amqp.declare("of.somebody.else")
    tool = services.directory / "rabbitmqctl"
    tool.write_text(f'#!/bin/sh\ncd {own_node.directory} && exec home/sbin/rabbitmqctl "$@"\n')
    tool.chmod(0o755)
    env = own_node.environment | {"PATH": f"{services.directory}:{os.environ['PATH']}"}
    script = ("sh", EXAMPLES / "remove-queues.sh")
    listed = run(*script, env=env)
    assert "Meter_0" in listed
    assert "of.somebody.else" not in listed
    assert run(*script, "Meter_0", env=env).startswith("Meter_0: ")
    assert shell.queues(own_node) == {"Meter_1", "of.somebody.else"}
