"""The kinds of entries of the register; no other can be written."""

from __future__ import annotations

__all__ = ["REGISTER"]

REGISTER = frozenset(
    {
        "root",
        "charter",
        "study",
        "vote",
        "mandate",
        "refusal",
        "sum-record",
        "release",
        "revocation",
        "journal-head",
    }
)
