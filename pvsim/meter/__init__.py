"""The meter service, pvsim-meter: its command line, and its parts put together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pvsim import config, runtime
from pvsim.helptext import add_examples
from pvsim.ids import expand_ids
from pvsim.meter.progressfiles import file_name
from pvsim.meter.timeline import Timeline, parse_speed


class Options(NamedTuple):
    """The command line and both configuration files, read and checked."""

    broker: config.BrokerSettings
    meters: Mapping[str, config.MeterSettings]
    progress: Path | None
    timeline: Timeline
    timeout_s: float | None = None


def parser() -> argparse.ArgumentParser:
    """The command line of pvsim-meter."""
    parser = argparse.ArgumentParser(
        prog="pvsim-meter",
        description="Simulated electricity meters that publish their readings to RabbitMQ.",
    )
    add_examples(
        parser,
        "pvsim-meter -conf broker.ini -nb 3",
        "pvsim-meter -conf broker.ini -ids Meter_0..9 --from 2026-01-01 --to 2026-02-01 --state-dir .",
        "pvsim-meter -conf broker.ini -ids Meter_0 --from 2026-06-21 --speed 60",
    )
    config.add_options(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-nb",
        "--nb-meter",
        type=config.parse_nb_meter,
        metavar="N",
        help="publish Meter_0 … Meter_N-1 (0 or less: 1; default: nb_meter of the simulation file, else 1)",
    )
    which.add_argument(
        "-ids", "--meter-ids", nargs="+", metavar="ID", help="publish these meters; Meter_0..499 stands for 500"
    )
    parser.add_argument(
        "--interval",
        type=config.parse_interval,
        metavar="SECONDS",
        help="seconds between two readings of a meter (default: interval of the simulation file, else 1)",
    )
    config.add_span_options(
        parser,
        "publish the past from then on, as fast as it goes: 2026-01-01, local or with +02:00, or epoch seconds",
        "end when all readings before that time are confirmed",
    )
    parser.add_argument(
        "--speed",
        type=parse_speed,
        metavar="FACTOR",
        help="run the clock FACTOR times as fast, from --from or from now on",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=os.environ.get("STATE_DIRECTORY"),
        help="keep the progress there, so that a restart leaves no gap (default: $STATE_DIRECTORY, else nowhere)",
    )
    parser.add_argument(
        "--timeout",
        type=parse_timeout,
        metavar="SECONDS",
        help="give up after so many seconds without a broker, with exit status 1 (default: never)",
    )
    runtime.add_options(parser)
    return parser


def parse_timeout(text: str) -> float:
    """Seconds; ArgumentTypeError if it is no such number."""
    with suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < 10**9:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no time; give a number of seconds, more than 0.")


def prepare(given: argparse.Namespace) -> Options:
    """Read and check everything that the user has set; ConfigError says what is wrong."""
    simulation = config.load_simulation(given.simulation_file, given.configuration_file)
    count = simulation.nb_meter if given.nb_meter is None else given.nb_meter
    meter_ids = expand_ids(given.meter_ids or [f"Meter_{number}" for number in range(count)])
    starting = runtime.Starting()
    meters = {meter_id: simulation.meter(meter_id, starting) for meter_id in meter_ids}
    if given.interval is not None:
        meters = {meter_id: replace(settings, interval_ns=given.interval) for meter_id, settings in meters.items()}
    timeline = Timeline(*config.span_ns(given, config.zone(simulation.timezone)), given.speed)
    if timeline.is_history:  # whoever asks for the past wants all of it
        meters = {meter_id: replace(settings, backlog_ns=None) for meter_id, settings in meters.items()}
    specs = [*(given.meter_ids or []), *([timeline.name] if timeline.is_history else [])]
    directory = given.state_dir and Path(given.state_dir).absolute()
    progress = directory / file_name(specs) if directory else None
    return Options(config.load_broker(given.configuration_file), meters, progress, timeline, given.timeout)


def serve(options: Options, host: runtime.Host) -> None:
    """Run the service until it is told to stop."""
    from pvsim.meter.service import Service  # with pika, which who asks for --help need not wait for

    Service(options, host).run()


def main(argv: Sequence[str] | None = None) -> int:
    """The command pvsim-meter."""
    return runtime.execute(parser(), prepare, serve, argv)
