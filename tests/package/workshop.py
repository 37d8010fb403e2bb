"""A root of a suite to build and check the package in: not booted, and with the network, for apt.

It begins as the bare base image, in which nothing that pvsim or its build needs is installed, so that a dependency
that is missing shows. Commands run in it with chroot, in namespaces of their own.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.allowed import require
from tests.package.images import ROOTS, bare_image, kept

MACHINE = (
    "amqp-tools autopkgtest bash-completion dbus debsums dpkg-dev fish iproute2 man-db procps python3 python3-daemon"
    " python3-pika python3-sdnotify python3-systemd rabbitmq-server systemd systemd-sysv tzdata zsh"
)
CHECKERS = "faketime lintian piuparts reprotest"
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
PATIENCE = 4  # times as long as on a quiet machine, for one that is busy with something else
SOURCE, RESULT = "/build/pvsim", "/build"
_NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "pvsim.deb")

_ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" || exit
exec chroot "$1" sh -c "cd $2 && $3"
"""


class Workshop:
    """`root` is its file system, as seen from outside; `package` the .deb, once it is built."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def package(self) -> Path:
        """The Debian package that was built here."""
        (path,) = self.path(RESULT).glob("pvsim_*_all.deb")
        return path

    def path(self, inside: str) -> Path:
        """From outside, what has this absolute path inside."""
        return self.root / inside.removeprefix("/")

    def try_run(self, command: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root, beside the source tree; `timeout`: what a quiet machine takes at most, s."""
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "env", "-i", *environment]
        return subprocess.run(
            [*enter, "sh", "-c", _ENTER, "sh", self.root, RESULT, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE * timeout,
            check=False,
        )

    def install(self, packages: str) -> None:
        """Install packages, and nothing that they merely recommend."""
        self.apt_get(f"install -y --no-install-recommends {packages}")

    def apt_get(self, command: str) -> None:
        """Install, with the lists that the image was made with, or new ones where those are too old; start nothing."""
        policy = self.path("/usr/sbin/policy-rc.d")
        policy.write_text("#!/bin/sh\nexit 101\n", "utf-8")
        policy.chmod(0o755)
        self.run(f"apt-get {command} || {{ apt-get update && apt-get {command}; }}", 300)
        policy.unlink()

    def run(self, command: str, timeout: float = 110) -> str:
        """As try_run, for what has to succeed; gives what it says on stdout."""
        done = self.try_run(command, timeout)
        assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def machine_image(suite: str) -> Path:
    """The bare image with what machines need; made first if it is not there."""

    def prepare(workshop: Workshop) -> None:
        workshop.install(MACHINE)
        workshop.run("rm -r /var/lib/apt/lists/*")  # without a network, all they do is to make apt slow

    return _grown(suite, "machine", MACHINE, prepare)


def build_image(suite: str, checkout: Path) -> Path:
    """The bare image with what the package's Build-Depends name, and nothing more; made first if it is not there."""
    control = (checkout / "debian/control").read_text("utf-8")
    wanted = re.search(r"(?ms)^Build-Depends:.*?^(?=\S)", control[control.index("Build-Depends:") :])
    assert wanted

    def prepare(workshop: Workshop) -> None:
        shutil.copytree(checkout / "debian", workshop.path(f"{SOURCE}/debian"))
        workshop.apt_get(f"build-dep -y {SOURCE}")
        shutil.rmtree(workshop.path(SOURCE))

    return _grown(suite, "build", wanted[0], prepare)


def _grown(suite: str, name: str, of: str, prepare: Callable[[Workshop], None]) -> Path:
    """The bare image with more in it. `of`: a text that another image has, if something else is to be in it."""

    def make(image: Path) -> None:
        with unpacked(suite, bare_image(suite)) as workshop:
            prepare(workshop)
            workshop.run("apt-get clean && rm -f /var/lib/man-db/auto-update")
            subprocess.run(["tar", "-C", workshop.root, "-cf", image, "."], check=True)

    return kept(f"{suite}-{name}-{hashlib.sha256(of.encode()).hexdigest()[:8]}", make)


@contextmanager
def unpacked(suite: str, image: Path) -> Iterator[Workshop]:
    """A workshop that has what is in an image; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"pvsim-{suite}-", dir=ROOTS) as directory:
        workshop = Workshop(Path(directory))
        subprocess.run(["tar", "-C", directory, "-xf", image], check=True)
        shutil.copy("/etc/resolv.conf", workshop.path("/etc/resolv.conf"))
        workshop.path(RESULT).mkdir(exist_ok=True)
        yield workshop


@contextmanager
def opened(suite: str, checkout: Path) -> Iterator[Workshop]:
    """A workshop with nothing but the source and what its Build-Depends name; gone afterwards."""
    require("machines")
    with unpacked(suite, build_image(suite, checkout)) as workshop:
        shutil.copytree(checkout, workshop.path(SOURCE), ignore=_NOT_SOURCE, symlinks=True)
        yield workshop


def built(suite: str, checkout: Path, directory: Path) -> None:
    """Build source and package in a workshop, and leave all that comes of it in a directory."""
    with opened(suite, checkout) as workshop:
        workshop.run(f"cd {SOURCE} && dpkg-buildpackage -us -uc")
        shutil.copytree(workshop.path(RESULT), directory, symlinks=True)
