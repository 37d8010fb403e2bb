"""What the broker's file decides without a broker."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import partial

import pika.adapters.utils.connection_workflow
import pika.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import ChannelClosed

from pvsim.broker import Rota, arguments, rejected_arguments
from pvsim.broker.link import is_local
from pvsim.broker.pika_private import Connection, TooLargeError, check_frame
from pvsim.broker.settling import Unsettled
from pvsim.broker.transport import Loop
from pvsim.broker.trouble import explain
from pvsim.config import Address, BrokerSettings

NODES = [Address("a", 1), Address("b", 2), Address("c", 3)]


@pytest.mark.parametrize("chance, first", [(0, "a"), (0.33, "a"), (0.34, "b"), (0.67, "c"), (0.999, "c")])
def test_services_spread(chance: float, first: str) -> None:
    """Each node is the first for as many services, and the others follow in the order in which they are given."""
    turn = Rota(NODES, chance)
    tried = []
    for _ in range(6):
        tried.append(turn.address.host)
        turn.fail(30, 1)
    assert tried[0] == first
    assert "".join(tried) in "abcabcabc"


def test_one_round_goes_fast() -> None:
    """The next node is tried at once, and only after all have failed the waiting grows, up to its limit."""
    turn = Rota(NODES, 0)
    assert [turn.fail(30, 1) for _ in range(9)] == [0.5, 0.5, 0.5, 0.5, 0.5, 0.75, 0.5, 0.5, 1.125]
    for _ in range(300):
        turn.fail(30, 1)
    assert [turn.fail(30, 1) for _ in range(3)] == [0.5, 0.5, 30]
    turn.succeed()
    assert [turn.fail(30, 0) for _ in range(3)] == [0.25, 0.25, 0.25]


def test_one_node() -> None:
    """Each failure waits longer."""
    turn = Rota(NODES[:1], 0.5)
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


@given(st.lists(st.lists(st.integers(1, 30), unique=True), max_size=12), st.integers(1, 30))
def test_what_is_acknowledged_is_what_is_done(steps: list[list[int]], early: int) -> None:
    """As the broker understands it: never a message that is not done with, and in the end each that is, once."""
    unsettled = Unsettled()
    open_tags: set[int] = set()  # the broker's

    def deliver(tags: range) -> None:
        for tag in tags:
            unsettled.add(tag)
            open_tags.add(tag)

    deliver(range(1, early + 1))
    done: set[int] = set()
    for number, step in enumerate(steps):
        if number == 3:
            deliver(range(early + 1, 31))
        tags = [tag for tag in step if tag in open_tags]
        done |= set(tags)
        through, singles = unsettled.settle(tags)
        named = {tag for tag in open_tags if tag <= through}
        assert not named & set(singles)
        assert named | set(singles) == set(tags)
        open_tags -= done


def test_one_frame_acknowledges_all_before_the_first_that_waits() -> None:
    """Whatever order they are done in; behind one that waits, each has a frame of its own."""
    unsettled = Unsettled()
    for tag in range(1, 1001):
        unsettled.add(tag)
    assert unsettled.settle([*range(1, 500), *range(501, 503)]) == (499, [501, 502])
    assert unsettled.settle([]) == (0, [])
    assert unsettled.settle(range(503, 1001)) == (0, [*range(503, 1001)])
    assert unsettled.settle([500]) == (500, [])


@pytest.mark.parametrize(
    "start, size",
    [
        (b"", 0),
        (b"\1\0\0\0\2\0", 0),
        (b"\1\0\0\0\2\0\0", 0),
        (b"\1\0\0\0\2\0\1", 131_073),
        (b"\x08\0\0\xff\xff\xff\xff", 2**32 - 1),
        (b"AMQP\xff\xff\xff\xff", 0),
        (b"\x15\x03\x03\xff\xff\xff\xff", 0),
        (b"\x15\x03\x03\xff\xff\xff\xff" + bytes(2**17), 2**32 - 1),
    ],
)
def test_frames_that_are_too_large(start: bytes, size: int) -> None:
    """A frame is refused when its size has come; what is none (a TLS alert, say) when there is too much of it."""
    if size:
        with pytest.raises(TooLargeError, match=f"announced a frame of {size:,} bytes"):
            check_frame(start)
    else:
        check_frame(start)


@pytest.mark.parametrize(
    "ours, theirs, expected",
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.8.9.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.2", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fd00::2", "fd00::1", False),
        ("fd00::2", "::1234", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_local(ours: str, theirs: str, expected: bool) -> None:
    """What goes to this machine itself is heard by nobody else, by whichever of its addresses."""
    assert is_local(ours, theirs) is expected


class Transport:
    """As pika's: what is written waits until the loop, or somebody else, says that the socket takes it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._waiting = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self._waiting += data

    def get_write_buffer_size(self) -> int:
        """How much waits."""
        return len(self._waiting)

    def _on_socket_writable(self) -> None:
        self.sent.append(self._waiting)
        self._waiting = b""


def test_what_is_written_at_one_go_is_sent_at_one_go() -> None:
    """The frames of many messages together and at once, in their order; much of it in pieces; nothing after the end."""
    loop = Loop()
    connection = Connection.__new__(Connection)
    connection._owner_loop, connection._outgoing, connection._transport = loop, bytearray(), Transport()
    sent = connection._transport.sent
    for frame in b"one ", b"two ", b"three":
        connection._adapter_emit_data(frame)
    loop.later(0.01, loop.stop)
    loop.run()
    assert sent == [b"one two three"]
    for _ in range(5):
        connection._adapter_emit_data(bytes(30_000))
    assert [len(piece) for piece in sent[1:]] == [90_000]
    connection._transport = None
    loop.later(0.01, loop.stop)
    loop.run()
    assert len(sent) == 2
    loop.pika.close()


def test_the_most_telling_reason() -> None:
    """Of several addresses, what one says that answers counts more than a refusal, and that more than no way to it."""
    settings = BrokerSettings()
    login = pika.exceptions.ProbableAuthenticationError(403, "ACCESS_REFUSED")
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    no_way = [OSError(number, os.strerror(number)) for number in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)]
    for several, sentence in [
        ([login, refused, *no_way], "Refused login"),
        ([*no_way, login], "Refused login"),
        ([*no_way, refused], "Connection refused"),
        ([refused, *no_way], "Connection refused"),
        (no_way, "Network is unreachable"),
    ]:
        reason = pika.adapters.utils.connection_workflow.AMQPConnectionWorkflowFailed(several)
        assert sentence in explain(reason, settings, NODES[0]).sentence


def test_an_error_in_what_pika_calls_ends_the_service() -> None:
    """pika would take it for a broken connection, and nobody would hear of it; pika's own errors are its own."""
    loop = Loop()
    loop.later(0, loop.guard(partial(int, "no number")))
    with pytest.raises(ValueError, match="no number"):
        loop.run()

    def close(_frame: object) -> None:
        raise ChannelClosed(406, "as the broker has it")

    with pytest.raises(ChannelClosed):
        loop.guard(close)("a frame")
