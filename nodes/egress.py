"""The one place from which bytes leave a node.  What left is recorded here before it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trust.wire import UP, pack

__all__ = ["Egress", "Sent"]


@dataclass(frozen=True)
class Sent:
    """One message that left: its kind, the sum it answers (-1 for none), how long, and its SHA-256."""

    kind: str
    r: int
    bytes: int
    sha256: str


@dataclass
class Egress:
    """Packs and records every message of a node; nothing else builds one."""

    sent: list[Sent] = field(default_factory=list)

    def send(self, header: Mapping[str, Any], body: bytes = b"") -> bytes:
        """The bytes of a message of a kind that a node may send."""
        if header["kind"] not in UP:
            raise AssertionError("a node sends only the kinds of wire.UP")
        raw = pack(header, body)
        digest = hashlib.sha256(raw).hexdigest()
        self.sent.append(Sent(str(header["kind"]), int(header.get("r", -1)), len(raw), digest))
        return raw
