"""What a conductor needs around it: a channel to the nodes, and a book for what the public may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trust.signing.envelope import Envelope

__all__ = ["Book", "Channel"]


class Channel(Protocol):
    """How messages reach nodes: Flower's Grid, in process or deployed."""

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> Mapping[str, bytes]:
        """Send each partner its message; the answers that came within `deadline` seconds."""


class Book(Protocol):
    """Where a conductor writes what the public may see, and reads what members and nodes have said."""

    def publish(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """One entry of the register."""

    def journal_head(self, partner: str) -> str:
        """The last checkpoint of a partner's journal, empty where there is none."""

    def revocations(self, mandate: str) -> Sequence[Envelope]:
        """Every revocation of a mandate (`sha256:<hex>` of its bytes) that was handed in."""
