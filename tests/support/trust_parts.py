"""A trust of three or more nodes for tests, whose coordinator may be malicious: it holds the coordinator's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from datatrust.in_process.local_trust import LocalTrust
from nodes.study.session import Session
from trust.charters.charter import Charter
from trust.documents.mandate import Mandate, draft_mandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study
from trust.protocol.messages import DOWN, UP, pack_signed, unpack
from trust.signing.envelope import Envelope, sha256, sign

Change = Callable[[str, dict[str, Any], bytes], "tuple[dict[str, Any], bytes] | None"]
"""Takes the partner's name, header and body of a message down; returns what is sent instead, None to send nothing."""


class Sessions:
    """A channel straight to the sessions: every byte of both ways is kept, and messages down may be changed."""

    def __init__(self, sessions: Mapping[str, Session], signer: Any, change: Change | None = None) -> None:
        self.sessions, self._signer, self._change = sessions, signer, change
        self.down: list[tuple[str, bytes]] = []
        self.up: list[tuple[str, bytes]] = []

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        answers = {}
        for name, raw in messages.items():
            if self._change is not None:
                header, body = unpack(raw, DOWN)
                changed = self._change(name, {k: v for k, v in header.items() if k not in ("sig", "v")}, body)
                if changed is None:
                    continue
                raw = pack_signed(changed[0], self._signer, changed[1])
            self.down.append((name, raw))
            answers[name] = self.sessions[name].handle(raw)
            self.up.append((name, answers[name]))
        return answers


class TrustParts:
    """A local trust taken apart: its nodes, its keys, and a conductor whose messages can be changed.

    Attributes:
        clock: what the nodes take the time to be; None: what it is.
    """

    def __init__(self, trust: LocalTrust) -> None:
        self.trust, self.keys = trust, trust._keys
        self.clock: datetime | None = None
        self.nodes = {name: replace(node, clock=self._now(node.clock)) for name, node in trust._nodes.items()}
        self.sessions: dict[str, Session] = {}
        self.channel: Sessions

    def _now(self, real: Callable[[], datetime]) -> Callable[[], datetime]:
        return lambda: self.clock or real()

    def found(self, document: dict[str, Any]) -> None:
        """Another trust root with the same keys, which every member has signed and every node pins."""
        self.keys.root = TrustRoot.founding(sign("root", document, *self.keys.members))
        self.nodes = {name: replace(node, root=self.keys.root) for name, node in self.nodes.items()}

    def mandate_of(self, study: Study, signed: Envelope, number: str = "2026-0001") -> Mandate:
        """The honest mandate of a study, not yet signed."""
        charter = self.trust.charter.folder_digest
        return draft_mandate(
            sha256(signed.unverified_payload), self.planned(study), charter, self.keys.root.root, number
        )

    def planned(self, study: Study) -> PlannedStudy:
        """The study over the rows of this trust, with its plan."""
        return PlannedStudy(study=study, scope=self.trust._scope(study))

    def mandate_answers(
        self,
        study: Study,
        change: Callable[[Mandate], Mandate],
        *,
        clock: datetime | None = None,
        charter: Charter | None = None,
    ) -> list[dict[str, Any]]:
        """Headers of what each node answers to a signed mandate."""
        signed = self.keys.study(study)
        mandate = self.keys.mandate(change(self.mandate_of(study, signed)))
        message = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}
        self.clock = clock
        headers = []
        for node in self.nodes.values():
            session = Session(replace(node, charter=charter) if charter else node)
            headers.append(unpack(session.handle(pack_signed(message, self.keys.coordinator)), UP)[0])
        self.clock = None
        return headers

    def run(
        self,
        study: Study,
        *,
        change: Change | None = None,
        members: int | None = None,
    ) -> StudyOutcome:
        """Conduct a study; `members` is how many sign its mandate (the quorum if not said)."""
        signed = self.keys.study(study)
        envelope = self.keys.mandate(self.mandate_of(study, signed))
        if members is not None:
            envelope = envelope.model_copy(update={"signatures": envelope.signatures[:members]})
        self.sessions = {name: Session(node) for name, node in self.nodes.items()}
        self.channel = Sessions(self.sessions, self.keys.coordinator, change)
        coordinator = Coordinator(self.keys.coordinator, self.keys.root)
        return conduct(coordinator, signed, envelope, self.planned(study), self.channel)
