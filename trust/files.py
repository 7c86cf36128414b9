"""Files that a process reads by itself when it starts: signed documents, and keys that no passphrase closes.

And how a file is written so that it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trust.canonical import parse
from trust.errors import InvalidInput, MessageInvalid
from trust.signing import Envelope

__all__ = [
    "closed_to_others",
    "lock",
    "read_curve",
    "read_envelope",
    "read_file",
    "read_roots",
    "read_sealing",
    "read_secret",
    "read_signing",
    "write_new",
]


def read_file(path: Path) -> bytes:
    """The bytes of a file.  Raises: InvalidInput."""
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{str(path)!r} cannot be read ({wrong.strerror})", remedy="put it back") from None


def read_envelope(path: Path) -> Envelope:
    """A signed document in canonical JSON; nothing in it is verified.  Raises: InvalidInput."""
    try:
        return Envelope.read(parse(read_file(path).strip()))
    except MessageInvalid as wrong:
        raise InvalidInput(
            f"{str(path)!r}: {wrong.got}", expected=wrong.expected or "a signed trust root", remedy="put it back"
        ) from None


def read_roots(folder: Path) -> tuple[Envelope, ...]:
    """Every signed version of a trust root, `1.json`, `2.json`, …, in order.  Raises: InvalidInput."""
    files = sorted(folder.glob("*.json"), key=lambda path: (len(path.name), path.name))
    return tuple(map(read_envelope, files))


# ---- secrets


def closed_to_others(path: Path, mode: int) -> None:
    """Raises: InvalidInput for a secret's file that group or others may open."""
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise InvalidInput(
            f"{str(path)!r} is open to others (mode {stat.S_IMODE(mode):04o})",
            expected="a file that only its owner can read",
            remedy=f"chmod 600 {path}",
        )


def read_secret(path: Path) -> bytes:
    """The bytes of a file that only its owner may read.  Raises: InvalidInput."""
    raw = read_file(path)
    closed_to_others(path, path.stat().st_mode)
    return raw


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
    return InvalidInput(f"{str(path)!r} is no key of this kind", expected=f"{kind} in PEM, not encrypted")


# ---- writing


def lock(file: int, patience: float = 1.0) -> bool:
    """Take the lock (flock(2)) of an open file; whether it could be had within so many seconds: a process that is being
    killed, or somebody who looks whether it is held, may have it for a moment.
    """
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """The whole file under its name and on the disk, or none; never over another.  Raises: OSError."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(unfinished)  # unlike a rename, this fails where the name is taken
        except FileExistsError:
            raise
        except OSError:  # a memory stick's file system has no links
            if path.exists():
                raise
            unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
