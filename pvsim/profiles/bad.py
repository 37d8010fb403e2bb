"""What is said of a text that is no profile."""

from __future__ import annotations


class BadProfile(ValueError):  # noqa: N818 - it reads as what it says
    """A text that is no profile; says where, and what would be right."""


def shown(text: str) -> str:
    """A cell in a message: short, and never nothing."""
    return text[:40] + "…" * (len(text) > 40) or "(nothing)"


def listed(names: list[str]) -> str:
    """Names of columns in a message."""
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
