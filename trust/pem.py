"""Private keys in files that no passphrase closes, as a machine that starts by itself needs them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trust.errors import InvalidInput

__all__ = ["read_curve", "read_sealing", "read_secret", "read_signing"]


def read_secret(path: Path) -> bytes:
    """The bytes of a file that only its owner may read.  Raises: InvalidInput."""
    try:
        raw = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be read ({wrong.strerror})", remedy="put it back") from None
    if os.name == "posix" and mode & 0o077:
        raise InvalidInput(
            f"{str(path)!r} is open to others (mode {mode:04o})",
            expected="mode 0600",
            remedy=f"chmod 600 {path}",
        )
    return raw


def read_signing(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key of a PEM file.  Raises: InvalidInput."""
    key = _read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise _other_kind(path, "Ed25519")
    return key


def read_sealing(path: Path) -> X25519PrivateKey:
    """The X25519 key of a PEM file.  Raises: InvalidInput."""
    key = _read(path)
    if not isinstance(key, X25519PrivateKey):
        raise _other_kind(path, "X25519")
    return key


def read_curve(path: Path) -> EllipticCurvePrivateKey:
    """The key on a NIST curve of a PEM file, as TLS uses them.  Raises: InvalidInput."""
    key = _read(path)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _other_kind(path, "P-256")
    return key


def _read(path: Path) -> object:
    try:
        return load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _other_kind(path: Path, kind: str) -> InvalidInput:
    return InvalidInput(f"{str(path)!r} is no key of this kind", expected=f"{kind} in PEM, not encrypted")
