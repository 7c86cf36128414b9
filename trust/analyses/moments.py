"""Describe: counts, means and centred moments of columns, by groups or over all.

Three sums: counts and sums, then squares of the distance to the public mean, then cubes and fourth powers of that
distance in standard deviations, so that nothing cancels and nothing grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, Values, count, real
from trust.analyses.terms import numbers, two_valued
from trust.dataset.expressions import Apply, Calculate, Compare, Expression, written
from trust.dataset.rows import Rows
from trust.errors import StudyInvalid
from trust.privacy.rules import EffectiveRecords, Organisations, Rule, SuppressCells

__all__ = ["Describe", "cells"]

Floats = npt.NDArray[np.float64]
_LARGEST_TABLE = 10_000
_STATISTICS = ("sum_of_weights", "sum", "mean", "var", "std", "skewness", "kurtosis")


@dataclass(frozen=True)
class _Ready:
    cell: npt.NDArray[np.int64]
    values: Floats
    weights: Floats | None
    rows: Rows


class Describe(Analysis):
    """Count, missing, mean, std, var, sum, skewness and kurtosis of each column, in each group."""

    title: ClassVar[str] = "description"

    kind: Literal["describe"] = "describe"
    columns: tuple[str, ...] = Field(min_length=1)
    by: tuple[str, ...] = ()
    weights: Expression | None = None

    def reads(self) -> tuple[str, ...]:
        extra = self.weights.columns if self.weights is not None else ()
        return tuple(dict.fromkeys([*self.columns, *self.by, *extra]))

    def groups(self) -> tuple[str, ...]:
        return self.by

    def shape(self, scope: Scope) -> tuple[int, ...]:
        """How many levels each group column has.  Raises: StudyInvalid."""
        return table_shape(scope, self.by)

    def _of_two(self, scope: Scope) -> tuple[int, ...]:
        """Places of the columns that have two values: their mean is a table of counts, and is judged as one."""
        return tuple(index for index, name in enumerate(self.columns) if two_valued(scope.numeric(name)))

    def plan(self, scope: Scope) -> dict[str, Sum]:
        for name in self.columns:
            scope.numeric(name)
        if len(set(self.columns)) != len(self.columns):
            raise StudyInvalid("a column stands twice in a description", expected="each once")
        check_weights(scope, self.weights)
        shape = self.shape(scope)
        table = (*shape, len(self.columns))
        rules: tuple[Rule, ...] = (
            SuppressCells(
                of="persons",
                organisations="partners",
                hides=("rows", "count", "missing"),
                mask="hidden_groups",
                axes=len(shape),
                partner_may_be_shown=scope.partner_may_be_shown,
            ),
            SuppressCells(
                of="persons_with_value",
                organisations="partners_with_value",
                hides=_STATISTICS,
                mask="hidden",
                axes=len(shape),
                also=("hidden_groups",),
                partner_may_be_shown=scope.partner_may_be_shown,
            ),
        )
        two = self._of_two(scope)
        if two:
            rules += (
                SuppressCells(
                    of="persons_of_two",
                    organisations="partners_of_two",
                    hides=_STATISTICS,
                    mask="hidden",
                    axes=len(shape) + 1,
                    places=two,
                    also=("hidden",),
                    partner_may_be_shown=scope.partner_may_be_shown,
                ),
            )
        of_two = (count("persons_of_two", *shape, 2, len(two)), count("partners_of_two", *shape, 2, len(two)))
        weighted: tuple[Rule, ...] = (EffectiveRecords(of="weights"),) if self.weights is not None else ()
        keeps = ("weights",) if self.weights is not None else ()
        return {
            "level": Sum(
                gives=(
                    count("rows", *shape),
                    count("persons", *shape),
                    count("partners", *shape),
                    count("count", *table),
                    count("persons_with_value", *table),
                    count("partners_with_value", *table),
                    real("weight", *table),
                    real("sum", *table),
                    count("taking_part"),
                    *of_two,
                ),
                keeps=keeps,
                rules=(*weighted, Organisations(of="taking_part"), *rules),
            ),
            "spread": Sum(takes=(real("mean", *table),), gives=(real("squares", *table),), keeps=keeps, rules=weighted),
            "shape": Sum(
                takes=(real("mean", *table), real("deviation", *table)),
                gives=(real("cubes", *table), real("fourths", *table)),
                keeps=keeps,
                rules=weighted,
            ),
        }

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        cell = cells(scope, rows, self.by)
        weights = numbers(self.weights, rows) if self.weights is not None else None
        keep = cell >= 0 if weights is None else (cell >= 0) & ~np.isnan(weights)
        values = np.column_stack([rows.numeric(name) for name in self.columns])
        if not keep.all():
            cell, values = cell[keep], values[keep]
            weights = weights[keep] if weights is not None else None
            rows = Rows(int(keep.sum()), {}, None if rows.person is None else rows.person[keep])
        return _Ready(cell, values, weights, rows)

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        shape = self.shape(scope)
        groups = int(np.prod(shape))
        table = (*shape, len(self.columns))
        kept_arrays = {} if ready.weights is None else {"weights": ready.rows.of_persons(ready.weights)}
        present = ~np.isnan(ready.values)
        if ask.sum != "level":
            names = ("squares",) if ask.sum == "spread" else ("cubes", "fourths")
            centre = np.asarray(ask.values["mean"], dtype=float).reshape(groups, -1)
            unit = np.asarray(ask.values.get("deviation", np.ones(table)), dtype=float).reshape(groups, -1)
            sums = {name: np.zeros((groups, len(self.columns))) for name in names}
            for index in range(len(self.columns)):
                distance = (ready.values[:, index] - centre[ready.cell, index]) / unit[ready.cell, index]
                distance[~present[:, index]] = 0.0
                square = distance * distance if ready.weights is None else distance * distance * ready.weights
                raised = (square,) if ask.sum == "spread" else (square * distance, square * distance * distance)
                for name, values in zip(names, raised, strict=True):
                    sums[name][:, index] = _sums_by_group(ready.cell, values, groups)
            return {**{name: sums[name].reshape(table) for name in names}, **kept_arrays}
        rows = np.bincount(ready.cell, minlength=groups)
        persons = ready.rows.persons_by(ready.cell, groups)
        counts, with_value = np.zeros((2, groups, len(self.columns)), dtype=np.int64)
        weight, total = np.zeros((2, groups, len(self.columns)))
        ones = np.ones(len(ready.cell)) if ready.weights is None else ready.weights
        for index in range(len(self.columns)):
            inside = np.where(present[:, index] & (ones > 0), ready.cell, -1)  # a row of weight 0 says nothing
            counts[:, index] = np.bincount(ready.cell[present[:, index]], minlength=groups)
            one_row_each = ready.rows.person is None and ready.weights is None
            with_value[:, index] = counts[:, index] if one_row_each else ready.rows.persons_by(inside, groups)
            weight[:, index] = _sums_by_group(ready.cell, np.where(present[:, index], ones, 0.0), groups)
            total[:, index] = _sums_by_group(
                ready.cell, np.where(present[:, index], ones * ready.values[:, index], 0.0), groups
            )
        return {
            "rows": rows.reshape(shape),
            "persons": persons.reshape(shape),
            "partners": (persons > 0).astype(np.int64).reshape(shape),
            "count": counts.reshape(table),
            "persons_with_value": with_value.reshape(table),
            "partners_with_value": (with_value > 0).astype(np.int64).reshape(table),
            "weight": weight.reshape(table),
            "sum": total.reshape(table),
            "taking_part": np.array(1),
            **self._two(scope, ready, shape),
            **kept_arrays,
        }

    def _two(self, scope: Scope, ready: _Ready, shape: tuple[int, ...]) -> Arrays:
        """Persons with each value of each two-valued column, in each group."""
        places = self._of_two(scope)
        persons = np.zeros((int(np.prod(shape)), 2, len(places)), dtype=np.int64)
        for index, place in enumerate(places):
            values = ready.values[:, place]
            low = scope.numeric(self.columns[place]).bounds[0]
            for value in (0, 1):
                two_valued_mean = (
                    values == low + value if ready.weights is None else (values == low + value) & (ready.weights > 0)
                )
                inside = np.where(two_valued_mean, ready.cell, -1)
                persons[:, value, index] = ready.rows.persons_by(inside, len(persons))
        persons = persons.reshape(*shape, 2, len(places))
        return {"persons_of_two": persons, "partners_of_two": (persons > 0).astype(np.int64)}

    def run(self, scope: Scope) -> Run:
        level = yield Ask("level")
        weight, total = level["weight"], level["sum"]
        mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        squares = (yield Ask("spread", {"mean": mean}))["squares"]
        flat = squares <= weight * (8 * np.finfo(float).eps * np.abs(mean)) ** 2
        deviation = np.sqrt(np.divide(squares, weight, out=np.ones_like(squares), where=~flat))
        standard = yield Ask("shape", {"mean": mean, "deviation": deviation})
        return self._result(scope, level, mean, (squares, standard["cubes"], standard["fourths"], flat))

    def _result(self, scope: Scope, level: Arrays, mean: Floats, powers: tuple[Any, Any, Any, Any]) -> Values:
        weight = level["weight"]
        squares, cubes, fourths, flat = powers
        with np.errstate(all="ignore"):
            variance = np.where(weight > 1, squares / (weight - 1), np.nan)
            skewness = np.where(flat, np.nan, cubes / weight)
            kurtosis = np.where(flat, np.nan, fourths / weight - 3)
        shape = self.shape(scope)
        rows = level["rows"].reshape(*shape, 1)
        return {
            "nobs": np.asarray(level["rows"].sum()),
            "rows": np.asarray(level["rows"]),
            "persons": np.asarray(level["persons"]),
            "partners": np.asarray(level["partners"]),
            "persons_with_value": np.asarray(level["persons_with_value"]),
            "partners_with_value": np.asarray(level["partners_with_value"]),
            "persons_of_two": np.asarray(level["persons_of_two"]),
            "partners_of_two": np.asarray(level["partners_of_two"]),
            "count": np.asarray(level["count"]),
            "missing": np.asarray(rows - level["count"]),
            "sum_of_weights": np.asarray(weight),
            "mean": np.where(weight > 0, mean, np.nan),
            "std": np.sqrt(variance),
            "var": variance,
            "sum": np.asarray(level["sum"]),
            "skewness": skewness,
            "kurtosis": kurtosis,
        }


def table_shape(scope: Scope, by: tuple[str, ...]) -> tuple[int, ...]:
    """The number of levels of each group column.  Raises: StudyInvalid for too large a table."""
    shape = tuple(len(scope.levels(name)) for name in by)
    if len(set(by)) != len(by):
        raise StudyInvalid("a group column stands twice", expected="each once")
    if math.prod(shape) > _LARGEST_TABLE:
        raise StudyInvalid(
            f"a table of more than {_LARGEST_TABLE} groups", expected="fewer", remedy="group by fewer columns"
        )
    return shape


def cells(scope: Scope, rows: Rows, by: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The place of each row in the table of the group columns, -1 where one of them is missing; shape (n,)."""
    cell = np.zeros(rows.n, dtype=np.int64)
    missing = np.zeros(rows.n, dtype=bool)
    for name in by:
        codes = rows.codes(name)
        missing |= codes < 0
        cell = cell * len(scope.levels(name)) + codes
    return np.where(missing, -1, cell)


def check_weights(scope: Scope, weights: Any) -> None:
    """Weights read numeric columns, compare nothing and cannot be negative.  Raises: StudyInvalid.

    A comparison would single out a group by weights of 0 and 1, past the rules on groups.
    """
    if weights is None:
        return
    for name in weights.columns:
        scope.numeric(name)
    if _compares(weights):
        raise StudyInvalid(
            f"weights {written(weights)} single out a group by a comparison",
            expected="columns, numbers, + - * / ** and functions",
            remedy="group by a column of the dataset, or restrict the cohort",
        )
    if weights.interval(scope.dataset)[0] < 0:
        raise StudyInvalid(f"weights {written(weights)} may be negative", expected="0 or more")


def _compares(expression: Any) -> bool:
    """Whether there is a comparison anywhere in an expression."""
    match expression:
        case Compare():
            return True
        case Calculate():
            return _compares(expression.left) or _compares(expression.right)
        case Apply():
            return _compares(expression.of)
    return False


def _sums_by_group(cell: npt.NDArray[np.int64], values: Floats, groups: int) -> Floats:
    return np.asarray(np.bincount(cell, values, groups), dtype=np.float64)
