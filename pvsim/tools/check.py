"""`pvsim check`: does the broker work as it is configured? Each step is tried and printed; one that fails says why.

Name, TCP and TLS are tried here with plain sockets, which tell more than a connection that just comes up or does not.
What needs AMQP is tried by pvsim.broker.trial, in the way in which the services use it.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pvsim import config
from pvsim.broker import tls, trouble
from pvsim.broker.trial import Trial, TrialError
from pvsim.broker.trouble import explain
from pvsim.config import Address, BrokerSettings
from pvsim.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """The command line of `pvsim check`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help="try whether the broker works as it is configured",
        description=(
            "Try the broker step by step, up to a message on a queue of its own, which is removed. The exit status is"
            " 0 if all is well at every address, 1 if anything fails, 78 if the configuration is wrong."
        ),
    )
    config.add_broker_option(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Print every step for every address; the exit status. ConfigError: the configuration itself is wrong."""
    settings = config.load_broker(options.configuration_file)
    context = tls.context(settings) if settings.tls else None
    _say(f"{settings.source}: {_summary(settings)}")
    failed = [address for address in settings.addresses if not _check(settings, address, context)]
    return 1 if failed else 0


def _summary(settings: BrokerSettings) -> str:
    login = "login by certificate" if settings.external else f"user {settings.username!r}"
    secured = "TLS" if settings.tls else "no TLS"
    return f"{secured}, {login}, virtual host {settings.virtual_host!r}, {settings.queue_type} queues"


def _check(settings: BrokerSettings, address: Address, context: ssl.SSLContext | None) -> bool:
    """Try one address; whether all is well there."""
    _say(f"{address}")
    try:
        _check_network(settings, address, context)
        with closing(Trial(settings, address)) as trial:
            _check_amqp(settings, trial)
    except TrialError as error:
        if error.step == trouble.VIRTUAL_HOST:
            _ok(trouble.LOGIN, _user(settings))
        _say(f"  FAILED  {error.step}: {error}")
        return False
    except ConfigError as error:
        _say(f"  FAILED  {error}")
        return False
    return True


def _check_network(settings: BrokerSettings, address: Address, context: ssl.SSLContext | None) -> None:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        _ok(trouble.NAME, ", ".join(dict.fromkeys(str(each[4][0]) for each in found)))
        with socket.create_connection((address.host, address.port), settings.connect_timeout_s) as connection:
            _ok(trouble.TCP, f"connected to {connection.getpeername()[0]} port {address.port}")
            if context:
                with context.wrap_socket(connection, server_hostname=tls.server_name(address)) as secured:
                    _ok(trouble.TLS, _describe(secured, settings))
    except OSError as error:
        raise TrialError(explain(error, settings, address)) from None


def _check_amqp(settings: BrokerSettings, trial: Trial) -> None:
    product = trial.connect()
    _ok(trouble.LOGIN, f"{_user(settings)}, by {product}")
    _ok(trouble.VIRTUAL_HOST, settings.virtual_host)
    steps: dict[str, Callable[[], None]] = {
        f"declared the queue {trial.queue}": trial.declare,
        "published a message, which was confirmed": trial.publish,
        "consumed it": trial.consume,
        "removed the queue": trial.delete,
    }
    for what, step in steps.items():
        step()
        _ok(trouble.USE, what)


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


def _ok(step: str, what: str) -> None:
    _say(f"  ok      {step}: {what}")


def _say(text: str) -> None:
    print(text, flush=True)
