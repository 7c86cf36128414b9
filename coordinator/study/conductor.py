"""The coordinator's half of a study: ask, open the total, judge it, and let the analysis ask again.

It holds nothing but totals: with the stored totals a study is replayed to where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from coordinator.study.channel import Book, Channel
from trust.analyses.base import Ask, Scope, Sum, Values, together
from trust.decision import Decision, Decisions, require
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import Study, plan_documents
from trust.documents.votes import read_revocation
from trust.errors import Fault, MessageInvalid, Refused
from trust.logs.checkpoint import journal_origin, read_checkpoint
from trust.privacy.protections import Protections
from trust.protocol.asks import blocks_of, need_totals, plan_bytes, question, split
from trust.protocol.messages import UP, check_signature, pack_asks, pack_signed, seal, unpack
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
_CLOSING = 10.0
"""Seconds for the answers to a close, on which nothing depends."""


@dataclass(frozen=True)
class Coordinator:
    """Who conducts: its signing key, the trust root whose coordinator it is, and its book.

    Attributes:
        roots: signed versions of the root, for nodes that have an older one.
        least: the protections that the charter asks for.
        go_on: asked before each sum; raises where the study is to end.
        salt: 32 bytes for the record of a sum, by its number.
    """

    identity: Signer
    root: TrustRoot
    book: Book | None = None
    roots: tuple[Envelope, ...] = ()
    least: Protections | None = None
    go_on: Callable[[], None] = lambda: None
    salt: Callable[[int], bytes] = lambda r: os.urandom(32)


@dataclass(frozen=True)
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


@dataclass
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

    def exchange(
        self, messages: Mapping[str, bytes], deadline: float | None = None
    ) -> dict[str, tuple[dict[str, Any], bytes]]:
        """Answers by partner, each of a kind that a node may send, and signed where the kind is."""
        answers = self.channel.exchange(messages, deadline=self.patience if deadline is None else deadline)
        found = {}
        for name, raw in answers.items():
            header, body = unpack(raw, UP)
            if name not in messages or header.get("name") != name:
                raise MessageInvalid(f"an answer of {name!r} under another name", expected="its own")
            if header["kind"] in ("ready", "refusal"):
                check_signature(header, body, [self.parameters.partners[name].public_bytes_raw()])
            found[name] = header, body
        return found

    def message(self, kind: str, fields: Mapping[str, Any], body: bytes = b"") -> bytes:
        """A signed message, with every revocation of this mandate that there is."""
        told = [envelope.document() for envelope in self.revocations()]
        more = {"revocations": told} if told else {}
        return pack_signed({"kind": kind, **fields, **more}, self.coordinator.identity, body)

    def revocations(self) -> list[Envelope]:
        """Those of this mandate, signed by a member of this root."""
        book, found = self.coordinator.book, []
        for envelope in book.revocations("sha256:" + self.mandate.digest.hex()) if book else ():
            with suppress(Refused):  # of a former member
                read_revocation(envelope, self.coordinator.root.root)
                found.append(envelope)
        return found

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """One entry of the register, where there is one."""
        if self.coordinator.book:
            self.coordinator.book.publish(kind, self.study.id, body)

    def keep_head(self, name: str, header: Mapping[str, Any]) -> None:
        """A node's signed head of its journal, for the register; one that is not its own is left out."""
        note, root = header.get("head"), self.coordinator.root.root
        if isinstance(note, str) and note:
            with suppress(MessageInvalid, Refused):
                origin, keys = journal_origin(root.trust, name), [root.verify_keys()[name]]
                size = read_checkpoint(note, origin, keys).size
                if size >= self._known(name, origin, keys):  # two studies side by side may answer out of order
                    self.publish("journal-head", {"partner": name, "note": note})

    def _known(self, name: str, origin: str, keys: list[bytes]) -> int:
        """The size of a partner's last head under the key that it has now, 0 where there is none."""
        with suppress(MessageInvalid, Refused):
            last = self.coordinator.book.head(name) if self.coordinator.book else ""
            return read_checkpoint(last, origin, keys).size if last else 0
        return 0

    @property
    def of(self) -> dict[str, str]:
        """Which mandate a message belongs to."""
        return {"mandate": self.mandate.digest.hex()}


def conduct(
    coordinator: Coordinator,
    study: Envelope,
    mandate: Envelope,
    scope: Scope,
    channel: Channel,
    *,
    deadline: float = 60.0,
    patience: float | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> StudyOutcome:
    """Carry a study from the mandate to its results before release.

    Args:
        study, mandate: as they were signed.
        deadline: seconds for the roll call: who has not answered by then takes no part.
        patience: seconds that any later answer may take, since a study cannot go on without it; `deadline` if not said.
        tell: is told the state in words, for a person who waits.

    Raises: Refused with the rule's id; AnalysisFailed where the data give no answer; SecureSumError where a sum does
        not open; Fault where a partner is silent.
    """
    signed = SignedMandate(mandate, coordinator.root)
    written = Study.read(study.unverified_payload)
    plans = {name: analysis.plan(scope) for name, analysis in sorted(written.analyses.items())}
    partners = coordinator.root.root.verify_keys()
    parameters = Parameters(
        study=written.id,
        mandate=signed.digest,
        root=coordinator.root.digest,
        partners={n: Ed25519PublicKey.from_public_bytes(partners[n]) for n in signed.mandate.partners},
        m=signed.mandate.m,
        c=signed.mandate.c,
        sums=signed.mandate.sums,
        participation=signed.mandate.participation,
    )
    patient = deadline if patience is None else patience
    envelopes = (study, mandate)
    on = _StudyRun(coordinator, written, envelopes, signed, scope, plans, channel, deadline, patient, tell, parameters)
    try:
        joined, absent = _roll_call(on)
        values = _sums(on, joined)
    finally:
        _close(on)
    return StudyOutcome(values, joined, absent, Decisions(on.decisions), tuple(on.records), tuple(on.uploads))


def _close(on: _StudyRun) -> None:
    """Everybody forgets rows and keys; nothing depends on the answers, and the heads of journals are kept."""
    closing = dict.fromkeys(on.open, on.message("close", on.of))
    for name, raw in on.channel.exchange(closing, deadline=min(on.deadline, _CLOSING)).items():
        with suppress(MessageInvalid):
            header, _ = unpack(raw, UP)
            on.keep_head(name, header)


def _roll_call(on: _StudyRun) -> tuple[tuple[str, ...], dict[str, Refused]]:
    """Who joins: the partners whose approvals are in, at least m of them."""
    named = on.scope.partners
    on.tell(f"asking {len(named)} partners")
    study, mandate = (envelope.document() for envelope in on.envelopes)
    on.open = named
    book, roots = on.coordinator.book, [envelope.document() for envelope in on.coordinator.roots]
    fields = {"mandate": mandate, "study": study, **({"roots": roots} if roots else {})}
    heads = {name: book.head(name) if book else "" for name in named}
    asked = {
        name: on.message("mandate", {**fields, **({"head": head} if head else {})}) for name, head in heads.items()
    }
    answers = on.exchange(asked, on.deadline)
    refused = [name for name in named if name in answers and answers[name][0]["kind"] == "refusal"]
    absent = {name: _refusal(answers[name][0]) for name in refused}
    for rule in sorted({refusal.rule for refusal in absent.values()}):
        # who refused, and how many did, stays out of the register: it may say at how many there are few persons
        refusal = next(refusal for refusal in absent.values() if refusal.rule == rule)
        on.publish("refusal", {"rule": rule, "text": refusal.text, "remedy": refusal.remedy, "partner": ""})
    on.open = tuple(name for name in named if name not in absent)
    joined = tuple(name for name in on.open if name in answers)
    absent |= {name: Refused("silent", "the partner did not answer in time") for name in named if name not in answers}
    on.decisions.append(_enough(on, joined, absent))
    approvals = []
    for name, (header, _) in _all(joined, answers, "approval").items():
        approvals.append(_approval(on, name, header))
        on.keep_head(name, header)
    _not_revoked(on)
    listed = [{"name": a.name, "E": a.key.hex(), "sig": a.sig.hex()} for a in approvals]
    start = on.message("start", {**on.of, "approvals": listed})
    on.transcript = transcript(on.parameters.mandate, on.parameters.root, {a.name: a.key for a in approvals})
    for name, (header, _) in _all(joined, on.exchange(dict.fromkeys(joined, start)), "ready").items():
        if header.get("T") != on.transcript.hex():
            raise TranscriptDiffers(f"another transcript at {name}", expected="the same approvals everywhere")
    return joined, absent


def _not_revoked(on: _StudyRun) -> None:
    """Raises: Refused.  Nodes refuse as well; they are told with the close."""
    on.coordinator.go_on()
    if on.revocations():
        raise Refused("mandate-revoked", "a member of the committee has revoked the mandate", "ask for a new one")


def _enough(on: _StudyRun, joined: tuple[str, ...], absent: Mapping[str, Refused]) -> Decision:
    """Whether those who joined may start; the yes.  Raises: Refused."""
    named = on.scope.partners
    rules = sorted({refused.rule for refused in absent.values()})
    stricter = on.coordinator.least is not None and on.scope.protections != on.coordinator.least
    for refused in absent.values():
        if refused.rule in _TELLS_APART or (stricter and refused.rule in _THRESHOLDS):
            raise refused
    if absent and (on.scope.protections.participation == "all" or (not joined and len(rules) == 1)):
        raise next(iter(absent.values()))
    remedies = sorted({refused.remedy for refused in absent.values() if refused.remedy})
    why = f"; those that do not, because of: {', '.join(rules)}" if rules else ""
    decision = Decision(
        "organisations",
        len(joined) >= on.parameters.m,
        f"at least {on.parameters.m} partners take part; {len(joined)} of {len(named)} do{why}",
        "; ".join(remedies) or "name more partners",
    )
    return require([decision])[0]


def _approval(on: _StudyRun, name: str, header: Mapping[str, Any]) -> Approval:
    """A partner's signed ephemeral key.  Raises: MessageInvalid, UploadSignature."""
    try:
        approval = Approval(name, bytes.fromhex(str(header["E"])), bytes.fromhex(str(header["sig"])))
    except (KeyError, ValueError):
        raise MessageInvalid(f"an approval of {name!r} that cannot be read", expected="E and sig in hex") from None
    message = Approval.message(on.parameters.mandate, on.parameters.root, name, approval.key)
    if not signature_is_valid(on.parameters.partners[name], approval.sig, message):
        raise UploadSignature(f"the approval of {name}", expected="its signature for this mandate")
    return approval


def _sums(on: _StudyRun, joined: tuple[str, ...]) -> dict[str, Values]:
    """Totals in, questions out, until every analysis has its result."""
    run = together({name: analysis.run(on.scope) for name, analysis in sorted(on.study.analyses.items())})
    documents = plan_bytes(plan_documents(on.study, on.scope, on.plans))
    total: Any = None
    last: tuple[Record, bytes] | None = None
    try:
        while True:
            asks: dict[str, Ask] = run.send(total)
            r = len(on.records)
            _not_revoked(on)
            on.tell(f"sum {r + 1} of at most {on.parameters.sums}")
            shown = _shown(on, joined, last) if last and need_totals(asks, on.plans) else {}
            opening = _one_sum(on, joined, asks, documents, shown)
            total = split(decode_sum(blocks_of(asks, on.plans), opening.total(), n=len(on.scope.partners)))
            last = opening.record(on.coordinator.identity.private, salt=on.coordinator.salt(r))
            on.records.append(last[0])
            on.publish("sum-record", {"record": last[0].document()})
            on.decisions += _judge(on, asks, total)
    except StopIteration as end:
        result: dict[str, Values] = end.value
        return result


def _shown(
    on: _StudyRun, joined: tuple[str, ...], last: tuple[Record, bytes]
) -> dict[str, tuple[dict[str, Any], bytes]]:
    """What each node needs to recompute the last total: the record, and salt and uploads sealed to it."""
    record, salt = last
    body = salt + b"".join(on.uploads[-1][name] for name in joined)
    keys = {name: bytes.fromhex(on.coordinator.root.root.partners[name].seal) for name in joined}
    return {
        name: ({"record": record.document(), "to": name}, seal(body, key, on.mandate.digest))
        for name, key in keys.items()
    }


def _one_sum(
    on: _StudyRun,
    joined: tuple[str, ...],
    asks: Mapping[str, Ask],
    documents: Mapping[tuple[str, str], bytes],
    shown: Mapping[str, tuple[dict[str, Any], bytes]],
) -> Opening:
    """Ask everybody, and check what comes."""
    r = len(on.records)
    asked = question(r, asks, on.plans, documents)
    opening = Opening(on.parameters, Context(on.transcript, r, asked.question_digest, joined), asked.layout)
    sums, body = pack_asks(asks, on.plans)
    header = {**on.of, "r": r, "asks": sums, "partners": list(joined)}
    messages = {}
    for name in joined:
        more, sealed = shown.get(name, ({}, b""))
        messages[name] = on.message("ask", {**header, **more}, body + sealed)
    answers = _all(joined, on.exchange(messages), "upload")
    _not_revoked(on)  # meanwhile: then the total is not opened
    for given, words in answers.values():
        opening.add(Upload.parse(given, words, asked.layout))
    on.uploads.append({name: words for name, (_, words) in answers.items()})
    return opening


def _judge(on: _StudyRun, asks: Mapping[str, Ask], total: Mapping[str, Mapping[str, Any]]) -> list[Decision]:
    """The rules on totals; the first that says no ends the study."""
    judged = [
        rule.judge(total[name], on.scope.protections, on.parameters.m)
        for name, ask in sorted(asks.items())
        for rule in on.plans[name][ask.sum].rules
        if rule.where == "total"
    ]
    return list(require(judged)) if judged else []


def _all(
    joined: tuple[str, ...], answers: Mapping[str, tuple[dict[str, Any], bytes]], kind: str
) -> Mapping[str, tuple[dict[str, Any], bytes]]:
    """Everybody's answer of this kind, or why not: after the start a refusal ends the study."""
    for name in joined:
        if name not in answers:
            raise Fault(f"partner {name!r} did not answer in time; the study must be run again")
        if answers[name][0]["kind"] == "refusal":
            raise _refusal(answers[name][0])
        if answers[name][0]["kind"] != kind:
            raise MessageInvalid(f"partner {name!r} answered with {answers[name][0]['kind']!r}", expected=kind)
    return {name: answers[name] for name in joined}


def _refusal(header: Mapping[str, Any]) -> Refused:
    words = [str(header.get(key, ""))[:500] for key in ("rule", "text", "remedy")]
    return Refused(words[0] or "refused", words[1], words[2])
