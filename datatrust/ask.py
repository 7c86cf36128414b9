"""What a researcher writes: each function names an analysis; texts in it are read once the dataset is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datatrust.formulas import parse_formula
from trust import analyses
from trust.analyses.base import Analysis
from trust.analyses.families import FAMILIES
from trust.canonical import read_model
from trust.dataset import Dataset
from trust.errors import StudyInvalid, nearest
from trust.expressions import parse_expression

__all__ = ["Describe", "Glm", "Question"]


@dataclass(frozen=True)
class Question:
    """An analysis whose texts wait for a dataset."""

    written: str
    build: Callable[[Dataset], dict[str, Any]]
    model: type[Analysis]

    def resolve(self, dataset: Dataset) -> Analysis:
        """The typed analysis.  Raises: StudyInvalid, FormulaInvalid."""
        return read_model(self.model, self.build(dataset), StudyInvalid, self.written)


def Describe(columns: Sequence[str], by: Sequence[str] = (), weights: str | None = None) -> Question:
    """Count, missing, mean, std, var, sum, skewness and kurtosis of columns, in each group of `by`."""
    return Question(
        "Describe",
        lambda data: _given(columns=_names(columns), by=_names(by), weights=_expression(weights, data)),
        analyses.Describe,
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
) -> Question:
    """A generalised linear model, such as `Glm("disease ~ age + sex + C(cp)", family="binomial")`.

    `ridge` is added to the diagonal of X'WX, the intercept's apart: scikit-learn's `Ridge(alpha)`, and
    `LogisticRegression(C=1/ridge)`.  `scale="X2"` estimates the dispersion of a binomial or Poisson model.
    """

    def build(data: Dataset) -> dict[str, Any]:
        if family not in FAMILIES:
            raise StudyInvalid(f"family {family!r} is unknown", expected=nearest(str(family), FAMILIES))
        outcome, terms, intercept = parse_formula(formula, data)
        return _given(
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

    return Question("Glm", build, analyses.Glm)


def _given(**fields: Any) -> dict[str, Any]:
    return fields


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _expression(text: str | None, dataset: Dataset) -> Any:
    return None if text is None else parse_expression(text, dataset)
