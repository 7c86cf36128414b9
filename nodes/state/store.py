"""A node's state in one SQLite file, the journal included, and its uploads beside it.  docs/protocol.md, 3.

Why it is safe: one writer at a time over all processes (`BEGIN IMMEDIATE`), the commit on the disk before it counts
(`synchronous=FULL`), replaced secrets overwritten (`secure_delete`) and the write-ahead log emptied after each
change.  The journal is read again before anything else: with a changed one no store opens.  Keep no backup of the
folder; encrypt its volume, since erasing on an SSD is best effort.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nodes.state.journal import Journal, mapped
from trust.canonical import parse
from trust.errors import InvalidInput, Refused
from trust.logs.checkpoint import Checkpoint
from trust.secure_sum.errors import NotAvailable, StoreUnavailable
from trust.secure_sum.messages import Context
from trust.secure_sum.state import Contribution, StudyState
from trust.signing.envelope import Envelope, Signer

__all__ = ["SCHEMA", "SqliteStore"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    study TEXT PRIMARY KEY, status TEXT NOT NULL, mandate BLOB NOT NULL, root BLOB NOT NULL,
    ephemeral BLOB NOT NULL, transcript BLOB NOT NULL, partners TEXT NOT NULL, epoch INTEGER NOT NULL,
    others TEXT NOT NULL, keys BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS contribution (
    study TEXT NOT NULL, r INTEGER NOT NULL, transcript BLOB NOT NULL, plan_digest BLOB NOT NULL,
    partners TEXT NOT NULL, questions BLOB NOT NULL, sha256 BLOB NOT NULL, size INTEGER NOT NULL, sig BLOB NOT NULL,
    kept INTEGER NOT NULL, PRIMARY KEY (study, r)) STRICT;
CREATE TABLE IF NOT EXISTS question (
    digest BLOB NOT NULL, study TEXT NOT NULL, partners TEXT NOT NULL, PRIMARY KEY (digest, study)) STRICT;
CREATE TABLE IF NOT EXISTS revocation (mandate BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS root (version INTEGER PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS session (
    study TEXT NOT NULL, key TEXT NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (study, key)) STRICT;
CREATE TABLE IF NOT EXISTS latest (one INTEGER PRIMARY KEY CHECK (one = 0), at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS probe (bytes BLOB NOT NULL) STRICT;
"""
_LOCK_SECONDS = 30.0
"""Seconds that one process waits for another's transaction."""
_PROBE_BYTES = 1 << 15
"""Bytes that must fit on the disk before a study begins: some pages of entries."""


class SqliteStore:
    """The state of one node in `folder`, made if it is missing: `state.sqlite` and `uploads/`, for the owner only.

    One object a thread; any number of processes.  `durable=False` skips waiting for the disk, for folders that are
    thrown away.  Raises: StoreUnavailable; JournalCorrupt, naming the first entry that is wrong.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder, self._uploads, self._durable = folder, folder / "uploads", durable
        with mapped():
            for path in (folder, self._uploads):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / "state.sqlite"
            file.touch(mode=0o600)
            self._db = sqlite3.connect(file, timeout=_LOCK_SECONDS, isolation_level=None)
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        with mapped():
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute("PRAGMA temp_store=MEMORY")
        try:
            self._journal = Journal(self._db)
        except InvalidInput as newer:
            raise StoreUnavailable(newer.text, expected=newer.expected) from None
        self._journal.verify()
        with mapped():
            self._db.executescript(SCHEMA)
        with self.transaction():
            self._sweep()

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, in autocommit mode, for another owner of tables of its own."""
        return self._db

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[SqliteStore]:
        """All or nothing, one at a time; on leaving, what was written is on the disk and the old secrets are gone."""
        with mapped():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self
            with mapped():
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # closing the file undoes it as well
                self._db.execute("ROLLBACK")
            raise
        with mapped():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def study(self, study: str) -> StudyState | None:
        """The study's state, None before the approval.  Raises: StoreUnavailable."""
        row = self._row(
            "SELECT status, mandate, root, ephemeral, transcript, partners, epoch, others, keys FROM study"
            " WHERE study = ?",
            (study,),
        )
        if row is None:
            return None
        status, mandate, root, ephemeral, transcript, partners, epoch, other_partners, keys = row
        pairs = {name: keys[32 * i : 32 * i + 32] for i, name in enumerate(_names(other_partners))}
        return StudyState(study, status, mandate, root, ephemeral, transcript, _names(partners), epoch, pairs)

    def put_study(self, state: StudyState) -> None:
        """Keep a study's state; of a closed one neither its session's parts nor its uploads.

        Raises: StoreUnavailable.
        """
        with mapped():
            self._db.execute(
                "INSERT INTO study VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (study) DO UPDATE SET"
                " status = excluded.status, ephemeral = excluded.ephemeral, transcript = excluded.transcript,"
                " partners = excluded.partners, epoch = excluded.epoch, others = excluded.others,"
                " keys = excluded.keys",
                (
                    state.study,
                    state.status,
                    state.mandate,
                    state.root,
                    state.ephemeral,
                    state.transcript,
                    " ".join(state.partners),
                    state.epoch,
                    " ".join(state.keys),
                    b"".join(state.keys.values()),
                ),
            )
            if state.status == "closed":
                self._db.execute("DELETE FROM session WHERE study = ?", (state.study,))
                self._db.execute("UPDATE contribution SET kept = 0 WHERE study = ?", (state.study,))
                self._sweep()

    def session(self, study: str) -> dict[str, bytes]:
        """What a study's session has kept for a restart; nothing once it is closed.  Raises: StoreUnavailable."""
        with mapped():
            return dict(self._db.execute("SELECT key, raw FROM session WHERE study = ?", (study,)).fetchall())

    def keep(self, study: str, key: str, raw: bytes) -> None:
        """Keep a part of a session until the study is closed.  Raises: StoreUnavailable."""
        with self._within(), mapped():
            self._db.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", (study, key, raw))

    def of_mandate(self, mandate: bytes) -> str | None:
        """The open study of a mandate (its digest, 32 bytes), None where there is none.  Raises: StoreUnavailable."""
        row = self._row("SELECT study FROM study WHERE mandate = ? AND status != 'closed'", (mandate,))
        return None if row is None else str(row[0])

    def contribution(self, study: str, r: int) -> Contribution | None:
        """What was contributed to sum `r`, None while it is open.  Raises: StoreUnavailable."""
        row = self._row(
            "SELECT transcript, plan_digest, partners, questions, sha256, size, sig FROM contribution"
            " WHERE study = ? AND r = ?",
            (study, r),
        )
        if row is None:
            return None
        transcript, plan_digest, partners, questions, sha256, size, sig = row
        digests = tuple(questions[i : i + 32] for i in range(0, len(questions), 32))
        return Contribution(study, Context(transcript, r, plan_digest, _names(partners)), digests, sha256, size, sig)

    def answered(self, question: bytes) -> list[tuple[str, tuple[str, ...]]]:
        """Study and partner set of every contribution that answered a question.  Raises: StoreUnavailable."""
        with mapped():
            rows = self._db.execute("SELECT study, partners FROM question WHERE digest = ?", (question,)).fetchall()
        return [(study, _names(partners)) for study, partners in rows]

    def put_contribution(self, contribution: Contribution, body: bytes | memoryview) -> None:
        """Write and sync the upload, then record the contribution.  Raises: StoreUnavailable."""
        context, partners = contribution.context, " ".join(contribution.context.partners)
        with mapped():
            self._write(self._path(contribution.sha256), body)
            self._db.execute(
                "INSERT INTO contribution VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
                (
                    contribution.study,
                    context.r,
                    context.transcript,
                    context.plan_digest,
                    partners,
                    b"".join(contribution.questions),
                    contribution.sha256,
                    contribution.size,
                    contribution.sig,
                ),
            )
            self._db.executemany(
                "INSERT INTO question VALUES (?, ?, ?)",
                [(digest, contribution.study, partners) for digest in contribution.questions],
            )

    def upload_body(self, contribution: Contribution) -> bytes:
        """The stored bytes of an upload.  Raises: NotAvailable once they were deleted, StoreUnavailable."""
        row_ = self._row(
            "SELECT kept FROM contribution WHERE study = ? AND r = ?", (contribution.study, contribution.context.r)
        )
        if row_ is not None and not row_[0]:
            raise NotAvailable("an upload that its sum record has settled", expected="a sum that is still open")
        with mapped():
            body = self._path(contribution.sha256).read_bytes()
        if hashlib.sha256(body).digest() != contribution.sha256:
            raise StoreUnavailable("a stored upload that has changed", expected="the bytes that were signed")
        return body

    def forget_upload(self, study: str, r: int) -> None:
        """Delete an upload's body; the contribution stays.  Raises: StoreUnavailable."""
        with mapped():
            self._db.execute("UPDATE contribution SET kept = 0 WHERE study = ? AND r = ?", (study, r))
            self._sweep()

    # ---- the journal

    def journal(self, kind: str, study: str, time: str, body: Mapping[str, Any]) -> None:
        """Append an entry, in this transaction or one of its own.  docs/formats.md, 9.

        Raises: ValueError for an unknown kind, JournalCorrupt, StoreUnavailable.
        """
        with self._within(), mapped():
            self._journal.append(kind, study, time, body)
            if kind == "gate-refused":
                return  # it gave nothing, and must not hold the clock to a time that was wrong
            self._db.execute(
                "INSERT INTO latest VALUES (0, ?) ON CONFLICT (one) DO UPDATE SET at = max(at, excluded.at)", (time,)
            )

    def head(self) -> tuple[int, bytes]:
        """How many entries the journal has, and the Merkle root over them, 32 bytes.  Raises: StoreUnavailable."""
        return self._journal.head()

    def checkpoint(self, origin: str, signer: Signer) -> str:
        """The journal's head as a signed note.  Raises: StoreUnavailable."""
        return self._journal.checkpoint(origin, signer)

    def latest(self) -> str:
        """The latest time of any entry, empty where there is none.  Raises: StoreUnavailable."""
        row = self._row("SELECT at FROM latest", ())
        return "" if row is None else str(row[0])

    def extends(self, checkpoint: Checkpoint) -> None:
        """The journal contains that of an earlier checkpoint.  Raises: StateRolledBack, JournalCorrupt."""
        self._journal.extends(checkpoint)

    def writable(self) -> None:
        """Prove that the journal can be written now: write some pages, commit them, take them out again.

        A write that is undone would prove nothing: it does not reach the disk.  Not inside a transaction.
        Raises: StoreUnavailable.
        """
        with self.transaction(), mapped():
            self._db.execute("INSERT INTO probe VALUES (zeroblob(?))", (_PROBE_BYTES,))
            self._db.execute("DELETE FROM probe")

    # ---- what the node was told, once and for good

    def put_revocation(self, mandate: bytes, envelope: bytes) -> None:
        """Keep that a mandate (its digest, 32 bytes) was revoked; the first revocation stays.

        Raises: StoreUnavailable.
        """
        with self._within(), mapped():
            self._db.execute("INSERT OR IGNORE INTO revocation VALUES (?, ?)", (mandate, envelope))

    def revoked(self, mandate: bytes) -> bool:
        """Whether a mandate (its digest, 32 bytes) was revoked.  Raises: StoreUnavailable."""
        return self._row("SELECT 1 FROM revocation WHERE mandate = ?", (mandate,)) is not None

    def put_root(self, version: int, envelope: bytes) -> None:
        """Keep the signed root of a version (canonical bytes of its envelope); another of that version never follows.

        Raises: Refused (`root-pinned`), MessageInvalid, StoreUnavailable.
        """
        with self._within():
            stored = self._row("SELECT envelope FROM root WHERE version = ?", (version,))
            if stored is None:
                with mapped():
                    self._db.execute("INSERT INTO root VALUES (?, ?)", (version, envelope))
            elif _payload(stored[0]) != _payload(envelope):
                text = f"another trust root of version {version} than the one that was accepted"
                raise Refused("root-pinned", text, remedy="ask who runs the trust")

    def roots(self, after_version: int = 0) -> list[bytes]:
        """The signed roots of later versions than this one, ascending.  Raises: StoreUnavailable."""
        with mapped():
            rows = self._db.execute("SELECT envelope FROM root WHERE version > ? ORDER BY version", (after_version,))
            return [envelope for (envelope,) in rows]

    def open_studies(self) -> Sequence[str]:
        """Studies that are not closed, in order.  Raises: StoreUnavailable."""
        with mapped():
            rows = self._db.execute("SELECT study FROM study WHERE status != 'closed' ORDER BY study").fetchall()
        return [study for (study,) in rows]

    @contextmanager
    def _within(self) -> Iterator[None]:
        """The transaction that is open, or a new one."""
        if self._db.in_transaction:
            yield
            return
        with self.transaction():
            yield

    def _row(self, query: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        with mapped():
            rows: list[tuple[Any, ...]] = self._db.execute(query, values).fetchall()
        return rows[0] if rows else None

    def _path(self, sha256: bytes) -> Path:
        """Named by content: a process that loses a race never writes over the winner's upload."""
        return self._uploads / sha256.hex()

    def _write(self, path: Path, body: bytes | memoryview) -> None:
        with open(path, "wb", opener=_private) as file:
            file.write(body)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        if self._durable:
            folder = os.open(self._uploads, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _sweep(self) -> None:
        """Delete uploads that no contribution keeps: of a crash before its commit, or settled.  Under the lock."""
        kept_bodies = {row[0].hex() for row in self._db.execute("SELECT sha256 FROM contribution WHERE kept = 1")}
        for path in self._uploads.iterdir():
            if path.name not in kept_bodies:
                path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _payload(envelope: bytes) -> bytes:
    """What was signed: signatures may come in another number or order."""
    return Envelope.read(parse(envelope, largest=1 << 22)).unverified_payload
