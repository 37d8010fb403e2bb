"""Configuration files: ini text becomes frozen settings, or one sentence that says what would be right.

One table per section (`BROKER`, `METER`, `PV`) gives each key's name, what it is, what would be right, how
its text is parsed and its default; parsing, error texts and the test of etc/pvsim/*.ini follow from them. A
file is read in three steps: bytes to text, text to sections, sections to settings. Failures are
ConfigErrors.
"""

from __future__ import annotations

import configparser
import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pvsim.errors import ConfigError, IdError
from pvsim.history import instant_ns, parse_time
from pvsim.reading import expand_ids

if TYPE_CHECKING:
    from pvsim.models import Model
    from pvsim.models.faults import Fault, Span, Turns
    from pvsim.models.replay import Profile

BROKER_FILE = Path("/etc/pvsim/broker.ini")
SIMULATION_FILE = Path("/etc/pvsim/simulation.ini")
PASSWORD_FILE = Path("/etc/credstore/pvsim.broker-password")  # as the units name it
_MAX_BYTES = 16 * 2**20
_LAST_S = 253_402_214_400  # 9999-12-31: a local time there still has four digits

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"(?=\.?[0-9])([0-9]{0,12})(?:\.([0-9]{0,30}))?")
_NAME = r"(?:[\w-]{1,63}\.){0,100}[\w-]{1,63}\.?"
_IPV6 = r"(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?"
_ADDRESS = re.compile(rf"(?:({_IPV6})|({_NAME}|\[{_IPV6}\])(?::([0-9]{{1,5}}))?)", re.ASCII)
PORT, TLS_PORT = 5672, 5671  # as IANA has them for amqp and amqps

T = TypeVar("T")
Settings = TypeVar("Settings", bound="MeterSettings | PvSettings")
Sections = dict[str, dict[str, str]]  # section, key, text


class Address(NamedTuple):
    """Where one node of the broker listens."""

    host: str
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and how to talk to it. `source`: the file, as messages name it.

    `addresses`: any of them will do. `ca_file`: None for the CAs of the system. `key_file`: None for `cert_file`,
    which holds the key, too. `external`: log in by the certificate, and not by name and password.
    """

    addresses: tuple[Address, ...] = (Address("localhost"),)
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    virtual_host: str = "/"
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True
    external: bool = False
    heartbeat_s: int = 10
    connect_timeout_s: int = 10
    queue_type: str = "quorum"
    max_queue_length: int = 86400
    source: str = str(BROKER_FILE)


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """What one meter does. `parameters`: the keys of its model; `backlog_ns`: how far back it goes at most, None for
    as far as it takes; `batch`: the most readings that one message may carry; `linger_ns`: of how long they share a
    message; `faults`: what goes wrong with it, by kind."""

    model: str = "random"
    seed: int = 0
    interval_ns: int = 1_000_000_000
    backlog_ns: int | None = None
    batch: int = 1000
    linger_ns: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PvSettings:
    """What one PV system does. `parameters`: the keys of its model."""

    model: str = "random"
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"peak_kw": Decimal("4.0")})


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: the settings that all meters and PV systems have, and those of the ones that differ.

    `timezone`: an IANA name, None for the system's own.
    """

    nb_meter: int = 1
    timezone: str | None = None
    source: str = str(SIMULATION_FILE)
    every_meter: MeterSettings = field(default_factory=MeterSettings)
    every_pv: PvSettings = field(default_factory=PvSettings)
    meters: Mapping[str, MeterSettings] = field(default_factory=dict)
    pvs: Mapping[str, PvSettings] = field(default_factory=dict)

    def meter(self, meter_id: str) -> MeterSettings:
        """The settings of this meter; ConfigError if the profile that it replays cannot be used."""
        return _with_profile(self.meters.get(meter_id, self.every_meter))

    def pv(self, meter_id: str) -> PvSettings:
        """The settings of the PV system beside this meter; ConfigError as for `meter`."""
        return _with_profile(self.pvs.get(meter_id, self.every_pv))


def load_broker(path: Path | None) -> BrokerSettings:
    """The settings in `path`, which must exist.

    None: those in systemd's credential broker.ini if there is one, else in /etc/pvsim/broker.ini if there is
    one, else the defaults. Messages name /etc/pvsim/broker.ini for all three: it is the file to edit. A password in
    systemd's credential broker-password comes before those that the file gives or names.
    """
    source = _shown_path(path or BROKER_FILE)
    text = _default_broker_text(source) if path is None else _required(path, source)
    sections = _sections(source, text)
    for name in sections:
        if name != "broker":
            raise _unknown_section(source, name, ["broker"])
    values = _values(source, "broker", sections.get("broker", {}), BROKER)
    place = f"{source}: [broker]"
    _check_login(place, values)
    _check_tls(place, values)
    kept = _kept_password(path is None)
    return BrokerSettings(source=source, **_resolved(place, source, values, kept))


def load_simulation(path: Path | None, broker_path: Path | None) -> Simulation:
    """What the file `path`, which must exist, says is simulated.

    None: what simulation.ini beside `broker_path` says (in /etc/pvsim if that is None, too), or the defaults.
    """
    default = broker_path.parent / SIMULATION_FILE.name if broker_path else SIMULATION_FILE
    source = _shown_path(path or default)
    sections = _sections(source, _required(path, source) if path else _read(default, source) or "")
    for name in sections:
        if name not in ("meter", "pv") and not _ids_of(name, "meter") and not _ids_of(name, "pv"):
            raise _unknown_section(source, name, ["meter", "pv", "meter ID", "pv ID"])
    meter = _values(source, "meter", sections.get("meter", {}), METER)
    pv = _values(source, "pv", sections.get("pv", {}), PV)
    nb_meter, timezone = meter.pop("nb_meter", 1), pv.pop("timezone", None)
    directory = (path or default).parent.absolute()
    meter_kind = _Kind(source, directory, "meter", METER, MeterSettings, _load_models)
    pv_kind = _Kind(source, directory, "pv", PV, PvSettings, _solar_models)
    return Simulation(
        nb_meter=nb_meter,
        timezone=timezone,
        source=source,
        every_meter=_settings(meter_kind, [_Section("meter", [], meter)]),
        every_pv=_settings(pv_kind, [_Section("pv", [], pv)]),
        meters=_by_id(meter_kind, meter, sections),
        pvs=_by_id(pv_kind, pv, sections),
    )


def add_broker_option(parser: ArgumentParser) -> None:
    """-conf/--configuration-file, for `load_broker`."""
    parser.add_argument(
        "-conf",
        "--configuration-file",
        type=Path,
        metavar="FILE",
        help=f"where the broker is (default: {BROKER_FILE})",
    )


def add_options(parser: ArgumentParser) -> None:
    """-conf/--configuration-file and --simulation-file, for `load_broker` and `load_simulation`."""
    add_broker_option(parser)
    parser.add_argument(
        "--simulation-file",
        type=Path,
        metavar="FILE",
        help=f"what is simulated (default: {SIMULATION_FILE.name} beside the configuration file)",
    )


class OptionError(ConfigError, ArgumentTypeError):
    """A value of a command line option that cannot be used; argparse shows it as it is."""


def parse_interval(text: str) -> int:
    """`--interval SECONDS` in ns, or OptionError."""
    return int(_option(METER["interval"], text))


def parse_nb_meter(text: str) -> int:
    """`--nb-meter N`, where 0 or less means 1, or OptionError."""
    return 1 if re.fullmatch(r"0+|-[0-9]+", text) else int(_option(METER["nb_meter"], text))


@dataclass(frozen=True, slots=True)
class LocalClock:
    """How far the legal time of a time zone is ahead of UTC."""

    timezone: str

    def __call__(self, time_s: int) -> int:
        """Seconds, at an instant."""
        offset = datetime.fromtimestamp(min(time_s, _LAST_S), zone(self.timezone)).utcoffset()
        return round(offset.total_seconds()) if offset else 0


def zone(timezone: str | None) -> tzinfo | None:
    """The time zone of an IANA name, None for the system's own. KeyError, OSError, ValueError: no such name."""
    if timezone is None:
        return None
    from zoneinfo import ZoneInfo  # most machines are in the time zone of what they simulate

    return ZoneInfo(timezone)


# What the keys of [broker] mean together.


def _check_login(place: str, values: Mapping[str, Any]) -> None:
    if values.get("external"):
        for name in ("username", "password", "password_file"):
            if values.get(name):
                raise ConfigError(f"{place} {name} has no use where login = certificate; remove one of the two.")
        if not values.get("cert_file"):
            raise ConfigError(f"{place} login = certificate needs one; give cert_file, and key_file.")
    if values.get("password") is not None and values.get("password_file"):
        raise ConfigError(f"{place} gives both password and password_file; keep one of the two.")


def _check_tls(place: str, values: Mapping[str, Any]) -> None:
    if not values.get("tls"):
        for name in ("ca_file", "cert_file", "key_file"):
            if values.get(name):
                raise ConfigError(f"{place} {name} has no use without TLS; give tls = yes, or remove it.")
        if not values.get("verify", True):
            raise ConfigError(f"{place} verify = no has no use without TLS; give tls = yes, or remove it.")
    if values.get("key_file") and not values.get("cert_file"):
        raise ConfigError(f"{place} key_file has no use without cert_file; give both.")


def _resolved(place: str, source: str, values: Mapping[str, Any], kept_password: str | None) -> dict[str, Any]:
    """The values with each address its port, whole file names, and the password from where it is kept."""
    found = dict(values)
    for name in ("ca_file", "cert_file", "key_file", "password_file"):
        if found.get(name):
            found[name] = Path(source).parent / found[name]
    port = found.pop("port", TLS_PORT if found.get("tls") else PORT)
    found["addresses"] = tuple(Address(host, own or port) for host, own in found.get("addresses", [("localhost", 0)]))
    password_file = found.pop("password_file", None)
    if kept_password is not None:
        found["password"] = kept_password
    elif password_file:
        named = f"{place} password_file: {_shown_path(password_file)}"
        found["password"] = _one_line(named, _required(password_file, named))
    return found


def _kept_password(also_by_hand: bool) -> str | None:
    """The password that systemd hands over; what it would hand over, for who runs a command by hand as root."""
    text = _credential("broker-password", "The credential broker-password")
    if text == "\n":  # as the units have it where none is kept
        text = None
    also_by_hand = also_by_hand and "CREDENTIALS_DIRECTORY" not in os.environ
    if text is None and also_by_hand and os.access(PASSWORD_FILE, os.R_OK):
        text = _read(PASSWORD_FILE, str(PASSWORD_FILE))
    return None if text is None else _one_line(str(PASSWORD_FILE), text)


def _one_line(named: str, text: str) -> str:
    """The password in a file, which may end with the end of its line."""
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or not password.isprintable():
        raise ConfigError(f"{named} does not hold a password; write it there, on one line, and nothing else.")
    return password


# The keys.


class Key(NamedTuple):
    """One key of a section: `parse` gives the value of the settings' `field`, or raises ValueError."""

    name: str
    noun: str
    right: str  # what would be right; if empty, the ValueError says it
    parse: Callable[[str], Any]
    default: str
    field: str
    shared: bool = False  # one for all meters, so not in a section that names ids
    of_model: bool = False  # a parameter of those models whose `keys` hold `field`


def _checked(value: T, fits: object) -> T:
    if not fits:
        raise ValueError(value)
    return value


def _scaled(text: str, decimals: int) -> int:
    """Decimal text without a sign, exactly, times 10**`decimals`."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    part = (match[2] or "").rstrip("0")
    return int(match[1] + _checked(part, len(part) <= decimals).ljust(decimals, "0"))


def _interval_ns(text: str) -> int:
    milliseconds = _scaled(text, 3)
    return _checked(milliseconds, 1 <= milliseconds <= 86_400_000) * 1_000_000


def _backlog_ns(text: str) -> int | None:
    return _scaled(text, 9) if text else None


def _linger_ns(text: str) -> int:
    milliseconds = _scaled(text, 3)
    return _checked(milliseconds, milliseconds <= 3_600_000) * 1_000_000


def _peak_kw(text: str) -> Decimal:
    return Decimal(_checked(text, 0 < _scaled(text, 6) <= 10**12))


def _kw_or_nothing(text: str) -> Decimal | None:
    return _peak_kw(text) if text else None


def _turbidity(text: str) -> tuple[float, ...]:
    values = tuple(_decimal(each, 1, 10) for each in text.split())
    return _checked(values, len(values) in (1, 12))


def _decimal(text: str, low: float, high: float) -> float:
    """Plain decimal text with or without a sign, within bounds."""
    unsigned = text[1:] if text.startswith(("-", "+")) else text
    value = float(_checked(text, _DECIMAL.fullmatch(unsigned)))
    return _checked(value, low <= value <= high)


def _loop_ns(text: str) -> int | None:
    return _scaled(text, 9) if text else None


def _shift_ns(text: str) -> int:
    unsigned = text[1:] if text.startswith(("-", "+")) else text
    shift_ns = _checked(_scaled(unsigned, 9), len(unsigned) < 30)
    return -shift_ns if text.startswith("-") else shift_ns


def _spread_ns(text: str) -> int:
    return _scaled(text, 9)


def _scale_parts(text: str) -> int:
    parts = _scaled(text, 6)
    return _checked(parts, parts <= 1000 * 10**6)


def _fault(text: str) -> Fault | None:
    from pvsim.models.faults import Fault  # most meters have none

    return Fault(_when(text)) if text else None


def _sized_fault(text: str, size_of: Callable[[str], int]) -> Fault | None:
    from pvsim.models.faults import Fault

    size, _, when = text.partition(" in ")
    return Fault(_when(when.strip()), size_of(size.strip())) if text else None


def _when(text: str) -> Turns | tuple[Span, ...]:
    return tuple(_fault_span(each) for each in text.split()) if ".." in text else _turns(text)


def _turns(text: str) -> Turns:
    from pvsim.models.faults import Turns

    part, _, period = (each.strip() for each in text.partition(" of "))
    period_ns = _interval_ns(period)
    if part.endswith("%"):
        chance = _scaled(part[:-1].rstrip(), 6)
        return Turns(period_ns, period_ns, _checked(chance, 0 < chance <= 10**8))
    length_ns = _interval_ns(part)
    return Turns(period_ns, _checked(length_ns, length_ns <= period_ns))


def _fault_span(text: str) -> Span:
    start_ns, end_ns = (_fault_time_ns(each) for each in text.split("..", 1))
    return _checked((start_ns, end_ns), start_ns < end_ns)


def _fault_time_ns(text: str) -> int:
    try:
        time = parse_time(text)
    except ArgumentTypeError:
        raise ValueError(text) from None
    if isinstance(time, datetime):
        _checked(time, time.tzinfo)
    return instant_ns(time, None)


def _parts(text: str, decimals: int, most: int, is_signed: bool = False) -> int:
    """Decimal text times 10**`decimals`, up to `most` (before that)."""
    is_negative = is_signed and text.startswith("-")
    parts = _scaled(text[1:] if is_negative else text, decimals)
    return _checked(-parts if is_negative else parts, 0 < parts <= most * 10**decimals)


def _load_models() -> Mapping[str, Model]:
    from pvsim.models.load import MODELS  # models are imported by those who ask for one

    return MODELS


def _solar_models() -> Mapping[str, Model]:
    from pvsim.models.solar import MODELS

    return MODELS


def _one_of(text: str, names: Iterable[str]) -> str:
    if text not in names:
        raise ValueError(f"one of {', '.join(sorted(names))}")
    return text


def _addresses(text: str) -> list[tuple[str, int]]:
    """Hosts and their ports, 0 for those that are not given."""
    return [_address(each.strip()) for each in text.split(",")]


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    port = int(match[3] or PORT)
    return (match[1] or match[2]).strip("[]"), _checked(port, 1 <= port <= 65535) if match[3] else 0


def _file_name(text: str) -> Path | None:
    return Path(text) if text else None


def _yes_or_no(text: str) -> bool:
    return {"yes": True, "no": False}[_one_of(text.lower(), ("yes", "no"))]


def _login(text: str) -> bool:
    return _one_of(text, ("password", "certificate")) == "certificate"


def _queue_type(text: str) -> str:
    return _one_of(text, ("quorum", "classic"))


def _is_short(text: str) -> bool:
    return 0 < len(text.encode()) < 256  # the longest short string of AMQP


def _timezone(text: str) -> str | None:
    try:
        zone(text or None)
    except (KeyError, OSError) as error:
        raise ValueError(text) from error
    return text or None


def _clock(text: str) -> LocalClock:
    _checked(text, _timezone(text))
    return LocalClock(text)


def _whole(name: str, noun: str, low: int, high: int, default: str, field: str = "") -> Key:
    def parse(text: str) -> int:
        number = int(_checked(text, _WHOLE.fullmatch(text)))
        return _checked(number, low <= number <= high)

    return Key(name, noun, f"a whole number from {low} to {high}", parse, default, field or name)


def _of_model(name: str, noun: str, right: str, parse: Callable[[str], Any], default: str, field: str = "") -> Key:
    return Key(name, noun, right, parse, default, field or name, of_model=True)


def _number(name: str, noun: str, unit: str, low: float, high: float, default: str) -> Key:
    right = f"{unit} from {low:g} to {high:g}"
    return _of_model(name, noun, right, lambda text: _decimal(text, low, high), default)


def _text(name: str, noun: str, right: str, default: str, fits: Callable[[str], object]) -> Key:
    return Key(name, noun, right, lambda text: _checked(text, fits(text)), default, name)


def _file(name: str) -> Key:
    return Key(name, "a file name", "the name of a file", _file_name, "", name)


def _switch(name: str, default: str) -> Key:
    return Key(name, "an answer", "yes or no", _yes_or_no, default, name)


def _fault_key(name: str) -> Key:
    return Key(f"fault_{name}", "a fault", _WHEN, _fault, "", f"fault_{name}")


def _sized_fault_key(name: str, unit: str, what: str, size_of: Callable[[str], int]) -> Key:
    right = f"{what}, then in, then {_WHEN}"
    return Key(f"fault_{name}{unit}", "a fault", right, lambda text: _sized_fault(text, size_of), "", f"fault_{name}")


def _table(*keys: Key) -> dict[str, Key]:
    return {key.name: key for key in keys}


_HOSTS = "names or IP addresses with commas between them, each with its :PORT or without, and without a scheme"
_SECONDS = "seconds from 0.001 to 86400, whole milliseconds"
_AT_LEAST_0 = "seconds, 0 or more"
_SECONDS_OR_NOTHING = "seconds, 0 or more, or nothing for no limit"
_LINGER = "seconds from 0 to 3600, whole milliseconds"
_KW = "kW, more than 0 and at most 1000000, with at most 6 decimals"
_TURBIDITIES = "a number from 1 to 10, or twelve of them with spaces between, January first"
_MUNICH_TURBIDITY = "2.9 3.35 3.65 3.9 4.2 4.3 4.35 4.35 4.2 3.45 3.0 2.75"
_ZONE_NOUN = "a time zone that this machine knows"
_ZONE_NAME = "a name such as Europe/Berlin"
_ZONE = f"{_ZONE_NAME}, or nothing for the time zone of the machine"
_SEED = _whole("seed", "a seed", -(2**63), 2**63 - 1, "0")

_WHEN = (
    "1% of 60 (a chance for each 60 s), 5 of 60 (the first 5 s of each 60) or TIME..TIME (with Z, +02:00 or as"
    " seconds since the epoch; several with spaces between), or nothing for never"
)

REPLAY = (
    _of_model("file", "a file", "the name of a CSV file", lambda text: Path(_checked(text, text)), ""),
    _of_model("column", "a column", "its name, or nothing if there is only one", str, ""),
    _of_model("unit", "a unit", "", lambda text: _one_of(text, ("W", "kW")), "W"),
    _of_model("interpolation", "an interpolation", "", lambda text: _one_of(text, ("step", "linear")), "step"),
    _of_model("loop", "a time", f"{_AT_LEAST_0}, or nothing for the length of the file", _loop_ns, "", "loop_ns"),
    _of_model("shift", "a time", "seconds, with a - for earlier", _shift_ns, "0", "shift_ns"),
    _of_model(
        "scale", "a factor", "a number from 0 to 1000, with at most 6 decimals", _scale_parts, "1", "scale_parts"
    ),
    _of_model("spread", "a time", _AT_LEAST_0, _spread_ns, "0", "spread_ns"),
)
FAULTS = (
    _fault_key("dropout"),
    _fault_key("stuck"),
    _sized_fault_key("spike", "_w", "W, more than 0 and at most 1000000000", lambda text: _parts(text, 3, 10**9)),
    _sized_fault_key(
        "offset", "_w", "W, at most 1000000000, with a - for less", lambda text: _parts(text, 3, 10**9, True)
    ),
    _sized_fault_key(
        "drift", "_percent", "percent, at most 10000, with a - for less", lambda text: _parts(text, 6, 10**4, True)
    ),
    _sized_fault_key("noise", "_w", "W, more than 0 and at most 1000000000", lambda text: _parts(text, 3, 10**9)),
    _sized_fault_key(
        "clock", "_s", "seconds, with a - for slow, at most 4000000000", lambda text: _parts(text, 9, 4 * 10**9, True)
    ),
    _fault_key("duplicate"),
    _sized_fault_key("late", "_s", "seconds, more than 0 and at most 86400", lambda text: _parts(text, 9, 86_400)),
    _sized_fault_key("shuffle", "", "a whole number of readings from 1 to 100", lambda text: _parts(text, 0, 100)),
    _fault_key("rubbish"),
)
BROKER = _table(
    Key("host", "a host", _HOSTS, _addresses, "localhost", "addresses"),
    _whole("port", "a port", 1, 65535, str(PORT)),
    _text("username", "a user name", "one that the broker knows", "guest", len),
    _text("password", "a password", "any text", "guest", lambda _: True),
    _file("password_file"),
    _text("virtual_host", "a virtual host", "a name such as /", "/", _is_short),
    _switch("tls", "no"),
    _file("ca_file"),
    _file("cert_file"),
    _file("key_file"),
    _switch("verify", "yes"),
    Key("login", "a way to log in", "", _login, "password", "external"),
    _whole("heartbeat", "a number of seconds", 0, 65535, "10", "heartbeat_s"),
    _whole("connect_timeout", "a number of seconds", 1, 600, "10", "connect_timeout_s"),
    Key("queue_type", "a type of queues", "", _queue_type, "quorum", "queue_type"),
    _whole("max_queue_length", "a number of messages", 1, 10**9, "86400"),
)
METER = _table(
    _whole("nb_meter", "a number of meters", 1, 100_000, "1")._replace(shared=True),
    Key("model", "a model", "", lambda text: _one_of(text, _load_models()), "random", "model"),
    _SEED,
    Key("interval", "an interval", _SECONDS, _interval_ns, "1", "interval_ns"),
    Key("backlog", "a backlog", _SECONDS_OR_NOTHING, _backlog_ns, "", "backlog_ns"),
    _whole("batch", "a number of readings", 1, 10_000, "1000"),
    Key("linger", "a time to gather readings", _LINGER, _linger_ns, "0", "linger_ns"),
    _number("annual_kwh", "a year's energy", "kWh", 500, 10_000, "3500"),
    _number("ev_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _number("heat_pump_kwh", "a year's energy", "kWh", 0, 10_000, "0"),
    _of_model("timezone", _ZONE_NOUN, _ZONE_NAME, _clock, "Europe/Berlin"),
    *REPLAY,
    *FAULTS,
)
PV = _table(
    Key("model", "a model", "", lambda text: _one_of(text, _solar_models()), "random", "model"),
    _SEED,
    _of_model("peak_kw", "a peak power", _KW, _peak_kw, "4.0"),
    _of_model("inverter_kw", "a power", f"{_KW}, or nothing", _kw_or_nothing, ""),
    _number("losses", "a loss", "percent", 0, 99, "14.08"),
    _number("latitude", "a latitude", "degrees north", -90, 90, "48.137"),
    _number("longitude", "a longitude", "degrees east", -180, 180, "11.575"),
    _number("elevation", "an elevation", "metres above the sea", -500, 9000, "520"),
    _number("tilt", "a tilt", "degrees from the horizontal", 0, 90, "30"),
    _number("azimuth", "an azimuth", "degrees from north by east", 0, 360, "180"),
    _of_model("turbidity", "a turbidity", _TURBIDITIES, _turbidity, _MUNICH_TURBIDITY),
    Key("timezone", _ZONE_NOUN, _ZONE, _timezone, "", "timezone", shared=True),
    *REPLAY,
)


# Bytes to text.


def _credential(name: str, source: str) -> str | None:
    """What systemd hands over under this name, None if it does not."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return _read(Path(directory, name), source) if directory else None


def _default_broker_text(source: str) -> str:
    text = _credential(BROKER_FILE.name, source)
    return (_read(BROKER_FILE, source) if text is None else text) or ""


def _required(path: Path, source: str) -> str:
    text = _read(path, source)
    if text is None:
        raise ConfigError(f"{source} does not exist; create it, or name another file.")
    return text


def _read(path: Path, source: str) -> str | None:
    """The text of the file, None if there is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"{source} cannot be read: {error.strerror}"
        raise ConfigError(f"{reason}; give a file that this user may read.") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{source} is larger than {_MAX_BYTES // 2**20} MiB; give a configuration file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}: line {line} is not UTF-8; save the file as UTF-8.") from None


# Text to sections.


def _sections(source: str, text: str) -> Sections:
    """Sections, their keys, and the keys' texts. No message quotes a line: it may hold a password."""
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise _twice(source, error.lineno, f"[{_shown(error.section)}]") from None
    except configparser.DuplicateOptionError as error:
        raise _twice(source, error.lineno, f"[{_shown(error.section)}] {_shown(error.option)}") from None
    except configparser.MissingSectionHeaderError as error:
        line = error.lineno
        raise ConfigError(f"{source}: line {line} stands before any [section]; move it into one.") from None
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        raise ConfigError(f"{source}: line {line} is none of [section], key = value and # comment.") from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _twice(source: str, line: int | None, what: str) -> ConfigError:
    return ConfigError(f"{source}: line {line} gives {what} a second time; keep one of the two.")


# Sections to settings.


def _values(source: str, section: str, texts: Mapping[str, str], table: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a section by field."""
    place = f"{source}: [{_shown(section)}]"
    values = {}
    for name, text in texts.items():
        key = table.get(name)
        if key is None:
            guess = _guess(name, table)
            raise ConfigError(f"{place} has no key {_shown(name)}{guess}; it has {', '.join(table)}.")
        if key.shared and section not in ("meter", "pv"):
            raise ConfigError(f"{place} cannot have {name}; it is one for all, in [{section.split()[0]}].")
        values[key.field] = _value(place, key, text)
    return values


def _value(place: str, key: Key, text: str) -> Any:
    if not text.isprintable():  # an indented line, too: configparser takes it for more of the value above
        raise ConfigError(
            f"{place} {key.name} goes on in an indented line, or holds an invisible character; write it on"
            " one line, and begin each line without a space."
        )
    try:
        return key.parse(text)
    except ValueError as error:
        raise ConfigError(f"{place} {key.name} = {_wrong(key, text, error)}") from None


def _option(key: Key, text: str) -> Any:
    try:
        return key.parse(text)
    except ValueError as error:
        raise OptionError(_wrong(key, text, error)) from None


def _wrong(key: Key, text: str, error: ValueError) -> str:
    return f"{_shown(text) or '(nothing)'} is not {key.noun}; give {key.right or error}."


def _unknown_section(source: str, name: str, known: list[str]) -> ConfigError:
    names = ", ".join(f"[{each}]" for each in known)
    return ConfigError(f"{source} has no section [{_shown(name)}]{_guess(name, known)}; it has {names}.")


def _guess(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # only a user's slip needs it

    near = get_close_matches(name[:100], known, n=1)
    return f" (meant {near[0]}?)" if near else ""


def _ids_of(section: str, kind: str) -> list[str]:
    """The ids that a section such as [meter Meter_0..4 Meter_9] names."""
    first, *ids = section.split() or [""]
    return ids if first == kind else []


class _Kind(NamedTuple, Generic[Settings]):
    """What is set for meters, or for PV systems."""

    source: str
    directory: Path
    name: str
    table: Mapping[str, Key]
    settings: type[Settings]
    models: Callable[[], Mapping[str, Model]]


class _Section(NamedTuple):
    """A section: the ids in its name, and its values by field."""

    name: str
    ids: list[str]
    values: dict[str, Any]


def _by_id(kind: _Kind[Settings], every: dict[str, Any], sections: Sections) -> dict[str, Settings]:
    """The settings of each id that sections name; ids in the same sections share one object."""
    overrides = _overrides(kind, sections)
    places: dict[str, tuple[int, ...]] = {}
    for place, override in enumerate(overrides):
        for each in override.ids:
            places[each] = (*places.get(each, ()), place)
    alike = {at: meter_id for meter_id, at in places.items()}
    made = {}
    for at, meter_id in alike.items():
        own = [overrides[place] for place in at]
        _check_agreement(kind.source, meter_id, own)
        made[at] = _settings(kind, own, every)
    return {meter_id: made[at] for meter_id, at in places.items()}


def _overrides(kind: _Kind[Settings], sections: Sections) -> list[_Section]:
    found = []
    for name, texts in sections.items():
        if ids := _ids_of(name, kind.name):
            try:
                expanded = expand_ids(ids)
            except IdError as error:
                raise ConfigError(f"{kind.source}: [{_shown(name)}]: {error}") from None
            found.append(_Section(name, expanded, _values(kind.source, name, texts, kind.table)))
    return found


def _check_agreement(source: str, meter_id: str, sections: list[_Section]) -> None:
    values: dict[str, Any] = {}
    for section in sections:
        for name, value in section.values.items():
            if values.setdefault(name, value) != value:
                names = " and ".join(f"[{_shown(each.name)}]" for each in sections if name in each.values)
                raise ConfigError(f"{source}: {names} give {meter_id} another {name} each; keep one of them.")


def _settings(kind: _Kind[Settings], sections: list[_Section], every: Mapping[str, Any] | None = None) -> Settings:
    """The settings that these sections give, on top of those of `every`.

    What the model has not been given has its default. A key of `every` that is not one of the model that the sections
    choose is for the others; in the sections themselves it is an error.
    """
    values = dict(every or {})
    for section in sections:
        values |= section.values
    if not values:
        return kind.settings()
    name = values.get("model", kind.table["model"].default)
    of_models = {key.field: key for key in kind.table.values() if key.of_model}
    for section in sections:
        for field_name in section.values:
            if field_name in of_models and field_name not in kind.models()[name].keys:
                raise _not_of_model(kind, section, name, of_models[field_name])
    parameters = {
        each: values[each] if each in values else _default(kind, sections[-1], name, of_models[each])
        for each in kind.models()[name].keys
    }
    if "file" in parameters:
        parameters["file"] = kind.directory / parameters["file"]
    general = {each: value for each, value in values.items() if each not in of_models}
    if faults := {each for each in general if each.startswith("fault_")}:
        found = {each.removeprefix("fault_"): general.pop(each) for each in sorted(faults)}
        general["faults"] = {each: fault for each, fault in found.items() if fault}
    return kind.settings(parameters=parameters, **general)


def _default(kind: _Kind[Settings], section: _Section, model: str, key: Key) -> Any:
    try:
        return key.parse(key.default)
    except ValueError:
        place = f"{kind.source}: [{_shown(section.name)}]"
        raise ConfigError(f"{place} has no {key.name}, which the model {model} needs; give {key.right}.") from None


def _not_of_model(kind: _Kind[Settings], section: _Section, model: str, key: Key) -> ConfigError:
    models = kind.models()
    have = ", ".join(name for name, each in kind.table.items() if each.field in models[model].keys and each.of_model)
    others = " or ".join(each for each in sorted(models) if key.field in models[each].keys)
    return ConfigError(
        f"{kind.source}: [{_shown(section.name)}] {key.name} is no key of the model {model}, which has"
        f" {have or 'no keys of its own'}; give model = {others}, or take {key.name} away."
    )


# Profiles that are replayed.


def _with_profile(settings: Settings) -> Settings:
    """With the profile in the place of its file: read where it is needed, and once."""
    if "file" not in settings.parameters:
        return settings
    parameters = dict(settings.parameters)
    profile = _profile(*(parameters.pop(each) for each in ("file", "column", "unit")))
    return replace(settings, parameters={"profile": profile, **parameters})


@lru_cache(maxsize=100)
def _profile(path: Path, column: str, unit: str) -> Profile:
    from pvsim.models.replay import BadProfile, parse

    source = _shown_path(path)
    try:
        if not path.is_file():
            raise ConfigError(f"{source} is no file; create it, or name another one.")
        with path.open(encoding="utf-8-sig", newline=None) as stream:
            return parse(stream, column, unit)
    except OSError as error:
        reason = f"{source} cannot be read: {error.strerror}"
        raise ConfigError(f"{reason}; give a file that this user may read.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source} is not UTF-8; save the file as UTF-8.") from None
    except BadProfile as error:
        raise ConfigError(f"{source}{'' if str(error).startswith('has') else ','} {_shown_long(str(error))}") from None


def _shown_long(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _shown(text: str) -> str:
    """Text of a user in a message: short, and on one line."""
    text = text if len(text) <= 80 else f"{text[:79]}…"
    return text if text.isprintable() else ascii(text)


def _shown_path(path: Path) -> str:
    return os.fsencode(path.absolute()).decode(errors="replace")
