"""The one place from which bytes leave a node.  What left is recorded here before it goes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from trust.protocol.messages import ApprovalMessage, ReadyMessage, RefusalMessage, pack
from trust.secure_sum import Approval, Upload
from trust.signing.envelope import Signer

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
    """Packs, signs and records every message of a node; nothing else builds one."""

    identity: Signer
    sent: list[Sent] = field(default_factory=list)

    def send(self, message: ReadyMessage | RefusalMessage) -> bytes:
        """The bytes of a refusal, or of a `ready`."""
        if not isinstance(message, ReadyMessage | RefusalMessage):
            raise AssertionError("only a ready or a refusal is a plain message")
        return self._record_leaving(message.kind, -1, message.pack_signed(self.identity))

    def send_approval(self, approval: Approval, head: str) -> bytes:
        """The bytes of an approval, which carries its own signature, with the signed head of the journal."""
        message = ApprovalMessage.model_validate({**approval.document(), "head": head})
        return self._record_leaving(message.kind, -1, message.pack())

    def send_upload(self, upload: Upload) -> bytes:
        """The bytes of a masked vector, which carries its own signature."""
        return self._record_leaving("upload", upload.r, pack(upload.header(), bytes(upload.body)))

    def _record_leaving(self, kind: str, r: int, raw: bytes) -> bytes:
        self.sent.append(Sent(kind, r, len(raw), hashlib.sha256(raw).hexdigest()))
        return raw
