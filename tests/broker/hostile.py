"""A broker that cannot be trusted: a real one, and what it says is changed on its way.

`Hostile` stands between a service and a node, passes on what the service says, and has each frame that the node says
from its `Script`. So a session is as long and as true as the script lets it be.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from pvsim.tools.node import Node

METHOD, HEADER, BODY = 1, 2, 3
Script = Callable[[Iterator[bytes]], Iterator[bytes]]


class Hostile:
    """Listens on `port`, for `with`. `script`: makes of a node's frames what is said; of each connection anew."""

    def __init__(self, node: Node, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.sent = 0  # bytes of scripts, to services
        self._node = node
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                service, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(service, self.script), daemon=True).start()

    def _serve(self, service: socket.socket, script: Script) -> None:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)  # `sent` is what the service has read, or nearly
        with service, socket.create_connection((self._node.host, self._node.port)) as broker, suppress(OSError):
            threading.Thread(target=_pass_on, args=(service, broker), daemon=True).start()
            for data in script(_frames(broker)):
                service.sendall(data)
                self.sent += len(data)
            broker.shutdown(socket.SHUT_RDWR)
            service.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _frames(broker: socket.socket) -> Iterator[bytes]:
    """What a broker says, frame by frame (AMQP 0-9-1, section 4.2.3)."""
    with suppress(OSError):
        stream = broker.makefile("rb")
        while len(head := stream.read(7)) == 7:
            (size,) = struct.unpack(">I", head[3:])
            yield head + stream.read(size + 1)


def honest(frames: Iterator[bytes]) -> Iterator[bytes]:
    """All as it is."""
    return frames


def for_a_while(frames: Iterator[bytes], seconds: float = 1.5) -> Iterator[bytes]:
    """All as it is, and then the end."""
    end_s = time.monotonic() + seconds
    for frame in frames:
        yield frame
        if time.monotonic() > end_s:
            return


def endless_frame(frames: Iterator[bytes]) -> Iterator[bytes]:
    """After the connection is open, a frame of 4 GB."""
    for number, frame in enumerate(frames):
        yield frame
        if number == 4:
            break
    yield struct.pack(">BHI", METHOD, 1, 2**32 - 2)
    while True:
        yield bytes(2**16)


def endless_body(frames: Iterator[bytes]) -> Iterator[bytes]:
    """The first message has a body of 2**62 bytes, in frames as they should be."""
    for frame in frames:
        if frame[0] == HEADER:
            yield frame[:11] + struct.pack(">Q", 2**62) + frame[19:]
            break
        yield frame
    body = struct.pack(">BHI", BODY, struct.unpack(">H", frame[1:3])[0], 2**16) + bytes(2**16) + b"\xce"
    while True:
        yield body


def blocked(reason: bytes) -> Script:
    """After the connection is open, the broker says connection.blocked."""

    def script(frames: Iterator[bytes]) -> Iterator[bytes]:
        for number, frame in enumerate(frames):
            yield frame
            if number == 6:
                yield _method(0, 10, 60, bytes([len(reason)]) + reason)

    return script


def channel_closed(code: int, reason: bytes) -> Script:
    """The sixth frame, an answer on a channel, is a refusal in these words."""

    def script(frames: Iterator[bytes]) -> Iterator[bytes]:
        for number, frame in enumerate(frames):
            if number == 6:
                channel = struct.unpack(">H", frame[1:3])[0]
                yield _method(channel, 20, 40, struct.pack(">HB", code, len(reason)) + reason + bytes(4))
                return
            yield frame

    return script


def product(name: bytes) -> Script:
    """The greeting names another product; of the same length, padded with spaces."""

    def script(frames: Iterator[bytes]) -> Iterator[bytes]:
        for frame in frames:
            yield frame.replace(b"RabbitMQ", name.ljust(8))

    return script


def _method(channel: int, class_id: int, method_id: int, arguments: bytes) -> bytes:
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHI", METHOD, channel, len(payload)) + payload + b"\xce"


def one_change(seed: str, first: int, last: int) -> Script:
    """One of the frames from `first` to `last` is changed in one way, both drawn from the seed."""
    chance = random.Random(seed)
    target, change = chance.randint(first, last), chance.choice(CHANGES)

    def script(frames: Iterator[bytes]) -> Iterator[bytes]:
        for number, frame in enumerate(for_a_while(frames)):
            yield change(frame, chance) if number == target else frame

    return script


def _flip(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame))
    return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]


def _byte(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame))
    return frame[:at] + bytes([chance.choice((0, 1, 127, 128, 255))]) + frame[at + 1 :]


def _lose(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame))
    return frame[:at] + frame[at + chance.randint(1, 8) :]


def _put(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame))
    return frame[:at] + chance.randbytes(chance.randint(1, 300)) + frame[at:]


def _payload(frame: bytes, chance: random.Random) -> bytes:
    return frame[:7] + chance.randbytes(len(frame) - 8) + frame[-1:]


def _size(frame: bytes, chance: random.Random) -> bytes:
    return frame[:3] + struct.pack(">I", chance.choice((0, 1, 2**16, 2**17 + 1, 2**31, 2**32 - 1))) + frame[7:]


def _number(frame: bytes, chance: random.Random) -> bytes:
    """Eight bytes of the payload are a great number: a size, a tag, a length."""
    at = chance.randint(7, max(7, len(frame) - 9))
    return frame[:at] + struct.pack(">Q", chance.choice((2**62, 2**32, 2**64 - 1, 0))) + frame[at + 8 :]


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    _flip,
    _byte,
    _lose,
    _put,
    _payload,
    _size,
    _number,
    lambda frame, _: frame + frame,
    lambda frame, _: frame[:1] + b"\x01\x01" + frame[3:],
    lambda frame, chance: frame + chance.randbytes(100),
    lambda _frame, _: b"",
]
