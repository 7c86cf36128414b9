"""The register: the trust's public transparency log, in the coordinator's database.

Whoever keeps a checkpoint of it sees whether it was shortened or rewritten since; whoever has an entry's proof sees
that everybody else is shown the same entry.  Entries and kinds: docs/formats.md, 9; how changes are found:
`trust/logbook.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from trust.checkpoint import Checkpoint, sign_checkpoint
from trust.log import Entry, Tree
from trust.logbook import Logbook, prepare
from trust.signing import Signer

__all__ = ["KINDS", "Register"]

KINDS = frozenset(
    {
        "root",
        "charter",
        "study",
        "vote",
        "mandate",
        "refusal",
        "sum-record",
        "release",
        "revocation",
        "journal-head",
    }
)
"""Of entries; no other can be written."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 0), note TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS journal_head (partner TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT",
)


class Register:
    """The register in the tables `log` and `head` of a coordinator's database, made where they are missing.

    `db` is in autocommit mode and stays its owner's; `origin` is `trust.checkpoint.register_origin`; `signer` is the
    coordinator's key.  One object a thread.  Opening reads it again: a changed register does not open.

    Raises: Refused (`log-corrupt`), naming the first wrong entry; InvalidInput for a file of a newer version;
    `sqlite3.Error`, here and in every method, which the owner of the database maps.
    """

    def __init__(self, db: sqlite3.Connection, origin: str, signer: Signer) -> None:
        self._db, self._origin, self._signer = db, origin, signer
        self._log = Logbook(db, "register", KINDS)
        prepare(db)
        for statement in _SCHEMA:
            db.execute(statement)
        self._log.verify()

    def append(self, kind: str, study: str, at: str, body: Mapping[str, Any]) -> int:
        """Add an entry and return its number, from 0.

        Opens no transaction of its own: the caller wraps what belongs together, and ends with `checkpoint()`.

        Args:
            study: its id, empty where the entry is of none.
            at: `YYYY-MM-DDTHH:MM:SSZ`.

        Raises: ValueError for a kind that is not in `KINDS`; MessageInvalid for an entry that is too long.
        """
        seq = self._log.append(kind, study, at, body)
        if kind == "journal-head":
            self._db.execute("INSERT OR REPLACE INTO journal_head VALUES (?, ?)", (body["partner"], seq))
        return seq

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Entries from `start` on.  Raises: Refused (`log-corrupt`)."""
        return self._log.entries(start)

    def head(self) -> tuple[int, bytes]:
        """How many entries there are, and the Merkle root over them, 32 bytes."""
        return self._log.head()

    def head_of(self, partner: str) -> str | None:
        """The last signed head of a partner's journal, a note; None where there is none."""
        row = self._db.execute("SELECT seq FROM journal_head WHERE partner = ?", (partner,)).fetchone()
        return None if row is None else str(self._log.entry(row[0]).body["note"])

    def checkpoint(self) -> str:
        """The head as a signed note, which is kept as the latest."""
        note = sign_checkpoint(self._log.checkpoint(self._origin), self._signer)
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (0, ?)", (note,))
        return note

    def inclusion(self, index: int) -> tuple[list[bytes], str]:
        """The proof that entry `index` is in the register, hashes of 32 bytes, and the checkpoint that it leads to.

        Both are of one tree: what another process writes meanwhile is in neither.
        Raises: MessageInvalid where there is no such entry.
        """
        tree = self._log.tree()
        return tree.inclusion(index), self._signed(tree)

    def consistency(self, old: int) -> tuple[list[bytes], str]:
        """The proof that the register extends the one of `old` entries, and the checkpoint that it leads to.

        Raises: MessageInvalid where it has fewer.
        """
        tree = self._log.tree()
        return tree.consistency(old), self._signed(tree)

    def _signed(self, tree: Tree) -> str:
        return sign_checkpoint(Checkpoint(self._origin, len(tree), tree.root()), self._signer)

    def verify(self) -> None:
        """Read every entry again and compare with the head.

        Raises: Refused (`log-corrupt`), naming the first wrong entry.
        """
        self._log.verify()
