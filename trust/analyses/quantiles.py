"""Quantiles: a histogram over the dataset's bounds, then halving, as long as the bracket still holds enough persons.

A quantile of R's type 7 lies between two neighbouring values in the order of all rows.  Each of the two is followed
through nested halvings of the column's range; a halving is taken only if the half that holds the value has at least
k persons, of at least m partners.  What is published is the last such bracket, so no extreme comes closer either.
Source: R. J. Hyndman, Y. Fan, The American Statistician 50, 1996 (type 7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, count, real
from trust.canonical import Real
from trust.dataset.rows import Rows
from trust.errors import SourceInvalid, StudyInvalid
from trust.privacy.rules import Groups, Organisations, Rule

__all__ = ["Quantiles"]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
_FIRST_HALVINGS = 7
"""Halvings that the first sum counts: 128 bins."""
_MOST_HALVINGS = 42
"""Halvings at most: a bracket is then 2e-13 of the column's range."""


@dataclass(frozen=True)
class _Grid:
    """Nested halvings of a column's range: cell i of level l is [edge(l, i), edge(l, i + 1)).

    A column of integers or a boolean is halved down to one integer, so that its narrowest bracket is a single value.
    """

    low: float
    high: float
    width: float
    levels: int
    whole: bool

    @classmethod
    def of(cls, scope: Scope, name: str) -> _Grid:
        """Raises: StudyInvalid for a column without bounds."""
        column = scope.numeric(name)
        low, high = column.bounds
        if not math.isfinite(high - low):
            remedy = "declare minimum and maximum in the dataset"
            raise StudyInvalid(
                f"quantiles of column {name!r} need bounds", expected="a minimum and a maximum", remedy=remedy
            )
        if column.type == "number" or (column.derived and column.type == "integer"):
            return cls(low, high, (high - low) or 1.0, _MOST_HALVINGS, False)
        low, high = math.ceil(low), math.floor(high)
        halvings = max(_FIRST_HALVINGS, math.ceil(math.log2(max(high - low, 0) + 1)))
        return cls(low, high, 2.0**halvings, min(halvings, _MOST_HALVINGS), True)

    def edge(self, level: int, cell: int) -> float:
        """The left end of a cell; the last one's right end is above every value."""
        if cell == 1 << level:
            return math.nextafter(max(self.high, self.low + self.width), math.inf)
        return self.low + self.width * (cell / 2.0**level)

    def bracket(self, level: int, cell: int) -> tuple[float, float]:
        """A cell as a closed interval of possible values."""
        low_edge, right = self.edge(level, cell), self.edge(level, cell + 1)
        return min(low_edge, self.high), min(right - 1 if self.whole and cell + 1 < 1 << level else right, self.high)


@dataclass(frozen=True)
class _Place:
    """Where the value of one rank is known to be: a cell of the grid, and the rows before it and in it."""

    rank: int
    level: int
    cell: int
    below: int
    rows: int

    def half(self, left_rows: int) -> tuple[int, _Place]:
        """Which half holds the value (0 left, 1 right), and that half."""
        side = 0 if self.rank < self.below + left_rows else 1
        rows = left_rows if side == 0 else self.rows - left_rows
        return side, _Place(self.rank, self.level + 1, 2 * self.cell + side, self.below + side * left_rows, rows)


@dataclass(frozen=True)
class _Ready:
    """At a node: the values of each column in order, and the person of each."""

    values: tuple[Floats, ...]
    person: tuple[Whole | None, ...]
    nobs: int


class Quantiles(Analysis):
    """Brackets of quantiles of columns, each of the rows that have a value (R's type 7, numpy's and pandas' linear)."""

    title: ClassVar[str] = "quantiles"

    kind: Literal["quantiles"] = "quantiles"
    columns: tuple[str, ...] = Field(min_length=1, max_length=100)
    q: tuple[Annotated[Real, Field(ge=0, le=1)], ...] = Field(min_length=1, max_length=200)

    @field_validator("q")
    @classmethod
    def _once(cls, q: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(q)) != len(q):
            raise ValueError("each quantile is asked for once")
        return q

    def reads(self) -> tuple[str, ...]:
        return self.columns

    def _grids(self, scope: Scope) -> list[_Grid]:
        return [_Grid.of(scope, name) for name in self.columns]

    def plan(self, scope: Scope) -> dict[str, Sum]:
        if len(set(self.columns)) != len(self.columns):
            raise StudyInvalid("a column stands twice in quantiles", expected="each once")
        halvings = max(grid.levels for grid in self._grids(scope)) - _FIRST_HALVINGS
        p = len(self.columns)
        rules: tuple[Rule, ...] = (Groups(of="persons_in_all"),)
        if not scope.partner_may_be_shown:
            rules += (Organisations(of="partners_in_all"),)
        tree = (2 << _FIRST_HALVINGS) - 1
        first = Sum(
            gives=(
                count("nobs"),
                count("rows", p, 1 << _FIRST_HALVINGS),
                count("persons", p, tree),
                count("partners", p, tree),
                count("persons_in_all", p),
                count("partners_in_all", p),
            ),
            rules=rules,
        )
        if halvings == 0:
            return {"histogram": first}
        slots = (p, len(self.q), 2)
        halve = Sum(
            takes=(real("edges", *slots, 3),),
            gives=(count("left", *slots), count("persons", *slots, 2), count("partners", *slots, 2)),
            at_most=halvings,
        )
        return {"histogram": first, "halve": halve}

    # ---- at a node

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        values, persons, any_value = [], [], np.zeros(rows.n, dtype=bool)
        for name, grid in zip(self.columns, self._grids(scope), strict=True):
            present_values = rows.numeric(name)
            present = ~np.isnan(present_values)
            any_value |= present
            order = np.flatnonzero(present)[np.argsort(present_values[present], kind="stable")]
            values.append(present_values[order])
            persons.append(None if rows.person is None else rows.person[order])
            if order.size and not grid.low <= values[-1][0] <= values[-1][-1] <= grid.high:
                raise SourceInvalid(
                    f"column {name!r} has values out of its bounds", remedy="correct the bounds in the dataset"
                )
        return _Ready(tuple(values), tuple(persons), int(any_value.sum()))

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        if ask.sum == "halve":
            return self._halve(ready, np.asarray(ask.values["edges"], dtype=float))
        rows, persons = [], []
        for values, person, grid in zip(ready.values, ready.person, self._grids(scope), strict=True):
            edges = [grid.edge(_FIRST_HALVINGS, cell) for cell in range((1 << _FIRST_HALVINGS) + 1)]
            positions = np.searchsorted(values, edges)
            rows.append(np.diff(positions))
            starts = [positions[:: 1 << (_FIRST_HALVINGS - level)] for level in range(_FIRST_HALVINGS + 1)]
            persons.append(np.concatenate([_persons(person, start[:-1], start[1:]) for start in starts]))
        tree = np.array(persons)
        return {
            "nobs": np.array(ready.nobs),
            "rows": np.array(rows),
            "persons": tree,
            "partners": (tree > 0).astype(np.int64),
            "persons_in_all": tree[:, 0],
            "partners_in_all": (tree[:, 0] > 0).astype(np.int64),
        }

    def _halve(self, ready: _Ready, edges: Floats) -> Arrays:
        cells = np.array(
            [np.searchsorted(v, e.ravel()).reshape(e.shape) for v, e in zip(ready.values, edges, strict=True)]
        )
        persons = np.array([_persons(p, a[..., :-1], a[..., 1:]) for p, a in zip(ready.person, cells, strict=True)])
        return {
            "left": cells[..., 1] - cells[..., 0],
            "persons": persons,
            "partners": (persons > 0).astype(np.int64),
        }

    # ---- where the totals are known

    def run(self, scope: Scope) -> Run:
        k, m = scope.protections.persons, scope.fewest
        grids = self._grids(scope)
        first = yield Ask("histogram")
        rows = first["rows"].sum(axis=1)
        places: dict[tuple[int, ...], _Place] = {}
        waiting: set[tuple[int, ...]] = set()
        for slot in np.ndindex(len(self.columns), len(self.q), 2):
            place, deeper = _down_tree(self._rank(slot, rows), slot[0], first, k, m)
            places[slot] = place
            if deeper and place.level < grids[slot[0]].levels:
                waiting.add(slot)
        while waiting:
            edges = np.zeros((len(self.columns), len(self.q), 2, 3))
            for slot in np.ndindex(edges.shape[:-1]):
                grid, place = grids[slot[0]], places[slot]
                cells = [2 * place.cell + step for step in range(3)] if slot in waiting else [0, 0, 0]
                edges[slot] = [grid.edge(place.level + 1, cell) for cell in cells]
            total = yield Ask("halve", {"edges": edges})
            for slot in sorted(waiting):
                side, half = places[slot].half(int(total["left"][slot]))
                enough = total["persons"][slot][side] >= k and total["partners"][slot][side] >= m
                if enough:
                    places[slot] = half
                if not enough or half.level == grids[slot[0]].levels:
                    waiting.remove(slot)
        return self._result(first, rows, grids, places)

    def _rank(self, slot: tuple[int, ...], rows: Whole) -> _Place:
        """The whole range, for the lower (0) or the upper (1) of a quantile's two values; ranks count from 0."""
        column, column_index, upper = slot
        n = int(rows[column])
        position = (n - 1) * self.q[column_index]
        return _Place(math.ceil(position) if upper else math.floor(position), 0, 0, 0, n)

    def _result(
        self, first: Arrays, rows: Whole, grids: list[_Grid], places: Mapping[tuple[int, ...], _Place]
    ) -> dict[str, npt.NDArray[Any]]:
        lower, upper, estimate = np.zeros((3, len(self.q), len(self.columns)))
        for index, q in enumerate(self.q):
            for column, grid in enumerate(grids):
                ends, inside = [], []
                for side in (0, 1):
                    place = places[column, index, side]
                    low_edge, right = grid.bracket(place.level, place.cell)
                    ends += [low_edge, right]
                    inside.append(low_edge + (right - low_edge) * (place.rank - place.below + 0.5) / place.rows)
                share = (int(rows[column]) - 1) * q - places[column, index, 0].rank
                lower[index, column], upper[index, column] = min(ends), max(ends)
                estimate[index, column] = inside[0] + (inside[1] - inside[0]) * share
        return {
            "nobs": np.asarray(first["nobs"]),
            "count": np.asarray(rows),
            "q": np.array(self.q),
            "lower": lower,
            "upper": upper,
            "estimate": estimate,
        }


def _persons(person: Whole | None, start: Whole, stop: Whole) -> Whole:
    """Persons with a value at the places start to stop of the order, in the shape of both."""
    if person is None:
        return stop - start
    distinct = [np.unique(person[a:b]).size for a, b in zip(start.ravel(), stop.ravel(), strict=True)]
    return np.array(distinct, dtype=np.int64).reshape(start.shape)


def _down_tree(place: _Place, column: int, first: Arrays, k: int, m: int) -> tuple[_Place, bool]:
    """Down the first sum's halvings as far as they hold enough; whether the last one still did."""
    while place.level < _FIRST_HALVINGS:
        span = 1 << (_FIRST_HALVINGS - place.level - 1)
        slot = 2 * place.cell * span
        _, half = place.half(int(first["rows"][column, slot : slot + span].sum()))
        node = (1 << half.level) - 1 + half.cell
        if first["persons"][column, node] < k or first["partners"][column, node] < m:
            return place, False
        place = half
    return place, True
