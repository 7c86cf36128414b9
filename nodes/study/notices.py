"""Notices: newer trust roots and revocations, which reach a node in any message or as a file.

Both prove themselves: a root by the quorum of the one before it, a revocation by a member's signature.  A coordinator
can hold them back, and cannot forge or undo one; the expiry of roots and mandates bounds for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nodes.state.store import SqliteStore
from trust.canonical import canonical, parse, read_document
from trust.documents.root import Root, TrustRoot
from trust.documents.votes import Revocation, read_revocation
from trust.errors import MessageInvalid, Refused
from trust.signing.envelope import Envelope, sha256
from trust.times import read_time, write_time

__all__ = ["Notices"]

_MOST_NOTICES = 100
_LARGEST_BYTES = 1 << 16


class Notices:
    """What a node has been told.

    Attributes:
        root: the newest version of the trust root that was accepted.
    """

    def __init__(
        self, pinned: TrustRoot, store: SqliteStore, clock: Callable[[], datetime], folder: Path | None = None
    ) -> None:
        """`folder`: where an operator may drop revocations, one DSSE envelope in JSON a file."""
        self._store, self._clock, self._folder = store, clock, folder
        self.root = pinned
        if not store.head()[0]:  # the first entry of every journal
            self._accept(pinned, None)
        self.refresh()

    def refresh(self) -> None:
        """Take the versions that another session of this node has accepted.  Raises: StoreUnavailable."""
        for raw in self._store.roots(after_version=self.root.root.version):
            self.root = self.root.next(Envelope.read(parse(raw)))

    def newer(self, documents: Any) -> list[tuple[TrustRoot, Envelope]]:
        """Each next version in a message, verified by the one before it; nothing is kept yet.

        Versions that are known already are passed over, and so is what is dated ahead of this node's clock.
        Raises: MessageInvalid.
        """
        newer_roots: list[tuple[TrustRoot, Envelope]] = []
        root = self.root
        for envelope in _envelopes(documents, "roots"):
            if Root.read(envelope.unverified_payload).version <= root.root.version:
                continue
            try:
                root = root.next(envelope)
            except Refused as refused:
                raise MessageInvalid(refused.text, expected="the next trust root, signed by a quorum") from None
            if read_time(root.root.issued) > self._clock():
                break
            newer_roots.append((root, envelope))
        return newer_roots

    def accept_roots(self, newer: Sequence[tuple[TrustRoot, Envelope]]) -> None:
        """Keep what `newer` has found, for good.  Raises: StoreUnavailable."""
        for root, envelope in newer:
            self._accept(root, envelope)
            self.root = root

    def _accept(self, root: TrustRoot, envelope: Envelope | None) -> None:
        with self._store.transaction() as tx:
            if envelope is not None:
                tx.put_root(root.root.version, canonical(envelope.document()))
            body = {"digest": sha256(root.payload), "version": root.root.version}
            tx.journal("root-accepted", "", write_time(self._clock()), body)

    def accept_revocations(self, documents: Any) -> None:
        """Keep revocations of members of this root, for good.  Raises: MessageInvalid, StoreUnavailable."""
        for envelope in _envelopes(documents, "revocations"):
            try:
                revocation = read_revocation(envelope, self.root.root)
            except Refused as refused:
                raise MessageInvalid(refused.text, expected="a revocation that a member has signed") from None
            self._keep(revocation, envelope)

    def revoked(self, mandate: bytes) -> bool:
        """Whether a member has revoked this mandate (its digest, 32 bytes), as far as this node was told.

        Raises: Refused (`revocation-unreadable`): a file that nobody can read might be one; StoreUnavailable.
        """
        for path in self._files():
            self._take(path)
        return self._store.revoked(mandate)

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.iterdir()) if self._folder is not None and self._folder.is_dir() else []
        except OSError:
            text = "this partner's folder of revocations cannot be read"
            raise Refused("revocation-unreadable", text, remedy="ask the partner to look at its machine") from None

    def _take(self, path: Path) -> None:
        """One file; a revocation that was kept before stays in force although its member may have left."""
        try:
            raw = path.read_bytes()
            if len(raw) > _LARGEST_BYTES:
                raise MessageInvalid(f"a file of {len(raw)} bytes", expected=f"at most {_LARGEST_BYTES}")
            envelope = Envelope.read(parse(raw.strip()))
            claimed = read_document(Revocation, envelope.unverified_payload, MessageInvalid, "the revocation")
            if not self._store.revoked(_digest(claimed)):
                self._keep(read_revocation(envelope, self.root.root), envelope)
        except (OSError, MessageInvalid, Refused):
            text = "a file among this partner's revocations cannot be read as one that a member has signed"
            raise Refused(
                "revocation-unreadable", text, remedy="ask the partner to correct or remove the file"
            ) from None

    def _keep(self, revocation: Revocation, envelope: Envelope) -> None:
        mandate = _digest(revocation)
        if self._store.revoked(mandate):
            return
        with self._store.transaction() as tx:
            tx.put_revocation(mandate, canonical(envelope.document()))
            body = {"mandate": revocation.mandate, "member": revocation.member, "revoked": revocation.at}
            tx.journal("revoked", "", write_time(self._clock()), body)


def _digest(revocation: Revocation) -> bytes:
    return bytes.fromhex(revocation.mandate.removeprefix("sha256:"))


def _envelopes(documents: Any, subject: str) -> list[Envelope]:
    if not isinstance(documents, list) or len(documents) > _MOST_NOTICES:
        raise MessageInvalid(f"{subject} that are not a list", expected=f"at most {_MOST_NOTICES}")
    return [Envelope.read(document) for document in documents]
