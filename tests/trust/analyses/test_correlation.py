"""Correlation equals R and pandas on the concatenated rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest

import datatrust as dt
from tests.trust.analyses.conftest import PURPOSE, ask_made, made, split
from trust.errors import StudyInvalid

DATA = ["uci_heart", "randhie", "datashield_cnsim"]


@pytest.mark.parametrize("data", DATA)
def test_complete_cases_equal_r(ask_of: Any, oracle: Any, data: str) -> None:
    r = oracle(data).cases["correlation"]
    ours = ask_of(data, dt.Correlation(r["columns"]))
    npt.assert_allclose(ours.to_frame(), r["pearson_complete"], rtol=1e-9)
    npt.assert_allclose(ours.covariance, r["covariance_complete"], rtol=1e-9)
    assert ours.nobs == r["n_complete"]
    theirs = oracle(data).pooled[r["columns"]].dropna()
    npt.assert_allclose(ours.to_frame(), theirs.corr(), rtol=1e-9)
    npt.assert_allclose(ours.covariance, theirs.cov(), rtol=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_pairs_equal_r(ask_of: Any, oracle: Any, data: str) -> None:
    r = oracle(data).cases["correlation"]
    ours = ask_of(data, dt.Correlation(r["columns"], missing="pairwise"))
    npt.assert_allclose(ours.to_frame(), r["pearson_pairwise"], rtol=1e-9)
    npt.assert_array_equal(ours.counts, r["n_pairwise"])
    theirs = oracle(data).pooled[r["columns"]]
    npt.assert_allclose(ours.to_frame(), theirs.corr(), rtol=1e-9)
    npt.assert_allclose(ours.covariance, theirs.cov(), rtol=1e-9)
    assert ours.nobs == theirs.notna().any(axis=1).sum()


def test_nothing_cancels(rng: np.random.Generator) -> None:
    """Values far from 0, and a pair of columns whose common rows are far from the columns' means."""
    frame = pd.DataFrame({"x": 1e9 + rng.normal(size=600), "y": rng.normal(size=600)})
    frame["y"] += frame.x - 1e9
    frame.loc[:299, "y"] = np.nan
    frame.loc[300:, "x"] += 100
    dataset = made("name: x, logicalType: number\nname: y, logicalType: number")
    ours = ask_made(dataset, split(frame), dt.Correlation(["x", "y"], "pairwise"))
    both = frame.dropna().to_numpy(np.longdouble)
    centred = both - both.mean(axis=0)
    exact = (centred[:, 0] @ centred[:, 1]) / np.sqrt((centred**2).sum(axis=0).prod())
    npt.assert_allclose(ours.to_frame().loc["x", "y"], float(exact), rtol=1e-9)


def test_a_constant_column_has_no_correlation() -> None:
    frame = pd.DataFrame({"x": np.full(100, 0.1), "y": np.arange(100.0)})
    dataset = made("name: x, logicalType: number\nname: y, logicalType: number")
    ours = ask_made(dataset, split(frame), dt.Correlation(["x", "y"]))
    assert ours.to_frame().loc["x"].isna().all()
    assert ours.to_frame().loc["y", "y"] == 1.0
    assert "undefined" in ours._repr_html_()
    npt.assert_allclose(ours.covariance.loc["x"], 0, atol=1e-12)


def test_booleans_are_0_and_1(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Correlation(["age", "exang", "disease"], "pairwise"), charter="research")
    theirs = heart.pooled.assign(disease=lambda d: (d.num > 0).astype(float))[["age", "exang", "disease"]]
    npt.assert_allclose(ours.to_frame(), theirs.corr(), rtol=1e-9)
    assert ours.plot().get_title() == ""


@pytest.mark.parametrize("missing", ["complete", "pairwise"])
@pytest.mark.parametrize(
    "kind", ["logicalType: boolean", "logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 2}"]
)
def test_a_small_group_in_a_pair_refuses(missing: Any, kind: str, rng: np.random.Generator) -> None:
    """5 persons have both; a covariance of the two columns would tell."""
    low = 0 if "boolean" in kind else 1
    first, second = (rng.permutation(200) < 60).astype(int), np.zeros(200, dtype=int)
    second[np.flatnonzero(first == 0)[:60]] = 1
    second[np.flatnonzero(first == 1)[:5]] = 1
    frame = pd.DataFrame({"a": first + low, "b": second + low, "x": rng.random(200)})
    dataset = made(f"name: a, {kind}\nname: b, {kind}\nname: x, logicalType: number")
    assert ask_made(dataset, split(frame), dt.Correlation(["a", "x"], missing)).nobs == 200
    with pytest.raises(dt.Refused) as refused:
        ask_made(dataset, split(frame), dt.Correlation(["a", "b"], missing))
    assert refused.value.rule in ("persons-in-group", "organisations")


def test_a_pair_of_too_few_refuses(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"x": rng.random(100), "y": rng.random(100)})
    frame.loc[:45, "x"], frame.loc[54:, "y"] = np.nan, np.nan
    dataset = made("name: x, logicalType: number\nname: y, logicalType: number")
    for missing in ("complete", "pairwise"):
        with pytest.raises(dt.Refused) as refused:
            ask_made(dataset, split(frame), dt.Correlation(["x", "y"], missing))
        assert refused.value.rule == "persons-in-group"


def test_persons_and_not_rows_are_judged(rng: np.random.Generator) -> None:
    columns = "name: id, logicalType: string\nname: x, logicalType: number\nname: b, logicalType: boolean"
    dataset = made(columns, "id", 20)
    frame = pd.DataFrame({"id": np.repeat(np.arange(44), 20).astype(str), "x": rng.random(880)})
    frames = {f"p{p}": frame[frame.id.astype(int) % 4 == p].assign(b=lambda d: d.id.astype(int) < 8) for p in range(4)}
    with pytest.raises(dt.Refused) as refused:
        ask_made(dataset, frames, dt.Correlation(["x", "b"]))
    assert refused.value.rule == "persons-in-group"
    frames = {name: f.assign(b=f.id.astype(int) < 20) for name, f in frames.items()}
    ours = ask_made(dataset, frames, dt.Correlation(["x", "b"]))
    npt.assert_allclose(ours.to_frame(), pd.concat(frames)[["x", "b"]].astype(float).corr(), rtol=1e-9)


@pytest.mark.parametrize(
    ("columns", "missing", "words"),
    [
        (["age"], "complete", "at least 2"),
        (["age", "age"], "complete", "twice"),
        (["age", "sex"], "complete", "not a number"),
        (["age", "chol"], "listwise", "missing"),
        (["age", "partner"], "complete", "partner"),
    ],
)
def test_what_cannot_be_asked(heart_trust: Any, columns: list[str], missing: Any, words: str) -> None:
    with pytest.raises(StudyInvalid, match=words):
        heart_trust().study("t", purpose=PURPOSE, analyses={"a": dt.Correlation(columns, missing)})
