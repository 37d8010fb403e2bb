"""Certificates for tests, of an authority that is made for them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Span(NamedTuple):
    """From when to when a certificate is valid, in days from now."""

    first: int = -1
    last: int = 30


MONTH = Span()


class Authority:
    """An authority that signs certificates; its own is in `ca_file`."""

    def __init__(self, directory: Path, name: str = "tests") -> None:
        self.ca_file = directory / f"{name}.ca.pem"
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"{name} authority")
        self._certificate = self._sign(self._name, self._key, Span(), x509.BasicConstraints(ca=True, path_length=None))
        self.ca_file.write_bytes(_pem(self._certificate))

    def issue(self, name: str, hosts: Sequence[str] = (), span: Span = MONTH) -> tuple[Path, Path]:
        """A certificate and its key for a common name, valid for these names and addresses; their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        others = [x509.SubjectAlternativeName([_general(host) for host in hosts])] if hosts else []
        certificate = self._sign(_named(name), key, span, *others)
        cert_file, key_file = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert_file.write_bytes(_pem(certificate))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    @staticmethod
    def lock(key_file: Path, locked_file: Path) -> None:
        """Write a key, encrypted."""
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(b"password")
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        locked_file.write_bytes(pem)

    def furnish(self, directory: Path, hosts: Sequence[str], span: Span = MONTH) -> Path:
        """A directory with what a node needs for TLS."""
        directory.mkdir(exist_ok=True)
        cert_file, key_file = self.issue("broker", hosts, span)
        for path, name in (self.ca_file, "ca.pem"), (cert_file, "cert.pem"), (key_file, "key.pem"):
            (directory / name).write_bytes(path.read_bytes())
        return directory

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, span: Span, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + span.first * DAY)
            .not_valid_after(now + span.last * DAY)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
