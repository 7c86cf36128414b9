"""The mandate: study, plan, partners and trust root under a quorum's signatures.

The only thing that makes a node compute.  A vote for it is a member's signature over its bytes, gathered in one
envelope.  Format: docs/formats.md, 7.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, model_validator

from trust.canonical import Model, read_document
from trust.charters.charter import Committee
from trust.decision import Decision
from trust.documents.root import Name, Root, TrustRoot
from trust.documents.study import PlannedStudy, plan_document_digest, sums_at_most
from trust.errors import MessageInvalid, Refused
from trust.protocol.asks import upload_bytes
from trust.secure_sum import Parameters
from trust.signing.envelope import Envelope, signers_of, verified
from trust.times import Time, read_time

__all__ = ["Mandate", "SignedMandate", "draft_mandate", "quorum"]


class Mandate(Model):
    """What the members sign.

    `c` partners that may collude, `m` the fewest in a sum; `sums` and `bytes` bound what a node gives.
    """

    schema_: Literal["datatrust/mandate/1"] = Field(default="datatrust/mandate/1", alias="schema")
    id: Name
    study: str
    plan: str
    dataset: str
    charter: str
    root: int = Field(ge=1)
    partners: tuple[Name, ...]
    participation: Literal["all", "joined"]
    m: int
    c: int = Field(ge=1)
    sums: int = Field(ge=1)
    bytes: int = Field(ge=1)
    audit: Literal["nodes"] = "nodes"
    conditions: tuple[str, ...] = ()
    not_before: Time
    expires: Time

    @model_validator(mode="after")
    def _consistent(self) -> Mandate:
        if list(self.partners) != sorted(set(self.partners)):
            raise ValueError("partners that are not sorted, each once")
        if read_time(self.not_before) >= read_time(self.expires):
            raise ValueError("a mandate that expires before it begins")
        return self


def draft_mandate(study_digest: str, planned: PlannedStudy, charter: str, root: Root, number: str) -> Mandate:
    """The mandate that a coordinator writes when a study is filed; nodes compute it again and compare.

    Args:
        study_digest: `sha256:<hex>` of the study's signed bytes.
        charter: digest of the charter's folder.
        number: the mandate's id.

    Raises: StudyInvalid where an analysis does not fit the dataset.
    """
    study, scope, plans = planned.study, planned.scope, planned.plans
    protections = study.protections
    return Mandate(
        id=number,
        study=study_digest,
        plan=plan_document_digest(study, scope, plans),
        dataset=study.dataset_digest,
        charter=charter,
        root=root.version,
        partners=scope.partners,
        participation=protections.participation,
        m=protections.fewest(len(scope.partners)),
        c=protections.colluders,
        sums=sums_at_most(plans),
        bytes=upload_bytes(plans),
        not_before=study.not_before,
        expires=min(study.expires, root.expires),
    )


def quorum(root: Root, signers: frozenset[str], committee: Committee) -> Decision:
    """Whether these members are those that the charter's `[committee]` asks for, roles included.

    The root's own threshold may be lower; both are asked for.
    """
    members = signers & set(root.roles["committee"].keys)
    ok = len(members) >= max(committee.quorum, root.roles["committee"].threshold) and all(
        role in root.roles and len(members & set(root.roles[role].keys)) >= least
        for role, least in committee.roles.items()
    )
    roles = "".join(f", {least} of role {role!r} among them" for role, least in sorted(committee.roles.items()))
    text = f"the mandate is signed by {committee.quorum} members{roles}"
    return Decision("signature", ok, text, "have it signed by those who may")


class SignedMandate:
    """A mandate that the committee's quorum of a root has signed.

    Attributes:
        mandate: the document.
        digest: M, SHA-256 of its signed bytes, 32 bytes.
        signers: ids of the members' keys that have signed it.
    """

    def __init__(self, envelope: Envelope, root: TrustRoot) -> None:
        """Raises: Refused, MessageInvalid."""
        committee = root.root.roles["committee"]
        keys = root.root.keys_of("committee")
        payload = verified("mandate", envelope, keys, threshold=committee.threshold)
        self.signers = signers_of("mandate", envelope, keys)
        self.mandate = read_document(Mandate, payload, MessageInvalid, "the mandate")
        self.digest = hashlib.sha256(payload).digest()
        if self.mandate.root != root.root.version:
            text = "the mandate was signed for another version of the trust root"
            raise Refused("root-version", text, remedy="have it signed for the root in force")

    def parameters(self, study: str, root: TrustRoot) -> Parameters:
        """What the mandate of a study (its id) fixes for its secure sums.  Raises: ParametersUnsafe, NotAvailable."""
        mandate, keys = self.mandate, root.root.verify_keys()
        return Parameters(
            study=study,
            mandate=self.digest,
            root=root.digest,
            partners={name: Ed25519PublicKey.from_public_bytes(keys[name]) for name in mandate.partners},
            m=mandate.m,
            c=mandate.c,
            sums=mandate.sums,
            participation=mandate.participation,
        )

    def require_in_force(self, now: datetime) -> None:
        """Raises: Refused before its time and after it; asked again at each sum."""
        if now >= read_time(self.mandate.expires):
            raise Refused("mandate-expired", "the mandate has expired", remedy="ask the committee for a new one")
        if now < read_time(self.mandate.not_before):
            raise Refused("mandate-expired", "the mandate is not in force yet", remedy="wait, or check the clock")
