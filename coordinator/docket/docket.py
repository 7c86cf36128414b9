"""The docket: studies that were filed, the committee's signatures on their mandates, and where each stands.

Everything that the public may see is written to the register in the same transaction.  The coordinator gathers
signatures and holds no member's key; what it cannot do is make a node believe it: nodes verify every signature.
Of what is handed in, only valid signatures are kept, one a key.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from coordinator.docket.database import open_database
from coordinator.docket.register import Register
from coordinator.docket.roots import Roots
from coordinator.docket.study_state import KeptMessages, Leases, ProgressNotes
from trust.documents.filed_study import FiledStudy, TrustDocuments, lapse, read_text, valid_only, write_text
from trust.documents.mandate import SignedMandate
from trust.documents.root import Root
from trust.documents.study import Study
from trust.documents.study_states import State, check_move, no_such_move
from trust.documents.verification import check_signature_count
from trust.documents.votes import Refusal, read_refusal, read_revocation
from trust.errors import InvalidInput, Refused, StudyInvalid, nearest
from trust.logs.checkpoint import register_origin
from trust.logs.merkle import Entry
from trust.signing.envelope import Envelope, Signer, sha256, sign, signers_of
from trust.times import write_time

__all__ = ["Docket", "FiledStudy", "TrustDocuments"]

_NUMBER = re.compile(r"[0-9]{4}-[0-9]{4,}")
_STUDIES = "SELECT id, number, state, study, mandate, at, ended, seq FROM study"
_PROBE = "/"
"""The name under which `check_writable` writes; no study's id has a slash."""
_ROWS_AT_ONCE = 20
"""Rows that are read at once: each holds two signed documents."""


class Docket:
    """One trust's docket and register, in the file `state.sqlite` of a folder or in the database at a URL.

    Any number of processes may have it open; one object a thread.

    Attributes:
        register: the public log.
        messages: what running studies keep, so that another process can go on with them.
        leases: which process carries out which study.
        notes: how far each study is, in words.
    """

    def __init__(
        self,
        place: Path | str,
        trust: TrustDocuments,
        identity: Signer,
        clock: Callable[[], datetime],
        *,
        durable: bool = True,
    ) -> None:
        """Raises: Fault where the place cannot be used; InvalidInput for one of a newer version or of another trust,
        or a URL that is none; Refused (`log-corrupt`) where its register was changed.
        """
        database = open_database(place, durable=durable)
        try:
            self._db, self._clock = database, clock
            self.register = Register(database, register_origin(trust.root.root.trust), identity)
            self.messages = KeptMessages(database)
            self.leases, self.notes = Leases(database, clock), ProgressNotes(database, clock)
            self._roots = Roots(database, trust, self._write)
            if self._roots.untold():
                with self.register.transaction():
                    self._roots.tell()
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Release the database."""
        self._db.close()

    def check_writable(self) -> None:
        """Commit a row, to prove that the database can be written now.  Raises: Fault."""
        self.notes.write(_PROBE, secrets.token_hex(8))  # SQLite does not write a value that has not changed

    @property
    def trust(self) -> TrustDocuments:
        """The trust as it is now, with every version of the root that any process has accepted.

        Raises: InvalidInput where the newest root names another charter than this process has: it must be started
        again.
        """
        return self._roots.trust

    def accept_root(self, envelope: Envelope) -> TrustDocuments:
        """The next version of the trust root, for every process that has this docket open.

        One that is in force already, or was, changes nothing.
        Raises: Refused where it does not follow, lacks a quorum of the old or of the new root, or is not in force
        today; InvalidInput where it names another charter, which is put into the folder first, with the root.
        """
        with self.register.transaction():
            self._roots.accept(envelope, self._clock())
        return self.trust

    # ---- from the study to the mandate

    def file(self, study: Envelope) -> FiledStudy:
        """Put a signed study on the docket, with the mandate that the committee may sign.

        Raises: Refused where it is not signed by a researcher who is accredited today, is about another dataset, or
        has no time left; StudyInvalid where its id was used or looks like a mandate's number.
        """
        now = self._clock()
        with self.register.transaction():
            trust = self.trust
            study_document, study = trust.signed(study)
            trust.require_fileable(study_document, now)
            self._claim_id(study_document)
            place = self._db.rows("SELECT count(*) FROM study")[0][0] + 1
            number = f"{now:%Y}-{place:04d}"
            envelope = sign(
                "mandate", trust.draft_mandate(study_document, sha256(study.unverified_payload), number).document()
            )
            digest = sha256(envelope.unverified_payload)
            self._db.execute(
                "INSERT INTO study (id, number, state, study, mandate, digest, at, seq)"
                " VALUES (?, ?, 'filed', ?, ?, ?, ?, ?)",
                (study_document.id, number, write_text(study), write_text(envelope), digest, write_time(now), place),
            )
            self._write("study", study_document.id, {"envelope": study.document()})
        return self.find(study_document.id)

    def turned_away(self, study: Envelope, refusal: Refused) -> None:
        """Record that a study was refused before it was filed; no number is given to it.

        Raises: Refused, StudyInvalid, as `file`.
        """
        with self.register.transaction():
            study_document, study = self.trust.signed(study)
            self._claim_id(study_document)
            self._write("study", study_document.id, {"envelope": study.document()})
            self._record_refusal(study_document.id, refusal)

    def sign(self, study: str, envelope: Envelope) -> FiledStudy:
        """Add members' signatures over the mandate's bytes; with the last that is needed it is in force.

        Signatures that are there already change nothing.
        Raises: Refused for other bytes, for a signature of nobody who is a member today, for a member who voted
        against, and for a mandate that waits for no signature.
        """
        check_signature_count(envelope)
        with self.register.transaction():
            filed_study = self.find(study)
            if envelope.unverified_payload != filed_study.mandate.unverified_payload:
                raise Refused(
                    "mandate-study", "the signature is over another mandate", remedy="sign the bytes as filed"
                )
            members = self.trust.root.root.keys_of("committee")
            valid_signatures = valid_only("mandate", envelope, members)
            signers = frozenset(signature.keyid for signature in valid_signatures.signatures)
            if not signers:
                raise Refused(
                    "signature", "the mandate is signed by nobody who is a member today", remedy="sign as a member"
                )
            if signers <= filed_study.signers and filed_study.state in ("filed", "mandated"):
                return filed_study
            filed_study.require_open_for_votes()
            against = {vote.member for vote in filed_study.against}
            if signers <= against:
                raise Refused("vote-against", "a member has voted against this mandate", remedy="file the study again")
            signers -= against  # one who voted against spoils nobody else's signature
            new = tuple(signature for signature in valid_signatures.signatures if signature.keyid in signers)
            signatures = (*filed_study.mandate.signatures, *new)
            merged = valid_only("mandate", filed_study.mandate.model_copy(update={"signatures": signatures}), members)
            self._db.execute("UPDATE study SET mandate = ? WHERE id = ?", (write_text(merged), filed_study.id))
            if self.trust.enough(signers | filed_study.signers):
                self._move(filed_study, "mandated")
                self._write(
                    "mandate", filed_study.id, {"envelope": merged.document(), "digest": filed_study.mandate_digest}
                )
        return self.find(study)

    def refuse(self, envelope: Envelope) -> FiledStudy:
        """A member's vote against; when the others cannot be a quorum any more, the study is refused.

        Raises: Refused, MessageInvalid, InvalidInput.
        """
        with self.register.transaction():
            root = self.trust.root.root
            vote = read_refusal(envelope, root)
            envelope = valid_only("vote", envelope, {vote.member: root.keys_of("committee")[vote.member]})
            filed_study = self.of_mandate(vote.mandate)
            filed_study.require_open_for_votes()
            if vote.member in filed_study.signers:
                text = "the member has signed this mandate"
                raise Refused("vote-against", text, remedy="revoke the mandate once it is in force")
            if vote.member in {earlier_vote.member for earlier_vote in filed_study.against}:
                raise Refused("vote-against", "the member has voted already", remedy="one vote a member")
            self._db.execute(
                "INSERT INTO against (digest, member, envelope, seq) VALUES (?, ?, ?, ?)",
                (
                    filed_study.mandate_digest,
                    vote.member,
                    write_text(envelope),
                    len(self.votes(filed_study.mandate_digest)) + 1,
                ),
            )
            self._write("vote", filed_study.id, {"envelope": envelope.document()})
            members_left = frozenset(root.keys_of("committee")) - {v.member for v in (*filed_study.against, vote)}
            if not self.trust.enough(members_left):
                self._move(filed_study, "refused")
                remedy = "read the reasons of the votes against, and file a new study"
                self._record_refusal(
                    filed_study.id, Refused("committee", "the committee has refused the study", remedy=remedy)
                )
        return self.find(filed_study.id)

    def revoke(self, envelope: Envelope) -> FiledStudy:
        """A member ends a mandate; nodes are told with the next message.  Raises: Refused, MessageInvalid."""
        with self.register.transaction():
            root = self.trust.root.root
            revocation = read_revocation(envelope, root)
            member = {revocation.member: root.keys_of("committee")[revocation.member]}
            envelope = valid_only("revocation", envelope, member)
            filed_study = self.of_mandate(revocation.mandate)
            self._move(filed_study, "revoked")
            self._db.execute(
                "INSERT INTO revoked (digest, envelope) VALUES (?, ?)",
                (filed_study.mandate_digest, write_text(envelope)),
            )
            self._write("revocation", filed_study.id, {"envelope": envelope.document()})
        return self.find(filed_study.id)

    def cancel(self, study: str, actor: Literal["researcher", "operator"]) -> FiledStudy:
        """Withdraw the study; nodes are asked nothing more.  Who that is, the caller has checked.

        Raises: Refused (`study-state`) for one that has ended.
        """
        with self.register.transaction():
            filed_study = self.find(study)
            self._move(filed_study, "cancelled")
            self._record_refusal(
                filed_study.id, Refused("cancelled", f"the {actor} has withdrawn the study", remedy="file a new study")
            )
        return self.find(study)

    # ---- while it runs: what `conductor.Book` asks for

    def publish(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """Add one entry to the register; its number."""
        return self.register.publish(kind, study, write_time(self._clock()), body)

    def publish_once(self, key: str, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """The same, at most once for a study's `key`: a second call writes nothing and returns the first one's."""
        return self.register.publish_once(key, kind, study, write_time(self._clock()), body)

    def journal_head(self, partner: str) -> str:
        """The last signed head of a partner's journal, empty where there is none."""
        return self.register.journal_head(partner)

    def forget(self, study: str) -> None:
        """Delete what is kept of a study, and its note; what it has published is not published again."""
        with self._db.transaction():
            self._db.execute("DELETE FROM kept WHERE study = ?", (study,))
            self._db.execute("DELETE FROM said WHERE study = ?", (study,))

    def move(self, study: str, next_state: State) -> None:
        """Move the study to that state.  Raises: Refused where the table of states has no such move."""
        with self.register.transaction():
            self._move(self.find(study), next_state)

    def refused(self, study: str, refusal: Refused, next_state: State = "refused") -> None:
        """A rule ended the study.  Nothing happens to one that was withdrawn meanwhile."""
        with self.register.transaction():
            filed_study = self.find(study)
            if filed_study.state == "cancelled":
                return
            if filed_study.state == "running":
                self._move(filed_study, next_state)
            self._record_refusal(study, refusal)

    def released(self, study: str, body: Mapping[str, Any]) -> Entry:
        """A study's result goes out: its entry in the register."""
        with self.register.transaction():
            filed_study = self.find(study)
            if filed_study.state == "cancelled" and filed_study.ended:
                raise filed_study.ended
            if filed_study.state == "revoked":
                raise _revoked()
            self._move(filed_study, "released")
            time = write_time(self._clock())
            index = self.register.append("release", study, time, body)
        return Entry.of("release", study, time, body, seq=index)

    def revocations(self, mandate: str) -> list[Envelope]:
        """Those of a mandate, by the digest of its bytes."""
        return [read_text(text) for (text,) in self._db.rows("SELECT envelope FROM revoked WHERE digest = ?", mandate)]

    def votes(self, mandate: str) -> list[Envelope]:
        """Those against a mandate, by the digest of its bytes, as they were handed in."""
        rows = self._db.rows("SELECT envelope FROM against WHERE digest = ? ORDER BY seq", mandate)
        return [read_text(text) for (text,) in rows]

    # ---- reading

    def studies(self) -> list[FiledStudy]:
        """All, in the order in which they were filed."""
        return [self._of_row(row) for row in self._db.rows(_STUDIES + " ORDER BY seq")]

    def after(self, place: int, researchers: frozenset[str] | None = None) -> Iterator[tuple[int, FiledStudy]]:
        """The studies that were filed after the one at this place, in that order, each with its own place, from 1 on.

        They are read as they are asked for; one that is filed meanwhile comes last.
        Args: researchers: whose; None: everybody's.
        """
        while rows := self._db.rows(_STUDIES + " WHERE seq > ? ORDER BY seq LIMIT ?", place, _ROWS_AT_ONCE):
            for row in rows:
                place = row[7]
                if researchers is None or _researcher(row[3]) in researchers:
                    yield place, self._of_row(row)

    def ids(self, state: State) -> list[str]:
        """Of the studies in this state, in the order in which they were filed."""
        return [study for (study,) in self._db.rows("SELECT id FROM study WHERE state = ? ORDER BY seq", state)]

    def used(self, study: str) -> bool:
        """Whether a study of this id was filed or turned away."""
        return bool(self._db.rows("SELECT 1 FROM used WHERE id = ?", study))

    def find(self, study: str) -> FiledStudy:
        """By its id or by its mandate's number.  Raises: InvalidInput, with the nearest names."""
        rows = self._db.rows(_STUDIES + " WHERE id = ? OR number = ?", study, study)
        if not rows:
            names = [name for row in self._db.rows("SELECT id, number FROM study") for name in row]
            raise InvalidInput(f"no study {study!r} is on the docket", expected=nearest(study, names))
        return self._of_row(rows[0])

    def of_mandate(self, digest: str) -> FiledStudy:
        """By the digest of its mandate's bytes.  Raises: InvalidInput."""
        rows = self._db.rows(_STUDIES + " WHERE digest = ?", digest)
        if not rows:
            raise InvalidInput("a vote on a mandate that is not on the docket", expected="the digest of a filed one")
        return self._of_row(rows[0])

    def _of_row(self, row: tuple[Any, ...]) -> FiledStudy:
        mandate, state, root = read_text(row[4]), cast(State, row[2]), self.trust.root
        votes = self.votes(sha256(mandate.unverified_payload))
        return FiledStudy(
            id=row[0],
            number=row[1],
            state=state,
            study=read_text(row[3]),
            mandate=mandate,
            signers=signers_of("mandate", mandate, root.root.keys_of("committee")),
            against=tuple(_votes(votes, root.root)),
            at=row[5],
            lapsed=lapse(state, mandate, root, self._clock()),
            ended=Refused(**json.loads(row[6])) if row[6] else None,
        )

    def mandate(self, study: str) -> Envelope:
        """The mandate of a study that may run.

        Raises: Refused where it may not: `mandate-missing`, `mandate-expired`, `mandate-revoked`, `study-state`, or the
        rule that has ended it.
        """
        filed_study = self.find(study)
        if filed_study.state == "revoked":
            raise _revoked()
        if filed_study.ended:
            raise filed_study.ended
        filed_study.require_not_lapsed()
        if filed_study.state == "filed":
            missing_roles = "".join(
                f", {n} of role {role!r} lacking" for role, n in self.trust.lacking(filed_study.signers).items()
            )
            signed = len(filed_study.signers)
            text = f"the mandate is signed by {signed} of the {self.trust.needed} members who are needed"
            raise Refused("mandate-missing", text + missing_roles, remedy="wait for the committee")
        if filed_study.state != "mandated":
            raise no_such_move(filed_study.id, filed_study.state)
        SignedMandate(filed_study.mandate, self.trust.root).require_in_force(self._clock())
        return filed_study.mandate

    # ---- inside a transaction

    def _write(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        return self.register.append(kind, study, write_time(self._clock()), body)

    def _claim_id(self, study: Study) -> None:
        """Take the id of a new study.

        Raises: StudyInvalid where the id was used, filed or turned away, or would be taken for a number.
        """
        if _NUMBER.fullmatch(study.id):
            raise StudyInvalid(f"the study's id {study.id!r} looks like a mandate's number", expected="words in it")
        if self.used(study.id):
            raise StudyInvalid(f"a second study with the id {study.id!r}", expected="a new id", remedy="write it again")
        self._db.execute("INSERT INTO used (id) VALUES (?)", (study.id,))

    def _move(self, filed_study: FiledStudy, next_state: State) -> None:
        check_move(filed_study.id, filed_study.state, next_state)
        self._db.execute("UPDATE study SET state = ? WHERE id = ?", (next_state, filed_study.id))

    def _record_refusal(self, study: str, refusal: Refused) -> None:
        body = {"rule": refusal.rule, "text": refusal.text, "remedy": refusal.remedy}
        self._db.execute(
            "UPDATE study SET ended = ? WHERE id = ? AND state IN ('refused', 'failed', 'revoked', 'cancelled')",
            (json.dumps(body), study),
        )
        self._write("refusal", study, {**body, "partner": ""})


def _revoked() -> Refused:
    return Refused("mandate-revoked", "a member of the committee has revoked the mandate", remedy="file a new study")


def _researcher(study: str) -> object:
    """Whose a study is, of the envelope as it is kept; its signature was verified when it was filed."""
    return json.loads(read_text(study).unverified_payload)["researcher"]


def _votes(envelopes: Iterable[Envelope], root: Root) -> Iterator[Refusal]:
    for envelope in envelopes:
        with suppress(Refused):  # of a former member
            yield read_refusal(envelope, root)
