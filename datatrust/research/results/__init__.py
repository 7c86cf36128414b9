"""Released results under the names of the library that a researcher knows: pandas, statsmodels, scipy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datatrust.research.results.base import NeedsRows, Released
from datatrust.research.results.comparisons import AnovaResult, TTestResult
from datatrust.research.results.correlation import CorrelationResult
from datatrust.research.results.glm import GlmResult
from datatrust.research.results.moments import DescribeResult
from datatrust.research.results.quantiles import QuantilesResult
from datatrust.research.results.tables import CrosstabResult, HistogramResult
from trust.analyses.base import Analysis, Scope, Values

__all__ = ["NeedsRows", "Released", "released"]

_KINDS: dict[str, type[Released]] = {
    "anova": AnovaResult,
    "correlation": CorrelationResult,
    "crosstab": CrosstabResult,
    "describe": DescribeResult,
    "glm": GlmResult,
    "histogram": HistogramResult,
    "quantiles": QuantilesResult,
    "ttest": TTestResult,
}


def released(analysis: Analysis, values: Values, scope: Scope, provenance: Mapping[str, Any]) -> Released:
    """The result object of an analysis."""
    return _KINDS[analysis.kind](analysis, values, scope, provenance)  # type: ignore[attr-defined]
