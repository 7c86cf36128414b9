"""TTest and Anova: means of one measurement compared between groups.

Two sums: counts and sums of each cell first, then squares of the distance to the public cell means; everything else
follows from those, so nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import fdtrc, stdtr

from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, count, real
from trust.analyses.moments import cells, table_shape
from trust.analyses.terms import two_valued
from trust.dataset.rows import Rows
from trust.errors import AnalysisFailed, Collinear, StudyInvalid
from trust.privacy.rules import Groups, Organisations, ResidualDf, Rule

__all__ = ["Anova", "TTest"]

Floats = npt.NDArray[np.float64]
_MOST_CELLS = 500
_RANK_TOLERANCE = 1e-9
"""Singular values below this part of the largest count as 0; the entries are square roots of counts."""


@dataclass(frozen=True)
class _Ready:
    """Complete cases at a node: the cell of each row and its value."""

    cell: npt.NDArray[np.int64]
    values: Floats
    rows: Rows
    second: npt.NDArray[np.int64] | None
    """Of a value that has two, which one: 0 or 1."""


@dataclass(frozen=True)
class _Cells:
    """What the two sums say of each cell; shape of the table.

    Attributes:
        n: rows.
        centre: the public centre that distances were taken from, the mean but for rounding.
        shift: the mean less the centre.
        squares: sum of squared distances to the mean.
    """

    n: Floats
    centre: Floats
    shift: Floats
    squares: Floats

    @property
    def mean(self) -> Floats:
        return self.centre + self.shift

    @classmethod
    def of(cls, level: Arrays, centre: Floats, spread: Arrays) -> _Cells:
        n = np.asarray(level["counts"], dtype=np.float64)
        shift = _ratio(spread["distances"], n)
        return cls(n, centre, shift, np.maximum(spread["squares"] - n * shift**2, 0.0))


class TTest(Analysis):
    """Do two groups differ in their mean?  Welch's test, or Student's with `equal_var`.

    Source: B. L. Welch, Biometrika 34, 1947; the degrees of freedom are Satterthwaite's.
    """

    title: ClassVar[str] = "t test"

    kind: Literal["ttest"] = "ttest"
    value: str
    group: str
    equal_var: bool = False

    def reads(self) -> tuple[str, ...]:
        return (self.value, self.group)

    def groups(self) -> tuple[str, ...]:
        return (self.group,)

    def plan(self, scope: Scope) -> dict[str, Sum]:
        _check(scope, self.value, self.groups())
        levels = scope.levels(self.group)
        if len(levels) != 2:
            remedy = "restrict it to two levels in the dataset, or use Anova"
            raise StudyInvalid(f"group {self.group!r} has {len(levels)} levels", expected="two", remedy=remedy)
        return _plan(scope, self.value, self.groups(), parameters=2)

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        return _prepare(scope, rows, self.value, self.groups())

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        return _local(ready, ask, (2,))

    def run(self, scope: Scope) -> Run:
        level = yield Ask("level")
        if not level["counts"].all():
            raise AnalysisFailed(f"nobody is of one of the two levels of {self.group!r}", remedy="widen the cohort")
        centre = _ratio(level["sum"], level["counts"])
        cell_sums = _Cells.of(level, centre, (yield Ask("spread", {"mean": centre})))
        with np.errstate(all="ignore"):
            variance = cell_sums.squares / (cell_sums.n - 1)
            if self.equal_var:
                df = cell_sums.n.sum() - 2
                error = np.sqrt(cell_sums.squares.sum() / df * (1 / cell_sums.n).sum())
            else:
                parts = variance / cell_sums.n
                error = np.sqrt(parts.sum())
                df = parts.sum() ** 2 / (parts**2 / (cell_sums.n - 1)).sum()
            difference = (cell_sums.centre[0] - cell_sums.centre[1]) + (cell_sums.shift[0] - cell_sums.shift[1])
            statistic = difference / error
        return {
            "nobs": np.asarray(level["n"]),
            "count": np.asarray(level["counts"]),
            "means": cell_sums.mean,
            "std": np.sqrt(variance),
            "difference": np.asarray(difference),
            "standard_error": np.asarray(error),
            "statistic": np.asarray(statistic),
            "df": np.asarray(df),
            "pvalue": np.asarray(2 * stdtr(df, -np.abs(statistic))),
        }


class Anova(Analysis):
    """Analysis of variance of a measurement over one group or two, with their interaction.

    `typ` is the kind of sums of squares: 1 sequential, in the order written (R's anova); 2 each term after all
    others that do not contain it; 3 each term after all others, in sum-to-zero contrasts, with a row for the
    intercept (statsmodels' `anova_lm(typ=3)` of a formula with `C(…, Sum)`).  Levels that nobody has are left out.
    Source: S. R. Searle, Linear Models for Unbalanced Data, Wiley 1987.
    """

    title: ClassVar[str] = "analysis of variance"

    kind: Literal["anova"] = "anova"
    value: str
    group: tuple[str, ...] = Field(min_length=1, max_length=2)
    interaction: bool = True
    typ: Literal[1, 2, 3] = 1

    def reads(self) -> tuple[str, ...]:
        return (self.value, *self.group)

    def groups(self) -> tuple[str, ...]:
        return self.group

    @property
    def terms(self) -> tuple[tuple[int, ...], ...]:
        """The axes of each term, in order: the groups, then their interaction."""
        single: tuple[tuple[int, ...], ...] = tuple((axis,) for axis in range(len(self.group)))
        return (*single, (0, 1)) if len(self.group) == 2 and self.interaction else single

    def plan(self, scope: Scope) -> dict[str, Sum]:
        _check(scope, self.value, self.group)
        shape = table_shape(scope, self.group)
        if np.prod(shape) > _MOST_CELLS:
            raise StudyInvalid(
                f"more than {_MOST_CELLS} combinations of levels", expected="fewer", remedy="merge levels"
            )
        parameters = int(np.prod(shape)) if self.interaction else sum(shape) - len(shape) + 1
        return _plan(scope, self.value, self.group, parameters=parameters)

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        return _prepare(scope, rows, self.value, self.group)

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        return _local(ready, ask, table_shape(scope, self.group))

    def run(self, scope: Scope) -> Run:
        level = yield Ask("level")
        centre = _ratio(level["sum"], level["counts"])
        cell_sums = _Cells.of(level, centre, (yield Ask("spread", {"mean": centre})))
        names = [":".join(self.group[axis] for axis in term) for term in self.terms]
        squares, df = self._sums_of_squares(cell_sums)
        residual = cell_sums.squares.sum() + squares.pop("lack of fit")
        residual_df = float(level["n"]) - df.pop("model")
        between = {name: squares[name] for name in (["Intercept"] if self.typ == 3 else []) + names}
        with np.errstate(all="ignore"):
            sum_sq = np.array([*between.values(), residual])
            degrees = np.array([*(df[name] for name in between), residual_df])
            mean_sq = sum_sq / degrees
            ratio = np.append(mean_sq[:-1] / mean_sq[-1], np.nan)
            pvalue = fdtrc(degrees, residual_df, np.maximum(ratio, 0))
        return {
            "nobs": np.asarray(level["n"]),
            "terms": np.array([*between, "Residual"]),
            "df": degrees,
            "sum_sq": sum_sq,
            "mean_sq": mean_sq,
            "F": ratio,
            "pvalue": pvalue,
        }

    def _sums_of_squares(self, cell_sums: _Cells) -> tuple[dict[str, float], dict[str, float]]:
        """Sums of squares and degrees of freedom by term, with `lack of fit` and `model`, from means of cells.

        Raises: Collinear for a group of one level; AnalysisFailed for type 3 with an empty combination.
        """
        occupied = np.ix_(*(np.flatnonzero(_margin(cell_sums.n, axis)) for axis in range(cell_sums.n.ndim)))
        n = cell_sums.n[occupied]
        for axis, levels in enumerate(n.shape):
            if levels < 2:
                raise Collinear(f"all persons are of one level of {self.group[axis]!r}", remedy="leave the column out")
        if self.typ == 3 and (0, 1) in self.terms and not n.all():
            text = "sums of squares of type 3 need persons in every combination of levels"
            raise AnalysisFailed(text, remedy="set typ=2, set interaction=False, or merge levels")
        present = n > 0
        root = np.sqrt(n[present])
        origin = float((n * cell_sums.centre[occupied]).sum() / n.sum())
        response = root * ((cell_sums.centre[occupied][present] - origin) + cell_sums.shift[occupied][present])
        names = [":".join(self.group[axis] for axis in term) for term in self.terms]
        designs = {"Intercept": root[:, None]}
        for name, term in zip(names, self.terms, strict=True):
            designs[name] = root[:, None] * _design(n.shape, term, contrasts=self.typ == 3)[present.ravel()]
        squares: dict[str, float] = {}
        df: dict[str, float] = {}
        for name in names:
            smaller = [
                other_term for other_term in designs if other_term != name and self._is_before(other_term, name, names)
            ]
            basis = _orthogonal_to(designs[name], [designs[other_term] for other_term in smaller])
            squares[name], df[name] = float(((basis.T @ response) ** 2).sum()), float(basis.shape[1])
        if self.typ == 3:
            basis = _orthogonal_to(designs["Intercept"], [designs[name] for name in names])
            squares["Intercept"] = float(((basis.T @ (response + root * origin)) ** 2).sum())
            df["Intercept"] = float(basis.shape[1])
        full = _orthogonal_to(np.column_stack(list(designs.values())), [])
        squares["lack of fit"] = float(((response - full @ (full.T @ response)) ** 2).sum())
        df["model"] = float(full.shape[1])
        return squares, df

    def _is_before(self, term: str, name: str, names: list[str]) -> bool:
        """Whether a term is fitted after another one."""
        if term == "Intercept" or self.typ == 3:
            return True
        if self.typ == 1:
            return names.index(term) < names.index(name)
        axes = dict(zip(names, self.terms, strict=True))
        return not set(axes[name]) <= set(axes[term])


# ---- the two sums


def _check(scope: Scope, value: str, group: tuple[str, ...]) -> None:
    scope.numeric(value)
    if value in group:
        raise StudyInvalid(f"column {value!r} is both value and group", expected="two columns")


def _plan(scope: Scope, value: str, group: tuple[str, ...], *, parameters: int) -> dict[str, Sum]:
    """Blocks and rules; each level of each group is a group of persons, with each value where there are two."""
    shape = table_shape(scope, group)
    groups = sum(shape) * (1 + two_valued(scope.numeric(value)))
    rules: tuple[Rule, ...] = (Groups(of="persons", may_be_empty=True),)
    if not scope.partner_may_be_shown:
        rules += (Organisations(of="partners", may_be_empty=True),)
    return {
        "level": Sum(
            gives=(
                count("n"),
                count("counts", *shape),
                count("persons", groups),
                count("partners", groups),
                real("sum", *shape),
            ),
            rules=(*rules, ResidualDf(parameters=parameters, of="n")),
        ),
        "spread": Sum(takes=(real("mean", *shape),), gives=(real("distances", *shape), real("squares", *shape))),
    }


def _prepare(scope: Scope, rows: Rows, value: str, group: tuple[str, ...]) -> _Ready:
    cell = cells(scope, rows, group)
    values = rows.numeric(value)
    complete = (cell >= 0) & ~np.isnan(values)
    cell, values = cell[complete], values[complete]
    person = None if rows.person is None else rows.person[complete]
    column = scope.numeric(value)
    second = (values != column.bounds[0]).astype(np.int64) if two_valued(column) else None
    return _Ready(cell, values, Rows(len(values), {}, person), second)


def _local(ready: _Ready, ask: Ask, shape: tuple[int, ...]) -> Arrays:
    size = int(np.prod(shape))
    if ask.sum == "spread":
        distance = ready.values - np.asarray(ask.values["mean"], dtype=float).reshape(size)[ready.cell]
        return {
            "distances": np.bincount(ready.cell, distance, size).reshape(shape),
            "squares": np.bincount(ready.cell, distance**2, size).reshape(shape),
        }
    counts = np.bincount(ready.cell, minlength=size).astype(np.int64).reshape(shape)
    if ready.rows.person is None and ready.second is None:
        margins = [_margin(counts, axis) for axis in range(len(shape))]
    else:
        margins = []
        for axis_codes, levels in zip(np.unravel_index(ready.cell, shape), shape, strict=True):
            place, groups = (
                (axis_codes, levels) if ready.second is None else (axis_codes * 2 + ready.second, levels * 2)
            )
            margins.append(ready.rows.persons_by(place, groups))
    persons = np.concatenate(margins)
    return {
        "n": np.array(len(ready.values)),
        "counts": counts,
        "persons": persons,
        "partners": (persons > 0).astype(np.int64),
        "sum": np.bincount(ready.cell, ready.values, size).reshape(shape),
    }


# ---- algebra


def _ratio(total: Any, n: Any) -> Floats:
    """total / n, 0 where n is 0."""
    total = np.asarray(total, dtype=np.float64)
    return np.asarray(np.divide(total, n, out=np.zeros_like(total), where=np.asarray(n) > 0))


def _margin(table: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    return np.asarray(table.sum(axis=tuple(axis_index for axis_index in range(table.ndim) if axis_index != axis)))


def _design(shape: tuple[int, ...], term: tuple[int, ...], *, contrasts: bool) -> Floats:
    """Columns of a term over all cells, shape (cells, columns): indicators, or sum-to-zero contrasts."""
    design: Floats = np.ones((1, 1))
    for axis, levels in enumerate(shape):
        coded: Floats = np.eye(levels)
        if contrasts:
            coded = np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])
        design = np.kron(design, coded if axis in term else np.ones((levels, 1))).astype(np.float64)
    return design


def _orthogonal_to(block: Floats, blocks: list[Floats]) -> Floats:
    """An orthonormal basis of what a block's columns add to those of others, shape (cells, rank)."""
    if blocks:
        basis = _orthogonal_to(np.column_stack(blocks), [])
        for _ in range(2):  # twice, so that nothing of the others is left by rounding
            block = block - basis @ (basis.T @ block)
        scale = np.abs(np.column_stack([*blocks, block])).max()
    else:
        scale = np.abs(block).max()
    vectors, values, _ = np.linalg.svd(block, full_matrices=False)
    return np.asarray(vectors[:, values > _RANK_TOLERANCE * scale])
