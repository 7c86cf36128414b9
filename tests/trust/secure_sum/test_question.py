"""A question's bytes: plan and state of all analyses, and the digest of each alone."""

from __future__ import annotations

import numpy as np
import pytest

from trust.canonical import canonical
from trust.secure_sum.encoding import Layout
from trust.secure_sum.errors import StateNotDerived
from trust.secure_sum.frames import question_digest, state_bytes
from trust.secure_sum.question import AnalysisAsk, Question

LAYOUT = Layout("u64", 1)
PLANS = {"risk": {"sum": "step", "at": 1}, "a\u00e9": {"sum": "moments"}, "table": {"sum": "counts"}}
VALUES = {"b": np.array([1.0, 2.0]), "a": np.array(3)}


def parts() -> list[AnalysisAsk]:
    return [
        AnalysisAsk(
            name,
            plan["sum"],
            canonical(plan),
            "derived" if name == "risk" else "none",
            VALUES if name == "risk" else {},
        )
        for name, plan in PLANS.items()
    ]


def test_the_plan_is_the_canonical_json_of_all_plans_whatever_their_order() -> None:
    question = Question.of(0, parts(), LAYOUT)
    assert question.plan == canonical(PLANS)
    assert question == Question.of(0, parts()[::-1], LAYOUT)
    assert question.state == state_bytes(VALUES)
    assert question.question_digest == question_digest(canonical(PLANS), state_bytes(VALUES))
    assert question.names == "a\u00e9/moments, risk/step, table/counts"


def test_the_digest_of_one_analysis_does_not_depend_on_the_others() -> None:
    alone = Question.of(0, parts()[:1], LAYOUT)
    together = Question.of(5, parts(), LAYOUT)
    assert alone.parts[0].digest in {part.digest for part in together.parts}
    assert len({part.digest for part in together.parts}) == 3


def test_a_question_names_each_analysis_once_and_one_at_least() -> None:
    with pytest.raises(StateNotDerived):
        Question.of(0, [], LAYOUT)
    with pytest.raises(StateNotDerived):
        Question.of(0, [AnalysisAsk("a", "s", b"1"), AnalysisAsk("a", "t", b"2")], LAYOUT)
