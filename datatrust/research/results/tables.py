"""Histograms as numpy gives them, crosstabs as pandas does, with small cells hidden."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc

from datatrust.research.results.base import Released, axes, jsonable, level_names, masked_counts
from trust.errors import Refused, StudyInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CrosstabResult", "HistogramResult"]

Floats = npt.NDArray[np.float64]
_INK, _GREY = "#1f5a7a", "#8a8a8a"


class HistogramResult(Released):
    """Counts between edges, as `numpy.histogram`: left-closed, the last bin closed on both sides."""

    @property
    def edges(self) -> Floats:
        """The edges, shape (bins + 1,)."""
        return np.asarray(self.values["edges"])

    @property
    def counts(self) -> pd.arrays.IntegerArray:
        """Rows in each bin, shape (bins,); `pd.NA` where hidden."""
        bins = len(self.edges) - 1
        return masked_counts(self.values["counts"][:bins], self.suppressed)

    @property
    def suppressed(self) -> npt.NDArray[np.bool_]:
        """Which bins are hidden, shape (bins,)."""
        return np.asarray(self.values["hidden"])[: len(self.edges) - 1]

    @property
    def outside(self) -> Any:
        """Rows with a value outside the edges; `pd.NA` where that is hidden."""
        bins = len(self.edges) - 1
        if len(self.values["counts"]) == bins:
            return 0
        return pd.NA if self.values["hidden"][bins] else int(self.values["counts"][bins])

    @property
    def nobs(self) -> int:
        """Rows counted in the bins; where `outside` is hidden, all rows with a value: the difference would tell it."""
        outside = self.outside
        return int(self.values["with_value"]) - (0 if outside is pd.NA else outside)

    def to_frame(self) -> pd.DataFrame:
        """Column `count`, bins as the index."""
        index = pd.IntervalIndex.from_breaks(self.edges, closed="left", name=self.analysis.column)
        return pd.DataFrame({"count": pd.Series(self.counts, index=index)})

    def to_dict(self) -> dict[str, Any]:
        document = super().to_dict()
        bins, outside = len(self.edges) - 1, self.outside
        values = {name: document["values"][name] for name in ("edges", "counts", "hidden")}
        cut = {"counts": values["counts"][:bins], "hidden": values["hidden"][:bins]}
        document["values"] = {**values, **cut, "outside": None if outside is pd.NA else outside, "nobs": self.nobs}
        return document

    def plot(self, ax: Axes | None = None) -> Axes:
        """Bars; a hidden bin is hatched and says so."""
        ax = axes(ax)
        heights = np.where(self.suppressed, 0, self.values["counts"][: len(self.suppressed)])
        left_edges, width = self.edges[:-1], np.diff(self.edges)
        ax.bar(left_edges, heights, width, align="edge", color=_INK, edgecolor="white")
        least = self.scope.protections.persons
        for index in np.flatnonzero(self.suppressed):
            ax.bar(
                left_edges[index],
                max(least, heights.max(initial=1) / 20),
                width[index],
                align="edge",
                fill=False,
                hatch="///",
                ec=_GREY,
            )
            ax.annotate(
                "hidden",
                (left_edges[index] + width[index] / 2, 0),
                ha="center",
                va="bottom",
                rotation=90,
                fontsize="small",
            )
        column = self.scope.dataset.column(self.analysis.column)
        ax.set_xlabel(f"{column.name} ({column.unit})" if column.unit else column.name)
        ax.set_ylabel("records")
        return ax


class CrosstabResult(Released):
    """A table of counts, or of weights, and Pearson's chi-square of independence without correction.

    Levels that nobody has stand in the frame and are left out of the chi-square.  Where a cell is hidden, everything
    computed from the table would give it back and is withheld.
    Source: A. Agresti, Categorical Data Analysis, 2013, section 3.2; Cramér's V: H. Cramér 1946, section 21.9.
    """

    def _frame(self, values: npt.NDArray[Any]) -> pd.DataFrame:
        rows, columns = (level_names(self.scope, (name,)) for name in self.analysis.groups())
        return pd.DataFrame(values, index=rows, columns=columns)

    @property
    def suppressed(self) -> pd.DataFrame:
        """Which cells are hidden; the shape of `to_frame()`."""
        return self._frame(np.asarray(self.values["hidden"], dtype=bool))

    def to_frame(self) -> pd.DataFrame:
        """Rows and columns in the dataset's order of levels; `pd.NA` where hidden."""
        frame = self._frame(np.asarray(self.values["counts"]))
        return (frame.astype("Int64") if self.analysis.weights is None else frame.astype("Float64")).mask(
            self.suppressed, pd.NA
        )

    @cached_property
    def _table(self) -> Floats:
        """The whole table, shape (rows, columns).  Raises: Refused where a cell is hidden."""
        if np.asarray(self.values["hidden"]).any():
            raise Refused(
                "suppress-cells",
                "some cells of the table are hidden, and a statistic of all cells would give them back",
                remedy="merge levels, widen the cohort, or leave out a rare level by the cohort",
            )
        return np.asarray(self.values["counts"], dtype=np.float64)

    @cached_property
    def _expected_counts(self) -> Floats:
        total = self._table.sum()
        with np.errstate(all="ignore"):
            return np.asarray(np.outer(self._table.sum(axis=1), self._table.sum(axis=0)) / total)

    @property
    def expected(self) -> pd.DataFrame:
        """Counts expected if rows and columns were independent.  Raises: Refused where a cell is hidden."""
        return self._frame(self._expected_counts)

    @property
    def chi2(self) -> float:
        """Pearson's statistic.  Raises: Refused where a cell is hidden."""
        some = self._expected_counts > 0
        return float(((self._table[some] - self._expected_counts[some]) ** 2 / self._expected_counts[some]).sum())

    @property
    def dof(self) -> int:
        """Degrees of freedom, of levels that somebody has.  Raises: Refused where a cell is hidden."""
        rows, columns = self._hidden_counts()
        return (rows - 1) * (columns - 1)

    def _hidden_counts(self) -> tuple[int, int]:
        return tuple(int((self._table.sum(axis=axis) > 0).sum()) for axis in (1, 0))  # type: ignore[return-value]

    @property
    def pvalue(self) -> float:
        """Upper tail of chi-square; 1 for no degree of freedom.  Raises: Refused where a cell is hidden."""
        return float(chdtrc(self.dof, self.chi2)) if self.dof else 1.0

    @property
    def cramers_v(self) -> float:
        """sqrt(chi2 / n / (smaller side - 1)), NaN for a side of one level.  Raises: Refused where a cell is hidden."""
        smaller = min(self._hidden_counts()) - 1
        return float(np.sqrt(self.chi2 / self._table.sum() / smaller)) if smaller > 0 else float("nan")

    @property
    def odds_ratio(self) -> float:
        """a d / (b c) of a table of 2 by 2.  Raises: StudyInvalid for another; Refused where a cell is hidden."""
        if self._table.shape != (2, 2):
            raise StudyInvalid(
                f"an odds ratio of a table of {' by '.join(map(str, self._table.shape))}", expected="2 by 2"
            )
        (a, b), (c, d) = self._table
        with np.errstate(all="ignore"):
            return float(a * d / (b * c))

    def to_dict(self) -> dict[str, Any]:
        document = super().to_dict()
        if not np.asarray(self.values["hidden"]).any():
            names = ("chi2", "dof", "pvalue", "cramers_v")
            document["values"] |= {name: jsonable(np.asarray(getattr(self, name))) for name in names}
        return document

    def plot(self, ax: Axes | None = None) -> Axes:
        """Shares within each row as shades, counts in the cells; a hidden cell is hatched and says so."""
        ax = axes(ax)
        hidden = np.asarray(self.values["hidden"], dtype=bool)
        table = np.where(hidden, 0.0, self.values["counts"])
        total = table.sum(axis=1, keepdims=True)
        ax.imshow(
            np.divide(table, total, out=np.zeros_like(table), where=total > 0),
            cmap="Blues",
            vmin=0,
            vmax=1.5,
            aspect="auto",
        )
        for (row, column), value in np.ndenumerate(table):
            words = "hidden" if hidden[row, column] else f"{value:,.10g}"
            ax.annotate(words, (column, row), ha="center", va="center", fontsize="small")
            if hidden[row, column]:
                ax.bar(column, 1, 1, row - 0.5, fill=False, hatch="///", ec=_GREY, lw=0)
        frame = self.suppressed
        ax.set_xticks(range(frame.shape[1]), [str(level) for level in frame.columns])
        ax.set_yticks(range(frame.shape[0]), [str(level) for level in frame.index])
        ax.set_xlabel(self.analysis.columns)
        ax.set_ylabel(self.analysis.rows)
        return ax
