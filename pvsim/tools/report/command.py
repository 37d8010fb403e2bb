"""The command line of `pvsim report`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pvsim import config
from pvsim.config import PV
from pvsim.config.keys import option
from pvsim.foreign import printable_lines
from pvsim.tools.dayfiles import by_meter, size
from pvsim.tools.report.energy import day_energy
from pvsim.tools.report.plot import draw
from pvsim.tools.report.show import as_json, as_text
from pvsim.tools.workers import cores, in_order

_MANY_BYTES = 50_000_000  # up to which one process is as fast as several

Wanted = tuple[str, date, Sequence[Path]]


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        help="the energy of each meter and day",
        description=(
            "Sum up day files: load, PV, import from the grid and export to it in kWh, self-consumption (the share of"
            " PV that was used at that moment) and self-sufficiency (the share of load that was made at that moment)"
            " in percent, of each meter and day. A row counts for the most frequent distance of two rows in its file."
            " Gaps are told, not filled. Exit status: 0 if all lines are counted, 1 if some are not, 78 if a file"
            " cannot be read or is no day file."
        ),
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="METER_ID-YYYY-MM-DD.csv")
    config.add_simulation_option(parser, "whose time zone says when a day begins")
    parser.add_argument(
        "--timezone",
        type=partial(option, PV["timezone"]),
        metavar="TIMEZONE",
        help="the time zone in which a day begins",
    )
    parser.add_argument(
        "--interval",
        type=config.parse_interval,
        metavar="SECONDS",
        help="how long a row counts, at most until the next one (default: the most frequent distance of two rows)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw the days into this file (needs matplotlib)"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print the sums; 0 if all lines are counted, 1 if not. ConfigError: a file cannot be read or is no day file."""
    time_zone = config.zone(options.timezone or config.load_simulation(options.simulation_file, None).timezone)
    wanted, now_ns = _by_day(options.files), time.time_ns()
    calls = [partial(day_energy, *each, time_zone, now_ns, options.interval) for each in wanted]
    is_much = size(path for *_, paths in wanted for path in paths) >= _MANY_BYTES
    days = list(in_order(calls, cores() if is_much else 1))
    if options.plot:
        draw(days, time_zone, options.plot)
    print(as_json(days, time_zone) if options.json else printable_lines(as_text(days, time_zone)))
    return 1 if any(day.uncounted for day in days) else 0


def _by_day(paths: Iterable[Path]) -> list[Wanted]:
    """What is to be summed up, meter by meter; days between a meter's first and last that have no file, too."""
    meters = sorted(by_meter(paths).items())
    return [(meter_id, day, days.get(day, ())) for meter_id, days in meters for day in _through(days)]


def _through(days: Collection[date]) -> Iterator[date]:
    first, last = min(days), max(days)
    return (first + timedelta(number) for number in range((last - first).days + 1))
