"""What Debian's own tools say of the package."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.package.images import bare_image
from tests.package.machine import Machine
from tests.package.test_lifecycle import purge
from tests.package.workshop import CHECKERS, RESULT, SOURCE, Workshop

# Of an older Debian than the package is for: it does not know this policy, and wants init scripts beside units.
OUTDATED = {"bookworm": {"newer-standards-version", "package-supports-alternative-init-but-no-init.d-script"}}
# Of what debhelper, pybuild, setuptools and shtab write, their versions write each their own.
OF_THE_BUILD = re.compile(r"(usr/)?lib/systemd/system/.*|usr/bin/.*|.*\.dist-info/.*|usr/share/zsh/.*")


@pytest.fixture(scope="session")
def checkers(workshop: Workshop) -> Workshop:
    """The workshop, with Debian's checkers installed after the package was built."""
    workshop.install(CHECKERS)
    return workshop


def test_lintian(checkers: Workshop, suite: str) -> None:
    """Nothing to say of source and package, to the pedantic; nor of an override that is not needed."""
    said = checkers.run("lintian -EI --pedantic --fail-on none *.changes").splitlines()
    tags = {line.split(": ", 2)[-1].split()[0] for line in said if not line.startswith("N:")}
    assert tags <= OUTDATED.get(suite, set()), "\n".join(said)


def test_built_again_it_is_the_same(checkers: Workshop) -> None:
    """To the byte, at another time, place, umask, locale, time zone, and number of processors."""
    variations = "+all,-domain_host,-fileordering,-user_group,-kernel"
    command = f"reprotest --variations={variations} --store-dir=../again -c 'dpkg-buildpackage -us -uc -b' . '../*.deb'"
    said = checkers.run(f"rm -rf again copy && cp -a {SOURCE} copy && cd copy && {command} -- null", 240)
    assert "Reproduction successful" in said
    built = checkers.package
    (again,) = checkers.path(f"{RESULT}/again").rglob(f"control/**/{built.name}")
    assert again.read_bytes() == built.read_bytes()


def files(package: Path, directory: Path) -> dict[str, bytes]:
    """What a package installs, but for what the build's own tools have written."""
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True)
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not OF_THE_BUILD.fullmatch(name)}


def test_built_elsewhere_it_is_the_same(package: Path, suite_package: Path, suite: str, tmp_path: Path) -> None:
    """To the byte, on any machine of the same release; of another release, in all that pvsim itself brings."""
    assert files(package, tmp_path / "here") == files(suite_package, tmp_path / "there")
    release = Path("/etc/os-release").read_text("utf-8")
    if f"VERSION_CODENAME={suite}\n" in release:
        assert package.read_bytes() == suite_package.read_bytes()


def test_piuparts(checkers: Workshop, suite: str) -> None:
    """Installed and purged on a bare Debian, it leaves nothing."""
    with bare_image(suite).open("rb") as image, gzip.open(checkers.path("/build/bare.tar.gz"), "wb", 0) as target:
        shutil.copyfileobj(image, target)
    checkers.run(f"mkdir -p tmp && piuparts --tmpdir={RESULT}/tmp -b bare.tar.gz -d {suite} *.deb", 300)


def test_autopkgtest(pvsim: Machine, made: Path) -> None:
    """The tests that the package brings for Debian's own machines, none left out; they find no rows of before."""
    # Those that went by way of another broker have gaps, which `pvsim verify` would rightly tell.
    purge(pvsim)
    shutil.copytree(made / "pvsim", pvsim.root / "root/source", dirs_exist_ok=True)
    ignored = "--ignore-restrictions=isolation-container"  # this machine is one; null cannot know
    done = pvsim.try_run(f"cd && autopkgtest -B {ignored} pvsim.deb source/ -- null", 240)
    # The meter was told to stop in between: whoever comes next finds no rows of before.
    purge(pvsim)
    results = done.stdout.rpartition(" summary\n")[2]
    names = re.findall(r"(?m)^Tests: (.*)", (made / "pvsim/debian/tests/control").read_text("utf-8"))
    assert done.returncode == 0, done.stdout
    assert re.findall(r"(?m)^(\S+) +(\S+)", results)[: len(names)] == [(name, "PASS") for name in names], results


def test_debsums(installed: Machine) -> None:
    """Every installed file has a checksum, and is as it was packed."""
    assert installed.run("debsums --changed --all pvsim") == ""
    listed = installed.run("dpkg -L pvsim | while read -r path; do [ ! -f $path ] || [ -L $path ] || echo $path; done")
    checked = installed.run("debsums --all pvsim").splitlines()
    assert len(checked) == len(listed.splitlines())
