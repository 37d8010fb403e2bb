"""Make the man pages and the completions: `python3 debian/manual.py DIRECTORY`, run by debian/rules.

The pages of debian/man are written in mdoc(7). What programs and configuration files know already is taken from
them, so that it is told once: a line `.\\" OPTIONS` in a page stands for the options of its command (`COMMANDS`: of
its subcommands), a line `.\\" KEYS` for what the comments in etc/pvsim say, `@DATE@` and `@VERSION@` for those of
the package. The completions for bash, zsh (by shtab)
and fish are made of the same options.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import shtab

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pvsim import __version__, meter, pv, tools  # noqa: E402 - from this checkout, wherever it is run

PARSERS: dict[str, argparse.ArgumentParser] = {
    "pvsim": tools.parser(),
    "pvsim-meter": meter.parser(),
    "pvsim-pv": pv.parser(),
}


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for page in sorted(HERE.glob("man/*.[1-8]")):
        directory.joinpath(page.name).write_text(filled(page), "utf-8")
    directory.joinpath("pvsim").write_text(completion((HERE / "completion.bash").read_text("utf-8")), "utf-8")
    for command, parser in PARSERS.items():
        directory.joinpath(f"_{command}").write_text(zsh(parser), "utf-8")
        directory.joinpath(f"{command}.fish").write_text("".join(f"{line}\n" for line in fish(parser)), "utf-8")


def filled(page: Path) -> str:
    """The text of a man page, with all that its placeholders stand for."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or page.stat().st_mtime)
    date = datetime.fromtimestamp(seconds, UTC)
    text = page.read_text("utf-8").replace("@VERSION@", __version__)
    text = text.replace("@DATE@", f"{date:%B} {date.day}, {date.year}")
    makers: dict[str, Callable[[str], Iterable[str]]] = {"OPTIONS": options, "COMMANDS": commands, "KEYS": keys}
    for word, make in makers.items():
        place = f'.\\" {word}\n'
        if place in text:
            text = text.replace(place, "".join(f"{line}\n" for line in make(page.stem)))
    return text


# Text to mdoc.


def escaped(text: str) -> str:
    """Text that groff shows as it stands."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def word(text: str) -> str:
    """Text as one argument of a macro."""
    return '"{}"'.format(escaped(text).replace('"', '""'))


def sentence(text: str) -> str:
    """A line of --help as a sentence."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# Options of a command.


def shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a command, but for subcommands."""
    return [each for each in parser._actions if not isinstance(each, argparse._SubParsersAction)]


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of a command, and their own command lines."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def value(action: argparse.Action) -> str:
    """What is to be given after an option, in mdoc; nothing for a switch."""
    if action.nargs == 0:
        return ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    text = " | ".join(map(str, action.choices)) if action.choices else name
    return f" Ar {word(text)}" + (" ..." if action.nargs in ("+", "*") else "")


def options(command: str) -> Iterator[str]:
    yield from _options(PARSERS[command])


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for action in shown(parser):
        flags = " , ".join(f"Fl {word(option[1:])}" for option in action.option_strings)
        yield f".It {flags}{value(action)}".replace(".It  Ar", ".It Ar")
        if action.help:
            yield escaped(sentence(action.help % (vars(action) | {"prog": parser.prog})))
    yield ".El"


def commands(command: str) -> Iterator[str]:
    for name, parser in subparsers(PARSERS[command]).items():
        yield f".Ss {command} {name}"
        yield escaped(sentence(parser.description or ""))
        yield from _options(parser)


# Keys of a configuration file.


def keys(page: str) -> Iterator[str]:
    """From what stands in the file after its head: comments, keys with their defaults behind a `#`, sections."""
    text = HERE.parent.joinpath("etc/pvsim", page.removeprefix("pvsim-")).read_text("utf-8")
    paragraphs = [paragraph.splitlines() for paragraph in text.split("\n\n")[1:]]
    for is_header, group in groupby(paragraphs, key=lambda lines: lines[0].startswith("[")):
        if is_header:
            yield from (f".Ss {escaped(lines[0])}" for lines in group)
        else:
            yield ".Bl -tag -width Ds"
            for lines in group:
                yield from _key(lines)
            yield ".El"


def _key(lines: list[str]) -> Iterator[str]:
    prose = [line for line in lines if line.startswith("# ")]
    settings = [line.removeprefix("#") for line in lines if not line.startswith("# ")]
    if any(setting.startswith("[") for setting in settings):
        yield ".It Sections of their own"
        yield from _prose(prose)
        yield from _literal(settings)
        return
    yield ".It " + " , ".join(f"Ic {word(setting)}" for setting in settings)
    yield from _prose(prose)


def _prose(lines: list[str]) -> Iterator[str]:
    """Comment lines; those that are indented further are to be typed as they stand."""
    for is_literal, group in groupby(lines, key=lambda line: line.startswith("#  ")):
        if is_literal:
            yield from _literal([line[4:] for line in group])
        else:
            yield from (escaped(line[2:]) for line in group)


def _literal(lines: list[str]) -> Iterator[str]:
    yield ".Bd -literal -offset indent -compact"
    yield from map(escaped, lines)
    yield ".Ed"


# Completion.


def completion(template: str) -> str:
    """The bash completion, with a table of the options of each command and subcommand."""
    lines: list[str] = []
    for command, parser in PARSERS.items():
        below = subparsers(parser)
        lines += table(command, parser, " ".join(below))
        for name, subparser in below.items():
            lines += table(f"{command} {name}", subparser, "")
    return template.replace("    # TABLES\n", "".join(f"    {line}\n" for line in lines))


def table(command: str, parser: argparse.ArgumentParser, words: str) -> Iterator[str]:
    """What bash has to know of a command line: its words and options, and which values are files or fixed words."""
    yield f"{command!r})"
    names = [option for action in shown(parser) for option in action.option_strings]
    yield f"    words='{words}' options='{' '.join(names)}'"
    for action in shown(parser):
        if action.nargs != 0 and (kind := _kind(action)):
            where = "|".join(action.option_strings) or "*"
            yield f"    case $previous in {where}) values={kind!r} ;; esac"
    yield "    ;;"


def zsh(parser: argparse.ArgumentParser) -> str:
    """The completion of a command for zsh."""
    for each in (parser, *subparsers(parser).values()):
        for action in shown(each):
            kind = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}.get(_kind(action))
            if kind:
                action.complete = kind  # type: ignore[attr-defined]  # where shtab looks for it
    return str(shtab.complete(parser, "zsh"))


def fish(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The completion of a command for fish."""
    command, below = parser.prog, subparsers(parser)
    yield f"complete -c {command} -f"
    for name, subparser in below.items():
        what = shlex.quote(str(subparser.description or "").split(".")[0])
        yield f"complete -c {command} -n __fish_use_subcommand -a {name} -d {what}"
        yield from _fish_options(command, subparser, f" -n '__fish_seen_subcommand_from {name}'")
    yield from _fish_options(command, parser, " -n __fish_use_subcommand" if below else "")


def _fish_options(command: str, parser: argparse.ArgumentParser, where: str) -> Iterator[str]:
    for action in shown(parser):
        names = "".join(f" {_fish_flag(name)}" for name in action.option_strings)
        kind = _kind(action)
        values = {"": " -x", "FILE": " -r -F", "DIR": " -x -a '(__fish_complete_directories)'"}.get(
            kind, f" -x -a {shlex.quote(kind)}"
        )
        if names:
            said = shlex.quote(" ".join((action.help or "").split()) % (vars(action) | {"prog": parser.prog}))
            yield f"complete -c {command}{where}{names}{'' if action.nargs == 0 else values} -d {said}"
        elif kind == "FILE":
            yield f"complete -c {command}{where} -F"


def _fish_flag(option: str) -> str:
    """--long, -o or -old."""
    if option.startswith("--"):
        return f"-l {option[2:]}"
    return f"-s {option[1:]}" if len(option) == 2 else f"-o {option[1:]}"


def _kind(action: argparse.Action) -> str:
    if action.choices:
        return " ".join(map(str, action.choices))
    metavar = str(action.metavar)
    return "FILE" if metavar.startswith("FILE") else "DIR" if metavar == "DIR" else ""


if __name__ == "__main__":
    main()
