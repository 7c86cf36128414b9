"""Hiding small cells of a table of counts, and as many more as keep them from being worked out.

Primary: cells below k persons, or that hold too few partners.  Secondary: an attacker who knows the margins of the
table and the cells that are shown solves for the hidden ones; by linear programming, the interval that he finds for
each hidden cell must be at least k wide.  Margins are taken as known although they may not be published, because
another table may publish them; a line of a margin that such a table would itself hide is not known.

Source: A. Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array

__all__ = ["Attacker", "suppress"]

Counts: TypeAlias = npt.NDArray[Any]
Mask: TypeAlias = npt.NDArray[np.bool_]
Cell: TypeAlias = tuple[int, ...]
_SLACK = 1e-6
_MOST_REVIEWED = 60
"""Cells hidden up to which it is reviewed whether each secondary one is needed: the review costs their square."""


def suppress(counts: Counts, too_few: Mask, k: int, zero_is_small: bool) -> Mask:
    """Which cells to hide; shape of `counts`.

    Args:
        counts: persons in each cell, any number of axes.
        too_few: cells to hide for another reason (too few partners).
        k: the smallest count that may be shown, and the least width of an attacker's interval.
        zero_is_small: whether an empty cell says too much.
    """
    counts = np.asarray(counts, dtype=np.int64)
    primary: Mask = (counts < k) & (zero_is_small | (counts > 0)) | too_few
    hidden = primary.copy()
    if not hidden.any() or hidden.all():
        return hidden
    attacker = Attacker(counts, k, zero_is_small)
    for cell in _cells(primary):
        while not hidden.all() and attacker.exposes(hidden, cell):
            for other in _box(counts, hidden, cell, k) or [_next(counts, hidden, cell)]:
                hidden[other] = True
    for cell in iter(lambda: attacker.first_exposed(hidden), None):
        for other in _box(counts, hidden, cell, k) or [_next(counts, hidden, cell)]:
            hidden[other] = True
        if hidden.all():
            break
    if np.count_nonzero(hidden) <= _MOST_REVIEWED:
        _show_needless(counts, primary, hidden, attacker)
    return hidden


def _show_needless(counts: Counts, primary: Mask, hidden: Mask, attacker: Attacker) -> None:
    """Show again, the largest first, each secondary cell that nothing needs hidden."""
    for cell in sorted(_cells(hidden & ~primary), key=lambda at: -counts[at]):
        hidden[cell] = False
        if attacker.first_exposed(hidden) is not None:
            hidden[cell] = True


def _cells(mask: Mask) -> list[Cell]:
    return [tuple(int(i) for i in cell) for cell in np.argwhere(mask)]


class Attacker:
    """Somebody who knows the shown cells and the margins, and looks for intervals narrower than k."""

    def __init__(self, counts: Counts, k: int, zero_is_small: bool) -> None:
        self.counts, self.k, self._zero_is_small = np.asarray(counts, dtype=np.int64), k, zero_is_small
        self._known = list(self._lines()) if self.counts.ndim > 1 else []

    def first_exposed(self, hidden: Mask) -> Cell | None:
        """A hidden cell that is bounded within less than k, if there is one."""
        return next((cell for cell in _cells(hidden) if self.exposes(hidden, cell)), None)

    def exposes(self, hidden: Mask, cell: Cell) -> bool:
        """Whether a hidden cell is bounded within less than k."""
        if self._has_box(hidden, cell):
            return False
        low, high = self.interval(hidden, cell)
        return high - low < self.k - _SLACK

    def interval(self, hidden: Mask, cell: Cell) -> tuple[float, float]:
        """What can be said of a hidden cell: (lowest, highest)."""
        cells = _cells(hidden)
        if self.counts.ndim == 1:  # the total alone is known
            rest = int(self.counts[hidden].sum())
            return (0.0, float(rest)) if len(cells) > 1 else (float(rest), float(rest))
        return _solve(*self._equations(cells), cells.index(cell))

    def _has_box(self, hidden: Mask, cell: Cell) -> bool:
        """A quick yes: hidden corners of a box let the cell move by k and change no margin."""
        levels = [[i for i in range(size) if i != at] for size, at in zip(hidden.shape, cell, strict=True)]
        for opposite in product(*levels):
            corners = list(product(*zip(cell, opposite, strict=True)))
            if all(hidden[c] for c in corners) and _play(self.counts, corners, cell) >= self.k:
                return True
        return False

    def _lines(self) -> Iterator[tuple[tuple[int, ...], Mask | None]]:
        """Each margin: its axes, and which of its lines are not known (None: all are)."""
        axes = range(self.counts.ndim)
        for kept in product((False, True), repeat=self.counts.ndim):
            if all(kept):
                continue
            chosen = tuple(axis for axis in axes if kept[axis])
            if not chosen:
                yield chosen, None
                continue
            margin = self.counts.sum(axis=tuple(a for a in axes if a not in chosen))
            yield chosen, suppress(margin, np.zeros(margin.shape, dtype=bool), self.k, self._zero_is_small)

    def _equations(self, cells: list[Cell]) -> tuple[Any, Counts]:
        """For each known line, the sum of the hidden cells in it: a sparse matrix and the sums."""
        rows: list[int] = []
        columns: list[int] = []
        totals: list[int] = []
        for axes, unknown in self._known:
            lines: dict[Cell, int] = {}
            for index, cell in enumerate(cells):
                line = tuple(cell[a] for a in axes)
                if unknown is not None and unknown[line]:
                    continue
                if line not in lines:
                    lines[line] = len(totals)
                    totals.append(0)
                rows.append(lines[line])
                columns.append(index)
                totals[lines[line]] += int(self.counts[cell])
        matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(totals), len(cells)))
        return matrix, np.array(totals, dtype=float)


def _solve(matrix: Any, totals: Counts, index: int) -> tuple[float, float]:
    """Least and greatest value of one hidden cell under the equations, all cells being 0 or more.

    `matrix` is sparse, which linprog takes and its type stubs do not know.
    """
    cost = np.zeros(matrix.shape[1])
    ends = []
    for sign in (1.0, -1.0):
        cost[index] = sign
        solved = linprog(cost, A_eq=matrix, b_eq=totals, bounds=(0, None), method="highs")
        if not solved.success:  # cannot be: the true table is a solution, and the total bounds every cell
            return 0.0, 0.0
        ends.append(sign * float(solved.fun or 0.0))
    return ends[0], ends[1]


def _play(counts: Counts, corners: list[Cell], cell: Cell) -> int:
    """How far a corner can move when 1 is added to every second corner of a box and taken from the others.

    No margin changes; the cell can fall by the smallest of the corners that move with it, and rise by the smallest of
    the others.
    """
    odd = [sum(c != e for c, e in zip(corner, cell, strict=True)) % 2 for corner in corners]
    falls = min(int(counts[c]) for c, o in zip(corners, odd, strict=True) if not o)
    return falls + min(int(counts[c]) for c, o in zip(corners, odd, strict=True) if o)


def _box(counts: Counts, hidden: Mask, exposed: Cell, k: int) -> list[Cell]:
    """Corners to hide so that the exposed cell can move by k: of the box that hides fewest cells, and smallest ones."""
    best: list[Cell] = []
    least = (math.inf, math.inf)
    levels = [[i for i in range(size) if i != at] for size, at in zip(counts.shape, exposed, strict=True)]
    for opposite in product(*levels):
        corners = list(product(*zip(exposed, opposite, strict=True)))
        more = [c for c in corners if not hidden[c]]
        cost = (len(more), sum(int(counts[c]) for c in more))
        if more and cost < least and _play(counts, corners, exposed) >= k:
            best, least = more, cost
    return best


def _next(counts: Counts, hidden: Mask, exposed: Cell) -> Cell:
    """Where no box helps, the cell to hide next: on most lines of the exposed one, and of those the smallest."""
    candidates = np.argwhere(~hidden)
    shared = (candidates == np.array(exposed)).sum(axis=1)
    order = np.lexsort((counts[tuple(candidates.T)], -shared))
    return tuple(int(i) for i in candidates[order[0]])
