"""The shapes of messages to a node: exactly these fields, and what stands in them.  docs/formats.md, 8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trust.documents.root import TrustRoot
from trust.errors import MessageInvalid
from trust.secure_sum import Approval

__all__ = ["approval_of", "closed", "coordinators", "listed"]


def coordinators(root: TrustRoot) -> list[bytes]:
    """Raw keys of the coordinator."""
    return list(root.root.keys_of("coordinator").values())


def closed(header: Mapping[str, Any], fields: set[str], body: bytes | None) -> None:
    """Exactly these fields, and no body where none belongs.  Raises: MessageInvalid."""
    if set(header) != fields or body:
        raise MessageInvalid("a message with missing or unknown fields", expected=", ".join(sorted(fields)))


def listed(value: Any) -> list[Any]:
    """A list of approvals.  Raises: MessageInvalid."""
    if not isinstance(value, list) or len(value) > 1000:
        raise MessageInvalid("something that is not a list of approvals", expected="at most 1,000")
    return value


def approval_of(value: Any) -> Approval:
    """An approval from the start message.  Raises: MessageInvalid; its signature is judged by the party."""
    if (
        not isinstance(value, dict)
        or set(value) != {"name", "E", "sig"}
        or not all(isinstance(v, str) for v in value.values())
    ):
        raise MessageInvalid("an approval with missing or unknown fields", expected="name, E, sig")
    try:
        return Approval(value["name"], bytes.fromhex(value["E"]), bytes.fromhex(value["sig"]))
    except ValueError:
        raise MessageInvalid("an approval that is not hex", expected="name, E, sig") from None
