"""broker.ini: where the broker is and how to talk to it."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pvsim.config import ini
from pvsim.config.keys import Key, checked, one_of, or_nothing, table, values_of, whole, yes_or_no
from pvsim.errors import ConfigError

BROKER_FILE = Path("/etc/pvsim/broker.ini")
PASSWORD_FILE = Path("/etc/credstore/pvsim.broker-password")  # as the units name it
PORT, TLS_PORT = 5672, 5671  # as IANA has them for amqp and amqps

_NAME = r"(?:[\w-]{1,63}\.){0,100}[\w-]{1,63}\.?"
_IPV6 = r"(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?"
_ADDRESS = re.compile(rf"(?:({_IPV6})|({_NAME}|\[{_IPV6}\])(?::([0-9]{{1,5}}))?)", re.ASCII)
_URL = re.compile(
    r"(?P<scheme>amqps?)://(?:(?P<username>[^:@/?#]+)(?::(?P<password>[^:@/?#]*))?@)?(?P<hosts>[^@/?#]+)"
    r"(?:/(?P<virtual_host>[^/?#]+))?"
)
_NO_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


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
    which holds the key, too. `external`: log in by the certificate, and not by name and password. It has as many fields
    as [broker] has keys.
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


def load_broker(path: Path | None) -> BrokerSettings:
    """The settings in `path`, which must exist.

    None: those in systemd's credential broker.ini if there is one, else in /etc/pvsim/broker.ini if there is
    one, else the defaults. Messages name /etc/pvsim/broker.ini for all three: it is the file to edit. A password in
    systemd's credential broker-password comes before those that the file gives or names.
    """
    source = ini.shown_path(path or BROKER_FILE)
    text = _default_text(source) if path is None else ini.read_existing(path, source)
    sections = ini.sections(source, text)
    for name in sections:
        if name != "broker":
            raise ini.unknown_section(source, name, ["broker"])
    place = f"{source}: [broker]"
    found = values_of(source, "broker", _with_url(place, sections.get("broker", ini.Section())), BROKER)
    _spread_url(place, found)
    _check_login(place, found)
    _check_tls(place, found)
    kept = _kept_password(path is None)
    return BrokerSettings(source=source, **_resolved(place, source, found, kept))


def add_broker_option(parser: ArgumentParser) -> None:
    """-conf/--configuration-file, for `load_broker`."""
    parser.add_argument(
        "-conf",
        "--configuration-file",
        type=Path,
        metavar="FILE",
        help=f"where the broker is (default: {BROKER_FILE})",
    )


def _default_text(source: str) -> str:
    text = ini.credential(BROKER_FILE.name, source)
    return (ini.read(BROKER_FILE, source) if text is None else text) or ""


# What the keys mean together.


def _with_url(place: str, texts: ini.Section) -> ini.Section:
    """A URL may stand in host, too."""
    if "://" not in texts.get("host", ""):
        return texts
    if "url" in texts:
        raise _both(place, "url", "host")
    return ini.Section((("url" if name == "host" else name, text) for name, text in texts.items()), texts.lines)


def _spread_url(place: str, values: dict[str, Any]) -> None:
    """What the URL says, as if its keys did."""
    of_url: dict[str, Any] = values.pop("url", None) or {}
    for key in BROKER.values():
        if key.field in of_url and key.field in values:
            raise _both(place, "url", key.name)
    values |= of_url


def _both(place: str, one: str, other: str) -> ConfigError:
    return ConfigError(f"{place} gives both {one} and {other}; keep one of the two.")


def _check_login(place: str, values: Mapping[str, Any]) -> None:
    if values.get("external"):
        for name in ("username", "password", "password_file"):
            if values.get(name):
                raise ConfigError(f"{place} {name} has no use where login = certificate; remove one of the two.")
        if not values.get("cert_file"):
            raise ConfigError(f"{place} login = certificate needs one; give cert_file, and key_file.")
    if values.get("password") is not None and values.get("password_file"):
        raise _both(place, "password", "password_file")


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
        # What names no file may be the password itself.
        shown = ini.shown_path(password_file) if os.path.lexists(password_file) else "the file"
        named = f"{place} password_file: {shown}"
        found["password"] = _one_line(named, ini.read_existing(password_file, named))
    return found


def _kept_password(also_by_hand: bool) -> str | None:
    """The password that systemd hands over; what it would hand over, for who runs a command by hand as root."""
    text = ini.credential("broker-password", "The credential broker-password")
    if text == "\n":  # as the units have it where none is kept
        text = None
    also_by_hand = also_by_hand and "CREDENTIALS_DIRECTORY" not in os.environ
    if text is None and also_by_hand and os.access(PASSWORD_FILE, os.R_OK):
        text = ini.read(PASSWORD_FILE, str(PASSWORD_FILE))
    return None if text is None else _one_line(str(PASSWORD_FILE), text)


def _one_line(named: str, text: str) -> str:
    """The password in a file, which may end with the end of its line."""
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or not password.isprintable():
        raise ConfigError(f"{named} does not hold a password; write it there, on one line, and nothing else.")
    return password


# The keys.


def _addresses(text: str) -> list[tuple[str, int]]:
    """Hosts and their ports, 0 for those that are not given."""
    return [_address(each.strip()) for each in text.split(",")]


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    port = int(match[3] or PORT)
    return (match[1] or match[2]).strip("[]"), checked(port, 1 <= port <= 65535) if match[3] else 0


def _url(text: str) -> dict[str, Any]:
    """What a URL says, by field: amqp://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST (RabbitMQ's AMQP URI specification).

    A / at the end is refused: RabbitMQ takes it for the virtual host with the empty name, others for the one named /.
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    names = {"username": match["username"], "password": match["password"], "virtual_host": match["virtual_host"]}
    values: dict[str, Any] = {name: _unquoted(part) for name, part in names.items() if part is not None}
    checked(values, _is_short(values.get("virtual_host", "/")))
    return values | {"tls": match["scheme"] == "amqps", "addresses": _addresses(match["hosts"])}


def _unquoted(text: str) -> str:
    from urllib.parse import unquote  # only who has a URL needs it

    part = unquote(checked(text, not _NO_PERCENT.search(text)), errors="strict")
    return checked(part, part.isprintable())


def _is_short(text: str) -> bool:
    return 0 < len(text.encode()) < 256  # the longest short string of AMQP


def _text(name: str, noun: str, right: str, default: str, fits: Callable[[str], object]) -> Key:
    return Key(name, noun, right, lambda text: checked(text, fits(text)), default, name, is_secret=True)


def _file(name: str) -> Key:
    return Key(name, "a file name", "the name of a file", or_nothing(Path), "", name)


def _is_name(text: str) -> bool:
    """It is not empty, and no URL in the wrong place, which messages would quote."""
    return len(text) > 0 and "://" not in text


def _switch(name: str, default: str) -> Key:
    return Key(name, "an answer", "yes or no", yes_or_no, default, name)


_LOGINS = ("password", "certificate")
_HOSTS = "names or IP addresses, separated by commas, each with :PORT or without"
_URLS = (
    "amqp://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST, or amqps:// for TLS; inside a part, write %40 for @, %3A for :, %2F"
    " for / and %25 for %; no / at the end"
)

BROKER = table(
    Key("host", "a host", _HOSTS, _addresses, "localhost", "addresses"),
    Key("url", "a URL of a broker", _URLS, or_nothing(_url), "", "url", is_secret=True),
    whole("port", "a port", 1, 65535, str(PORT)),
    _text("username", "a user name", "one that the broker knows", "guest", _is_name),
    _text("password", "a password", "any text", "guest", lambda _: True),
    _file("password_file"),
    _text("virtual_host", "a virtual host", "a name such as /", "/", lambda text: _is_short(text) and _is_name(text)),
    _switch("tls", "no"),
    _file("ca_file"),
    _file("cert_file"),
    _file("key_file"),
    _switch("verify", "yes"),
    Key("login", "a way to log in", "", lambda text: one_of(text, _LOGINS) == "certificate", "password", "external"),
    whole("heartbeat", "a number of seconds", 0, 65535, "10", "heartbeat_s"),
    whole("connect_timeout", "a number of seconds", 1, 600, "10", "connect_timeout_s"),
    Key("queue_type", "a type of queues", "", lambda text: one_of(text, ("quorum", "classic")), "quorum", "queue_type"),
    whole("max_queue_length", "a number of messages", 1, 10**9, "86400"),
)
