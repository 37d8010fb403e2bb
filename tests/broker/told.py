"""What services tell systemd, heard as systemd does: at once, and all of it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path


class Told:
    """A notify socket, and the last status that came. Services wait for one that nobody reads."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.status = ""  # the last line that `systemctl status` would show
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while message := self._socket.recv(8192).decode():
            if message.startswith("STATUS="):
                self.status = message.removeprefix("STATUS=")

    def close(self) -> None:
        """Hear no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", str(self.path))
        self._reader.join()
        self._socket.close()


def at(told: Told) -> dict[str, str]:
    """The environment of a service that tells it."""
    return {"NOTIFY_SOCKET": str(told.path)}
