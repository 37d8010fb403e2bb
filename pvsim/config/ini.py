"""Bytes become text, and text sections, before anybody knows what the keys in them mean.

Messages name a file as `source` does, and what a user wrote as `shown` has it. They never quote what may be a secret:
no line, no key that is not close to a known one, and no value that looks like a login.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pvsim.errors import ConfigError
from pvsim.foreign import foreign

_MAX_BYTES = 16 * 2**20
_HEADER = configparser.RawConfigParser.SECTCRE
_LOGIN = re.compile(r"@|://|=|pass|secret", re.IGNORECASE)  # what a value looks like that may be or hold a password
_WORD = re.compile(r"[a-z0-9_]+")
_TYPING_ERROR = 2  # characters that a name may be longer or shorter than the known one that was meant


class Section(dict[str, str]):
    """The texts of a section's keys, and in which `lines` they stand."""

    def __init__(self, texts: Iterable[tuple[str, str]] = (), lines: dict[str, int] | None = None) -> None:
        super().__init__(texts)
        self.lines = lines or {}


Sections = dict[str, Section]


# Bytes to text.


def credential(name: str, source: str) -> str | None:
    """What systemd hands over under this name, None if it does not."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return read(Path(directory, name), source) if directory else None


def read_existing(path: Path, source: str) -> str:
    """The text of the file, which must exist."""
    text = read(path, source)
    if text is None:
        raise ConfigError(f"{source} does not exist; create it, or name another file.")
    return text


def read(path: Path, source: str) -> str | None:
    """The text of the file, None if there is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(source, error) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{source} is larger than {_MAX_BYTES // 2**20} MiB; give a configuration file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}: line {line} is not UTF-8; save the file as UTF-8.") from None


def unreadable(source: str, error: OSError) -> ConfigError:
    """What to say of a file that is there and cannot be read."""
    sudo = "use sudo, or " if isinstance(error, PermissionError) else ""
    return ConfigError(f"{source} cannot be read: {error.strerror}; {sudo}give a file that this user may read.")


# Text to sections.


def sections(source: str, text: str) -> Sections:
    """Sections, their keys, and the keys' texts. No message quotes a line: it may hold a password."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise _twice(source, error.lineno, f"[{shown(error.section)}]") from None
    except configparser.DuplicateOptionError as error:
        raise _twice(source, error.lineno, f"a key of [{shown(error.section)}]") from None
    except configparser.MissingSectionHeaderError as error:
        line = error.lineno
        raise ConfigError(f"{source}: line {line} stands before any [section]; move it into one.") from None
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        raise ConfigError(f"{source}: line {line} is neither [section], nor key = value, nor # comment.") from None
    lines = _lines(text)
    return {name: Section(parser.items(name), lines.get(name)) for name in parser.sections()}


def _lines(text: str) -> dict[str, dict[str, int]]:
    """In which line each key of each section stands; configparser does not tell."""
    found: dict[str, dict[str, int]] = {}
    here: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line.strip()):
            here = found.setdefault(header["header"], {})
        elif line[:1].strip():
            here.setdefault(re.split("[=:]", line, maxsplit=1)[0].strip().lower(), number)
    return found


def _twice(source: str, line: int | None, what: str) -> ConfigError:
    return ConfigError(f"{source}: line {line} gives {what} a second time; keep one of the two.")


def unknown_section(source: str, name: str, known: list[str]) -> ConfigError:
    """What to say of a section that the file cannot have."""
    names = ", ".join(f"[{each}]" for each in known)
    return ConfigError(f"{source} has no section [{shown(name)}]{guess(name, known)}; it has {names}.")


def unknown_key(source: str, section: str, name: str, line: int | None, known: Iterable[str]) -> ConfigError:
    """What to say of a key that the section cannot have.

    It is named only if it is a known one with a typing error: "password SECRET" and no "=" can look like a key, too.
    """
    near = _near(name, known)
    if near and _WORD.fullmatch(name) and abs(len(near) - len(name)) <= _TYPING_ERROR:
        return ConfigError(
            f"{source}: [{shown(section)}] has no key {name} (meant {near}?); correct it, or take it out."
        )
    has = f"it has {', '.join(known)}."
    return ConfigError(f"{source}: line {line} is no key of [{shown(section)}]{guess(name, known)}; {has}")


def guess(name: str, known: Iterable[str]) -> str:
    """Which of the known names was perhaps meant, for a message."""
    near = _near(name, known)
    return f" (meant {near}?)" if near else ""


def _near(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # only a user's slip needs it

    return next(iter(get_close_matches(name[:100], known, n=1)), "")


# What a user wrote, in a message.


def shown(text: str) -> str:
    """Text, short and on one line."""
    return foreign(text, 80)


def shown_value(text: str) -> str:
    """A value, short and on one line, unless it looks like a login in the wrong place."""
    return "(not shown)" if _LOGIN.search(text) else shown(text) or "(nothing)"


def shown_path(path: Path) -> str:
    """The whole name of a file, whatever its bytes are."""
    return os.fsencode(path.absolute()).decode(errors="replace")
