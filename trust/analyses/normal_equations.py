"""Normal equations of weighted least squares, solved in units in which the diagonal is 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trust.errors import Collinear

__all__ = ["gram", "invert", "reciprocal", "solve"]

Floats = npt.NDArray[np.float64]
_SINGULAR_TOLERANCE = 1e-13


def gram(x: Floats, weights: Floats) -> Floats:
    """X' W X, symmetric to the last bit."""
    product = x.T @ (x * weights[:, None])
    return np.asarray((product + product.T) / 2)


def reciprocal(weights: Floats) -> Floats:
    """1 / w, 0 where w is 0: a frequency weight counts a record, not the square of its score."""
    return np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)


def _scaled(information: Floats, names: tuple[str, ...] | None) -> tuple[Floats, Floats]:
    """The matrix with ones on its diagonal, and the scales.  Raises: Collinear."""
    diagonal = np.diag(information)
    with np.errstate(all="ignore"):
        scales = 1 / np.sqrt(diagonal)
    scaled = information * np.outer(scales, scales)
    if not np.isfinite(scaled).all() or (diagonal <= 0).any():
        empty = [] if names is None else [n for n, d in zip(names, diagonal, strict=True) if not d > 0]
        problem = f"columns {empty} are 0 for every person" if empty else "the model's columns cannot be told apart"
        raise Collinear(problem, remedy="leave them out, or merge levels")
    return scaled, scales


def solve(information: Floats, score: Floats, names: tuple[str, ...]) -> Floats:
    """`information^-1 score`, in units in which the diagonal is 1.  Raises: Collinear, naming the columns."""
    scaled, scales = _scaled(information, names)
    values, vectors = np.linalg.eigh(scaled)
    if values[0] < _SINGULAR_TOLERANCE * len(names):
        weights = np.abs(vectors[:, 0])
        involved = [n for n, w in zip(names, weights, strict=True) if w > 0.1 * weights.max()]
        raise Collinear(f"columns {involved} determine one another", remedy="leave one of them out, or set ridge")
    return np.asarray(scales * np.linalg.solve(scaled, scales * score))


def invert(information: Floats) -> Floats:
    """`information^-1`, shape (p, p).  Raises: Collinear."""
    scaled, scales = _scaled(information, None)
    return np.asarray(np.linalg.inv(scaled) * np.outer(scales, scales))
