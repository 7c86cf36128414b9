"""A node's secure-sum state in one SQLite file, and its uploads beside it.  docs/protocol.md, 3.

Why it is safe: one writer at a time over all processes (`BEGIN IMMEDIATE`), the commit on the disk before it counts
(`synchronous=FULL`), replaced secrets overwritten (`secure_delete`) and the write-ahead log emptied after each
change.  Keep no backup of the folder; encrypt its volume, since erasing on an SSD is best effort.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trust.canonical import canonical
from trust.secure_sum.errors import NotAvailable, StoreUnavailable
from trust.secure_sum.messages import Context
from trust.secure_sum.state import Contribution, StudyState

__all__ = ["SqliteStore"]

_SCHEMA = """
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
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, body BLOB NOT NULL) STRICT;
"""
_PATIENCE = 30.0
"""Seconds that one process waits for another's transaction."""


class SqliteStore:
    """The state of one node in `folder`, made if it is missing: `state.sqlite` and `uploads/`, for the owner only.

    One object a thread; any number of processes.  `durable=False` skips waiting for the disk, for folders that are
    thrown away.  Raises: StoreUnavailable.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder, self._uploads, self._durable = folder, folder / "uploads", durable
        with _mapped():
            for path in (folder, self._uploads):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / "state.sqlite"
            file.touch(mode=0o600)
            self._db = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute("PRAGMA temp_store=MEMORY")
            self._db.executescript(_SCHEMA)
        with self.transaction():
            self._sweep()

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[SqliteStore]:
        """All or nothing, one at a time; on leaving, what was written is on the disk and the old secrets are gone."""
        with _mapped():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self
            with _mapped():
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # closing the file undoes it as well
                self._db.execute("ROLLBACK")
            raise
        with _mapped():
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
        status, mandate, root, ephemeral, transcript, partners, epoch, others, keys = row
        pairs = {name: keys[32 * i : 32 * i + 32] for i, name in enumerate(_names(others))}
        return StudyState(study, status, mandate, root, ephemeral, transcript, _names(partners), epoch, pairs)

    def put_study(self, state: StudyState) -> None:
        """Keep a study's state.  Raises: StoreUnavailable."""
        with _mapped():
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
        with _mapped():
            rows = self._db.execute("SELECT study, partners FROM question WHERE digest = ?", (question,)).fetchall()
        return [(study, _names(partners)) for study, partners in rows]

    def put_contribution(self, contribution: Contribution, body: bytes | memoryview) -> None:
        """Write and sync the upload, then record the contribution.  Raises: StoreUnavailable."""
        context, partners = contribution.context, " ".join(contribution.context.partners)
        with _mapped():
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
        kept = self._row(
            "SELECT kept FROM contribution WHERE study = ? AND r = ?", (contribution.study, contribution.context.r)
        )
        if kept is not None and not kept[0]:
            raise NotAvailable("an upload that its sum record has settled", expected="a sum that is still open")
        with _mapped():
            body = self._path(contribution.sha256).read_bytes()
        if hashlib.sha256(body).digest() != contribution.sha256:
            raise StoreUnavailable("a stored upload that has changed", expected="the bytes that were signed")
        return body

    def forget_upload(self, study: str, r: int) -> None:
        """Delete an upload's body; the contribution stays.  Raises: StoreUnavailable."""
        with _mapped():
            self._db.execute("UPDATE contribution SET kept = 0 WHERE study = ? AND r = ?", (study, r))
            self._sweep()

    def journal(self, kind: str, study: str, at: str, body: Mapping[str, Any]) -> None:
        """Append an entry: its canonical bytes and their leaf hash.  docs/formats.md, 9.  Raises: StoreUnavailable."""
        with _mapped():
            seq = self._db.execute("SELECT count(*) FROM log").fetchone()[0]
            entry = canonical({"at": at, "body": dict(body), "kind": kind, "seq": seq, "study": study, "v": 1})
            leaf = hashlib.sha256(b"\x00" + entry).digest()
            self._db.execute("INSERT INTO log VALUES (?, ?, ?)", (seq, leaf, entry))

    def leaf(self, seq: int) -> bytes | None:
        """Leaf hash of journal entry `seq`, from 0; None where there is none.  Raises: StoreUnavailable."""
        row = self._row("SELECT leaf FROM log WHERE seq = ?", (seq,))
        return None if row is None else bytes(row[0])

    def open_studies(self) -> Sequence[str]:
        """Studies that are not closed, in order.  Raises: StoreUnavailable."""
        with _mapped():
            rows = self._db.execute("SELECT study FROM study WHERE status != 'closed' ORDER BY study").fetchall()
        return [study for (study,) in rows]

    def _row(self, query: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        with _mapped():
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
        kept = {row[0].hex() for row in self._db.execute("SELECT sha256 FROM contribution WHERE kept = 1")}
        for path in self._uploads.iterdir():
            if path.name not in kept:
                path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@contextmanager
def _mapped() -> Iterator[None]:
    """What SQLite or the disk says becomes StoreUnavailable, without its text."""
    try:
        yield
    except (sqlite3.Error, OSError) as wrong:
        name = type(wrong).__name__
        raise StoreUnavailable(f"a {name} of the store", expected="a folder that can be written") from None
