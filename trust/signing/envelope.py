"""Signatures: DSSE envelopes with Ed25519, one payload type for each kind of document.

What is signed is the payload's bytes as they are, together with their type, so that a study can never be taken for a
vote.  Source: DSSE v1.0.2 (secure-systems-lab/dsse); Ed25519, RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from trust.canonical import Model, canonical, read_model
from trust.errors import MessageInvalid, Refused

__all__ = ["Envelope", "Kind", "Signer", "key_id", "sha256", "sign", "signers_of", "verified"]

Kind: TypeAlias = Literal["root", "study", "vote", "mandate", "revocation", "result", "checkpoint"]
_KINDS = frozenset(get_args(Kind))


class Signature(Model):
    """One signature: the key's id (SHA-256 of the raw public key, hex), and 64 bytes in base64."""

    keyid: str
    sig: str


class Envelope(Model):
    """A DSSE envelope.  `payload` is base64; nothing in it is to be believed before `verified` has passed."""

    payload: str
    payloadType: str  # noqa: N815 - DSSE's own name
    signatures: tuple[Signature, ...] = Field(max_length=200)

    @classmethod
    def read(cls, value: Any) -> Envelope:
        """From a JSON value.  Raises: MessageInvalid."""
        return read_model(cls, value, MessageInvalid, "the envelope")

    @property
    def unverified_payload(self) -> bytes:
        """The payload's bytes.  Raises: MessageInvalid where they are not base64."""
        return _bytes(self.payload)

    def with_signature(self, signer: Signer) -> Envelope:
        """The same envelope with one more signature; a second one of the same key is not added."""
        if any(s.keyid == signer.key_id for s in self.signatures):
            return self
        signature = signer.sign(_encoding(self.payloadType, self.unverified_payload))
        return self.model_copy(
            update={"signatures": (*self.signatures, Signature(keyid=signer.key_id, sig=_text(signature)))}
        )


@dataclass(frozen=True)
class Signer:
    """A private Ed25519 key.  Its repr shows the public half only."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        return key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.private.sign(message)


def key_id(public: bytes) -> str:
    """SHA-256 of a raw public key, hex."""
    return hashlib.sha256(public).hexdigest()


def sha256(raw: bytes) -> str:
    """`sha256:<hex>` of signed bytes."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def payload_type(kind: str) -> str:
    """`application/vnd.datatrust.<kind>+json`."""
    return f"application/vnd.datatrust.{kind}+json"


def sign(kind: Kind, document: Any, *signers: Signer) -> Envelope:
    """Sign the canonical bytes of a document."""
    envelope = Envelope(payload=_text(canonical(document)), payloadType=payload_type(kind), signatures=())
    for signer in signers:
        envelope = envelope.with_signature(signer)
    return envelope


def signers_of(kind: Kind, envelope: Envelope, keys: Mapping[str, bytes]) -> frozenset[str]:
    """The ids of the given keys that have validly signed; each counts once, unknown keys count nothing.

    For screens; who must rely on it calls `verified`.
    """
    if kind not in _KINDS or envelope.payloadType != payload_type(kind):
        return frozenset()
    message = _encoding(envelope.payloadType, envelope.unverified_payload)
    return frozenset(
        s.keyid
        for s in envelope.signatures
        if s.keyid in keys and key_id(keys[s.keyid]) == s.keyid and valid(keys[s.keyid], s.sig, message)
    )


def verified(kind: Kind, envelope: Envelope, keys: Mapping[str, bytes], *, threshold: int = 1) -> bytes:
    """The payload, when at least `threshold` of the given keys have signed it as this kind.

    Raises: Refused (`signature`), saying how many of how many have.
    """
    if threshold < 1:
        raise Refused("signature", "a threshold below 1 would need no signature", remedy="correct the trust root")
    signers = signers_of(kind, envelope, keys)
    if len(signers) < threshold:
        needed = "1 is" if threshold == 1 else f"{threshold} are"
        text = f"the {kind} is signed by {len(signers)} of {len(keys)} keys; {needed} needed"
        raise Refused("signature", text, remedy="have it signed by those who may")
    return envelope.unverified_payload


def valid(public: bytes, signature: str | bytes, message: bytes) -> bool:
    """Whether a signature (raw, or base64) of a raw public key is valid; malformed ones are not."""
    try:
        raw = signature if isinstance(signature, bytes) else _bytes(signature)
        Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
    except (InvalidSignature, ValueError, MessageInvalid):
        return False
    return True


def _encoding(payload_type_: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed."""
    kind = payload_type_.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MessageInvalid("a text that is not base64", expected="RFC 4648, section 4") from None


def distinct(signers: Iterable[Signer]) -> dict[str, bytes]:
    """`{key id: raw public key}`."""
    return {signer.key_id: signer.public for signer in signers}
