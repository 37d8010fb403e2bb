"""What goes wrong with a connection, in sentences: what pika raises, translated at this edge."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Any, NamedTuple

import pika.adapters.utils.connection_workflow as workflow
import pika.exceptions as errors

from pvsim.broker import tls
from pvsim.config import Address, BrokerSettings
from pvsim.errors import BrokerError, ConfigError
from pvsim.foreign import foreign

NAME, TCP, TLS, AMQP, LOGIN, VIRTUAL_HOST, USE = "name", "TCP", "TLS", "AMQP", "login", "virtual host", "use"
ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, INTERNAL_ERROR = 403, 404, 406, 541  # AMQP 0-9-1, section 1.2
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}
_TLS_REASON = re.compile(r"\[SSL: (\w+)")


class Trouble(NamedTuple):
    """Why there is no connection: the step that fails, and a sentence.

    `is_cheap`: it was refused at once, so that trying again soon costs nothing.
    """

    step: str
    sentence: str
    is_cheap: bool = False


def explain(reason: Exception, settings: BrokerSettings, address: Address, received: bytes = b"") -> Trouble:
    """What went wrong with a connection, in a sentence. `received`: bytes of the broker that are no AMQP (yet)."""
    where = f"the broker at {address}"
    cause = _cause(reason)
    if isinstance(cause, ConfigError):
        return Trouble(TLS, str(cause))
    if isinstance(cause, BrokerError):
        return Trouble(USE, f"Connects again to {where}: {cause}.", True)
    if isinstance(cause, ssl.SSLError):
        return Trouble(TLS, tls.explain(cause, where, address, settings))
    if isinstance(cause, socket.gaierror):
        return Trouble(NAME, f"Cannot find {address.host}: {cause.strerror}; look at host in {settings.source}.")
    if isinstance(cause, OSError):
        return Trouble(TCP, _unreachable(cause, where, settings), isinstance(cause, ConnectionRefusedError))
    return _explain_amqp(cause, settings, address, received)


def _explain_amqp(cause: BaseException, settings: BrokerSettings, address: Address, received: bytes) -> Trouble:
    where = f"the broker at {address}"
    if isinstance(cause, errors.ProbableAuthenticationError | errors.AuthenticationError):
        return Trouble(LOGIN, _refused_login(where, settings))
    if isinstance(cause, errors.ProbableAccessDeniedError):
        return Trouble(VIRTUAL_HOST, _refused_virtual_host(str(cause), where, settings))
    if isinstance(cause, errors.IncompatibleProtocolError | errors.ProtocolSyntaxError):
        if match := _TLS_REASON.search(str(cause)):  # one that came after the handshake: pika keeps its text alone
            return Trouble(TLS, tls.explain_reason(match[1], where, settings))
        return Trouble(AMQP, _no_amqp(address, received, settings))
    if isinstance(cause, errors.ConnectionClosed | errors.ChannelClosed):
        if cause.reply_code == ACCESS_REFUSED:
            return Trouble(USE, f"No permission at {where}: {refusal(cause, settings)}", True)
        return Trouble(USE, f"Lost {where}: {cause.reply_code} {foreign(cause.reply_text)}{_mend(cause)}.", True)
    if isinstance(cause, workflow.AMQPConnectorStackTimeout | errors.ConnectionOpenAborted):
        seconds = settings.connect_timeout_s
        return Trouble(
            AMQP, f"No answer from {where} within {seconds} s; look at host, port and tls in {settings.source}."
        )
    if isinstance(cause, errors.AMQPHeartbeatTimeout):
        return Trouble(AMQP, f"Lost {where}: it did not answer in time; look whether it runs.", True)
    if isinstance(cause, errors.StreamLostError):
        return Trouble(AMQP, f"Lost {where}: the connection broke.", True)
    return Trouble(AMQP, f"Cannot use {where}: {foreign(cause) or type(cause).__name__}.")


def _mend(reason: Exception) -> str:
    """RabbitMQ may keep a part of a deleted quorum queue (seen with 3.10): nobody can declare the queue anew then."""
    if getattr(reason, "reply_code", 0) == INTERNAL_ERROR and "cluster_not_formed" in getattr(reason, "reply_text", ""):
        return "; if this goes on, restart the broker: it has kept a part of a deleted queue of this name"
    return ""


def _unreachable(error: OSError, where: str, settings: BrokerSettings) -> str:
    text = error.strerror or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        text = f"no answer within {settings.connect_timeout_s} s"
    return f"Cannot reach {where}: {text}; look whether it runs, and at host and port in {settings.source}."


def _refused_login(where: str, settings: BrokerSettings) -> str:
    if settings.external:
        return (
            f"Refused login by certificate by {where}; look at cert_file in {settings.source}, and whether the broker"
            " has the user and the plugin rabbitmq_auth_mechanism_ssl."
        )
    return f"Refused login as {settings.username!r} by {where}; look at username and password in {settings.source}."


def _refused_virtual_host(text: str, where: str, settings: BrokerSettings) -> str:
    virtual_host = settings.virtual_host
    if "not found" in text:
        return f"No virtual host {virtual_host!r} at {where}; look at virtual_host in {settings.source}."
    if "limit" in text:  # of connections, for this virtual host or node
        return f"Refused virtual host {virtual_host!r} by {where}: {_words(text)}."
    return (
        f"Refused virtual host {virtual_host!r} by {where}; look at virtual_host in {settings.source}, and at"
        f" rabbitmqctl list_permissions -p {virtual_host}."
    )


def _words(text: str) -> str:
    """What the broker says, without the code and the class that pika puts around it."""
    match = re.search(r"(?:NOT_ALLOWED|ACCESS_REFUSED|RESOURCE_ERROR) - (.*?)[\"']?\)?$", text, re.DOTALL)
    return match[1] if match else text.rstrip(".")


def _no_amqp(address: Address, received: bytes, settings: BrokerSettings) -> str:
    if received[:1] == b"\x15":  # a TLS alert (RFC 8446, section 5.1)
        return f"TLS is spoken at {address}, and not plain AMQP; give tls = yes in {settings.source}, or another port."
    if settings.tls:  # it may refuse our certificate without the time to say so
        return (
            f"The broker at {address} hangs up as soon as TLS is set up; look at port, cert_file and key_file in"
            f" {settings.source}, and into the broker's log."
        )
    return f"No AMQP broker answers at {address}; look at host, port and tls in {settings.source}."


def refusal(reason: Exception, settings: BrokerSettings) -> str:
    """The broker's words on what it does not allow, and what to look at."""
    text = foreign(getattr(reason, "reply_text", reason)).removeprefix("ACCESS_REFUSED - ")
    if getattr(reason, "reply_code", 0) == ACCESS_REFUSED:
        return f"{text}; look at rabbitmqctl list_permissions -p {settings.virtual_host}."
    return f"{text}{_mend(reason)}."


def blocked_reason(frame: Any) -> str:
    """Why a broker takes nothing now (connection.blocked)."""
    return foreign(frame.method.reason) or "it does not say why"


def _cause(reason: BaseException) -> BaseException:
    """The innermost of the errors that pika wraps into each other; of several addresses, the most telling one."""
    several = [_cause(each) for each in getattr(reason, "exceptions", None) or []]
    inner = several or [
        _cause(each) for each in (getattr(reason, "exception", None), *reason.args) if isinstance(each, BaseException)
    ]
    return max(inner or [reason], key=_telling)


def _telling(cause: BaseException) -> int:
    """How much a reason says of the broker: one that answers more than one that refuses, and that than no way to it."""
    if isinstance(cause, OSError) and cause.errno in _NO_WAY:
        return 0
    return 1 if isinstance(cause, ConnectionRefusedError) else 2
