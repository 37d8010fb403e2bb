"""Showing a board on a terminal: drawn anew in its place, with plain escape sequences (ECMA-48)."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from textwrap import wrap

from pvsim.tools.watch.board import Board, Seen

_CLEAR, _TOP, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
# Rows that are old, and what is said of the connection; none for who wants none (no-color.org).
_RED, _DIM, _PLAIN = ("", "", "") if os.environ.get("NO_COLOR") else ("\x1b[31m", "\x1b[2m", "\x1b[m")


def clear() -> None:
    """Begin with an empty screen."""
    sys.stdout.write(_CLEAR)


def draw(board: Board, state: str) -> None:
    """Show a board as it is now, with rows that are old in red; `state`: what else is to be said."""
    size = shutil.get_terminal_size()
    width = size.columns - 1
    rows, summary = board.table(time.time(), size.lines)
    styles = ["", *(_RED if row.is_stale else "" for row in rows)]
    lines = [(text[:width], style) for text, style in zip(layout(board.titles, rows), styles, strict=True)]
    lines += [(text, "") for text in ["", *wrap(summary, width)]] + [(text, _DIM) for text in wrap(state, width)]
    text = "".join(f"{style}{line}{_PLAIN}{_REST_OF_LINE}\n" for line, style in lines[: size.lines - 1])
    sys.stdout.write(f"{_TOP}{text}{_REST_OF_SCREEN}")
    sys.stdout.flush()


def layout(head: Sequence[str], rows: Sequence[Seen]) -> list[str]:
    """Cells in columns; numbers to the right."""
    cells = [head, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_aligned, range(len(widths)), row, widths)).rstrip() for row in cells]


def _aligned(at: int, cell: str, width: int) -> str:
    return cell.rjust(width) if 0 < at < 5 else cell.ljust(width)
