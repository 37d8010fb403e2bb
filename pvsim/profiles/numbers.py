"""Texts become numbers. A file has one decimal mark, which its numbers show: 0.5 or 1234,5 can be read in one way.

1.234 can be read in two. It waits until another number of the file has shown the mark; if none does, it is an error.
Where all of it is plain, a whole block is read at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pvsim.profiles.bad import BadProfile, shown
from pvsim.profiles.wishes import ERROR, SKIP, ZERO

MISSING = {
    "", "nan", "-nan", "nat", "na", "<na>", "n/a", "n.a.", "#n/a", "#nv", "#value!", "#ref!", "#div/0!", "null",
    "(null)", "<null>", "\\n", "none", "nil", "undefined", "missing", "no data", "nodata", "n.v.", ".", "?", "-", "--",
    "---", "unavailable", "unknown",
}  # fmt: skip
# Many nines, and the ends of integers of 16 and 32 bits, as Modbus has them for what is not there.
_MARKS_OF_MISSING = re.compile(r"(?:-9{3,5}|-32768|-2147483648|2147483647|4294967295)(?:[.,][09]*)?")
_SUSPECT = ("-999", "-32768", "2147483", "4294967295")
_PLAIN = set("0123456789.-+eE\n")
_PLAIN_COMMA = set("0123456789,-+eE\n")
_ONE_MARK = re.compile(r"(?=[.,]?\d)\d*([.,]?)\d*([eE][+-]?\d{1,3})?", re.ASCII)
_UNCLEAR = re.compile(r"[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
_GROUPS = re.compile(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*(?:(?!\1)([.,])\d*)?", re.ASCII)
_SPACED = re.compile(r"[1-9]\d{0,2}(?:[ \xa0\u202f\u2009'’]\d{3})+(?:[.,]\d*)?", re.ASCII)
_SPACES = str.maketrans("", "", " \xa0\u202f\u2009'’")
_MOST = 2**62


def is_missing(text: str) -> bool:
    """Whether a text stands for a value that is not there."""
    return text.lower() in MISSING or _MARKS_OF_MISSING.fullmatch(text) is not None


class Numbers:
    """The numbers of one column. `factor`: what each is multiplied with, before it is rounded."""

    def __init__(self, factor: int, delimiter: str, missing: str) -> None:
        self._factor = factor
        self._delimiter = delimiter
        self._missing = missing
        self._mark = ""
        self._mark_in = ""  # the number that has shown it, and its line
        self._grouped = False  # thousands have marks, too
        self._small = ""  # a whole number below 1000 has been seen
        self.waiting: list[tuple[int, int, str]] = []  # places, lines and texts of those that wait for the mark

    # --- blocks

    def block(self, texts: Sequence[str]) -> list[int]:
        """Those of a block of plain numbers; ValueError if one is not plain, or may be a mark of a missing one."""
        joined = "\n".join(texts)
        characters = set(joined)
        if any(mark in characters and mark != self._mark for mark in ".,"):
            raise ValueError
        if not characters <= (_PLAIN_COMMA if self._mark == "," else _PLAIN) or any(
            each in joined for each in _SUSPECT
        ):
            raise ValueError
        if self._mark == ",":
            texts = joined.replace(",", ".").split("\n")
        factor = self._factor
        values = [round(value * factor) for value in map(float, texts)]
        if max(values) >= _MOST or min(values) <= -_MOST:
            raise ValueError
        if not self._mark and not self._small and min(map(abs, values)) < 1000 * factor:
            self._small = "a whole number"
        return values

    # --- one by one

    def one(self, place: int, line: int, text: str) -> int | None:
        """The number in a text, None for one to skip; 0 for now if it waits. `place`: which of the numbers it is."""
        if is_missing(text):
            return self._absent(line, text)
        sign, digits = _signed(text)
        if _SPACED.fullmatch(digits):
            digits = digits.translate(_SPACES)
            for mark in ".,":
                if mark in digits:
                    self._show(mark, line, text)
            return self._value(line, text, sign, digits.replace(",", "."))
        if _UNCLEAR.fullmatch(digits):
            return self._unclear(place, line, text, sign, digits)
        if match := _ONE_MARK.fullmatch(digits):
            if match[1]:
                self._show(match[1], line, text)
            elif not match[2] and len(digits) < 4 and not self._small:
                self._small = text
            return self._value(line, text, sign, digits.replace(",", "."))
        if match := _GROUPS.fullmatch(digits):
            mark = match[2] or (",."[match[1] == ","])
            self._show(mark, line, text)
            self._grouped = True
            return self._value(line, text, sign, digits.replace(match[1], "").replace(mark, "."))
        raise BadProfile(f"line {line}: {shown(text)} is no power; give a number.")

    def _absent(self, line: int, text: str) -> int | None:
        if self._missing == SKIP:
            return None
        if self._missing == ZERO:
            return 0
        assert self._missing == ERROR
        raise BadProfile(
            f"line {line}: {shown(text)} is no power, but a mark for one that is missing; give missing = skip (the"
            " power before it lasts) or missing = zero, or a number there."
        )

    def _show(self, mark: str, line: int, text: str) -> None:
        """This number is read with `mark` in front of its decimals."""
        where = f"{shown(text)} in line {line}"
        if not self._mark:
            self._mark, self._mark_in = mark, where
        elif self._mark != mark:
            raise BadProfile(
                f"line {line}: {shown(text)} has its decimals behind {_name(mark)}, and {self._mark_in} behind"
                f" {_name(self._mark)}; write all in one way."
            )

    def _unclear(self, place: int, line: int, text: str, sign: str, digits: str) -> int:
        if self._mark in digits and self._mark:
            return self._value(line, text, sign, digits.replace(",", "."))
        self.waiting.append((place, line, text))
        return 0

    def settle(self) -> dict[int, int]:
        """By place, the numbers that have waited; BadProfile if it is not clear what they are."""
        if not self.waiting:
            return {}
        _, line, text = self.waiting[0]
        if not self._mark and self._is_usual(text):
            self._mark = "."
        if not self._mark:
            whole, decimals = text.replace(".", "").replace(",", ""), text.replace(",", ".")
            raise BadProfile(
                f"line {line}: {text} is {whole} or {decimals}, and no other number of the file tells which; write"
                " numbers without a mark for thousands, or some with other than three decimals."
            )
        return {place: self._settled(line, text) for place, line, text in self.waiting}

    def _is_usual(self, text: str) -> bool:
        """In a file with commas between its columns, three decimals behind a point are usual; if all have them."""
        return (
            self._delimiter == "," and not self._small and all("." in each for *_, each in self.waiting) and bool(text)
        )

    def _settled(self, line: int, text: str) -> int:
        sign, digits = _signed(text)
        if self._mark in digits:
            return self._value(line, text, sign, digits.replace(",", "."))
        if not self._grouped:
            whole, decimals = digits.replace(".", "").replace(",", ""), digits.replace(",", ".")
            raise BadProfile(
                f"line {line}: {text} is {whole} or {decimals}: {self._mark_in} has its decimals behind"
                f" {_name(self._mark)}, but no number has marks of thousands for certain; write numbers without them."
            )
        return self._value(line, text, sign, digits.replace(".", "").replace(",", ""))

    def _value(self, line: int, text: str, sign: str, digits: str) -> int:
        try:
            value = float(sign + digits) * self._factor
        except ValueError:
            value = float("nan")
        if not abs(value) < _MOST:
            raise BadProfile(f"line {line}: {shown(text)} is no power; give a number.")
        return round(value)


def _signed(text: str) -> tuple[str, str]:
    """The sign of a number, a minus or nothing, and what follows it."""
    return ("-" if text[:1] in ("-", "−") else ""), text[text[:1] in ("+", "-", "−") :]


def _name(mark: str) -> str:
    return "a comma" if mark == "," else "a point"
