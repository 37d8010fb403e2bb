"""What the README, the units and the sources of the man pages say is what the program does."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

import pvsim
from pvsim import config, helptext, meter, pv, row, tools

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
UNITS = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "systemd").glob("pvsim*.*"))}
PARSERS = {"pvsim": tools.parser(), "pvsim-meter": meter.parser(), "pvsim-pv": pv.parser()}


@pytest.mark.parametrize("name, keys", [("broker.ini", config.BROKER), ("simulation.ini", [*config.METER, *config.PV])])
def test_the_installed_file_shows_every_key_with_its_default(name: str, keys: Iterable[str]) -> None:
    """And so its man page does, which is made of the file."""
    text = (ROOT / "etc/pvsim" / name).read_text("utf-8")
    assert {key for key in keys if not re.search(rf"(?m)^#{key} =", text)} == set()


def test_the_readme_tells_of_every_unit_and_no_other() -> None:
    told = {unit.replace("@ID", "@") for unit in re.findall(r"(?m)^\| `(pvsim\S*\.(?:service|target))`", README)}
    assert told == set(UNITS)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_the_readme_shows_pictures_that_are_there() -> None:
    paths = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert paths
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_pages_that_documents_name_are_there() -> None:
    pages = {path.stem for path in (ROOT / "debian/man").glob("*.[1-8]")}
    assert set(re.findall(r"man (pvsim[\w.-]*\w)", README)) <= pages
    for path in (ROOT / "debian/man").glob("*.[1-8]"):
        named = re.findall(r"(?m)^\.Xr (pvsim\S*) \d", path.read_text("utf-8").replace("\\-", "-"))
        assert set(named) <= pages, path.name


def test_the_map_for_those_who_carry_on_is_that_of_the_tree() -> None:
    """Each room that it names is there, and each room of the package is in it."""
    rows = [re.findall(r"`(.*?)`", row) for row in re.findall(r"(?m)^\| (`pvsim/.*)$", README)]
    named: set[Path] = set()
    for first, *others in rows:
        room = ROOT / first
        assert room.exists(), first
        named.add(room)
        for word in others:
            at = ROOT / "pvsim" / word if word.endswith(".py") else room / word
            is_there = at.exists() or at.with_suffix(".py").exists() or (ROOT / word).exists() or word == "pvsim"
            assert is_there or not word.isidentifier() or word in ("add_parser", "__init__"), f"{first}: {word}"
            named.add(at)
    rooms = [path for path in (ROOT / "pvsim").iterdir() if path.is_dir() and path.name != "__pycache__"]
    files = [path for path in (ROOT / "pvsim").glob("*.py") if path.stem not in ("__init__", "helptext")]
    assert {path for path in (*rooms, *files) if path not in named} == set()


@pytest.mark.parametrize("command", PARSERS)
def test_every_command_has_a_man_page(command: str) -> None:
    page = (ROOT / f"debian/man/{command}.1").read_text("utf-8")
    assert '\n.\\" OPTIONS\n' in page
    assert f"\n.Nm {command}\n" in page


@pytest.mark.parametrize("name", [unit for unit in UNITS if unit.endswith(".service")])
def test_units_start_what_there_is(name: str) -> None:
    """With a command line that it understands."""
    (line,) = re.findall(r"(?m)^ExecStart=/usr/bin/(.*)$", UNITS[name])
    command, *arguments = shlex.split(line.replace("%i", "Meter_0..499"))
    given = PARSERS[command].parse_args(arguments)
    assert given.meter_ids == (["Meter_0..499"] if "@" in name else None)


@pytest.mark.parametrize("path", ["README.md", "debian/man/pvsim-dayfile.5"])
def test_the_first_line_of_a_day_file(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert f"{row.HEADER}".strip() in text
    columns = row.HEADER.strip().split(",")
    described = re.findall(r"(?m)^(?:\| `|\.It Ic )(\w+)", text)
    assert [name for name in described if name in columns] == columns


def test_releases_tell_the_same_version() -> None:
    """pvsim/__init__.py, and debian/changelog, which is the one changelog."""
    newest = re.match(r"pvsim \((\S+)\)", (ROOT / "debian/changelog").read_text("utf-8"))
    assert newest is not None
    assert newest[1] == pvsim.__version__


def test_the_page_on_faults_tells_of_each_kind_with_a_line_that_works() -> None:
    page = (ROOT / "debian/man/pvsim-faults.7").read_text("utf-8").replace("\\-", "-")
    lines = re.findall(r"(?m)^\.It Ic (fault_\w+ = .*)$", page)
    assert {line.split()[0] for line in lines} == {key for key in config.METER if key.startswith("fault_")}
    for line in lines:
        meter = config.parse_simulation(f"[meter]\n{line}\n", "the page", ROOT).meter("Meter_0")
        assert meter.faults, line


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "debian/man").glob("*.[1-8]")))
def test_settings_in_a_page_can_be_used_as_they_stand(page: str) -> None:
    text = (ROOT / "debian/man" / page).read_text("utf-8").replace("\\-", "-")
    for block in re.findall(r"(?ms)^\.Bd -literal.*?\n(.*?)^\.Ed", text):
        if re.match(r"\[(?:meter|pv)\b", block) and "replay" not in block:
            config.parse_simulation(block, page, ROOT)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command and subcommand, and its command line."""
    (below,) = (each for each in tools.parser()._actions if isinstance(each, argparse._SubParsersAction))
    return PARSERS | {f"pvsim {name}": parser for name, parser in below.choices.items()}


@pytest.mark.parametrize("command", commands())
def test_help_ends_with_examples_that_work(command: str) -> None:
    """Each is a command line of ours that is understood."""
    parser = commands()[command]
    lines = helptext.examples(parser)
    assert len(lines) >= 2
    assert parser.format_help().endswith("\n".join(f"  {line}" for line in lines) + "\n")
    for line in lines:
        name, *arguments = shlex.split(line.removeprefix("sudo "))
        if "COMMAND" not in arguments:
            PARSERS[name].parse_args(arguments)


def test_the_manual_has_the_demos_lines_for_a_broker_of_this_machine_alone() -> None:
    """Whoever had RabbitMQ before the demo is sent there for them."""
    demo = (ROOT / "debian/demo.sh").read_text("utf-8")
    page = (ROOT / "debian/man/pvsim-security.7").read_text("utf-8").replace("\\-", "-")
    (lines,) = re.findall(r"(?ms)rabbitmq-env\.conf <<'END'$\n(.*?)^END", demo)
    (socket,) = re.findall(r"printf '# The same for epmd\.\\n(.*?)\\n'", demo)
    wanted = [line for line in lines.splitlines() if line[0] != "#"] + socket.split("\\n")
    assert len(wanted) == 7
    assert [line for line in wanted if f"\n{line}\n" not in page] == []
