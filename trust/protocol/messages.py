"""Messages between coordinator and nodes: `be32(len(h)) h body`.

`h` is canonical JSON of a closed kind; the body is raw little-endian words whose length follows from the plan.
Nothing on the wire is ever executed.  Format: docs/formats.md, 8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from trust.analyses.base import Arrays, Ask, Block, Sum, fits
from trust.canonical import canonical, parse
from trust.errors import MessageInvalid
from trust.secure_sum.frames import frame
from trust.signing.envelope import Signer, valid

__all__ = [
    "DOWN",
    "UP",
    "from_parts",
    "in_parts",
    "open_sealed",
    "pack",
    "pack_arrays",
    "pack_asks",
    "pack_signed",
    "seal",
    "unpack",
    "unpack_arrays",
    "unpack_asks",
    "unpack_signed",
]

DOWN = frozenset({"mandate", "start", "ask", "close"})
UP = frozenset({"approval", "ready", "upload", "refusal"})
VERSION = 1
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_LONGEST_HEADER_BYTES = 1 << 20
_LONGEST_BODY_BYTES = 1 << 31
_PART_BYTES = 1 << 23
_MOST_PARTS = 1 + (_LONGEST_BODY_BYTES >> 23)


def pack(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """One message.  `header` needs a `kind`; the version is added."""
    head = canonical({**header, "v": VERSION})
    return len(head).to_bytes(4, "big") + head + body


def unpack(
    raw: bytes, kinds: frozenset[str], *, longest_body: int = _LONGEST_BODY_BYTES
) -> tuple[dict[str, Any], bytes]:
    """Header and body of a message of one of these kinds.  Raises: MessageInvalid."""
    if len(raw) < 4:
        raise MessageInvalid(f"a message of {len(raw)} bytes", expected="at least 4")
    length = int.from_bytes(raw[:4], "big")
    if length > _LONGEST_HEADER_BYTES or 4 + length > len(raw):
        raise MessageInvalid(f"a header of {length} bytes in a message of {len(raw)}", expected="one that is whole")
    if len(raw) - 4 - length > longest_body:
        raise MessageInvalid(f"a body of {len(raw) - 4 - length} bytes", expected=f"at most {longest_body}")
    header = parse(raw[4 : 4 + length])
    is_readable = isinstance(header, dict) and type(header.get("v")) is int and header["v"] == VERSION
    if not is_readable or not isinstance(header.get("kind"), str) or header["kind"] not in kinds:
        raise MessageInvalid("a message of an unknown kind or version", expected=", ".join(sorted(kinds)))
    return header, raw[4 + length :]


def in_parts(raw: bytes) -> list[bytes]:
    """A message in parts of 8 MiB, for a transport that bounds what it carries at once; at least one part."""
    return [raw[offset : offset + _PART_BYTES] for offset in range(0, len(raw), _PART_BYTES)] or [b""]


def from_parts(parts: Sequence[Any]) -> bytes:
    """The inverse of `in_parts`; no bytes, which are not a message, where these are not parts of one."""
    if len(parts) > _MOST_PARTS or not all(isinstance(part, bytes) for part in parts):
        return b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def pack_signed(header: Mapping[str, Any], signer: Signer, body: bytes = b"") -> bytes:
    """A message with its sender's signature over the header and the body's SHA-256 (label `message`)."""
    signature = signer.sign(_signed_bytes({**header, "v": VERSION}, body))
    return pack({**header, "sig": signature.hex()}, body)


def unpack_signed(
    raw: bytes, kinds: frozenset[str], keys: Iterable[bytes], *, longest_body: int = _LONGEST_BODY_BYTES
) -> tuple[dict[str, Any], bytes]:
    """Header, without its signature, and body of a message that one of these keys has signed.

    Raises: MessageInvalid.
    """
    header, body = unpack(raw, kinds, longest_body=longest_body)
    check_signature(header, body, keys)
    return {name: value for name, value in header.items() if name != "sig"}, body


def check_signature(header: Mapping[str, Any], body: bytes, keys: Iterable[bytes]) -> None:
    """Raises: MessageInvalid unless one of these keys has signed header and body."""
    signature = header.get("sig")
    unsigned = {name: value for name, value in header.items() if name != "sig"}
    if not isinstance(signature, str) or not re.fullmatch(r"[0-9a-f]{128}", signature):
        raise MessageInvalid("a message without a signature", expected="its sender's")
    message = _signed_bytes(unsigned, body)
    if not any(valid(key, bytes.fromhex(signature), message) for key in keys):
        raise MessageInvalid("a message with another signature", expected="its sender's, over these bytes")


def _signed_bytes(header: Mapping[str, Any], body: bytes) -> bytes:
    return frame("message", canonical(dict(header)), hashlib.sha256(body).digest())


def seal(body: bytes, to: bytes, info: bytes) -> bytes:
    """Encrypt to one partner's X25519 key (HPKE base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305; RFC 9180)."""
    return _SUITE.encrypt(body, X25519PublicKey.from_public_bytes(to), info=info)


def open_sealed(sealed: bytes, key: X25519PrivateKey, info: bytes) -> bytes:
    """What was sealed to this key with the same `info`.  Raises: MessageInvalid."""
    try:
        return _SUITE.decrypt(sealed, key, info=info)
    except (InvalidTag, ValueError):
        raise MessageInvalid("a body that is not sealed to this partner", expected="HPKE to its key") from None


def pack_arrays(blocks: Sequence[Block], arrays: Arrays) -> bytes:
    """Blocks one after another: counts as int64, everything else as float64, little-endian, row-major."""
    return b"".join(
        np.ascontiguousarray(arrays[b.name], dtype="<i8" if b.encoding == "count" else "<f8").tobytes() for b in blocks
    )


def size(blocks: Sequence[Block]) -> int:
    """Length of `pack_arrays` in bytes, known before anything is read."""
    return 8 * sum(int(np.prod(b.shape, dtype=np.int64)) for b in blocks)


def unpack_arrays(blocks: Sequence[Block], raw: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The inverse of `pack_arrays`.  Raises: MessageInvalid for a wrong length or a value that is not finite."""
    if len(raw) != size(blocks):
        raise MessageInvalid(f"a body of {len(raw)} bytes", expected=f"{size(blocks)}")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    offset = 0
    for block in blocks:
        dtype = "<i8" if block.encoding == "count" else "<f8"
        entries = int(np.prod(block.shape, dtype=np.int64))
        arrays[block.name] = np.frombuffer(raw, dtype, entries, offset).reshape(block.shape)
        offset += 8 * entries
    fits(tuple(blocks), arrays)
    return arrays


def pack_asks(asks: Mapping[str, Ask], plans: Mapping[str, Mapping[str, Sum]]) -> tuple[dict[str, str], bytes]:
    """`{analysis: sum}` for the header, and the values asked for as the body, analyses in order of name."""
    body = b"".join(pack_arrays(plans[name][ask.sum].takes, ask.values) for name, ask in sorted(asks.items()))
    return {name: ask.sum for name, ask in asks.items()}, body


def unpack_asks(names: Any, raw: bytes, plans: Mapping[str, Mapping[str, Sum]]) -> tuple[dict[str, Ask], bytes]:
    """The inverse of `pack_asks`, held to the plan, and the bytes that follow.  Raises: MessageInvalid."""
    if not isinstance(names, dict) or not names:
        raise MessageInvalid("a question without a sum", expected="a sum for at least one analysis")
    asks: dict[str, Ask] = {}
    offset = 0
    for name, sum_name in sorted(names.items()):
        if name not in plans or not isinstance(sum_name, str) or sum_name not in plans[name]:
            raise MessageInvalid("a question that is not in the plan", expected="an analysis and a sum of the plan")
        takes = plans[name][sum_name].takes
        length = size(takes)
        asks[name] = Ask(sum_name, unpack_arrays(takes, raw[offset : offset + length]))
        offset += length
    return asks, raw[offset:]
