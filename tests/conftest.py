"""For all parts: what each leaves out on this machine stands at the top of its run."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from hypothesis import settings

from tests import allowed
from tests.examples import examples

# What the tests of each part require, by the part's directory.
REQUIRED = {
    "unit": ("namespace",),
    "broker": ("mount", "networks", "trace", "ipv6"),
    "package": ("machines", "mirrors"),
}


def pytest_configure() -> None:
    """Have SIGTERM end a run as Ctrl-C does, with what its tests have started; and no example fail for its time."""
    settings.register_profile("any machine", examples(100), deadline=None)
    settings.load_profile("any machine")
    if threading.current_thread() is threading.main_thread():  # a worker of xdist may run in another one
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    """One line, if anything is left out."""
    parts = {part for argument in config.args for part in Path(argument).parts}
    return allowed.sentence(*(name for part in sorted(parts & REQUIRED.keys()) for name in REQUIRED[part]))
