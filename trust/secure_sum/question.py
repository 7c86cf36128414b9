"""What is asked in a sum, and whether it follows from what was opened before.  docs/protocol.md, 1, steps 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trust.canonical import canonical
from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import StateNotDerived
from trust.secure_sum.frames import question_digest, state_bytes

__all__ = ["TOLERANCE", "AnalysisAsk", "Arrays", "Question", "check_follows"]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

TOLERANCE: Final = 1e-9
"""How far asked values may lie from replayed ones, relative, or absolute below 1: two machines' last places."""


@dataclass(frozen=True)
class AnalysisAsk:
    """What one analysis asks in a sum.

    `plan` is the canonical bytes of its plan, from the node's own mandate; `values` what is asked about.  `state`:
    none (no values), derived (they follow from the totals) or free (a model: the values are the researcher's).
    """

    analysis: str
    sum: str
    plan: bytes
    state: Literal["none", "derived", "free"] = "none"
    values: Arrays = field(default_factory=dict)

    @cached_property
    def state_bytes(self) -> bytes:
        """The values as bytes.  Raises: StateNotDerived for a dtype that has no bytes here."""
        try:
            return state_bytes(self.values)
        except (ValueError, OverflowError):
            raise StateNotDerived(f"values of {self.analysis} out of form", expected="named numeric arrays") from None

    @cached_property
    def digest(self) -> bytes:
        """Names the question of this analysis alone, in every study: plan and state."""
        return question_digest(self.plan, self.state_bytes)


@dataclass(frozen=True)
class Question:
    """A sum's question: its number, what each unfinished analysis asks, and how the answer lies in a vector.

    `plan` and `state` are the bytes that go into the context; `of` makes them from the parts.
    """

    r: int
    plan: bytes
    state: bytes
    parts: tuple[AnalysisAsk, ...]
    layout: Layout

    def __post_init__(self) -> None:
        if not self.parts:
            raise StateNotDerived("a question without an analysis", expected="one at least")

    @classmethod
    def of(cls, r: int, parts: Sequence[AnalysisAsk], layout: Layout) -> Question:
        """The question made of `parts`: plan `{analysis: plan}`, states one after another, both in order of name."""
        ordered = sorted(parts, key=lambda part: part.analysis)
        if len({part.analysis for part in ordered}) != len(ordered):
            raise StateNotDerived("an analysis that asks twice", expected="one ask an analysis")
        plan = b"{" + b",".join(canonical(part.analysis) + b":" + part.plan for part in ordered) + b"}"
        return cls(r, plan, b"".join(part.state_bytes for part in ordered), tuple(ordered), layout)

    @cached_property
    def question_digest(self) -> bytes:
        """What is asked, 32 bytes."""
        return question_digest(self.plan, self.state)

    @property
    def names(self) -> str:
        """`risk/step, table/moments`, for the journal."""
        return ", ".join(f"{part.analysis}/{part.sum}" for part in self.parts)


def check_follows(part: AnalysisAsk, replayed: Arrays | None) -> None:
    """Check that the values of `part` are those of this node's own replay.

    Without it a coordinator could ask about coefficients of its own that single out one record.  `replayed` are the
    values that `run` asks next on the audited totals, None where it asks nothing.  Raises: StateNotDerived.
    """
    if part.state == "free":
        return
    values_due = {} if part.state == "none" else replayed
    if values_due is None or set(part.values) != set(values_due):
        raise StateNotDerived(f"{part.analysis}/{part.sum}: other values than it takes", expected="those of my replay")
    for name, own_value in values_due.items():
        if not _close(np.asarray(part.values[name]), np.asarray(own_value)):
            raise StateNotDerived(f"{part.analysis}/{part.sum}: {name} differs", expected="the value of my replay")


def _close(asked_value: npt.NDArray[Any], own_value: npt.NDArray[Any]) -> bool:
    """Same dtype and shape, and each entry within the tolerance of `mine`; whole numbers are equal."""
    if asked_value.dtype != own_value.dtype or asked_value.shape != own_value.shape:
        return False
    if own_value.dtype.kind != "f":
        return bool(np.array_equal(asked_value, own_value))
    if not (np.isfinite(asked_value).all() and np.isfinite(own_value).all()):
        return False
    x = own_value.astype(np.float64)
    return bool((np.abs(asked_value.astype(np.float64) - x) <= TOLERANCE * np.maximum(1.0, np.abs(x))).all())
