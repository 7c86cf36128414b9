"""A study gone through at this node without anybody's hearing of it: full gate, real rows, first sums, own rules.

Nothing leaves, nothing is journalled, nothing counts as answered and no edition is kept: the node's database is opened
for reading and copied into memory, and the editions are looked at through links in a folder that is
thrown away.  docs/protocol.md, 4, has the gate's steps.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.operate.check_network import interface
from nodes.rows.editions import EditionKeeper
from nodes.settings import NodeSettings
from nodes.state.read_only import opened
from nodes.state.store import SCHEMA
from nodes.study import gate
from nodes.study.answered_cohorts import AnsweredCohorts
from nodes.study.computation import Computation
from nodes.study.open_study import as_read, rows_of
from trust.analyses.base import together
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy, floor_of
from trust.decision import Decision, Decisions
from trust.documents.mandate import Mandate, SignedMandate, draft_mandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study, plan_documents, signed_study
from trust.errors import DataTrustError, InvalidInput, MessageInvalid, Refused, nearest
from trust.protocol.asks import plan_bytes, question
from trust.signing.envelope import Envelope, sha256
from trust.signing.json_text import read_json
from trust.times import now, read_time

__all__ = ["Rehearsal", "Told", "asked_of", "from_register", "rehearse"]

_LARGEST_BYTES = 1 << 22
_NUMBER = "0000-rehearsal"


@dataclass(frozen=True)
class Told:
    """What is rehearsed: a study, the digest of its bytes, its envelope and mandate where there are any."""

    study: Study
    digest: str
    envelope: Envelope | None = None
    mandate: Envelope | None = None


@dataclass(frozen=True)
class Rehearsal:
    """What each part of the gate said; a part that was not reached is missing.  `notes` is what was not asked."""

    parts: tuple[tuple[str, Decisions], ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """All parts were reached, and nothing said no."""
        return len(self.parts) == 3 and all(decisions.ok for _, decisions in self.parts)


class _Draft(SignedMandate):
    """A mandate that nobody has signed: for a rehearsal alone, which no session takes for one."""

    def __init__(self, mandate: Mandate) -> None:
        self.mandate, self.signers = mandate, frozenset()
        self.digest = bytes.fromhex(mandate.digest().removeprefix("sha256:"))


def asked_of(raw: bytes) -> Told:
    """From a file: a study, or an envelope of one.  Raises: InvalidInput, MessageInvalid, StudyInvalid."""
    value = read_json(raw, largest=_LARGEST_BYTES)
    if isinstance(value, dict) and "payload" in value:
        envelope = Envelope.read(value)
        payload = envelope.unverified_payload
        return Told(Study.read(payload), sha256(payload), envelope)
    try:
        payload = canonical(value)
    except ValueError:
        raise InvalidInput(
            "a file that is not a study", expected="a study's document, or its signed envelope"
        ) from None
    return Told(Study.read(payload), sha256(payload))


def from_register(settings: NodeSettings, study: str) -> Told:
    """From the coordinator's register, by the study's id.  Raises: InvalidInput where there is none, Fault."""
    entries = [e for e in interface(settings).entries() if e.get("kind") in ("study", "mandate")]
    bodies = {e["kind"]: e.get("body") for e in entries if e.get("study") == study}
    envelopes = {
        kind: body["envelope"] for kind, body in bodies.items() if isinstance(body, dict) and "envelope" in body
    }
    if "study" not in envelopes:
        studies = {str(e.get("study")) for e in entries}
        raise InvalidInput(f"no file and no study {study!r} in the register", expected=nearest(study, studies))
    envelope = Envelope.read(envelopes["study"])
    mandate = Envelope.read(envelopes["mandate"]) if "mandate" in envelopes else None
    payload = envelope.unverified_payload
    return Told(Study.read(payload), sha256(payload), envelope, mandate)


def rehearse(settings: NodeSettings, papers: Told) -> Rehearsal:
    """Go through it.  Raises: InvalidInput and Fault for a home that cannot be used; a no is a Decision."""
    root, dataset, charter = settings.root(), settings.dataset(), settings.charter()
    policy, source = settings.policy(charter), settings.source().checked(dataset)
    study, partners = papers.study, tuple(sorted(root.root.partners))
    planned = PlannedStudy(study=study, scope=study.scope(dataset, partners, charter))
    scope = planned.scope
    notes: list[str] = []
    parts: list[tuple[str, Decisions]] = []
    with _state(settings.own) as state:
        first = list(_signed_decisions(papers, root, notes))
        if study.researcher in root.root.researchers:
            mandate = _mandate(papers, root, planned, charter, notes)
            first += _gate_decisions(
                settings, gate.MandateRequest(mandate, papers.digest, planned), root, policy, state
            )
        parts.append(("before rows", Decisions(first)))
        if not parts[-1][1].ok:
            return Rehearsal(tuple(parts), tuple(notes))
        with tempfile.TemporaryDirectory(prefix="datatrust-rehearsal-") as thrown:
            _linked(settings.own / "editions", Path(thrown))
            editions = EditionKeeper(Path(thrown), dataset, persons=floor_of(charter, policy).persons)
            try:
                cohort_rows, names = rows_of(study, source, editions, now=now())
            except DataTrustError as wrong:
                parts.append(("after rows", Decisions([_no("rows", wrong)])))
                return Rehearsal(tuple(parts), tuple(notes))
            differs = AnsweredCohorts(state, editions).judge(cohort_rows, names, study.protections.persons)
            parts.append(("after rows", gate.after_rows(study, scope, cohort_rows.frozen, differs)))
            if parts[-1][1].ok:
                rows = as_read(cohort_rows, names, partners.index(settings.name))
                parts.append(("first sums", Decisions(_first_sums(planned, rows))))
    return Rehearsal(tuple(parts), tuple(notes))


def _signed_decisions(papers: Told, root: TrustRoot, notes: list[str]) -> Iterator[Decision]:
    """Who has signed the study."""
    if papers.study.researcher not in root.root.researchers:
        text = f"{papers.study.researcher!r} is not a researcher of the trust root"
        yield Decision("researcher", False, text, "have the researcher accredited")
    elif papers.envelope is None:
        notes.append("the study is not signed: whether its researcher asks this was not judged")
    else:
        try:
            signed_study(papers.envelope, root.root)
            yield Decision("signature", True, "its researcher has signed the study")
        except DataTrustError as wrong:
            yield _no("signature", wrong)


def _mandate(papers: Told, root: TrustRoot, planned: PlannedStudy, charter: Charter, notes: list[str]) -> SignedMandate:
    """The one that was given, or a draft of what the coordinator would write."""
    if papers.mandate is not None:
        try:
            return SignedMandate(papers.mandate, root)
        except (Refused, MessageInvalid) as wrong:
            notes.append(f"its mandate is not in force here ({wrong}); a draft was taken in its place")
    else:
        notes.append("there is no mandate: a draft was taken, and the committee's signatures were not judged")
    return _Draft(draft_mandate(papers.digest, planned, charter.folder_digest, root.root, _NUMBER))


def _gate_decisions(
    settings: NodeSettings,
    request: gate.MandateRequest,
    root: TrustRoot,
    policy: PartnerPolicy | None,
    state: sqlite3.Connection,
) -> list[Decision]:
    time, latest = now(), state.execute("SELECT at FROM latest").fetchone()
    clock = latest is None or time >= read_time(latest[0])
    writable = os.access(settings.own, os.W_OK)
    view = gate.NodeView(
        partner=settings.name,
        root=root,
        charter=settings.charter(),
        revoked=_has(state, "SELECT 1 FROM revocation WHERE mandate = ?", request.mandate.digest),
        seen=_has(state, "SELECT 1 FROM study WHERE study = ?", request.study.id),
        clock=Decision("clock", clock, "this partner's clock goes on", "correct the clock"),
        journal=Decision("journal", writable, "this partner's folder can be written", "correct its rights"),
        policy=policy,
    )
    decisions = gate.before_rows(request, view, now=time)
    if isinstance(request.mandate, _Draft):
        return [decision for decision in decisions if decision.rule != "signature"]
    return list(decisions)


def _first_sums(planned: PlannedStudy, rows: Any) -> Iterator[Decision]:
    """Each analysis' first question, computed and encoded here, and forgotten."""
    study, scope, plans = planned.study, planned.scope, planned.plans
    computation = None
    try:
        asks = together({n: analysis.run(scope) for n, analysis in sorted(study.analyses.items())}).send(None) or {}
        computation = Computation(study, scope, plans, rows)
        computation.rehearse(asks)
        yield Decision(
            "node-rules", True, "the rules on this partner's own part hold for the first sum of each analysis"
        )
        computation.vector(asks)
        first_question = question(0, asks, plans, plan_bytes(plan_documents(study, scope, plans)))
        yield Decision("sum", True, f"the first sum can be given: {first_question.layout.nbytes} bytes, masked")
    except DataTrustError as wrong:
        yield _no("first-sum", wrong)
    finally:
        if computation is not None:
            computation.forget()


def _no(rule: str, wrong: DataTrustError) -> Decision:
    return Decision(wrong.rule if isinstance(wrong, Refused) else rule, False, wrong.public["text"], wrong.remedy)


# ---- the state, read only


@contextmanager
def _state(own_folder: Path) -> Iterator[sqlite3.Connection]:
    """The node's database as it is now, in memory.  Raises: InvalidInput for one that cannot be read."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        if (own_folder / "state.sqlite").is_file():
            with opened(own_folder, "the node") as db:
                db.backup(memory)
        memory.executescript(SCHEMA)  # for a node that has not served yet
        yield memory


def _has(state: sqlite3.Connection, query: str, value: bytes | str) -> bool:
    return state.execute(query, (value,)).fetchone() is not None


def _linked(editions: Path, thrown: Path) -> None:
    """The editions' files under the same names; whatever is written or removed is so in `thrown` alone."""
    if editions.is_dir():
        for file in editions.resolve().iterdir():
            if not file.name.startswith("new-"):
                (thrown / file.name).symlink_to(file)
