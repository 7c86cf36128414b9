"""One study at one node: bytes in and bytes out, from the mandate to the close.

new -> approved -> started -> closed.  A message that does not fit the state is refused, and a refusal after the
start ends the study.  What leaves goes through `egress`; why something failed stays here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nodes import gate
from nodes.answered import Answered
from nodes.computation import Computation
from nodes.editions import Taken
from nodes.egress import Egress
from nodes.node import Node
from nodes.notices import Notices
from trust.analyses.base import Ask, Scope, Sum, together
from trust.cohort import Cohort
from trust.dataset import PARTNER
from trust.decision import Decisions, require
from trust.errors import AnalysisFailed, DataTrustError, MessageInvalid, Refused, sentence
from trust.mandate import SignedMandate
from trust.root import TrustRoot
from trust.rows import partner_rows
from trust.secure_sum import (
    Approval,
    Evidence,
    Parameters,
    Party,
    Question,
    Record,
    audit,
    decode_sum,
)
from trust.secure_sum.errors import SecureSumError
from trust.secure_sum.messages import signed_by
from trust.signing import Envelope, sha256
from trust.study import Study, plan, plan_documents, signed_study
from trust.sums import blocks_of, only_names, plan_bytes, question, split
from trust.times import write_time
from trust.wire import DOWN, check_signature, open_sealed, size, unpack, unpack_asks

__all__ = ["Session"]

_LONGEST_BODY = 1 << 16
"""Bytes beyond what the plan says: salt and seal of shown totals, and room to name what is wrong."""


@dataclass(frozen=True)
class _Study:
    """A study that has passed the gate."""

    study: Study
    mandate: SignedMandate
    scope: Scope
    plans: dict[str, dict[str, Sum]]
    documents: dict[tuple[str, str], bytes]
    parameters: Parameters
    party: Party
    computation: Computation


class Session:
    """A node's half of one study.

    Attributes:
        egress: what left, message by message.
        trouble: why the last message before the close was refused, in full; for the node's own operator, never sent.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._notices = Notices(node.root, node.store, node.clock, node.revocations)
        self.egress = Egress(node.identity)
        self.trouble: DataTrustError | None = None
        self._answered = Answered(node.store.db, node.editions)
        self._to_record: tuple[Taken, list[str]] | None = None
        self._genuine = False
        self._state = "new"
        self._on: _Study
        self._computation: Computation | None = None
        self._run: Any = None
        self._expected: dict[str, Ask] | None = None
        self._asked: dict[tuple[str, str], int] = {}
        self._last: tuple[Question, dict[str, Ask]] | None = None
        self._given = 0

    @property
    def open(self) -> bool:
        """Whether it holds rows or keys, and so must be kept."""
        return self._state in ("approved", "started")

    def abandon(self) -> None:
        """End a study that nobody goes on with.  Raises: StoreUnavailable."""
        if self.open:
            self._end("abandoned")

    def handle(self, raw: bytes) -> bytes:
        """Answer one message.  Whatever goes wrong leaves as a rule's id and its public text."""
        try:
            self._genuine = False
            header, body = self._read(raw)
            if self._state == "closed":
                raise Refused("study-closed", "the study is closed at this partner")
            answer = {
                "mandate": self._mandate,
                "start": self._start,
                "ask": self._ask,
                "close": self._close,
            }
            return answer[header["kind"]](header, body)
        except DataTrustError as wrong:
            return self._refuse(wrong)
        except Exception as wrong:
            failure = AnalysisFailed(f"an unexpected failure ({type(wrong).__name__})", "see this node's own log")
            failure.__cause__ = wrong
            return self._refuse(failure)

    def _read(self, raw: bytes) -> tuple[dict[str, Any], bytes]:
        """Header and body of a message that the coordinator has signed; newer roots and revocations in it are taken.

        A newer root proves itself, and may name the key that has signed this very message; but nothing is kept of a
        message that the coordinator, old or new, has not signed.
        """
        header, body = unpack(raw, DOWN, longest_body=self._longest_body())
        if self._state != "closed":
            self._notices.refresh()
        newer = self._notices.newer(header.get("roots", []))
        check_signature(header, body, _coordinator(newer[-1][0] if newer else self._notices.root))
        self._genuine = True
        self._notices.accept_roots(newer)
        self._notices.accept_revocations(header.get("revocations", []))
        return {name: value for name, value in header.items() if name not in ("sig", "roots", "revocations")}, body

    def _longest_body(self) -> int:
        """Bytes that a message may carry now, known from the plan; longer ones are not even hashed."""
        if self._state != "started":
            return _LONGEST_BODY
        plans, last = self._on.plans, self._last
        asked = sum(max(size(planned.takes) for planned in sums.values()) for sums in plans.values())
        shown = last[0].layout.nbytes * len(self._on.parameters.partners) if last else 0
        return _LONGEST_BODY + asked + shown

    def _refuse(self, wrong: DataTrustError) -> bytes:
        """Why not, in public words.  A message that is none changes nothing; anything else ends the study here."""
        if self._state != "closed" or self.trouble is None:
            self.trouble = wrong
        rule = wrong.rule if isinstance(wrong, Refused) else wrong.code
        if self._state == "new":
            self._forget()
            if self._genuine:  # anybody can send garbage; a journal that grew with it would fill the disk
                with suppress(Exception):  # a store that cannot write refuses all the same
                    self._node.journal("gate-refused", "", {"rule": rule})
        elif self._state != "closed" and not isinstance(wrong, MessageInvalid):
            with suppress(Exception):  # of the store or the clock: the study is closed all the same
                self._end(rule)
        if isinstance(wrong, Refused):
            public = {"rule": wrong.rule, "text": wrong.text, "remedy": wrong.remedy}
        elif isinstance(wrong, SecureSumError):
            public = {"rule": wrong.code, "text": sentence(wrong.got, wrong.expected, ""), "remedy": wrong.remedy}
        else:
            text = f"the partner cannot answer ({wrong.code}); why is in its own log"
            public = {"rule": wrong.code, "text": text, "remedy": "ask the partner"}
        return self.egress.send({"kind": "refusal", "name": self._node.name, **public})

    # ---- the messages

    def _mandate(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """Verify what was signed, check before rows, freeze the rows, check after rows, approve."""
        self._in("new")
        _closed(header, {"kind", "v", "mandate", "study"} | ({"head"} & set(header)), body)
        node, root = self._node, self._notices.root
        node.not_behind(header.get("head", ""))
        mandate = SignedMandate(Envelope.read(header["mandate"]), root)
        envelope = Envelope.read(header["study"])
        study = signed_study(envelope, root.root)
        partners = mandate.mandate.partners
        if node.name not in partners or not set(partners) <= set(root.root.partners):
            raise Refused("partners-invalid", "the mandate names this partner, and only partners of the trust root")
        scope = Scope(node.dataset, partners, study.protections, node.charter.partner_may_be_shown)
        asked = gate.Asked(mandate, study, sha256(envelope.unverified_payload), scope)
        allowed = require(gate.before_rows(asked, self._known(mandate, study), now=node.clock()))
        node.journal(
            "mandate-accepted",
            study.id,
            {
                "decisions": [decision.rule for decision in allowed],
                "mandate": mandate.digest.hex(),
                "root": mandate.mandate.root,
            },
        )
        cohort = Cohort.parse(study.cohort, node.dataset) if study.cohort else None
        names = [name for analysis in study.analyses.values() for name in analysis.reads()]
        taken = node.editions.freeze(node.source, names, cohort, now=node.clock())
        edition, k = taken.edition, study.protections.persons
        after = require(gate.after_rows(study, scope, edition, self._answered.judge(taken, names, k)))
        self._to_record = taken, names
        rows = partner_rows(edition.rows, partners.index(node.name)) if PARTNER in names else edition.rows
        plans = plan(study, scope)
        computation = self._computation = Computation(study, scope, plans, rows)
        keys = {
            name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(root.root.partners[name].sign)) for name in partners
        }
        parameters = Parameters(
            study=study.id,
            mandate=mandate.digest,
            root=root.digest,
            partners=keys,
            m=mandate.mandate.m,
            c=mandate.mandate.c,
            sums=mandate.mandate.sums,
            participation=mandate.mandate.participation,
        )
        party = Party(parameters, node.name, node.identity.private, node.store)
        documents = plan_bytes(plan_documents(study, scope, plans))
        self._on = _Study(study, mandate, scope, plans, documents, parameters, party, computation)
        self._run = together({name: analysis.run(scope) for name, analysis in sorted(study.analyses.items())})
        self._expected = self._run.send(None)
        computation.rehearse(self._expected or {})
        approval = party.approve(lambda: after, now=node.clock())
        self._state = "approved"
        return self.egress.send_approval(approval, self._node.head())

    def _known(self, mandate: SignedMandate, study: Study) -> gate.Known:
        node = self._node
        seen = node.store.study(study.id) is not None
        revoked = self._notices.revoked(mandate.digest)
        return gate.Known(
            node.name, self._notices.root, node.charter, revoked, seen, node.on_time(), node.can_write(), node.policy
        )

    def _still_allowed(self) -> Decisions:
        """Asked before the start and at each sum."""
        node, mandate = self._node, self._on.mandate
        self._notices.refresh()
        revoked = self._notices.revoked(mandate.digest)
        return gate.still_allowed(self._notices.root, mandate, revoked=revoked, clock=node.on_time(), now=node.clock())

    def _start(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """The partner set is fixed, and the keys of its pairs agreed."""
        self._in("approved")
        _closed(header, {"kind", "v", "mandate", "approvals"}, body)
        if header["mandate"] != self._on.mandate.digest.hex():
            raise MessageInvalid("a start of another mandate", expected="this study's")
        require(self._still_allowed())
        common = self._on.party.start([_approval(a) for a in _list(header["approvals"])], now=self._node.clock())
        self._state = "started"
        return self.egress.send({"kind": "ready", "name": self._node.name, "T": common.hex()})

    def _ask(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """One sum: audit the totals that the question follows from, then gate, compute, rules, mask, and out."""
        self._in("started")
        shown = {"record", "to"} if "record" in header else set()
        _closed(header, {"kind", "v", "mandate", "r", "asks", "partners"} | shown, None)
        on, node = self._on, self._node
        if header["mandate"] != on.mandate.digest.hex() or type(header["r"]) is not int or not 0 <= header["r"] < 2**32:
            raise MessageInvalid("a question of another mandate, or without a number", expected="this study's")
        asks, rest = unpack_asks(header["asks"], body, on.plans)
        partners = only_names(header["partners"])
        if rest and not shown:
            raise MessageInvalid(f"{len(rest)} bytes too many in a question", expected="none")
        asked = question(header["r"], asks, on.plans, on.documents)
        repeated = self._last is not None and self._last[0].r == asked.r
        if shown and not repeated:
            self._audit(header, rest)

        def allowed_and_next() -> Decisions:
            expected = self._last[1] if repeated and self._last else self._expected
            counts = {} if repeated else self._asked
            given = self._given + (0 if repeated else asked.layout.nbytes)
            allowed = require(self._still_allowed())
            following = require(gate.before_sum(on.mandate, asks, expected, on.plans, counts, given=given))
            self._record()
            return Decisions([*allowed, *following])

        upload = on.party.contribute(
            asked,
            partners,
            gate=allowed_and_next,
            replay=lambda: {name: ask.values for name, ask in (self._expected or {}).items()},
            compute=lambda: on.computation.vector(asks),
            now=node.clock(),
        )
        if not repeated:
            self._given += asked.layout.nbytes
            self._last = asked, asks
            self._expected = None
            for name, ask in asks.items():
                self._asked[name, ask.sum] = self._asked.get((name, ask.sum), 0) + 1
        return self.egress.send_upload(upload)

    def _record(self) -> None:
        """Before the first answer: this cohort counts as answered from here on, whatever becomes of the study.

        Judged once more in the same transaction, since another study may have been answered meanwhile.
        """
        if self._to_record is None:
            return
        (taken, names), on = self._to_record, self._on
        with self._node.store.transaction() as tx:
            require([self._answered.judge(taken, names, on.study.protections.persons)])
            self._answered.record(on.study.id, taken, names, on.study.protections.persons)
            body = {"edition": taken.number, "taken": taken.date}
            tx.journal("edition-frozen", on.study.id, write_time(self._node.clock()), body)
        self._to_record = None

    def _audit(self, header: Mapping[str, Any], sealed: bytes) -> None:
        """Recompute the last total from the uploads of all, and replay the analyses on it."""
        on, node = self._on, self._node
        if self._last is None or self._expected is not None:
            raise Refused("sum-order", "totals are shown once, after the sum that they are of")
        last, asks = self._last
        record = Record.parse(header["record"])
        opened = open_sealed(sealed, node.seal, on.mandate.digest)
        salt, bodies = opened[:32], memoryview(opened)[32:]
        length = last.layout.nbytes
        kept = node.store.contribution(on.study.id, last.r)
        if kept is None or len(bodies) != length * len(record.context.partners):
            raise MessageInvalid("totals of another length", expected="the uploads of every partner of the sum")
        evidence = Evidence(record, salt, [bodies[at : at + length] for at in range(0, len(bodies), length)])
        coordinator = self._signer(record)
        words = audit(on.parameters, kept, evidence, name=node.name, layout=last.layout, coordinator=coordinator)
        on.party.settle(record, coordinator, now=node.clock())
        totals = split(decode_sum(blocks_of(asks, on.plans), words, n=len(on.scope.partners)))
        try:
            self._expected = self._run.send(totals)
        except StopIteration:
            self._expected = None

    def _signer(self, record: Record) -> Ed25519PublicKey:
        """The key of the coordinator's role that signed a record; any of them where none did."""
        keys = [Ed25519PublicKey.from_public_bytes(key) for key in _coordinator(self._notices.root)]
        return next((key for key in keys if signed_by(key, record.sig, record.message())), keys[0])

    def _close(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """Forget rows and keys."""
        self._in("approved", "started")
        _closed(header, {"kind", "v", "mandate"}, body)
        if header["mandate"] != self._on.mandate.digest.hex():
            raise MessageInvalid("a close of another mandate", expected="this study's")
        self._end("mandate-revoked" if self._node.store.revoked(self._on.mandate.digest) else "closed")
        return self.egress.send({"kind": "ready", "name": self._node.name, "T": "", "head": self._node.head()})

    def _end(self, reason: str) -> None:
        """No message is answered from here on, whatever the store says."""
        self._state = "closed"
        self._forget()
        self._on.party.close(reason, now=self._node.clock())

    def _forget(self) -> None:
        """Rows, and what was computed from them."""
        self._to_record = None
        if self._computation is not None:
            self._computation.forget()

    def _in(self, *states: str) -> None:
        if self._state not in states:
            text = f"this message belongs to a study that is {' or '.join(states)}"
            raise Refused("message-order", text, "begin the study again")


def _coordinator(root: TrustRoot) -> list[bytes]:
    """Raw keys of the coordinator."""
    return list(root.root.keys_of("coordinator").values())


def _closed(header: Mapping[str, Any], fields: set[str], body: bytes | None) -> None:
    """Exactly these fields, and no body where none belongs."""
    if set(header) != fields or body:
        raise MessageInvalid("a message with missing or unknown fields", expected=", ".join(sorted(fields)))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise MessageInvalid("something that is no list of approvals", expected="at most 1,000")
    return value


def _approval(value: Any) -> Approval:
    """An approval from the start message.  Raises: MessageInvalid; its signature is judged by the party."""
    if (
        not isinstance(value, dict)
        or set(value) != {"name", "E", "sig"}
        or not all(isinstance(v, str) for v in value.values())
    ):
        raise MessageInvalid("an approval with missing or unknown fields", expected="name, E, sig")
    try:
        return Approval(value["name"], bytes.fromhex(value["E"]), bytes.fromhex(value["sig"]))
    except ValueError:
        raise MessageInvalid("an approval that is not hex", expected="name, E, sig") from None
