"""What the interface answers: closed documents, which a client believes only as far as their signatures go."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coordinator.docket.docket import Docket
from trust.documents.filed_study import FiledStudy
from trust.documents.study_states import State
from trust.signing.envelope import Envelope

__all__ = [
    "CharterDocument",
    "Check",
    "Ended",
    "EntriesDocument",
    "FiledDocument",
    "ProofDocument",
    "StatusDocument",
    "StudiesDocument",
    "TrustDocument",
]


class Answer(BaseModel):
    """Base of what is answered: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Named(Answer):
    """A charter by its name, version and digest (`sha256:<hex>`)."""

    name: str
    version: int
    digest: str


class DatasetNamed(Answer):
    """A dataset by its id and digest (`sha256:<hex>`)."""

    id: str
    digest: str


class Policy(Answer):
    """A partner's own policy, as it lets others read it."""

    version: int
    digest: str
    files: dict[str, str]


class TrustDocument(Answer):
    """What a client begins with.  `policies` has every partner; None where its policy is its own, or it has none."""

    trust: str
    version: int
    url: str
    nodes: str
    charter: Named
    dataset: DatasetNamed
    policies: dict[str, Policy | None]
    checkpoint: str


class CharterDocument(Answer):
    """The charter's files, by name."""

    files: dict[str, str]


class EntriesDocument(Answer):
    """Entries of the register from the one that was asked for, and how many it has in all."""

    entries: list[dict[str, Any]]
    size: int


class ProofDocument(Answer):
    """A Merkle proof, hashes in hex, and the signed checkpoint that it leads to."""

    proof: list[str]
    checkpoint: str


class Ended(Answer):
    """The rule that has ended a study."""

    rule: str
    text: str
    remedy: str


class FiledDocument(Answer):
    """A study on the docket, with everything that its people have signed."""

    id: str
    number: str
    state: State
    study: Envelope
    mandate: Envelope
    votes: tuple[Envelope, ...]
    revocations: tuple[Envelope, ...]
    at: str
    ended: Ended | None = None
    told: str

    @classmethod
    def of(cls, study: FiledStudy, docket: Docket) -> FiledDocument:
        """As the docket has it now."""
        ending = study.ended
        return cls(
            id=study.id,
            number=study.number,
            state=study.state,
            study=study.study,
            mandate=study.mandate,
            votes=tuple(docket.votes(study.mandate_digest)),
            revocations=tuple(docket.revocations(study.mandate_digest)),
            at=study.at,
            ended=Ended(rule=ending.rule, text=ending.text, remedy=ending.remedy) if ending else None,
            told=docket.notes.read(study.id).text,
        )


class StudiesDocument(Answer):
    """Some of the studies on the docket.  `next` is there where more follow: give it as `after`."""

    studies: list[FiledDocument]
    next: int | None = None


class Run(Answer):
    """A study that runs, what was last said of it, and when."""

    study: str
    told: str
    at: str


class Online(Answer):
    """Whether a partner's node is connected, and since when; `unknown` where nobody has said."""

    online: bool | Literal["unknown"]
    since: str = ""


class RegisterHead(Answer):
    """How many entries, and the signed checkpoint."""

    size: int
    checkpoint: str


class StatusDocument(Answer):
    """How the trust does.  `version` is the software's."""

    states: dict[State, int]
    running: list[Run]
    partners: dict[str, Online]
    version: str
    register_: RegisterHead = Field(alias="register")


class Check(Answer):
    """One thing that must be so for the coordinator to answer."""

    check: str
    ok: bool
    text: str
