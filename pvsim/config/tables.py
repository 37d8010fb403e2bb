"""The keys of simulation.ini: those of [meter], with its faults, those of [pv], and those of the models of both."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pvsim.config import values
from pvsim.config.keys import Key, amount, checked, decimal, one_of, or_nothing, scaled, table, whole, yes_or_no

if TYPE_CHECKING:
    from pvsim.models.faults import Fault


def _of_model(name: str, noun: str, right: str, parse: Callable[[str], Any], default: str, field: str = "") -> Key:
    return Key(name, noun, right, parse, default, field or name, of_model=True)


def _number(name: str, noun: str, unit: str, low: float, high: float, default: str) -> Key:
    right = f"{unit} from {low:g} to {high:g}"
    return _of_model(name, noun, right, lambda text: decimal(text, low, high), default)


def _fault(name: str) -> Key:
    def parse(text: str) -> Fault:
        from pvsim.models.faults import Fault  # most meters have none

        return Fault(values.when(text))

    return Key(f"fault_{name}", "a fault", _WHEN, or_nothing(parse), "", f"fault_{name}")


def _sized_fault(name: str, unit: str, what: str, decimals: int, most: int, signs: str = "") -> Key:
    def parse(text: str) -> Fault:
        from pvsim.models.faults import Fault

        size, _, when = text.partition(" in ")
        return Fault(values.when(when.strip()), amount(size.strip(), decimals, most, signs))

    right = f"{what}, then in, then {_WHEN}"
    return Key(f"fault_{name}{unit}", "a fault", right, or_nothing(parse), "", f"fault_{name}")


def _above_0(text: str) -> int:
    return checked(scaled(text, 9), scaled(text, 9) > 0)


def _linger_ns(text: str) -> int:
    return values.interval_ns(text, 0, 3_600_000)


def _shift_ns(text: str) -> int:
    return checked(scaled(text, 9, "+-"), len(text.lstrip("+-")) < 30)


def _scale_parts(text: str) -> int:
    return checked(scaled(text, 6), scaled(text, 6) <= 1000 * 10**6)


def _kw(text: str) -> Decimal:
    return Decimal(checked(text, amount(text, 6, 10**6)))


def _unit(text: str) -> str:
    from pvsim.profiles.units import UNITS  # which only who replays a file needs

    return text and one_of(text, UNITS)


_ANNUAL_KWH = "kWh from 500 to 10000, or two of them, such as 1500..6000"
_HOLIDAYS = "DE, none, or dates such as 2026-12-25 with spaces between"
_SECONDS = "seconds from 0.001 to 86400, whole milliseconds"
_AT_LEAST_0 = "seconds, 0 or more"
_SECONDS_OR_NOTHING = "seconds, 0 or more, or nothing for no limit"
_WINDOW = "seconds, more than 0, or nothing for any time"
_LINGER = "seconds from 0 to 3600, whole milliseconds"
_KW = "kW, more than 0 and at most 1000000, with at most 6 decimals"
_MONTHS = ", or twelve of them with spaces between, January first"
_MONTHS_OR_NOTHING = f"{_MONTHS}, or nothing for Munich's"
_CELSIUS = f"degrees Celsius from -60 to 50{_MONTHS_OR_NOTHING}"
_CLEARNESS = f"a number from 0.05 to 0.85{_MONTHS_OR_NOTHING}"
_SCALE = "a number from 0 to 1000, with at most 6 decimals"
_MUNICH_TURBIDITY = "2.9 3.35 3.65 3.9 4.2 4.3 4.35 4.35 4.2 3.45 3.0 2.75"
_ZONE_NOUN = "a time zone that this machine knows"
_ZONE_NAME = "a name such as Europe/Berlin"
_ZONE = f"{_ZONE_NAME}, or nothing for the time zone of the machine"
_SEED = whole("seed", "a seed", -(2**63), 2**63 - 1, "0")

_WHEN = (
    "1% of 60 (a chance for each 60 s), 5 of 60 (the first 5 s of each 60) or TIME..TIME (with Z, +02:00 or as"
    " seconds since the epoch; several with spaces between), or nothing for never"
)

_PLACE = (
    _number("latitude", "a latitude", "degrees north", -90, 90, "48.137"),
    _number("longitude", "a longitude", "degrees east", -180, 180, "11.575"),
)
_AIR = (
    _of_model("temperature", "a temperature", _CELSIUS, or_nothing(values.monthly(-60, 50)), ""),
    _number("temperature_swing", "a difference of temperatures", "K", 0, 40, "9"),
)
REPLAY = (
    _of_model("file", "a file", "the name of a CSV file", lambda text: Path(checked(text, text)), ""),
    _of_model("column", "a column", "its name, or nothing if there is only one", str, ""),
    _of_model("unit", "a unit", "", _unit, ""),
    _of_model("time_column", "a column", "its name, two with + between them, or nothing", str, ""),
    _of_model("file_timezone", _ZONE_NOUN, f"{_ZONE_NAME}, or nothing for UTC", or_nothing(values.timezone), ""),
    _of_model("time_format", "a format of times", "", values.time_format, ""),
    _of_model("missing", "a way", "", lambda text: one_of(text, ("error", "skip", "zero")), "error"),
    _of_model("where", "a choice of rows", "COLUMN = VALUE, or nothing for all rows", or_nothing(values.where), ""),
    _of_model("interpolation", "an interpolation", "", lambda text: text and one_of(text, ("step", "linear")), ""),
    _of_model("loop", "a time", f"{_AT_LEAST_0}, day, week, year, or nothing", or_nothing(values.loop), ""),
    _of_model("shift", "a time", "seconds, with a - for earlier", _shift_ns, "0", "shift_ns"),
    _of_model("scale", "a factor", _SCALE, _scale_parts, "1", "scale_parts"),
    _of_model("spread", "a time", _AT_LEAST_0, values.ns, "0", "spread_ns"),
)
FAULTS = (
    _fault("dropout"),
    _fault("stuck"),
    _sized_fault("spike", "_w", "W, more than 0 and at most 1000000000", 3, 10**9),
    _sized_fault("offset", "_w", "W, at most 1000000000, with a - for less", 3, 10**9, "-"),
    _sized_fault("drift", "_percent", "percent, at most 10000, with a - for less", 6, 10**4, "-"),
    _sized_fault("noise", "_w", "W, more than 0 and at most 1000000000", 3, 10**9),
    _sized_fault("clock", "_s", "seconds, with a - for slow, at most 4000000000", 9, 4 * 10**9, "-"),
    _fault("duplicate"),
    _sized_fault("late", "_s", "seconds, more than 0 and at most 86400", 9, 86_400),
    _sized_fault("shuffle", "", "a whole number of readings from 1 to 100", 0, 100),
    _fault("rubbish"),
)
METER = table(
    whole("nb_meter", "a number of meters", 1, 100_000, "1")._replace(shared=True),
    Key("model", "a model", "", lambda text: one_of(text, values.load_models()), "random", "model"),
    _SEED,
    Key("interval", "an interval", _SECONDS, values.interval_ns, "1", "interval_ns"),
    Key("backlog", "a backlog", _SECONDS_OR_NOTHING, or_nothing(values.ns), "", "backlog_ns"),
    whole("batch", "a number of readings", 1, 10_000, "1000"),
    Key("linger", "a time to gather readings", _LINGER, _linger_ns, "0", "linger_ns"),
    _of_model("annual_kwh", "a year's energy", _ANNUAL_KWH, values.annual_kwh, "3500"),
    _number("ev_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _of_model("ev_kw", "a power", "kW from 1 to 22, or nothing", or_nothing(lambda text: decimal(text, 1, 22)), ""),
    _number("heat_pump_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _number("fuse_kw", "a power", "kW", 1, 1000, "24"),
    _of_model("timezone", _ZONE_NOUN, _ZONE_NAME, values.clock, "Europe/Berlin"),
    _of_model("holidays", "holidays", _HOLIDAYS, values.holidays, "DE"),
    *_PLACE,
    *_AIR,
    *REPLAY,
    *FAULTS,
)
PV = table(
    Key("model", "a model", "", lambda text: one_of(text, values.solar_models()), "random", "model"),
    _SEED,
    _of_model("peak_kw", "a peak power", _KW, _kw, "4.0"),
    _of_model("inverter_kw", "a power", f"{_KW}, or nothing", or_nothing(_kw), ""),
    _number("losses", "a loss", "percent", 0, 99, "14.08"),
    *_PLACE,
    _number("elevation", "an elevation", "metres above the sea", -500, 9000, "520"),
    _number("tilt", "a tilt", "degrees from the horizontal", 0, 90, "30"),
    _number("azimuth", "an azimuth", "degrees from north by east", 0, 360, "180"),
    _of_model("turbidity", "a turbidity", f"a number from 1 to 10{_MONTHS}", values.monthly(1, 10), _MUNICH_TURBIDITY),
    _of_model("clearness", "a clearness index", _CLEARNESS, or_nothing(values.monthly(0.05, 0.85)), ""),
    *_AIR,
    Key("timezone", _ZONE_NOUN, _ZONE, or_nothing(values.timezone), "", "timezone", shared=True),
    Key("time_window", "a window of time", _WINDOW, or_nothing(_above_0), "", "time_window_ns"),
    Key("live", "an answer", "yes or no", yes_or_no, "yes", "live", shared=True),
    *REPLAY,
)
