"""What a node remembers of its secure sums, and the store that keeps it.  docs/protocol.md, 3.

Study: approved, started, closed; sum: open, contributed.  Nothing else is remembered, so nothing else can be raced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from trust.logs.checkpoint import Checkpoint
from trust.secure_sum.errors import JournalCorrupt, StateRolledBack
from trust.secure_sum.messages import Context

__all__ = ["Contribution", "Reader", "Store", "StudyState", "Transaction", "close_if_rolled_back", "close_study"]


@dataclass(frozen=True)
class StudyState:
    """One study.  Secrets: `ephemeral` until the start, `keys` (pair keys `K[epoch]` by partner) until the close."""

    study: str
    status: Literal["approved", "started", "closed"]
    mandate: bytes
    root: bytes
    ephemeral: bytes = field(default=b"", repr=False)
    transcript: bytes = b""
    partners: tuple[str, ...] = ()
    epoch: int = 0
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def closed(self) -> StudyState:
        """The same study, ended: without secrets."""
        return replace(self, status="closed", ephemeral=b"", keys={})


@dataclass(frozen=True)
class Contribution:
    """One sum that was contributed to: what was answered, and what was signed.

    `questions` are the digests of each analysis' question; `sha256` and `size` (bytes) are the upload's.
    """

    study: str
    context: Context
    questions: tuple[bytes, ...]
    sha256: bytes
    size: int
    sig: bytes


class Reader(Protocol):
    """What can be read at any time.  Every method raises StoreUnavailable."""

    def study(self, study: str) -> StudyState | None:
        """The study's state, None before the approval."""

    def contribution(self, study: str, r: int) -> Contribution | None:
        """What was contributed to sum `r`, None while it is open."""

    def answered(self, question: bytes) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Study and partner set of every contribution that answered a question."""


class Transaction(Reader, Protocol):
    """Reads and writes under one lock; all of it is kept, or none."""

    def put_study(self, state: StudyState) -> None:
        """Keep a study's state; what it replaces, secrets included, is overwritten."""

    def put_contribution(self, contribution: Contribution, body: bytes | memoryview) -> None:
        """Keep a contribution.  The upload's body is on the disk before this returns."""

    def forget_upload(self, study: str, r: int) -> None:
        """Delete an upload's body; the contribution stays."""

    def journal(self, kind: str, study: str, time: str, body: Mapping[str, Any]) -> None:
        """Append an entry to the journal, in this transaction."""


class Store(Reader, Protocol):
    """The state of one node, shared by its processes."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One at a time, over all processes.  Committed and on the disk on leaving; undone by an exception."""

    def upload_body(self, contribution: Contribution) -> bytes:
        """The stored bytes of an upload.  Raises: NotAvailable when they were deleted, StoreUnavailable."""

    def open_studies(self) -> Sequence[str]:
        """Studies that are not closed."""

    def extends(self, checkpoint: Checkpoint) -> None:
        """The journal contains that of an earlier checkpoint.  Raises: StateRolledBack, JournalCorrupt."""


def close_study(store: Store, study: str, reason: str, *, time: str) -> None:
    """End a study and delete its keys; nothing happens where it is not open.

    Args:
        reason: a rule's id, for the journal.

    Raises: StoreUnavailable.
    """
    with store.transaction() as tx:
        state = tx.study(study)
        if state is not None and state.status != "closed":
            tx.put_study(state.closed())
            tx.journal("study-closed", study, time, {"reason": reason})


def close_if_rolled_back(store: Store, register: Checkpoint, *, time: str) -> None:
    """Close every open study where the journal does not contain what the register has of it.

    A node restored from a backup would answer sums again that it has answered, with keys that it has used.  A
    register that lies defeats this: hence no backups.  Raises: StateRolledBack, JournalCorrupt, once all studies are
    closed.
    """
    try:
        store.extends(register)
    except (StateRolledBack, JournalCorrupt) as wrong:
        for study in store.open_studies():
            close_study(store, study, wrong.code, time=time)
        raise
