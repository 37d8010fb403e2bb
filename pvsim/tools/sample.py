"""`pvsim sample`: what the models say for some meters and a span of time, without broker, services or waiting.

The rows are those that a day file would have, so what is seen here is what the services write.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from pvsim import config
from pvsim.errors import ConfigError, UsageError
from pvsim.ids import expand_ids
from pvsim.instants import DAY_NS, END_NS, SECOND_NS
from pvsim.row import HEADER
from pvsim.tools import picture
from pvsim.tools.verify.expected import Expected, expect

# Of the models that need no file, whose they are. The others are `random` without being asked for.
_MODELS = {"household": "meter", "clear-sky": "pv", "weather": "pv"}
_CHUNK = 5000  # rows
_MOST_DRAWN = 2_000_000  # instants of all meters, which takes some seconds and 100 MB


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sample",
        help="show what the models make, without a broker",
        description="Print the rows that the services would write for these meters, as CSV, or draw them.",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="meters; Meter_0..3 stands for four")
    config.add_span_options(
        parser,
        "the first instant: 2026-06-21 or 2026-06-21T12:00:00, local or with +02:00, or epoch seconds (default: today)",
        "only instants before that time (default: a day after --from)",
    )
    parser.add_argument(
        "--interval",
        type=config.parse_interval,
        metavar="SECONDS",
        help="seconds between two rows (default: interval of the meter)",
    )
    source = parser.add_mutually_exclusive_group()
    config.add_simulation_option(source)
    source.add_argument(
        "--model",
        action="append",
        choices=list(_MODELS),
        help="try this model with its defaults, without a file; may be given for the load and for PV",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw them into this file instead of printing them (needs matplotlib)",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print or draw the rows; ConfigError if something that the user has set cannot be used."""
    simulation = _simulation(options)
    time_zone = config.zone(simulation.timezone)
    span = config.day_span_ns(options, time_zone, time.time())
    meters = [_meter(simulation, meter_id, options.interval, time_zone) for meter_id in expand_ids(options.ids)]
    if options.plot:
        picture.save(figure(meters, span), options.plot, "sample.png")
    else:
        print(HEADER)
        for meter in meters:
            sys.stdout.writelines(f"{row}\n" for row in _rows(meter, span))
    return 0


def _simulation(options: argparse.Namespace) -> config.Simulation:
    if not options.model:
        return config.load_simulation(options.simulation_file, None)
    models: dict[str, str] = {}
    for model in options.model:
        if models.setdefault(_MODELS[model], model) != model:
            raise ConfigError(f"--model {models[_MODELS[model]]} and --model {model} exclude each other; give one.")
    sections = "".join(f"[{section}]\nmodel = {model}\n" for section, model in models.items())
    return config.parse_simulation(sections, "--model", Path.cwd())


def _meter(simulation: config.Simulation, meter_id: str, interval_ns: int | None, time_zone: tzinfo | None) -> Expected:
    meter = simulation.meter(meter_id)
    if interval_ns:
        meter = replace(meter, interval_ns=interval_ns)
    return expect(meter_id, meter, simulation.pv(meter_id), time_zone)


def _rows(meter: Expected, span: tuple[int, int]) -> Iterator[str]:
    """The rows of what is sent in a span, some thousands computed at a time."""
    slots = meter.grid(*span)
    for start in range(0, len(slots), _CHUNK):
        some = slots[start : start + _CHUNK]
        instants = meter.faults.sent(some) if meter.faults else some
        yield from meter.lines([meter.time_ns(each) for each in instants], [""] * len(instants), instants)


def figure(meters: list[Expected], span: tuple[int, int]) -> Any:
    """The power of each meter and of its PV system, in kW, below each other; times are local, as in the rows."""
    if sum(len(meter.grid(*span)) for meter in meters) > _MOST_DRAWN:
        raise UsageError(f"These are more than {_MOST_DRAWN:,} instants; give a longer --interval.")
    if span[1] > END_NS - 2 * DAY_NS:  # where matplotlib looks for ticks in the year 10000
        raise UsageError("--plot cannot draw the last days of the year 9999; give an earlier span.")
    drawn, all_axes = picture.canvas(len(meters))
    for axes, meter in zip(all_axes, meters, strict=True):
        grid = meter.grid(*span)
        instants = sorted(meter.faults.sent(grid), key=meter.time_ns) if meter.faults else grid
        times_ns = [meter.time_ns(instant) for instant in instants]
        times = [datetime.fromtimestamp(time_ns / SECOND_NS, meter.time_zone) for time_ns in times_ns]
        assert meter.power is not None
        for name, powers in (("load", meter.power(instants)), ("PV", meter.pv_power(times_ns))):
            axes.plot(times, [milliwatts / 1e6 for milliwatts in powers], linewidth=0.7, label=name)
        place = str(meter.time_zone) if meter.time_zone else "the system's time zone"
        axes.set(title=meter.meter_id, xlabel=place, ylabel="kW", ylim=(0, None))
        axes.legend(loc="upper right")
    return drawn
