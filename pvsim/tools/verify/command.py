"""The command line of `pvsim verify`, and the files that it reads."""

from __future__ import annotations

import argparse
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, tzinfo
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from pvsim import config
from pvsim.config.keys import option
from pvsim.errors import ConfigError, UsageError
from pvsim.foreign import printable_lines
from pvsim.instants import END_NS, Span
from pvsim.meter import progress
from pvsim.tools.dayfiles import by_meter, size, unreadable
from pvsim.tools.verify.expected import Expected, expect
from pvsim.tools.verify.gaps import check_meter
from pvsim.tools.verify.report import Report, as_json, as_text
from pvsim.tools.verify.rows import check_day
from pvsim.tools.workers import cores, in_order

_MANY_BYTES = 4 * 2**20  # of files; for less, more processes cost more than they save


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="recompute day files and compare",
        description="Recompute day files from simulation.ini and say what is missing, repeated or wrong. "
        "Exit status: 0 if all is well, 1 if not, 78 if a file cannot be read.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="METER_ID-YYYY-MM-DD.csv")
    config.add_simulation_option(parser, "what was simulated")
    for name, key, text in (
        ("seed", config.METER["seed"], "the seed of meters and PV systems"),
        ("interval", config.METER["interval"], "seconds between two readings"),
        ("peak-kw", config.PV["peak_kw"], "the peak power of the PV systems"),
        ("timezone", config.PV["timezone"], "the time zone of the days"),
    ):
        text += ", instead of what the file says"
        parser.add_argument(f"--{name}", type=partial(option, key), metavar=key.name.upper(), help=text)
    parser.add_argument(
        "--no-values",
        action="store_true",
        help="the readings are not from pvsim: check only their instants and order, the PV power and the sums",
    )
    config.add_span_options(
        parser,
        "expect rows from then on: 2025-06-01T12:00:00, local or with +02:00, or epoch seconds",
        "expect rows before that time",
    )
    parser.add_argument(
        "--stopped",
        action="append",
        default=[],
        type=_time_span,
        metavar="TIME..TIME",
        help="expect no rows between these times: the meter was told to stop; may be repeated",
    )
    parser.add_argument(
        "--progress",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a progress.json, or the directory with all of them: when meters were told to stop; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Check the files; 0 if all is well, 1 if not. ConfigError if a file cannot be read or is no day file."""
    simulation = config.load_simulation(options.simulation_file, None)
    time_zone = config.zone(options.timezone or simulation.timezone)
    since_ns, until_ns = config.span_ns(options, time_zone)
    stops = [(config.instant_ns(start, time_zone), config.instant_ns(end, time_zone)) for start, end in options.stopped]
    stops_of = _stops(options.progress)
    given = by_meter(options.files)
    _check_paths(given)
    meters = {meter_id: sorted(days.items()) for meter_id, days in given.items()}
    expect = lru_cache(maxsize=1)(partial(_expected, options, simulation, time_zone))
    checks = [partial(_check, expect, meter_id, *each) for meter_id, days in meters.items() for each in days]
    paths = (path for days in meters.values() for _, own in days for path in own)
    found = in_order(checks, cores() if size(paths) >= _MANY_BYTES else 1)
    reports: list[Report] = []
    for meter_id, days in meters.items():
        own_stops = [*stops, *stops_of.get(meter_id, [])]
        reports += check_meter(expect(meter_id), islice(found, len(days)), since_ns, until_ns, own_stops)
    print(as_json(reports, time_zone) if options.json else printable_lines(as_text(reports, time_zone)))
    return 0 if all(not report.counts.total() for report in reports) else 1


def _check(expect: Callable[[str], Expected], meter_id: str, day: date, paths: Sequence[Path]) -> Report:
    return check_day(expect(meter_id), day, ((str(path), _read(path)) for path in paths))


def _expected(
    options: argparse.Namespace, simulation: config.Simulation, time_zone: tzinfo | None, meter_id: str
) -> Expected:
    meter, pv = simulation.meter(meter_id), simulation.pv(meter_id)
    if options.seed is not None:
        meter, pv = replace(meter, seed=options.seed), replace(pv, seed=options.seed)
    if options.peak_kw is not None:
        if "peak_kw" not in pv.parameters:
            raise UsageError(f"The model {pv.model} of {meter_id} has no peak power; leave --peak-kw out.")
        pv = replace(pv, parameters={**pv.parameters, "peak_kw": options.peak_kw})
    if options.interval is not None:
        meter = replace(meter, interval_ns=options.interval)
    if options.no_values:  # it is another meter, then
        return replace(expect(meter_id, replace(meter, faults={}), pv, time_zone), power=None)
    return expect(meter_id, meter, pv, time_zone)


def _check_paths(meters: Mapping[str, Mapping[date, Iterable[Path]]]) -> None:
    for path in (path for days in meters.values() for paths in days.values() for path in paths):
        if _is_missing(path):
            raise ConfigError(
                f"Cannot read {path}: No such file or directory; give day files such as /var/lib/pvsim/Meter_0-*.csv."
            )


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # whoever reads it says why
        return False


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as error:
        raise unreadable(path, error) from None


def _stops(paths: Iterable[Path]) -> dict[str, list[Span]]:
    """By meter, when it was told to stop: from just after `stopped_ns` up to and with `started_ns`."""
    stops: dict[str, list[Span]] = {}
    for path in _progress_files(paths):
        try:
            tracks = progress.parse(_read(path))
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"{path} is no progress file: {error}; give a meter's progress.json.") from None
        for meter_id, track in tracks.items():
            spans = stops.setdefault(meter_id, [])
            spans += [(stopped_ns + 1, started_ns + 1) for stopped_ns, started_ns in track.gaps]
            if track.stopped_ns is not None:
                spans.append((track.stopped_ns + 1, END_NS))
    return stops


def _progress_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("progress*.json"))
        else:
            yield path


def _time_span(text: str) -> tuple[config.Time, config.Time]:
    start, dots, end = text.partition("..")
    if not dots:
        raise ArgumentTypeError(f"{text!r} is no span of time; give two times with .. between them.")
    return config.parse_time(start), config.parse_time(end)
