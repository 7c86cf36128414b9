"""The right-hand side of a model: typed terms, and the design matrix that rows make of them.

A categorical factor is coded by contrasts against its first level where the term without it is in the model, and by
a column a level where it is not (R's rule: Chambers & Hastie, Statistical Models in S, 1992, section 2.3.1).
Columns are named as patsy, formulaic and statsmodels name them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, StrictInt, StrictStr

from trust.analyses.base import Scope
from trust.canonical import Model
from trust.dataset.dataset import PARTNER, Column
from trust.dataset.expressions import Apply, Calculate, Compare, Expression, Name, written
from trust.dataset.rows import Rows
from trust.errors import StudyInvalid

__all__ = ["Category", "Design", "Factor", "Term", "label", "numbers"]


class Category(Model):
    """`C(column)` or `C(column, Treatment(reference))`: a column used as a group."""

    function: Literal["C"]
    column: str
    reference: StrictInt | StrictStr | None = None

    def written(self) -> str:
        """As a researcher writes it."""
        return f"C({self.column})" if self.reference is None else f"C({self.column}, Treatment({self.reference!r}))"


Factor: TypeAlias = Annotated[Category | Name | Calculate | Compare | Apply, Field(union_mode="left_to_right")]
Term: TypeAlias = tuple[Factor, ...]
"""A product of factors; `age:sex` has two."""
_LARGEST_DESIGN = 10_000


@dataclass(frozen=True)
class _Part:
    """One column of a factor: its name, and the level that it indicates (None for a number)."""

    name: str
    level: int | None


@dataclass(frozen=True)
class Grouping:
    """What divides persons into groups: a category, or a condition (a comparison, a column of two values)."""

    key: str
    levels: int
    codes: Callable[[Rows], npt.NDArray[Any]]
    """The group of each row, shape (n,): 0 to levels - 1; anything else where missing."""


@dataclass(frozen=True)
class Design:
    """The columns of a design matrix: known before any row, since levels come from the dataset.

    Attributes:
        names: one a column, `Intercept` first where there is one.
    """

    terms: tuple[Term, ...]
    intercept: bool
    scope: Scope

    @property
    def _columns(self) -> list[list[tuple[Any, _Part]]]:
        """For each column, its factors with the part of each."""
        column_blocks: list[list[tuple[Any, _Part]]] = [[]] if self.intercept else []
        present = {frozenset(_key(f) for f in term) for term in self.terms} | (
            {frozenset[str]()} if self.intercept else set()
        )
        for term in self.terms:
            margins = [frozenset(_key(f) for f in term if f is not factor) for factor in term]
            of_factors = [self._parts(f, contrasts=m in present) for f, m in zip(term, margins, strict=True)]
            _bound(len(column_blocks) + math.prod(map(len, of_factors)), "columns")
            products: list[list[tuple[Any, _Part]]] = [[]]
            for factor, parts in zip(term, of_factors, strict=True):
                products = [[*product, (factor, part)] for part in parts for product in products]
            column_blocks += products
        return column_blocks

    def _parts(self, factor: Any, *, contrasts: bool) -> list[_Part]:
        column = _category(factor, self.scope)
        if column is None:
            for name in factor.columns:
                self.scope.numeric(name)
            return [_Part(label(factor), None)]
        levels = self.scope.levels(column)
        reference = getattr(factor, "reference", None)
        if reference is not None and reference not in levels:
            raise StudyInvalid(f"{reference!r} is not a level of column {column!r}", expected=f"one of {list(levels)}")
        base = levels.index(reference) if reference is not None else 0
        name = label(factor)
        if contrasts:
            return [_Part(f"{name}[T.{level}]", i) for i, level in enumerate(levels) if i != base]
        return [_Part(f"{name}[{level}]", i) for i, level in enumerate(levels)]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(":".join(part.name for _, part in column) or "Intercept" for column in self._columns)

    @property
    def width(self) -> int:
        """p, how many columns there are."""
        return len(self._columns)

    @property
    def _groupings(self) -> dict[str, Grouping]:
        """What the terms divide persons by, each once."""
        return {g.key: g for term in self.terms for f in term for g in groupings(f, self.scope)}

    @property
    def _crossed(self) -> list[list[tuple[str, int]]]:
        """Every combination of levels that a term of several groupings speaks of, as (grouping, level) pairs."""
        combinations: list[list[tuple[str, int]]] = []
        for term in self.terms:
            divided = {g.key: g for f in term for g in groupings(f, self.scope)}
            if len(divided) > 1:
                _bound(len(combinations) + math.prod(g.levels for g in divided.values()), "combinations of levels")
                levels = [[(key, code) for code in range(g.levels)] for key, g in divided.items()]
                combinations += [list(pairs) for pairs in itertools.product(*levels)]
        return combinations

    @property
    def is_table(self) -> bool:
        """Nothing but categories, and conditions: the model's fit is a table of counts."""
        return all(only_groups(f, self.scope) for term in self.terms for f in term)

    @property
    def group_count(self) -> int:
        """How many groups of persons the coefficients speak of."""
        return sum(g.levels for g in self._groupings.values()) + len(self._crossed)

    def groups(self, rows: Rows) -> list[npt.NDArray[np.bool_]]:
        """Each level of each grouping, the reference too, and each combination of levels; each of shape (n,)."""
        codes = {key: g.codes(rows) for key, g in self._groupings.items()}
        levels = [codes[key] == code for key, g in self._groupings.items() for code in range(g.levels)]
        return levels + [np.all([codes[key] == code for key, code in pairs], axis=0) for pairs in self._crossed]

    def matrix(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The design matrix, shape (n, p); NaN where a column that a term reads is missing."""
        columns = self._columns
        matrix = np.ones((rows.n, len(columns)), order="F")
        cache: dict[str, npt.NDArray[Any]] = {}
        for index, column in enumerate(columns):
            for factor, part in column:
                matrix[:, index] *= self._values(rows, factor, part, cache)
        return matrix

    def _values(self, rows: Rows, factor: Any, part: _Part, cache: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        key = _key(factor)
        if part.level is None:
            if key not in cache:
                cache[key] = numbers(factor, rows)
            return cache[key]
        codes = rows.codes(_category(factor, self.scope) or "")
        values: npt.NDArray[np.float64] = (codes == part.level).astype(np.float64)
        values[codes < 0] = np.nan
        return values


def _bound(size: int, subject: str) -> None:
    """Known before a product is written out: a study that asks for too much must cost nobody memory or time.

    Raises: StudyInvalid.
    """
    if size > _LARGEST_DESIGN:
        remedy = "use smaller products of terms"
        raise StudyInvalid(f"a model of more than {_LARGEST_DESIGN:,} {subject}", expected="fewer", remedy=remedy)


def numbers(expression: Expression, rows: Rows) -> npt.NDArray[np.float64]:
    """Values of an expression over rows, shape (n,); NaN where missing or not finite."""
    values = np.broadcast_to(np.asarray(expression.evaluate(rows.numeric), dtype=np.float64), (rows.n,))
    return np.where(np.isfinite(values), values, np.nan)


def term_columns(terms: tuple[Term, ...]) -> tuple[str, ...]:
    """Names of the columns that terms read."""
    return tuple(
        dict.fromkeys(n for t in terms for f in t for n in ((f.column,) if isinstance(f, Category) else f.columns))
    )


def group_columns(terms: tuple[Term, ...], scope: Scope) -> tuple[str, ...]:
    """Names of the columns used as groups."""
    categories = (_category(f, scope) for t in terms for f in t)
    return tuple(dict.fromkeys(name for name in categories if name is not None))


def groupings(factor: Any, scope: Scope) -> list[Grouping]:
    """The groups that a factor, or any expression, speaks of: also those inside a calculation."""
    column = _category(factor, scope)
    if column is not None:
        return [Grouping(column, len(scope.levels(column)), lambda rows: rows.codes(column))]
    match factor:
        case Calculate():
            return groupings(factor.left, scope) + groupings(factor.right, scope)
        case Apply():
            return groupings(factor.of, scope)
        case Compare():
            return [Grouping(factor.text(), 2, lambda rows: numbers(factor, rows))]
        case Name() if two_valued(scope.numeric(factor.column)):
            low = scope.numeric(factor.column).bounds[0]
            return [Grouping(factor.column, 2, lambda rows: numbers(factor, rows) - low)]
    return []


def only_groups(factor: Any, scope: Scope) -> bool:
    """Whether a factor has one value a group: no measurement is in it."""
    match factor:
        case Calculate():
            return only_groups(factor.left, scope) and only_groups(factor.right, scope)
        case Apply():
            return only_groups(factor.of, scope)
        case Name():
            return bool(groupings(factor, scope))
    return True


def two_valued(column: Column) -> bool:
    """A boolean, or a whole number whose bounds leave two values."""
    low, high = column.bounds
    return column.type == "boolean" or (column.type == "integer" and high - low == 1)


def _category(factor: Any, scope: Scope) -> str | None:
    """The column of a factor that is a group: `C(x)`, or the bare name of a categorical column."""
    if isinstance(factor, Category):
        return factor.column
    if isinstance(factor, Name):
        if factor.column == PARTNER:
            return PARTNER
        if scope.dataset.column(factor.column).categorical:
            return factor.column
    return None


def _key(factor: Any) -> str:
    return factor.column if isinstance(factor, Category | Name) else str(factor.text())


def label(factor: Any) -> str:
    """`age`, `C(cp)`, `log(chol)`, `I(age ** 2)`."""
    if isinstance(factor, Category):
        return factor.written()
    text = written(factor)
    return text if isinstance(factor, Name | Apply) else f"I({text})"
