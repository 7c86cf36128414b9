"""The bytes of the protocol: frames, digests and keys.  docs/protocol.md, 1 and 2.

Every hash, signature and key is over a frame: a label and parts, each behind its length.  So no two different
lists of parts give the same bytes, and a signature made for one purpose means nothing for another.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = [
    "Label",
    "be32",
    "context",
    "frame",
    "hashed",
    "is_name",
    "mask_seed",
    "pair_key",
    "question_digest",
    "ratchet",
    "state_bytes",
    "transcript",
]

Label: TypeAlias = Literal[
    "approve", "transcript", "pair", "next", "mask", "context", "plan", "upload", "record", "values", "message"
]

_PREFIX = b"dt-sum-1/"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DTYPES = frozenset({"bool", "uint8", "int32", "int64", "float32", "float64"})


def be32(number: int) -> bytes:
    """`number` as 4 bytes, big-endian.  Raises: OverflowError outside 0 to 2^32 - 1."""
    return number.to_bytes(4, "big")


def frame(label: Label, *parts: bytes | str) -> bytes:
    """`label` and `parts`, each behind its length: one list of parts, one byte string.

    Raises: UnicodeEncodeError for text that is not ASCII.
    """
    raw = [_PREFIX + label.encode("ascii"), *(p.encode("ascii") if isinstance(p, str) else p for p in parts)]
    return b"".join(be32(len(p)) + p for p in raw)


def hashed(label: Label, *parts: bytes | str) -> bytes:
    """`H` of the protocol: SHA-256 of the frame, 32 bytes."""
    return hashlib.sha256(frame(label, *parts)).digest()


def is_name(text: object) -> bool:
    """Whether `text` may name a partner: 1 to 63 of a-z, 0-9 and `-`, not starting with `-`."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def transcript(mandate: bytes, root: bytes, keys: Mapping[str, bytes]) -> bytes:
    """`T`: binds mandate, trust root, names and ephemeral keys, in the order of names.

    `mandate` and `root` are SHA-256 digests of the bytes as received, `keys` maps a partner to its 32-byte key.
    """
    return hashed("transcript", mandate, root, *(part for name in sorted(keys) for part in (name, keys[name])))


def pair_key(transcript: bytes, shared: bytes, first_name: str, second_name: str) -> bytes:
    """`K_ij[0]`, 32 bytes, from the X25519 result `shared`.

    The two names go into the derivation: a partner that signs a copy of another's key gets unrelated pair keys, so
    its masks do not cancel its victim's.
    """
    info = frame("pair", *sorted((first_name, second_name)))
    return HKDF(hashes.SHA256(), 32, salt=transcript, info=info).derive(shared)


def ratchet(key: bytes) -> bytes:
    """`K[r+1]` from `K[r]`; there is no way back."""
    return hmac.digest(key, frame("next"), "sha256")


def mask_seed(key: bytes, ctx: bytes) -> bytes:
    """`s_ij`: the 32-byte seed of one pair's mask in one sum."""
    return hmac.digest(key, frame("mask", ctx), "sha256")


def question_digest(plan: bytes, state: bytes) -> bytes:
    """What is asked: the plan's canonical bytes and the state it is asked about."""
    return hashed("plan", plan, hashlib.sha256(state).digest())


def context(transcript: bytes, r: int, question_digest: bytes, partners: Iterable[str]) -> bytes:
    """`ctx`: one sum, one question, one partner set.  Masks cancel only where all of it is the same."""
    return hashed("context", transcript, be32(r), question_digest, *partners)


def state_bytes(values: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The values that one analysis asks about, as bytes, in the order of their names.  docs/formats.md, 6.

    One frame a value: name, dtype's numpy name, shape as big-endian u32s, contents row after row, little-endian.
    Raises: ValueError for a dtype outside bool, uint8, int32, int64, float32, float64.
    """
    return b"".join(_value(name, np.asarray(values[name])) for name in sorted(values))


def _value(name: str, value: npt.NDArray[Any]) -> bytes:
    if value.dtype.name not in _DTYPES:
        raise ValueError(f"{name}: values of dtype {value.dtype.name}, expected one of {', '.join(sorted(_DTYPES))}")
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return frame("values", name, value.dtype.name, b"".join(map(be32, value.shape)), little.tobytes())
