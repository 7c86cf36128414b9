"""Brackets of quantiles hold R's and numpy's quantile, and enough persons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datatrust as dt
from tests.trust.analyses.conftest import PURPOSE, ask_made, made, split
from trust.errors import SourceInvalid, StudyInvalid

COLUMNS = [
    ("uci_heart", ["age", "trestbps", "chol", "thalach", "oldpeak"], ""),
    ("uci_heart", ["chol_positive"], "chol > 0"),
    ("randhie", ["mdvis", "disea", "lncoins"], ""),
    ("datashield_cnsim", ["LAB_TRIG", "LAB_GLUC_ADJUSTED", "PM_BMI_CONTINUOUS"], ""),
]
UNIT = made("name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}")


@pytest.mark.parametrize(("data", "cases", "cohort"), COLUMNS, ids=["heart", "heart-chol", "randhie", "cnsim"])
def test_equals_r(ask_of: Any, oracle: Any, data: str, cases: list[str], cohort: str) -> None:
    r = [oracle(data).cases[f"describe_{case}"]["pooled"] for case in cases]
    columns = [case.removesuffix("_positive") for case in cases]
    probabilities = r[0]["quantile_probs"]
    theirs = np.array([each["quantiles_type7"] for each in r]).T
    sandbox = ask_of(data, dt.Quantiles(columns, probabilities), cohort)
    npt.assert_allclose(sandbox.to_frame(), theirs, rtol=1e-9, atol=1e-10)
    assert list(sandbox.to_frame().columns) == columns
    assert list(sandbox.to_frame().index) == probabilities
    assert list(sandbox.count) == [each["n"] for each in r]
    research = ask_of(data, dt.Quantiles(columns, probabilities), cohort, charter="research")
    for result in (sandbox, research):
        assert (result.values["lower"] <= theirs).all()
        assert (theirs <= result.values["upper"]).all()
        assert ((result.values["lower"] <= result.to_frame()) & (result.to_frame() <= result.values["upper"])).all(
            axis=None
        )
        assert result.provenance["sums"] <= 60
    pooled = oracle(data).pooled.query(cohort) if cohort else oracle(data).pooled
    npt.assert_allclose(sandbox.to_frame(), pooled[columns].quantile(probabilities), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_bracket_holds_persons_and_partners_enough(ask_of: Any, heart: Any) -> None:
    probabilities = np.linspace(0, 1, 21)
    pooled = heart.pooled
    for column in ("age", "trestbps", "chol", "thalach", "oldpeak"):
        ours = ask_of("uci_heart", dt.Quantiles([column], probabilities), charter="research")
        for q in probabilities:
            low, high = ours.bracket(q)
            inside = pooled[(pooled[column] >= low) & (pooled[column] <= high)]
            assert len(inside) >= 11, (column, q)
            assert inside.site.nunique() >= 3, (column, q)
            assert low <= pooled[column].quantile(q) <= high
            assert low <= ours.quantile(q) <= high


def test_integers_are_found_exactly(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Quantiles("age", [0, 0.25, 0.5, 0.75, 1]))
    assert [ours.quantile(q) for q in (0, 0.25, 0.5, 0.75, 1)] == [28, 47, 54, 60, 77]
    assert ours.bracket(0.5) == (54, 54)
    assert ours.provenance["sums"] == 1
    two = ask_of("uci_heart", dt.Quantiles("exang", [0.5, 1]))
    assert (two.quantile(0.5), two.quantile(1)) == (0, 1)


def test_one_column_or_several(ask_of: Any) -> None:
    one = ask_of("uci_heart", dt.Quantiles("age", 0.5))
    assert one.quantile(0.5) == 54.0
    assert one.nobs == 920
    several = ask_of("uci_heart", dt.Quantiles(["age", "chol"], [0.5, 0.1 + 0.2]))
    assert several.quantile(0.3).index.tolist() == ["age", "chol"]
    assert several.bracket(0.5).loc["age", "upper"] == 54.0
    assert several.plot().get_xlabel() == "age (a)"
    with pytest.raises(StudyInvalid, match="not asked"):
        one.quantile(0.25)


def values(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    made_up = {
        "even": lambda: rng.random(n),
        "heaps": lambda: rng.integers(0, 4, n) / 4,
        "one": lambda: np.full(n, 0.3),
        "tail": lambda: np.append(rng.random(n - 1) * 1e-3, 1.0),
        "two": lambda: np.where(rng.random(n) < 0.5, 0.1, 0.9),
        "tiny": lambda: 0.5 + rng.random(n) * 1e-12,
    }
    return made_up[kind]()


@pytest.mark.slow
@settings(max_examples=12)
@given(
    kind=st.sampled_from(["even", "heaps", "one", "tail", "two", "tiny"]),
    n=st.integers(44, 300),
    seed=st.integers(0, 10_000),
    q=st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True),
)
def test_any_values(kind: str, n: int, seed: int, q: list[float]) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": values(kind, rng, n)})
    frames = split(frame, 4)
    ours = ask_made(UNIT, frames, dt.Quantiles("x", q))
    for each in q:
        low, high = ours.bracket(each)
        held = [int(((f.x >= low) & (f.x <= high)).sum()) for f in frames.values()]
        assert sum(held) >= 11
        assert sum(n > 0 for n in held) >= 3
        assert low - 1e-15 <= np.quantile(frame.x, each) <= high + 1e-15
    exact = ask_made(UNIT, frames, dt.Quantiles("x", q), "sandbox")
    npt.assert_allclose(exact.to_frame()["x"], np.quantile(frame.x, q), rtol=0, atol=1e-12)


def test_an_extreme_does_not_come_closer(rng: np.random.Generator) -> None:
    """One person at the maximum: the bracket of q = 1 holds eleven."""
    x = np.append(rng.random(400) * 0.5, 0.987654321)
    ours = ask_made(UNIT, split(pd.DataFrame({"x": x})), dt.Quantiles("x", [0, 1]))
    low, high = ours.bracket(1)
    assert low <= 0.5
    assert high == 1.0
    assert (x >= low).sum() >= 11
    assert (x <= ours.bracket(0)[1]).sum() >= 11


def test_a_bracket_of_one_partner_is_not_published() -> None:
    """Everyone above 0.6 is at one partner."""
    frames = split(pd.DataFrame({"x": np.linspace(0, 0.5, 200)}), 3)
    frames["p0"] = pd.DataFrame({"x": np.linspace(0.6, 1.0, 300)})
    ours = ask_made(UNIT, frames, dt.Quantiles("x", [0.9]))
    low, high = ours.bracket(0.9)
    assert all(((f.x >= low) & (f.x <= high)).any() for f in frames.values())


def test_persons_and_not_rows_are_judged() -> None:
    dataset = made(
        "name: id, logicalType: string\nname: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}",
        "id",
        30,
    )
    rows = [(str(i), (i + 0.5) / 60) for i in range(60) for _ in range(30)]
    frames = {f"p{p}": pd.DataFrame(rows, columns=["id", "x"]) for p in range(4)}
    ours = ask_made(dataset, frames, dt.Quantiles("x", [0.1, 0.5]))
    pooled = pd.concat([f.assign(id=f.id + n) for n, f in frames.items()])
    for q in (0.1, 0.5):
        low, high = ours.bracket(q)
        assert pooled[(pooled.x >= low) & (pooled.x <= high)].id.nunique() >= 11
        assert low <= pooled.x.quantile(q) <= high
    assert ours.nobs == 4 * 1800


@pytest.mark.parametrize(
    ("columns", "q", "words"),
    [
        ("sex", 0.5, "not a number"),
        (["age", "age"], 0.5, "twice"),
        ("age", [0.5, 0.5], "once"),
        ("age", 1.5, "less than or equal to 1"),
        ("age", [], "at least 1"),
        ([], 0.5, "at least 1"),
        ("w", 0.5, "bounds"),
    ],
)
def test_what_cannot_be_asked(oracle: Any, heart_trust: Any, columns: Any, q: Any, words: str) -> None:
    trust = heart_trust()
    if columns == "w":
        trust = dt.local({f"p{i}": pd.DataFrame({"w": [1.0]}) for i in range(3)}, made("name: w, logicalType: number"))
    with pytest.raises(StudyInvalid, match=words):
        trust.study("t", purpose=PURPOSE, analyses={"a": dt.Quantiles(columns, q)})


def test_a_derived_column_out_of_its_bounds_is_refused() -> None:
    dataset = made(
        "name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}\n"
        "name: y, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}, transformLogic: 2 * x"
    )
    with pytest.raises(SourceInvalid, match="bounds"):
        ask_made(dataset, split(pd.DataFrame({"x": np.linspace(0, 1, 100)})), dt.Quantiles("y", 0.5))
