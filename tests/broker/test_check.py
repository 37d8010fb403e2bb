"""`pvsim check` tells of policies that take readings from a queue before anybody has read them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.conftest import Service, Services


def rabbitmqctl(node: Node, directory: Path) -> str:
    """A PATH on which `rabbitmqctl` is that of this node."""
    script = directory / "bin/rabbitmqctl"
    script.parent.mkdir()
    names = " ".join(shlex.quote(f"{name}={value}") for name, value in node.environment.items())
    script.write_text(f'#!/bin/sh\ncd {node.directory} && exec env -i {names} home/sbin/rabbitmqctl "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:{os.environ['PATH']}"


def check(services: Services, path: str) -> Service:
    return services.start("pvsim.tools", "check", "-conf", "broker.ini", env={"PATH": path})


@pytest.mark.parametrize("kind", ["policy", "operator_policy"])
@pytest.mark.parametrize("pattern, status, result", [("^Meter", 1, "FAILED"), ("^Nobody", 0, "note")])
def test_policies_that_lose_readings_are_told(
    node: Node, services: Services, tmp_path: Path, pattern: str, status: int, result: str, kind: str
) -> None:
    path = rabbitmqctl(node, tmp_path)
    (tmp_path / "broker.ini").write_text(f"[broker]\nhost = {node.host}\nport = {node.port}\n")
    well = check(services, path)
    assert well.wait(60) == 0, well.output
    assert "ok      policies: none of them loses readings" in well.output
    shell.ctl(node, f"set_{kind}", "short", pattern, '{"message-ttl":1000}', "--apply-to", "queues")
    try:
        told = check(services, path)
        assert told.wait(60) == status, told.output
    finally:
        shell.ctl(node, f"clear_{kind}", "short")
    whose = "the queue Meter_0" if status else "queues"
    line = f"{result:<7} policies: 'short' ({pattern}) makes {whose} drop readings that nobody has taken within 1 s"
    assert line in told.output
    assert f"rabbitmqctl clear_{kind} -p / short" in told.output


def test_a_policy_that_another_one_overrides_loses_nothing(node: Node, services: Services, tmp_path: Path) -> None:
    path = rabbitmqctl(node, tmp_path)
    (tmp_path / "broker.ini").write_text(f"[broker]\nhost = {node.host}\nport = {node.port}\n")
    shell.ctl(node, "set_policy", "short", "", '{"message-ttl":1000}', "--apply-to", "queues")
    shell.ctl(node, "set_policy", "long", "^Meter", '{"max-length":9}', "--apply-to", "queues", "--priority", "1")
    try:
        told = check(services, path)
        assert told.wait(60) == 0, told.output
    finally:
        shell.ctl(node, "clear_policy", "short")
        shell.ctl(node, "clear_policy", "long")
    assert "note    policies: 'short' () makes queues drop readings" in told.output


def test_policies_that_cannot_be_seen_are_said_not_to_be_looked_at(
    node: Node, services: Services, tmp_path: Path
) -> None:
    (tmp_path / "broker.ini").write_text(f"[broker]\nhost = {node.host}\nport = {node.port}\n")
    tool = services.start("pvsim.tools", "check", "-conf", "broker.ini", env={"PATH": str(tmp_path)})
    assert tool.wait(60) == 0, tool.output
    assert "note    policies: not looked at; as root on the broker's machine: rabbitmqctl" in tool.output
