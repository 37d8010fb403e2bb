"""A RabbitMQ in a few lines, beneath pika's own channels: what uses a broker is tried on it without one.

It obeys the rules that real brokers were seen to obey, good and bad. Nothing goes by itself: what a client sends waits
until `serve`, what the server sends waits until `hear`, and timers wait until `turn` or `pass_time`. So a test decides
in which order things happen.
"""

from __future__ import annotations

import heapq
import logging
from bisect import insort
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, takewhile
from typing import Any, NamedTuple

import pika.callback
import pika.channel
import pika.exceptions as errors
import pika.frame
import pytest
from pika import spec

from pvsim.broker import Loop, answers, connection, consuming, link, marks, pika_private, publishing, queues, side
from pvsim.pv import service

TIMED = (answers, connection, consuming, link, marks, publishing, queues, service, side)
MOST_STEPS = 2_000  # of a world in which nothing waits: more are a turning without end


class SimulatedLoop(Loop):
    """Timers of one process, which fire when the world says so."""

    def __init__(self, rabbit: Rabbit) -> None:
        self._rabbit = rabbit
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.is_stopped = False
        self.wake: Callable[[], None] = lambda: None

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call once after `delay_s` seconds."""
        heapq.heappush(self._timers, (self._rabbit.now_s + max(0.0, delay_s), next(self._rabbit.numbers), call))

    def soon(self, call: Callable[[], None]) -> None:
        """Call before any timer: pika tells of a lost connection so."""
        heapq.heappush(self._timers, (0.0, next(self._rabbit.numbers), call))

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call when `wake` is called."""
        self.wake = call

    def fail(self, error: Exception) -> None:
        """An error ends the test."""
        raise error

    def run(self) -> None:
        """It is the world that runs."""

    def stop(self) -> None:
        """Done."""
        self.is_stopped = True

    @property
    def next_s(self) -> float:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else float("inf")

    def turn(self) -> bool:
        """Call what is due; what that adds is for the next turn."""
        due = []
        while self.next_s <= self._rabbit.now_s:
            due.append(heapq.heappop(self._timers)[2])
        for call in due:
            call()
        return bool(due)


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
        for consumer in (
            [] if self.is_dead or self.is_deleted else self.consumers[:1] if self.is_single else self.consumers
        ):
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

    def on_confirm_select(self, _method: Any, _content: Any) -> bool:
        return self._reply(spec.Confirm.SelectOk())

    def on_basic_qos(self, method: Any, _content: Any) -> bool:
        self.prefetch = method.prefetch_count
        return self._reply(spec.Basic.QosOk())

    def on_queue_declare(self, method: Any, _content: Any) -> bool:
        box = self.line.rabbit.boxes.get(method.queue)
        if box is None and method.passive:
            return self.refuse(404, f"NOT_FOUND - no queue '{method.queue}'")
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


for _name in ("channel_closeok", "basic_cancelok"):
    setattr(Channel, f"on_{_name}", lambda *_: True)


class Line:
    """A connection: pika's place in it, with pika's own channels, and the server's end."""

    publisher_confirms = basic_nack = True

    def __init__(self, rabbit: Rabbit, loop: SimulatedLoop, parameters: Any, **told: Callable[..., None]) -> None:
        self.rabbit = rabbit
        self.loop = loop
        self.params = parameters
        self.params.channel_max = rabbit.channel_max
        self.callbacks = pika.callback.CallbackManager()
        self.is_open = self.is_cut = self.is_blocked = False
        self.channels: dict[int, Channel] = {}
        self.outgoing: deque[Callable[[], None]] = deque()
        self._told = told
        self._blocked: list[Callable[..., None]] = []
        self._channels: dict[int, pika.channel.Channel] = {}
        if rabbit.is_reachable:
            rabbit.lines.append(self)
            self.outgoing.append(self._open)
        else:
            loop.later(0, partial(told["on_open_error_callback"], self, ConnectionRefusedError(111, "refused")))

    # pika's side

    def _open(self) -> None:
        self.is_open = True
        self._told["on_open_callback"](self)

    def channel(self, on_open_callback: Callable[[Any], None]) -> Any:
        """Open a channel."""
        assert self.is_open
        number = next(each for each in count(1) if each not in self._channels and each not in self.channels)
        assert number <= self.rabbit.channel_max
        channel = self._channels[number] = pika.channel.Channel(self, number, on_open_callback)
        channel._add_on_cleanup_callback(lambda _: self._channels.pop(number))
        self.channels[number] = Channel(number, self)
        channel.open()
        return channel

    def _send_method(self, number: int, method: Any, content: Any = None) -> None:
        if not self.is_open:
            raise errors.ConnectionWrongStateError("closed")
        if not self.is_cut and number in self.channels:
            self.channels[number].incoming.append((method, content))

    def add_on_connection_blocked_callback(self, call: Callable[..., None]) -> None:
        """Tell of an alarm."""
        self._blocked.insert(0, call)

    def add_on_connection_unblocked_callback(self, call: Callable[..., None]) -> None:
        """Tell of its end."""
        self._blocked.append(call)

    def close(self) -> None:
        """With a good-bye."""
        self.lose(errors.ConnectionClosedByClient(200, "Normal shutdown"))

    def _terminate_stream(self, error: Exception) -> None:
        self.lose(error)

    def receive(self, number: int, method: Any) -> None:
        """A frame arrives."""
        self.callbacks.process(number, method, self, pika.frame.Method(number, method))

    def receive_message(self, number: int, method: Any, message: Message) -> None:
        """A message arrives."""
        channel = self._channels[number]
        take = channel._on_deliver if isinstance(method, spec.Basic.Deliver) else channel._on_return
        header = pika.frame.Header(number, len(message.body), message.properties)
        take(pika.frame.Method(number, method), header, message.body)

    def hear(self, most: int = MOST_STEPS) -> bool:
        """The client reads some of what has come; returns whether there was anything."""
        is_busy = False
        for _ in range(most):
            if not self.outgoing or self.is_cut:
                break
            self.outgoing.popleft()()
            is_busy = True
        return is_busy

    # the server's

    def block(self, reason: str) -> None:
        """An alarm: nothing is read from whoever publishes."""
        self.is_blocked = True
        self.outgoing.append(lambda: self._blocked[0](self, pika.frame.Method(0, spec.Connection.Blocked(reason))))

    def unblock(self) -> None:
        """It is over."""
        if self.is_blocked:
            self.is_blocked = False
            self.outgoing.append(lambda: self._blocked[1](self, pika.frame.Method(0, spec.Connection.Unblocked())))

    def lose(self, error: Exception) -> None:
        """It is lost, and both ends learn of that in their own time."""
        if self.is_cut:
            return
        self.is_cut = True
        self.outgoing.clear()
        self.rabbit.lines.remove(self)
        for channel in list(self.channels.values()):
            channel.end()
        self.loop.soon(partial(self._on_lost, error))

    def _on_lost(self, error: Exception) -> None:
        was_open, self.is_open = self.is_open, False
        for channel in list(self._channels.values()):
            channel._on_close_meta(error)
        self._told["on_close_callback" if was_open else "on_open_error_callback"](self, error)


class Rabbit:
    """The server, its clock, and the loops of its clients."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0
        self.numbers = count(1)
        self.boxes: dict[str, Box] = {}
        self.exchanges: dict[str, set[str]] = {}
        self.forbidden: set[str] = set()
        self.lines: list[Line] = []
        self.loops: list[SimulatedLoop] = []
        self.is_reachable = True
        self.alarm = ""
        self.style = "multiple"  # how it confirms; nothing: its disk takes long
        self.channel_max = 100
        self.safe: set[bytes] = set()  # bodies that it has confirmed, and had a queue for
        self.on_ack: Callable[[Message], None] = lambda _: None

    def loop(self) -> SimulatedLoop:
        """The loop of one more process."""
        self.loops.append(SimulatedLoop(self))
        return self.loops[-1]

    def declare(self, name: str, arguments: dict[str, Any]) -> Box:
        """Declare a queue, if there is none."""
        return self.boxes.setdefault(name, Box(name, arguments))

    def delete(self, name: str) -> None:
        """Delete a queue, with what it holds."""
        for consumer in self._remove(name).consumers if name in self.boxes else []:
            consumer.channel.send(spec.Basic.Cancel(consumer.tag))

    def move_and_forget(self, name: str) -> None:
        """A queue is deleted, and declared before its consumers are told: they are moved, and forgotten (3.10.8)."""
        if name in self.boxes:
            old = self._remove(name)
            moved = [Consumer(each.channel, each.tag, is_forgotten=True) for each in old.consumers]
            self.declare(name, old.arguments).consumers = moved

    def _remove(self, name: str) -> Box:
        box = self.boxes.pop(name)
        box.is_deleted, box.is_dead = True, False
        for bound in self.exchanges.values():
            bound.discard(name)
        return box

    def put(self, name: str, body: bytes, properties: Any = None) -> Message | None:
        """A message of somebody else, who knows how it ends; nothing is returned if it is not taken."""
        message = Message(next(self.numbers), body, properties or pika.BasicProperties())
        box = self.boxes.get(name)
        return message if box and not box.is_dead and box.take(message) else None

    def dispatch(self) -> None:
        """Deliver what can be delivered."""
        for box in self.boxes.values():
            box.dispatch()

    # what may go wrong

    def lose_connections(self, is_reachable: bool) -> None:
        """All connections are lost, and for a while there may be no other."""
        self.is_reachable = is_reachable
        for line in list(self.lines):
            line.lose(errors.StreamLostError("lost"))

    def set_dead(self, name: str, is_dead: bool) -> None:
        """The leader of a queue goes, or comes back."""
        if box := self.boxes.get(name):
            box.is_dead = is_dead
            box.dispatch()

    def set_refusing(self, name: str, refuses: bool) -> None:
        """A queue takes nothing, or takes messages again."""
        if box := self.boxes.get(name):
            box.refuses = refuses

    def set_alarm(self, reason: str) -> None:
        """An alarm, or its end."""
        self.alarm = reason
        for line in self.lines if not reason else []:
            line.unblock()

    def give_up(self) -> None:
        """Connections on which somebody asks to consume a queue that does not answer are closed."""
        for line in list(self.lines):
            if any(channel.held and channel.held.NAME == "Basic.Consume" for channel in line.channels.values()):
                line.lose(errors.ConnectionClosedByBroker(541, "INTERNAL_ERROR"))

    def mend(self, but: Collection[str] = ()) -> None:
        """All is well, `but` these queues."""
        self.is_reachable, self.style = True, "multiple"
        self.set_alarm("")
        self.forbidden.clear()
        for name in sorted(self.boxes.keys() - set(but)):
            self.set_dead(name, False)
            self.set_refusing(name, False)

    # what happens, when it is told to

    def serve(self) -> bool:
        """Obey what has come."""
        is_busy = False
        for line in list(self.lines):
            for channel in list(line.channels.values()):
                is_busy |= channel.serve()
                if self.style:
                    is_busy |= channel.confirm(self.style)
        return is_busy

    def hear(self, most: int = MOST_STEPS) -> bool:
        """The clients read some of what has come for them."""
        return sum(line.hear(most) for line in list(self.lines)) > 0

    def turn(self) -> bool:
        """The timers of all clients that are due."""
        return sum(loop.turn() for loop in self.loops) > 0

    def pass_time(self, seconds: float) -> None:
        """Time goes by, and nobody reads or answers anything."""
        self._until(self.now_s + seconds, self.turn)

    def live(self, seconds: float) -> None:
        """Time goes by, and everything moves."""
        self._until(self.now_s + seconds, self.flow)

    def flow(self) -> None:
        """Everything moves, until nothing does any more."""
        for _ in range(MOST_STEPS):
            if not self.serve() | self.hear() | self.turn():
                return
        raise AssertionError("it turns without end")

    def _until(self, end_s: float, move: Callable[[], object]) -> None:
        move()
        for _ in range(MOST_STEPS):
            next_s = min((loop.next_s for loop in self.loops), default=end_s)
            if next_s >= end_s:
                self.now_s = end_s
                return
            self.now_s = max(self.now_s, next_s)
            move()
        raise AssertionError("it turns without end")

    # the modules of the clients see this clock

    def monotonic(self) -> float:
        """Seconds from any beginning."""
        return self.now_s

    time = monotonic


@contextmanager
def new_rabbit() -> Iterator[Rabbit]:
    """A server that the package `broker` takes for a real one, and a clock that the services do."""
    rabbit = Rabbit()
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pika_private, "Connection", partial(Line, rabbit))
        for module in TIMED:
            patch.setattr(module, "time", rabbit)
        yield rabbit
