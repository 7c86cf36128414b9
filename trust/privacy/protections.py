"""The protections that a study declares.  The defaults are the safe ones, each from a rule in force somewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictInt

from trust.canonical import Model, Real

__all__ = ["Protections"]


class Protections(Model):
    """What a study promises; a charter's and a partner's floors may only make it stricter.

    persons: smallest group (CASD and PMSI: 11). organisations: fewest partners in a total (INSEE: 3).
    dominance_percent: the largest person's share of a magnitude (INSEE: 85 %). glm_parameters_per_person: as
    DataSHIELD's `nfilter.glm` (0.33). residual_df: as ACRO (10).
    """

    persons: StrictInt = Field(default=11, ge=1, le=1_000_000)
    organisations: StrictInt = Field(default=3, ge=3, le=1_000)
    dominance_percent: StrictInt = Field(default=85, ge=1, le=100)
    glm_parameters_per_person: Real = Field(default=0.33, gt=0, le=1)
    residual_df: StrictInt = Field(default=10, ge=1, le=1_000_000)
    zero_is_small: StrictBool = True
    participation: Literal["all", "joined"] = "joined"
    colluders: StrictInt = Field(default=1, ge=1, le=998)
    noise: Literal[False] = False

    def fewest(self, partners: int) -> int:
        """m: the fewest partners in a sum, of `partners` named, such that one sum has at most one total.

        Source: docs/protocol.md; m >= c + 2 and 2m > n + c, and the charter's organisations.
        """
        c = self.colluders
        return max(self.organisations, c + 2, (partners + c) // 2 + 1)
