"""Quantiles as brackets that hold enough persons, with an estimate in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from datatrust.research.results.base import Released, axes
from trust.errors import StudyInvalid, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["QuantilesResult"]


class QuantilesResult(Released):
    """The quantile of R's type 7 (numpy's and pandas' linear) lies in its bracket.

    `quantile` is an estimate: as if the values in a bracket were evenly spread.  With one column, `quantile` gives a
    number and `bracket` two; with several, a Series and a DataFrame by column.
    """

    def _index_of(self, q: float) -> int:
        matches = np.flatnonzero(np.isclose(self.values["q"], q, rtol=0, atol=1e-12))
        if not matches.size:
            quantile_texts = [f"{quantile:g}" for quantile in self.values["q"]]
            raise StudyInvalid(f"quantile {q!r} was not asked for", expected=nearest(str(q), quantile_texts))
        return int(matches[0])

    def quantile(self, q: float) -> float | pd.Series[float]:
        """An estimate of the quantile.  Raises: StudyInvalid for one that was not asked for."""
        row = self.values["estimate"][self._index_of(q)]
        return float(row[0]) if len(row) == 1 else pd.Series(row, index=list(self.analysis.columns), name=q)

    def bracket(self, q: float) -> tuple[float, float] | pd.DataFrame:
        """The two ends between which the quantile lies.  Raises: StudyInvalid for one that was not asked for."""
        index = self._index_of(q)
        lower, upper = self.values["lower"][index], self.values["upper"][index]
        if len(lower) == 1:
            return float(lower[0]), float(upper[0])
        return pd.DataFrame({"lower": lower, "upper": upper}, index=list(self.analysis.columns))

    @property
    def count(self) -> pd.Series[int]:
        """Rows with a value, by column."""
        return pd.Series(self.values["count"].astype(np.int64), index=list(self.analysis.columns), dtype="int64")

    def to_frame(self) -> pd.DataFrame:
        """Estimates: columns = variables, index = q, as pandas' `quantile`."""
        return pd.DataFrame(
            self.values["estimate"], index=pd.Index(self.values["q"], name="q"), columns=list(self.analysis.columns)
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Estimates of the first column with their brackets, against q."""
        ax = axes(ax)
        estimate, lower, upper = (self.values[name][:, 0] for name in ("estimate", "lower", "upper"))
        errors = np.maximum([estimate - lower, upper - estimate], 0)
        ax.errorbar(estimate, self.values["q"], xerr=errors, fmt="o", color="#1f5a7a", capsize=3)
        column = self.scope.dataset.column(self.analysis.columns[0])
        ax.set_xlabel(f"{column.name} ({column.unit})" if column.unit else column.name)
        ax.set_ylabel("share of records at or below")
        ax.set_ylim(-0.05, 1.05)
        return ax
