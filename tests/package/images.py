"""The images that machines and workshops begin with: tar archives, made once, kept in $PVSIM_TEST_CACHE.

Its default is /var/tmp/pvsim-tests. All of a suite grow from its bare image, which mmdebstrap makes.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.allowed import require

CACHE = Path(os.environ.get("PVSIM_TEST_CACHE", "/var/tmp/pvsim-tests"))
ROOTS = Path(os.environ.get("PVSIM_TEST_ROOTS", "/var/tmp"))  # where machines and workshops have their files
_FAST = (
    '--aptopt=Acquire::Check-Valid-Until "false"',  # the lists of a suite to come may be older than they say
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=force-unsafe-io",  # what is thrown away need not be on the disk
    "--dpkgopt=path-exclude=/usr/share/locale/*",  # translations that nobody asks for
    "--dpkgopt=path-exclude=/usr/share/man/??/*",
    "--dpkgopt=path-exclude=/usr/share/man/??_*",
    "--customize-hook=rm -f $1/var/lib/man-db/auto-update",  # an index of pages that nobody asks for
)


def bare_image(suite: str) -> Path:
    """Debian with systemd and nothing more."""

    def make(image: Path) -> None:
        what = ["--variant=minbase", "--include=systemd,systemd-sysv", suite, str(image)]
        environment = os.environ | {"TMPDIR": str(ROOTS)}
        subprocess.run(["mmdebstrap", "--quiet", "--format=tar", *_FAST, *what], env=environment, check=True)

    return kept(f"{suite}-bare", make)


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The image of this name; made first if it is not there, by one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    image = CACHE / f"{name}.tar"
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
