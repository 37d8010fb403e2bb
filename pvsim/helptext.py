"""What --help ends with: lines to be typed as they stand."""

from __future__ import annotations

import argparse

_HEAD = "examples:\n"


class HelpFormatter(argparse.HelpFormatter):
    """argparse's, which fills every text, but for the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_HEAD) else super()._fill_text(text, width, indent)


def add_examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """Let --help end with these lines."""
    parser.formatter_class = HelpFormatter
    parser.epilog = _HEAD + "\n".join(f"  {line}" for line in lines)


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The lines that --help ends with."""
    return [line.strip() for line in (parser.epilog or "").splitlines()[1:]]
