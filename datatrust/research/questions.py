"""What a researcher writes: each function names an analysis; texts in it are read once the dataset is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trust import analyses
from trust.analyses.base import Analysis
from trust.analyses.families import FAMILIES
from trust.canonical import read_model
from trust.dataset.dataset import Dataset
from trust.dataset.expressions import parse_expression
from trust.errors import StudyInvalid, nearest

__all__ = ["AnalysisText", "Anova", "Correlation", "Crosstab", "Describe", "Glm", "Histogram", "Quantiles", "TTest"]


@dataclass(frozen=True)
class AnalysisText:
    """An analysis whose texts wait for a dataset."""

    written: str
    build: Callable[[Dataset], dict[str, Any]]
    model: type[Analysis]

    def resolve(self, dataset: Dataset) -> Analysis:
        """The typed analysis.  Raises: StudyInvalid, FormulaInvalid."""
        return read_model(self.model, self.build(dataset), StudyInvalid, self.written)


def Describe(columns: Sequence[str], by: Sequence[str] = (), weights: str | None = None) -> AnalysisText:
    """Count, missing, mean, std, var, sum, skewness and kurtosis of columns, in each group of `by`."""
    return AnalysisText(
        "Describe",
        lambda data: _without_defaults(columns=_names(columns), by=_names(by), weights=_expression(weights, data)),
        analyses.Describe,
    )


def Histogram(column: str, edges: Iterable[float]) -> AnalysisText:
    """How many values lie in each bin between `edges`: closed on the left, the last bin on both sides, as numpy's.

    How many lie outside is counted as well (`.outside`), unless the edges span the column's bounds.
    """
    return AnalysisText(
        "Histogram", lambda data: _without_defaults(column=column, edges=_reals(edges)), analyses.Histogram
    )


def Quantiles(columns: str | Sequence[str], q: float | Iterable[float]) -> AnalysisText:
    """Quantiles `q` (0 to 1) of columns that have bounds, each as a bracket that holds enough persons.

    R's type 7, which numpy and pandas call linear, lies in the bracket.
    """
    return AnalysisText(
        "Quantiles", lambda data: _without_defaults(columns=_names(columns), q=_reals(q)), analyses.Quantiles
    )


def Crosstab(rows: str, columns: str, weights: str | None = None) -> AnalysisText:
    """A table of two columns; with `weights`, of the sums of weights."""
    return AnalysisText(
        "Crosstab",
        lambda data: _without_defaults(rows=rows, columns=columns, weights=_expression(weights, data)),
        analyses.Crosstab,
    )


def Correlation(columns: Sequence[str], missing: Literal["complete", "pairwise"] = "complete") -> AnalysisText:
    """Pearson's correlations and covariances; rows with all columns, or for each pair those with both."""
    return AnalysisText(
        "Correlation", lambda data: _without_defaults(columns=_names(columns), missing=missing), analyses.Correlation
    )


def TTest(value: str, group: str, equal_var: bool = False) -> AnalysisText:
    """Do two groups differ in the mean of `value`?  Welch's test, or Student's with `equal_var`.

    The difference is that of the group's first level less its second.
    """
    return AnalysisText(
        "TTest", lambda data: _without_defaults(value=value, group=group, equal_var=equal_var), analyses.TTest
    )


def Anova(value: str, group: str | Sequence[str], interaction: bool = True, typ: Literal[1, 2, 3] = 1) -> AnalysisText:
    """Analysis of variance of `value` over one group or two.

    `typ` is the kind of sums of squares: 1 in the order written, 2 each term after those that do not contain it,
    3 each term after all others in sum-to-zero contrasts, with a row for the intercept.
    """
    return AnalysisText(
        "Anova",
        lambda data: _without_defaults(value=value, group=_names(group), interaction=interaction, typ=typ),
        analyses.Anova,
    )


def Glm(
    formula: str,
    family: Literal["gaussian", "binomial", "poisson", "gamma"] = "gaussian",
    link: str | None = None,
    weights: str | None = None,
    offset: str | None = None,
    ridge: float = 0.0,
    robust: Literal["HC0", "HC1"] | None = None,
    scale: Literal["X2"] | None = None,
    weights_are: Literal["frequency", "precision"] = "frequency",
) -> AnalysisText:
    """A generalised linear model, such as `Glm("disease ~ age + sex + C(cp)", family="binomial")`.

    `ridge` is added to the diagonal of X'WX, the intercept's apart: scikit-learn's `Ridge(alpha)`, and
    `LogisticRegression(C=1/ridge)`.  `scale="X2"` estimates the dispersion of a binomial or Poisson model.
    """

    def build(data: Dataset) -> dict[str, Any]:
        from datatrust.research.formulas import (
            parse_formula,  # not for each command: formulaic takes longer than all else
        )

        if family not in FAMILIES:
            raise StudyInvalid(f"family {family!r} is unknown", expected=nearest(str(family), FAMILIES))
        outcome, terms, intercept = parse_formula(formula, data)
        return _without_defaults(
            outcome=outcome,
            terms=terms,
            intercept=intercept,
            family=family,
            link=link or FAMILIES[family].default_link,
            weights=_expression(weights, data),
            weights_are=weights_are,
            offset=_expression(offset, data),
            ridge=ridge,
            robust=robust,
            scale=scale,
        )

    return AnalysisText("Glm", build, analyses.Glm)


def _without_defaults(**fields: Any) -> dict[str, Any]:
    return fields


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _reals(numbers: float | Iterable[float]) -> list[Any]:
    """Plain numbers of a list, an array or one number; what is none is left to the analysis to refuse."""
    items = list(numbers) if isinstance(numbers, Iterable) else [numbers]
    return [item.item() if isinstance(item, np.generic) else item for item in items]


def _expression(text: str | None, dataset: Dataset) -> Any:
    return None if text is None else parse_expression(text, dataset)
