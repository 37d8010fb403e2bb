"""Configuration files: ini text becomes frozen settings, or one sentence that says what would be right.

A file is read in three steps: bytes to text and text to sections (`ini`), texts to values (`keys`, by a table of the
keys that a section has), values to settings (`broker`, `simulation`). Failures are ConfigErrors.

Imports point one way: `ini`, `keys`, then `broker` for broker.ini, and `times`, `tables` and `simulation` for
simulation.ini.
"""

from __future__ import annotations

from pvsim.config.broker import BROKER, Address, BrokerSettings, add_broker_option, load_broker
from pvsim.config.keys import Key
from pvsim.config.simulation import (
    MeterSettings,
    PvSettings,
    Simulation,
    add_options,
    add_simulation_option,
    load_simulation,
    parse_interval,
    parse_nb_meter,
    parse_simulation,
)
from pvsim.config.tables import METER, PV
from pvsim.config.times import Time, add_span_options, day_span_ns, instant_ns, parse_time, span_ns
from pvsim.config.values import zone

__all__ = [
    "BROKER", "METER", "PV", "Address", "BrokerSettings", "Key", "MeterSettings", "PvSettings", "Simulation", "Time",
    "add_broker_option", "add_options", "add_simulation_option", "add_span_options", "day_span_ns", "instant_ns",
    "load_broker", "load_simulation", "parse_interval", "parse_nb_meter", "parse_simulation", "parse_time", "span_ns",
    "zone",
]  # fmt: skip
