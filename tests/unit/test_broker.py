"""What the broker's file decides without a broker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvsim.broker import Turn, arguments, rejected_arguments
from pvsim.config import Address, BrokerSettings

NODES = [Address("a", 1), Address("b", 2), Address("c", 3)]


@pytest.mark.parametrize("chance, first", [(0, "a"), (0.33, "a"), (0.34, "b"), (0.67, "c"), (0.999, "c")])
def test_services_spread(chance: float, first: str) -> None:
    """Each node is the first for as many services, and the others follow in the order in which they are given."""
    turn = Turn(NODES, chance)
    tried = []
    for _ in range(6):
        tried.append(turn.address.host)
        turn.fail(30, 1)
    assert tried[0] == first
    assert "".join(tried) in "abcabcabc"


def test_one_round_goes_fast() -> None:
    """The next node is tried at once, and only after all have failed the waiting grows, up to its limit."""
    turn = Turn(NODES, 0)
    assert [turn.fail(30, 1) for _ in range(9)] == [0.5, 0.5, 0.5, 0.5, 0.5, 0.75, 0.5, 0.5, 1.125]
    for _ in range(300):
        turn.fail(30, 1)
    assert [turn.fail(30, 1) for _ in range(3)] == [0.5, 0.5, 30]
    turn.succeed()
    assert [turn.fail(30, 0) for _ in range(3)] == [0.25, 0.25, 0.25]


def test_one_node() -> None:
    """Each failure waits longer."""
    turn = Turn(NODES[:1], 0.5)
    assert [turn.fail(1, 1) for _ in range(4)] == [0.5, 0.75, 1, 1]
    assert turn.address == NODES[0]


def test_arguments_of_queues() -> None:
    """No quorum queue drops what was returned often; a classic queue takes no such argument; both are bounded."""
    quorum = BrokerSettings(max_queue_length=7)
    classic = replace(quorum, queue_type="classic")
    for made in arguments, rejected_arguments:
        assert made(quorum)["x-delivery-limit"] == 2**31 - 1
        assert "x-delivery-limit" not in made(classic)
        assert (made(quorum)["x-queue-type"], made(classic)["x-queue-type"]) == ("quorum", "classic")
    for settings in quorum, classic:
        assert arguments(settings)["x-max-length"] == 7
        assert arguments(settings)["x-overflow"] == "reject-publish"
        assert arguments(settings)["x-single-active-consumer"]
        assert rejected_arguments(settings)["x-overflow"] == "drop-head"
        assert "x-single-active-consumer" not in rejected_arguments(settings)
