"""The queues and channels of a simulated RabbitMQ: the server's part of world.py.

They obey the rules that real brokers were seen to obey, good and bad.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import pika.exceptions as errors
from pika import spec

if TYPE_CHECKING:
    from tests.unit.world import Line


class Message(NamedTuple):
    """One message, in the order of its number."""

    number: int
    body: bytes
    properties: Any


class Consumer:
    """A consumer. One that is forgotten gets messages that never arrive (3.10)."""

    def __init__(self, channel: Channel, tag: str, *, is_forgotten: bool = False) -> None:
        self.channel = channel
        self.tag = tag
        self.unsettled = 0
        self.is_forgotten = is_forgotten


class Box:
    """A queue. `is_dead`: its leader is away; `refuses`: it takes no messages, whatever it holds."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self.name = name
        self.arguments = arguments
        self.ready: list[Message] = []
        self.taken: set[int] = set()
        self.consumers: list[Consumer] = []
        self.is_dead = self.refuses = self.is_deleted = False

    @property
    def answer(self) -> Any:
        """What is told of it: 0 messages while its leader is away, and of several consumers the active one."""
        return spec.Queue.DeclareOk(self.name, 0 if self.is_dead else len(self.ready), len(self.active))

    @property
    def active(self) -> list[Consumer]:
        """Who is delivered to."""
        if self.is_dead or self.is_deleted:
            return []
        return self.consumers[:1] if self.is_single else self.consumers

    @property
    def is_single(self) -> bool:
        """Whether one consumer gets everything."""
        return bool(self.arguments.get("x-single-active-consumer"))

    def take(self, message: Message) -> bool:
        """Whether it takes a message."""
        most = self.arguments.get("x-max-length", 10**9)
        drops = self.arguments.get("x-overflow") == "drop-head"
        if self.refuses or (len(self.ready) >= most and not drops):
            return False
        insort(self.ready, message)
        self.taken.add(message.number)
        if len(self.ready) > most:
            del self.ready[0]
        self.dispatch()
        return True

    def dispatch(self) -> None:
        """Deliver what can be delivered."""
        for consumer in self.active:
            while self.ready and consumer.unsettled < consumer.channel.prefetch:
                consumer.channel.deliver(self, consumer, self.ready.pop(0))

    def remove(self, channel: Channel, tag: str | None = None) -> None:
        """A consumer goes, or all of a channel."""
        self.consumers = [each for each in self.consumers if each.channel is not channel or tag not in (None, each.tag)]


class Published:
    """A message that was published to a queue, if there was one, and how it ended, once it has."""

    def __init__(self, message: Message, box: Box | None) -> None:
        self.message = message
        self.box = box
        self.is_taken: bool | None = None
        self.try_it()

    def try_it(self) -> None:
        """A queue that does not answer makes it wait. One that is deleted confirms, and so does none at all."""
        if self.is_taken is None and not (self.box and self.box.is_dead):
            self.is_taken = self.box is None or self.box.is_deleted or self.box.take(self.message)


class Channel:
    """The server's end of a channel. `held`: by a queue that does not answer, and all behind it waits."""

    def __init__(self, number: int, line: Line) -> None:
        self.number = number
        self.line = line
        self.incoming: deque[tuple[Any, Any]] = deque()
        self.prefetch = 10**9
        self.unsettled: dict[int, tuple[Box, Consumer, Message]] = {}
        self.known: set[Box] = set()  # queues that have answered a publish of this channel
        self.unconfirmed: dict[int, Published] = {}
        self._published = self._tags = 0

    def send(self, method: Any) -> None:
        """A frame on its way to the client."""
        self.line.outgoing.append(partial(self.line.receive, self.number, method))

    def deliver(self, box: Box, consumer: Consumer, message: Message) -> None:
        """A message on its way to the client."""
        self._tags += 1
        tag = -self._tags if consumer.is_forgotten else self._tags
        self.unsettled[tag] = (box, consumer, message)
        consumer.unsettled += 1
        if tag > 0:
            method = spec.Basic.Deliver(consumer.tag, tag, False, "", box.name)
            self.line.outgoing.append(partial(self.line.receive_message, self.number, method, message))

    def end(self) -> None:
        """What it has not settled goes back, and its consumers go."""
        for box in self.line.rabbit.boxes.values():
            box.remove(self)
        for box, _, message in self.unsettled.values():
            insort(box.ready, message)
        self.unsettled.clear()
        self.line.channels.pop(self.number, None)
        self.line.rabbit.dispatch()

    def serve(self) -> bool:
        """Obey what has come; returns whether anything was done."""
        is_busy = False
        while self.incoming and not self.line.is_blocked and self.line.channels.get(self.number) is self:
            method, content = self.incoming[0]
            if not getattr(self, f"on_{method.NAME.replace('.', '_').lower()}")(method, content):
                break
            self.incoming.popleft()
            is_busy = True
        return is_busy

    @property
    def held(self) -> Any:
        """The method that it is held up with."""
        return self.incoming[0][0] if self.incoming and not self.line.is_blocked else None

    def refuse(self, code: int, text: str) -> bool:
        """Close the channel; the client may go on sending until it hears of it."""
        self.send(spec.Channel.Close(code, text, 0, 0))
        self.incoming.clear()
        self.end()
        return False

    def _reply(self, method: Any) -> bool:
        self.send(method)
        return True

    def on_channel_open(self, _method: Any, _content: Any) -> bool:
        return self._reply(spec.Channel.OpenOk())

    def on_channel_close(self, _method: Any, _content: Any) -> bool:
        self.send(spec.Channel.CloseOk())
        self.end()
        return False

    def on_channel_closeok(self, _method: Any, _content: Any) -> bool:
        return True

    def on_basic_cancelok(self, _method: Any, _content: Any) -> bool:
        return True

    def on_confirm_select(self, _method: Any, _content: Any) -> bool:
        return self._reply(spec.Confirm.SelectOk())

    def on_basic_qos(self, method: Any, _content: Any) -> bool:
        self.prefetch = method.prefetch_count
        return self._reply(spec.Basic.QosOk())

    def on_queue_declare(self, method: Any, _content: Any) -> bool:
        box = self.line.rabbit.boxes.get(method.queue)
        if box is None and method.passive:
            return self.refuse(404, f"NOT_FOUND - no queue '{method.queue}'")
        if box is None and method.queue in self.line.rabbit.undeclarable:
            self.line.lose(errors.ConnectionClosedByBroker(541, "INTERNAL_ERROR - Cannot declare: cluster_not_formed"))
            return False
        if box is None:
            box = self.line.rabbit.declare(method.queue, method.arguments)
        elif not method.passive and method.arguments != box.arguments:
            return self.refuse(406, "PRECONDITION_FAILED - inequivalent arg")
        return self._reply(box.answer)

    def on_exchange_declare(self, method: Any, _content: Any) -> bool:
        if method.passive and method.exchange not in self.line.rabbit.exchanges:
            return self.refuse(404, f"NOT_FOUND - no exchange '{method.exchange}'")
        self.line.rabbit.exchanges.setdefault(method.exchange, set())
        return self._reply(spec.Exchange.DeclareOk())

    def on_queue_bind(self, method: Any, _content: Any) -> bool:
        self.line.rabbit.exchanges[method.exchange].add(method.queue)
        return self._reply(spec.Queue.BindOk())

    def on_queue_unbind(self, method: Any, _content: Any) -> bool:
        self.line.rabbit.exchanges[method.exchange].discard(method.queue)
        return self._reply(spec.Queue.UnbindOk())

    def on_basic_consume(self, method: Any, _content: Any) -> bool:
        box = self.line.rabbit.boxes.get(method.queue)
        if box is None:
            return self.refuse(404, f"NOT_FOUND - no queue '{method.queue}'")
        if box.name in self.line.rabbit.forbidden:
            return self.refuse(403, f"ACCESS_REFUSED - read access to queue '{box.name}' refused")
        if box.is_dead:
            return False
        box.consumers.append(Consumer(self, method.consumer_tag))
        self.send(spec.Basic.ConsumeOk(method.consumer_tag))
        box.dispatch()
        return True

    def on_basic_cancel(self, method: Any, _content: Any) -> bool:
        for box in self.line.rabbit.boxes.values():
            box.remove(self, method.consumer_tag)
            box.dispatch()
        return self._reply(spec.Basic.CancelOk(method.consumer_tag))

    def on_basic_ack(self, method: Any, _content: Any) -> bool:
        through = method.delivery_tag
        tags = [tag for tag in self.unsettled if 0 < tag <= through] if method.multiple else [through]
        for tag in tags:
            self.line.rabbit.on_ack(self._settle(tag)[2])
        return True

    def on_basic_nack(self, method: Any, _content: Any) -> bool:
        assert method.requeue
        box, _, message = self._settle(method.delivery_tag)
        insort(box.ready, message)
        box.dispatch()
        return True

    def _settle(self, tag: int) -> tuple[Box, Consumer, Message]:
        assert tag in self.unsettled, "a tag that is not there: a broker would close the channel"
        found = self.unsettled.pop(tag)
        found[1].unsettled -= 1
        found[0].dispatch()
        return found

    def on_basic_publish(self, method: Any, content: Any) -> bool:
        rabbit = self.line.rabbit
        if rabbit.alarm:
            self.line.block(rabbit.alarm)
            return False
        name = method.routing_key
        box = rabbit.boxes.get(name)
        if method.exchange:
            if method.exchange not in rabbit.exchanges:
                return self.refuse(404, f"NOT_FOUND - no exchange '{method.exchange}'")
            box = box if name in rabbit.exchanges[method.exchange] else None
        if box and box.is_dead and box not in self.known:
            return False
        self._published += 1
        message = Message(next(rabbit.numbers), content[1], content[0])
        if box is None:
            returned = spec.Basic.Return(312, "NO_ROUTE", method.exchange, name)
            self.line.outgoing.append(partial(self.line.receive_message, self.number, returned, message))
        elif not box.is_dead:
            self.known.add(box)
        self.unconfirmed[self._published] = Published(message, box)
        return True

    def confirm(self, style: str) -> bool:
        """Tell how messages ended: one by one, backwards, or several with one word, as brokers do."""
        for each in self.unconfirmed.values():
            each.try_it()
        if style == "multiple":
            first = next(iter(self.unconfirmed.values())).is_taken if self.unconfirmed else None
            run = takewhile(lambda each: each[1].is_taken is first is not None, self.unconfirmed.items())
            tags = [tag for tag, _ in run]
            self._tell(tags, tags[-1:], multiple=True)
        else:
            tags = [tag for tag, each in self.unconfirmed.items() if each.is_taken is not None]
            self._tell(tags, tags[::-1] if style == "backwards" else tags, multiple=False)
        return bool(tags)

    def _tell(self, tags: Sequence[int], told: Sequence[int], *, multiple: bool) -> None:
        for tag in told:
            is_taken = self.unconfirmed[tag].is_taken
            self.send(spec.Basic.Ack(tag, multiple) if is_taken else spec.Basic.Nack(tag, multiple, False))
        for tag in tags:
            ended = self.unconfirmed.pop(tag)
            if ended.is_taken and ended.box:
                self.line.rabbit.safe.add(ended.message.body)
