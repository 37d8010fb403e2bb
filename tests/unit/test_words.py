"""One word means one thing: those of the glossary are used, those that meant a second thing are gone."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import pvsim

PACKAGE = Path(pvsim.__file__).parent
SOURCES = {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE}
GLOSSARY = dict(re.findall(r"^  (\w[\w ]*?)  +(\S.*)$", pvsim.__doc__ or "", re.MULTILINE))
BESIDE = re.findall(r"; (\w+): ", "\n".join(GLOSSARY.values()))  # words that are explained together with another one
# By the word that each had beside its first meaning, what it was called then.
RETIRED = {"Turns", "Turn", "SLOT_NS", "slot_day", "is_told", "_bring_home", "kind_for"}
# Both wings have a service, whose parts have the same names; the state of a queue or a connection is a phase.
TWICE = {"Link", "Meter", "Options", "Owner", "Phase", "Place", "Service"}


@pytest.mark.parametrize("word", [*GLOSSARY, *BESIDE])
def test_a_word_of_the_glossary_is_used(word: str) -> None:
    """In names, or where the code is explained."""
    assert len(GLOSSARY) > 30
    snake, camel = word.replace(" ", "[ _]?"), word.title().replace(" ", "")
    pattern = re.compile(rf"(?i:(?<![a-z]){snake}(?![a-z]))|(?<=[a-z]){camel}")
    assert sum(len(pattern.findall(text)) for text in SOURCES.values()) > 2


def test_words_that_meant_a_second_thing_are_gone() -> None:
    assert not RETIRED & {word for text in SOURCES.values() for word in re.findall(r"\w+", text)}


def test_a_class_has_a_name_of_its_own() -> None:
    """What two files call alike is one thing, or stands in the list above."""
    public = Counter(
        node.name
        for text in SOURCES.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in public.items() if count > 1} == TWICE
