"""Signed documents and keys that no passphrase closes, from their files."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trust.canonical import parse
from trust.errors import InvalidInput, MessageInvalid
from trust.files import read_file, read_secret
from trust.signing.envelope import Envelope

__all__ = ["read_curve", "read_envelope", "read_roots", "read_sealing", "read_signing"]


def read_envelope(path: Path) -> Envelope:
    """A signed document in canonical JSON; nothing in it is verified.  Raises: InvalidInput."""
    try:
        return Envelope.read(parse(read_file(path).strip()))
    except MessageInvalid as wrong:
        raise InvalidInput(
            f"{str(path)!r}: {wrong.text}", expected=wrong.expected or "a signed trust root", remedy="put it back"
        ) from None


def read_roots(folder: Path) -> tuple[Envelope, ...]:
    """Every signed version of a trust root, `1.json`, `2.json`, …, in order.  Raises: InvalidInput."""
    files = sorted(folder.glob("*.json"), key=lambda path: (len(path.name), path.name))
    return tuple(map(read_envelope, files))


def read_signing(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key of a PEM file.  Raises: InvalidInput."""
    key = _read_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise _other_kind(path, "Ed25519")
    return key


def read_sealing(path: Path) -> X25519PrivateKey:
    """The X25519 key of a PEM file.  Raises: InvalidInput."""
    key = _read_key(path)
    if not isinstance(key, X25519PrivateKey):
        raise _other_kind(path, "X25519")
    return key


def read_curve(path: Path) -> EllipticCurvePrivateKey:
    """The key on a NIST curve of a PEM file, as TLS uses them.  Raises: InvalidInput."""
    key = _read_key(path)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _other_kind(path, "P-256")
    return key


def _read_key(path: Path) -> object:
    try:
        return load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _other_kind(path: Path, kind: str) -> InvalidInput:
    return InvalidInput(f"{str(path)!r} is not a key of this kind", expected=f"{kind} in PEM, not encrypted")
