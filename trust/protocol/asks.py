"""A study's sums between its analyses and the secure sum: names, plans, bytes of questions, totals given back.

A sum carries the asks of the analyses that are not yet finished; its blocks are theirs, in order of analysis, each
named `analysis/block`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trust.analyses.base import Arrays, Ask, Block, Sum, fits
from trust.canonical import canonical
from trust.errors import MessageInvalid
from trust.secure_sum import AnalysisAsk, Layout, Question, layout_of

__all__ = [
    "Plans",
    "blocks_of",
    "joined",
    "need_totals",
    "pack_arrays",
    "pack_asks",
    "plan_bytes",
    "question",
    "same_sums",
    "size",
    "split",
    "unpack_arrays",
    "unpack_asks",
    "upload_bytes",
]

Plans = Mapping[str, Mapping[str, Sum]]


def blocks_of(asks: Mapping[str, Ask], plans: Plans) -> tuple[Block, ...]:
    """All blocks of a sum, in the order in which they lie in its vector."""
    return tuple(
        replace(block, name=f"{name}/{block.name}")
        for name, ask in sorted(asks.items())
        for block in plans[name][ask.sum].gives
    )


def joined(arrays_by_analysis: Mapping[str, Arrays]) -> dict[str, npt.NDArray[Any]]:
    """`{analysis: {block: array}}` as `{analysis/block: array}`."""
    return {
        f"{name}/{block}": np.asarray(array)
        for name, arrays in arrays_by_analysis.items()
        for block, array in arrays.items()
    }


def split(totals: Arrays) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The inverse of `joined`."""
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name, array in totals.items():
        analysis, _, block = name.partition("/")
        arrays.setdefault(analysis, {})[block] = array
    return arrays


def plan_bytes(documents: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], bytes]:
    """Canonical bytes of each analysis' plan of each sum, from `trust.study.plan_documents`."""
    return {(name, sum_): canonical(plan) for name, sums in documents.items() for sum_, plan in sums.items()}


def question(r: int, asks: Mapping[str, Ask], plans: Plans, documents: Mapping[tuple[str, str], bytes]) -> Question:
    """What sum `r` asks, as the secure sum binds it: coordinator and every node make it for themselves."""
    parts = [
        AnalysisAsk(
            name, ask.sum, documents[name, ask.sum], "derived" if plans[name][ask.sum].takes else "none", ask.values
        )
        for name, ask in asks.items()
    ]
    return Question.of(r, parts, layout(asks, plans))


def layout(asks: Mapping[str, Ask], plans: Plans) -> Layout:
    """How the vector of a sum lies on the wire."""
    return layout_of(blocks_of(asks, plans))


def upload_bytes(plans: Plans) -> int:
    """The most that one node uploads over a whole study, headers apart: reals decide the width of a sum's words."""
    total = 0
    for sums in plans.values():
        for planned_sum in sums.values():
            total += planned_sum.at_most * layout_of((*planned_sum.gives, Block("width"))).nbytes
    return total


def same_sums(asks: Mapping[str, Ask], expected: Mapping[str, Ask] | None) -> bool:
    """Whether exactly the expected analyses ask exactly the expected sums."""
    return expected is not None and {n: a.sum for n, a in asks.items()} == {n: a.sum for n, a in expected.items()}


def need_totals(asks: Mapping[str, Ask], plans: Plans) -> bool:
    """Whether a question depends on totals, so that nodes must see them to check it."""
    return any(plans[name][ask.sum].takes for name, ask in asks.items())


def pack_arrays(blocks: Sequence[Block], arrays: Arrays) -> bytes:
    """Blocks one after another: counts as int64, everything else as float64, little-endian, row-major."""
    return b"".join(
        np.ascontiguousarray(arrays[b.name], dtype="<i8" if b.encoding == "count" else "<f8").tobytes() for b in blocks
    )


def size(blocks: Sequence[Block]) -> int:
    """Length of `pack_arrays` in bytes, known before anything is read."""
    return 8 * sum(int(np.prod(b.shape, dtype=np.int64)) for b in blocks)


def unpack_arrays(blocks: Sequence[Block], raw: bytes) -> dict[str, npt.NDArray[Any]]:
    """The inverse of `pack_arrays`.  Raises: MessageInvalid for a wrong length or a value that is not finite."""
    if len(raw) != size(blocks):
        raise MessageInvalid(f"a body of {len(raw)} bytes", expected=f"{size(blocks)}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    offset = 0
    for block in blocks:
        dtype = "<i8" if block.encoding == "count" else "<f8"
        entries = int(np.prod(block.shape, dtype=np.int64))
        arrays[block.name] = np.frombuffer(raw, dtype, entries, offset).reshape(block.shape)
        offset += 8 * entries
    fits(tuple(blocks), arrays)
    return arrays


def pack_asks(asks: Mapping[str, Ask], plans: Plans) -> tuple[dict[str, str], bytes]:
    """`{analysis: sum}` for the header, and the values asked for as the body, analyses in order of name."""
    body = b"".join(pack_arrays(plans[name][ask.sum].takes, ask.values) for name, ask in sorted(asks.items()))
    return {name: ask.sum for name, ask in asks.items()}, body


def unpack_asks(names: Any, raw: bytes, plans: Plans) -> tuple[dict[str, Ask], bytes]:
    """The inverse of `pack_asks`, held to the plan, and the bytes that follow.  Raises: MessageInvalid."""
    if not isinstance(names, dict) or not names:
        raise MessageInvalid("a question without a sum", expected="a sum for at least one analysis")
    asks: dict[str, Ask] = {}
    offset = 0
    for name, sum_name in sorted(names.items()):
        if name not in plans or not isinstance(sum_name, str) or sum_name not in plans[name]:
            raise MessageInvalid("a question that is not in the plan", expected="an analysis and a sum of the plan")
        takes = plans[name][sum_name].takes
        length = size(takes)
        asks[name] = Ask(sum_name, unpack_arrays(takes, raw[offset : offset + length]))
        offset += length
    return asks, raw[offset:]
