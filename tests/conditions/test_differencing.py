"""Condition: differencing.  Two cohorts that differ by a few persons are not both answered.

S minus one leaves out the only woman whose x is 87, whom somebody may know to be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import K, dataset, rows, study, trust
from trust.decision import Decision

S, S_MINUS_ONE = "x < 90", "x < 90 and not (x = 87 and sex = 'F')"
SECRET = 54.321
PROPERTIES = """
      - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: z, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: sex, logicalType: string, enum: [{value: F}, {value: M}]}
"""


def people() -> dict[str, pd.DataFrame]:
    frames = {name: rows(60, seed)[["id", "x", "z", "sex"]] for seed, name in enumerate("abc", 2)}
    for frame in frames.values():
        frame["x"] = (frame["x"] * 0.9).round(3)
    frames["a"].loc[0, ["x", "z", "sex"]] = [87.0, SECRET, "F"]
    return frames


def asked(of: Any, cohort: str, column: str = "z") -> float:
    result = study(of, dt.Describe([column]), cohort=cohort).run()
    return float(result["a"].to_frame()[column]["sum"])


@pytest.mark.parametrize("order", [(S, S_MINUS_ONE), (S_MINUS_ONE, S)], ids=["S first", "S minus one first"])
def test_s_and_s_minus_one_are_not_both_answered(order: tuple[str, str]) -> None:
    of = trust(people())
    assert rule_of(lambda: asked(of, order[0])) == "answered"
    with watched() as wire:
        assert rule_of(lambda: asked(of, order[1])) != "answered"
    assert wire.sent("a") == ["refusal"]
    assert wire.uploads() == []


def test_a_partner_that_refuses_is_not_told_of_by_the_others_either() -> None:
    """Of four, three would still answer: the first total less the second would be the fourth partner's own."""
    of = trust(people() | {"d": rows(60, 9)})
    asked(of, S)
    with watched() as wire:
        assert rule_of(lambda: asked(of, S_MINUS_ONE)) == "differencing"
    assert wire.sent("a") == ["refusal"]
    assert wire.uploads() == []


def test_without_the_rule_the_two_sums_tell_her_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    monkeypatch.setattr(
        "nodes.study.answered_cohorts.differencing", lambda *_: Decision("differencing", True, "switched off")
    )
    of = trust(people())
    assert asked(of, S) - asked(of, S_MINUS_ONE) == pytest.approx(SECRET, abs=1e-6)


def test_the_same_persons_again_are_answered_in_whatever_words() -> None:
    of = trust(people())
    first = asked(of, S)
    assert asked(of, f"({S}) or x > 95") == pytest.approx(first, rel=1e-12)


@pytest.mark.parametrize(("fewer", "rule"), [(K - 1, "refused"), (K, "answered")])
def test_a_cohort_may_differ_by_k_persons_at_each_partner_and_by_no_fewer(fewer: int, rule: str) -> None:
    frames = people()
    for frame in frames.values():
        frame.loc[frame.index[:fewer], "x"] = 89.5
    of = trust(frames)
    asked(of, S)
    found = rule_of(lambda: asked(of, "x < 89"))
    assert (found if found == "answered" else "refused") == rule


def test_a_study_of_other_columns_is_answered() -> None:
    """The positive control: what shares no column is not held against it."""
    of = trust(people())
    asked(of, S, "z")
    asked(of, S_MINUS_ONE, "x")


def test_a_person_who_comes_between_two_studies_is_not_told_of(tmp_path: Path) -> None:
    """Differencing over editions: a table that grows by one person does not answer of her."""
    frames = people()
    frames["a"].iloc[1:].to_csv(tmp_path / "a.csv", index=False)
    of = dt.local({**frames, "a": tmp_path / "a.csv"}, dataset(properties=PROPERTIES))
    before = asked(of, S)
    frames["a"].to_csv(tmp_path / "a.csv", index=False)
    assert asked(of, S) == pytest.approx(before, rel=1e-12)
