"""A study gone through at this node without anybody's hearing of it: full gate, real rows, first sums, own rules.

Nothing leaves, nothing is journalled, nothing counts as answered and no edition is kept: the node's database is opened
for reading, what was answered is copied into memory, and the editions are looked at through links in a folder that is
thrown away.  docs/protocol.md, 4, has the gate's steps.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.operate.check_network import interface
from nodes.rows.editions import EditionKeeper
from nodes.settings import NodeSettings
from nodes.state.read_only import opened
from nodes.study import gate
from nodes.study.answered_cohorts import AnsweredCohorts
from nodes.study.computation import Computation
from trust.analyses.base import together
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy, floor_of
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER
from trust.dataset.rows import partner_rows
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
_TABLES = ("cohort", "answered_cohort")


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
            names = [name for analysis in study.analyses.values() for name in analysis.reads()]
            try:
                cohort = Cohort.parse(study.cohort, dataset) if study.cohort else None
                cohort_rows = editions.freeze(source, names, cohort, now=now())
            except DataTrustError as wrong:
                parts.append(("after rows", Decisions([_no("rows", wrong)])))
                return Rehearsal(tuple(parts), tuple(notes))
            differs = AnsweredCohorts(state.answered, editions).judge(cohort_rows, names, study.protections.persons)
            parts.append(("after rows", gate.after_rows(study, scope, cohort_rows.frozen, differs)))
            if parts[-1][1].ok:
                rows = cohort_rows.frozen.rows
                rows = partner_rows(rows, partners.index(settings.name)) if PARTNER in names else rows
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
    settings: NodeSettings, request: gate.MandateRequest, root: TrustRoot, policy: PartnerPolicy | None, state: _State
) -> list[Decision]:
    time = now()
    clock = not state.latest or time >= read_time(state.latest)
    writable = os.access(settings.own, os.W_OK)
    view = gate.NodeView(
        partner=settings.name,
        root=root,
        charter=settings.charter(),
        revoked=request.mandate.digest in state.revoked,
        seen=request.study.id in state.seen,
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


@dataclass(frozen=True)
class _State:
    """What the node's database knows: studies given to, revoked mandates, the last entry's time, cohorts answered."""

    seen: frozenset[str]
    revoked: frozenset[bytes]
    latest: str
    answered: sqlite3.Connection


@contextmanager
def _state(own_folder: Path) -> Iterator[_State]:
    """Raises: InvalidInput for a database that cannot be read."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if not (own_folder / "state.sqlite").is_file():
            yield _State(frozenset(), frozenset(), "", memory)
            return
        with opened(own_folder, "the node") as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in _TABLES:
                if table in tables:
                    memory.execute(db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0])
                    rows = db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a name of ours
                    if rows:
                        memory.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608

            def column(query: str, table: str) -> list[Any]:
                return [value for (value,) in db.execute(query)] if table in tables else []

            studies = frozenset(column("SELECT study FROM study", "study"))
            revoked = frozenset(column("SELECT mandate FROM revocation", "revocation"))
            latest = column("SELECT at FROM latest", "latest")
        yield _State(studies, revoked, latest[0] if latest else "", memory)
    finally:
        memory.close()


def _linked(editions: Path, thrown: Path) -> None:
    """The editions' files under the same names; whatever is written or removed is so in `thrown` alone."""
    if editions.is_dir():
        for file in editions.resolve().iterdir():
            if not file.name.startswith("new-"):
                (thrown / file.name).symlink_to(file)
