"""The demo's checks: each figure against the pooled rows, each refusal against the rule that should have spoken."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from datatrust.demo import pooled
from datatrust.demo.checks import Checks
from datatrust.demo.hospitals import EDGES, PAINS
from datatrust.demo.mended import Mended
from datatrust.demo.proof import Proof
from datatrust.demo.question import COLUMNS, SEXES
from datatrust.demo.seed import EXPECTED, SeedCase
from datatrust.demo.story import COEFFICIENTS, Answered, Story

__all__ = ["compare", "compare_answers", "compare_mended", "compare_proof"]

_WOMEN, _FORBIDDEN, _ATTACK = "organisations", ("no-permit", "floor/persons"), "differencing"


def compare(story: Story) -> None:
    """Fill in the story's checks."""
    cohort = story.cohort
    for case, expected_value in zip(story.cases, EXPECTED, strict=True):
        _case(story.checks, case, expected_value)
    compare_answers(story, cohort)
    story.checks.holds("check_masked", "all uploads", story.masked.pvalue > 1e-6)
    women = story.women
    is_refused = women.held and women.refused.rule == _WOMEN and len(women.by) == 2
    story.checks.holds("check_refused", _WOMEN, is_refused)
    compare_mended(story.checks, story.mended, story, cohort)
    _attack(story)
    compare_proof(story.checks, story.proof)


def compare_answers(story: Answered, cohort: pd.DataFrame) -> None:
    """The answered study against its pooled rows."""
    _tables(story, cohort)
    _ages(story, cohort)
    _risk(story, cohort)


def _case(checks: Checks, case: SeedCase, expected_value: float | None) -> None:
    if expected_value is None or case.local is None:
        checks.holds("check_seed", f"{case.name}, from averages", case.local is None and expected_value is None)
    else:
        checks.holds("check_seed", f"{case.name}, from averages", round(case.local, 4) == expected_value)
    checks.near("check_seed", f"{case.name}, federated", case.federated, 1.0, 1e-12)
    checks.holds("check_research", case.name, case.refused_by == "persons")


def _tables(story: Answered, cohort: pd.DataFrame) -> None:
    for sex in SEXES:
        expected_table = pooled.describe(cohort, list(COLUMNS), "sex", sex)
        _compare(story, "check_table", f"sex {sex}", story.table.loc[[sex]], expected_table)
        for pain in PAINS:
            group = cohort[cohort["chest_pain"] == pain]
            rows_shown = story.pain[story.pain.index.isin([pain], level="chest_pain")]
            rows_shown = rows_shown[rows_shown.index.isin([sex], level="sex")]
            _compare(story, "check_table", f"{pain}, {sex}", rows_shown, pooled.describe(group, ["age"], "sex", sex))


def _compare(story: Answered, group: str, name: str, got: pd.DataFrame, expected_table: pd.DataFrame) -> None:
    """Each shown figure of a table; a hidden one is not a figure, but a small group must be hidden."""
    got = got.droplevel([level for level in got.index.names if level != "statistic"])
    small = expected_table.loc["count"].max() < story.persons
    if small:
        story.checks.holds("check_hidden", name, bool(got.isna().all(axis=None)))
    for column in expected_table.columns:
        for statistic in expected_table.index:
            value = got.loc[statistic, column]
            if not pd.isna(value):
                label = f"{name}: {statistic} of {column}"
                story.checks.near(group, label, float(value), float(expected_table.loc[statistic, column]))


def _ages(story: Answered, cohort: pd.DataFrame) -> None:
    counts, edges = np.histogram(cohort["age"], EDGES)
    for low, expected_count, got in zip(edges, counts, story.bins, strict=False):
        name = f"age from {low:g}"
        if got is not None:
            story.checks.near("check_ages", name, got, float(expected_count))
        if expected_count < story.persons:
            story.checks.holds("check_hidden", name, got is None)


def _risk(story: Answered, cohort: pd.DataFrame) -> None:
    fit, expected_fit = story.fit, pooled.logistic(cohort)
    story.checks.near("check_risk", "records", fit.nobs, expected_fit.records)
    for index, name in enumerate(COEFFICIENTS):
        story.checks.near("check_risk", f"coefficient of {name}", fit.params[name], expected_fit.params[index])
        story.checks.near("check_risk", f"standard error of {name}", fit.bse[name], expected_fit.bse[index])
        story.checks.near("check_risk", f"p-value of {name}", fit.pvalues[name], expected_fit.pvalues[index])


def compare_mended(checks: Checks, mended: Mended, story: Answered, cohort: pd.DataFrame) -> None:
    """Refused by both rules before any hospital was asked, in the register, and answered with the proposed change."""
    checks.holds("check_forbidden", "refused", mended.refused.rule in _FORBIDDEN and mended.rules == _FORBIDDEN)
    checks.holds("check_forbidden", "study and refusal in the register", mended.kept == ("study", "refusal"))
    checks.holds("check_forbidden", "a change is proposed", bool(mended.change) and mended.explanation.complete)
    checks.holds("check_forbidden", "with the change it is answered", mended.result is not None)
    for level, value in ((True, 1.0), (False, 0.0)) if mended.result else ():
        expected_table = pooled.describe(cohort, ["age"], "smoker", value)
        rows_shown = mended.table[mended.table.index.isin([level], level="smoker")]
        _compare(story, "check_mended", f"smoker {level}", rows_shown, expected_table)


def _attack(story: Story) -> None:
    """Refused at the victim's hospital alone, in words that tell no number but k; answered, it would have told all."""
    attack, checks = story.attack, story.checks
    no, victim = attack.refusal.refused, attack.victim
    checks.holds("check_attack", "refused", attack.refusal.held and no.rule == _ATTACK)
    checks.holds("check_attack", "by the victim's hospital", attack.refusal.by == (victim.hospital,))
    numbers_told = set(re.findall(r"\d+", f"{no.text} {no.remedy}"))
    checks.holds("check_attack", "how many differ is not told", numbers_told == {str(story.persons)})
    checks.near("check_control", "one patient fewer", attack.difference[0], 1.0)
    checks.near("check_control", "the patient's value", attack.difference[1], victim.cholesterol)


def compare_proof(checks: Checks, proof: Proof) -> None:
    """The file is verified, the register agrees with its head, and one changed byte is found."""
    checks.holds("check_proof", "the released file", proof.verified.ok and proof.verified.pinned)
    checks.holds("check_proof", "the register", proof.register_ok)
    checks.holds("check_proof", "the changed file", proof.bytes_changed == 1 and not proof.verified_changed.ok)
