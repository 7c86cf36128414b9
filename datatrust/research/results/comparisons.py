"""Tests of means under the names of scipy, and tables of variance under those of statsmodels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from datatrust.research.results.base import Released, axes, level_names
from trust.errors import StudyInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AnovaResult", "ConfidenceInterval", "TTestResult"]


class ConfidenceInterval(NamedTuple):
    """Two ends, as scipy's."""

    low: float
    high: float


class TTestResult(Released):
    """Welch's or Student's test, as `scipy.stats.ttest_ind`: the first level less the second."""

    @property
    def statistic(self) -> float:
        """t."""
        return float(self.values["statistic"])

    @property
    def pvalue(self) -> float:
        """Two-sided."""
        return float(self.values["pvalue"])

    @property
    def df(self) -> float:
        """Degrees of freedom."""
        return float(self.values["df"])

    @property
    def difference(self) -> float:
        """Mean of the first level less that of the second."""
        return float(self.values["difference"])

    @property
    def means(self) -> pd.Series[float]:
        """Mean of each group, by level."""
        return pd.Series(self.values["means"], index=level_names(self.scope, self.analysis.groups()))

    def confidence_interval(self, confidence_level: float = 0.95) -> ConfidenceInterval:
        """Of the difference of means.  Raises: StudyInvalid for a level not between 0 and 1."""
        if not 0 < confidence_level < 1:
            raise StudyInvalid(f"a confidence level of {confidence_level!r}", expected="between 0 and 1, such as 0.95")
        reach = float(stdtrit(self.df, (1 + confidence_level) / 2) * self.values["standard_error"])
        return ConfidenceInterval(self.difference - reach, self.difference + reach)

    def to_frame(self) -> pd.DataFrame:
        """The means, their difference with a 95 % interval, and the test, each a row; one column."""
        low, high = self.confidence_interval()
        means = {f"mean, {self.analysis.group} = {level}": mean for level, mean in self.means.items()}
        test = {"statistic": self.statistic, "df": self.df, "pvalue": self.pvalue}
        rows = {**means, "difference": self.difference, "95 % from": low, "95 % to": high, **test}
        return pd.DataFrame({self.analysis.value: pd.Series(rows)})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Means with their 95 % intervals."""
        ax = axes(ax)
        n = self.values["count"]
        reach = stdtrit(n - 1, 0.975) * self.values["std"] / np.sqrt(n)
        ax.errorbar(self.values["means"], np.arange(len(n)), xerr=reach, fmt="o", color="#1f5a7a", capsize=3)
        ax.set_yticks(np.arange(len(n)), [f"{self.analysis.group} = {level}" for level in self.means.index])
        ax.margins(y=0.5)
        unit = self.scope.dataset.column(self.analysis.value).unit
        ax.set_xlabel(f"{self.analysis.value}, mean and 95 % interval" + (f" ({unit})" if unit else ""))
        return ax


class AnovaResult(Released):
    """A table of variance, as statsmodels' `anova_lm`."""

    _absent = ""

    def to_frame(self) -> pd.DataFrame:
        """Columns df, sum_sq, mean_sq, F, PR(>F); a row a term and `Residual`."""
        columns = {"df": "df", "sum_sq": "sum_sq", "mean_sq": "mean_sq", "F": "F", "PR(>F)": "pvalue"}
        return pd.DataFrame(
            {name: self.values[key] for name, key in columns.items()}, index=[str(t) for t in self.values["terms"]]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """What part of the sums of squares is each term's."""
        ax = axes(ax)
        frame = self.to_frame().drop(index="Intercept", errors="ignore")
        share = frame["sum_sq"] / frame["sum_sq"].sum()
        ax.barh(np.arange(len(share)), share, color="#1f5a7a")
        ax.set_yticks(np.arange(len(share)), list(share.index))
        ax.invert_yaxis()
        ax.set_xlabel(f"share of the sums of squares of {self.analysis.value}")
        return ax
