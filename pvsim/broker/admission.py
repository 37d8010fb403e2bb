"""What a queue goes through before messages are sent to it as fast as they come; with the time as an argument.

The first message to a queue on a channel may hold up that channel for a minute: a queue whose leader is away, or one
that a killed broker has left dead, does not answer. So a queue's first message goes over a connection beside the main
one (see side.py), and when it is confirmed, the queue works. One that does not is stuck: it is tried again beside all
others, which go on, and is named, with the command that mends it for good. Nothing is ever deleted here: from outside,
a dead queue looks like one that holds what others count on.

What kills a queue is a broker that is itself killed within about a second after the queue was declared: it comes back
with the queue, but without what that had confirmed, and on RabbitMQ 3.10 and 4.0 without a leader for it. So a queue
that was not there before is left to grow for YOUNG_S before its first message. To delete one that died younger would be
no mend for us to do, although we have declared it and it has never answered us: another publisher may have found it in
that time and been told that its message is safe, and a queue whose leader is merely away looks the same.

Not everything that refuses is full: a queue whose leader is away may refuse, too, and then says that it holds nothing.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import NamedTuple

log = logging.getLogger("pvsim.broker")

EMPTY_REFUSALS = 4  # so many in a row by a queue that holds nothing: one that is being emptied refuses, too
MAIN_FAILURES = 3  # so often the main channel's fault: the queue's messages go beside it from then on
LOG_S, MOST_LOGGED = 10.0, 8
QUIET_S = 20.0
YOUNG_S = 2.0  # 3.10.8 to 4.3.6, killed: queues of up to 1.0 s were dead or empty, none of 1.3 s or more


class State(Enum):
    """Where a queue is."""

    NEW = "nothing was sent to it on this connection"
    ABSENT = "there is none"
    YOUNG = "there was none, and it was declared a moment ago"
    PROVING = "its first message is on its way"
    WORKS = "it has confirmed"
    FULL = "it refuses messages"
    STUCK = "it does not answer, or refuses messages and holds none"
    DENIED = "the broker does not let us declare it"


class Event(Enum):
    """What happens to a queue."""

    TRIED = "a message is sent beside the main connection"
    CONFIRMED = "it has confirmed a message"
    REFUSED = "it has refused a message"
    EMPTY = "it has refused messages, and holds none"
    RETURNED = "there is no such queue"
    SILENT = "no answer in time"
    DENIED = "the broker refuses to declare it"
    MISSING = "it was looked for, and is not there"
    FOUND = "it was looked for, and is there"
    DECLARED = "it is declared"
    GROWN = "it has been there for a while"
    QUIET = "it has confirmed nothing for a while, for it was sent nothing"
    UNMARKED = "it has no mark, and was sent nothing"
    LOST = "the connection is lost"


# What does not stand here changes nothing: an answer that comes late, say.
TRANSITIONS = {
    (State.NEW, Event.TRIED): State.PROVING,
    (State.NEW, Event.DENIED): State.DENIED,
    (State.NEW, Event.MISSING): State.ABSENT,
    (State.ABSENT, Event.FOUND): State.NEW,
    (State.ABSENT, Event.TRIED): State.PROVING,
    (State.ABSENT, Event.DECLARED): State.YOUNG,
    (State.ABSENT, Event.DENIED): State.DENIED,
    (State.ABSENT, Event.LOST): State.NEW,
    (State.YOUNG, Event.GROWN): State.NEW,
    (State.YOUNG, Event.LOST): State.NEW,
    (State.PROVING, Event.CONFIRMED): State.WORKS,
    (State.PROVING, Event.REFUSED): State.FULL,
    (State.PROVING, Event.EMPTY): State.STUCK,
    (State.PROVING, Event.RETURNED): State.ABSENT,
    (State.PROVING, Event.SILENT): State.STUCK,
    (State.PROVING, Event.UNMARKED): State.NEW,
    (State.PROVING, Event.LOST): State.NEW,
    (State.WORKS, Event.REFUSED): State.FULL,
    (State.WORKS, Event.EMPTY): State.STUCK,
    (State.WORKS, Event.RETURNED): State.ABSENT,
    (State.WORKS, Event.SILENT): State.STUCK,
    (State.WORKS, Event.QUIET): State.NEW,
    (State.WORKS, Event.LOST): State.NEW,
    (State.FULL, Event.CONFIRMED): State.WORKS,
    (State.FULL, Event.EMPTY): State.STUCK,
    (State.FULL, Event.RETURNED): State.ABSENT,
    (State.FULL, Event.SILENT): State.STUCK,
    (State.STUCK, Event.CONFIRMED): State.WORKS,
    (State.STUCK, Event.REFUSED): State.FULL,
    (State.STUCK, Event.RETURNED): State.ABSENT,
    (State.DENIED, Event.FOUND): State.NEW,
    (State.DENIED, Event.DECLARED): State.YOUNG,
    (State.DENIED, Event.LOST): State.NEW,
}


class Standing(NamedTuple):
    """A state, since when it is so, and why if there is more to say."""

    state: State
    since_s: float
    why: str = ""


class Admission:
    """The queues of one service, and where each of them is."""

    def __init__(self, virtual_host: str) -> None:
        self._virtual_host = virtual_host
        self._standing: dict[str, Standing] = {}
        self._refusals: dict[str, int] = {}  # in a row
        self._main_failures: dict[str, int] = {}
        self.confirmed_s: dict[str, float] = {}  # when queues that work have confirmed last
        self._bad: dict[State, dict[str, None]] = {State.DENIED: {}, State.STUCK: {}}
        self._logged: set[str] = set()  # queues that are stuck, as was logged
        self._logged_s = -LOG_S

    def state(self, queue: str) -> State:
        """Where a queue is."""
        standing = self._standing.get(queue)
        return standing.state if standing else State.NEW

    @property
    def has_denied(self) -> bool:
        """Whether there is a queue that the broker does not let us use."""
        return bool(self._bad[State.DENIED])

    def works(self, queue: str) -> bool:
        """Whether its messages may go over the main connection."""
        return self.state(queue) is State.WORKS and self._main_failures.get(queue, 0) < MAIN_FAILURES

    def note(self, queue: str, event: Event, now_s: float, why: str = "") -> State:
        """Something happens to a queue; returns where it is then."""
        before = self.state(queue)
        state = TRANSITIONS.get((before, event), before)
        if event is Event.CONFIRMED or event is Event.RETURNED:
            self._refusals.pop(queue, None)
        if state is not before or why:
            self._standing[queue] = Standing(state, now_s, why)
            self._move(queue, before, state)
            self.tick(now_s)
        return state

    def grow(self, queue: str, now_s: float) -> float:
        """Seconds until a queue that was declared a moment ago is to be sent its first message; 0 for any other."""
        if self.state(queue) is not State.YOUNG:
            return 0.0
        left_s = self._standing[queue].since_s + YOUNG_S - now_s
        if left_s <= 0:
            self.note(queue, Event.GROWN, now_s)
        return max(0.0, left_s)

    def note_refusal(self, queue: str) -> int:
        """It has refused a message; returns how many in a row."""
        self._refusals[queue] = self._refusals.get(queue, 0) + 1
        return self._refusals[queue]

    def note_main_failure(self, queue: str) -> int:
        """A queue that works has failed on the main connection; returns how often on this one."""
        self._main_failures[queue] = self._main_failures.get(queue, 0) + 1
        return self._main_failures[queue]

    def forget_quiet(self, now_s: float) -> None:
        """What has confirmed nothing for a while may have been deleted and declared by somebody else since."""
        for queue in [queue for queue, last_s in self.confirmed_s.items() if now_s - last_s > QUIET_S]:
            del self.confirmed_s[queue]
            self.note(queue, Event.QUIET, now_s)

    def lost(self, now_s: float) -> None:
        """The connection is lost."""
        self.confirmed_s.clear()
        self._main_failures.clear()
        for queue in list(self._standing):
            self.note(queue, Event.LOST, now_s)

    def tick(self, now_s: float) -> None:
        """Called every second: log queues that are stuck, one after the other, or many of them together."""
        news = [queue for queue in self._bad[State.STUCK] if queue not in self._logged]
        if not news or now_s - self._logged_s < LOG_S:
            return
        self._logged_s = now_s
        if len(news) > MOST_LOGGED:
            self._logged |= set(news)
            log.warning("%d more queues do not answer, or take no messages; one of them is %s.", len(news), news[0])
        else:
            self._logged.add(news[0])
            log.warning("The queue %s does not answer, or takes no messages; %s.", news[0], self.mend(news[0]))

    def trouble(self, now_s: float) -> str:
        """The queues that cannot be used, for people; or nothing."""
        for state in State.DENIED, State.STUCK:
            if queues := list(self._bad[state]):
                since_s, why = self._standing[queues[0]][1:]
                more = f" and {len(queues) - 1} more" if len(queues) > 1 else ""
                if state is State.DENIED:
                    return f"cannot use the queue {queues[0]}{more}{why}"
                mend = self.mend(queues[0])
                return f"the queue {queues[0]}{more} has taken no messages for {now_s - since_s:.0f} s: {mend}"
        return ""

    def mend(self, queue: str) -> str:
        """What becomes of a queue that is stuck, and what a person can do."""
        where = "" if self._virtual_host == "/" else f" -p {self._virtual_host}"
        return (
            "it works again when its leader is back; if the leader is lost for good, delete it with all it holds:"
            f" rabbitmqctl delete_queue{where} {queue}"
        )

    def _move(self, queue: str, before: State, state: State) -> None:
        if before in self._bad:
            self._bad[before].pop(queue, None)
        if state in self._bad:
            self._bad[state][queue] = None
        elif before is State.STUCK and not self._bad[State.STUCK] and self._logged:
            self._logged.clear()
            log.info("The queue %s answers again; none is stuck any more.", queue)
