"""A message as Flower carries it: parts in records of one field, without Flower itself.

No bytes are no message, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FIELD", "RECORD", "from_records", "to_records"]

RECORD, FIELD = "datatrust", "message"
"""The field, and the record of the first part; the others are in `datatrust-1`, `datatrust-2`, …"""
_PART_BYTES = 1 << 23
"""8 MiB: Flower's transport bounds what it carries at once."""
_MOST_PARTS = 1 + (1 << 31) // _PART_BYTES
"""Parts of the longest message."""


def to_records(raw: bytes) -> dict[str, dict[str, bytes]]:
    """`{record: {field: part}}`; at least one part."""
    parts = [raw[offset : offset + _PART_BYTES] for offset in range(0, len(raw), _PART_BYTES)] or [b""]
    return {_record_name(index): {FIELD: part} for index, part in enumerate(parts)}


def from_records(records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The inverse of `to_records`; no bytes where these are not the parts of a message."""
    if len(records) > _MOST_PARTS:
        return b""
    parts: list[bytes] = []
    for index in range(max(1, len(records))):
        part = records.get(_record_name(index), {}).get(FIELD)
        if not isinstance(part, bytes):
            return b""
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _record_name(index: int) -> str:
    return f"{RECORD}-{index}" if index else RECORD
