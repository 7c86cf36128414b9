"""One study at one node: bytes in and bytes out, from the mandate to the close.

new -> approved -> started -> closed.  A message that does not fit the state is refused, and a refusal after the
start ends the study.  What leaves goes through `egress`; why something failed stays here.

A session that keeps its messages goes on after its process was killed: signed documents, asks and totals are in the
node's store until the close, and `Session.again` replays them.  The rows must be the same; else the study is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nodes.node import Node
from nodes.rows.editions import CohortRows
from nodes.rows.from_database import SourceAway
from nodes.study import gate
from nodes.study.answered_cohorts import AnsweredCohorts
from nodes.study.computation import Computation
from nodes.study.egress import Egress
from nodes.study.notices import Notices
from nodes.study.open_study import OpenStudy, asks_kept, kept_asks, rows_of, signed, signed_documents
from trust.canonical import parse
from trust.decision import Decisions, require
from trust.documents.mandate import SignedMandate
from trust.documents.study import Study
from trust.errors import AnalysisFailed, DataTrustError, MessageInvalid, Refused
from trust.protocol.asks import size, unpack_asks
from trust.protocol.messages import (
    DOWN,
    AskMessage,
    CloseMessage,
    MandateMessage,
    RawMessage,
    ReadyMessage,
    RefusalMessage,
    StartMessage,
    open_sealed,
    unpack,
)
from trust.secure_sum import Evidence, Record, audit, close_study
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.frames import transcript
from trust.secure_sum.masks import raw as raw_words
from trust.secure_sum.messages import signature_is_valid
from trust.signing.envelope import Envelope
from trust.times import write_time

__all__ = ["Session"]

_EXTRA_BODY_BYTES = 1 << 16
"""Bytes beyond what the plan says: salt and seal of shown totals, and room to name what is wrong."""


class Session:
    """A node's half of one study.

    Attributes:
        egress: what left, message by message.
        trouble: why the last message before the close was refused, in full; for the node's own operator, never sent.
        genuine: whether the coordinator has signed the last message.
    """

    def __init__(self, node: Node, *, keep: bool = False) -> None:
        """Args: keep: in the store what `again` needs."""
        self._node, self._keep = node, keep
        self._notices = Notices(node.root, node.store, node.clock, node.revocations)
        self.egress = Egress(node.identity)
        self.trouble: DataTrustError | None = None
        self._answered_cohorts = AnsweredCohorts(node.store.db, node.editions)
        self._to_record: tuple[CohortRows, list[str]] | None = None
        self.genuine = False
        self._state = "new"
        self._open_study: OpenStudy
        self._computation: Computation | None = None
        self._again = False
        self._mandate_taken = ""

    @classmethod
    def again(cls, node: Node, study: str, *, wait: bool = False) -> Session:
        """The session of a study that was open when the last process ended, as far as it had come.

        A session whose rows are not there any more, or whose root was replaced, comes back closed, `trouble` saying
        why.  Raises: StoreUnavailable; SourceAway instead, where `wait`, for a source that does not answer now.
        """
        session = cls(node, keep=True)
        try:
            session._replay(study, node.store.session(study))
        except DataTrustError as wrong:
            if wait and isinstance(wrong, SourceAway):
                raise
            session.trouble = wrong
            session._state = "closed"
            session._forget()
            close_study(node.store, study, wrong.rule, time=write_time(node.clock()))
        return session

    @property
    def open(self) -> bool:
        """Whether it holds rows or keys, and so must be kept."""
        return self._state in ("approved", "started")

    def abandon(self) -> None:
        """End a study that nobody goes on with.  Raises: StoreUnavailable."""
        if self.open:
            self._end("abandoned")

    def handle(self, raw: bytes, *, wait: bool = False) -> bytes:
        """Answer one message.  Whatever goes wrong leaves as a rule's id and its public text.

        Raises: SourceAway, where `wait`, for a source that does not answer now; nothing has changed.
        """
        try:
            self.genuine = False
            message = self._read(raw)
            if self._state == "closed":
                raise Refused("study-closed", "the study is closed at this partner")
            answer = {
                "mandate": self._mandate,
                "start": self._start,
                "ask": self._ask,
                "close": self._close,
            }
            return answer[message.kind](message)
        except DataTrustError as wrong:
            if wait and isinstance(wrong, SourceAway):
                raise
            return self._refuse(wrong)
        except Exception as wrong:
            failure = AnalysisFailed(
                f"an unexpected failure ({type(wrong).__name__})", remedy="see this node's own log"
            )
            failure.__cause__ = wrong
            return self._refuse(failure)

    def _read(self, raw: bytes) -> RawMessage:
        """A message that the coordinator has signed; newer roots and revocations in it are taken.

        A newer root proves itself, and may name the key that has signed this very message; but nothing is kept of a
        message that the coordinator, old or new, has not signed.
        """
        message = unpack(raw, DOWN, longest_body=self._longest_body())
        if self._state != "closed":
            self._notices.refresh()
        newer = self._notices.newer(message.header.get("roots", []))
        message.check_signature((newer[-1][0] if newer else self._notices.root).coordinator_keys)
        self.genuine = True
        self._notices.accept_roots(newer)
        self._notices.accept_revocations(message.header.get("revocations", []))
        return message

    def _longest_body(self) -> int:
        """Bytes that a message may carry now, known from the plan; longer ones are not even hashed."""
        if self._state != "started":
            return _EXTRA_BODY_BYTES
        plans, last = self._open_study.plans, self._open_study.last
        ask_bytes = sum(max(size(planned_sum.takes) for planned_sum in sums.values()) for sums in plans.values())
        shown_bytes = last[0].layout.nbytes * len(self._open_study.parameters.partners) if last else 0
        return _EXTRA_BODY_BYTES + ask_bytes + shown_bytes

    def _refuse(self, wrong: DataTrustError) -> bytes:
        """Why not, in public words.  A message that is none changes nothing; anything else ends the study here."""
        if self._state != "closed" or self.trouble is None:
            self.trouble = wrong
        if self._state == "new":
            self._forget()
            if self.genuine:  # anybody can send garbage; a journal that grew with it would fill the disk
                with suppress(Exception):  # a store that cannot write refuses all the same
                    self._node.journal("gate-refused", "", {"rule": wrong.rule})
        elif self._state != "closed" and not isinstance(wrong, MessageInvalid):
            with suppress(Exception):  # of the store or the clock: the study is closed all the same
                self._end(wrong.rule)
        if isinstance(wrong, Refused | SecureSumError):
            public = wrong.public
        else:
            text = f"the partner cannot answer ({wrong.code}); why is in its own log"
            public = {"rule": wrong.rule, "text": text, "remedy": "ask the partner"}
        return self.egress.send(RefusalMessage.model_validate({"name": self._node.name, **public}))

    # ---- after a restart

    def _replay(self, study: str, documents: Mapping[str, bytes]) -> None:
        """Stand where the last process stood.  Raises: Refused, SourceInvalid, Fault, StoreUnavailable."""
        state = self._node.store.study(study)
        if state is None or "signed" not in documents:
            raise Refused("study-closed", "nothing is kept of this study at this partner", remedy="file a new study")
        documents_signed = parse(documents["signed"], largest=1 << 22)
        mandate, study_signed = (Envelope.read(documents_signed[name]) for name in ("mandate", "study"))
        request = signed(self._node, self._notices.root, mandate, study_signed)
        view = replace(self._view(request.mandate, request.study), seen=False)
        require(gate.before_rows(request, view, now=self._node.clock()))  # policy, charter or dataset may be others now
        rows, names = rows_of(request.study, self._node.source, self._node.editions, now=self._node.clock())
        if not self._answered_cohorts.is_of(study, rows):
            if state.epoch:
                text = "the rows that this study began with are not there any more at a partner"
                raise Refused("edition-changed", text, remedy="file a new study")
            self._require_allowed(request, rows, names)
        self._begin(request, rows, names)
        open_study = self._open_study
        for r in range(state.epoch):
            if self._node.store.contribution(study, r) is None:
                continue  # one that was passed over
            asks = asks_kept(documents.get(f"ask {r}", b""), open_study.plans)
            asked_question = open_study.question(r, asks)
            open_study.answered(asked_question, asks)
            if f"total {r}" in documents:
                open_study.total(asked_question.layout.read(documents[f"total {r}"]))
        self._again = True
        self._state = state.status

    def _is_same_message(self, message: MandateMessage) -> bool:
        """Whether a message is the one that this study began with."""
        stored = self._node.store.session(self._open_study.study.id)
        return stored.get("signed") == signed_documents(message)

    # ---- the messages

    def _mandate(self, raw_message: RawMessage) -> bytes:
        """Verify what was signed, check before rows, freeze the rows, check after rows, approve."""
        message, node = raw_message.read(MandateMessage), self._node
        node.not_behind(message.head or "")
        if self._again and self._state == "approved" and self._is_same_message(message):
            # the answer was lost with the process
            return self._approve(self._still_allowed())
        self._in("new")
        request = signed(self._node, self._notices.root, message.mandate, message.study)
        mandate, study = request.mandate, request.study
        decisions = require(gate.before_rows(request, self._view(mandate, study), now=node.clock()))
        if not self._mandate_taken:  # else its source was away then
            rules, digest = [decision.rule for decision in decisions], mandate.digest.hex()
            about = {"decisions": rules, "mandate": digest, "root": mandate.mandate.root}
            node.journal("mandate-accepted", study.id, about)
            self._mandate_taken = digest
        rows, names = rows_of(study, node.source, node.editions, now=node.clock())
        after_rows = self._require_allowed(request, rows, names)
        self._begin(request, rows, names)
        self._open_study.computation.rehearse(self._open_study.expected or {})
        self._keep_part("signed", signed_documents(message))
        answer = self._approve(after_rows)
        self._state = "approved"
        return answer

    def _approve(self, decisions: Decisions) -> bytes:
        approval = self._open_study.party.approve(lambda: decisions, now=self._node.clock())
        return self.egress.send_approval(approval, self._node.head())

    def _require_allowed(self, request: gate.MandateRequest, rows: CohortRows, names: list[str]) -> Decisions:
        """The rules on these rows, which are to be recorded as answered before the first answer."""
        differing = self._answered_cohorts.judge(rows, names, request.study.protections.persons)
        decisions = require(gate.after_rows(request.study, request.scope, rows.frozen, differing))
        self._to_record = rows, names
        return decisions

    def _begin(self, request: gate.MandateRequest, rows: CohortRows, names: list[str]) -> None:
        """Rows, plan and the secure sum of a study that has passed the gate."""
        self._open_study = OpenStudy(self._node, self._notices.root, request, rows, names)
        self._computation = self._open_study.computation

    def _view(self, mandate: SignedMandate, study: Study) -> gate.NodeView:
        node = self._node
        is_begun = node.store.study(study.id) is not None
        revoked = self._notices.revoked(mandate.digest)
        return gate.NodeView(
            partner=node.name,
            root=self._notices.root,
            charter=node.charter,
            revoked=revoked,
            seen=is_begun,
            clock=node.on_time(),
            journal=node.can_write(),
            policy=node.policy,
        )

    def _still_allowed(self) -> Decisions:
        """Asked before the start and at each sum."""
        node, mandate = self._node, self._open_study.mandate
        self._notices.refresh()
        revoked = self._notices.revoked(mandate.digest)
        return gate.still_allowed(self._notices.root, mandate, revoked=revoked, clock=node.on_time(), now=node.clock())

    def _start(self, raw_message: RawMessage) -> bytes:
        """The partner set is fixed, and the keys of its pairs agreed."""
        self._in("approved", *(["started"] if self._again else []))
        message = raw_message.read(StartMessage)
        if message.mandate != self._open_study.mandate.digest.hex():
            raise MessageInvalid("a start of another mandate", expected="this study's")
        require(self._still_allowed())
        if self._state == "started":  # the answer was lost with the process: the same start has the same transcript
            keys = {approval.name: approval.key for approval in message.approvals}
            common = transcript(self._open_study.parameters.mandate, self._open_study.parameters.root, keys)
            state = self._node.store.study(self._open_study.study.id)
            if state is None or state.transcript != common:
                raise Refused(
                    "already-started", "the study was started with other approvals", remedy="file a new study"
                )
        else:
            common = self._open_study.party.start(message.approvals, now=self._node.clock())
        self._state = "started"
        return self.egress.send(ReadyMessage(name=self._node.name, T=common.hex()))

    def _ask(self, raw_message: RawMessage) -> bytes:
        """One sum: audit the totals that the question follows from, then gate, compute, rules, mask, and out."""
        self._in("started")
        message = raw_message.read(AskMessage)
        shows_total = message.record is not None
        open_study = self._open_study
        if message.mandate != open_study.mandate.digest.hex():
            raise MessageInvalid("a question of another mandate", expected="this study's")
        asks, rest = unpack_asks(message.asks, raw_message.body, open_study.plans)
        if rest and not shows_total:
            raise MessageInvalid(f"{len(rest)} bytes too many in a question", expected="none")
        asked_question = open_study.question(message.r, asks)
        repeated = open_study.repeats(asked_question)
        is_audited = self._again and open_study.last and open_study.audited == open_study.last[0].r
        if shows_total and not repeated and not is_audited:
            self._audit(message.record, rest)

        def allowed_and_next() -> Decisions:
            asks_due = open_study.last[1] if repeated and open_study.last else open_study.expected
            counts = {} if repeated else open_study.asked
            bytes_given = open_study.given + (0 if repeated else asked_question.layout.nbytes)
            decisions = require(self._still_allowed())
            following = require(
                gate.before_sum(open_study.mandate, asks, asks_due, open_study.plans, counts, bytes_given=bytes_given)
            )
            self._record()
            if not repeated:
                self._keep_part(f"ask {asked_question.r}", kept_asks(asks, open_study.plans))
            return Decisions([*decisions, *following])

        upload = open_study.party.contribute(
            asked_question,
            message.partners,
            gate=allowed_and_next,
            replay=lambda: {name: ask.values for name, ask in (open_study.expected or {}).items()},
            compute=lambda: open_study.computation.vector(asks),
            now=self._node.clock(),
        )
        if not repeated:
            open_study.answered(asked_question, asks)
        return self.egress.send_upload(upload)

    def _keep_part(self, key: str, raw: bytes) -> None:
        """What `again` needs, on the disk when this returns."""
        if self._keep:
            self._node.store.keep(self._open_study.study.id, key, raw)

    def _record(self) -> None:
        """Before the first answer: this cohort counts as answered from here on, whatever becomes of the study.

        Judged once more in the same transaction, since another study may have been answered meanwhile.
        """
        if self._to_record is None:
            return
        (rows, names), open_study = self._to_record, self._open_study
        with self._node.store.transaction() as tx:
            require([self._answered_cohorts.judge(rows, names, open_study.study.protections.persons)])
            self._answered_cohorts.record(open_study.study.id, rows, names, open_study.study.protections.persons)
            body = {"edition": rows.number, "taken": rows.date}
            tx.journal("edition-frozen", open_study.study.id, write_time(self._node.clock()), body)
        self._to_record = None

    def _audit(self, record_document: object, sealed: bytes) -> None:
        """Recompute the last total from the uploads of all, and replay the analyses on it."""
        open_study, node = self._open_study, self._node
        if open_study.last is None or open_study.expected is not None:
            raise Refused("sum-order", "totals are shown once, after the sum that they are of")
        last, _ = open_study.last
        record = Record.parse(record_document)
        uploads = open_sealed(sealed, node.seal, open_study.mandate.digest)
        salt, bodies = uploads[:32], memoryview(uploads)[32:]
        length = last.layout.nbytes
        contribution = node.store.contribution(open_study.study.id, last.r)
        if contribution is None or len(bodies) != length * len(record.context.partners):
            raise MessageInvalid("totals of another length", expected="the uploads of every partner of the sum")
        evidence = Evidence(
            record, salt, [bodies[offset : offset + length] for offset in range(0, len(bodies), length)]
        )
        coordinator = self._signer(record)
        words = audit(
            open_study.parameters, contribution, evidence, name=node.name, layout=last.layout, coordinator=coordinator
        )
        self._keep_part(f"total {last.r}", bytes(raw_words(words)))
        open_study.party.settle(record, coordinator, now=node.clock())
        open_study.total(words)

    def _signer(self, record: Record) -> Ed25519PublicKey:
        """The key of the coordinator's role that signed a record; any of them where none did."""
        keys = [Ed25519PublicKey.from_public_bytes(key) for key in self._notices.root.coordinator_keys]
        return next((key for key in keys if signature_is_valid(key, record.sig, record.message())), keys[0])

    def _close(self, raw_message: RawMessage) -> bytes:
        """Forget rows and keys, or that rows are waited for."""
        waiting = self._state == "new" and self._mandate_taken
        if not waiting:
            self._in("approved", "started")
        if raw_message.read(CloseMessage).mandate != (waiting or self._open_study.mandate.digest.hex()):
            raise MessageInvalid("a close of another mandate", expected="this study's")
        if waiting:
            self._state = "closed"
        else:
            self._end("mandate-revoked" if self._node.store.revoked(self._open_study.mandate.digest) else "closed")
        return self.egress.send(ReadyMessage(name=self._node.name, T="", head=self._node.head()))

    def _end(self, reason: str) -> None:
        """No message is answered from here on, whatever the store says."""
        self._state = "closed"
        self._forget()
        self._open_study.party.close(reason, now=self._node.clock())

    def _forget(self) -> None:
        """Rows, and what was computed from them."""
        self._to_record = None
        if self._computation is not None:
            self._computation.forget()

    def _in(self, *states: str) -> None:
        if self._state not in states:
            text = f"this message belongs to a study that is {' or '.join(states)}"
            raise Refused("message-order", text, remedy="begin the study again")
