"""The end of a run of tests: the slowest, and one line with what passed, failed and was not checked.

    python3 tests/summary.py DIRECTORY PART [PART ...]

DIRECTORY holds, of each part, a JUnit report (PART.xml), the exit status (PART.status), and what the part left out
beside its tests, a line each (PART.skipped). The exit status is 1 if anything failed, or was left out where CI is set.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

SLOWEST = 10


class Part(NamedTuple):
    """What one part came to."""

    name: str
    seconds: float
    passed: int
    failed: int
    skipped: Counter[str]
    slowest: list[tuple[float, str]]
    trouble: str
    known: tuple[str, ...] = ()  # why tests failed that were known to


def read(directory: Path, name: str) -> Part:
    """What one part has left in the directory."""
    status, _, seconds = _text(directory / f"{name}.status").partition(" ")
    skipped = Counter(_text(directory / f"{name}.skipped").splitlines())
    cases = _cases(directory / f"{name}.xml")
    failed = [case for case in cases if _has(case, "failure") or _has(case, "error")]
    known = [case for case in cases if _is_known(case)]
    left_out = [case for case in cases if _has(case, "skipped") and case not in failed and case not in known]
    skipped.update(_reason(case) for case in left_out)
    slowest = sorted(((float(case.get("time", "0")), _test(case)) for case in cases), reverse=True)
    trouble = "" if status == "0" or failed else f"{name} ended with status {status or 'none'}"
    if status == "0" and not cases and not skipped:
        trouble = f"{name} has left no report"
    passed = len({*map(_test, cases)} - {*map(_test, failed)} - {*map(_test, [*left_out, *known])})
    reasons = tuple(map(_reason, known))
    failures = len({*map(_test, failed)})
    return Part(name, float(seconds or 0), passed, failures, skipped, slowest[:SLOWEST], trouble, reasons)


def conclusion(parts: list[Part], is_ci: bool) -> tuple[int, str]:
    """The exit status of the run, and its last line."""
    skipped = sum((part.skipped for part in parts), Counter[str]())
    trouble = [part.trouble for part in parts if part.trouble]
    failed = sum(part.failed for part in parts)
    counts = f"{sum(part.passed for part in parts)} passed, {failed} failed, {skipped.total()} skipped"
    took = ", ".join(f"{part.name} {_clock(part.seconds)}" for part in parts)
    words = [f"{counts} ({took})", *trouble]
    if known := Counter(reason for part in parts for reason in part.known):
        words.append("KNOWN TO FAIL: " + "; ".join(f"{count} × {reason}" for reason, count in known.most_common()))
    if skipped:
        words.append("NOT CHECKED: " + "; ".join(f"{count} × {reason}" for reason, count in skipped.most_common()))
        if is_ci:
            words.append("CI is set, so that what is not checked fails")
    is_bad = bool(failed or trouble or (is_ci and skipped))
    return int(is_bad), f"{'FAILED' if is_bad else 'Passed'}: {'. '.join(words)}."


def main(directory: str, *names: str) -> int:
    """Print the end of a run; returns its exit status."""
    parts = [read(Path(directory), name) for name in names]
    slowest = sorted((each for part in parts for each in part.slowest), reverse=True)[:SLOWEST]
    if slowest:
        print(f"\n== The slowest {len(slowest)} (reports are in {directory})")
    for seconds, test in slowest:
        print(f"{seconds:7.1f} s  {test}")
    status, line = conclusion(parts, bool(os.environ.get("CI")))
    print(f"\n== {line}")
    return status


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _cases(path: Path) -> list[ElementTree.Element]:
    try:
        return list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []


def _is_known(case: ElementTree.Element) -> bool:
    """Whether a test failed that is marked so (xfail)."""
    skipped = case.find("skipped")
    return skipped is not None and skipped.get("type") == "pytest.xfail"


def _has(case: ElementTree.Element, what: str) -> bool:
    return case.find(what) is not None


def _reason(case: ElementTree.Element) -> str:
    skipped = case.find("skipped")
    return (skipped.get("message", "") if skipped is not None else "").strip() or "without a reason"


def _test(case: ElementTree.Element) -> str:
    return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
