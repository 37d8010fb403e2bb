"""The command line of `pvsim watch`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pvsim import config
from pvsim.broker.subscription import Subscription
from pvsim.errors import BrokerError
from pvsim.ids import expand_ids
from pvsim.pv.live import KEY
from pvsim.tools.watch import screen
from pvsim.tools.watch.board import COLUMNS, Board, LiveRow, parse

_REDRAW_S, _RETRY_S, _SILENT_S = 0.5, 2.0, 5.0
_NOTHING = "No row for {:.0f} s. Is a PV service of these meters running, with live = yes in its simulation.ini?"


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "watch",
        help="show the rows as they are written",
        description=(
            "Show the newest row of each meter as its PV service writes it, wherever the broker can be reached, as a"
            " table that refreshes, or as lines where stdout is no terminal. It takes no message from any queue."
            " Ctrl-C ends it."
        ),
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="meters; Meter_0..9 stands for ten (default: all)")
    config.add_broker_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", dest="form", action="store_const", const=_csv, help="print lines of CSV")
    form.add_argument("--json", dest="form", action="store_const", const=_json, help="print a JSON object a line")
    parser.add_argument("--rows", type=_count, metavar="N", help="end after so many rows (default: at Ctrl-C)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Show rows until there were enough, or Ctrl-C; BrokerError if the broker cannot be used from the start."""
    settings = config.load_broker(options.configuration_file)
    keys = [f"{KEY}{meter_id}" for meter_id in expand_ids(options.ids)] or [f"{KEY}#"]
    with closing(Subscription(settings, keys)) as subscription:
        subscription.connect()
        try:
            if options.form or not sys.stdout.isatty():
                _print(subscription, options.form or _csv, options.rows)
            else:
                _show(subscription, options.rows)
        except KeyboardInterrupt:
            pass
    return 0


def _print(subscription: Subscription, form: Callable[[LiveRow], str], most: int | None) -> None:
    """Lines, each batch at once; what else is to be said goes to stderr, once."""
    board, said, since_s = Board(), "", time.monotonic()
    if form is _csv:
        print(",".join(COLUMNS), flush=True)
    while most is None or board.rows < most:
        lines, trouble = _take(subscription, board, most)
        for line in lines:
            print(form(line))
        sys.stdout.flush()
        since_s = time.monotonic() if lines else since_s
        silent_s = time.monotonic() - since_s
        trouble = trouble or (_NOTHING.format(_SILENT_S) if silent_s > _SILENT_S else "")
        if trouble and trouble != said:
            print(f"pvsim watch: {trouble}", file=sys.stderr)
        said = "" if lines else trouble or said


def _show(subscription: Subscription, most: int | None) -> None:
    """A table, drawn anew now and then."""
    board, since_s, drawn_s = Board(), time.monotonic(), 0.0
    screen.clear()
    while most is None or board.rows < most:
        rows, trouble = _take(subscription, board, most)
        now_s = time.monotonic()
        since_s = now_s if rows else since_s
        if trouble or now_s - drawn_s >= _REDRAW_S:
            drawn_s, silent_s = now_s, now_s - since_s
            state = trouble or (_NOTHING.format(silent_s) if silent_s > _SILENT_S else f"{subscription.address}")
            screen.draw(board, state)


def _take(subscription: Subscription, board: Board, most: int | None) -> tuple[list[LiveRow], str]:
    """What has come, added to the board, and what is wrong; a connection that is lost is made again."""
    try:
        bodies = subscription.take(_REDRAW_S)
    except BrokerError as error:
        return [], _connect_again(subscription, str(error))
    found = list(filter(None, map(parse, bodies)))
    board.ignored += len(bodies) - len(found)
    lines = found if most is None else found[: most - board.rows]
    for line in lines:
        board.add(line)
    return lines, ""


def _connect_again(subscription: Subscription, trouble: str) -> str:
    """What is wrong."""
    try:
        subscription.connect()
    except BrokerError as error:
        time.sleep(_RETRY_S)
        return f"{error} Trying again until it works."
    return trouble


def _csv(line: LiveRow) -> str:
    return ",".join((line.meter_id, *line.values))


def _json(line: LiveRow) -> str:
    named = (f'"{name}": {value}' for name, value in zip(COLUMNS, (f'"{line.meter_id}"', *line.values), strict=True))
    return f"{{{', '.join(named)}}}"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; give 1 or more.")
    return int(text)
