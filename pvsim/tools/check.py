"""`pvsim check`: are the configuration files well, and does the broker work as it is configured?

Each step is printed as it is tried. Name, TCP and TLS are tried here with plain sockets, which tell more than a
connection that just comes up or does not. What needs AMQP is tried by pvsim.broker.trial, in the way in which the
services use it. What RabbitMQ tells administrators alone is asked of rabbitmqctl, where that can be run.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from pvsim import config
from pvsim.broker import tls, trouble
from pvsim.broker.trial import Trial, TrialError
from pvsim.broker.trouble import explain
from pvsim.config import Address, BrokerSettings, Simulation
from pvsim.errors import ConfigError
from pvsim.foreign import printable
from pvsim.tools.policies import FAILED, NOTE, OK, Step, policies

_TRIED = (3, 10), (4, 3)  # the first and the last version that the tests have seen
_MANY_METERS = 20_000  # the files that Debian's unit allows RabbitMQ 3.10

Loaded = TypeVar("Loaded", BrokerSettings, Simulation)


class Checklist:
    """The steps of each file and address: printed as they come, or as JSON at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._parts: list[tuple[str, list[Step]]] = []

    def begin(self, place: str) -> None:
        """What follows is about this file or address."""
        self._parts.append((place, []))
        self._say(place)

    def add(self, name: str, result: str, text: str) -> None:
        """One step."""
        self._parts[-1][1].append(Step(name, result, text))
        self._say(f"  {result:<7} {f'{name}: ' if name else ''}{text}")

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return any(step.result == FAILED for _, steps in self._parts for step in steps)

    def end(self) -> None:
        """Print what is printed at the end alone."""
        if self._as_json:
            checked = [{"place": place, "steps": [each._asdict() for each in steps]} for place, steps in self._parts]
            print(json.dumps({"ok": not self.failed, "checked": checked}, indent=2))

    def _say(self, text: str) -> None:
        if not self._as_json:
            print(printable(text), flush=True)


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help="check both configuration files, and try the broker",
        description=(
            "Read both configuration files. Then try the broker step by step, up to a message on a queue of its own,"
            " which is removed. The exit status is 0 if all is well, 1 if the broker does not work as configured,"
            " 78 if a file is wrong."
        ),
    )
    config.add_options(parser)
    parser.add_argument("--offline", action="store_true", help="read the files only; do not try the broker")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print every step for every file and address; the exit status."""
    checklist = Checklist(options.json)
    settings = _check_file("broker.ini", lambda: _load_broker(options), _describe_broker, checklist)
    simulation = _check_file("simulation.ini", lambda: _load_simulation(options), _describe_simulation, checklist)
    if settings is None or simulation is None:
        status = ConfigError.exit_status
    else:
        if not options.offline:
            _check_addresses(settings, list(_ids(simulation)), checklist)
        status = int(checklist.failed)
    checklist.end()
    return status


# The files.


def _check_file(
    name: str, load: Callable[[], Loaded], describe: Callable[[Loaded], str], checklist: Checklist
) -> Loaded | None:
    """What the file holds, or None if it is wrong."""
    try:
        loaded = load()
    except ConfigError as error:
        checklist.begin(name)
        checklist.add("", FAILED, str(error))
        return None
    checklist.begin(str(loaded.source))
    is_there = Path(loaded.source).exists()
    checklist.add("", OK, describe(loaded) if is_there else f"there is no such file; by default: {describe(loaded)}")
    return loaded


def _load_broker(options: argparse.Namespace) -> BrokerSettings:
    settings = config.load_broker(options.configuration_file)
    if settings.tls:
        tls.context(settings)  # reads the certificates
    return settings


def _describe_broker(settings: BrokerSettings) -> str:
    login = "login by certificate" if settings.external else f"user {settings.username!r}"
    secured = "TLS" if settings.tls else "no TLS"
    return f"{secured}, {login}, virtual host {settings.virtual_host!r}, {settings.queue_type} queues"


def _load_simulation(options: argparse.Namespace) -> Simulation:
    simulation = config.load_simulation(options.simulation_file, options.configuration_file)
    for meter_id in _ids(simulation):  # reads the profiles that are replayed
        simulation.meter(meter_id)
        simulation.pv(meter_id)
    return simulation


def _describe_simulation(simulation: Simulation) -> str:
    first = next(iter(_ids(simulation)))
    meter, pv = simulation.meter(first), simulation.pv(first)
    meters = f"{simulation.nb_meter} meter{'s' if simulation.nb_meter > 1 else ''}"
    return f"{meters}; {first}: load {meter.model}, every {meter.interval_ns / 1e9:g} s, PV {pv.model}"


def _ids(simulation: Simulation) -> dict[str, None]:
    """Every meter id that the file tells of."""
    fleet = (f"Meter_{number}" for number in range(simulation.nb_meter))
    return dict.fromkeys([*fleet, *simulation.meters, *simulation.pvs])


# The broker.


def _check_addresses(settings: BrokerSettings, ids: list[str], checklist: Checklist) -> None:
    context = tls.context(settings) if settings.tls else None
    for address in settings.addresses:
        checklist.begin(str(address))
        try:
            is_here = _check_network(settings, address, context, checklist)
            with closing(Trial(settings, address)) as trial:
                product = _check_amqp(settings, trial, checklist)
        except TrialError as error:
            if error.step == trouble.VIRTUAL_HOST:
                checklist.add(trouble.LOGIN, OK, _user(settings))
            checklist.add(error.step, FAILED, str(error))
        except ConfigError as error:
            checklist.add("", FAILED, str(error))
        else:
            for text in _known(product, len(settings.addresses), len(ids)):
                checklist.add("version", NOTE, text)
            for step in policies(settings.virtual_host, ids, is_here):
                checklist.add(*step)


def _check_network(
    settings: BrokerSettings, address: Address, context: ssl.SSLContext | None, checklist: Checklist
) -> bool:
    """Whether the broker is on this machine."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        checklist.add(trouble.NAME, OK, ", ".join(dict.fromkeys(str(each[4][0]) for each in found)))
        with socket.create_connection((address.host, address.port), settings.connect_timeout_s) as connection:
            peer = str(connection.getpeername()[0])
            checklist.add(trouble.TCP, OK, f"connected to {peer} port {address.port}")
            is_here = peer == connection.getsockname()[0] or ip_address(peer).is_loopback
            if context:
                with context.wrap_socket(connection, server_hostname=tls.server_name(address)) as secured:
                    checklist.add(trouble.TLS, OK, _describe(secured, settings))
            return is_here
    except OSError as error:
        raise TrialError(explain(error, settings, address)) from None


def _check_amqp(settings: BrokerSettings, trial: Trial, checklist: Checklist) -> str:
    """Returns what the broker says it is."""
    product = trial.connect()
    checklist.add(trouble.LOGIN, OK, f"{_user(settings)}, by {product}")
    checklist.add(trouble.VIRTUAL_HOST, OK, settings.virtual_host)
    steps: dict[str, Callable[[], None]] = {
        f"declared the queue {trial.queue}": trial.declare,
        "published a message, which was confirmed": trial.publish,
        "consumed it": trial.consume,
        "removed the queue": trial.delete,
    }
    for what, step in steps.items():
        step()
        checklist.add(trouble.USE, OK, what)
    return product


def _describe(secured: ssl.SSLSocket, settings: BrokerSettings) -> str:
    """The certificate of the broker: its names and dates, which are known if it was verified."""
    if not settings.verify:
        return f"{secured.version()}, and the certificate is not verified: anybody may pose as the broker"
    certificate: Any = secured.getpeercert()
    names = [name for _kind, name in certificate.get("subjectAltName", ())]
    first, last = (_day(certificate[which]) for which in ("notBefore", "notAfter"))
    return f"{secured.version()}, a certificate for {', '.join(names)}, valid from {first} to {last}"


def _day(text: str) -> str:
    return time.strftime("%F", time.gmtime(ssl.cert_time_to_seconds(text)))


def _user(settings: BrokerSettings) -> str:
    return "by certificate" if settings.external else f"as {settings.username!r}"


# What is known of versions: see pvsim-cluster(7).


def _known(product: str, nb_nodes: int, nb_meters: int) -> Iterator[str]:
    """What a user of this version has to know."""
    found = re.search(r"RabbitMQ (\d+)\.(\d+)", product)
    if not found:
        yield "it does not say that it is RabbitMQ, and pvsim is tested with nothing else"
        return
    version, (first, last) = (int(found[1]), int(found[2])), _TRIED
    if not first <= version <= last:
        tried = " to ".join(".".join(map(str, each)) for each in _TRIED)
        yield f"pvsim is tested with RabbitMQ {tried}, and not with this version"
    if version == (3, 10) and nb_meters > _MANY_METERS:
        yield (
            f"RabbitMQ 3.10 needs three open files for each queue, and takes no connection when they are used up;"
            f" {nb_meters} queues need LimitNOFILE={4 * nb_meters} in its unit"
        )
    if version >= (4, 3) and nb_nodes > 1:
        yield (
            "RabbitMQ 4.3 waits for 60 s before another consumer takes over from one whose node has failed;"
            " consumer_disconnected_timeout in rabbitmq.conf makes it less, see pvsim-cluster(7)"
        )
