"""What a queue goes through before messages are sent to it as fast as they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.broker.admission import TRANSITIONS, YOUNG_S, Admission, Event, State

NEW_QUEUE = [Event.MISSING, Event.DECLARED]


def after(*events: Event) -> Admission:
    """Where a queue Q is when this has happened to it, all of it at 100 s."""
    admission = Admission("/")
    for event in events:
        admission.note("Q", event, 100.0)
    return admission


def test_a_queue_that_was_not_there_is_left_to_grow() -> None:
    """Its first message waits; that of a queue that was found does not."""
    admission = after(*NEW_QUEUE)
    assert admission.grow("Q", 100.0) == YOUNG_S
    assert admission.grow("Q", 101.5) == YOUNG_S - 1.5
    assert admission.state("Q") is State.YOUNG
    assert admission.grow("Q", 100.0 + YOUNG_S) == 0
    assert admission.state("Q") is State.NEW
    assert after(Event.FOUND, Event.DECLARED).grow("Q", 100.0) == 0


@pytest.mark.parametrize("answer", [Event.RETURNED, Event.DENIED])
def test_declared_later(answer: Event) -> None:
    """One that was deleted and is declared again, or could not be declared at first, is as young."""
    before = [Event.TRIED, Event.CONFIRMED] if answer is Event.RETURNED else [Event.MISSING]
    assert after(*before, answer, Event.DECLARED).grow("Q", 101.0) == YOUNG_S - 1


def test_a_lost_connection_ends_the_wait() -> None:
    """The queue has shown meanwhile whether it is there; and the broker, if it was killed, took longer to come back."""
    admission = after(*NEW_QUEUE)
    admission.lost(100.1)
    assert admission.grow("Q", 100.2) == 0
    assert admission.state("Q") is State.NEW


@given(st.lists(st.sampled_from(list(Event))))
def test_every_queue_gets_on(events: list[Event]) -> None:
    """Whatever has happened: it works, or has a first message sent to it, or somebody waits for what is to come."""
    admission = after(*events)
    if wait_s := admission.grow("Q", 100.0):
        assert admission.grow("Q", 100.0 + wait_s) == 0
    state = admission.state("Q")
    assert state is not State.YOUNG
    if state not in (State.DENIED, State.PROVING):
        for event in Event.TRIED, Event.CONFIRMED:
            admission.note("Q", event, 100.0)
        assert admission.works("Q")
    assert {start for start, _ in TRANSITIONS} == set(State)
