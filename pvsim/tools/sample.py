"""`pvsim sample`: what the models say for some meters and a span of time, without broker, services or waiting.

The rows are those that a day file would have, so what is seen here is what the services write.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from pvsim import config
from pvsim.dayfile import HEADER
from pvsim.errors import ConfigError, PvsimError
from pvsim.history import instant_ns, parse_time
from pvsim.models import load, solar
from pvsim.reading import SECOND_NS, expand_ids
from pvsim.tools.verify import Expected

_CHUNK = 5000  # rows
_MOST_DRAWN = 2_000_000  # instants of all meters, which takes some seconds and 100 MB


def add_parser(subparsers: Any) -> None:
    """The command line of `pvsim sample`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sample",
        help="see what the models say, without a broker",
        description="Print the rows that the services would write for these meters, as CSV, or draw them.",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="meters, ranges like Meter_0..3 too")
    parser.add_argument(
        "--from",
        dest="since",
        type=parse_time,
        metavar="TIME",
        required=True,
        help="the first instant: 2026-06-21 or 2026-06-21T12:00:00, local or with +02:00, or epoch seconds",
    )
    parser.add_argument(
        "--to", dest="until", type=parse_time, metavar="TIME", required=True, help="only instants before that time"
    )
    parser.add_argument(
        "--interval",
        type=config.parse_interval,
        metavar="SECONDS",
        help="seconds between two rows (default: interval of the meter)",
    )
    parser.add_argument(
        "--simulation-file",
        type=Path,
        metavar="FILE",
        help=f"what is simulated (default: {config.SIMULATION_FILE})",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw them there instead of printing them (needs matplotlib)"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print or draw the rows; ConfigError if something that the user has set cannot be used."""
    simulation = config.load_simulation(options.simulation_file, None)
    time_zone = config.zone(simulation.timezone)
    span = instant_ns(options.since, time_zone), instant_ns(options.until, time_zone)
    if span[0] >= span[1]:
        raise ConfigError("--from is not before --to; give the earlier time first.")
    meters = [_meter(simulation, meter_id, options.interval, time_zone) for meter_id in expand_ids(options.ids)]
    if options.plot:
        draw(meters, span, options.plot)
    else:
        print(HEADER)
        for meter in meters:
            for instants in _chunks(meter, span):
                print("\n".join(meter.lines(instants, [""] * len(instants))))
    return 0


def _meter(simulation: config.Simulation, meter_id: str, interval_ns: int | None, time_zone: tzinfo | None) -> Expected:
    meter, pv = simulation.meter(meter_id), simulation.pv(meter_id)
    return Expected(
        meter_id,
        interval_ns or meter.interval_ns,
        load.model(meter.model, meter.seed, meter_id, **meter.parameters),
        solar.model(pv.model, pv.seed, meter_id, **pv.parameters),
        time_zone,
    )


def _grid(meter: Expected, span: tuple[int, int]) -> range:
    """The instants of a meter's readings: multiples of its interval."""
    start_ns, end_ns = span
    return range(-(-start_ns // meter.interval_ns) * meter.interval_ns, end_ns, meter.interval_ns)


def _chunks(meter: Expected, span: tuple[int, int]) -> Iterator[range]:
    instants = _grid(meter, span)
    return (instants[start : start + _CHUNK] for start in range(0, len(instants), _CHUNK))


def draw(meters: list[Expected], span: tuple[int, int], path: Path) -> None:
    """Draw the power of each meter and of its PV system, in kW, below each other."""
    if sum(len(_grid(meter, span)) for meter in meters) > _MOST_DRAWN:
        raise ConfigError(f"These are more than {_MOST_DRAWN:,} instants; give a longer --interval.")
    try:
        from matplotlib import use

        use("Agg")  # needs no screen
        from matplotlib.figure import Figure
    except ImportError:
        raise PvsimError("--plot needs matplotlib; install it with: sudo apt install python3-matplotlib") from None
    figure = Figure(figsize=(16, 3.5 * len(meters)), layout="constrained")
    for axes, meter in zip(figure.subplots(len(meters), squeeze=False)[:, 0], meters, strict=True):
        instants = _grid(meter, span)
        times = [datetime.fromtimestamp(instant / SECOND_NS, meter.time_zone) for instant in instants]
        assert meter.power is not None
        for name, power in (("load", meter.power), ("PV", meter.pv_power)):
            axes.plot(times, [milliwatts / 1e6 for milliwatts in power(instants)], linewidth=0.7, label=name)
        axes.set(title=meter.meter_id, ylabel="kW", ylim=(0, None))
        axes.legend(loc="upper right")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot draw to {path}: {error}; give a file such as sample.png.") from None
