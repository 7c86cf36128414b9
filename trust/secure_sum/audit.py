"""What a node does with a sum record: compare it with what it signed, and recompute the total.

docs/protocol.md, 1, Audit.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import RecordInvalid, UploadMissing
from trust.secure_sum.masks import Words, raw
from trust.secure_sum.messages import Record, Upload, commitment, signature_is_valid
from trust.secure_sum.opening import Opening
from trust.secure_sum.parameters import Parameters
from trust.secure_sum.state import Contribution

__all__ = ["Evidence", "audit", "check_record"]


def check_record(record: Record, contribution: Contribution, name: str, coordinator: Ed25519PublicKey) -> None:
    """Check that a record is the coordinator's and says what `name` signed.  Raises: RecordInvalid."""
    if not signature_is_valid(coordinator, record.sig, record.message()):
        raise RecordInvalid("a record's signature", expected="the coordinator's")
    if record.context != contribution.context:
        raise RecordInvalid("a record of another question or partner set", expected="what I contributed to")
    place = record.context.partners.index(name)
    if (record.digests[place], record.signatures[place]) != (contribution.sha256, contribution.sig):
        raise RecordInvalid("a record of another upload", expected="the one that I signed")


@dataclass(frozen=True)
class Evidence:
    """What the coordinator shows to a node that audits: record, salt, and the uploads in the order of partners."""

    record: Record
    salt: bytes
    bodies: Iterable[bytes | memoryview]


def audit(
    parameters: Parameters,
    contribution: Contribution,
    evidence: Evidence,
    *,
    name: str,
    layout: Layout,
    coordinator: Ed25519PublicKey,
) -> Words:
    """Recompute a total that this node contributed to, from the uploads of all; returns the opened vector.

    The record is compared with what `name` signed, each upload with record and signature, the total with the
    commitment.  So every node replays the analysis on the same totals, whatever a coordinator says they are.
    Raises: RecordInvalid, and as `Opening`.
    """
    record = evidence.record
    check_record(record, contribution, name, coordinator)
    context = record.context
    bodies = list(evidence.bodies)
    if len(bodies) != len(context.partners):
        raise UploadMissing(f"{len(bodies)} uploads", expected=f"{len(context.partners)}, one of each partner")
    opening = Opening(parameters, context, layout)
    for partner, digest, sig, body in zip(context.partners, record.digests, record.signatures, bodies, strict=True):
        opening.add(Upload(context.transcript, context.r, context.digest, partner, sig, body))
        if opening.digests[partner] != digest:
            raise RecordInvalid(f"another upload of {partner}", expected="the one of the record")
    total = opening.total()
    if not hmac.compare_digest(commitment(evidence.salt, raw(total)), record.total):
        raise RecordInvalid("a record of another total", expected="the total of these uploads")
    return total
