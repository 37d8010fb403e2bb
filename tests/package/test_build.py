"""What the package holds, before it is installed anywhere."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

import pvsim
from tests.package.conftest import CHECKOUT

UNITS = sorted((CHECKOUT / "systemd").glob("*.service"))
MODULES = "/usr/lib/python3/dist-packages/"
PLACES = (
    "/etc/pvsim/",
    "/lib/systemd/system/pvsim",
    "/usr/bin/pvsim",
    "/usr/lib/systemd/system/pvsim",
    "/usr/lib/sysusers.d/pvsim.conf",
    "/usr/lib/tmpfiles.d/pvsim.conf",
    "/usr/share/bash-completion/completions/pvsim",
    "/usr/share/doc/pvsim/",
    "/usr/share/fish/vendor_completions.d/pvsim",
    "/usr/share/lintian/overrides/pvsim",
    "/usr/share/man/man",
    "/usr/share/zsh/vendor-completions/_pvsim",
)


def contents(package: Path) -> dict[str, tuple[str, str]]:
    """Mode and owner of every file, by its path."""
    listing = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    fields = [line.split() for line in listing.splitlines()]
    return {field[5].removeprefix("."): (field[0], field[1]) for field in fields}


def test_version_is_the_same_everywhere(package: Path) -> None:
    """pvsim/__init__.py holds the version; the changelog, and with it the package, says the same."""
    version = subprocess.run(
        ["dpkg-deb", "-f", package, "Version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert version == pvsim.__version__


def test_the_broker_s_password_is_root_s(package: Path) -> None:
    assert contents(package)["/etc/pvsim/broker.ini"] == ("-rw-------", "root/root")
    assert contents(package)["/etc/pvsim/simulation.ini"] == ("-rw-r--r--", "root/root")


def test_commands_import_nothing_but_the_program(package: Path, tmp_path: Path) -> None:
    """A look-up in the package's metadata at each start would cost more than the rest of the start."""
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    for command in ("pvsim", "pvsim-meter", "pvsim-pv"):
        script = (tmp_path / "usr/bin" / command).read_text("utf-8")
        assert re.match(r"#! ?/usr/bin/python3\n", script), script
        assert "importlib" not in script, script
        assert "pkg_resources" not in script, script


@pytest.mark.usefixtures("package")
def test_building_leaves_nothing_but_the_package() -> None:
    left = {path.name for path in (CHECKOUT / "debian").iterdir()}
    assert not left & {"files", "pvsim", ".debhelper", "debhelper-build-stamp"}
    assert not list(CHECKOUT.glob("*.egg-info"))


def test_it_holds_the_program_and_no_more(package: Path) -> None:
    """All of its modules, nothing that tests, builds or caches, and only what has its place in a Debian system."""
    files = {path for path in contents(package) if not path.endswith("/")}
    ours = {path.removeprefix(MODULES) for path in files if path.startswith(MODULES) and ".dist-info/" not in path}
    sources = (path for path in (CHECKOUT / "pvsim").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert ours == {str(path.relative_to(CHECKOUT)) for path in sources}
    assert [path for path in files if not path.startswith((MODULES, *PLACES))] == []
    assert package.stat().st_size < 250_000


def test_building_writes_through_no_link(package: Path, tmp_path: Path) -> None:
    """Run by root in somebody else's checkout, it gives away nothing that a link there names."""
    checkout, precious = tmp_path / "pvsim", tmp_path / "precious"
    shutil.copytree(CHECKOUT, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", package.name))
    (checkout / "debian/control").chmod(0o644)
    os.chown(checkout / "debian/control", 65534, 65534)
    precious.mkdir()
    (checkout / "pvsim.deb").symlink_to(precious)
    subprocess.run(["sh", "debian/build.sh"], cwd=checkout, check=True, capture_output=True)
    assert (precious.stat().st_uid, list(precious.iterdir())) == (0, [])
    built = (checkout / "pvsim.deb").lstat()
    assert stat.S_ISREG(built.st_mode)
    assert built.st_uid == 65534


def test_a_source_archive_holds_all_that_there_is(package: Path, tmp_path: Path) -> None:
    """Whoever has it can test the program, and make its Debian package."""
    checkout = tmp_path / "pvsim"
    shutil.copytree(CHECKOUT, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", package.name))
    tops = [checkout / name for name in ("debian", "etc", "pvsim", "systemd", "tests")]
    there = {str(path.relative_to(checkout)) for top in tops for path in top.rglob("*") if path.is_file()}
    subprocess.run(["/usr/bin/python3", "setup.py", "--quiet", "sdist"], cwd=checkout, check=True, capture_output=True)
    (archive,) = checkout.glob("dist/*.tar.gz")
    listing = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout
    held = {line.partition("/")[2] for line in listing.splitlines()}
    assert {"debian/rules", "debian/copyright", "etc/pvsim/broker.ini", "tests/run.sh", ".ci/run"} <= held
    assert there <= held


@pytest.mark.parametrize("unit", UNITS[1:], ids=lambda unit: unit.name)
def test_units_are_sandboxed_alike(unit: Path) -> None:
    """The services differ in what they run, not in how."""

    def settings(path: Path) -> list[str]:
        lines = path.read_text("utf-8").partition("[Service]")[2].splitlines()
        return [line for line in lines if not line.startswith(("ExecStart=", "DefaultInstance="))]

    assert settings(unit) == settings(UNITS[0])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_bound_their_memory(unit: Path) -> None:
    """A broker that sends without an end is no danger to the machine."""
    assert "MemoryMax=1G" in unit.read_text("utf-8").splitlines()
