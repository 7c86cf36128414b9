"""What single members sign: a vote against a mandate, and the revocation of one.

A vote for a mandate is a signature over the mandate's own bytes, gathered in its envelope
(`trust/documents/mandate.py`).  Both documents name the mandate by the digest of its signed bytes, so that they can
speak of no other.  Format: docs/formats.md, 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import Field

from trust.canonical import Model, read_document
from trust.documents.root import Key, Root
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.signing.envelope import Envelope, Kind, verified
from trust.times import Time

__all__ = ["Refusal", "Revocation", "read_refusal", "read_revocation", "valid_revocations"]

Digest: TypeAlias = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Reason: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]


class Refusal(Model):
    """A member's vote against a mandate; `member` is the key's id."""

    schema_: Literal["datatrust/vote/1"] = Field(default="datatrust/vote/1", alias="schema")
    mandate: Digest
    member: Key
    decision: Literal["refuse"] = "refuse"
    reasons: tuple[Reason, ...] = Field(min_length=1, max_length=20)
    at: Time


class Revocation(Model):
    """The end of a mandate: one member is enough, since stopping harms nobody.  Nobody can undo it."""

    schema_: Literal["datatrust/revocation/1"] = Field(default="datatrust/revocation/1", alias="schema")
    mandate: Digest
    member: Key
    reason: Reason
    at: Time


V = TypeVar("V", Refusal, Revocation)


def read_refusal(envelope: Envelope, root: Root) -> Refusal:
    """A vote against, signed by the member that it names.  Raises: Refused (`signature`), MessageInvalid."""
    return _read("vote", Refusal, envelope, root)


def read_revocation(envelope: Envelope, root: Root) -> Revocation:
    """A revocation, signed by the member that it names.  Raises: Refused (`signature`), MessageInvalid."""
    return _read("revocation", Revocation, envelope, root)


def valid_revocations(
    envelopes: Iterable[Envelope], roots: Sequence[Root], mandate: str, *, from_docket: bool = True
) -> list[Envelope]:
    """Those that revoke this mandate and that a member of one of the roots has signed, in their order.

    One of a former member revokes nothing and is passed over.

    Args:
        roots: today's root, and where it differs the one that the mandate names.
        mandate: `sha256:<hex>` of the mandate's signed bytes.
        from_docket: they were checked when they came in; one that cannot be read is then an error, since it may be one.

    Raises: MessageInvalid.
    """

    def revokes(envelope: Envelope, root: Root) -> bool:
        try:
            return read_revocation(envelope, root).mandate == mandate
        except Refused:
            return False
        except InvalidInput:
            if from_docket:
                raise
            return False

    return [envelope for envelope in envelopes if any(revokes(envelope, root) for root in roots)]


def _read(kind: Kind, model: type[V], envelope: Envelope, root: Root) -> V:
    claimed = read_document(model, envelope.unverified_payload, MessageInvalid, f"the {kind}")
    members = root.keys_of("committee")
    if claimed.member not in members:
        raise Refused("signature", f"the {kind} names nobody who is a member today", remedy="have a member sign it")
    verified(kind, envelope, {claimed.member: members[claimed.member]})
    return claimed
