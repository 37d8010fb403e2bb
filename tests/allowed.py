"""What the tests need that not every machine allows: found out by trying, once a run.

A test, or a fixture of it, that needs such a thing calls `require`. Where the machine does not allow it, the test is
skipped with what would be needed; tests/run.sh counts that, says it again at the end, and takes it for a failure where
CI is set.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

_VM = "a VM, or a container with --privileged"
_IN_A_NAMESPACE = 'mount -t tmpfs -o size=64k pvsim "$0"'


class Need(NamedTuple):
    """What tests need, what kind of machine has it, and whether this one does."""

    what: str
    where: str
    is_met: Callable[[], bool]


def _succeeds(*command: str) -> bool:
    try:
        return not subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def is_root() -> bool:
    """Whether we are root, be it in a container."""
    return os.geteuid() == 0


def namespace() -> list[str]:
    """The command that runs another one where it may mount, and nobody else sees it."""
    return ["unshare", "--mount"] if is_root() else ["unshare", "--user", "--map-root-user", "--mount"]


def _may_mount_unseen() -> bool:
    with tempfile.TemporaryDirectory() as directory:
        return _succeeds(*namespace(), "sh", "-c", _IN_A_NAMESPACE, directory)


def _may_mount() -> bool:
    return is_root() and _may_mount_unseen()


def _may_make_networks() -> bool:
    return is_root() and _succeeds("unshare", "--mount", "--net", "ip", "link", "add", "pvsim0", "type", "bridge")


def _may_trace() -> bool:
    return _succeeds("strace", "-f", "-o", "/dev/null", "true")


def _may_boot() -> bool:
    kinds = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork"]
    return _may_mount() and _succeeds("unshare", *kinds, "mount", "-t", "proc", "proc", "/proc")


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def _reaches_mirrors() -> bool:
    """By the first list that apt would fetch here."""
    lists = subprocess.run(["apt-get", "--print-uris", "update"], capture_output=True, text=True, check=False).stdout
    url = lists.partition(" ")[0].strip("'")
    with tempfile.TemporaryDirectory() as directory:
        return bool(url) and _succeeds("/usr/lib/apt/apt-helper", "download-file", url, str(Path(directory, "list")))


NEEDS = {
    "namespace": Need(
        "a small disk", f"root, or namespaces for all, on a machine that may mount: {_VM}", _may_mount_unseen
    ),
    "mount": Need("mounting", f"root on a machine that may mount: {_VM}", _may_mount),
    "networks": Need("networks of their own", f"root on a machine that may make them: {_VM}", _may_make_networks),
    "trace": Need("strace", "a machine that may trace: a VM, or a container with --cap-add=SYS_PTRACE", _may_trace),
    "ipv6": Need("IPv6 on this machine", "a loopback interface with the address ::1", _has_ipv6),
    "machines": Need("booting machines", f"root on a machine that may boot others: {_VM}", _may_boot),
    "mirrors": Need("Debian's packages", "a network that reaches the mirrors of apt's sources", _reaches_mirrors),
}


@cache
def is_allowed(name: str) -> bool:
    """Whether this machine has what the table above calls so."""
    return NEEDS[name].is_met()


def _reason(name: str) -> str:
    need = NEEDS[name]
    return f"{need.what}: needs {need.where}"


def require(name: str) -> None:
    """Skip the test that runs, unless the machine allows this."""
    if not is_allowed(name):
        pytest.skip(_reason(name))


def sentence(*names: str) -> str:
    """What a part of the tests leaves out on this machine."""
    missing = [_reason(name) for name in names if not is_allowed(name)]
    return f"LEFT OUT on this machine, what takes {'; '.join(missing)}" if missing else ""
