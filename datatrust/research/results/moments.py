"""A description as pandas shows one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from datatrust.research.results.base import Released, axes, level_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DescribeResult"]

_STATISTICS = ("count", "missing", "mean", "std", "var", "sum", "skewness", "kurtosis")


class DescribeResult(Released):
    """Statistics as rows, variables as columns; with `by`, a MultiIndex of levels and statistic.

    skewness is g1 and kurtosis the excess g2, moments over n (R's convention, scipy's `bias=True`).
    """

    @property
    def suppressed(self) -> pd.DataFrame:
        """Where a value is hidden; the shape of `to_frame()`."""
        hidden = {
            s: self.values["hidden_groups" if s in ("count", "missing") else "hidden"] for s in self._rows_shown()
        }
        table = {
            s: np.broadcast_to(_wide(h, self.values["count"]), self.values["count"].shape) for s, h in hidden.items()
        }
        return self._frame(table, "boolean").astype(bool)

    def to_frame(self) -> pd.DataFrame:
        frame = self._frame({s: self.values[_ARRAYS.get(s, s)] for s in self._rows_shown()}, "Float64")
        return frame.mask(self.suppressed, pd.NA)

    def _rows_shown(self) -> tuple[str, ...]:
        weighted = self.analysis.weights is not None
        return ("count", "missing", "weights", *_STATISTICS[2:]) if weighted else _STATISTICS

    def _frame(self, table: dict[str, np.ndarray], dtype: Literal["boolean", "Float64"]) -> pd.DataFrame:
        variables = list(self.analysis.columns)
        if not self.analysis.by:
            return pd.DataFrame([table[s] for s in table], index=list(table), columns=variables).astype(dtype)
        groups = level_names(self.scope, self.analysis.by)
        size = len(groups)
        stacked = np.stack([table[s].reshape(size, len(variables)) for s in table], axis=1)
        tuples = [(*(g if isinstance(g, tuple) else (g,)), s) for g in groups for s in table]
        index = pd.MultiIndex.from_tuples(tuples, names=[*self.analysis.by, "statistic"])
        return pd.DataFrame(stacked.reshape(size * len(table), len(variables)), index=index, columns=variables).astype(
            dtype
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Mean and one standard deviation of the first column, in each group."""
        ax = axes(ax)
        name = self.analysis.columns[0]
        mean, std = (np.atleast_1d(self.values[s][..., 0]).ravel() for s in ("mean", "std"))
        labels = [str(g) for g in level_names(self.scope, self.analysis.by)] if self.analysis.by else [name]
        ax.errorbar(mean, np.arange(len(mean)), xerr=std, fmt="o", color="#1f5a7a", capsize=3)
        ax.set_yticks(np.arange(len(mean)), labels)
        unit = self.scope.dataset.column(name).unit
        ax.set_xlabel(f"{name}, mean and standard deviation" + (f" ({unit})" if unit else ""))
        return ax


_ARRAYS = {"weights": "sum_of_weights"}


def _wide(mask: np.ndarray, like: np.ndarray) -> np.ndarray:
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
