"""The analyses that a study may ask for, one file each.

`AnyAnalysis` is the closed union that a study is read with: an analysis that is not in it cannot be asked.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from trust.analyses.glm import Glm
from trust.analyses.moments import Describe

__all__ = ["AnyAnalysis", "Describe", "Glm"]

AnyAnalysis: TypeAlias = Annotated[Describe | Glm, Field(discriminator="kind")]
