"""The command line of `pvsim report`."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from pvsim import config
from pvsim.config import PV
from pvsim.config.keys import option
from pvsim.foreign import printable_lines
from pvsim.tools.dayfiles import named_day_files
from pvsim.tools.report.energy import Day, day_energy
from pvsim.tools.report.plot import draw
from pvsim.tools.report.show import as_json, as_text

_ALONE = 50_000_000  # bytes, up to which one process is as fast as several

Wanted = tuple[str, date, Sequence[Path]]


def add_parser(subparsers: Any) -> None:
    """The command line of `pvsim report`."""
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
        help="how long a row counts (default: the most frequent distance of two rows)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw the days into this file (needs matplotlib)"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print the sums; 0 if all lines are counted, 1 if not. ConfigError: a file cannot be read or is no day file."""
    time_zone = config.zone(options.timezone or config.load_simulation(options.simulation_file, None).timezone)
    wanted = _by_day(options.files)
    calculate = partial(_day, time_zone=time_zone, now_ns=time.time_ns(), interval_ns=options.interval)
    days = list(_each(calculate, wanted))
    if options.plot:
        draw(days, time_zone, options.plot)
    print(as_json(days, time_zone) if options.json else printable_lines(as_text(days, time_zone)))
    return 1 if any(day.uncounted for day in days) else 0


def _day(wanted: Wanted, time_zone: tzinfo | None, now_ns: int, interval_ns: int | None) -> Day:
    meter_id, day, paths = wanted
    return day_energy(meter_id, day, paths, time_zone, now_ns, interval_ns)


def _each(calculate: partial[Day], wanted: Sequence[Wanted]) -> Iterable[Day]:
    """All of them, in order; many of them by as many processes as there are processors."""
    processes = min(len(os.sched_getaffinity(0)), len(wanted))
    if processes < 2 or sum(map(_size, [path for *_, paths in wanted for path in paths])) < _ALONE:
        return map(calculate, wanted)
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(calculate, wanted, chunksize=1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _by_day(paths: Iterable[Path]) -> list[Wanted]:
    """What is to be summed up, meter by meter; days between a meter's first and last that have no file, too."""
    meters: dict[str, dict[date, list[Path]]] = {}
    for meter_id, day, path in named_day_files(paths):
        meters.setdefault(meter_id, {}).setdefault(day, []).append(path)
    return [(meter_id, day, days.get(day, ())) for meter_id, days in sorted(meters.items()) for day in _through(days)]


def _through(days: Collection[date]) -> Iterator[date]:
    first, last = min(days), max(days)
    return (first + timedelta(number) for number in range((last - first).days + 1))
