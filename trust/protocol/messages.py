"""Messages between coordinator and nodes: `be32(len(h)) h body`.

`h` is canonical JSON of a closed kind; the body is raw little-endian words whose length follows from the plan.
Nothing on the wire is ever executed.  Format: docs/formats.md, 8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, model_validator

from trust.canonical import Model, canonical, parse, read_model
from trust.errors import MessageInvalid, Refused
from trust.secure_sum import Approval
from trust.secure_sum.frames import frame
from trust.signing.envelope import Envelope, Signer, valid

__all__ = [
    "DOWN",
    "UP",
    "ApprovalMessage",
    "AskMessage",
    "CloseMessage",
    "CoordinatorMessage",
    "MandateMessage",
    "Message",
    "RawMessage",
    "ReadyMessage",
    "RefusalMessage",
    "StartMessage",
    "check_signature",
    "open_sealed",
    "pack",
    "pack_signed",
    "seal",
    "unpack",
]

DOWN = frozenset({"mandate", "start", "ask", "close"})
UP = frozenset({"approval", "ready", "upload", "refusal"})
VERSION: Literal[1] = 1
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_LONGEST_HEADER_BYTES = 1 << 20
_LONGEST_BODY_BYTES = 1 << 31
_LONGEST_REFUSAL_TEXT = 500
"""Characters of each text of a refusal that are read: the texts of rules are shorter."""


# ---- what each message holds


class Message(Model):
    """Base of the messages: closed, each of one kind.  The eighth, an upload, is `trust.secure_sum.Upload`."""

    kind: str
    v: Literal[1] = VERSION
    has_body: ClassVar[bool] = False

    def pack(self, body: bytes = b"") -> bytes:
        """The bytes of a message that carries a signature among its fields."""
        return pack(self.document(), body)

    def pack_signed(self, signer: Signer, body: bytes = b"") -> bytes:
        """The bytes of a message, with its sender's signature."""
        return pack_signed(self.document(), signer, body)


M = TypeVar("M", bound=Message)


class RawMessage(NamedTuple):
    """A message whose kind and version are known: its signature and its fields are to be checked, in this order."""

    header: dict[str, Any]
    body: bytes

    @property
    def kind(self) -> str:
        """One of `DOWN` or of `UP`."""
        return str(self.header["kind"])

    def check_signature(self, keys: Iterable[bytes]) -> None:
        """Raises: MessageInvalid unless one of these keys has signed header and body."""
        check_signature(self.header, self.body, keys)

    def read(self, model: type[M]) -> M:
        """Exactly the fields of this message, and no body where none belongs.  Raises: MessageInvalid."""
        fields = {name: value for name, value in self.header.items() if name != "sig" or name in model.model_fields}
        if self.body and not model.has_body:
            raise MessageInvalid(f"a message with {len(self.body)} bytes too many", expected="no body")
        return read_model(model, fields, MessageInvalid, "the message")


def _read_approval(value: Any) -> Approval:
    return value if isinstance(value, Approval) else Approval.parse(value)


def _check_partners(names: tuple[str, ...]) -> tuple[str, ...]:
    if list(names) != sorted(set(names)):
        raise ValueError("partners that are not in order, each once")
    return names


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SignedApproval = Annotated[Approval, PlainValidator(_read_approval), PlainSerializer(Approval.document)]


class CoordinatorMessage(Message):
    """Base of what goes to nodes: newer trust roots and revocations may be in each of them."""

    roots: tuple[Envelope, ...] | None = Field(default=None, max_length=100)
    revocations: tuple[Envelope, ...] | None = Field(default=None, max_length=100)


class MandateMessage(CoordinatorMessage):
    """A study begins: mandate and study as they were signed.

    Attributes:
        head: the last checkpoint of this node's journal that is in the register.
    """

    kind: Literal["mandate"] = "mandate"
    mandate: Envelope
    study: Envelope
    head: str | None = None


class StartMessage(CoordinatorMessage):
    """The set of partners is fixed: the approval of each."""

    kind: Literal["start"] = "start"
    mandate: Digest
    approvals: tuple[SignedApproval, ...] = Field(max_length=1000)


class AskMessage(CoordinatorMessage):
    """One sum.  Body: the values asked for, then what is sealed to this node.

    Attributes:
        r: number of the sum.
        asks: analysis -> its sum.
        record: of the last sum, where the node must see its total; `to` names the node that it is sealed to.
    """

    has_body: ClassVar[bool] = True
    kind: Literal["ask"] = "ask"
    mandate: Digest
    r: int = Field(strict=True, ge=0, lt=2**32)
    asks: dict[str, str]
    partners: Annotated[tuple[str, ...], AfterValidator(_check_partners)]
    record: Any = None
    to: str | None = None

    @model_validator(mode="after")
    def _check_record(self) -> AskMessage:
        if (self.record is None) != (self.to is None):
            raise ValueError("a record comes with the node that it is for")
        return self


class CloseMessage(CoordinatorMessage):
    """The study is over: rows and keys are to be forgotten."""

    kind: Literal["close"] = "close"
    mandate: Digest


class ApprovalMessage(Message):
    """A node takes part: its signed key of this study, and the signed head of its journal."""

    kind: Literal["approval"] = "approval"
    name: str
    E: str
    sig: str
    head: str = ""

    def approval(self) -> Approval:
        """The key.  Raises: MessageInvalid; its signature is not judged here."""
        return Approval.parse({"name": self.name, "E": self.E, "sig": self.sig})


class ReadyMessage(Message):
    """A node has started with the transcript `T`, or has closed: then `T` is empty and `head` its journal's."""

    kind: Literal["ready"] = "ready"
    name: str
    T: str
    head: str | None = None


class RefusalMessage(Message):
    """A node does not answer, by which rule: its public text and remedy, nothing else of the node."""

    kind: Literal["refusal"] = "refusal"
    name: str
    rule: str
    text: str
    remedy: str

    def refused(self) -> Refused:
        """The refusal as an error."""
        rule, text, remedy = (words[:_LONGEST_REFUSAL_TEXT] for words in (self.rule, self.text, self.remedy))
        return Refused(rule or "refused", text, remedy=remedy)


# ---- the bytes


def pack(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """One message.  `header` needs a `kind`; the version is added."""
    head = canonical({**header, "v": VERSION})
    return len(head).to_bytes(4, "big") + head + body


def unpack(raw: bytes, kinds: frozenset[str], *, longest_body: int = _LONGEST_BODY_BYTES) -> RawMessage:
    """Header and body of a message of one of these kinds; its fields are not read yet.  Raises: MessageInvalid."""
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
    return RawMessage(header, raw[4 + length :])


def pack_signed(header: Mapping[str, Any], signer: Signer, body: bytes = b"") -> bytes:
    """A message with its sender's signature over the header and the body's SHA-256 (label `message`)."""
    signature = signer.sign(_signed_bytes({**header, "v": VERSION}, body))
    return pack({**header, "sig": signature.hex()}, body)


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
