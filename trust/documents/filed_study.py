"""What is known of one trust, and of one study that was filed in it: values, which read and write nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeAlias

from trust.analyses.base import Scope
from trust.canonical import canonical, parse, read_model
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.documents.mandate import Mandate, draft_mandate, quorum
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study, signed_study
from trust.documents.study_states import State, no_such_move
from trust.documents.verification import check_signature_count
from trust.documents.votes import Refusal
from trust.errors import MessageInvalid, Refused, StudyInvalid
from trust.signing.envelope import Envelope, Kind, Signature, sha256, signers_of
from trust.times import read_time

__all__ = ["FiledStudy", "Lapse", "TrustDocuments", "lapse", "read_text", "valid_only", "write_text"]

Lapse: TypeAlias = Literal["expired", "outdated"]
"""A mandate that can no longer come into force: its time is over, or another trust root is."""
_LARGEST_BYTES, _LARGEST_STUDY_BYTES = 1 << 20, 1 << 19
"""Bytes of a signed document as it is kept, and of a study before that."""


@dataclass(frozen=True)
class TrustDocuments:
    """What a coordinator knows of its trust: every signed version of the root, the dataset, the charter."""

    roots: tuple[Envelope, ...]
    dataset: Dataset
    charter: Charter

    @cached_property
    def root(self) -> TrustRoot:
        """The root in force.  Raises: Refused, MessageInvalid."""
        return TrustRoot.chain(self.roots)

    @property
    def needed(self) -> int:
        """How many members must sign: what the charter asks for, and the root."""
        return max(self.charter.committee.quorum, self.root.root.roles["committee"].threshold)

    def scope(self, study: Study) -> Scope:
        """What a study is about: this dataset at every partner of the root."""
        partners = tuple(sorted(self.root.root.partners))
        return study.scope(self.dataset, partners, self.charter)

    def signed(self, study: Envelope) -> tuple[Study, Envelope]:
        """A study that a researcher of the root has signed, and its envelope with no other signature.

        Raises: Refused (`researcher`, `signature`), MessageInvalid, StudyInvalid.
        """
        check_signature_count(study)
        if (
            size := len(study.unverified_payload)
        ) > _LARGEST_STUDY_BYTES:  # it goes to nodes with its mandate in one header
            raise StudyInvalid(f"a study of {size} bytes", expected=f"at most {_LARGEST_STUDY_BYTES}")
        root = self.root.root
        parsed_study = signed_study(study, root)
        key = root.researchers[parsed_study.researcher].key
        return parsed_study, valid_only("study", study, {key: bytes.fromhex(root.keys[key])})

    def require_fileable(self, study: Study, now: datetime) -> None:
        """Raises: Refused where no mandate of it could come into force, whatever the committee thinks."""
        root = self.root.root
        self.root.require_in_force(now)
        if now >= read_time(root.researchers[study.researcher].accredited_until):
            text = "the study's researcher is no longer accredited"
            raise Refused("researcher", text, remedy="have the researcher accredited")
        if (study.dataset, study.dataset_digest) != (self.dataset.id, self.dataset.digest()):
            raise Refused(
                "dataset", "the study names another dataset than this trust's", remedy="write it for this dataset"
            )
        if read_time(study.expires) <= now:
            raise Refused("mandate-expired", "the study has expired", remedy="write it again, with a later expiry")
        if read_time(study.not_before) >= read_time(root.expires):
            raise Refused(
                "root-expired", "the trust root expires before the study begins", remedy="begin the study earlier"
            )

    def draft_mandate(self, study: Study, digest: str, number: str) -> Mandate:
        """The mandate of a study; `digest` is `sha256:<hex>` of its signed bytes.  Raises: StudyInvalid."""
        planned = PlannedStudy(study=study, scope=self.scope(study))
        return draft_mandate(digest, planned, self.charter.folder_digest, self.root.root, number)

    def enough(self, signers: frozenset[str]) -> bool:
        """Whether these members are a quorum, each role among them."""
        return quorum(self.root.root, signers, self.charter.committee).ok

    def lacking(self, signers: frozenset[str]) -> dict[str, int]:
        """How many members of which role have still to sign."""
        roles = self.root.root.roles
        missing_roles = {
            role: least - len(signers & set(roles[role].keys) if role in roles else ())
            for role, least in sorted(self.charter.committee.roles.items())
        }
        return {role: count for role, count in missing_roles.items() if count > 0}


@dataclass(frozen=True)
class FiledStudy:
    """A study on the docket.

    Attributes:
        number: the mandate's id.
        mandate: its envelope, with the signatures so far.
        signers: members' key ids that have signed it.
        against: votes against it, of those who are members today.
        at: when it was filed.
        lapsed: why it can neither be signed nor run any more, while it waits for that.
        ended: why it was refused or has failed.
    """

    id: str
    number: str
    state: State
    study: Envelope
    mandate: Envelope
    signers: frozenset[str]
    against: tuple[Refusal, ...]
    at: str
    lapsed: Lapse | None = None
    ended: Refused | None = None

    @cached_property
    def written(self) -> Study:
        """The study's document."""
        return Study.read(self.study.unverified_payload)

    @cached_property
    def drafted(self) -> Mandate:
        """The mandate's document."""
        return _mandate(self.mandate)

    @property
    def mandate_digest(self) -> str:
        """`sha256:<hex>` of the mandate's bytes, which votes and revocations name."""
        return sha256(self.mandate.unverified_payload)

    def require_open_for_votes(self) -> None:
        """Raises: Refused where it does not wait for the committee (any more)."""
        if self.state != "filed":
            raise no_such_move(self.id, self.state, "; only one that waits for signatures is voted on")
        self.require_not_lapsed()

    def require_not_lapsed(self) -> None:
        """Raises: Refused (`mandate-expired`, `root-version`) for a mandate that has lapsed."""
        if self.lapsed == "expired":
            raise Refused("mandate-expired", "the mandate has expired", remedy="file the study again")
        if self.lapsed == "outdated":
            text = "the mandate was written for an earlier version of the trust root"
            raise Refused("root-version", text, remedy="file the study again")


def lapse(state: State, mandate: Envelope, root: TrustRoot, now: datetime) -> Lapse | None:
    """Whether a mandate that has still to be signed or to run has lapsed, and why."""
    if state not in ("filed", "mandated"):
        return None
    draft = _mandate(mandate)
    if now >= read_time(draft.expires):
        return "expired"
    return "outdated" if draft.root != root.root.version else None


def _mandate(envelope: Envelope) -> Mandate:
    return read_model(Mandate, parse(envelope.unverified_payload), MessageInvalid, "the mandate")


def valid_only(kind: Kind, envelope: Envelope, keys: Mapping[str, bytes]) -> Envelope:
    """The same envelope with the valid signatures of these keys only, one a key.

    A signature that is not valid, under a member's key id, would otherwise stand in the way of her own.
    """
    valid: dict[str, Signature] = {}
    for signature in envelope.signatures:
        alone = envelope.model_copy(update={"signatures": (signature,)})
        for key in signers_of(kind, alone, keys):
            valid.setdefault(key, signature)
    return envelope.model_copy(update={"signatures": tuple(valid.values())})


def write_text(envelope: Envelope) -> str:
    """The envelope as one line of canonical JSON.  Raises: MessageInvalid for one that `read_text` would not read."""
    raw = canonical(envelope.document())
    if len(raw) > _LARGEST_BYTES:
        raise MessageInvalid(f"a signed document of {len(raw)} bytes", expected=f"at most {_LARGEST_BYTES}")
    return raw.decode("ascii")


def read_text(text: str) -> Envelope:
    """Raises: MessageInvalid."""
    return Envelope.read(parse(text.encode("ascii"), largest=_LARGEST_BYTES))
