"""Queues: what they are declared with, and asking the broker about them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pika.exceptions as errors

from pvsim.broker.trouble import NOT_FOUND, PRECONDITION_FAILED, refusal
from pvsim.config import BrokerSettings
from pvsim.foreign import foreign

if TYPE_CHECKING:
    from pvsim.broker.connection import Broker

OTHER_ARGUMENTS = "The queue %s exists with other arguments and is used as it is: %s"
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


class Look(NamedTuple):
    queue: str
    done: Callable[[Queue | None], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(self.queue, passive=True, callback=answered)

    def succeed(self, answer: Any) -> None:
        self.done(Queue(answer.message_count, answer.consumer_count))

    def fail(self, code: int, _text: str) -> bool:
        if code == NOT_FOUND:
            self.done(None)
        return code == NOT_FOUND


class Declare(NamedTuple):
    queue: str
    arguments: dict[str, Any]
    done: Callable[[Queue], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_declare(self.queue, durable=True, arguments=self.arguments, callback=answered)

    def succeed(self, answer: Any) -> None:
        self.done(Queue(answer.message_count, answer.consumer_count))

    def fail(self, code: int, text: str) -> bool:
        if code == PRECONDITION_FAILED:
            self.done(Queue(0, 0, text))
        return code == PRECONDITION_FAILED


class Delete(NamedTuple):
    queue: str
    done: Callable[[], None]

    def ask(self, channel: Any, answered: Callable[[Any], None]) -> None:
        channel.queue_delete(self.queue, callback=answered)

    def succeed(self, _answer: Any) -> None:
        self.done()

    def fail(self, _code: int, _text: str) -> bool:
        return False


Request = Look | Declare | Delete


class Queues:
    """Asks about queues, several at a time: declaring one takes the broker some syncs, which others can share."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.clear()

    def clear(self) -> None:
        """What was asked on a connection that is lost is asked no more."""
        self._refused: dict[str, str] = {}  # queues, and why they cannot be used
        self._requests: deque[Request] = deque()
        self._idle = [_Asker(self) for _ in range(AT_ONCE)]

    @property
    def trouble(self) -> str:
        """The queues that cannot be used, and why the first of them; or nothing."""
        if not self._refused:
            return ""
        queue, why = next(iter(self._refused.items()))
        more = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return f"cannot use the queue {queue}{more} at {self.broker.address}: {why}"

    def add(self, request: Request) -> None:
        """Ask as soon as it goes."""
        if self.broker.is_up:
            self._requests.append(request)
            self._next()

    def on_idle(self, asker: _Asker) -> None:
        """It can ask the next."""
        self._idle.append(asker)
        self._next()

    def _next(self) -> None:
        while self._requests and self._idle:
            self._idle.pop().ask(self._requests.popleft())

    def on_answer(self, request: Request, answer: Any) -> None:
        """The broker has done what was asked."""
        if self._refused.pop(request.queue, None) and not self._refused:
            log.info("All queues can be used again.")
        request.succeed(answer)

    def on_refusal(self, request: Request, reason: Exception) -> None:
        """No permission, a queue that is somebody's own: the others go on, this one is tried again."""
        if request.fail(getattr(reason, "reply_code", 0), foreign(getattr(reason, "reply_text", reason))):
            return
        is_first = not self._refused
        self._refused[request.queue] = refusal(reason, self.broker.settings)
        if is_first:
            log.warning("C%s Trying again every %.0f s.", self.trouble[1:], _TRY_AGAIN_S)
        self.broker.later(_TRY_AGAIN_S, partial(self.add, request))


class _Asker:
    """Asks one thing at a time, on a channel of its own. A refusal closes that; the next request opens another."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._channel: Any = None
        self._request: Request | None = None

    def ask(self, request: Request) -> None:
        self._request = request
        if self._channel is None:
            self._queues.broker.open_channel(self._on_open)
        else:
            request.ask(self._channel, self._on_answer)

    def _on_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_closed)
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
            tell(request)
            self._queues.on_idle(self)


def probe(queue: str, settings: BrokerSettings, done: Callable[[str], None], channel: Any) -> None:
    """Consume a queue on this channel for a moment; `done` is told nothing, or why the broker refuses."""

    def on_closed(_channel: Any, reason: Exception) -> None:
        if isinstance(reason, errors.ChannelClosedByClient):
            done("")
        elif isinstance(reason, errors.ChannelClosed):  # or else the connection is lost, and everything with it
            done(refusal(reason, settings))

    channel.add_on_close_callback(on_closed)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, callback=lambda _: channel.close())
