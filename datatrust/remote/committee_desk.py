"""Where a member of the committee works: the docket of a folder, or a coordinator behind an address.

From afar, what she reads is made on her own machine from the bytes, with the root that she has pinned.  Who has signed,
whether a quorum has, and whether a mandate has lapsed follow from the envelopes; the coordinator is believed in nothing
that a signature could show.  Her key signs here, and never leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from datatrust.remote.verified_study import VerifiedStudy, read_filed, shown_studies
from datatrust.remote.verified_trust import meet
from trust.documents.filed_study import FiledStudy, TrustDocuments
from trust.documents.votes import read_refusal
from trust.errors import InvalidInput, MessageInvalid, Refused, nearest
from trust.signing.envelope import Envelope, Signer
from trust.times import now

__all__ = ["Desk", "RemoteDesk"]

_ASK = "ask who runs the trust"


class Desk(Protocol):
    """Reading studies and handing in what a member has signed; `coordinator.docket.Docket` is one."""

    @property
    def trust(self) -> TrustDocuments:
        """Root, dataset and charter."""

    def studies(self) -> list[FiledStudy]:
        """All, in the order in which they were filed."""

    def find(self, study: str) -> FiledStudy:
        """By its id or its mandate's number.  Raises: InvalidInput, with the nearest names."""

    def revocations(self, mandate: str) -> Sequence[Envelope]:
        """Those of a mandate, by the digest of its bytes."""

    def sign(self, study: str, envelope: Envelope) -> FiledStudy:
        """Hand in a signature over a mandate.  Raises: Refused."""

    def refuse(self, envelope: Envelope) -> FiledStudy:
        """Hand in a vote against.  Raises: Refused."""

    def revoke(self, envelope: Envelope) -> FiledStudy:
        """Hand in a revocation.  Raises: Refused."""

    def close(self) -> None:
        """Let go of it."""


class RemoteDesk:
    """A coordinator behind an address, as a member sees it."""

    def __init__(self, url: str, signer: Signer, *, invitation: Path | None = None, home: Path | None = None) -> None:
        """Raises: as `verified_trust.meet`; Refused (`signature`) for a key that is not a member's today."""
        self._verified = meet(url, invitation=invitation, home=home, signer=signer)
        self._signer = signer
        self._revocations: dict[str, tuple[Envelope, ...]] = {}
        if signer.key_id not in self.trust.root.root.keys_of("committee"):
            self.close()
            raise Refused("signature", "this key is not a member's of the committee today", remedy="use a member's key")

    @property
    def trust(self) -> TrustDocuments:
        """Root, dataset and charter; the root follows from the pinned one."""
        return self._verified.trust

    def close(self) -> None:
        """End its connections."""
        self._verified.link.close()

    def studies(self) -> list[FiledStudy]:
        """All, in the order in which they were filed.  Raises: Refused where the signatures in one do not bear out
        what the coordinator says.
        """
        return [self._read(document).filed for document in shown_studies(self._verified.link)]

    def find(self, study: str) -> FiledStudy:
        """By its id or its mandate's number.  Raises: InvalidInput, with the nearest names; Refused."""
        try:
            filed_study = self._read(self._verified.link.json(f"/v1/studies/{quote(study, safe='')}")).filed
        except MessageInvalid:
            raise
        except InvalidInput:
            names_filed = [name for filed_study in self.studies() for name in (filed_study.id, filed_study.number)]
            raise InvalidInput(f"no study {study!r} is on the docket", expected=nearest(study, names_filed)) from None
        if study not in (filed_study.id, filed_study.number):
            raise Refused("study", f"the coordinator shows another study than {study!r}", remedy=_ASK)
        return filed_study

    def revocations(self, mandate: str) -> Sequence[Envelope]:
        """The valid ones of a mandate that was read here, by the digest of its bytes."""
        return self._revocations.get(mandate, ())

    def sign(self, study: str, envelope: Envelope) -> FiledStudy:
        """Hand in a signature over a mandate.  Raises: Refused, also where it is not in what comes back."""
        filed_study = self._handed_in(f"/v1/studies/{quote(study, safe='')}/signatures", envelope)
        same_mandate = filed_study.mandate.unverified_payload == envelope.unverified_payload
        return self._arrived(filed_study, same_mandate and self._signer.key_id in filed_study.signers, "signature")

    def refuse(self, envelope: Envelope) -> FiledStudy:
        """Hand in a vote against.  Raises: Refused, also where it is not in what comes back."""
        vote = read_refusal(envelope, self.trust.root.root)
        filed_study = self._handed_in("/v1/votes", envelope)
        same_mandate = filed_study.mandate_digest == vote.mandate
        return self._arrived(
            filed_study,
            same_mandate and vote.member in {earlier_vote.member for earlier_vote in filed_study.against},
            "vote",
        )

    def revoke(self, envelope: Envelope) -> FiledStudy:
        """Hand in a revocation.  Raises: Refused, also where it is not in what comes back."""
        filed_study = self._handed_in("/v1/revocations", envelope)
        payloads = {revocation.unverified_payload for revocation in self.revocations(filed_study.mandate_digest)}
        return self._arrived(filed_study, envelope.unverified_payload in payloads, "revocation")

    def _handed_in(self, path: str, envelope: Envelope) -> FiledStudy:
        return self._read(self._verified.link.post(path, envelope.document())).filed

    def _arrived(self, filed_study: FiledStudy, has_arrived: bool, subject: str) -> FiledStudy:
        if not has_arrived:
            text = f"the coordinator took the {subject} and does not show it"
            raise Refused("signature", text, remedy="give the file to the partners yourself, or ask who runs the trust")
        return filed_study

    def _read(self, document: object) -> VerifiedStudy:
        verified_study = read_filed(document, self.trust, self._verified.versions, now())
        if verified_study.filed.drafted.root > self.trust.root.root.version:
            self._verified = self._verified.again()
            verified_study = read_filed(document, self.trust, self._verified.versions, now())
        self._revocations[verified_study.filed.mandate_digest] = verified_study.revocations
        return verified_study
