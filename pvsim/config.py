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
from datetime import tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pvsim.errors import ConfigError, IdError
from pvsim.reading import expand_ids

BROKER_FILE = Path("/etc/pvsim/broker.ini")
SIMULATION_FILE = Path("/etc/pvsim/simulation.ini")
PASSWORD_FILE = Path("/etc/credstore/pvsim.broker-password")  # as the units name it
_MAX_BYTES = 16 * 2**20

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
    """What one meter does. `backlog_ns`: how far back it goes at most, None for as far as it takes;
    `batch`: the most readings that one message may carry; `linger_ns`: of how long they share a message."""

    model: str = "random"
    seed: int = 0
    interval_ns: int = 1_000_000_000
    backlog_ns: int | None = None
    batch: int = 1000
    linger_ns: int = 0


@dataclass(frozen=True, slots=True)
class PvSettings:
    """What one PV system does."""

    model: str = "random"
    seed: int = 0
    peak_kw: Decimal = Decimal("4.0")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: the settings that all meters and PV systems have, and those of the ones that differ.

    `timezone`: an IANA name, None for the system's own.
    """

    nb_meter: int = 1
    timezone: str | None = None
    source: str = str(SIMULATION_FILE)
    every_meter: MeterSettings = MeterSettings()
    every_pv: PvSettings = PvSettings()
    meters: Mapping[str, MeterSettings] = field(default_factory=dict)
    pvs: Mapping[str, PvSettings] = field(default_factory=dict)

    def meter(self, meter_id: str) -> MeterSettings:
        """The settings of this meter."""
        return self.meters.get(meter_id, self.every_meter)

    def pv(self, meter_id: str) -> PvSettings:
        """The settings of the PV system beside this meter."""
        return self.pvs.get(meter_id, self.every_pv)


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
    every_meter, every_pv = MeterSettings(**meter), PvSettings(**pv)
    return Simulation(
        nb_meter=nb_meter,
        timezone=timezone,
        source=source,
        every_meter=every_meter,
        every_pv=every_pv,
        meters=_by_id(source, every_meter, _overrides(source, "meter", sections, METER)),
        pvs=_by_id(source, every_pv, _overrides(source, "pv", sections, PV)),
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


def _load_model(text: str) -> str:
    from pvsim.models.load import MODELS  # models are imported by those who ask for one

    return _one_of(text, MODELS)


def _solar_model(text: str) -> str:
    from pvsim.models.solar import MODELS

    return _one_of(text, MODELS)


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


def _whole(name: str, noun: str, low: int, high: int, default: str, field: str = "") -> Key:
    def parse(text: str) -> int:
        number = int(_checked(text, _WHOLE.fullmatch(text)))
        return _checked(number, low <= number <= high)

    return Key(name, noun, f"a whole number from {low} to {high}", parse, default, field or name)


def _text(name: str, noun: str, right: str, default: str, fits: Callable[[str], object]) -> Key:
    return Key(name, noun, right, lambda text: _checked(text, fits(text)), default, name)


def _file(name: str) -> Key:
    return Key(name, "a file name", "the name of a file", _file_name, "", name)


def _switch(name: str, default: str) -> Key:
    return Key(name, "an answer", "yes or no", _yes_or_no, default, name)


def _table(*keys: Key) -> dict[str, Key]:
    return {key.name: key for key in keys}


_HOSTS = "names or IP addresses with commas between them, each with its :PORT or without, and without a scheme"
_SECONDS = "seconds from 0.001 to 86400, whole milliseconds"
_SECONDS_OR_NOTHING = "seconds, 0 or more, or nothing for no limit"
_LINGER = "seconds from 0 to 3600, whole milliseconds"
_KW = "kW, more than 0 and at most 1000000, with at most 6 decimals"
_ZONE = "a name such as Europe/Berlin, or nothing for the time zone of the machine"
_SEED = _whole("seed", "a seed", -(2**63), 2**63 - 1, "0")

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
    Key("model", "a model", "", _load_model, "random", "model"),
    _SEED,
    Key("interval", "an interval", _SECONDS, _interval_ns, "1", "interval_ns"),
    Key("backlog", "a backlog", _SECONDS_OR_NOTHING, _backlog_ns, "", "backlog_ns"),
    _whole("batch", "a number of readings", 1, 10_000, "1000"),
    Key("linger", "a time to gather readings", _LINGER, _linger_ns, "0", "linger_ns"),
)
PV = _table(
    Key("model", "a model", "", _solar_model, "random", "model"),
    _SEED,
    Key("peak_kw", "a peak power", _KW, _peak_kw, "4.0", "peak_kw"),
    Key("timezone", "a time zone that this machine knows", _ZONE, _timezone, "", "timezone", shared=True),
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


class _Override(NamedTuple):
    """A section that names ids."""

    section: str
    ids: list[str]
    values: dict[str, Any]


def _overrides(source: str, kind: str, sections: Sections, table: Mapping[str, Key]) -> list[_Override]:
    found = []
    for section, texts in sections.items():
        if ids := _ids_of(section, kind):
            try:
                expanded = expand_ids(ids)
            except IdError as error:
                raise ConfigError(f"{source}: [{_shown(section)}]: {error}") from None
            found.append(_Override(section, expanded, _values(source, section, texts, table)))
    return found


def _by_id(source: str, every: Settings, overrides: list[_Override]) -> dict[str, Settings]:
    """The settings of each id that sections name; ids in the same sections share one object."""
    places: dict[str, tuple[int, ...]] = {}
    for place, override in enumerate(overrides):
        for each in override.ids:
            places[each] = (*places.get(each, ()), place)
    alike = {at: meter_id for meter_id, at in places.items()}
    made = {
        at: replace(every, **_merged(source, meter_id, [overrides[place] for place in at]))
        for at, meter_id in alike.items()
    }
    return {meter_id: made[at] for meter_id, at in places.items()}


def _merged(source: str, meter_id: str, overrides: list[_Override]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for override in overrides:
        for name, value in override.values.items():
            if values.setdefault(name, value) != value:
                names = " and ".join(f"[{_shown(each.section)}]" for each in overrides if name in each.values)
                raise ConfigError(f"{source}: {names} give {meter_id} another {name} each; keep one of them.")
    return values


def _shown(text: str) -> str:
    """Text of a user in a message: short, and on one line."""
    text = text if len(text) <= 80 else f"{text[:79]}…"
    return text if text.isprintable() else ascii(text)


def _shown_path(path: Path) -> str:
    return os.fsencode(path.absolute()).decode(errors="replace")
