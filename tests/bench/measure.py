"""What processes use, and how long they take to be ready."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]


class Usage(NamedTuple):
    """CPU time until now, s; memory that is resident, and with what is shared divided among its users, kB."""

    cpu_s: float
    rss_kb: int
    pss_kb: int

    def since(self, before: Usage) -> Usage:
        """What was used since an earlier moment."""
        return self._replace(cpu_s=self.cpu_s - before.cpu_s)


def usage(pid: int) -> Usage:
    """What a process uses."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    memory = (process / "smaps_rollup").read_text()
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), _kb(memory, "Rss"), _kb(memory, "Pss"))


def _kb(memory: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", memory, re.MULTILINE)
    assert match
    return int(match[1])


def ready_seconds(command: Sequence[str], directory: Path) -> float:
    """How long a service takes from its start to telling systemd that it is ready; it is stopped then."""
    address = directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address.unlink(missing_ok=True)
        systemd.bind(str(address))
        systemd.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), "PYTHONPATH": str(CHECKOUT)}
        began = time.monotonic()
        with subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.DEVNULL) as service:
            while b"READY=1" not in systemd.recv(4096):
                pass
            took = time.monotonic() - began
            service.send_signal(signal.SIGTERM)
    return took
