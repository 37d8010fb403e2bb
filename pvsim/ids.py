"""Meter ids: what is one, ranges of them, and how many are shown to people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pvsim.errors import IdError

REJECTED = "pvsim.rejected"  # the queue of what was set aside, so no meter can have this name

_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_RANGE = re.compile(r"(?P<prefix>.*?)(?P<first>\d+)\.\.(?P<last>\d+)", re.ASCII)
_NUMBER_AT_END = re.compile(r"(\d+)$", re.ASCII)
_MAX_RANGE = 100_000


def check_id(text: str) -> str:
    """Return `text` if it is a meter id, else raise IdError. Ids become file names and queue names."""
    if len(text) > 128 or not _ID.fullmatch(text):
        raise IdError(
            f"{text[:140]!r} is no meter id; use letters, digits, _, - and single inner dots, at most 128 characters."
        )
    if text == REJECTED or text.startswith("amq."):
        raise IdError(f"{text!r} is reserved by the broker; choose another meter id.")
    return text


def expand_ids(texts: Iterable[str]) -> list[str]:
    """Meter ids in their order, each once; `Meter_0..499` stands for 500 of them. IdError for what is none."""
    return list(dict.fromkeys(check_id(each) for text in texts for each in _expand(text)))


def _expand(text: str) -> Iterable[str]:
    if ".." not in text:
        return [text]
    match = _RANGE.fullmatch(text) if len(text) < 200 else None
    if not match:
        raise IdError(f"{text[:140]!r} is no range of meter ids; write it as Meter_0..499.")
    prefix, first, last = match.groups()
    if not 0 <= int(last) - int(first) < _MAX_RANGE:
        raise IdError(f"{text!r} must count upwards, and name at most {_MAX_RANGE:,} ids.")
    width = len(first) if first.startswith("0") else 0
    return (f"{prefix}{number:0{width}}" for number in range(int(first), int(last) + 1))


def shown_ids(meter_ids: Sequence[str]) -> str:
    """Ids for people: up to ten as a list, more as the ranges that they make (`Meter_0..499`), ten of those at most."""
    if len(meter_ids) <= 10:
        return str(list(meter_ids))
    runs: list[list[str]] = []
    for meter_id in meter_ids:
        if runs and meter_id == _next_id(runs[-1][-1]):
            runs[-1].append(meter_id)
        else:
            runs.append([meter_id])
    texts = [_run_text(run) for run in runs[:10]]
    more = sum(map(len, runs[10:]))
    return f"{', '.join(texts)}{f' and {more} more' if more else ''}"


def _run_text(run: list[str]) -> str:
    return run[0] if len(run) == 1 else f"{run[0]}..{_NUMBER_AT_END.split(run[-1])[1]}"


def _next_id(meter_id: str) -> str:
    """The id whose number at the end is one more; it keeps the digits of one that begins with zeros. Nothing: none."""
    match = _NUMBER_AT_END.search(meter_id)
    if not match:
        return ""
    width = len(match[0]) if match[0].startswith("0") else 0
    return f"{meter_id[: match.start()]}{int(match[0]) + 1:0{width}}"
