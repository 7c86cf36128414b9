"""A partner's node: what it knows before any study, and its journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodes.rows.editions import EditionKeeper
from nodes.rows.source import Source
from nodes.state.store import SqliteStore
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.dataset import Dataset
from trust.decision import Decision
from trust.documents.root import TrustRoot
from trust.errors import MessageInvalid, Refused
from trust.logs.checkpoint import journal_origin, read_checkpoint
from trust.secure_sum import close_if_rolled_back
from trust.secure_sum.errors import SecureSumError
from trust.signing.envelope import Signer
from trust.times import read_time, write_time

__all__ = ["Node"]

_TOLERANCE = timedelta(seconds=5)
"""By how much a clock that is being corrected may go back."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a partner's node knows before any study.

    `identity` signs, `seal` opens what is sealed to this partner, `root` is pinned, `store` keeps the state, `policy`
    is the partner's own, `revocations` a folder where revocations may be dropped as files.  `former` are raw public
    keys that roots have named for this partner before, whose heads are of this journal too; `abandoned` those of a
    history that was given up (`nodes/state/restored.py`).
    """

    name: str
    dataset: Dataset
    source: Source
    charter: Charter
    root: TrustRoot
    identity: Signer
    seal: X25519PrivateKey
    store: SqliteStore
    editions: EditionKeeper
    clock: Callable[[], datetime]
    policy: PartnerPolicy | None = None
    revocations: Path | None = None
    former: tuple[bytes, ...] = ()
    abandoned: tuple[bytes, ...] = ()

    def journal(self, kind: str, study: str, body: Mapping[str, Any]) -> None:
        """Append one entry, on the disk when this returns.  Raises: StoreUnavailable, JournalCorrupt."""
        self.store.journal(kind, study, write_time(self.clock()), body)

    def on_time(self) -> Decision:
        """Whether the clock has not gone back behind the journal: else what has expired would be in force again."""
        last = self.store.latest()
        ok = not last or self.clock() + _TOLERANCE >= read_time(last)
        text = "this partner's clock goes on" if ok else "this partner's clock is behind its own journal"
        return Decision("clock", ok, text, "ask the partner to correct its clock")

    def can_write(self) -> Decision:
        """Whether the journal can be written now: without a journal nothing is computed."""
        try:
            self.store.writable()
        except SecureSumError as wrong:
            return Decision("journal", False, "this partner's journal cannot be written", wrong.remedy)
        return Decision("journal", True, "this partner's journal can be written")

    def head(self) -> str:
        """The journal's size and root, signed: for the register, so that it cannot be shortened afterwards."""
        return self.store.checkpoint(self._origin, self.identity)

    def not_behind(self, note: Any) -> None:
        """The journal still holds the last of its heads that is in the register: its folder was not restored from a
        copy, nor its entries changed.  Else every open study is closed.

        Args:
            note: the head as a signed note, empty where the register has none.

        Raises: StateRolledBack, JournalCorrupt, MessageInvalid, Refused.
        """
        if not isinstance(note, str):
            raise MessageInvalid("a journal's head that is not text", expected="its checkpoint")
        if note:
            try:
                head = read_checkpoint(note, self._origin, [self.identity.public, *self.former])
            except Refused:
                if not self.abandoned:
                    raise
                read_checkpoint(note, self._origin, self.abandoned)
                return  # of the history that a quorum has let this partner give up
            close_if_rolled_back(self.store, head, time=write_time(self.clock()))

    @property
    def _origin(self) -> str:
        return journal_origin(self.root.root.trust, self.name)
