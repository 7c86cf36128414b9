"""The versions of the trust root that a coordinator works with: those of its files, and those accepted since.

What one process accepts, every other finds in the database the next time it looks; an older root never comes back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from coordinator.docket.database import Database
from trust.documents.filed_study import TrustDocuments, read_text, valid_only, write_text
from trust.documents.root import Root
from trust.documents.verification import check_signature_count
from trust.errors import InvalidInput
from trust.signing.envelope import Envelope, sha256

__all__ = ["Roots", "with_accepted"]

_Write: TypeAlias = Callable[[str, str, Mapping[str, Any]], int]
_NEWER = "SELECT envelope FROM root WHERE version > ? ORDER BY version"


class Roots:
    """The roots of one docket.  `write` adds an entry to the register; `trust` is what the files say."""

    def __init__(self, db: Database, trust: TrustDocuments, write: _Write) -> None:
        self._db, self._trust, self._write = db, trust, write

    @property
    def trust(self) -> TrustDocuments:
        """The trust as it is now, with every version of the root that any process has accepted.

        Raises: InvalidInput where the newest root names another charter than this process has: it must be started
        again.
        """
        newer = self._db.rows(_NEWER, self._trust.root.root.version)
        if newer:
            roots = (*self._trust.roots, *(read_text(text) for (text,) in newer))
            self._trust = TrustDocuments(roots, self._trust.dataset, self._trust.charter)
        _check_charter(self._trust, self._trust.root.root)
        return self._trust

    def accept(self, envelope: Envelope, now: datetime) -> None:
        """Inside a transaction: put the next version in force; one that is there already changes nothing.

        Raises: Refused where it does not follow, lacks a quorum of the old or of the new root, or is not in force
        today; InvalidInput where it names another charter.
        """
        check_signature_count(envelope)
        trust = self.trust
        if envelope.unverified_payload in {accepted.unverified_payload for accepted in trust.roots}:
            return
        new = trust.root.next(envelope)
        new.require_in_force(now)
        _check_charter(trust, new.root)
        self._tell(valid_only("root", envelope, trust.root.root.keys_of("root") | new.root.keys_of("root")))

    def untold(self) -> bool:
        """Whether `tell` has something to write.  Raises: InvalidInput, as it does."""
        self._compare(self._trust)
        roots, has_other_charter = self._untold(self.trust)
        count = self._db.rows("SELECT count(*) FROM root")[0][0]
        return bool(roots) or has_other_charter or count < len(self.trust.roots)

    def tell(self) -> None:
        """Inside a transaction: what the register has still to get, versions of the root and the charter.

        Raises: InvalidInput where the register has another root than those of this trust.
        """
        trust = self.trust
        roots, has_other_charter = self._untold(trust)
        for envelope in roots:
            self._tell(envelope)
        for envelope in trust.roots:
            self._keep(envelope)
        if has_other_charter:
            charter = trust.charter
            self._mark_told("charter", charter.folder_digest)
            body = {"name": charter.name, "version": charter.version, "digest": charter.folder_digest}
            self._write("charter", "", body)

    def _untold(self, trust: TrustDocuments) -> tuple[list[Envelope], bool]:
        told_count = self._compare(trust)
        if told_count > len(trust.roots):
            raise _another(told_count)
        charters = self._db.rows("SELECT digest FROM told WHERE kind = 'charter' ORDER BY seq")
        return [*trust.roots[told_count:]], charters[-1:] != [(trust.charter.folder_digest,)]

    def _compare(self, trust: TrustDocuments) -> int:
        """How many roots the register has.  Raises: InvalidInput where they are not this trust's."""
        digests = [digest for (digest,) in self._db.rows("SELECT digest FROM told WHERE kind = 'root' ORDER BY seq")]
        if any(
            sha256(known_root.unverified_payload) != digest
            for known_root, digest in zip(trust.roots, digests, strict=False)
        ):
            raise _another(len(digests))
        return len(digests)

    def _tell(self, envelope: Envelope) -> None:
        self._mark_told("root", sha256(envelope.unverified_payload))
        self._keep(envelope)
        self._write("root", "", {"envelope": envelope.document()})

    def _mark_told(self, kind: str, digest: str) -> None:
        self._db.execute(
            "INSERT INTO told (kind, digest, seq) VALUES (?, ?, (SELECT coalesce(max(seq), 0) + 1 FROM told))",
            (kind, digest),
        )

    def _keep(self, envelope: Envelope) -> None:
        """For processes that were opened with an older root."""
        version = Root.read(envelope.unverified_payload).version
        self._db.execute(
            "INSERT INTO root (version, envelope) VALUES (?, ?) ON CONFLICT DO NOTHING", (version, write_text(envelope))
        )


def with_accepted(db: sqlite3.Connection, roots: Sequence[Envelope]) -> tuple[Envelope, ...]:
    """The roots of a trust's files and those that a coordinator's file, opened for reading, has beyond them.

    They are not verified here.  Raises: `sqlite3.Error`, MessageInvalid.
    """
    if not roots or not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'root'").fetchone():
        return tuple(roots)
    last = max(Root.read(envelope.unverified_payload).version for envelope in roots)
    return (*roots, *(read_text(text) for (text,) in db.execute(_NEWER, (last,))))


def _another(told_count: int) -> InvalidInput:
    return InvalidInput(
        "the coordinator's register is of another trust root",
        expected=f"the {told_count} versions that it was opened with before, in their order",
        remedy="use the roots of this folder; an older root never comes back",
    )


def _check_charter(trust: TrustDocuments, root: Root) -> None:
    """Raises: InvalidInput where the root names another charter than the one that is here."""
    if trust.charter.folder_digest != root.charter:
        raise InvalidInput(
            "the charter is not the one that the trust root names",
            expected=f"the charter whose digest is {root.charter}",
            remedy="put its files into the folder as they were signed, and start again",
        )
