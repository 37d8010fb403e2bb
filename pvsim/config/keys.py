"""Texts become values: what a key is, what would be right, and how its text is parsed.

A section's table of keys is all that is told of them: parsing, error texts and the test of etc/pvsim/*.ini follow from
it. A parser takes the text and gives the value, or raises ValueError.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pvsim.config import ini
from pvsim.errors import ConfigError

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]{0,12})(?:\.([0-9]{0,30}))?")

T = TypeVar("T")


class Key(NamedTuple):
    """One key of a section: `parse` gives the value of the settings' `field`, or raises ValueError."""

    name: str
    noun: str
    right: str  # what would be right; if empty, the ValueError says it
    parse: Callable[[str], Any]
    default: str
    field: str
    shared: bool = False  # one for all meters, so not in a section that names ids
    of_model: bool = False  # a parameter of those models whose `keys` hold `field`
    is_secret: bool = False  # its value is never shown


def table(*keys: Key) -> dict[str, Key]:
    """The keys of a section, by name."""
    return {key.name: key for key in keys}


def values_of(source: str, section: str, texts: ini.Section, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a section by field."""
    place = f"{source}: [{ini.shown(section)}]"
    values = {}
    for name, text in texts.items():
        key = keys.get(name)
        if key is None:
            raise ini.unknown_key(source, section, name, texts.lines.get(name), keys)
        if key.shared and section not in ("meter", "pv"):
            raise ConfigError(f"{place} cannot have {name}; it is the same for all; set it in [{section.split()[0]}].")
        values[key.field] = _value(place, key, text)
    return values


def _value(place: str, key: Key, text: str) -> Any:
    if not text.isprintable():  # an indented line, too: configparser takes it for more of the value above
        raise ConfigError(
            f"{place} {key.name} spans several lines, or holds an invisible character; write it on one"
            " line, without a space in front."
        )
    try:
        return key.parse(text)
    except ValueError as error:
        raise ConfigError(f"{place} {key.name} = {_wrong(key, text, error)}") from None


class OptionError(ConfigError, ArgumentTypeError):
    """A value of a command line option that cannot be used; argparse shows it as it is."""


def option(key: Key, text: str) -> Any:
    """The value of a command line option that is a key, too, or OptionError."""
    try:
        return key.parse(text)
    except ValueError as error:
        raise OptionError(_wrong(key, text, error)) from None


def _wrong(key: Key, text: str, error: ValueError) -> str:
    shown = "(not shown)" if key.is_secret and text else ini.shown_value(text)
    return f"{shown} is not {key.noun}; give {key.right or error}."


# Parsers, and what makes some.


def checked(value: T, fits: object) -> T:
    """The value, or ValueError if it does not fit."""
    if not fits:
        raise ValueError(value)
    return value


def one_of(text: str, names: Iterable[str]) -> str:
    """One of these names; the ValueError tells them."""
    if text not in names:
        raise ValueError(f"one of {', '.join(sorted(names))}")
    return text


def yes_or_no(text: str) -> bool:
    """An answer."""
    return one_of(text.lower(), ("yes", "no")) == "yes"


def or_nothing(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same, with None for no text."""
    return lambda text: parse(text) if text else None


def whole(name: str, noun: str, low: int, high: int, default: str, field: str = "") -> Key:
    """A key that is a whole number, with or without a sign, within bounds."""

    def parse(text: str) -> int:
        number = int(checked(text, _WHOLE.fullmatch(text)))
        return checked(number, low <= number <= high)

    return Key(name, noun, f"a whole number from {low} to {high}", parse, default, field or name)


def decimal(text: str, low: float, high: float) -> float:
    """Plain decimal text, with or without a sign, within bounds."""
    value = float(checked(text, _DECIMAL.fullmatch(text)))
    return checked(value, low <= value <= high)


def scaled(text: str, decimals: int, signs: str = "") -> int:
    """Decimal text, exactly, times 10**`decimals`. `signs`: what it may begin with."""
    match = _DECIMAL.fullmatch(text)
    if match is None or match[1] not in signs:
        raise ValueError(text)
    part = (match[3] or "").rstrip("0")
    return int(match[1] + match[2] + checked(part, len(part) <= decimals).ljust(decimals, "0"))


def amount(text: str, decimals: int, most: int, signs: str = "") -> int:
    """What `scaled` gives, if it is not 0 and the text's number is `most` at most, its sign aside."""
    parts = scaled(text, decimals, signs)
    return checked(parts, 0 < abs(parts) <= most * 10**decimals)
