"""Whoever has the totals of an analysis can replay it: the same questions, the same result, as often as planned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest

import datatrust as dt
from tests.trust.analyses.conftest import made
from trust.analyses.base import Ask, Scope, fits
from trust.canonical import read_model
from trust.dataset.rows import Rows
from trust.errors import StudyInvalid
from trust.privacy.protections import Protections

DATASET = made(
    """
    name: x, logicalType: number, logicalTypeOptions: {minimum: -9, maximum: 9}
    name: y, logicalType: integer, logicalTypeOptions: {minimum: -1000000, maximum: 1000000}
    name: a, logicalType: boolean
    name: c, logicalType: boolean
    name: b, logicalType: integer, enum: [{value: 1}, {value: 2}, {value: 3}]
    name: id, logicalType: string
    """,
    "id",
    5,
)
QUESTIONS = [
    dt.Describe(["x", "y"], by=["a", "b"], weights="1 + a"),
    dt.Histogram("x", np.linspace(-9, 9, 19)),
    dt.Quantiles(["x", "y", "a"], [0, 0.1, 0.5, 1]),
    dt.Crosstab("a", "b", weights="1 + a"),
    dt.Correlation(["x", "y", "a"]),
    dt.Correlation(["x", "y", "a"], missing="pairwise"),
    dt.TTest("x", "a"),
    dt.TTest("a", "c"),
    dt.Anova("y", ["a", "b"], typ=3),
]


def partner_rows(rng: np.random.Generator, n: int, repeated: bool) -> Rows:
    x, y = rng.normal(size=n), rng.integers(-50, 50, n).astype(float)
    x[rng.random(n) < 0.2], y[rng.random(n) < 0.1] = np.nan, np.nan
    columns = {"x": x, "y": y, "a": rng.integers(-1, 2, n), "b": rng.integers(-1, 3, n), "c": rng.integers(0, 2, n)}
    return Rows(n, columns, rng.integers(0, n // 3, n) if repeated else None)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("question", QUESTIONS, ids=[f"{at}-{q.written}" for at, q in enumerate(QUESTIONS)])
def test_replayed(question: Any, repeated: bool, rng: np.random.Generator) -> None:
    scope = Scope(DATASET, ("p0", "p1", "p2", "p3"), Protections())
    analysis = question.resolve(DATASET)
    assert read_model(type(analysis), analysis.document(), StudyInvalid, "the analysis") == analysis
    planned = analysis.plan(scope)
    assert {name: s.document() for name, s in planned.items()} == {
        name: s.document() for name, s in analysis.plan(scope).items()
    }
    rows = [partner_rows(rng, 200, repeated) for _ in scope.partners]
    ready = [analysis.prepare(scope, each) for each in rows]
    asked: list[tuple[Ask, Any]] = []

    def answer(ask: Ask) -> Any:
        parts = [dict(analysis.local(scope, each, ask)) for each in ready]
        kept = {name: [part.pop(name) for part in parts] for name in planned[ask.sum].keeps}
        assert all(len(k) == len(parts) for k in kept.values())
        for part in parts:
            fits(planned[ask.sum].gives, part)
        fits(planned[ask.sum].takes, ask.values)
        total = {block.name: np.asarray(sum(part[block.name] for part in parts)) for block in planned[ask.sum].gives}
        fits(planned[ask.sum].gives, total)
        asked.append((ask, total))
        return total

    first = conduct(analysis.run(scope), answer)
    for name, each in planned.items():
        assert sum(ask.sum == name for ask, _ in asked) <= each.at_most
    assert sum(each.at_most for each in planned.values()) <= 60
    recorded = iter(list(asked))

    def replay(ask: Ask) -> Any:
        before, total = next(recorded)
        assert before.sum == ask.sum
        for name, value in ask.values.items():
            npt.assert_array_equal(value, before.values[name])
        return total

    second = conduct(analysis.run(scope), replay)
    assert next(recorded, None) is None
    assert set(first) == set(second)
    for name, value in first.items():
        assert isinstance(value, np.ndarray | np.generic)
        npt.assert_array_equal(value, second[name])


def conduct(run: Any, answer: Any) -> Any:
    """To the end, each question answered."""
    total = None
    while True:
        try:
            total = answer(run.send(total))
        except StopIteration as end:
            return end.value
