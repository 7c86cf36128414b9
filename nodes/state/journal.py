"""A node's journal: every decision and everything that left, as a Merkle log in the node's own database.

The node signs its head and gives it to the register with its approval and at the close of each study.  So neither the
node's own people nor the coordinator can rewrite what a node did without the other's seeing it.  Entries and kinds:
docs/formats.md, 9; how changes are found: `trust/logs/logbook.py`.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from trust.errors import Refused
from trust.logs.checkpoint import Checkpoint, sign_checkpoint
from trust.logs.logbook import Logbook, prepare
from trust.secure_sum.errors import JournalCorrupt, StateRolledBack, StoreUnavailable
from trust.signing.envelope import Signer

__all__ = ["KINDS", "Journal", "mapped"]

KINDS = frozenset(
    {
        "root-accepted",
        "mandate-accepted",
        "gate-refused",
        "edition-frozen",
        "study-approved",
        "study-started",
        "sum-contributed",
        "total-audited",
        "study-closed",
        "revoked",
    }
)
"""Of entries; no other can be written."""


class Journal(Logbook):
    """The journal in the tables `log` and `head` of a node's database, made where they are missing.

    `db` is in autocommit mode.  One object a thread; any number of processes.
    Raises: JournalCorrupt, everywhere, where it is not as it was written; StoreUnavailable where the database cannot be
    used.
    """

    def __init__(self, db: sqlite3.Connection, *, make: bool = True) -> None:
        """`make=False` makes no tables, for a database that is only read."""
        super().__init__(db, "journal", KINDS)
        if make:
            with self.mapped():
                prepare(db)

    def mapped(self) -> mapped:
        """What the database, the disk or the log says becomes an error of the node."""
        return mapped()

    def checkpoint(self, origin: str, signer: Signer) -> str:
        """The head as a signed note.  `origin`: `trust.checkpoint.journal_origin`."""
        return sign_checkpoint(Checkpoint(origin, *self.head()), signer)

    def extends(self, checkpoint: Checkpoint) -> None:
        """This journal contains the one of an earlier checkpoint of it.

        Raises: StateRolledBack where it is shorter, as after a restored backup; JournalCorrupt where it is another.
        """
        size, _ = self.head()
        if size < checkpoint.size:
            raise StateRolledBack(f"a journal of {size} entries", expected=f"the {checkpoint.size} of its register")
        if not self.same_up_to(checkpoint.size, checkpoint.root):
            text = f"other entries than the first {checkpoint.size} that the register has the head of"
            raise JournalCorrupt(text, expected="the journal that was written here")


class mapped:  # noqa: N801 - used as a context manager; a class, since it is on the way of every entry
    """What the database, the disk or the log says becomes an error of the node, without SQLite's text."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _: Any, wrong: BaseException | None, __: Any) -> None:
        """Raises: JournalCorrupt, StoreUnavailable."""
        if isinstance(wrong, Refused):
            raise JournalCorrupt(wrong.text, expected="the entries that were written") from None
        if isinstance(wrong, sqlite3.Error | OSError | UnicodeDecodeError):  # its own words can be damaged too
            name = type(wrong).__name__
            raise StoreUnavailable(f"a {name} of the store", expected="a folder that can be written") from None
