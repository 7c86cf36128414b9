"""A study as a coordinator shows it: what it says is a claim, what follows from the signatures in it is not.

Signers, votes, revocations and whether the mandate has lapsed are worked out here, from the roots that the reader has
verified.  A state that the signatures do not bear out is refused.  What is left of the coordinator's word: whether a
study runs, was cancelled, refused or has failed, and the words for it; a release is proved by the result itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from datatrust.remote.coordinator_client import CoordinatorClient
from trust.canonical import Model, read_document, read_model
from trust.documents.filed_study import FiledStudy, TrustDocuments, lapse
from trust.documents.mandate import Mandate, quorum
from trust.documents.root import Root, TrustRoot
from trust.documents.study import Study
from trust.documents.study_states import State
from trust.documents.votes import Refusal, read_refusal, valid_revocations
from trust.errors import Fault, InvalidInput, MessageInvalid, Refused
from trust.signing.envelope import Envelope, sha256, signers_of
from trust.times import Time
from trust.words.safe import escaped

__all__ = ["VerifiedStudy", "read_filed", "shown_studies"]

_IN_FORCE = ("mandated", "running", "released")
_ASK = "ask who runs the trust"
_PAGE_STUDIES, _LARGEST_PAGE_BYTES = 100, 1 << 24
_MOST_PAGES = 1_000


class _Open(Model):
    """A later version of the interface may say more; it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _EndingShown(_Open):
    rule: str
    text: str
    remedy: str = ""


class _StudyShown(_Open):
    id: str
    number: str
    state: State
    study: Envelope
    mandate: Envelope
    votes: tuple[Envelope, ...] = ()
    revocations: tuple[Envelope, ...] = ()
    at: Time
    ended: _EndingShown | None = None
    told: str = ""


@dataclass(frozen=True)
class VerifiedStudy:
    """A study on a coordinator's docket.

    Attributes:
        filed: the study; its state is proved as far as signatures can.
        revocations: the valid ones.
        told: what the coordinator says of one that runs, safe to show.
    """

    filed: FiledStudy
    revocations: tuple[Envelope, ...]
    told: str


def shown_studies(link: CoordinatorClient) -> Iterator[Any]:
    """Each study that the coordinator shows to a member who signs, in the order in which they were filed; nothing in
    one is to be believed yet.

    Raises: MessageInvalid for an answer that is not a page, or that does not lead on; Fault where the pages do not end;
    what `CoordinatorClient.json` raises.
    """
    last_number, ids_seen = 0, set[str]()
    for _ in range(_MOST_PAGES):
        page = link.json(f"/v1/studies?after={last_number}&limit={_PAGE_STUDIES}", most=_LARGEST_PAGE_BYTES)
        studies = page.get("studies") if isinstance(page, dict) else None
        if not isinstance(studies, list) or len(studies) > _PAGE_STUDIES:
            raise MessageInvalid(
                "the coordinator shows no list of studies", expected=f"a list of up to {_PAGE_STUDIES}"
            )
        for study in studies:
            study_id = study.get("study") if isinstance(study, dict) else study
            mark = hashlib.sha256(json.dumps(study_id, sort_keys=True).encode()).hexdigest()
            if mark in ids_seen:
                raise MessageInvalid("the coordinator shows a study twice", expected="each once")
            ids_seen.add(mark)
            yield study
        next_number = page.get("next")
        if next_number is None:
            return
        if type(next_number) is not int or next_number <= last_number or not studies:
            raise MessageInvalid(
                "the coordinator's list of studies does not go on", expected=f"a place after {last_number}"
            )
        last_number = next_number
    raise Fault(f"the coordinator shows more than {_MOST_PAGES} pages of studies")


def read_filed(value: Any, trust: TrustDocuments, versions: Mapping[int, TrustRoot], now: datetime) -> VerifiedStudy:
    """What a coordinator's document is worth.

    Args:
        value: the JSON value.
        versions: of the trust root, each verified; a mandate is judged by the one that it names.

    Raises: MessageInvalid, StudyInvalid for what is no such document; Refused (`study`, `mandate`, `signature`) where
    its parts do not belong together, or its state is not proved by signatures.
    """
    study_shown = read_model(_StudyShown, value, MessageInvalid, "the study that the coordinator shows")
    study, digest = Study.read(study_shown.study.unverified_payload), sha256(study_shown.mandate.unverified_payload)
    mandate = read_document(Mandate, study_shown.mandate.unverified_payload, MessageInvalid, "the mandate")
    if (study_shown.id, study_shown.number) != (study.id, mandate.id):
        raise Refused("study", "the coordinator shows a study or a mandate under another name", remedy=_ASK)
    if mandate.study != sha256(study_shown.study.unverified_payload):
        raise Refused("mandate", "the coordinator shows the mandate of another study", remedy=_ASK)
    root = versions.get(mandate.root, trust.root)
    signers = signers_of("mandate", study_shown.mandate, root.root.keys_of("committee"))
    revocations = tuple(
        valid_revocations(study_shown.revocations, [root.root, trust.root.root], digest, from_docket=False)
    )
    state = _borne_out(study_shown.state, mandate, signers, bool(revocations), trust, root)
    ending = study_shown.ended
    filed_study = FiledStudy(
        id=study.id,
        number=mandate.id,
        state=state,
        study=study_shown.study,
        mandate=study_shown.mandate,
        signers=signers,
        against=tuple(_votes(study_shown.votes, digest, root.root)),
        at=study_shown.at,
        lapsed=lapse(state, study_shown.mandate, trust.root, now),
        ended=_refusal(ending) if ending else None,
    )
    return VerifiedStudy(filed_study, revocations, escaped(study_shown.told[:200], quotes=False))


def _refusal(ended: _EndingShown) -> Refused:
    rule, text, remedy = (escaped(words, quotes=False) for words in (ended.rule, ended.text, ended.remedy))
    return Refused(rule, text, remedy=remedy)


def _borne_out(
    claimed: State, mandate: Mandate, signers: frozenset[str], revoked: bool, trust: TrustDocuments, root: TrustRoot
) -> State:
    """The state, where signatures bear it out.  Raises: Refused (`signature`)."""
    if revoked and claimed in ("filed", *_IN_FORCE):
        return "revoked"
    if claimed == "revoked" and not revoked:
        raise _not_borne_out(mandate.id, "was revoked; no member of the committee has signed that")
    if claimed in _IN_FORCE and root.root.version == mandate.root:
        committee = root.root.roles["committee"]
        enough = len(signers) >= committee.threshold
        if root.root.charter == trust.charter.folder_digest:
            enough = quorum(root.root, signers, trust.charter.committee).ok
        if not enough:
            needed = max(committee.threshold, trust.charter.committee.quorum)
            missing_roles = "".join(f", {n} of role {role!r} lacking" for role, n in trust.lacking(signers).items())
            raise _not_borne_out(
                mandate.id, f"is in force; it is signed by {len(signers)} of {needed} members{missing_roles}"
            )
    return claimed


def _not_borne_out(number: str, subject: str) -> Refused:
    return Refused("signature", f"the coordinator says that mandate {number} {subject}", remedy=_ASK)


def _votes(envelopes: Iterable[Envelope], digest: str, root: Root) -> Iterator[Refusal]:
    """Votes against this mandate, one a member, of those who are members of the root."""
    members_seen: set[str] = set()
    for envelope in envelopes:
        with suppress(Refused, InvalidInput):
            vote = read_refusal(envelope, root)
            if vote.mandate == digest and vote.member not in members_seen:
                members_seen.add(vote.member)
                yield vote
