"""A study's sums between its analyses and the secure sum: names, plans, questions, and totals given back.

A sum carries the asks of the analyses that are not yet finished; its blocks are theirs, in order of analysis, each
named `analysis/block`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trust.analyses.base import Arrays, Ask, Block, Sum
from trust.canonical import canonical
from trust.errors import MessageInvalid
from trust.secure_sum import AnalysisAsk, Layout, Question, layout_of

__all__ = ["Plans", "blocks_of", "joined", "plan_bytes", "question", "split"]

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


def only_names(value: Any) -> tuple[str, ...]:
    """A list of partners in order, each once.  Raises: MessageInvalid."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or value != sorted(set(value)):
        raise MessageInvalid("partners that are not a sorted list of names", expected="each name once, in order")
    return tuple(value)
