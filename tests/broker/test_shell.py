"""What is asked of a node is exact at once, and a node that was broken is as new."""

from __future__ import annotations

import time

import pytest

from pvsim.errors import PvsimError
from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.conftest import Amqp, held
from tests.broker.test_node import publish_to_quorum_queue


def test_a_broken_node_is_made_new(own_node: Node) -> None:
    """Whatever a test has done to it: it runs, has one user and no queue, and what it confirms is kept."""
    for what_it_did in (own_node.resume, own_node.pause, own_node.kill):
        publish_to_quorum_queue(own_node, b"old")
        shell.ctl(own_node, "add_user", "somebody", "secret")
        what_it_did()
        shell.make_new(own_node)
        assert shell.queues(own_node) == set()
        assert "somebody" not in shell.ctl(own_node, "list_users")
    publish_to_quorum_queue(own_node, b"new")
    time.sleep(2)  # a queue that was just declared may be lost with the node
    own_node.restart()
    assert Amqp(own_node).consume("Meter_0") == b"new"


def test_counts_are_exact(node: Node, amqp: Amqp) -> None:
    """Of both types of queues, in the moment after; a queue that is not there has none."""
    amqp.declare("Classic")
    for _ in range(3):
        publish_to_quorum_queue(node, b"one")
        amqp.publish("Classic", b"one")
    assert shell.queues(node) == {"Classic", "Meter_0"}
    assert [held(node, queue) for queue in ("Classic", "Meter_0", "None")] == [3, 3, 0]
    shell.delete_queues(node)
    assert shell.queues(node) == set()


def test_a_question_that_fails(node: Node) -> None:
    """It is an error, not an answer."""
    with pytest.raises(PvsimError, match="undef"):
        shell.ask(node, "no_such:thing()")


def test_a_command_is_carried_out(node: Node, amqp: Amqp) -> None:
    """And prints what `rabbitmqctl` does; one that fails is an error."""
    amqp.declare("Classic")
    listing = ("list_queues", "name", "type")
    assert shell.ctl(node, *listing) == node.ctl(*listing) == "name\ttype\nClassic\tclassic\n"
    shell.ctl(node, "delete_queue", "Classic")
    assert shell.queues(node) == set()
    with pytest.raises(PvsimError, match="Classic"):
        shell.ctl(node, "delete_queue", "Classic")
