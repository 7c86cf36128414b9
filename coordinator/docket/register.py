"""The register: the trust's public transparency log, in the coordinator's database.

Who keeps a checkpoint of it sees whether it was shortened or rewritten since; who has an entry's proof sees
that everybody else is shown the same entry.  Entries and kinds: docs/formats.md, 9; how changes are found:
`trust/logs/logbook.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from coordinator.docket.database import Database
from trust.logs.checkpoint import Checkpoint, sign_checkpoint
from trust.logs.kinds import REGISTER as KINDS
from trust.logs.logbook import Logbook
from trust.logs.merkle import Tree
from trust.signing.envelope import Signer

__all__ = ["Register"]


class Register(Logbook):
    """The register in the tables of a coordinator's database.

    `db` stays its owner's; `origin` is `trust.checkpoint.register_origin`; `signer` is the coordinator's key.  One
    object a thread.  Opening reads it again: a changed register does not open.

    Raises: Refused (`log-corrupt`), naming the first wrong entry; Fault, here and in every method, where the database
    cannot be used.
    """

    def __init__(self, db: Database, origin: str, signer: Signer) -> None:
        super().__init__(db, "register", KINDS)
        self._database, self._origin, self._signer = db, origin, signer
        self.verify()

    def mapped(self) -> AbstractContextManager[Any]:
        """What the database or the disk says becomes a Fault."""
        return self._database.mapped()

    def append(self, kind: str, study: str, time: str, body: Mapping[str, Any]) -> int:
        """Add an entry and return its number, from 0.

        Opens no transaction of its own: the caller wraps what belongs together, and ends with `checkpoint()`.

        Args:
            study: its id, empty where the entry is of none.
            at: `YYYY-MM-DDTHH:MM:SSZ`.

        Raises: ValueError for a kind that is not in `KINDS`; MessageInvalid for an entry that is too long.
        """
        with self.mapped():
            seq = super().append(kind, study, time, body)
            if kind == "journal-head":
                self._database.execute(
                    "INSERT INTO journal_head (partner, seq) VALUES (?, ?)"
                    " ON CONFLICT (partner) DO UPDATE SET seq = excluded.seq",
                    (body["partner"], seq),
                )
        return seq

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; at its end the checkpoint is signed over everything that was written.  Raises: Fault."""
        with self._database.transaction():
            yield
            self.checkpoint()

    def publish(self, kind: str, study: str, time: str, body: Mapping[str, Any]) -> int:
        """Add one entry in a transaction of its own; its number.  Raises: as `append`."""
        with self.transaction():
            return self.append(kind, study, time, body)

    def publish_once(self, key: str, kind: str, study: str, time: str, body: Mapping[str, Any]) -> int:
        """The same, at most once for a study's `key`: a second call writes nothing and returns the first one's number.

        The key is remembered even after the study's kept messages are deleted.
        """
        with self.transaction():
            published_rows = self._database.rows("SELECT seq FROM published WHERE study = ? AND name = ?", study, key)
            if published_rows:
                return int(published_rows[0][0])
            index = self.append(kind, study, time, body)
            self._database.execute("INSERT INTO published (study, name, seq) VALUES (?, ?, ?)", (study, key, index))
            return index

    def journal_head(self, partner: str) -> str:
        """The last signed head of a partner's journal, a note; empty where there is none."""
        sequence_rows = self._database.rows("SELECT seq FROM journal_head WHERE partner = ?", partner)
        return str(self.entry(sequence_rows[0][0]).body["note"]) if sequence_rows else ""

    def checkpoint(self) -> str:
        """The head as a signed note, which is kept as the latest."""
        with self.mapped():
            note = sign_checkpoint(Checkpoint(self._origin, *self.head()), self._signer)
            self._database.execute(
                "INSERT INTO checkpoint (one, note) VALUES (0, ?) ON CONFLICT (one) DO UPDATE SET note = excluded.note",
                (note,),
            )
        return note

    def inclusion(self, index: int) -> tuple[list[bytes], str]:
        """The proof that entry `index` is in the register, hashes of 32 bytes, and the checkpoint that it leads to.

        Both are of one tree: what another process writes meanwhile is in neither.
        Raises: MessageInvalid where there is no such entry.
        """
        tree = self.tree()
        return tree.inclusion(index), self._sign_head(tree)

    def consistency(self, old: int) -> tuple[list[bytes], str]:
        """The proof that the register extends the one of `old` entries, and the checkpoint that it leads to.

        Raises: MessageInvalid where it has fewer.
        """
        tree = self.tree()
        return tree.consistency(old), self._sign_head(tree)

    def _sign_head(self, tree: Tree) -> str:
        return sign_checkpoint(Checkpoint(self._origin, len(tree), tree.root()), self._signer)
