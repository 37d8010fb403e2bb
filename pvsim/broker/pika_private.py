"""What pvsim needs of pika and pika does not offer: each use of its private parts, with the reason for it.

All of it was read in and tried with pika 1.2.0, 1.3.2 and 1.4.4. Nothing else in pvsim touches a name of pika's that
begins with an underscore.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pika
import pika.adapters.utils.io_services_utils as io_services
import pika.channel
import pika.exceptions as errors
import pika.frame

from pvsim.errors import BrokerError

if TYPE_CHECKING:
    from pvsim.broker.transport import Loop

MOST_FRAME_BYTES = 2**17  # what pika asks for, and so the most that a broker may send (AMQP 0-9-1, section 4.2.3)
MOST_BODY_BYTES = 128 * 2**20  # what RabbitMQ takes as shipped (max_message_size of 3.x; 4.x takes 16 MiB)
_SENT_AT_ONCE = 2**16  # bytes; of what is longer, pika copies the rest each time that the socket takes a part
_FRAME_SIZE = struct.Struct(">B2xI")
_FRAMES = (1, 2, 3, 8)  # method, header, body, heartbeat


# BasicProperties.decode: pika lets a header that Python cannot hold (a NaN, a date in the year 300000) end the whole
# process. The body is what counts; what could not be read is kept as it came.

_decode_properties = pika.BasicProperties.decode


def _decode_leniently(self: Any, encoded: bytes, offset: int = 0) -> Any:
    try:
        return _decode_properties(self, encoded, offset)
    except Exception:  # pika raises whatever comes up in decoding
        self.undecoded = encoded[offset:]
        return self


pika.BasicProperties.decode = _decode_leniently


def undecoded(properties: Any) -> bytes:
    """The bytes of properties that pika could not decode, nothing of those that it could."""
    return getattr(properties, "undecoded", b"")


# What has come of a frame is copied with each piece, and pika reads pieces of 4 kB.

io_services._AsyncTransportBase._MAX_RECV_BYTES = 2**16


class TooLargeError(BrokerError):
    """More is announced than a broker may send."""


class Bounded(pika.SelectConnection):  # type: ignore[misc]
    """pika's, which keeps whatever a broker sends, but what is announced to be too large ends it before it has come."""

    def _proto_data_received(self, data: bytes) -> None:
        try:
            super()._proto_data_received(data)
        except TooLargeError as error:  # pika would make a lost connection of it, without the reason
            terminate(self, error)

    def _on_data_available(self, data: bytes) -> None:
        """What is left in the buffer is a frame that has not come whole."""
        super()._on_data_available(data)
        check_frame(received(self))

    def _process_frame(self, frame: Any) -> None:
        if isinstance(frame, pika.frame.Header):
            check_body(frame.body_size)
        super()._process_frame(frame)


class Connection(Bounded):
    """The same, but pika sends each frame by itself, three a message: here, what is written at one go is sent so."""

    def __init__(self, loop: Loop, *arguments: Any, **options: Any) -> None:
        self._owner_loop = loop
        self._outgoing = bytearray()
        super().__init__(*arguments, custom_ioloop=loop.pika, **options)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._outgoing:
            self._owner_loop.later(0, self._emit)
        self._outgoing += data
        if len(self._outgoing) >= _SENT_AT_ONCE:
            self._emit()

    def _emit(self) -> None:
        """Send at once what the socket takes: pika waits for the loop's next turn, and what is due then comes first."""
        data, self._outgoing = bytes(self._outgoing), bytearray()
        if data and self._transport:  # or else the connection is lost
            waits = self._transport.get_write_buffer_size()
            super()._adapter_emit_data(data)
            if not waits and self._transport.get_write_buffer_size():
                self._transport._on_socket_writable()


def check_frame(start: bytes) -> None:
    """A frame that has begun to come must not be longer than what was agreed upon."""
    if len(start) >= _FRAME_SIZE.size and not start.startswith(b"AMQP"):
        kind, size = _FRAME_SIZE.unpack_from(start)
        # What begins as no frame does may be short, and tells who answers instead of a broker: that is waited for.
        if size > MOST_FRAME_BYTES and (kind in _FRAMES or len(start) > MOST_FRAME_BYTES):
            raise _too_large("frame", size, MOST_FRAME_BYTES)


def check_body(size: int) -> None:
    """A message whose body is announced must have one that a broker takes from publishers, too."""
    if size > MOST_BODY_BYTES:
        raise _too_large("message", size, MOST_BODY_BYTES)


def _too_large(what: str, size: int, most: int) -> TooLargeError:
    return TooLargeError(f"it announced a {what} of {size:,} bytes, and pvsim takes {most:,} at most")


def terminate(connection: Any, reason: Exception) -> None:
    """End a connection without a good-bye: a broker that is stuck would never answer pika's close()."""
    connection._terminate_stream(errors.AMQPConnectionError(reason))


def close(connection: Any) -> None:
    """Close a connection with a good-bye, and its channels like `close_channel`."""
    for channel in connection._channels.values():
        channel._cancelled.update(channel._consumers)
    connection.close()


def close_channel(channel: Any) -> None:
    """Close a channel, and all that is consumed on it.

    pika would cancel the consumers before: then a queue goes on with the next one, and what this one has not
    acknowledged goes back only afterwards, behind what is later.
    """
    channel._cancelled.update(channel._consumers)
    channel.close()


def cancel(channel: Any, tag: str, done: Callable[[], None]) -> None:
    """Cancel a consumer; `done` when its last message has come.

    pika's own basic_cancel may wait for answers, and be overtaken by what is given back: that is delivered again.
    """
    arguments = {"consumer_tag": tag}
    channel.callbacks.add(channel.channel_number, pika.spec.Basic.CancelOk, lambda _: done(), arguments=arguments)
    channel._send_method(pika.spec.Basic.Cancel(**arguments))


def free_channels(connection: Any) -> int:
    """How many more channels a connection can have: pika tells with an error alone, when there is none."""
    return int(connection.params.channel_max or pika.channel.MAX_CHANNELS) - len(connection._channels)


def received(connection: Any) -> bytes:
    """What has come and was no frame (yet)."""
    return getattr(connection, "_frame_buffer", None) or b""


def ends(connection: Any) -> tuple[str, str]:
    """The addresses of a connection, ours and the broker's, which pika does not offer; empty if it is lost already."""
    try:
        sock = connection._transport._sock
        return str(sock.getsockname()[0]), str(sock.getpeername()[0])
    except (AttributeError, OSError):
        return "", ""


def blocking(parameters: Any) -> Any:
    """A connection for who waits for each answer; pika offers no way to have it bounded."""
    return pika.BlockingConnection(parameters, _impl_class=Bounded)


def server_properties(blocking_connection: Any) -> dict[str, Any]:
    """What the broker says of itself; pika's BlockingConnection does not offer it."""
    found = blocking_connection._impl.server_properties
    return found if isinstance(found, dict) else {}


def unsent_bytes(connection: Any) -> int:
    """How much was sent that the socket has not taken yet; what was never bounded grows without a limit."""
    return int(connection._transport.get_write_buffer_size())


def send_frames(connection: Any, frames: bytes) -> None:
    """Send frames that were made beforehand: pika's basic_publish makes them anew each time, at ten times the cost."""
    connection._output_marshaled_frames([frames])
