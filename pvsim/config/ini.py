"""Bytes become text, and text sections, before anybody knows what the keys in them mean.

Messages name a file as `source` does, and what a user wrote as `shown` has it.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable
from pathlib import Path

from pvsim.errors import ConfigError

_MAX_BYTES = 16 * 2**20

Sections = dict[str, dict[str, str]]  # section, key, text


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
    return ConfigError(f"{source} cannot be read: {error.strerror}; give a file that this user may read.")


# Text to sections.


def sections(source: str, text: str) -> Sections:
    """Sections, their keys, and the keys' texts. No message quotes a line: it may hold a password."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise _twice(source, error.lineno, f"[{shown(error.section)}]") from None
    except configparser.DuplicateOptionError as error:
        raise _twice(source, error.lineno, f"[{shown(error.section)}] {shown(error.option)}") from None
    except configparser.MissingSectionHeaderError as error:
        line = error.lineno
        raise ConfigError(f"{source}: line {line} stands before any [section]; move it into one.") from None
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        raise ConfigError(f"{source}: line {line} is none of [section], key = value and # comment.") from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _twice(source: str, line: int | None, what: str) -> ConfigError:
    return ConfigError(f"{source}: line {line} gives {what} a second time; keep one of the two.")


def unknown_section(source: str, name: str, known: list[str]) -> ConfigError:
    """What to say of a section that the file cannot have."""
    names = ", ".join(f"[{each}]" for each in known)
    return ConfigError(f"{source} has no section [{shown(name)}]{guess(name, known)}; it has {names}.")


def guess(name: str, known: Iterable[str]) -> str:
    """Which of the known names was perhaps meant, for a message."""
    from difflib import get_close_matches  # only a user's slip needs it

    near = get_close_matches(name[:100], known, n=1)
    return f" (meant {near[0]}?)" if near else ""


# What a user wrote, in a message.


def shown(text: str) -> str:
    """Text, short and on one line."""
    return on_one_line(text if len(text) <= 80 else f"{text[:79]}…")


def on_one_line(text: str) -> str:
    """Text, as it is if it can be printed."""
    return text if text.isprintable() else ascii(text)


def shown_path(path: Path) -> str:
    """The whole name of a file, whatever its bytes are."""
    return os.fsencode(path.absolute()).decode(errors="replace")
