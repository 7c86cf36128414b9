"""An honest release of the made-up trust, any part of which a case may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support.corpus.honest import (
    COORDINATOR,
    MEMBERS,
    NOW,
    ROOT,
    STUDY,
    Change,
    Document,
    Files,
    file_of,
    mandate_document,
    study_document,
    text_of,
)
from trust.canonical import canonical, digest
from trust.decision import Decision, Decisions
from trust.documents.result import result_document
from trust.logs.checkpoint import Checkpoint, register_origin, sign_checkpoint
from trust.logs.merkle import Entry, Tree, leaf_hash
from trust.signing.envelope import Envelope, Signer, sha256, sign

__all__ = [
    "AT",
    "DECISIONS",
    "HONEST",
    "QUORUM",
    "SIGNED",
    "VALUES",
    "Release",
    "array",
    "files",
    "mandate",
    "register",
]

AT = "2026-11-24T11:00:00Z"
QUORUM = MEMBERS[:3]
NAN = float("nan")
VALUES = {
    "ages": {
        "with_value": np.array(97),
        "counts": np.array([-1, 41, 40, -1]),
        "edges": np.array([40.0, 50.0, 60.0, 70.0]),
        "hidden": np.array([True, False, False, True]),
    },
    "table": {
        "nobs": np.array(97),
        "mean": np.array([[54.25], [0.1]]),
        "kurtosis": np.array([[NAN], [-0.0]]),
        "hidden_groups": np.array([False, False]),
        "hidden": np.array([[False], [False]]),
    },
}
DECISIONS = Decisions(
    [Decision("organisations", True, "at least 3 partners take part"), Decision("leverage", True, "yes")]
)
MANDATE = sign("mandate", mandate_document(STUDY), *QUORUM)


@dataclass(frozen=True)
class Release:
    """An honest release, any part of which a case may change before or after it is entered and signed.

    `content`: changes the document before its digest is entered in the register; `signed`: what the coordinator signs
    afterwards; `others`: entries before and after the release.
    """

    study: Envelope = STUDY
    mandate: Envelope = MANDATE
    root: Sequence[Envelope] = (ROOT,)
    values: Any = field(default_factory=lambda: VALUES)
    decisions: Decisions = DECISIONS
    at: str = AT
    before: int = 4
    after: int = 2
    content: Change = lambda document: None
    entered: Change = lambda entry: None
    signed: Change = lambda document: None
    coordinator: Signer = COORDINATOR
    signers: Sequence[Signer] = (COORDINATOR,)
    origin: str = register_origin("example")

    def document(self) -> Document:
        """What is signed."""
        made = result_document(self.study, self.mandate, self.root, self.values, self.decisions).document()
        self.content(made)
        body = {"mandate": sha256(self.mandate.unverified_payload), "result": digest(made)}
        entry = Entry.of("release", study_document()["id"], self.at, body, seq=self.before).document()
        self.entered(entry)
        tree = Tree(leaf_hash(b"entry %d" % n) for n in range(self.before))
        tree.append(leaf_hash(canonical(entry)))
        for n in range(self.after):
            tree.append(leaf_hash(b"later entry %d" % n))
        checkpoint = sign_checkpoint(Checkpoint(self.origin, len(tree), tree.root()), self.coordinator)
        proof = [part.hex() for part in tree.inclusion(self.before)]
        made["register"] = {"at": self.at, "index": self.before, "proof": proof, "checkpoint": checkpoint}
        self.signed(made)
        return made

    def envelope(self) -> Envelope:
        return sign("result", self.document(), *self.signers)

    def files(self, pinned: Envelope | Document | list[Document] | None = ROOT, now: str = NOW) -> Files:
        return files(self.envelope(), pinned, now)


def files(
    result: Envelope | Document, pinned: Envelope | Document | list[Document] | None = ROOT, now: str = NOW
) -> Files:
    found = {"result.json": file_of(result), "now": f"{now}\n".encode()}
    if isinstance(pinned, list):
        found["root.json"] = text_of(pinned)
    elif pinned is not None:
        found["root.json"] = file_of(pinned)
    return found


HONEST = Release()
SIGNED = HONEST.envelope()


def register(**fields: Any) -> Change:
    return lambda document: document["register"].update(fields)


def array(name: str, **fields: Any) -> Change:
    """Change an array of the table."""
    return lambda document: document["results"]["table"][name].update(fields)


def mandate(change: Change = lambda d: None, *signers: Signer, study: Envelope = STUDY) -> Envelope:
    return sign("mandate", mandate_document(study, change), *(signers or QUORUM))
