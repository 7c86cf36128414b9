"""Keys and certificates of a deployment on this machine, made for the occasion: an authority, the SuperLink's
certificate, one key for each node's connection, and the coordinator's secrets.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from trust.files import write_new

__all__ = ["certify"]

_DAYS = 30


def certify(folder: Path, partners: Iterable[str]) -> None:
    """Write them into a trust's folder, where `nodes/settings.py` and `coordinator/settings.py` read them.

    The authority's key is not kept.  Raises: OSError.
    """
    engine = folder / "coordinator" / "engine"
    (engine / "nodes").mkdir(mode=0o700, parents=True)
    authority, server = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    signed_by = _authority(authority)
    authority_file = signed_by.public_bytes(Encoding.PEM)
    write_new(engine / "ca.pem", authority_file, 0o600)
    write_new(engine / "server.pem", _server(server, authority, signed_by).public_bytes(Encoding.PEM), 0o600)
    write_new(engine / "server.key", _private(server), 0o600)
    write_new(engine / "control", secrets.token_urlsafe(32).encode("ascii"), 0o600)
    write_new(engine / "executor", secrets.token_bytes(32), 0o600)
    for name in partners:
        key, connection = generate_private_key(SECP256R1()), folder / "nodes" / name / "connection"
        connection.mkdir(mode=0o700)
        write_new(connection / "node.pem", _private(key), 0o600)
        write_new(connection / "ca.pem", authority_file, 0o600)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_new(engine / "nodes" / f"{name}.pem", public, 0o600)


def _private(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _authority(key: EllipticCurvePrivateKey) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _certificate("datatrust authority", key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, SHA256())
    )


def _server(key: EllipticCurvePrivateKey, by: EllipticCurvePrivateKey, signer: x509.Certificate) -> x509.Certificate:
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        _certificate("localhost", key, signer.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, SHA256())
    )


def _certificate(name: str, key: EllipticCurvePrivateKey, issuer: x509.Name | None = None) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
    )
