"""Queues: what they are declared with, and asking the broker about them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pika.exceptions as errors

from pvsim.broker.admission import Event, State
from pvsim.broker.ledger import Entry, Kind
from pvsim.broker.trouble import NOT_FOUND, PRECONDITION_FAILED, refusal
from pvsim.config import BrokerSettings
from pvsim.foreign import foreign

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

OTHER_ARGUMENTS = (
    "The queue %s exists with other arguments and is used as it is. If they let it drop messages, readings are lost;"
    " deleted, it is declared anew with the right ones. The broker says: %s"
)
REJECTED_KEPT = 100_000
AT_ONCE = 8
_TRY_AGAIN_S = 30.0

log = logging.getLogger("pvsim.broker")


class Queue(NamedTuple):
    """What the broker says of a queue. `other_arguments`: why it is not as it was to be declared."""

    messages: int
    consumers: int
    other_arguments: str = ""


def arguments(settings: BrokerSettings) -> dict[str, Any]:
    """The arguments of a meter's queue, the same from either side: others would be refused (406).

    A quorum queue is the one whose confirm survives a power cut. The limit of deliveries is large because 4.0
    drops a message after 20 returns otherwise, and -1 loses them on 3.10.
    """
    return {
        **_type(settings),
        "x-single-active-consumer": True,
        "x-overflow": "reject-publish",
        "x-max-length": settings.max_queue_length,
    }


def rejected_arguments(settings: BrokerSettings) -> dict[str, Any]:
    """The arguments of the queue of what was set aside: it keeps the newest."""
    return {**_type(settings), "x-overflow": "drop-head", "x-max-length": REJECTED_KEPT}


def _type(settings: BrokerSettings) -> dict[str, Any]:
    if settings.queue_type == "classic":
        return {"x-queue-type": "classic"}
    return {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}


Call = Callable[[Any, Callable[[Any], None]], object]
"""Asks something on a channel, and has a function called with the answer."""


class Request(NamedTuple):
    """What is asked of the broker about a queue. `event`: what an answer says of it, None for nothing.

    `done` takes what `read` makes of the answer, or None where the broker refuses for good.
    """

    kind: Kind
    event: Event | None
    queue: str
    call: Call
    read: Callable[[Any], Any]
    done: Callable[[Any], None]


def look(queue: str, done: Callable[[Queue | None], None]) -> Request:
    """Whether a queue exists."""

    def call(channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(queue, passive=True, callback=answered)

    return Request(Kind.LOOK, Event.FOUND, queue, call, _queue, done)


def declare(queue: str, args: dict[str, Any], done: Callable[[Queue], None]) -> Request:
    """That a durable queue exists."""

    def call(channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(queue, durable=True, arguments=args, callback=answered)

    return Request(Kind.DECLARE, Event.DECLARED, queue, call, _queue, done)


def ask(queue: str, call: Call, done: Callable[[bool], None]) -> Request:
    """Anything else; `done` is told whether the broker has done it."""
    return Request(Kind.DECLARE, None, queue, call, bool, lambda is_done: done(bool(is_done)))


def _queue(answer: Any) -> Queue:
    return Queue(answer.message_count, answer.consumer_count)


class Queues:
    """Asks about queues, several at a time: declaring one takes the broker some syncs, which others can share.

    A declaration may cost the connection (541), if the broker has kept a part of a deleted queue of that name. So one
    that was not answered when a connection was lost is tried beside the next, until it is answered there.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._declaring: set[str] = set()  # queues whose declaration has no answer yet
        self._doubtful: set[str] = set()  # those of them that a connection was lost with
        self.clear()

    def clear(self) -> None:
        """What was asked on a connection that is lost is asked no more."""
        self._requests: deque[Request] = deque()
        self._idle: list[_Asker] = []
        self._doubtful |= self._declaring
        self._declaring.clear()

    def open(self, most: int) -> None:
        """Ask so many at a time."""
        self._idle = [_Asker(self) for _ in range(most)]

    def add(self, request: Request) -> None:
        """Ask as soon as it goes."""
        if not self.broker.is_up:
            return
        if request.event is Event.DECLARED and request.queue in self._doubtful:
            self.broker.try_beside(request, partial(self._on_tried, request))
        else:
            self._ask(request)

    def _on_tried(self, request: Request, reason: Exception | None) -> None:
        if reason is None or isinstance(reason, errors.ChannelClosed):
            self._ask(request)
        else:
            self._deny(request, reason)

    def _ask(self, request: Request) -> None:
        self._requests.append(request)
        self._next()

    def on_idle(self, asker: _Asker) -> None:
        """It can ask the next."""
        self._idle.append(asker)
        self._next()

    def _next(self) -> None:
        while self._requests and self._idle:
            request = self._requests.popleft()
            if request.event is Event.DECLARED:
                self._declaring.add(request.queue)
            self._idle.pop().ask(request)

    def on_end(self, request: Request) -> None:
        """The broker has answered, and the connection still stands."""
        if request.event is Event.DECLARED:
            self._declaring.discard(request.queue)
            self._doubtful.discard(request.queue)

    def on_answer(self, request: Request, answer: Any) -> None:
        """The broker has done what was asked."""
        if request.event:
            self._note(request.queue, request.event)
        request.done(request.read(answer))

    def _note(self, queue: str, event: Event) -> None:
        admission = self.broker.admission
        was_denied = admission.state(queue) is State.DENIED
        admission.note(queue, event, time.monotonic())
        if was_denied and not admission.has_denied:
            log.info("All queues can be used again.")

    def on_refusal(self, request: Request, reason: Exception) -> None:
        """No permission, a queue that is somebody's own: the others go on, this one is tried again."""
        code = getattr(reason, "reply_code", 0)
        if request.event is Event.DECLARED and code == PRECONDITION_FAILED:
            self._requests.appendleft(look(request.queue, partial(self._on_conflict, request, reason)))
        elif request.event is Event.FOUND and code == NOT_FOUND:
            self._note(request.queue, Event.MISSING)
            request.done(None)
        elif request.event is None:
            request.done(None)
        else:
            self._deny(request, reason)

    def _on_conflict(self, request: Request, reason: Exception, found: Queue | None) -> None:
        """406 is told for other arguments, and for limits too: what counts is whether the queue is there."""
        if found:
            request.done(found._replace(other_arguments=foreign(getattr(reason, "reply_text", reason))))
        else:
            self._deny(request, reason)

    def _deny(self, request: Request, reason: Exception) -> None:
        admission = self.broker.admission
        is_first = not admission.has_denied
        why = f" at {self.broker.address}: {refusal(reason, self.broker.settings)}"
        admission.note(request.queue, Event.DENIED, time.monotonic(), why)
        if is_first:
            log.warning("Cannot use the queue %s%s Trying again every %.0f s.", request.queue, why, _TRY_AGAIN_S)
        self.broker.later(_TRY_AGAIN_S, partial(self.add, request))


class _Asker:
    """Asks one thing at a time, on a channel of its own. A refusal closes that; the next request opens another."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._channel: Any = None
        self._request: Request | None = None
        self._entry: Entry | None = None

    def ask(self, request: Request) -> None:
        self._request = request
        if self._entry is None:
            self._entry = self._queues.broker.ledger.open(request.kind, request.queue, time.monotonic())
        if self._channel is None:
            broker = self._queues.broker  # pika counts a channel until those who wait for its end are told
            broker.later(0, partial(broker.open_channel, self._on_open))
        else:
            request.call(self._channel, self._queues.broker.loop.guard(self._on_answer))

    def _on_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._queues.broker.loop.guard(self._on_closed))
        self._channel = channel
        assert self._request
        self.ask(self._request)

    def _on_answer(self, frame: Any) -> None:
        self._end(lambda request: self._queues.on_answer(request, frame.method))

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, errors.ChannelClosed):  # or else the connection is lost, and everything with it
            self._channel = None
            self._end(lambda request: self._queues.on_refusal(request, reason))

    def _end(self, tell: Callable[[Request], None]) -> None:
        if request := self._request:  # or else the broker has closed an idle channel
            self._request = None
            if self._entry:
                self._queues.broker.ledger.close(self._entry, time.monotonic())
                self._entry = None
            self._queues.on_end(request)
            tell(request)
            self._queues.on_idle(self)
