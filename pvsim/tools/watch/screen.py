"""Showing a board: with rich where it is installed, else redrawn with plain escape sequences (ECMA-48)."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import Any, Protocol

from pvsim.tools.watch.board import Board, Seen

_TOP, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"


class Screen(Protocol):
    """What shows a board."""

    def draw(self, board: Board, state: str) -> None:
        """Show it as it is now; `state`: what else is to be said."""


@contextmanager
def screen() -> Iterator[Screen]:
    """The best that there is here."""
    try:
        from rich.live import Live
    except ImportError:
        yield Plain()
        return
    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        yield Rich(live)


class Rich:
    """A table of rich."""

    def __init__(self, live: Any) -> None:
        self._live = live

    def draw(self, board: Board, state: str) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows, summary = board.table(time.time(), self._live.console.height)
        table = Table(box=None, pad_edge=False)
        for at, name in enumerate(board.titles):
            table.add_column(name, justify="right" if 0 < at < 5 else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row.cells), style="red" if row.is_stale else "")
        self._live.update(Group(table, Text(), Text(summary), Text(state, style="dim")), refresh=True)


class Plain:
    """The same without colours."""

    def __init__(self) -> None:
        sys.stdout.write(_CLEAR)

    def draw(self, board: Board, state: str) -> None:
        size = shutil.get_terminal_size()
        rows, summary = board.table(time.time(), size.lines)
        lines = [*layout(board.titles, rows), "", *wrap(summary, size.columns - 1), *wrap(state, size.columns - 1)]
        text = "".join(f"{line[: size.columns - 1]}{_REST_OF_LINE}\n" for line in lines[: size.lines - 1])
        sys.stdout.write(f"{_TOP}{text}{_REST_OF_SCREEN}")
        sys.stdout.flush()


def layout(head: Sequence[str], rows: Sequence[Seen]) -> list[str]:
    """Cells in columns; numbers to the right."""
    cells = [head, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_aligned, range(len(widths)), row, widths)).rstrip() for row in cells]


def _aligned(at: int, cell: str, width: int) -> str:
    return cell.rjust(width) if 0 < at < 5 else cell.ljust(width)
