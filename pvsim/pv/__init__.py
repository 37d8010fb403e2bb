"""The PV service, pvsim-pv: its command line, and its parts put together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pvsim import config, runtime
from pvsim.helptext import add_examples
from pvsim.ids import expand_ids

if TYPE_CHECKING:
    from pvsim.dayfile import DayFiles


class Options(NamedTuple):
    """The command line and both configuration files, read and checked."""

    broker: config.BrokerSettings
    meters: Mapping[str, config.PvSettings]
    timezone: str | None
    output_dir: Path
    live: bool = True


def parser() -> argparse.ArgumentParser:
    """The command line of pvsim-pv."""
    parser = argparse.ArgumentParser(
        prog="pvsim-pv",
        description="Simulated PV systems: adds to each reading of a meter what a PV system makes.",
    )
    add_examples(
        parser,
        "pvsim-pv -conf broker.ini -ids Meter_0",
        "pvsim-pv -conf broker.ini -ids Meter_0..499 --output-dir /tmp/rows",
    )
    config.add_options(parser)
    parser.add_argument(
        "-ids",
        "--meter-ids",
        nargs="+",
        metavar="ID",
        required=True,
        help="record these meters; Meter_0..499 stands for 500",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        default=os.environ.get("STATE_DIRECTORY", "."),
        help="write the day files there (default: systemd's $STATE_DIRECTORY, else the current directory)",
    )
    runtime.add_options(parser)
    return parser


def prepare(given: argparse.Namespace) -> Options:
    """Read and check everything that the user has set; ConfigError says what is wrong."""
    simulation = config.load_simulation(given.simulation_file, given.configuration_file)
    starting = runtime.Starting()
    meters = {meter_id: simulation.pv(meter_id, starting) for meter_id in expand_ids(given.meter_ids)}
    broker = config.load_broker(given.configuration_file)
    return Options(broker, meters, simulation.timezone, Path(given.output_dir).absolute(), simulation.live)


def files(options: Options) -> int:
    """How many files are open at a time: yesterday's, too, and some for readings of other days."""
    return 2 * len(options.meters) + 8


def day_files(options: Options, host: runtime.Host) -> DayFiles:
    """The day files that such a service writes."""
    from pvsim.dayfile import DayFiles

    return DayFiles(options.output_dir, config.zone(options.timezone), host.files)


def serve(
    options: Options, host: runtime.Host, make_files: Callable[[Options, runtime.Host], DayFiles] = day_files
) -> None:
    """Run the service until it is told to stop."""
    from pvsim.pv.service import Service  # with pika, which who asks for --help need not wait for

    Service(options, host, make_files(options, host)).run()


def main(argv: Sequence[str] | None = None, serve: Callable[[Options, runtime.Host], None] = serve) -> int:
    """The command pvsim-pv."""
    return runtime.execute(parser(), prepare, serve, argv, files)
