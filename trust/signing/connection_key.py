"""The public key of a partner's connection: a point of P-256, in the trust root as hex, for Flower in PEM.

One spelling only, so that two partners cannot have the same key in two spellings: the DER of a SubjectPublicKeyInfo
with an uncompressed point, 91 bytes.  Source: RFC 5480, sections 2.1.1.1 and 2.2.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from trust.errors import InvalidInput

__all__ = ["connection_hex", "connection_pem", "is_connection_key"]

_KEY_FORM = "a public key on the curve P-256 (SubjectPublicKeyInfo)"


def is_connection_key(text: str) -> bool:
    """Whether a text is the hex of such a key, in its one spelling."""
    try:
        return _hex(load_der_public_key(bytes.fromhex(text))) == text
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def connection_hex(pem: bytes) -> str:
    """The hex of a key in PEM.  Raises: InvalidInput for any other key."""
    try:
        return _hex(load_pem_public_key(pem))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInput("a connection's key that is not a key of P-256", expected=f"{_KEY_FORM}, in PEM") from None


def connection_pem(text: str) -> bytes:
    """The PEM of a key in hex.  Raises: InvalidInput for any other key."""
    if not is_connection_key(text):
        raise InvalidInput("a connection's key that is not a key of P-256", expected=f"{_KEY_FORM}, DER in hex")
    return load_der_public_key(bytes.fromhex(text)).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _hex(key: object) -> str:
    """Raises: ValueError for a key of another kind or curve."""
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("another curve")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
