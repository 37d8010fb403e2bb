"""Man pages and completion say what the installed commands and files say."""

from __future__ import annotations

import re

import pytest

from tests.package.machine import Machine

COMMANDS = ("pvsim", "pvsim-meter", "pvsim-pv")
PAGES = (
    *COMMANDS,
    "pvsim-broker.ini",
    "pvsim-simulation.ini",
    "pvsim-dayfile",
    "pvsim-cluster",
    "pvsim-faults",
    "pvsim-models",
    "pvsim-performance",
    "pvsim-profiles",
    "pvsim-security",
)


def man(machine: Machine, page: str) -> str:
    """A page as it is read, without hyphenation, its words one space apart."""
    return " ".join(machine.run(f"MANWIDTH=1000 man --no-hyphenation {page}").split())


def help_of(machine: Machine, command: str) -> str:
    """What --help says of a command and its subcommands."""
    text = machine.run(f"COLUMNS=200 {command} --help")
    below = re.search(r"(?m)^  COMMAND\n((?:    \S.*\n?)+)", text)
    names = re.findall(r"(?m)^    (\S+)", below[1]) if below else re.findall(r"(?m)^    (\w+) {2,}", text)
    return "\n".join([text, *(machine.run(f"COLUMNS=200 {command} {name} --help") for name in names)])


def options(text: str) -> set[str]:
    """The options that a help text lists."""
    listed = re.findall(r"(?m)^  (-.*?)(?:  |$)", text)
    return {option for line in listed for option in re.findall(r"(?:^|[ ,])(--?[A-Za-z][\w-]*)", line)}


@pytest.mark.parametrize("page", PAGES)
def test_groff_finds_nothing_wrong(installed: Machine, page: str) -> None:
    said = installed.run(f"MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -Tutf8 -Z {page} 2>&1 >/dev/null")
    assert said == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_man_page_and_completion(installed: Machine, command: str) -> None:
    """And no other one."""
    known = options(help_of(installed, command))
    assert {"-h", "--help", "-V", "--version"} <= known
    page = man(installed, command)
    described = re.findall(r"(?<![\w.-])(--?[A-Za-z][\w-]*)", page.partition(" OPTIONS ")[2].partition(" SIGNALS ")[0])
    assert known <= set(described)
    script = "/usr/share/bash-completion/completions"
    table = installed.run(f"sed -n \"/^    '{command}[ ']/,/;;$/p\" {script}/{command}")
    offered = re.findall(r"options='(.*?)'", table)
    assert {option for line in offered for option in line.split()} == known


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("pvsim v", "verify"),
        ("pvsim verify --stop", "--stopped"),
        ("pvsim-meter --interv", "--interval"),
        ("pvsim-meter --log-level W", "WARNING"),
        ("pvsim-meter --state-dir /var/lib/pvs", "/var/lib/pvsim"),
        ("pvsim-pv -conf /etc/pvsim/bro", "/etc/pvsim/broker.ini"),
    ],
)
def test_tab_completes(installed: Machine, line: str, wanted: str) -> None:
    """As bash-completion does it: with the file that it finds by the command's name."""
    words = line.split()
    script = f"""
        . /usr/share/bash-completion/bash_completion
        _completion_loader {words[0]} 2>/dev/null || __load_completion {words[0]} 2>/dev/null
        compopt() {{ :; }}
        COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}
        _pvsim {words[0]}
        echo "${{COMPREPLY[@]}}"
    """
    installed.root.joinpath("root/complete").write_text(script, "utf-8")
    assert installed.run("bash /root/complete") == wanted


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("pvsim v", "verify"),
        ("pvsim verify --stop", "--stopped"),
        ("pvsim-meter --interv", "--interval"),
        ("pvsim-meter --log-level W", "WARNING"),
        ("pvsim-pv -conf /etc/pvsim/bro", "/etc/pvsim/broker.ini"),
    ],
)
def test_fish_completes(installed: Machine, line: str, wanted: str) -> None:
    assert installed.run(f"fish -c 'complete -C \"{line}\"' | cut -f1") == wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_zsh_offers_every_option(installed: Machine, command: str) -> None:
    """In a completion that zsh finds by itself and can read."""
    path = f"/usr/share/zsh/vendor-completions/_{command}"
    installed.run(
        f"zsh -n {path} && zsh -c 'autoload -U compinit && compinit -u && [[ $_comps[{command}] = _{command} ]]'"
    )
    script = installed.run(f"cat {path}")
    for option in options(help_of(installed, command)):
        assert re.search(rf'("\*?|[{{,]){re.escape(option)}["}},\[]', script), option  # * may be repeated


@pytest.mark.parametrize("name", ["broker.ini", "simulation.ini"])
def test_every_key_is_in_the_man_page(installed: Machine, name: str) -> None:
    """With its default, under its section, and with what the file's comment says of it."""
    page = man(installed, f"pvsim-{name}").partition(" KEYS ")[2]
    text = installed.run(f"cat /root/as-installed/{name}")
    head, *paragraphs = text.split("\n\n")
    assert head.startswith("# ")
    for paragraph in paragraphs:
        for line in paragraph.splitlines():
            assert " ".join(line.removeprefix("#").split()) in page, line


def test_units_point_to_pages_that_are_there(installed: Machine) -> None:
    units = installed.run("dpkg -L pvsim | grep -E '/system/.*[.](service|target)$'").split()
    assert len(units) == 4
    for unit in units:
        pages = re.findall(r"man:([\w.-]+)\((\d)\)", installed.run(f"grep ^Documentation= {unit}"))
        assert pages
        for page, section in pages:
            installed.run(f"man --where {section} {page}")
