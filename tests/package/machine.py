"""Booted Debian machines to install the package in: systemd is PID 1, and there is no network but loopback.

A machine is a systemd-nspawn container. Its files come from an image with everything that pvsim depends on; so a
machine needs no network, and machines do not meet on port 5672. Commands enter it with nsenter, which needs no daemon
on either side.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.allowed import require
from tests.package.workshop import ENVIRONMENT, PATIENCE, machine_image, unpacked

# Far from UTC, so that a day that is not the machine's own shows.
TIME_ZONE = "Pacific/Kiritimati"


class Machine:
    """A booted machine; `root` is its file system, as seen from outside."""

    def __init__(self, root: Path, init: int) -> None:
        self.root = root
        self._init = init

    def try_run(self, command: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine as root; stderr goes where stdout goes.

        `timeout`: what a quiet machine takes at most, s.
        """
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return subprocess.run(
            ["nsenter", "-t", str(self._init), "-a", "env", "-i", *environment, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * timeout,
            check=False,
        )

    def run(self, command: str, timeout: float = 90) -> str:
        """As try_run, for what has to succeed; gives what it says, without the last line's end."""
        done = self.try_run(command, timeout)
        assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}\n{self.journal()}"
        return done.stdout.rstrip("\n")

    def wait_for(self, command: str, seconds: float = 60) -> None:
        """Until the command succeeds."""
        end = time.monotonic() + PATIENCE * seconds
        while (done := self.try_run(command)).returncode != 0:
            assert time.monotonic() < end, (
                f"not within {PATIENCE * seconds} s: {command}\n{done.stdout}\n{self.journal()}"
            )
            time.sleep(0.3)

    def property(self, unit: str, name: str) -> str:
        """A property of a unit, as systemd knows it."""
        return self.run(f"systemctl show --property={name} --value {shlex.quote(unit)}")

    @contextmanager
    def changed(self, unit: str, service: str) -> Iterator[None]:
        """A unit with other settings in its [Service] for a while, from its next start on."""
        drop_in = self.root / f"etc/systemd/system/{unit}.d/test.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(f"[Service]\n{service}", "utf-8")
        try:
            self.run("systemctl daemon-reload")
            yield
        finally:
            drop_in.unlink()
            drop_in.parent.rmdir()
            self.run("systemctl daemon-reload")

    def journal(self) -> str:
        """The journal's last lines, for messages of tests that fail."""
        return self.try_run("journalctl --no-pager --lines=60").stdout


def _in_own_control_group(name: str, command: list[str]) -> list[str]:
    """The command, made to run in a control group of its own: two systemds in one would stop each other's services."""
    if Path("/run/systemd/system").is_dir():
        return ["systemd-run", "--scope", "--quiet", f"--unit={name}", "--property=Delegate=yes", *command]
    group = _control_group(name)
    if group is None:
        return command
    group.mkdir()
    return ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh", *command]


def _control_group(name: str) -> Path | None:
    """Where this control group belongs; None where the kernel's one tree of them is not mounted."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    return next((Path(mount[1], name) for mount in mounts if mount[2] == "cgroup2"), None)


def _prepare(root: Path, hostname: str) -> None:
    root.joinpath("etc/hostname").write_text(f"{hostname}\n", "utf-8")
    root.joinpath("etc/hosts").write_text(f"127.0.0.1 localhost {hostname}\n", "utf-8")
    localtime = root / "etc/localtime"
    localtime.unlink(missing_ok=True)
    localtime.symlink_to(f"/usr/share/zoneinfo/{TIME_ZONE}")


def _boot(root: Path, log: Path) -> subprocess.Popen[bytes]:
    command = ["setpriv", "--pdeathsig=KILL"]  # it does not outlive the tests, however they end
    command += ["systemd-nspawn", "--quiet", "--boot", f"--directory={root}", "--register=no", "--keep-unit"]
    command += ["--console=pipe", "--private-network", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    # As on a real machine; without these, a unit with all of systemd's sandboxing does not start.
    command += ["--capability=all", "--system-call-filter=@mount @keyring bpf perf_event_open"]
    with log.open("wb") as output:
        return subprocess.Popen(
            _in_own_control_group(root.name, command),
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]


def _wait_until_booted(root: Path, nspawn: subprocess.Popen[bytes], seconds: float = 60) -> Machine:
    end = time.monotonic() + PATIENCE * seconds
    while time.monotonic() < end and nspawn.poll() is None:
        for init in _children(nspawn.pid):
            machine = Machine(root, init)
            if machine.try_run("systemctl is-system-running").stdout.strip() in ("running", "degraded"):
                return machine
        time.sleep(0.3)
    raise AssertionError(f"{root.name} did not boot within {PATIENCE * seconds} s")


@contextmanager
def booted(suite: str) -> Iterator[Machine]:
    """A machine of this suite, fresh from its image; gone afterwards."""
    require("machines")
    with unpacked(suite, machine_image(suite)) as workshop, running(workshop.root, suite) as machine:
        yield machine


@contextmanager
def running(root: Path, hostname: str) -> Iterator[Machine]:
    """A machine that boots from the files in a directory; off afterwards."""
    _prepare(root, hostname)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "boot.log")
        nspawn = _boot(root, log)
        try:
            yield _wait_until_booted(root, nspawn)
        except AssertionError:
            print(log.read_text("utf-8", errors="replace"))
            raise
        finally:
            _power_off(nspawn, root.name)


def _power_off(nspawn: subprocess.Popen[bytes], name: str) -> None:
    """Pull the plug: a machine that is thrown away needs no orderly shutdown."""
    if nspawn.poll() is None:
        for init in _children(nspawn.pid) or [nspawn.pid]:
            os.kill(init, signal.SIGKILL)
    nspawn.wait(30)
    group = _control_group(name)
    if group is not None and group.is_dir():
        for directory in sorted(group.glob("**/"), reverse=True):
            directory.rmdir()
