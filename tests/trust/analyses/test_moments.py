"""Describe equals R and pandas on the concatenated rows, pooled and by group, and hides what is small."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from scipy import stats

import datatrust as dt
from tests.trust.analyses.conftest import PURPOSE, ask_made, made, split
from trust.errors import FormulaInvalid, StudyInvalid

SETS = {
    "uci_heart": ["age", "trestbps", "chol", "thalach", "oldpeak"],
    "randhie": ["mdvis", "disea", "lncoins"],
    "datashield_cnsim": ["LAB_TRIG", "LAB_GLUC_ADJUSTED", "PM_BMI_CONTINUOUS"],
}
NAMES = {
    "n": "count",
    "missing": "missing",
    "sum": "sum",
    "mean": "mean",
    "var": "var",
    "sd": "std",
    "skewness_g1": "skewness",
    "excess_kurtosis_g2": "kurtosis",
}


def near(ours: pd.Series, r: dict[str, Any]) -> None:
    """R's numbers; skewness and kurtosis near 0 are compared as what they are, numbers of order 1."""
    expected = np.array([np.nan if r[name] is None else r[name] for name in NAMES], dtype=float)
    npt.assert_allclose(ours[list(NAMES.values())].to_numpy(float, na_value=np.nan), expected, rtol=1e-9, atol=1e-9)
    npt.assert_allclose(float(ours["mean"]), r["mean"], rtol=1e-12)
    npt.assert_allclose(float(ours["std"]) / np.sqrt(float(ours["count"])), r["se_mean"], rtol=1e-9)


@pytest.mark.parametrize("data", list(SETS))
def test_equals_r(ask_of: Any, oracle: Any, data: str) -> None:
    ours = ask_of(data, dt.Describe(SETS[data]))
    for column in SETS[data]:
        near(ours.to_frame()[column], oracle(data).cases[f"describe_{column}"]["pooled"])
    assert ours.nobs == len(oracle(data).pooled)
    assert not ours.suppressed.any(axis=None)


@pytest.mark.parametrize("data", list(SETS))
def test_by_partner_equals_r(ask_of: Any, oracle: Any, data: str) -> None:
    frame = ask_of(data, dt.Describe(SETS[data], by=["partner"])).to_frame()
    for column in SETS[data]:
        r = oracle(data).cases[f"describe_{column}"]
        for site in oracle(data).frames:
            near(frame.loc[site.lower().replace("_", "-"), column], r[site])
    with pytest.raises(dt.Refused) as refused:
        ask_of(data, dt.Describe(SETS[data], by=["partner"]), charter="research")
    assert refused.value.rule == "organisations"


def test_a_cohort_equals_r(ask_of: Any, heart: Any) -> None:
    """Zero stands for not measured: the partner with zeros alone takes no part."""
    r = heart.cases["describe_chol_positive"]
    ours = ask_of("uci_heart", dt.Describe(["chol"]), cohort="chol > 0")
    near(ours.to_frame()["chol"], r["pooled"])
    assert "switzerland" in ours.provenance["absent"]
    by = ask_of("uci_heart", dt.Describe(["chol"], by=["partner"]), cohort="chol > 0").to_frame()
    for site in ("cleveland", "hungarian", "va_long_beach"):
        near(by.loc[site.replace("_", "-"), "chol"], r[site])


def test_weights_equal_r(ask_of: Any, oracle: Any) -> None:
    r = oracle("randhie").cases["weighted_mean_mdvis"]
    ours = ask_of("randhie", dt.Describe(["mdvis"], weights="1 + hlthg + 2*hlthf + 3*hlthp")).to_frame()["mdvis"]
    npt.assert_allclose(ours["weights"], r["sum_weights"], rtol=1e-12)
    npt.assert_allclose(ours["mean"], r["weighted_mean"], rtol=1e-9)
    npt.assert_allclose(ours["var"], r["weighted_var_frequency"], rtol=1e-9)


def test_equals_pandas_and_scipy(ask_of: Any, heart: Any) -> None:
    columns = ["age", "chol", "oldpeak"]
    ours = ask_of("uci_heart", dt.Describe(columns), charter="research").to_frame().astype(float)
    pooled = heart.pooled[columns]
    npt.assert_allclose(ours.loc[["count", "mean", "std"]], pooled.describe().loc[["count", "mean", "std"]], rtol=1e-9)
    npt.assert_allclose(ours.loc["var"], pooled.var(), rtol=1e-9)
    npt.assert_allclose(ours.loc["missing"], pooled.isna().sum())
    for column in columns:
        npt.assert_allclose(ours.loc["skewness", column], stats.skew(pooled[column].dropna()), rtol=1e-9)
        npt.assert_allclose(ours.loc["kurtosis", column], stats.kurtosis(pooled[column].dropna()), rtol=1e-9)
    assert not {"min", "max"} & set(ours.index)


def test_groups_of_two_columns_equal_pandas(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Describe(["age", "chol"], by=["sex", "cp"]))
    frame = ours.to_frame()
    pooled = heart.pooled.assign(sex=lambda d: d.sex.map({0: "F", 1: "M"}))
    groups = pooled.groupby(["sex", "cp"])[["age", "chol"]]
    assert frame.index.names == ["sex", "cp", "statistic"]
    for statistic in ("count", "mean", "std", "var", "sum"):
        theirs = groups.agg(statistic)
        npt.assert_allclose(frame.xs(statistic, level="statistic").astype(float), theirs, rtol=1e-9)
    assert ours.plot().get_xlabel().startswith("age, mean")
    assert len(str(ours).splitlines()) <= 25


def test_small_groups_are_hidden(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Describe(["age"], by=["sex", "cp"]), charter="research")
    counts = heart.pooled.groupby(["sex", "cp"]).size().to_numpy()
    shown = ours.to_frame().xs("count", level="statistic")["age"]
    assert shown.isna().to_numpy()[counts < 11].all()
    known = shown.notna().to_numpy()
    assert (shown.to_numpy()[known] == counts[known]).all()
    means = ours.to_frame().xs("mean", level="statistic")["age"]
    assert means.isna().to_numpy()[~known].all()
    values = ours.to_dict()["values"]
    assert "persons" not in values
    hidden = np.array(values["hidden_groups"])
    assert all(count is None for count in np.array(values["count"], dtype=object)[hidden].ravel())
    assert json.dumps(values)
    assert "hidden" in ours._repr_html_()


def test_nothing_cancels(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"x": 1e9 + rng.normal(size=500)})
    dataset = made("name: x, logicalType: number")
    ours = ask_made(dataset, split(frame), dt.Describe(["x"])).to_frame()["x"].astype(float)
    near_zero = frame.x - 1e9
    npt.assert_allclose(ours[["std", "var"]], [near_zero.std(), near_zero.var()], rtol=1e-9)
    npt.assert_allclose(ours["skewness"], stats.skew(near_zero), rtol=1e-5)
    flat = ask_made(dataset, split(pd.DataFrame({"x": np.full(100, 0.1)})), dt.Describe(["x"])).to_frame()["x"]
    assert float(flat["std"]) == pytest.approx(0, abs=1e-12)
    assert pd.isna(flat["skewness"])


def test_persons_and_not_rows_are_judged() -> None:
    columns = "name: id, logicalType: string\nname: x, logicalType: number\nname: g, logicalType: boolean"
    dataset = made(columns, "id", 20)
    frame = pd.DataFrame({"id": np.repeat(np.arange(60), 20).astype(str), "x": np.arange(1200.0)})
    frames = {f"p{p}": frame[frame.id.astype(int) % 4 == p].assign(g=lambda d: d.id.astype(int) < 8) for p in range(4)}
    assert ask_made(dataset, frames, dt.Describe(["x"], by=["g"])).suppressed.all(axis=None)
    assert not ask_made(dataset, frames, dt.Describe(["x"])).suppressed.any(axis=None)


def test_a_row_of_weight_zero_is_nobody(rng: np.random.Generator) -> None:
    """In the second group one person alone has a weight: its value is not published as a mean."""
    dataset = made("name: x, logicalType: number\nname: g, logicalType: boolean\nname: w, logicalType: boolean")
    frame = pd.DataFrame({"x": rng.random(600), "g": rng.random(600) < 0.5})
    frame["w"] = ~frame.g
    frame.loc[frame.index[frame.g][0], "w"] = True
    ours = ask_made(dataset, split(frame), dt.Describe(["x"], by=["g"], weights="w")).to_frame()["x"]
    assert ours[True][["mean", "sum", "weights"]].isna().all()
    assert ours[True]["count"] == frame.g.sum()


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        (dt.Describe(["age", "age"]), StudyInvalid, "twice"),
        (dt.Describe([]), StudyInvalid, "at least 1"),
        (dt.Describe(["sex"]), StudyInvalid, "not a number"),
        (dt.Describe(["agee"]), StudyInvalid, "'age', perhaps"),
        (dt.Describe(["age"], by=["chol"]), StudyInvalid, "not a category"),
        (dt.Describe(["age"], by=["sex", "sex"]), StudyInvalid, "twice"),
        (dt.Describe(["age"], weights="oldpeak"), StudyInvalid, "negative"),
        (dt.Describe(["age"], weights="log(chol)"), FormulaInvalid, "above 0"),
    ],
)
def test_what_cannot_be_asked(heart_trust: Any, question: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        heart_trust().study("t", purpose=PURPOSE, analyses={"a": question})
