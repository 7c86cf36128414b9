"""Certificates by which a coordinator is known: an authority of its own, and the server's certificate that it signs.

Elliptic curve P-256 throughout, SHA-256; extensions as RFC 5280 asks for them, so that strict readers take them.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trust.errors import InvalidInput
from trust.files import write_new

__all__ = [
    "AUTHORITY_DAYS",
    "HERE",
    "SERVER_DAYS",
    "Authority",
    "certify",
    "names_of",
    "new_server_key",
    "write_secrets",
]

AUTHORITY_DAYS, SERVER_DAYS = 3652, 397
"""How long they hold: ten years; as long as browsers take a server's."""
HERE = ("localhost", "127.0.0.1", "::1")
"""Names that every server's certificate has: its own processes reach it under them."""
_DEMO_DAYS = 30
_LONGEST_NAME = 253


@dataclass(frozen=True)
class Authority:
    """A key and its certificate, which sign servers' certificates and nothing else."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, now: datetime, days: int = AUTHORITY_DAYS) -> Authority:
        """A new one."""
        key = generate_private_key(SECP256R1())
        certificate = (
            _builder("datatrust authority", key, now, now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def read(cls, key: EllipticCurvePrivateKey, certificate: bytes) -> Authority:
        """From its files.  Raises: InvalidInput where they do not belong together."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
        except ValueError:
            raise InvalidInput(
                "the authority's certificate is not a certificate in PEM", remedy="put it back"
            ) from None
        if parsed.public_key() != key.public_key():
            raise InvalidInput("the authority's key is not that of its certificate", remedy="put both back")
        return cls(key, parsed)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def server(
        self, key: EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime, days: int = SERVER_DAYS
    ) -> bytes:
        """A server's certificate in PEM, for these names and addresses and for `HERE`; never longer than the authority.

        Raises: InvalidInput for what is neither a name nor an address, and once the authority has expired.
        """
        ends = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        if ends <= now:
            raise InvalidInput(
                "the authority's certificate has expired",
                remedy="set up the coordinator again, and hand out the new invitation",
            )
        names = [_name(host) for host in dict.fromkeys((*hosts, *HERE))]
        return (
            _builder("datatrust coordinator", key, now, ends, self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, SHA256())
            .public_bytes(Encoding.PEM)
        )


def new_server_key() -> EllipticCurvePrivateKey:
    """A key for a server's certificate."""
    return generate_private_key(SECP256R1())


def names_of(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that a server's certificate is for, without those of this machine itself."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names_found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return [name for name in names_found if name not in HERE]


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    """A key in PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_secrets(engine: Path) -> None:
    """What the SuperLink knows the coordinator by, new; `superlink.py` reads it.  Raises: OSError."""
    write_new(engine / "control", secrets.token_urlsafe(32).encode("ascii"), 0o600)
    write_new(engine / "executor", secrets.token_bytes(32), 0o600)


def certify(folder: Path, partners: Iterable[str]) -> None:
    """All that a deployment on this machine needs, made for the occasion, one key for each node's connection among it;
    where `nodes/settings.py` and `coordinator/settings.py` read it.

    The authority's key is not kept.  Raises: OSError.
    """
    engine, now = folder / "coordinator" / "engine", datetime.now(UTC)
    for folder_ in (engine.parent, engine):  # with `parents` the mode is that of the last one alone
        folder_.mkdir(mode=0o700, exist_ok=True)
    (engine / "nodes").mkdir(mode=0o700)
    authority, server = Authority.make(now, _DEMO_DAYS), new_server_key()
    write_new(engine / "ca.pem", authority.pem, 0o600)
    write_new(engine / "server.pem", authority.server(server, (), now, _DEMO_DAYS), 0o600)
    write_new(engine / "server.key", private_pem(server), 0o600)
    write_secrets(engine)
    for name in partners:
        key, connection = generate_private_key(SECP256R1()), folder / "nodes" / name / "connection"
        connection.mkdir(mode=0o700)
        write_new(connection / "node.pem", private_pem(key), 0o600)
        write_new(connection / "ca.pem", authority.pem, 0o600)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_new(engine / "nodes" / f"{name}.pem", public, 0o600)


def _name(host: str) -> x509.GeneralName:
    """Raises: InvalidInput."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.removesuffix(".").split(".")
    fitting = all(label and len(label) < 64 and label.replace("-", "a").isalnum() for label in labels)
    if not fitting or not host.isascii() or len(host) > _LONGEST_NAME or labels[-1].isdigit():
        raise InvalidInput(f"the host {host[:80]!r}", expected="a name such as trust.example, or an address")
    return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    name: str, key: EllipticCurvePrivateKey, now: datetime, ends: datetime, issuer: x509.Name | None = None
) -> x509.CertificateBuilder:
    """Valid from a day ago on: not every clock is right."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(ends)
    )
