"""Histogram and Crosstab: one sum of counts, small cells hidden before the release.

Persons, not rows, decide which cells may be shown; the counts that are released are those of rows, as numpy and
pandas give them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from trust.analyses.base import Analysis, Arrays, Ask, Block, Run, Scope, Sum, count, real
from trust.analyses.moments import cells, check_weights, table_shape
from trust.analyses.terms import numbers
from trust.canonical import Real
from trust.dataset.expressions import Expression
from trust.dataset.rows import Rows
from trust.privacy.rules import EffectiveRecords, Groups, Organisations, Rule, SuppressCells

__all__ = ["Crosstab", "Histogram"]

Floats = npt.NDArray[np.float64]
_MOST_BINS = 1_000


@dataclass(frozen=True)
class _Ready:
    """The place of each row in the table, -1 outside it; weights where the table is weighted."""

    cell: npt.NDArray[np.int64]
    rows: Rows
    weights: Floats | None = None


class Histogram(Analysis):
    """How many values lie between given edges: bins are closed on the left, the last one on both sides, as numpy's.

    Values outside the edges are not part of the bins.  How many they are is one cell more of the table, judged and
    hidden like the others, because it is what a count of all values leaves; it is left out where the edges span the
    column's bounds.
    """

    title: ClassVar[str] = "histogram"

    kind: Literal["histogram"] = "histogram"
    column: str
    edges: tuple[Real, ...] = Field(min_length=2, max_length=_MOST_BINS + 1)

    @field_validator("edges")
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(right <= low for low, right in pairwise(edges)):
            raise ValueError("each edge is above the one before it")
        return edges

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def cells(self, scope: Scope) -> int:
        """Bins, and one cell for values outside them where there may be any.  Raises: StudyInvalid."""
        column = scope.numeric(self.column)
        low, high = column.bounds
        spanned = self.edges[0] <= low and high <= self.edges[-1] and not column.derived
        return len(self.edges) - 1 + (0 if spanned else 1)

    def plan(self, scope: Scope) -> dict[str, Sum]:
        return {"count": _counting(scope, (self.cells(scope),))}

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        values = rows.numeric(self.column)
        edges = np.array(self.edges)
        bins = len(edges) - 1
        cell = np.searchsorted(edges, values, side="right") - 1
        cell[values == edges[-1]] = bins - 1
        cell[(cell < 0) | (cell >= bins)] = bins if self.cells(scope) > bins else -1
        cell[np.isnan(values)] = -1
        return _Ready(cell, rows)

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        return _table_sums(ready, (self.cells(scope),))

    def run(self, scope: Scope) -> Run:
        total = yield Ask("count")
        return {
            "with_value": np.asarray(total["counts"].sum()),
            "counts": np.asarray(total["counts"]),
            "persons": np.asarray(total["persons"]),
            "partners": np.asarray(total["partners"]),
            "edges": np.array(self.edges),
        }


class Crosstab(Analysis):
    """A table of two columns, and what follows from it: chi-square, Cramér's V, the odds ratio."""

    title: ClassVar[str] = "crosstab"

    kind: Literal["crosstab"] = "crosstab"
    rows: str
    columns: str
    weights: Expression | None = None

    def reads(self) -> tuple[str, ...]:
        extra = self.weights.columns if self.weights is not None else ()
        return tuple(dict.fromkeys([self.rows, self.columns, *extra]))

    def groups(self) -> tuple[str, ...]:
        return (self.rows, self.columns)

    def plan(self, scope: Scope) -> dict[str, Sum]:
        check_weights(scope, self.weights)
        return {"count": _counting(scope, table_shape(scope, self.groups()), weighted=self.weights is not None)}

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        cell = cells(scope, rows, self.groups())
        if self.weights is None:
            return _Ready(cell, rows)
        weights = numbers(self.weights, rows)
        has_weight = ~np.isnan(weights)
        return _Ready(np.where(has_weight, cell, -1), rows, np.where(has_weight, weights, 0.0))

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        return _table_sums(ready, table_shape(scope, self.groups()))

    def run(self, scope: Scope) -> Run:
        total = yield Ask("count")
        return {
            "nobs": np.asarray(total["counts"].sum()),
            "counts": np.asarray(total["counts"] if self.weights is None else total["weight"]),
            "persons": np.asarray(total["persons"]),
            "partners": np.asarray(total["partners"]),
        }


def _counting(scope: Scope, shape: tuple[int, ...], *, weighted: bool = False) -> Sum:
    """One sum of rows, persons and partners in each cell and over all; too few over all refuses."""
    gives: tuple[Block, ...] = (
        count("counts", *shape),
        count("persons", *shape),
        count("partners", *shape),
        count("persons_in_all"),
        count("partners_in_all"),
    )
    rules: tuple[Rule, ...] = (
        Groups(of="persons_in_all"),
        *(() if scope.partner_may_be_shown else (Organisations(of="partners_in_all"),)),
        SuppressCells(
            of="persons",
            organisations="partners",
            hides=("counts",),
            mask="hidden",
            axes=len(shape),
            partner_may_be_shown=scope.partner_may_be_shown,
        ),
    )
    if not weighted:
        return Sum(gives=gives, rules=rules)
    return Sum(
        gives=(*gives, real("weight", *shape)), keeps=("weights",), rules=(EffectiveRecords(of="weights"), *rules)
    )


def _table_sums(ready: _Ready, shape: tuple[int, ...]) -> Arrays:
    """This partner's part of `_counting`; a row of weight 0 is not a person in its cell."""
    size = int(np.prod(shape))
    inside = ready.cell >= 0
    counts = np.bincount(ready.cell[inside], minlength=size).astype(np.int64)
    cells = ready.cell if ready.weights is None else np.where(ready.weights > 0, ready.cell, -1)
    one_row_each = ready.rows.person is None and ready.weights is None
    persons = counts if one_row_each else ready.rows.persons_by(cells, size)
    in_all = ready.rows.persons(cells >= 0)
    counted: dict[str, npt.NDArray[Any]] = {
        "counts": counts.reshape(shape),
        "persons": persons.reshape(shape),
        "partners": (persons > 0).astype(np.int64).reshape(shape),
        "persons_in_all": np.array(in_all),
        "partners_in_all": np.array(int(in_all > 0)),
    }
    if ready.weights is not None:
        weights = np.where(inside, ready.weights, 0.0)
        counted |= {
            "weight": np.bincount(ready.cell[inside], weights[inside], size).reshape(shape),
            "weights": ready.rows.of_persons(weights),
        }
    return counted
