"""Correlation: covariances and Pearson's correlations of columns, of complete cases or pair by pair.

Two sums: counts and sums first, then products of the distances to the public means, so that nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, Values, count, real
from trust.analyses.terms import two_valued
from trust.dataset.rows import Rows
from trust.errors import StudyInvalid
from trust.privacy.rules import Groups, Organisations, Rule

__all__ = ["Correlation"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_MOST_COLUMNS = 100


@dataclass(frozen=True)
class _Ready:
    """At a node: values with 0 for missing, and where there is one; both of shape (n, columns)."""

    values: Floats
    present: Mask
    rows: Rows


class Correlation(Analysis):
    """Pearson's correlations and covariances, as pandas' `corr` and `cov` and R's `use=`.

    `missing`: `complete` uses rows that have all columns; `pairwise` uses, for each pair, the rows that have both,
    with the means of those rows.  A boolean is 0 or 1; each value of a column of two is a group of persons in each
    pair, because a covariance with it tells the mean of a group.
    """

    title: ClassVar[str] = "correlation"

    kind: Literal["correlation"] = "correlation"
    columns: tuple[str, ...] = Field(min_length=2, max_length=_MOST_COLUMNS)
    missing: Literal["complete", "pairwise"] = "complete"

    def reads(self) -> tuple[str, ...]:
        return self.columns

    def plan(self, scope: Scope) -> dict[str, Sum]:
        for name in self.columns:
            scope.numeric(name)
        if len(set(self.columns)) != len(self.columns):
            raise StudyInvalid("a column stands twice in a correlation", expected="each once")
        p = len(self.columns)
        sides = len(self._side_columns(scope))
        rules: tuple[Rule, ...] = (Groups(of="persons", may_be_empty=True),)
        if not scope.partner_may_be_shown:
            rules += (Organisations(of="partners", may_be_empty=True),)
        return {
            "level": Sum(
                gives=(
                    count("nobs"),
                    count("n", p, p),
                    count("persons", sides, sides),
                    count("partners", sides, sides),
                    real("sum", p),
                ),
                rules=rules,
            ),
            "spread": Sum(
                takes=(real("mean", p),),
                gives=(real("distances", p, p), real("squares", p, p), real("products", p, p)),
            ),
        }

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        values = np.column_stack([rows.numeric(name) for name in self.columns])
        present = ~np.isnan(values)
        person = rows.person
        if self.missing == "complete":
            keep = present.all(axis=1)
            values, present = values[keep], present[keep]
            person = None if person is None else person[keep]
        return _Ready(np.where(present, values, 0.0), present, Rows(len(values), {}, person))

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        inside = ready.present.astype(np.float64)
        if ask.sum == "spread":
            distance = np.where(ready.present, ready.values - ask.values["mean"], 0.0)
            return {
                "distances": distance.T @ inside,
                "squares": (distance**2).T @ inside,
                "products": distance.T @ distance,
            }
        sides = []
        for place, name in enumerate(self.columns):
            present, column = ready.present[:, place], scope.numeric(name)
            if two_valued(column):
                first = ready.values[:, place] == column.bounds[0]
                sides += [present & first, present & ~first]
            else:
                sides.append(present)
        persons = _persons(ready.rows, np.column_stack(sides))
        same_side = np.equal.outer(*[self._side_columns(scope)] * 2) & ~np.eye(len(sides), dtype=bool)
        persons[same_side] = np.diag(persons)[np.nonzero(same_side)[0]]  # no row is of both levels of one column
        return {
            "nobs": np.array(ready.present.any(axis=1).sum()),
            "n": _whole(inside.T @ inside),
            "persons": persons,
            "partners": (persons > 0).astype(np.int64),
            "sum": ready.values.sum(axis=0),
        }

    def _side_columns(self, scope: Scope) -> npt.NDArray[np.int64]:
        """Sides are the groups of persons that columns make, two for one of two values: the column of each side."""
        return np.repeat(np.arange(len(self.columns)), [1 + two_valued(scope.numeric(name)) for name in self.columns])

    def run(self, scope: Scope) -> Run:
        level = yield Ask("level")
        alone = np.diag(level["n"])
        mean = np.divide(level["sum"], alone, out=np.zeros(len(alone)), where=alone > 0)
        spread = yield Ask("spread", {"mean": mean})
        return self._result(level, mean, spread)

    def _result(self, level: Arrays, mean: Floats, spread: Arrays) -> Values:
        """Entry (i, j) of `distances` and `squares` is about column i in the rows that have i and j."""
        n = np.asarray(level["n"], dtype=np.float64)
        distances, squares, products = spread["distances"], spread["squares"], spread["products"]
        with np.errstate(all="ignore"):
            variation = np.maximum(squares - distances**2 / n, 0.0)
            together = products - distances * distances.T / n
            covariance = np.where(n > 1, together / (n - 1), np.nan)
            constant = variation <= n * (8 * np.finfo(float).eps * np.abs(mean[:, None])) ** 2
            correlation = np.clip(together / np.sqrt(variation * variation.T), -1.0, 1.0)
        correlation = np.where(constant | constant.T | (n < 2), np.nan, correlation)
        np.fill_diagonal(correlation, np.where(np.isnan(np.diag(correlation)), np.nan, 1.0))
        return {
            "nobs": np.asarray(level["nobs"]),
            "n": np.asarray(level["n"]),
            "correlation": (correlation + correlation.T) / 2,
            "covariance": (covariance + covariance.T) / 2,
        }


def _persons(rows: Rows, sides: Mask) -> npt.NDArray[np.int64]:
    """Persons with a row on both of two sides, shape (sides, sides)."""
    if rows.person is None:
        inside = sides.astype(np.float64)
        return _whole(inside.T @ inside)
    counts = np.zeros((sides.shape[1],) * 2, dtype=np.int64)
    for i in range(len(counts)):
        for j in range(i + 1):
            counts[i, j] = counts[j, i] = rows.persons(sides[:, i] & sides[:, j])
    return counts


def _whole(counts: Floats) -> npt.NDArray[np.int64]:
    """Sums of ones below 2^53 are exact."""
    return np.rint(counts).astype(np.int64)
