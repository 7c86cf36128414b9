"""The coordinator's half of a study: ask, open the total, judge it, and let the analysis ask again.

It holds nothing but totals: with the stored totals a study is replayed to where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from coordinator.study.channel import Book, Channel
from trust.analyses.base import Ask, Scope, Sum, Values, together
from trust.decision import Decision, Decisions, require
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study, plan_documents
from trust.documents.votes import valid_revocations
from trust.errors import Fault, MessageInvalid, Refused
from trust.logs.checkpoint import journal_origin, read_checkpoint
from trust.privacy.protections import Protections
from trust.protocol.asks import blocks_of, need_totals, pack_asks, plan_bytes, question, split
from trust.protocol.messages import (
    UP,
    ApprovalMessage,
    AskMessage,
    CloseMessage,
    CoordinatorMessage,
    MandateMessage,
    RawMessage,
    ReadyMessage,
    RefusalMessage,
    StartMessage,
    seal,
    unpack,
)
from trust.secure_sum import Context, Opening, Parameters, Record, Upload, decode_sum
from trust.secure_sum.errors import TranscriptDiffers, UploadSignature
from trust.secure_sum.frames import transcript
from trust.secure_sum.messages import Approval, signature_is_valid
from trust.signing.envelope import Envelope, Signer

__all__ = ["Book", "Channel", "Coordinator", "Plans", "StudyOutcome", "conduct"]

Plans = dict[str, dict[str, Sum]]
_TELLS_APART = frozenset({"differencing"})
"""Refusals after which the others are not asked either: their total, subtracted from that of the earlier study, would
be the total of the partner that refused."""
_THRESHOLDS = frozenset({"persons", "dominance", "too-few-effective-records"})
"""Refusals that do the same where the study's thresholds are stricter than the charter's: the same study was answered,
or could be, with the charter's."""
_CLOSING_SECONDS = 10.0
"""Seconds for the answers to a close, on which nothing depends."""


@dataclass(frozen=True)
class Coordinator:
    """Who conducts: its signing key, the trust root whose coordinator it is, and its book.

    Attributes:
        roots: signed versions of the root, for nodes that have an older one.
        least: the protections that the charter asks for.
        require_not_withdrawn: asked before each sum; raises where the study is to end.
        salt: 32 bytes for the record of a sum, by its number.
    """

    identity: Signer
    root: TrustRoot
    book: Book | None = None
    roots: tuple[Envelope, ...] = ()
    least: Protections | None = None
    require_not_withdrawn: Callable[[], None] = lambda: None
    salt: Callable[[int], bytes] = lambda r: os.urandom(32)


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What came of a study: a result for each analysis before its release, and how it went.

    Attributes:
        values: analysis -> named arrays.
        partners: who took part.
        absent: who did not, and the rule that it named.
        decisions: what was decided on totals.
        records: the sum record of each opened sum.
        uploads: for each sum the masked words of each partner, kept until the study's audit has ended.
    """

    values: dict[str, Values]
    partners: tuple[str, ...]
    absent: dict[str, Refused]
    decisions: Decisions
    records: tuple[Record, ...]
    uploads: tuple[Mapping[str, bytes], ...]


@dataclass(kw_only=True)
class _StudyRun:
    coordinator: Coordinator
    study: Study
    envelopes: tuple[Envelope, Envelope]
    mandate: SignedMandate
    scope: Scope
    plans: Plans
    channel: Channel
    deadline: float
    patience: float
    tell: Callable[[str], None]
    parameters: Parameters
    decisions: list[Decision] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    uploads: list[Mapping[str, bytes]] = field(default_factory=list)
    transcript: bytes = b""
    open: tuple[str, ...] = ()
    """Partners that may hold rows and keys of the study: all but those that refused its mandate."""

    def exchange(self, messages: Mapping[str, bytes], deadline: float | None = None) -> dict[str, RawMessage]:
        """Answers by partner, each of a kind that a node may send, and signed where the kind is."""
        answers = self.channel.exchange(messages, deadline=self.patience if deadline is None else deadline)
        replies = {}
        for name, raw in answers.items():
            answer = unpack(raw, UP)
            if name not in messages or answer.header.get("name") != name:
                raise MessageInvalid(f"an answer of {name!r} under another name", expected="its own")
            if answer.kind in ("ready", "refusal"):
                answer.check_signature([self.parameters.partners[name].public_bytes_raw()])
            replies[name] = answer
        return replies

    def pack(self, message: CoordinatorMessage, body: bytes = b"") -> bytes:
        """The bytes of a message, signed, with every revocation of this mandate that there is."""
        message = message.model_copy(update={"revocations": tuple(self.revocations()) or None})
        return message.pack_signed(self.coordinator.identity, body)

    def revocations(self) -> list[Envelope]:
        """Those of this mandate, signed by a member of this root."""
        book, digest = self.coordinator.book, "sha256:" + self.mandate.digest.hex()
        return valid_revocations(book.revocations(digest), [self.coordinator.root.root], digest) if book else []

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """One entry of the register, where there is one."""
        if self.coordinator.book:
            self.coordinator.book.publish(kind, self.study.id, body)

    def keep_head(self, name: str, note: str | None) -> None:
        """A node's signed head of its journal, for the register; one that is not its own is left out."""
        root = self.coordinator.root.root
        if note:
            with suppress(MessageInvalid, Refused):
                origin, keys = journal_origin(root.trust, name), [root.verify_keys()[name]]
                size = read_checkpoint(note, origin, keys).size
                if size >= self._head_seq(name, origin, keys):  # two studies side by side may answer out of order
                    self.publish("journal-head", {"partner": name, "note": note})

    def _head_seq(self, name: str, origin: str, keys: list[bytes]) -> int:
        """The size of a partner's last head under the key that it has now, 0 where there is none."""
        with suppress(MessageInvalid, Refused):
            last = self.coordinator.book.journal_head(name) if self.coordinator.book else ""
            return read_checkpoint(last, origin, keys).size if last else 0
        return 0

    @property
    def mandate_digest(self) -> str:
        """The mandate that a message belongs to, in hex."""
        return self.mandate.digest.hex()


def conduct(
    coordinator: Coordinator,
    study: Envelope,
    mandate: Envelope,
    planned: PlannedStudy,
    channel: Channel,
    *,
    deadline: float = 60.0,
    patience: float | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> StudyOutcome:
    """Carry a study from the mandate to its results before release.

    Args:
        study, mandate: as they were signed.
        planned: the study of that envelope, verified, with its plan.
        deadline: seconds for the roll call: who has not answered by then takes no part.
        patience: seconds that any later answer may take, since a study cannot go on without it; `deadline` if not said.
        tell: is told the state in words, for a person who waits.

    Raises: Refused with the rule's id; AnalysisFailed where the data give no answer; SecureSumError where a sum does
        not open; Fault where a partner is silent.
    """
    signed_mandate = SignedMandate(mandate, coordinator.root)
    study_run = _StudyRun(
        coordinator=coordinator,
        study=planned.study,
        envelopes=(study, mandate),
        mandate=signed_mandate,
        scope=planned.scope,
        plans=planned.plans,
        channel=channel,
        deadline=deadline,
        patience=deadline if patience is None else patience,
        tell=tell,
        parameters=signed_mandate.parameters(planned.study.id, coordinator.root),
    )
    try:
        participants, absent = _roll_call(study_run)
        values = _sums(study_run, participants)
    finally:
        _close(study_run)
    return StudyOutcome(
        values=values,
        partners=participants,
        absent=absent,
        decisions=Decisions(study_run.decisions),
        records=tuple(study_run.records),
        uploads=tuple(study_run.uploads),
    )


def _close(study_run: _StudyRun) -> None:
    """Everybody forgets rows and keys; nothing depends on the answers, and the heads of journals are kept."""
    closing = dict.fromkeys(study_run.open, study_run.pack(CloseMessage(mandate=study_run.mandate_digest)))
    for name, raw in study_run.channel.exchange(closing, deadline=min(study_run.deadline, _CLOSING_SECONDS)).items():
        with suppress(MessageInvalid):
            answer = unpack(raw, UP)
            if answer.kind == "ready":
                study_run.keep_head(name, answer.read(ReadyMessage).head)


def _roll_call(study_run: _StudyRun) -> tuple[tuple[str, ...], dict[str, Refused]]:
    """Who joins: the partners whose approvals are in, at least m of them."""
    partners = study_run.scope.partners
    study_run.tell(f"asking {len(partners)} partners")
    study, mandate = study_run.envelopes
    study_run.open = partners
    book, roots = study_run.coordinator.book, study_run.coordinator.roots or None
    heads = {name: (book.journal_head(name) if book else "") or None for name in partners}
    messages = {
        name: study_run.pack(MandateMessage(mandate=mandate, study=study, roots=roots, head=head))
        for name, head in heads.items()
    }
    answers = study_run.exchange(messages, study_run.deadline)
    refusing = [name for name in partners if name in answers and answers[name].kind == "refusal"]
    absent = {name: answers[name].read(RefusalMessage).refused() for name in refusing}
    for rule in sorted({refusal.rule for refusal in absent.values()}):
        # who refused, and how many did, stays out of the register: it may say at how many there are few persons
        refusal = next(refusal for refusal in absent.values() if refusal.rule == rule)
        study_run.publish("refusal", {"rule": rule, "text": refusal.text, "remedy": refusal.remedy, "partner": ""})
    study_run.open = tuple(name for name in partners if name not in absent)
    participants = tuple(name for name in study_run.open if name in answers)
    absent |= {
        name: Refused("silent", "the partner did not answer in time") for name in partners if name not in answers
    }
    study_run.decisions.append(_enough(study_run, participants, absent))
    approvals = []
    for name, answer in _require_all(participants, answers, "approval").items():
        message = answer.read(ApprovalMessage)
        approvals.append(_approval(study_run, message))
        study_run.keep_head(name, message.head)
    _require_not_revoked(study_run)
    start = study_run.pack(StartMessage(mandate=study_run.mandate_digest, approvals=tuple(approvals)))
    study_run.transcript = transcript(
        study_run.parameters.mandate, study_run.parameters.root, {a.name: a.key for a in approvals}
    )
    for name, answer in _require_all(
        participants, study_run.exchange(dict.fromkeys(participants, start)), "ready"
    ).items():
        if study_run.transcript.hex() != answer.read(ReadyMessage).T:
            raise TranscriptDiffers(f"another transcript at {name}", expected="the same approvals everywhere")
    return participants, absent


def _require_not_revoked(study_run: _StudyRun) -> None:
    """Raises: Refused.  Nodes refuse as well; they are told with the close."""
    study_run.coordinator.require_not_withdrawn()
    if study_run.revocations():
        raise Refused(
            "mandate-revoked", "a member of the committee has revoked the mandate", remedy="ask for a new one"
        )


def _enough(study_run: _StudyRun, participants: tuple[str, ...], absent: Mapping[str, Refused]) -> Decision:
    """Whether those who joined may start; the yes.  Raises: Refused."""
    partners = study_run.scope.partners
    rules = sorted({refusal.rule for refusal in absent.values()})
    stricter = study_run.coordinator.least is not None and study_run.scope.protections != study_run.coordinator.least
    for refusal in absent.values():
        if refusal.rule in _TELLS_APART or (stricter and refusal.rule in _THRESHOLDS):
            raise refusal
    if absent and (study_run.scope.protections.participation == "all" or (not participants and len(rules) == 1)):
        raise next(iter(absent.values()))
    remedies = sorted({refusal.remedy for refusal in absent.values() if refusal.remedy})
    why = f"; those that do not, because of: {', '.join(rules)}" if rules else ""
    decision = Decision(
        "organisations",
        len(participants) >= study_run.parameters.m,
        f"at least {study_run.parameters.m} partners take part; {len(participants)} of {len(partners)} do{why}",
        "; ".join(remedies) or "name more partners",
    )
    return require([decision])[0]


def _approval(study_run: _StudyRun, message: ApprovalMessage) -> Approval:
    """A partner's signed ephemeral key.  Raises: MessageInvalid, UploadSignature."""
    approval, parameters = message.approval(), study_run.parameters
    signed_bytes = Approval.message(parameters.mandate, parameters.root, approval.name, approval.key)
    if not signature_is_valid(parameters.partners[approval.name], approval.sig, signed_bytes):
        raise UploadSignature(f"the approval of {approval.name}", expected="its signature for this mandate")
    return approval


def _sums(study_run: _StudyRun, participants: tuple[str, ...]) -> dict[str, Values]:
    """Totals in, questions out, until every analysis has its result."""
    run = together({name: analysis.run(study_run.scope) for name, analysis in sorted(study_run.study.analyses.items())})
    documents = plan_bytes(plan_documents(study_run.study, study_run.scope, study_run.plans))
    total: Any = None
    last: tuple[Record, bytes] | None = None
    try:
        while True:
            asks: dict[str, Ask] = run.send(total)
            r = len(study_run.records)
            _require_not_revoked(study_run)
            study_run.tell(f"sum {r + 1} of at most {study_run.parameters.sums}")
            totals_shown = (
                _totals_for(study_run, participants, last) if last and need_totals(asks, study_run.plans) else {}
            )
            opening = _one_sum(study_run, participants, asks, documents, totals_shown)
            total = split(
                decode_sum(blocks_of(asks, study_run.plans), opening.total(), n=len(study_run.scope.partners))
            )
            last = opening.record(study_run.coordinator.identity.private, salt=study_run.coordinator.salt(r))
            study_run.records.append(last[0])
            study_run.publish("sum-record", {"record": last[0].document()})
            study_run.decisions += _judge(study_run, asks, total)
    except StopIteration as end:
        result: dict[str, Values] = end.value
        return result


def _totals_for(
    study_run: _StudyRun, participants: tuple[str, ...], last: tuple[Record, bytes]
) -> dict[str, tuple[Any, bytes]]:
    """What each node needs to recompute the last total: the record, and salt and uploads sealed to it."""
    record, salt = last
    body = salt + b"".join(study_run.uploads[-1][name] for name in participants)
    keys = {name: bytes.fromhex(study_run.coordinator.root.root.partners[name].seal) for name in participants}
    return {name: (record.document(), seal(body, key, study_run.mandate.digest)) for name, key in keys.items()}


def _one_sum(
    study_run: _StudyRun,
    participants: tuple[str, ...],
    asks: Mapping[str, Ask],
    documents: Mapping[tuple[str, str], bytes],
    totals_shown: Mapping[str, tuple[Any, bytes]],
) -> Opening:
    """Ask everybody, and check what comes."""
    r = len(study_run.records)
    asked_question = question(r, asks, study_run.plans, documents)
    opening = Opening(
        study_run.parameters,
        Context(study_run.transcript, r, asked_question.question_digest, participants),
        asked_question.layout,
    )
    sums, body = pack_asks(asks, study_run.plans)
    ask = AskMessage(mandate=study_run.mandate_digest, r=r, asks=sums, partners=participants)
    messages = {}
    for name in participants:
        record, sealed = totals_shown.get(name, (None, b""))
        shown = {} if record is None else {"record": record, "to": name}
        messages[name] = study_run.pack(ask.model_copy(update=shown), body + sealed)
    answers = _require_all(participants, study_run.exchange(messages), "upload")
    _require_not_revoked(study_run)  # meanwhile: then the total is not opened
    for answer in answers.values():
        opening.add(Upload.parse(answer.header, answer.body, asked_question.layout))
    study_run.uploads.append({name: answer.body for name, answer in answers.items()})
    return opening


def _judge(study_run: _StudyRun, asks: Mapping[str, Ask], total: Mapping[str, Mapping[str, Any]]) -> list[Decision]:
    """The rules on totals; the first that says no ends the study."""
    decisions = [
        rule.judge(total[name], study_run.scope.protections, study_run.parameters.m)
        for name, ask in sorted(asks.items())
        for rule in study_run.plans[name][ask.sum].rules
        if rule.where == "total"
    ]
    return list(require(decisions)) if decisions else []


def _require_all(participants: tuple[str, ...], answers: Mapping[str, RawMessage], kind: str) -> dict[str, RawMessage]:
    """Everybody's answer of this kind, or why not: after the start a refusal ends the study."""
    for name in participants:
        if name not in answers:
            raise Fault(f"partner {name!r} did not answer in time", remedy="run the study again")
        if answers[name].kind == "refusal":
            raise answers[name].read(RefusalMessage).refused()
        if answers[name].kind != kind:
            raise MessageInvalid(f"partner {name!r} answered with {answers[name].kind!r}", expected=kind)
    return {name: answers[name] for name in participants}
