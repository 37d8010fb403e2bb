"""The `pvsim` command: a module of this package for each subcommand, imported only where it is needed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pvsim import __version__
from pvsim.errors import PvsimError
from pvsim.foreign import printable
from pvsim.helptext import add_examples

# Each has add_parser(subparsers), which sets `func` to what runs it and returns the exit status.
COMMANDS = ("check", "demo", "report", "sample", "verify", "watch")
EXAMPLES = {
    "check": ("sudo pvsim check", "pvsim check --offline -conf broker.ini", "sudo pvsim check --json"),
    "demo": ("pvsim demo", "pvsim demo --seconds 15"),
    "report": (
        "sudo pvsim report '/var/lib/pvsim/Meter_0-*.csv'",
        "pvsim report --plot day.png Meter_0-2026-06-21.csv",
    ),
    "sample": (
        "pvsim sample Meter_0 --model household --model weather --interval 60",
        "pvsim sample Meter_0..2 --from 2026-06-21 --to 2026-06-28 --interval 30 --plot week.png",
    ),
    "verify": (
        "sudo pvsim verify '/var/lib/pvsim/Meter_0-*.csv'",
        "sudo pvsim verify --progress /var/lib/pvsim/progress.json '/var/lib/pvsim/Meter_0-*.csv'",
    ),
    "watch": (
        "sudo pvsim watch",
        "pvsim watch Meter_0..9 -conf broker.ini",
        "pvsim watch Meter_0 --json --rows 3",
    ),
}
INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell has them: 128 and the signal's number


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status, or that of the PvsimError whose sentence is on stderr then."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parser(arguments[:1]).parse_args(arguments)
    try:
        status: int = options.func(options)
        sys.stdout.flush()
    except PvsimError as error:
        print(f"pvsim {options.command}: {printable(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # as in `pvsim demo | head`
        _leave_stdout()
        return BROKEN_PIPE
    except OSError as error:
        print(f"pvsim {options.command}: {printable(_explain(error))}", file=sys.stderr)
        return 1
    return status


def _explain(error: OSError) -> str:
    """A directory that this user may not look into, or stdout on a full disk."""
    from pvsim.config.ini import unreadable
    from pvsim.disk import sentence

    if error.filename:
        return str(unreadable(error.filename, error))
    _leave_stdout()
    return sentence("write", Path("the output"), error)


def _leave_stdout() -> None:
    """What it still holds cannot be written: Python is not to try that as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser(first: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line: of the subcommand that the first argument names, or else of all of them."""
    parser = argparse.ArgumentParser(prog="pvsim", description="Tools for simulated electricity meters and PV systems.")
    add_examples(parser, "pvsim demo", "sudo pvsim check", "pvsim COMMAND --help")
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in [each for each in COMMANDS if each in first] or COMMANDS:
        import_module(f"pvsim.tools.{command}").add_parser(subparsers)
        add_examples(subparsers.choices[command], *EXAMPLES[command])
    return parser
