"""Hiding small cells of a table of counts, and as many more as keep them from being worked out.

Primary: cells below k persons, or that hold too few partners.  Secondary: an attacker who knows the cells that are
shown, and every margin of the table that a table of its own would show, solves for the hidden ones; by linear
programming, the interval that he finds for each hidden cell must be at least k wide.  The same is asked of each margin
that a table of its own would hide, so that two tables of one study do not give each other away.

Source: A. Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = ["suppress"]

Counts: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Cell: TypeAlias = tuple[int, ...]
_WORTH_TRIMMING = 3_000
"""Hidden cells times those that might be shown again: beyond this a table stays as it is."""
_MOST_WORK = 300_000
"""Unknowns over all linear programs of a table, some seconds; beyond this the whole table is hidden."""


def suppress(counts: npt.NDArray[Any], too_few: Mask, k: int, zero_is_small: bool) -> Mask:
    """Which cells to hide; shape of `counts`.

    Args:
        counts: persons in each cell, any number of axes.
        too_few: cells to hide for another reason (too few partners).
        k: the smallest count that may be shown, and the least width of an attacker's interval.
        zero_is_small: whether an empty cell says too much.
    """
    counts = np.asarray(counts, dtype=np.int64)
    primary: Mask = (counts < k) & (zero_is_small | (counts > 0)) | too_few
    if not primary.any() or counts.ndim == 0:
        return primary
    table = _Table(counts, primary.copy(), k, _margins(counts, too_few, k, zero_is_small))
    table.protect()
    table.trim(primary)
    return table.hidden


@dataclass
class _Line:
    """One cell of a margin: the cells of the table that it sums, and whether it would be hidden."""

    cells: Mask
    hidden: bool


def _margins(counts: Counts, too_few: Mask, k: int, zero_is_small: bool) -> list[_Line]:
    """The cells of every margin, the grand total included, which is always known.

    How many partners a margin has is not known here: it counts as too few where it is the sum of one such cell.
    """
    lines = [_Line(np.ones(counts.shape, dtype=bool), hidden=False)]
    for axes in (k for size in range(1, counts.ndim) for k in combinations(range(counts.ndim), size)):
        summed = tuple(axis for axis in range(counts.ndim) if axis not in axes)
        alone = (counts > 0).sum(axis=summed) == 1  # then the margin is that cell, its partners too
        few = alone & (too_few & (counts > 0)).any(axis=summed)
        hidden = suppress(counts.sum(axis=summed), few, k, zero_is_small)
        for cell_index in np.ndindex(hidden.shape):
            cells = np.zeros(counts.shape, dtype=bool)
            index: list[Any] = [slice(None)] * counts.ndim
            for axis, level in zip(axes, cell_index, strict=True):
                index[axis] = level
            cells[tuple(index)] = True
            lines.append(_Line(cells, bool(hidden[cell_index])))
    return lines


@dataclass
class _Table:
    counts: Counts
    hidden: Mask
    k: int
    lines: list[_Line]
    _solved: tuple[Any, Any] | None = field(default=None)
    _work: int = 0

    def protect(self) -> None:
        """Hide more until nothing that is hidden can be worked out.  More hidden cells only widen an interval."""
        waiting = [_mask_of(self.counts.shape, cell) for cell in map(tuple, np.argwhere(self.hidden))]
        waiting += [line.cells for line in self.lines if line.hidden]
        while waiting:
            target = waiting.pop(0)
            while not self.hidden.all() and self._exposed(target):
                further = self._cells_to_hide(target)
                for cell in further:
                    self._hide(cell, True)
                waiting += [_mask_of(self.counts.shape, cell) for cell in further]
            if self._work > _MOST_WORK:
                self.hidden[:] = True
                return

    def trim(self, primary: Mask) -> None:
        """Show again, the largest first, each secondary cell that nothing needs hidden."""
        secondary = sorted(map(tuple, np.argwhere(self.hidden & ~primary)), key=lambda cell: -self.counts[cell])
        if len(secondary) * int(self.hidden.sum()) > _WORTH_TRIMMING:
            return
        for cell in secondary:
            if self._work > _MOST_WORK:
                return
            self._hide(cell, False)
            if any(self._exposed(target) for target in self._targets()):
                self._hide(cell, True)

    def _targets(self) -> Iterator[Mask]:
        yield from (_mask_of(self.counts.shape, tuple(cell)) for cell in np.argwhere(self.hidden))
        yield from (line.cells for line in self.lines if line.hidden)

    def _hide(self, cell: Cell, hidden: bool) -> None:
        self.hidden[cell] = hidden
        self._solved = None

    # ---- what an attacker finds

    def _exposed(self, target: Mask) -> bool:
        """Whether the sum of these cells is known to within less than k."""
        if self.counts.ndim == 1:  # the total alone is known: what it leaves is shared by the hidden cells
            return np.count_nonzero(self.hidden) == 1 or int(self.counts[self.hidden].sum()) < self.k
        cells = np.argwhere(target)
        if len(cells) == 1 and self._box(tuple(cells[0]), within=True):
            return False
        low, high = self._interval(target)
        return math.floor(high + 1e-6) - math.ceil(low - 1e-6) < self.k

    def _interval(self, target: Mask) -> tuple[float, float]:
        """Least and greatest sum of the target's hidden cells, all cells being 0 or more."""
        from scipy.optimize import linprog  # here, since every command would load it and few need it

        if self._solved is None:
            self._solved = self._equations()
        matrix, totals = self._solved
        self._work += 2 * matrix.shape[1]
        cost = target[self.hidden].astype(float)
        ends = []
        for sign in (1.0, -1.0):
            solved = linprog(sign * cost, A_eq=matrix, b_eq=totals, bounds=(0, None), method="highs")
            if not solved.success or solved.fun is None:  # cannot be: the true table is a solution
                return 0.0, 0.0
            ends.append(sign * solved.fun)
        return ends[0], ends[1]

    def _equations(self) -> tuple[Any, Any]:
        """For each known line of a margin, the hidden cells of it sum to what the shown ones leave."""
        visible = [line.cells[self.hidden] for line in self.lines if not line.hidden]
        rows = np.array([row for row in visible if row.any()], dtype=float)
        return csr_array(rows), rows @ self.counts[self.hidden]

    # ---- what to hide with it

    def _cells_to_hide(self, target: Mask) -> list[Cell]:
        """Cells to hide so that the target is less exposed."""
        inside = np.argwhere(target & self.hidden)
        if not len(inside):  # a margin to hide, of which all is shown: begin with its smallest cell
            inside = np.argwhere(target)
            smallest = inside[np.argmin(self.counts[tuple(inside.T)])]
            return [tuple(int(i) for i in smallest)]
        exposed: Cell = tuple(int(i) for i in inside[0])
        return self._box(exposed, within=False) or [self._next(exposed)]

    def _box(self, cell: Cell, *, within: bool) -> list[Cell]:
        """The corners of a box, two levels on each axis, that lets the cell move by k; empty where no box does.

        Adding 1 to every second corner and taking 1 from the others changes no margin: with all corners hidden, the
        cell can fall by the smallest of the ones and rise by the smallest of the others.

        Args:
            within: only boxes whose corners are hidden already; else the box that hides the fewest cells more, and of
                these the smallest, and only those cells.
        """
        shape = self.counts.shape
        others_of_axis = [
            [level for level in range(size) if level != level_index]
            for size, level_index in zip(shape, cell, strict=True)
        ]
        if not all(others_of_axis):
            return []
        falls = rises = np.full([1] * len(shape), np.iinfo(np.int64).max)
        total_cost = cost = np.zeros([1] * len(shape), dtype=np.int64)
        for away in product((False, True), repeat=len(shape)):
            corner = np.ix_(
                *(o if a else [level_index] for o, a, level_index in zip(others_of_axis, away, cell, strict=True))
            )
            if sum(away) % 2:
                rises = np.minimum(rises, self.counts[corner])
            else:
                falls = np.minimum(falls, self.counts[corner])
            visible = ~self.hidden[corner]
            total_cost, cost = total_cost + visible, cost + visible * self.counts[corner]
        enough = (falls.clip(max=self.k) + rises.clip(max=self.k) >= self.k) & ((total_cost == 0) == within)
        if not enough.any():
            return []
        order = np.where(enough, total_cost * (cost.max() + 1) + cost, np.iinfo(np.int64).max)
        best = np.unravel_index(int(np.argmin(order)), order.shape)
        opposite = [o[int(level_index)] for o, level_index in zip(others_of_axis, best, strict=True)]
        corners = list(product(*zip(cell, opposite, strict=True)))
        return corners if within else [c for c in corners if not self.hidden[c]]

    def _next(self, exposed: Cell) -> Cell:
        """Where there is no box, the cell to hide next.

        Not empty, on most lines of the exposed one, then on most lines that hide another, then smallest.
        """
        hidden, counts = self.hidden, self.counts
        candidates = np.argwhere(~hidden & (counts > 0)) if (~hidden & (counts > 0)).any() else np.argwhere(~hidden)
        shared = (candidates == np.array(exposed)).sum(axis=1)
        covered = [hidden.any(axis=axis, keepdims=True) & ~hidden for axis in range(counts.ndim)]
        protected = sum(np.broadcast_to(c, counts.shape)[tuple(candidates.T)].astype(int) for c in covered)
        order = np.lexsort((counts[tuple(candidates.T)], -np.asarray(protected), -shared))
        return tuple(int(i) for i in candidates[order[0]])


def _mask_of(shape: tuple[int, ...], cell: Cell) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[cell] = True
    return mask
