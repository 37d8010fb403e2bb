"""Ports of this machine for private nodes: free ones, and locks that keep other nodes off them."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from contextlib import suppress

from pvsim.errors import PvsimError

HOST = "127.0.0.1"
# Below the ports that the kernel gives to outgoing connections: a node that is down keeps its port.
_PORTS = range(12_000, 32_000)


class Ports:
    """The ports of one node, held until they are closed."""

    def __init__(self) -> None:
        self._locks: list[socket.socket] = []

    def claim(self, port: int = 0) -> int:
        """A port that is free, `port` itself if it is not 0; PvsimError if it is taken."""
        port, lock = _claim_port(port)
        self._locks.append(lock)
        return port

    def close(self) -> None:
        """Others may have them."""
        for lock in self._locks:
            lock.close()


def _claim_port(port: int) -> tuple[int, socket.socket]:
    """A port that is free, `port` itself if it is not 0; and a lock that keeps other nodes off it, until it is closed.

    The lock is an abstract Unix socket: it is gone with this process, and known in this network namespace alone.
    """
    _look_for_loopback()
    candidates = [port] if port else secrets.SystemRandom().sample(_PORTS, 100)
    for candidate in candidates:
        lock = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            lock.bind(f"\0pvsim-port-{candidate}")
            if is_free(candidate):
                return candidate, lock
        lock.close()
    raise PvsimError(f"Port {port or f'{_PORTS.start} and others'} of {HOST} is taken; give another port.")


def _look_for_loopback() -> None:
    """PvsimError where this machine cannot reach itself."""
    try:
        with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()):
            pass
    except OSError as error:
        what = os.strerror(error.errno or errno.EINVAL)
        raise PvsimError(
            f"This machine cannot reach itself at {HOST}: {what}; run: ip link set lo up, and ip address show lo"
        ) from None


def is_free(port: int) -> bool:
    """Whether nobody listens on a port, nor did a moment ago."""
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def answers(host: str, port: int, greeting: bytes = b"") -> bool:
    """Whether somebody listens there, and has an answer to the greeting."""
    with suppress(OSError), socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(greeting)
        return not greeting or connection.recv(1) == b"\1"  # a frame with a method: connection.start
    return False
