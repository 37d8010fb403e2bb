"""A RabbitMQ in a few lines, beneath pika's own channels: what uses a broker is tried on it without one.

Its queues and channels are in rabbit.py. Nothing goes by itself: what a client sends waits until `serve`, what the
server sends waits until `hear`, and timers wait until `turn` or `pass_time`. So a test decides in which order things
happen.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import pika.callback
import pika.channel
import pika.exceptions as errors
import pika.frame
import pytest
from pika import spec

from pvsim.broker import Loop, answers, connection, consuming, link, marks, pika_private, publishing, queues, side
from pvsim.pv import service
from tests.unit.rabbit import Box, Channel, Consumer, Message

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
        if number > self.rabbit.channel_max:
            raise errors.NoFreeChannels
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
        self.undeclarable: set[str] = set()  # names that a part of a deleted queue was kept of
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
        self.undeclarable.clear()
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
