"""Hiding small cells of a table of counts, and as many more as keep them from being worked out.

Primary: cells below k persons, or that hold too few partners.  Secondary: an attacker who knows every margin of the
table and the cells that are shown solves for the hidden ones; by linear programming, the interval that he finds for
each hidden cell must be at least k wide.  Margins are taken as known although they may not be published, because
another table may publish them.

Source: A. Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapter 4.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array

__all__ = ["interval", "suppress"]

Counts = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


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
    while not hidden.all():
        exposed = _exposed(counts, hidden, k)
        if exposed is None:
            break
        for cell in _box(counts, hidden, exposed, k) or [_next(counts, hidden, exposed)]:
            hidden[cell] = True
    return _without_needless(counts, primary, hidden, k)


def _without_needless(counts: Counts, primary: Mask, hidden: Mask, k: int) -> Mask:
    """Show again, the largest first, each secondary cell that nothing needs hidden."""
    secondary = sorted(map(tuple, np.argwhere(hidden & ~primary)), key=lambda cell: -counts[cell])
    for cell in secondary:
        hidden[cell] = False
        if _exposed(counts, hidden, k) is not None:
            hidden[cell] = True
    return hidden


def _exposed(counts: Counts, hidden: Mask, k: int) -> tuple[int, ...] | None:
    """The first hidden cell whose interval is narrower than k, if there is one."""
    if not hidden.any():
        return None
    matrix, totals = _known_sums(counts, hidden)
    for index, cell in enumerate(np.argwhere(hidden)):
        low, high = _solve(matrix, totals, index)
        if high - low < k - 1e-6:
            return tuple(int(i) for i in cell)
    return None


def interval(counts: Counts, hidden: Mask, cell: tuple[int, ...]) -> tuple[float, float]:
    """What an attacker with all margins and the shown cells can say of a hidden cell: (lowest, highest)."""
    matrix, totals = _known_sums(np.asarray(counts), hidden)
    index = [tuple(c) for c in np.argwhere(hidden)].index(cell)
    return _solve(matrix, totals, index)


def _known_sums(counts: Counts, hidden: Mask) -> tuple[csr_array, Counts]:
    """Equations of the hidden cells: for each line of each margin, their sum is what the shown ones leave."""
    cells = np.argwhere(hidden)
    rows: list[int] = []
    columns: list[int] = []
    totals: list[int] = []
    for kept in product((False, True), repeat=counts.ndim):
        if all(kept):
            continue
        axes = [axis for axis, keep in enumerate(kept) if keep]
        lines: dict[tuple[int, ...], int] = {}
        for index, cell in enumerate(cells):
            line = tuple(int(cell[a]) for a in axes)
            if line not in lines:
                lines[line] = len(totals)
                totals.append(0)
            rows.append(lines[line])
            columns.append(index)
            totals[lines[line]] += int(counts[tuple(cell)])
    ones = np.ones(len(rows))
    return csr_array((ones, (rows, columns)), shape=(len(totals), len(cells))), np.array(totals, dtype=float)


def _solve(matrix: Any, totals: Counts, index: int) -> tuple[float, float]:
    """Least and greatest value of one hidden cell under the equations, all cells being 0 or more.

    `matrix` is sparse, which linprog takes and its type stubs do not know.
    """
    cost = np.zeros(matrix.shape[1])
    ends = []
    for sign in (1.0, -1.0):
        cost[index] = sign
        solved = linprog(cost, A_eq=matrix, b_eq=totals, bounds=(0, None), method="highs")
        if not solved.success or solved.fun is None:  # cannot be: the true table is a solution
            return 0.0, 0.0
        ends.append(sign * solved.fun)
    return ends[0], ends[1]


def _box(counts: Counts, hidden: Mask, exposed: tuple[int, ...], k: int) -> list[tuple[int, ...]]:
    """The corners of the box, two levels on each axis, that lets the exposed cell move by k and hides the fewest
    cells more; empty where no box does.

    Adding 1 to every second corner and taking 1 from the others changes no margin: with these corners hidden, the
    exposed cell can fall by the smallest of the ones and rise by the smallest of the others.
    """
    best: list[tuple[int, ...]] = []
    least = (math.inf, math.inf)
    others = [[level for level in range(size) if level != at] for size, at in zip(counts.shape, exposed, strict=True)]
    for opposite in product(*others):
        corners = list(product(*zip(exposed, opposite, strict=True)))
        moved = [sum(c != e for c, e in zip(corner, exposed, strict=True)) % 2 for corner in corners]
        falls = min(int(counts[c]) for c, odd in zip(corners, moved, strict=True) if not odd)
        rises = min(int(counts[c]) for c, odd in zip(corners, moved, strict=True) if odd)
        more = [c for c in corners if not hidden[c]]
        cost = (len(more), sum(int(counts[c]) for c in more))
        if more and falls + rises >= k and cost < least:
            best, least = more, cost
    return best


def _next(counts: Counts, hidden: Mask, exposed: tuple[int, ...]) -> tuple[int, ...]:
    """Where there is no box, the cell to hide next.

    On most lines of the exposed one, then on most lines that hide another, then smallest.
    """
    candidates = np.argwhere(~hidden)
    shared = (candidates == np.array(exposed)).sum(axis=1)
    axes = range(counts.ndim)
    covered = [hidden.any(axis=axis, keepdims=True) & ~hidden for axis in axes]
    protected = sum(np.broadcast_to(c, counts.shape)[tuple(candidates.T)].astype(int) for c in covered)
    order = np.lexsort((counts[tuple(candidates.T)], -np.asarray(protected), -shared))
    return tuple(int(i) for i in candidates[order[0]])
