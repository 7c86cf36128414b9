"""A node's half of the secure sum: a state machine without I/O of its own.  docs/protocol.md, 1.

A step out of order raises.  Every check comes before any change, and one transaction keeps the change; only what a
committed transaction holds is handed out, so a crash, a second process or a repeated request never gives two
different uploads for one sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from trust.decision import Decision, require
from trust.secure_sum.audit import check_record
from trust.secure_sum.errors import (
    AlreadyStarted,
    ApprovalInvalid,
    ApprovalSet,
    EphemeralKeyInvalid,
    PartnersInvalid,
    QuestionRepeated,
    RecordInvalid,
    StudyClosed,
    SumBudget,
    SumConflict,
    SumOrder,
    UploadShape,
)
from trust.secure_sum.frames import pair_key, ratchet, transcript
from trust.secure_sum.masks import Words, add_masks, raw, seeds
from trust.secure_sum.messages import Approval, Context, Record, Upload, signature_is_valid
from trust.secure_sum.parameters import Parameters
from trust.secure_sum.question import Arrays, Question, check_follows
from trust.secure_sum.state import Contribution, Reader, Store, StudyState, close_study

__all__ = ["Compute", "Gate", "Party", "Replay"]

Gate: TypeAlias = Callable[[], Iterable[Decision]]
"""The node's numbered checks, made again; one no refuses, and so does no decision at all."""
Replay: TypeAlias = Callable[[], Mapping[str, Arrays]]
"""By analysis, the values that its own `run` asks next on the audited totals."""
Compute: TypeAlias = Callable[[], Words]
"""This partner's part, its rules checked, encoded and filled: `encode_sum`.  Handed over: it is masked in place."""


class Party:
    """One node in one study's secure sums.

    `identity` is the node's signing key, pinned under `name` in the trust root; `threads` share the masking.
    Raises: PartnersInvalid.
    """

    def __init__(
        self, parameters: Parameters, name: str, identity: Ed25519PrivateKey, store: Store, *, threads: int = 1
    ) -> None:
        pinned = parameters.partners.get(name)
        if pinned is None or pinned.public_bytes_raw() != identity.public_key().public_bytes_raw():
            raise PartnersInvalid("a name or an identity key of another", expected="those of the trust root")
        self.parameters, self.name = parameters, name
        self._identity, self._store, self._threads = identity, store, threads

    def approve(self, gate: Gate, *, now: datetime) -> Approval:
        """Make this study's X25519 key, keep it, and sign it.  The gate includes the checks on rows.

        May be repeated until the start: the same key is signed again.  Raises: Refused (the gate), StudyClosed,
        AlreadyStarted, StoreUnavailable.
        """
        require(gate())
        parameters = self.parameters
        with self._store.transaction() as tx:
            state = tx.study(parameters.study)
            if state is None:
                secret = X25519PrivateKey.generate().private_bytes_raw()
                state = StudyState(parameters.study, "approved", parameters.mandate, parameters.root, ephemeral=secret)
                tx.put_study(state)
                tx.journal("study-approved", parameters.study, _utc(now), {"mandate": parameters.mandate.hex()})
            self._approved(state)
        key = X25519PrivateKey.from_private_bytes(state.ephemeral).public_key().public_bytes_raw()
        sig = self._identity.sign(Approval.message(parameters.mandate, parameters.root, self.name, key))
        return Approval(self.name, key, sig)

    def start(self, approvals: Sequence[Approval], *, now: datetime) -> bytes:
        """Start the study, once, from a set of approvals: derive the pair keys and delete my ephemeral key.

        Returns the transcript `T`, 32 bytes.  Nothing has changed where it raises: StudyClosed, AlreadyStarted,
        ApprovalSet, EphemeralKeyInvalid, ApprovalInvalid, StoreUnavailable.
        """
        parameters = self.parameters
        with self._store.transaction() as tx:
            state = self._approved(tx.study(parameters.study))
            # 1 the set: sorted, of the mandate's partners (all of them for `all`), me in it, at least m
            names = [approval.name for approval in approvals]
            fault = parameters.set_fault(names, among=list(parameters.partners), me=self.name)
            if fault or (parameters.participation == "all" and len(names) != len(parameters.partners)):
                raise ApprovalSet(
                    fault or "not every partner", expected=f"{parameters.participation}, {parameters.m} at least"
                )
            # 2 my own, stored key
            secret = X25519PrivateKey.from_private_bytes(state.ephemeral)
            keys = {approval.name: approval.key for approval in approvals}
            if keys[self.name] != secret.public_key().public_bytes_raw():
                raise EphemeralKeyInvalid("another key under my name", expected="the one of my last approval")
            # 3 each signature, under the pinned trust root
            for approval in approvals:
                message = Approval.message(parameters.mandate, parameters.root, approval.name, approval.key)
                if not signature_is_valid(parameters.partners[approval.name], approval.sig, message):
                    raise ApprovalInvalid(f"the approval of {approval.name}", expected="its signature for this mandate")
            # 4 no result of the key agreement is zero
            shared = {name: _agreed(secret, name, key) for name, key in keys.items() if name != self.name}
            common = transcript(parameters.mandate, parameters.root, keys)
            pairs = {name: pair_key(common, agreed, self.name, name) for name, agreed in shared.items()}
            tx.put_study(
                replace(state, status="started", ephemeral=b"", transcript=common, partners=tuple(names), keys=pairs)
            )
            tx.journal("study-started", parameters.study, _utc(now), {"T": common.hex(), "partners": names})
        return common

    def contribute(
        self,
        question: Question,
        partners: Sequence[str],
        *,
        gate: Gate,
        replay: Replay,
        compute: Compute,
        now: datetime,
    ) -> Upload:
        """My masked part of a sum over `partners`, signed.  `compute` is called only when every check has passed.

        A repeated request gets the stored bytes.  Raises, in this order: Refused (the gate), StudyClosed, SumOrder,
        SumConflict, SumBudget, SumOrder, PartnersInvalid, QuestionRepeated, StateNotDerived, whatever `compute`
        raises, StoreUnavailable.  The caller must still send it, and nothing else.
        """
        # 1 the gate again, expiry and revocation included
        require(gate())
        # 2 to 5 against the state
        state = self._require_started(self._store)
        contribution = self._contributed(self._store, state, question, partners)
        if contribution is not None:
            return self._stored(contribution)
        self._may_ask(self._store, state, question, partners)
        # 6 the question follows from the totals
        self._follows(question, replay)
        # 7 compute, mask, sign
        vector = self._vector(question, compute)
        context = Context(state.transcript, question.r, question.question_digest, tuple(partners))
        keys = _ratcheted(state.keys, question.r - state.epoch)
        plus, minus = seeds({name: keys[name] for name in partners if name != self.name}, context.digest, self.name)
        add_masks(vector, plus, minus, wide=question.layout.word == "wide", threads=self._threads)
        question.layout.normalise(vector)
        body = raw(vector)
        sha256 = hashlib.sha256(body).digest()
        sig = self._identity.sign(Upload.message(context.digest, self.name, sha256))
        made_now = Contribution(
            self.parameters.study, context, tuple(part.digest for part in question.parts), sha256, len(body), sig
        )
        # 2 to 5 once more under the lock: another process may have been first, and then its bytes are the ones to send
        with self._store.transaction() as tx:
            state = self._require_started(tx)
            contribution = self._contributed(tx, state, question, partners)
            if contribution is None:
                self._may_ask(tx, state, question, partners)
                tx.put_contribution(made_now, body)
                tx.put_study(replace(state, epoch=question.r + 1, keys=_ratcheted(keys, 1)))
                tx.journal("sum-contributed", made_now.study, _utc(now), _entry(made_now, question))
        if contribution is not None:
            return self._stored(contribution)
        return Upload(context.transcript, context.r, context.digest, self.name, sig, body)

    def settle(self, record: Record, coordinator: Ed25519PublicKey, *, now: datetime) -> None:
        """Take the record of a sum whose total I have audited: compare, journal, delete the stored upload.

        Raises: RecordInvalid, StoreUnavailable.
        """
        with self._store.transaction() as tx:
            contribution = tx.contribution(self.parameters.study, record.context.r)
            if contribution is None:
                raise RecordInvalid("a record of a sum without me", expected="one that I contributed to")
            check_record(record, contribution, self.name, coordinator)
            tx.forget_upload(contribution.study, record.context.r)
            tx.journal(
                "total-audited",
                contribution.study,
                _utc(now),
                {"r": record.context.r, "ctx": record.context.digest.hex()},
            )

    def close(self, reason: str, *, now: datetime) -> None:
        """End the study here and delete its keys: on expiry, revocation, a refusal, or at its end.

        `reason` is a rule's id.  Nothing happens where it is closed already.  Raises: StoreUnavailable.
        """
        close_study(self._store, self.parameters.study, reason, time=_utc(now))

    def _require_own(self, state: StudyState | None) -> StudyState:
        """The state of this study, open and under this mandate."""
        if state is None:
            raise SumOrder("a study that I have not approved", expected="an approval first")
        if state.status == "closed":
            raise StudyClosed("a closed study", expected="an open one")
        if (state.mandate, state.root) != (self.parameters.mandate, self.parameters.root):
            raise AlreadyStarted("another mandate or trust root", expected="the one that I approved")
        return state

    def _approved(self, state: StudyState | None) -> StudyState:
        state = self._require_own(state)
        if state.status != "approved":
            raise AlreadyStarted("a second start", expected="one")
        return state

    def _require_started(self, reader: Reader) -> StudyState:
        state = self._require_own(reader.study(self.parameters.study))
        if state.status != "started":
            raise SumOrder("a sum before the start", expected="the start of the study first")
        return state

    def _contributed(
        self, reader: Reader, state: StudyState, question: Question, partners: Sequence[str]
    ) -> Contribution | None:
        """Step 2: what was contributed to this sum, for this very context.  Raises: SumConflict."""
        contribution = reader.contribution(state.study, question.r)
        context = Context(state.transcript, question.r, question.question_digest, tuple(partners))
        if contribution is not None and contribution.context != context:
            raise SumConflict(f"sum {question.r} again, otherwise", expected="the question and the partners of before")
        return contribution

    def _may_ask(self, reader: Reader, state: StudyState, question: Question, partners: Sequence[str]) -> None:
        """Steps 3 to 5, in order."""
        parameters, r = self.parameters, question.r
        # 3 within the budget, and forward only
        if r >= parameters.sums:
            raise SumBudget(f"sum {r}", expected=f"{parameters.sums} sums, numbered from 0")
        if r < state.epoch:
            raise SumOrder(f"sum {r}", expected=f"sum {state.epoch} or later")
        # 4 exactly the partners that started the study
        fault = parameters.set_fault(partners, among=state.partners, me=self.name)
        if fault or tuple(partners) != state.partners:
            raise PartnersInvalid(fault or "a part of the partners", expected="all that started the study")
        # 5 each analysis' question is new here, and in other studies was put to the same partners only
        if len({part.digest for part in question.parts}) != len(question.parts):
            raise QuestionRepeated("two analyses with one question", expected="a new question each")
        for part in question.parts:
            for study, other_partners in reader.answered(part.digest):
                if study == parameters.study or other_partners != tuple(partners):
                    place = "in this study" if study == parameters.study else "in another study, of other partners"
                    raise QuestionRepeated(f"{part.analysis}/{part.sum} again, {place}", expected="a new question")

    def _follows(self, question: Question, replay: Replay) -> None:
        """Step 6."""
        derived = any(part.state == "derived" for part in question.parts)
        replayed = replay() if derived else {}
        for part in question.parts:
            check_follows(part, replayed.get(part.analysis))

    def _vector(self, question: Question, compute: Compute) -> Words:
        """Step 7: compute, and see that it is the vector of the plan."""
        vector, layout = compute(), question.layout
        if vector.shape != layout.shape or vector.dtype != layout.dtype or not vector.flags.c_contiguous:
            raise UploadShape("a vector of another shape or word", expected=f"{layout.word} of shape {layout.shape}")
        if int(vector[0, -1]) != 1 or vector[1:, -1].any():
            raise UploadShape("a vector with another check number", expected="1")
        return vector

    def _stored(self, contribution: Contribution) -> Upload:
        """A resend: the stored bytes."""
        body, context = self._store.upload_body(contribution), contribution.context
        return Upload(context.transcript, context.r, context.digest, self.name, contribution.sig, body)


def _agreed(secret: X25519PrivateKey, name: str, key: bytes) -> bytes:
    try:
        return secret.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:  # a wrong length, or a key of low order, which agrees on zero with every key
        raise EphemeralKeyInvalid(f"the key of {name}", expected="32 bytes, not of low order") from None


def _ratcheted(keys: Mapping[str, bytes], times: int) -> dict[str, bytes]:
    forward = dict(keys)
    for _ in range(times):
        forward = {name: ratchet(key) for name, key in forward.items()}
    return forward


def _entry(contribution: Contribution, question: Question) -> dict[str, object]:
    return {
        "asked": question.names,
        "bytes": contribution.size,
        "ctx": contribution.context.digest.hex(),
        "r": contribution.context.r,
        "sha256": contribution.sha256.hex(),
    }


def _utc(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
