"""A history that nobody records says so: while it is sent, and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from pvsim.broker import Queue
from pvsim.meter.readers import AT_A_TIME, LAST_LOOK_S, Readers


class Link:
    """Answers with so many consumers of each queue, when it is told to."""

    def __init__(self) -> None:
        self.consumers: dict[str, int] = {}
        self.asked: list[tuple[str, Callable[[Queue | None], None]]] = []

    def look(self, queue: str, done: Callable[[Queue | None], None]) -> None:
        self.asked.append((queue, done))

    def answer(self) -> None:
        asked, self.asked = self.asked, []
        for queue, done in asked:
            done(Queue(0, self.consumers.get(queue, 0)))


@pytest.fixture
def link() -> Link:
    return Link()


def test_one_look_is_not_enough_while_it_is_sent(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    readers = Readers(["A", "B"], link.look)
    link.consumers["B"] = 1
    for told in (0, 0, 1, 1):
        readers.look()
        link.answer()
        assert caplog.text.count("Nobody consumes A: start pvsim-pv for it.") == told
    link.consumers["A"] = 1
    readers.look()
    link.answer()
    assert readers.missing == ""


def test_a_history_that_is_over_before_two_looks_is_looked_at_once_more(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    readers = Readers(["A", "B"], link.look)
    link.consumers["B"] = 1
    assert not readers.have_looked_last(0.0)
    assert not readers.have_looked_last(0.1)
    link.answer()
    assert readers.have_looked_last(0.2)
    readers.tell()
    assert [record.getMessage() for record in caplog.records] == ["Nobody consumes A: start pvsim-pv for it."]


def test_the_end_does_not_wait_for_a_queue_that_does_not_answer(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readers = Readers(["A"], link.look)
    assert not readers.have_looked_last(0.0)
    assert readers.have_looked_last(LAST_LOOK_S + 0.1)
    readers.tell()
    assert caplog.text == ""


def test_many_queues_are_looked_at_in_turn(link: Link) -> None:
    readers = Readers([f"M_{number}" for number in range(AT_A_TIME + 50)], link.look)
    readers.look()
    readers.look()
    assert len({queue for queue, _ in link.asked}) == AT_A_TIME + 50
