"""What happens in the demo: the worked example, a study answered, the same of women alone refused, and every figure
compared with the pooled rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

import datatrust as dt
from datatrust.client import Result
from datatrust.demo import pooled
from datatrust.demo.checks import Checks
from datatrust.demo.hospitals import COHORT, EDGES, FORMULA, PAINS, Written, write
from datatrust.demo.masked import randomness
from datatrust.demo.seed import EXPECTED, Case, run_cases
from datatrust.federation import LocalTrust
from datatrust.results.glm import GlmResult
from datatrust.results.tables import HistogramResult
from trust.decision import Decisions

__all__ = ["CHARTER", "COEFFICIENTS", "COLUMNS", "PURPOSE", "SEXES", "TITLE", "WOMEN", "Story", "Traffic", "tell_story"]

TITLE = "Age, smoking and heart disease"
PURPOSE = "AcademicResearch"
CHARTER = "research"
WOMEN = f"{COHORT} and sex = 'F'"
SEXES = ("F", "M")
COLUMNS = ("age", "systolic", "cholesterol")
COEFFICIENTS = {
    "Intercept": "",
    "I(age / 10)": "factor_age",
    "sex[T.M]": "factor_sex",
    "C(chest_pain)[T.other]": "factor_other",
    "C(chest_pain)[T.atypical]": "factor_atypical",
    "C(chest_pain)[T.typical]": "factor_typical",
    "I(systolic / 10)": "factor_systolic",
    "smoker[T.True]": "factor_smoker",
}
"""The model's coefficients in the order of the pooled fit, and the words for them."""

REFUSED_BY = "organisations"


@dataclass(frozen=True)
class Traffic:
    """What one hospital sent for the study: messages, how many of them sums, bytes; and the rows that it kept."""

    partner: str
    rows: int
    messages: int
    sums: int
    bytes: int


@dataclass(frozen=True)
class Masked:
    """The masked words of the study: how many bytes, and the p-value that they are random."""

    bytes: int
    pvalue: float


@dataclass(frozen=True)
class Refusal:
    """How the study of women alone ended.

    Attributes:
        refusing: partners whose own rule said no.
        sums: sums that any partner sent.
    """

    refused: dt.Refused
    refusing: int
    sums: int


@dataclass(frozen=True)
class Story:
    """All that the screen, the report and the JSON are made from."""

    cases: list[Case]
    written: Written
    trust: LocalTrust
    decisions: Decisions
    result: Result
    traffic: list[Traffic]
    masked: Masked
    refusal: Refusal
    checks: Checks

    @property
    def table(self) -> pd.DataFrame:
        """Each measurement by sex."""
        return self.result["table"].to_frame()

    @property
    def pain(self) -> pd.DataFrame:
        """Age by chest pain and sex."""
        return self.result["pain"].to_frame()

    @property
    def ages(self) -> HistogramResult:
        """The histogram of age."""
        return cast(HistogramResult, self.result["ages"])

    @property
    def bins(self) -> list[int | None]:
        """The histogram's counts, None where hidden."""
        return [None if pd.isna(count) else int(count) for count in self.ages.counts]

    @property
    def fit(self) -> GlmResult:
        """The logistic regression."""
        return cast(GlmResult, self.result["risk"])

    @property
    def fewest(self) -> int:
        """m: the fewest partners in a sum."""
        return self.result.study.protections.fewest(len(self.trust.partners))

    @property
    def persons(self) -> int:
        """k: the smallest group."""
        return self.result.study.protections.persons

    @property
    def largest_difference(self) -> float:
        """Between the study's figures and the pooled rows'; relative where above 1."""
        return self.checks.largest("check_table", "check_ages", "check_risk") or 0.0


def tell_story(folder: Path) -> Story:
    """Run it all; the data are written into `folder`.  Raises: OSError, DataTrustError."""
    cases = run_cases()
    written = write(folder)
    trust = dt.local(sources=written.sources(), dataset=written.dataset, charter=CHARTER)
    study = trust.study(TITLE, purpose=PURPOSE, cohort=COHORT, analyses=analyses())
    decisions = study.check()
    result = study.run()
    traffic = [_traffic(name, written.rows[name], sent) for name, sent in sorted(trust.exchanged.items())]
    uploads = [words for each in trust.uploads for words in each.values()]
    masked = Masked(sum(map(len, uploads)), randomness(uploads))
    story = Story(cases, written, trust, decisions, result, traffic, masked, _refusal(trust), Checks())
    _check(story)
    return story


def analyses() -> dict[str, Any]:
    """What is asked; `program.py` prints the same."""
    return {
        "table": dt.Describe(list(COLUMNS), by=["sex"]),
        "pain": dt.Describe(["age"], by=["chest_pain", "sex"]),
        "ages": dt.Histogram("age", edges=list(EDGES)),
        "risk": dt.Glm(FORMULA, family="binomial"),
    }


def _traffic(name: str, rows: int, sent: list[Any]) -> Traffic:
    sums = [message for message in sent if message.kind == "upload"]
    return Traffic(name, rows, len(sent), len(sums), sum(message.bytes for message in sent))


def _refusal(trust: LocalTrust) -> Refusal:
    study = trust.study(f"{TITLE}: women", purpose=PURPOSE, cohort=WOMEN, analyses=analyses())
    try:
        study.run()
    except dt.Refused as refused:
        kinds = [message.kind for sent in trust.exchanged.values() for message in sent]
        return Refusal(refused, kinds.count("refusal"), kinds.count("upload"))
    nothing = dt.Refused("", "the study of women alone was not refused")
    return Refusal(nothing, 0, 0)


# ---- compared with the pooled rows


def _check(story: Story) -> None:
    for case, expected in zip(story.cases, EXPECTED, strict=True):
        _check_case(story.checks, case, expected)
    frame = pooled.pool(story.written.files)
    cohort = frame[frame["age"] >= 40]
    _check_tables(story, cohort)
    _check_ages(story, cohort)
    _check_risk(story, cohort)
    story.checks.holds("check_masked", "all uploads", story.masked.pvalue > 1e-6)
    refusal = story.refusal
    expected = refusal.refused.rule == REFUSED_BY and refusal.refusing == 2 and refusal.sums == 0
    story.checks.holds("check_refused", REFUSED_BY, expected)


def _check_case(checks: Checks, case: Case, expected: float | None) -> None:
    if expected is None or case.local is None:
        checks.holds("check_seed", f"{case.name}, from averages", case.local is None and expected is None)
    else:
        checks.holds("check_seed", f"{case.name}, from averages", round(case.local, 4) == expected)
    checks.near("check_seed", f"{case.name}, federated", case.federated, 1.0, 1e-12)
    checks.holds("check_research", case.name, case.refused_by == "persons")


def _check_tables(story: Story, cohort: pd.DataFrame) -> None:
    for sex in SEXES:
        expected = pooled.describe(cohort, list(COLUMNS), "sex", sex)
        _compare(story, f"sex {sex}", story.table.loc[[sex]], expected)
        for pain in PAINS:
            group = cohort[cohort["chest_pain"] == pain]
            shown = story.pain[story.pain.index.isin([pain], level="chest_pain")]
            shown = shown[shown.index.isin([sex], level="sex")]
            _compare(story, f"{pain}, {sex}", shown, pooled.describe(group, ["age"], "sex", sex))


def _compare(story: Story, name: str, got: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Each shown figure of a group; a hidden one is no figure, but a small group must be hidden."""
    got = got.droplevel([level for level in got.index.names if level != "statistic"])
    small = expected.loc["count"].max() < story.persons
    if small:
        story.checks.holds("check_hidden", name, bool(got.isna().all(axis=None)))
    for column in expected.columns:
        for statistic in expected.index:
            value = got.loc[statistic, column]
            if not pd.isna(value):
                label = f"{name}: {statistic} of {column}"
                story.checks.near("check_table", label, float(value), float(expected.loc[statistic, column]))


def _check_ages(story: Story, cohort: pd.DataFrame) -> None:
    counts, edges = np.histogram(cohort["age"], EDGES)
    for low, expected, got in zip(edges, counts, story.bins, strict=False):
        name = f"age from {low:g}"
        if got is not None:
            story.checks.near("check_ages", name, got, float(expected))
        if expected < story.persons:
            story.checks.holds("check_hidden", name, got is None)


def _check_risk(story: Story, cohort: pd.DataFrame) -> None:
    fit, expected = story.fit, pooled.logistic(cohort)
    story.checks.near("check_risk", "records", fit.nobs, expected.records)
    for at, name in enumerate(COEFFICIENTS):
        story.checks.near("check_risk", f"coefficient of {name}", fit.params[name], expected.params[at])
        story.checks.near("check_risk", f"standard error of {name}", fit.bse[name], expected.bse[at])
        story.checks.near("check_risk", f"p-value of {name}", fit.pvalues[name], expected.pvalues[at])
