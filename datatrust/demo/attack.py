"""Differencing: the same question twice, the second time without one patient; and what that would have told.

The attacker knows two things of the patient, from elsewhere.  Only the demo can say what the refused answer would have
been: it has the pooled rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from datatrust.demo import pooled
from datatrust.demo.hospitals import COHORT
from datatrust.demo.question import PURPOSE, TITLE, analyses
from datatrust.demo.refusal import RefusedStudy, run_refused
from datatrust.in_process.local_trust import LocalTrust
from datatrust.research.result import Result

__all__ = ["Attack", "Victim", "attack", "find_victim"]


@dataclass(frozen=True)
class Victim:
    """A made-up patient of a hospital, of whom the attacker knows age and systolic pressure."""

    hospital: str
    age: int
    systolic: int
    sex: str
    cholesterol: float

    @property
    def cohort(self) -> str:
        """Everybody of the study but this patient."""
        return f"{COHORT} and not (age = {self.age} and systolic = {self.systolic})"


@dataclass(frozen=True)
class Attack:
    """How it ended, and what it would have told.

    Attributes:
        released: known values and their sum in the study that was answered, of the patient's sex.
        without: the same of the cohort without the patient, from the pooled rows.
    """

    victim: Victim
    refusal: RefusedStudy
    released: tuple[int, float]
    without: tuple[int, float]

    @property
    def difference(self) -> tuple[int, float]:
        """Of how many patients, and their sum."""
        return self.released[0] - self.without[0], self.released[1] - self.without[1]


def find_victim(cohort: pd.DataFrame) -> Victim:
    """The first of these pooled rows whose age and systolic pressure single out one person.

    A row whose pressure is not known is not a row of such a cohort either, so none may have the same age.
    Raises: LookupError where there is no such person.
    """
    for hospital, age, systolic, sex, cholesterol in cohort[
        ["hospital", "age", "systolic", "sex", "cholesterol"]
    ].itertuples(index=False):
        if not pd.isna(systolic) and not pd.isna(cholesterol) and len(_left_out(cohort, age, systolic)) == 1:
            return Victim(hospital, int(age), int(systolic), sex, float(cholesterol))
    raise LookupError("nobody has an age and a pressure of their own")


def attack(trust: LocalTrust, result: Result, cohort: pd.DataFrame) -> Attack:
    """Ask again without the victim, all hospitals or none; and compute what the answer would have told.

    Args:
        result: of the study that was answered.
        cohort: its pooled rows.
    """
    victim = find_victim(cohort)
    study = trust.study(
        TITLE,
        purpose=PURPOSE,
        cohort=victim.cohort,
        analyses=analyses(),
        protections={"participation": "all"},  # so that the one refusal ends the study
    )
    refusal = run_refused(trust, study)
    table = result["table"].to_frame()
    rest = cohort.drop(_left_out(cohort, victim.age, victim.systolic).index)
    without = pooled.describe(rest, ["cholesterol"], "sex", victim.sex)["cholesterol"]
    released_values = table.xs(victim.sex)["cholesterol"]
    return Attack(
        victim,
        refusal,
        (int(released_values["count"]), float(released_values["sum"])),
        (int(without["count"]), float(without["sum"])),
    )


def _left_out(cohort: pd.DataFrame, age: int, systolic: float) -> pd.DataFrame:
    """Rows for which `not (age = … and systolic = …)` is not true: an unknown pressure is neither."""
    return cohort[(cohort["age"] == age) & ((cohort["systolic"] == systolic) | cohort["systolic"].isna())]
