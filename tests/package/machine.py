"""Booted Debian machines to install the package in: systemd is PID 1, and there is no network but loopback.

A machine is a systemd-nspawn container. Its files come from a base image with everything that pvsim depends on, made
once with mmdebstrap and kept in $PVSIM_TEST_CACHE (/var/tmp/pvsim-tests by default); so a machine needs no network,
and machines do not meet on port 5672. Commands enter it with nsenter, which needs no daemon on either side.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.allowed import require

PACKAGES = (
    "amqp-tools",
    "autopkgtest",
    "bash-completion",
    "dbus",
    "debsums",
    "dpkg-dev",
    "fish",
    "man-db",
    "python3",
    "python3-daemon",
    "python3-pika",
    "python3-sdnotify",
    "python3-systemd",
    "rabbitmq-server",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "zsh",
)
CACHE = Path(os.environ.get("PVSIM_TEST_CACHE", "/var/tmp/pvsim-tests"))
ROOTS = Path(os.environ.get("PVSIM_TEST_ROOTS", "/var/tmp"))  # where machines and workshops have their files
PATIENCE = 4  # times as long as on a quiet machine, for one that is busy with something else
# Far from UTC, so that a day that is not the machine's own shows.
TIME_ZONE = "Pacific/Kiritimati"

FAST = (
    '--aptopt=Acquire::Check-Valid-Until "false"',  # the lists of a suite to come may be older than they say
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=force-unsafe-io",  # what is thrown away need not be on the disk
    "--dpkgopt=path-exclude=/usr/share/locale/*",  # translations that nobody asks for
    "--dpkgopt=path-exclude=/usr/share/man/??/*",
    "--dpkgopt=path-exclude=/usr/share/man/??_*",
    "--customize-hook=rm -f $1/var/lib/man-db/auto-update",  # an index of pages that nobody asks for
)
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}


def base_image(suite: str, packages: Sequence[str] = PACKAGES, variant: str = "important") -> Path:
    """The suite's base image, a tar archive; made first if it is not there."""
    key = hashlib.sha256(" ".join((variant, *packages)).encode()).hexdigest()[:8]

    def make(image: Path) -> None:
        what = [f"--variant={variant}", f"--include={','.join(packages)}", suite, str(image)]
        environment = os.environ | {"TMPDIR": str(ROOTS)}
        subprocess.run(["mmdebstrap", "--quiet", "--format=tar", *FAST, *what], env=environment, check=True)

    return kept(CACHE / f"{suite}-{key}.tar", make)


def kept(image: Path, make: Callable[[Path], None]) -> Path:
    """An image of the cache; made first if it is not there, by one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(image.with_suffix(".lock")):
        if not image.exists():
            require("mirrors")
            part = image.with_suffix(".part")  # what is left of one that was not finished is written over
            make(part)
            part.rename(image)
    return image


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: the others wait here."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    """A machine of this suite, fresh from the base image; gone afterwards."""
    require("machines")
    base_image(suite)
    with tempfile.TemporaryDirectory(prefix=f"pvsim-{suite}-", dir=ROOTS) as directory:
        root = Path(directory, Path(directory).name)
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", base_image(suite)], check=True)
        with running(root, suite) as machine:
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
