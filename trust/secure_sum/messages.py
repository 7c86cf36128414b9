"""What is signed: approvals, uploads and sum records.  docs/protocol.md, 1 and 2; docs/formats.md, 8."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trust.canonical import canonical
from trust.errors import MessageInvalid
from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import RecordInvalid, SecureSumError, UploadShape
from trust.secure_sum.frames import context, frame, is_name

__all__ = ["RECORD_SCHEMA", "Approval", "Context", "Record", "Upload", "commitment", "signature_is_valid"]

RECORD_SCHEMA: Final = "datatrust/sum-record/1"
_RECORD_FIELDS: Final = frozenset({"schema", "T", "r", "plan_digest", "U", "digests", "signatures", "total", "sig"})
_APPROVAL_FIELDS: Final = frozenset({"name", "E", "sig"})
_UPLOAD_FIELDS: Final = frozenset({"kind", "v", "T", "r", "ctx", "name", "sig"})
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")


def signature_is_valid(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is `key`'s over `message`; malformed is no."""
    try:
        key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Approval:
    """A partner's ephemeral X25519 key for one study, signed: `Ed25519(frame("approve", M, root, name, key))`."""

    name: str
    key: bytes
    sig: bytes

    @staticmethod
    def message(mandate: bytes, root: bytes, name: str, key: bytes) -> bytes:
        """The bytes that are signed."""
        return frame("approve", mandate, root, name, key)

    def document(self) -> dict[str, str]:
        """The approval as a JSON value."""
        return {"name": self.name, "E": self.key.hex(), "sig": self.sig.hex()}

    @classmethod
    def parse(cls, document: object) -> Approval:
        """An approval from an untrusted JSON value.  Its signature is not judged here.  Raises: MessageInvalid."""
        is_closed = isinstance(document, Mapping) and set(document) == _APPROVAL_FIELDS
        if not isinstance(document, Mapping) or not is_closed or not all(isinstance(v, str) for v in document.values()):
            raise MessageInvalid("an approval with missing or unknown fields", expected="name, E, sig")
        try:
            return cls(document["name"], bytes.fromhex(document["E"]), bytes.fromhex(document["sig"]))
        except ValueError:
            raise MessageInvalid("an approval that is not hex", expected="E and sig in hex") from None


@dataclass(frozen=True)
class Context:
    """One sum: study's transcript, number, question and partner set.  Two contexts never share a mask."""

    transcript: bytes
    r: int
    plan_digest: bytes
    partners: tuple[str, ...]

    @cached_property
    def digest(self) -> bytes:
        """`ctx`, 32 bytes."""
        return context(self.transcript, self.r, self.plan_digest, self.partners)


@dataclass(frozen=True)
class Upload:
    """A masked vector and its partner's signature: `Ed25519(frame("upload", ctx, name, SHA-256(body)))`."""

    transcript: bytes
    r: int
    ctx: bytes
    name: str
    sig: bytes
    body: bytes | memoryview

    @staticmethod
    def message(ctx: bytes, name: str, sha256: bytes) -> bytes:
        """The bytes that are signed."""
        return frame("upload", ctx, name, sha256)

    def header(self) -> dict[str, Any]:
        """The message's header; its body is the masked words."""
        return {
            "kind": "upload",
            "v": 1,
            "T": self.transcript.hex(),
            "r": self.r,
            "ctx": self.ctx.hex(),
            "name": self.name,
            "sig": self.sig.hex(),
        }

    @classmethod
    def parse(cls, header: object, body: bytes | memoryview, layout: Layout) -> Upload:
        """An upload from an untrusted header and body.  Its signature is not judged here.

        Raises: UploadShape for unknown or missing fields, wrong types and lengths, a body that is not `layout`'s.
        """
        fields = _closed_fields(header, _UPLOAD_FIELDS, UploadShape)
        if fields["kind"] != "upload" or type(fields["v"]) is not int or fields["v"] != 1:
            raise UploadShape("another kind or version", expected="an upload, version 1")
        layout.read(body)
        return cls(
            transcript=_hex(fields["T"], 32, UploadShape),
            r=_number(fields["r"], UploadShape),
            ctx=_hex(fields["ctx"], 32, UploadShape),
            name=_name(fields["name"], UploadShape),
            sig=_hex(fields["sig"], 64, UploadShape),
            body=body,
        )


def commitment(salt: bytes, total: bytes | memoryview) -> bytes:
    """What a record says of a total: HMAC-SHA256 under 32 random bytes that go to auditing nodes only.

    Records are public; a plain digest of a few small counts could be found again by trying them all.
    """
    return hmac.digest(salt, total, "sha256")


@dataclass(frozen=True)
class Record:
    """What the coordinator publishes of an opened sum: who took part and what was signed, no total.

    `digests` (SHA-256 of each upload) and `signatures` are in the order of `context.partners`; `total` is the
    commitment; `sig` the coordinator's `Ed25519(frame("record", SHA-256(canonical record without sig)))`.
    """

    context: Context
    digests: tuple[bytes, ...]
    signatures: tuple[bytes, ...]
    total: bytes
    sig: bytes = b""

    def _unsigned(self) -> dict[str, Any]:
        return {
            "schema": RECORD_SCHEMA,
            "T": self.context.transcript.hex(),
            "r": self.context.r,
            "plan_digest": self.context.plan_digest.hex(),
            "U": list(self.context.partners),
            "digests": [digest.hex() for digest in self.digests],
            "signatures": [sig.hex() for sig in self.signatures],
            "total": self.total.hex(),
        }

    def document(self) -> dict[str, Any]:
        """The record as a JSON value, signature included."""
        return {**self._unsigned(), "sig": self.sig.hex()}

    def message(self) -> bytes:
        """The bytes that the coordinator signs."""
        return frame("record", hashlib.sha256(canonical(self._unsigned())).digest())

    def signed(self, coordinator: Ed25519PrivateKey) -> Record:
        """The same record with the coordinator's signature."""
        return replace(self, sig=coordinator.sign(self.message()))

    @classmethod
    def parse(cls, document: object) -> Record:
        """A record from an untrusted JSON value.  Its signature is not judged here.  Raises: RecordInvalid."""
        fields = _closed_fields(document, _RECORD_FIELDS, RecordInvalid)
        if fields["schema"] != RECORD_SCHEMA:
            raise RecordInvalid("another schema", expected=RECORD_SCHEMA)
        partners, digests, signatures = (fields[field] for field in ("U", "digests", "signatures"))
        if not all(isinstance(field, list) for field in (partners, digests, signatures)):
            raise RecordInvalid("a field of another type", expected="arrays U, digests and signatures")
        if not len(partners) == len(digests) == len(signatures):
            raise RecordInvalid("arrays of different lengths", expected="one digest and one signature a partner")
        return cls(
            context=Context(
                transcript=_hex(fields["T"], 32, RecordInvalid),
                r=_number(fields["r"], RecordInvalid),
                plan_digest=_hex(fields["plan_digest"], 32, RecordInvalid),
                partners=tuple(_name(name, RecordInvalid) for name in partners),
            ),
            digests=tuple(_hex(digest, 32, RecordInvalid) for digest in digests),
            signatures=tuple(_hex(sig, 64, RecordInvalid) for sig in signatures),
            total=_hex(fields["total"], 32, RecordInvalid),
            sig=_hex(fields["sig"], 64, RecordInvalid),
        )


def _closed_fields(document: object, fields: frozenset[str], error: type[SecureSumError]) -> Mapping[str, Any]:
    if not isinstance(document, Mapping) or set(document) != fields:
        raise error("unknown or missing fields", expected=f"exactly {', '.join(sorted(fields))}")
    return document


def _hex(text: object, length: int, error: type[SecureSumError]) -> bytes:
    if not isinstance(text, str) or len(text) != 2 * length or not _HEX.fullmatch(text):
        raise error("a field that is not hex of its length", expected=f"{length} bytes in lower-case hex")
    return bytes.fromhex(text)


def _number(number: object, error: type[SecureSumError]) -> int:
    if type(number) is not int or not 0 <= number < 2**32:
        raise error("a sum number out of form", expected="0 to 2^32 - 1")
    return number


def _name(name: object, error: type[SecureSumError]) -> str:
    if not isinstance(name, str) or not is_name(name):
        raise error("a name out of form", expected="1 to 63 of a-z, 0-9 and -")
    return name
