"""What is asked of the four hospitals: the study, the same of women alone, and one for a purpose that is forbidden."""

from __future__ import annotations

from typing import Any

import datatrust as dt
from datatrust.demo.hospitals import COHORT, EDGES, FORMULA

__all__ = [
    "CHARTER",
    "COLUMNS",
    "FORBIDDEN",
    "PURPOSE",
    "SEXES",
    "SMALL",
    "SMOKERS",
    "TITLE",
    "WOMEN",
    "analyses",
    "smoking",
]

TITLE = "Age, smoking and heart disease"
PURPOSE = "AcademicResearch"
CHARTER = "research"
WOMEN = f"{COHORT} and sex = 'F'"
SEXES = ("F", "M")
COLUMNS = ("age", "systolic", "cholesterol")

SMOKERS = "Age of smokers and of others"
FORBIDDEN = "Marketing"
"""A purpose that the charter knows and no article of it permits."""
SMALL = 5
"""Persons in the smallest group of that study: fewer than the charter's floor."""


def analyses() -> dict[str, Any]:
    """What is asked; `program.py` prints the same."""
    return {
        "table": dt.Describe(list(COLUMNS), by=["sex"]),
        "pain": dt.Describe(["age"], by=["chest_pain", "sex"]),
        "ages": dt.Histogram("age", edges=list(EDGES)),
        "risk": dt.Glm(FORMULA, family="binomial"),
    }


def smoking() -> dict[str, Any]:
    """What the study for a forbidden purpose asks."""
    return {"smokers": dt.Describe(["age"], by=["smoker"])}
