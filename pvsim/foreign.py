"""Text from outside, on its way to a person: what brokers, files and messages say is shown, and never obeyed.

A terminal acts upon escape sequences, a log upon newlines, a reader's eye upon characters that turn the direction of
what follows. `printable` leaves none of them, `foreign` keeps what it quotes short, too.
"""

from __future__ import annotations

MOST = 200  # characters of a foreign text, as it is quoted in a sentence


def foreign(value: object, most: int = MOST) -> str:
    """What somebody else has said, on one line and short; bytes are read as UTF-8."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: 4 * most + 4]).decode(errors="backslashreplace")
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # a number with more digits than Python writes, say
        text = f"({type(value).__name__})"
    return printable(text if len(text) <= most else f"{text[: most - 1]}…")


def printable(text: str) -> str:
    """The same text, with an escape such as \\x1b or \\u202e for each character that cannot be seen."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
