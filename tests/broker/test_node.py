"""The private RabbitMQ node: it works, it can be broken, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pika
import pytest

from pvsim.errors import PvsimError
from pvsim.tools import node as node_module
from pvsim.tools.nest import Nest
from pvsim.tools.node import Node
from tests.allowed import require
from tests.broker.client import PERSISTENT, publish
from tests.broker.conftest import CHECKOUT, Amqp, processes_of, wait_until

QUEUE = "Meter_0"
OWNER = """
import time
from pvsim.tools.node import Node
with Node() as node:
    print(node.directory, flush=True)
    time.sleep(600)
"""


def is_closed(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def use_and_fail(node: Node) -> None:
    """Run it until an exception comes."""
    with node:
        assert processes_of(node.directory)
        raise ZeroDivisionError


def publish_to_quorum_queue(node: Node, body: bytes) -> None:
    """Declare a quorum queue, and publish a persistent message that the broker confirms."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    publish(channel, "", QUEUE, body, PERSISTENT)
    connection.close()


def test_speaks_to_an_independent_client(node: Node, amqp: Amqp) -> None:
    """What amqp-publish sends, amqp-get gets; rabbitmqctl knows it meanwhile."""
    amqp.declare(QUEUE)
    amqp.publish(QUEUE, b"hello")
    assert node.ctl("list_queues", "name").split() == ["name", QUEUE]
    assert amqp.get(QUEUE) == b"hello"
    assert amqp.get(QUEUE) is None


def test_keeps_what_it_confirmed(own_node: Node) -> None:
    """A quorum queue works as soon as the node is started, and is still there after kill -9 and after a restart."""
    amqp = Amqp(own_node)
    publish_to_quorum_queue(own_node, b"first")
    time.sleep(2)  # a queue that was just declared may be lost with the node
    own_node.kill()
    assert not own_node.is_running
    assert is_closed(own_node.port)
    own_node.start()
    publish_to_quorum_queue(own_node, b"second")
    own_node.restart()
    assert [amqp.get(QUEUE), amqp.get(QUEUE), amqp.get(QUEUE)] == [b"first", b"second", None]


def test_pause_and_resume(node: Node, amqp: Amqp) -> None:
    """A paused node answers nothing; afterwards it goes on."""
    amqp.declare(QUEUE)
    node.pause()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            Amqp(node, timeout=1).get(QUEUE)
    finally:
        node.resume()
    amqp.publish(QUEUE, b"later")
    assert amqp.get(QUEUE) == b"later"


def test_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither process nor file is left after an exception; the environment's RABBITMQ_* do not get in."""
    monkeypatch.setenv("RABBITMQ_NODENAME", "somebody@elsewhere")
    monkeypatch.setenv("RABBITMQ_CONFIG_FILE", "/nowhere/rabbitmq.conf")
    monkeypatch.setenv("HOME", "/nowhere")
    node = Node()
    with pytest.raises(ZeroDivisionError):
        use_and_fail(node)
    assert not node.directory.exists()
    assert is_closed(node.port)
    wait_until(lambda: not processes_of(node.directory), 5, "the end of all its processes")


def test_ends_with_its_owner() -> None:
    """An owner killed with SIGKILL takes it along."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    with owner.stdout:
        directory = Path(owner.stdout.readline().strip())
    assert processes_of(directory)
    owner.kill()
    owner.wait()
    wait_until(lambda: not directory.exists(), 10, f"{directory} is removed")
    wait_until(lambda: not processes_of(directory), 5, "the end of all its processes")


def test_a_start_that_fails_says_why() -> None:
    """A sentence, and the last lines of the log; nothing is left."""
    node = Node(conf="no_such_key = 1")
    with pytest.raises(PvsimError, match=r"(?s)ended with status .* its log says:.*set no_such_key"), node:
        pass
    assert not node.directory.exists()


def test_a_taken_port(node: Node) -> None:
    """The port of another node, or of anything else, is refused with a sentence."""
    with pytest.raises(PvsimError, match=rf"Port {node.port} .* is taken"):
        Node(port=node.port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PvsimError, match=rf"Port {port} .* is taken"):
            Node(port=port)


def test_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without RabbitMQ the user is told what to install."""
    monkeypatch.setattr(node_module, "_INSTALLED", tmp_path)
    with pytest.raises(PvsimError, match="run: apt install rabbitmq-server"):
        Node()


@pytest.mark.long
def test_two_nodes_make_a_cluster(own_node: Node) -> None:
    """A node joins its peer."""
    with Node(peer=own_node) as second:
        for command in (["stop_app"], ["join_cluster", own_node.name], ["start_app"]):
            second.ctl(*command)
        assert second.name in own_node.ctl("eval", "nodes().")
        publish_to_quorum_queue(second, b"somewhere")
        assert Amqp(own_node).get(QUEUE) == b"somewhere"


def test_spaces_in_tmpdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RabbitMQ's scripts cannot take them: another directory serves."""
    with_spaces = tmp_path / "a b"
    with_spaces.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(with_spaces))
    node = Node()
    assert " " not in str(node.directory)
    node.close()
    assert list(with_spaces.iterdir()) == []


@pytest.mark.parametrize(
    "before, what",
    [
        ("true", "Network is unreachable"),
        ("ip link set lo up; ip address flush dev lo", "Cannot assign requested address"),
    ],
)
def test_without_a_loopback_address(before: str, what: str) -> None:
    """A sentence that says so, not that all ports are taken."""
    require("networks")
    start = f'{before}; exec {sys.executable} -c "from pvsim.tools.node import Node; Node()"'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", start], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert f"This machine cannot reach itself at 127.0.0.1: {what}; run: ip link set lo up" in done.stderr


def test_nest_ends_its_processes() -> None:
    """What was started in a nest is ended with it, and so is the directory; closing twice does no harm."""
    nest = Nest("pvsim-test-")
    child = nest.spawn(["sleep", "600"], os.environ, nest.directory / "log")
    nest.close()
    nest.close()
    assert child.returncode == -signal.SIGKILL
    assert not nest.directory.exists()


def test_nest_interrupted_while_it_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of which the guard has not heard does not begin: Ctrl-C may come in between."""

    def interrupt(_nest: Nest, _groups: str) -> None:
        raise KeyboardInterrupt

    with Nest("pvsim-test-") as nest, monkeypatch.context() as patch:
        patch.setattr(Nest, "_tell_guard", interrupt)
        with pytest.raises(KeyboardInterrupt):
            nest.spawn(["sleep", "600"], {**os.environ, "NEST": str(tmp_path)}, nest.directory / "log")
        wait_until(lambda: not processes_of(tmp_path), 10, "its end")
