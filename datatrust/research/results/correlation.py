"""Correlations and covariances as pandas gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from datatrust.research.results.base import Released, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CorrelationResult"]


class CorrelationResult(Released):
    """Pearson's correlations; NaN with a column that is constant."""

    _absent = "undefined"

    def _frame(self, values: npt.NDArray[Any]) -> pd.DataFrame:
        return pd.DataFrame(values, index=list(self.analysis.columns), columns=list(self.analysis.columns))

    def to_frame(self) -> pd.DataFrame:
        """Correlations, as pandas' `corr`."""
        return self._frame(self.values["correlation"])

    @property
    def covariance(self) -> pd.DataFrame:
        """Covariances with n - 1, as pandas' `cov`."""
        return self._frame(self.values["covariance"])

    @property
    def counts(self) -> pd.DataFrame:
        """Rows that each pair is of."""
        return self._frame(self.values["n"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """The matrix as shades, with its numbers."""
        ax = axes(ax)
        frame = self.to_frame()
        ax.imshow(frame.to_numpy(), cmap="PuOr", vmin=-1, vmax=1)
        for (row, column), value in np.ndenumerate(frame.to_numpy()):
            words = "–" if np.isnan(value) else f"{value:.2f}"
            ax.annotate(
                words,
                (column, row),
                ha="center",
                va="center",
                fontsize="small",
                color="white" if abs(value) > 0.7 else "black",
            )
        ax.set_xticks(range(len(frame)), list(frame.columns), rotation=45, ha="right")
        ax.set_yticks(range(len(frame)), list(frame.index))
        return ax
