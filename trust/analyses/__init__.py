"""The analyses that a study may ask for, one file each.

`AnyAnalysis` is the closed union that a study is read with: an analysis that is not in it cannot be asked.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from trust.analyses.comparisons import Anova, TTest
from trust.analyses.correlation import Correlation
from trust.analyses.glm import Glm
from trust.analyses.moments import Describe
from trust.analyses.quantiles import Quantiles
from trust.analyses.tables import Crosstab, Histogram

__all__ = ["Anova", "AnyAnalysis", "Correlation", "Crosstab", "Describe", "Glm", "Histogram", "Quantiles", "TTest"]

AnyAnalysis: TypeAlias = Annotated[
    Describe | Histogram | Quantiles | Crosstab | Correlation | TTest | Anova | Glm, Field(discriminator="kind")
]
