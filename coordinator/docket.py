"""The docket: studies that were filed, the committee's signatures on their mandates, and where each stands.

Everything that the public may see is written to the register in the same transaction.  The coordinator gathers
signatures and holds no member's key; what it cannot do is make a node believe it: nodes verify every signature.
Of what is handed in, only valid signatures are kept, one a key.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from coordinator.filed import Filed, Trust, lapse, read_text, valid_only, write_text
from coordinator.lifecycle import State, check_move, no_such_move
from coordinator.register import Register
from trust.checkpoint import register_origin
from trust.errors import Fault, InvalidInput, Refused, StudyInvalid, nearest
from trust.log import Entry
from trust.mandate import SignedMandate
from trust.signing import Envelope, Signer, sha256, sign, signed_by
from trust.study import Study
from trust.times import write_time
from trust.verification import few_signatures
from trust.votes import Refusal, read_refusal, read_revocation

__all__ = ["Docket", "Filed", "Trust"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    id TEXT PRIMARY KEY, number TEXT NOT NULL UNIQUE, state TEXT NOT NULL, study TEXT NOT NULL, mandate TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, at TEXT NOT NULL, ended TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE IF NOT EXISTS used (id TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS revoked (digest TEXT NOT NULL, envelope TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS against (
    digest TEXT NOT NULL, member TEXT NOT NULL, envelope TEXT NOT NULL, PRIMARY KEY (digest, member)) STRICT;
CREATE TABLE IF NOT EXISTS told (kind TEXT NOT NULL, digest TEXT NOT NULL) STRICT;
"""
_NUMBER = re.compile(r"[0-9]{4}-[0-9]{4,}")


class Docket:
    """One trust's docket and register, in one SQLite file of `folder`.

    Any number of processes may have it open; one object a thread.

    Attributes:
        register: the public log.
    """

    def __init__(
        self, folder: Path, trust: Trust, identity: Signer, clock: Callable[[], datetime], *, durable: bool = True
    ) -> None:
        """Raises: Fault where the folder cannot be used; InvalidInput for one of a newer version or of another trust;
        Refused (`log-corrupt`) where its register was changed.
        """
        self.trust, self._identity, self._clock = trust, identity, clock
        if trust.charter.folder_digest != trust.root.root.charter:
            raise InvalidInput(
                "the charter is not the one that the trust root names",
                expected=f"the charter whose digest is {trust.root.root.charter}",
                remedy="put its files back as they were",
            )
        with _mapped(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / "state.sqlite"
            file.touch(mode=0o600)
            self._db = sqlite3.connect(file, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            with _mapped(folder):
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
                self.register = Register(self._db, register_origin(trust.root.root.trust), identity)
                self._db.executescript(_SCHEMA)
            if self._untold():
                self._tell()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def _untold(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Entries that the register has still to get: each version of the root, and the charter.

        Raises: InvalidInput where the register has another root than those of this trust.
        """
        charter = self.trust.charter
        told = self._rows("SELECT kind, digest FROM told ORDER BY rowid")
        roots = [digest for kind, digest in told if kind == "root"]
        digests = [sha256(envelope.unverified_payload) for envelope in self.trust.roots]
        if roots != digests[: len(roots)]:
            raise InvalidInput(
                "the coordinator's register is of another trust root",
                expected=f"the {len(roots)} versions that it was opened with before, in their order",
                remedy="use the roots of this folder; an older root never comes back",
            )
        new: list[tuple[str, str, dict[str, Any]]] = [
            ("root", digests[at], {"envelope": self.trust.roots[at].document()})
            for at in range(len(roots), len(digests))
        ]
        if [digest for kind, digest in told if kind == "charter"][-1:] != [charter.folder_digest]:
            body = {"name": charter.name, "version": charter.version, "digest": charter.folder_digest}
            new.append(("charter", charter.folder_digest, body))
        return new

    def _tell(self) -> None:
        with self._transaction():
            for kind, digest, body in self._untold():  # read again: another process may have been first
                self._db.execute("INSERT INTO told VALUES (?, ?)", (kind, digest))
                self._write(kind, "", body)

    # ---- from the study to the mandate

    def file(self, study: Envelope) -> Filed:
        """Put a signed study on the docket, with the mandate that the committee may sign.

        Raises: Refused where it is not signed by a researcher who is accredited today, is about another dataset, or
        has no time left; StudyInvalid where its id was used or looks like a mandate's number.
        """
        now = self._clock()
        written, study = self.trust.signed(study)
        self.trust.may_be_filed(written, now)
        with self._transaction():
            self._new(written)
            count = self._rows("SELECT count(*) FROM study")[0][0]
            number = f"{now:%Y}-{count + 1:04d}"
            envelope = sign("mandate", self.trust.draft(written, sha256(study.unverified_payload), number).document())
            digest = sha256(envelope.unverified_payload)
            self._db.execute(
                "INSERT INTO study (id, number, state, study, mandate, digest, at) VALUES (?, ?, 'filed', ?, ?, ?, ?)",
                (written.id, number, write_text(study), write_text(envelope), digest, write_time(now)),
            )
            self._write("study", written.id, {"envelope": study.document()})
        return self.find(written.id)

    def turned_away(self, study: Envelope, refused: Refused) -> None:
        """Record that a study was refused before it was filed; no number is given to it.

        Raises: Refused, StudyInvalid, as `file`.
        """
        written, study = self.trust.signed(study)
        with self._transaction():
            self._new(written)
            self._write("study", written.id, {"envelope": study.document()})
            self._refused(written.id, refused)

    def sign(self, study: str, envelope: Envelope) -> Filed:
        """Add members' signatures over the mandate's bytes; with the last that is needed it is in force.

        Signatures that are there already change nothing.
        Raises: Refused for other bytes, for a signature of nobody who is a member today, for a member who voted
        against, and for a mandate that waits for no signature.
        """
        few_signatures(envelope)
        with self._transaction():
            filed = self.find(study)
            if envelope.unverified_payload != filed.mandate.unverified_payload:
                raise Refused("mandate-study", "the signature is over another mandate", "sign the bytes as filed")
            members = self.trust.root.root.keys_of("committee")
            kept = valid_only("mandate", envelope, members)
            signers = frozenset(signature.keyid for signature in kept.signatures)
            if not signers:
                raise Refused("signature", "the mandate is signed by nobody who is a member today", "sign as a member")
            if signers <= filed.signers and filed.state in ("filed", "mandated"):
                return filed
            filed.open_for_votes()
            against = {vote.member for vote in filed.against}
            if signers <= against:
                raise Refused("vote-against", "a member has voted against this mandate", "file the study again")
            signers -= against  # one who voted against spoils nobody else's signature
            new = tuple(signature for signature in kept.signatures if signature.keyid in signers)
            both = (*filed.mandate.signatures, *new)
            merged = valid_only("mandate", filed.mandate.model_copy(update={"signatures": both}), members)
            self._db.execute("UPDATE study SET mandate = ? WHERE id = ?", (write_text(merged), filed.id))
            if self.trust.enough(signers | filed.signers):
                self._move(filed, "mandated")
                self._write("mandate", filed.id, {"envelope": merged.document(), "digest": filed.mandate_digest})
        return self.find(study)

    def refuse(self, envelope: Envelope) -> Filed:
        """A member's vote against; when the others cannot be a quorum any more, the study is refused.

        Raises: Refused, MessageInvalid, InvalidInput.
        """
        root = self.trust.root.root
        vote = read_refusal(envelope, root)
        envelope = valid_only("vote", envelope, {vote.member: root.keys_of("committee")[vote.member]})
        with self._transaction():
            filed = self._of_mandate(vote.mandate)
            filed.open_for_votes()
            if vote.member in filed.signers:
                text = "the member has signed this mandate"
                raise Refused("vote-against", text, "revoke the mandate once it is in force")
            if vote.member in {other.member for other in filed.against}:
                raise Refused("vote-against", "the member has voted already", "one vote a member")
            self._db.execute(
                "INSERT INTO against VALUES (?, ?, ?)", (filed.mandate_digest, vote.member, write_text(envelope))
            )
            self._write("vote", filed.id, {"envelope": envelope.document()})
            left = frozenset(root.keys_of("committee")) - {v.member for v in (*filed.against, vote)}
            if not self.trust.enough(left):
                self._move(filed, "refused")
                remedy = "read the reasons of the votes against, and file a new study"
                self._refused(filed.id, Refused("committee", "the committee has refused the study", remedy))
        return self.find(filed.id)

    def revoke(self, envelope: Envelope) -> Filed:
        """A member ends a mandate; nodes are told with the next message.  Raises: Refused, MessageInvalid."""
        root = self.trust.root.root
        revocation = read_revocation(envelope, root)
        envelope = valid_only("revocation", envelope, {revocation.member: root.keys_of("committee")[revocation.member]})
        with self._transaction():
            filed = self._of_mandate(revocation.mandate)
            self._move(filed, "revoked")
            self._db.execute("INSERT INTO revoked VALUES (?, ?)", (filed.mandate_digest, write_text(envelope)))
            self._write("revocation", filed.id, {"envelope": envelope.document()})
        return self.find(filed.id)

    # ---- while it runs: what `conductor.Book` asks for

    def publish(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """One entry of the register; its index."""
        with self._transaction():
            return self._write(kind, study, body)

    def move(self, study: str, then: State) -> None:
        """Raises: Refused where the table of states has no such move."""
        with self._transaction():
            self._move(self.find(study), then)

    def refused(self, study: str, refused: Refused, then: State = "refused") -> None:
        """A rule ended the study."""
        with self._transaction():
            filed = self.find(study)
            if filed.state == "running":
                self._move(filed, then)
            self._refused(study, refused)

    def released(self, study: str, body: Mapping[str, Any]) -> Entry:
        """A study's result goes out: its entry in the register."""
        with self._transaction():
            filed = self.find(study)
            if filed.state == "revoked":
                raise _revoked()
            self._move(filed, "released")
            at = write_time(self._clock())
            index = self.register.append("release", study, at, body)
        return Entry.of("release", study, at, body, seq=index)

    def head(self, partner: str) -> str:
        """The last checkpoint of a partner's journal, empty where there is none."""
        with _mapped(None):
            return self.register.head_of(partner) or ""

    def revocations(self, mandate: str) -> list[Envelope]:
        """Those of a mandate, by the digest of its bytes."""
        return [read_text(text) for (text,) in self._rows("SELECT envelope FROM revoked WHERE digest = ?", mandate)]

    # ---- reading

    def studies(self) -> list[Filed]:
        """All, in the order in which they were filed."""
        return [self.find(study) for (study,) in self._rows("SELECT id FROM study ORDER BY rowid")]

    def ids(self, state: State) -> list[str]:
        """Of the studies in this state, in the order in which they were filed."""
        return [study for (study,) in self._rows("SELECT id FROM study WHERE state = ? ORDER BY rowid", state)]

    def used(self, study: str) -> bool:
        """Whether a study of this id was filed or turned away."""
        return bool(self._rows("SELECT 1 FROM used WHERE id = ?", study))

    def find(self, study: str) -> Filed:
        """By its id or by its mandate's number.  Raises: InvalidInput, with the nearest names."""
        rows = self._rows(
            "SELECT id, number, state, study, mandate, at, ended FROM study WHERE id = ? OR number = ?", study, study
        )
        if not rows:
            known = [name for row in self._rows("SELECT id, number FROM study") for name in row]
            raise InvalidInput(f"no study {study!r} is on the docket", expected=nearest(study, known))
        row, mandate = rows[0], read_text(rows[0][4])
        state, root = cast(State, row[2]), self.trust.root
        votes = self._rows(
            "SELECT envelope FROM against WHERE digest = ? ORDER BY rowid", sha256(mandate.unverified_payload)
        )
        return Filed(
            id=row[0],
            number=row[1],
            state=state,
            study=read_text(row[3]),
            mandate=mandate,
            signers=signed_by("mandate", mandate, root.root.keys_of("committee")),
            against=tuple(self._votes(read_text(text) for (text,) in votes)),
            at=row[5],
            lapsed=lapse(state, mandate, root, self._clock()),
            ended=Refused(**json.loads(row[6])) if row[6] else None,
        )

    def _votes(self, envelopes: Iterator[Envelope]) -> Iterator[Refusal]:
        for envelope in envelopes:
            with suppress(Refused):  # of a former member
                yield read_refusal(envelope, self.trust.root.root)

    def mandate(self, study: str) -> Envelope:
        """The mandate of a study that may run.

        Raises: Refused where it may not: `mandate-missing`, `mandate-expired`, `mandate-revoked`, `study-state`, or the
        rule that has ended it.
        """
        filed = self.find(study)
        if filed.ended:
            raise filed.ended
        if filed.state == "revoked":
            raise _revoked()
        filed.still_timely()
        if filed.state == "filed":
            more = "".join(f", {n} of role {role!r} lacking" for role, n in self.trust.lacking(filed.signers).items())
            text = f"the mandate is signed by {len(filed.signers)} of the {self.trust.needed} members that are needed"
            raise Refused("mandate-missing", text + more, "wait for the committee")
        if filed.state != "mandated":
            raise no_such_move(filed.id, filed.state)
        SignedMandate(filed.mandate, self.trust.root).in_force(self._clock())
        return filed.mandate

    # ---- inside a transaction

    def _new(self, study: Study) -> None:
        """Raises: StudyInvalid where the id was used, filed or turned away, or would be taken for a number."""
        if _NUMBER.fullmatch(study.id):
            raise StudyInvalid(f"the study's id {study.id!r} looks like a mandate's number", expected="words in it")
        if self.used(study.id):
            raise StudyInvalid(f"a second study with the id {study.id!r}", expected="a new id", remedy="write it again")
        self._db.execute("INSERT INTO used VALUES (?)", (study.id,))

    def _of_mandate(self, digest: str) -> Filed:
        rows = self._rows("SELECT id FROM study WHERE digest = ?", digest)
        if not rows:
            raise InvalidInput("a vote on a mandate that is not on the docket", expected="the digest of a filed one")
        return self.find(rows[0][0])

    def _move(self, filed: Filed, then: State) -> None:
        check_move(filed.id, filed.state, then)
        self._db.execute("UPDATE study SET state = ? WHERE id = ?", (then, filed.id))

    def _refused(self, study: str, refused: Refused) -> None:
        body = {"rule": refused.rule, "text": refused.text, "remedy": refused.remedy}
        self._db.execute(
            "UPDATE study SET ended = ? WHERE id = ? AND state IN ('refused', 'failed', 'revoked')",
            (json.dumps(body), study),
        )
        self._write("refusal", study, {**body, "partner": ""})

    def _write(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        return self.register.append(kind, study, write_time(self._clock()), body)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with _mapped(None):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; the register's checkpoint is signed anew with what was written."""
        with _mapped(None):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.register.checkpoint()
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _mapped(folder: Path | None) -> Iterator[None]:
    """What SQLite or the disk says becomes a Fault, without its text."""
    try:
        yield
    except (sqlite3.Error, OSError) as wrong:
        where = f" in {str(folder)!r}" if folder else ""
        raise Fault(
            f"the coordinator's state{where} cannot be used ({type(wrong).__name__}); mend disk or rights"
        ) from None


def _revoked() -> Refused:
    return Refused("mandate-revoked", "a member of the committee has revoked the mandate", "file a new study")
