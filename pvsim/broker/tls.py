"""TLS to the broker: what the ssl module is told, and what it says, in words.

The files are read anew for each connection: a certificate that is renewed counts from the next one on.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from pvsim.config import Address, BrokerSettings
from pvsim.errors import ConfigError

_UNKNOWN_AUTHORITY = {18, 19, 20, 21}  # X509_V_ERR_…, in verify(1)
_OTHER_NAME = {62, 64}
_TIME = {9: "is not valid yet", 10: "has expired"}


def context(settings: BrokerSettings) -> ssl.SSLContext:
    """What these settings ask for; ConfigError if a file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not settings.verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if settings.ca_file:
        _load_authorities(made, settings, settings.ca_file)
    else:
        made.set_default_verify_paths()
    if settings.cert_file:
        _load_certificate(made, settings, settings.cert_file, settings.key_file)
    return made


def server_name(address: Address) -> str:
    """The name or IP address that the broker's certificate has to be made for."""
    return address.host.partition("%")[0].rstrip(".")


def explain(error: ssl.SSLError, where: str, address: Address, settings: BrokerSettings) -> str:
    """A sentence on why TLS fails; `where` names the broker."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, where, address, settings)
    if error.reason:
        return explain_reason(error.reason, where, settings)
    return f"TLS with {where} fails: {error}; look at port and tls in {settings.source}."


def explain_reason(reason: str, where: str, settings: BrokerSettings) -> str:
    """A sentence on a reason as OpenSSL names it, in capital letters."""
    words = reason.replace("_", " ").lower()
    if reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return f"No TLS is spoken by {where}; look at port and tls in {settings.source}."
    if "ALERT" in reason:
        return (
            f"TLS is refused by {where}: {words}; look at cert_file and key_file in {settings.source}, at the"
            " authorities that the broker trusts, and into its log."
        )
    return f"TLS with {where} fails: {words}; look at port and tls in {settings.source}, and into the broker's log."


def _untrusted(error: ssl.SSLCertVerificationError, where: str, address: Address, settings: BrokerSettings) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        trusted = settings.ca_file or "the system's authorities"
        why = f"is not signed by a trusted authority ({error.verify_message})"
        return f"The certificate of {where} {why}; look at {trusted}, and at ca_file in {settings.source}."
    if error.verify_code in _OTHER_NAME:
        return (
            f"The certificate of {where} is not made for {server_name(address)}; look at host in {settings.source},"
            " or give the broker a certificate with that name."
        )
    if error.verify_code in _TIME:
        return (
            f"The certificate of {where} {_TIME[error.verify_code]}; renew it there, and look at the clocks of both"
            " machines."
        )
    return f"The certificate of {where} is not valid: {error.verify_message}; look at it there."


def _load_authorities(made: ssl.SSLContext, settings: BrokerSettings, path: Path) -> None:
    _check_readable("ca_file", path, settings)
    try:
        made.load_verify_locations(path)
    except ssl.SSLError:
        raise _wrong("ca_file", path, settings, "holds no certificate; give one or more in PEM.") from None


def _load_certificate(made: ssl.SSLContext, settings: BrokerSettings, path: Path, key: Path | None) -> None:
    _check_readable("cert_file", path, settings)
    if key:
        _check_readable("key_file", key, settings)
    try:
        made.load_cert_chain(path, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong("key_file", key or path, settings, f"is not the key of {path}; give the right one.") from None
        missing = f"and {key} do not hold" if key else "does not hold"
        raise _wrong("cert_file", path, settings, f"{missing} a certificate and its key, in PEM.") from None


def _no_password() -> str:
    raise ConfigError(
        "The key of cert_file is encrypted, and a service cannot ask for its password; give a key without one."
    )


def _check_readable(name: str, path: Path, settings: BrokerSettings) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}; give a file that this user may read."
        raise _wrong(name, path, settings, reason) from None


def _wrong(name: str, path: Path, settings: BrokerSettings, what: str) -> ConfigError:
    return ConfigError(f"{settings.source}: [broker] {name}: {path} {what}")
