"""The plain sum: contributions are added as they are.  The secure sum takes its place behind the same two calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trust.analyses.base import Arrays, Ask, Block, Sum, fits
from trust.errors import MessageInvalid
from trust.wire import pack_arrays, size, unpack_arrays

__all__ = ["contribution", "open_sum"]

Plans = Mapping[str, Mapping[str, Sum]]


def contribution(asks: Mapping[str, Ask], plans: Plans, given: Mapping[str, Arrays]) -> bytes:
    """One node's part of a sum: the blocks of every analysis asked for, in order of name.

    Raises: MessageInvalid for a block of a wrong shape or with a value that is not finite.
    """
    for name, blocks in _blocks(asks, plans):
        fits(tuple(blocks), given[name])
    return b"".join(pack_arrays(blocks, given[name]) for name, blocks in _blocks(asks, plans))


def open_sum(asks: Mapping[str, Ask], plans: Plans, uploads: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """The totals over all uploads, `{analysis: {block: array}}`.

    Raises: MessageInvalid for an upload of a wrong length, or a total that is not finite.
    """
    expected = sum(size(blocks) for _, blocks in _blocks(asks, plans))
    totals: dict[str, dict[str, Any]] = {}
    for partner, raw in sorted(uploads.items()):
        if len(raw) != expected:
            raise MessageInvalid(f"an upload of {len(raw)} bytes from {partner!r}", expected=f"{expected}")
        at = 0
        for name, blocks in _blocks(asks, plans):
            arrays = unpack_arrays(blocks, raw[at : at + size(blocks)])
            at += size(blocks)
            into = totals.setdefault(name, {})
            for block, array in arrays.items():
                into[block] = into[block] + array if block in into else np.array(array)
    for name, blocks in _blocks(asks, plans):
        fits(tuple(blocks), totals[name])
    return totals


def _blocks(asks: Mapping[str, Ask], plans: Plans) -> list[tuple[str, Sequence[Block]]]:
    return [(name, plans[name][ask.sum].gives) for name, ask in sorted(asks.items())]
