"""Histogram and Crosstab equal R, numpy, pandas and scipy on the concatenated rows, and hide what is small."""

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
from trust.errors import StudyInvalid

HISTOGRAMS = [
    ("uci_heart", "histogram_age", "age"),
    ("uci_heart", "histogram_thalach", "thalach"),
    ("randhie", "histogram_mdvis", "mdvis"),
]
CROSSTABS = [
    ("uci_heart", "crosstab_sex_disease", "sex", "disease"),
    ("uci_heart", "crosstab_cp_disease", "cp", "disease"),
    ("uci_heart", "crosstab_cp_num", "cp", "num"),
    ("datashield_cnsim", "crosstab_gender_bmi", "SEX", "PM_BMI_CATEGORICAL"),
]


@pytest.mark.parametrize(("data", "case", "column"), HISTOGRAMS, ids=[c[1] for c in HISTOGRAMS])
def test_histogram_equals_r_and_numpy(ask_of: Any, oracle: Any, data: str, case: str, column: str) -> None:
    r = oracle(data).cases[case]
    ours = ask_of(data, dt.Histogram(column, np.array(r["breaks"])))
    counts, edges = np.histogram(oracle(data).pooled[column].dropna(), r["breaks"])
    npt.assert_array_equal(ours.counts, r["counts_left_closed"])
    npt.assert_array_equal(ours.counts, counts)
    npt.assert_array_equal(ours.edges, edges)
    assert ours.nobs == counts.sum()
    assert not ours.suppressed.any()
    assert ours.to_frame()["count"].sum() == ours.nobs
    assert list(ours.to_frame().index.left) == list(edges[:-1])


def test_histogram_says_what_lies_outside(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Histogram("age", [30, 40, 55.5, 60]))
    age = heart.pooled.age
    npt.assert_array_equal(ours.counts, np.histogram(age, [30, 40, 55.5, 60])[0])
    assert ours.outside == ((age < 30) | (age > 60)).sum()
    assert ours.nobs == len(age) - ours.outside
    spanned = ask_of("uci_heart", dt.Histogram("age", [18, 50, 110]), charter="research")
    assert (spanned.outside, spanned.nobs) == (0, len(age))
    assert not spanned.suppressed.any()


def test_histogram_hides_small_bins(ask_of: Any, heart: Any) -> None:
    edges = list(range(20, 90, 10))
    ours = ask_of("uci_heart", dt.Histogram("age", edges), charter="research")
    counts = np.histogram(heart.pooled.age, edges)[0]
    npt.assert_array_equal(ours.counts[~ours.suppressed], counts[~ours.suppressed])
    assert ours.suppressed[counts < 11].all()
    assert pd.isna(ours.counts[0])
    assert ours.outside is pd.NA
    assert counts[ours.suppressed].sum() >= 11
    assert ours.to_dict()["values"]["counts"][0] is None
    assert "hidden" in ours._repr_html_()


def test_histogram_outside_cannot_be_worked_out(ask_of: Any, heart: Any) -> None:
    """4 persons are younger than 30: hidden, with a bin, and nobs does not tell them apart."""
    ours = ask_of("uci_heart", dt.Histogram("age", [30, 50, 110]), charter="research")
    assert ours.outside is pd.NA
    assert ours.suppressed.any()
    assert ours.nobs == len(heart.pooled)


@pytest.mark.parametrize("edges", [[1], [], [1, 1], [2, 1], [1, np.nan], [0, np.inf], ["a", "b"], 3, None])
def test_histogram_edges_that_are_none(heart_trust: Any, edges: Any) -> None:
    with pytest.raises(StudyInvalid, match="edges"):
        heart_trust().study("t", purpose=PURPOSE, analyses={"a": dt.Histogram("age", edges)})


@pytest.mark.parametrize(("data", "case", "rows", "columns"), CROSSTABS, ids=[c[1] for c in CROSSTABS])
def test_crosstab_equals_r_and_scipy(ask_of: Any, oracle: Any, data: str, case: str, rows: str, columns: str) -> None:
    r = oracle(data).cases[case]
    ours = ask_of(data, dt.Crosstab(rows, columns))
    npt.assert_array_equal(ours.to_frame(), r["counts"])
    assert ours.nobs == np.sum(r["counts"])
    npt.assert_allclose(ours.chi2, r["chisq"], rtol=1e-9)
    npt.assert_allclose(ours.pvalue, r["p"], rtol=1e-9)
    npt.assert_allclose(ours.expected, r["expected_counts"], rtol=1e-9)
    npt.assert_allclose(ours.cramers_v, r["cramers_v"], rtol=1e-9)
    assert ours.dof == r["df"]
    scipy = stats.chi2_contingency(np.array(r["counts"]), correction=False)
    npt.assert_allclose([ours.chi2, ours.pvalue, ours.dof], [scipy.statistic, scipy.pvalue, scipy.dof], rtol=1e-9)
    if "odds_ratio" in r:
        npt.assert_allclose(ours.odds_ratio, r["odds_ratio"], rtol=1e-9)
    else:
        with pytest.raises(StudyInvalid, match="2 by 2"):
            _ = ours.odds_ratio


def test_crosstab_equals_pandas(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Crosstab("cp", "disease"), cohort="age >= 50")
    pooled = heart.pooled[heart.pooled.age >= 50]
    theirs = pd.crosstab(pooled.cp, pooled.num > 0)
    frame = ours.to_frame()
    assert (frame == theirs.to_numpy()).all(axis=None)
    assert (frame.index.name, frame.columns.name) == ("cp", "disease")
    assert frame.loc[4, True] == theirs.loc[4, True]
    assert json.loads(json.dumps(ours.to_dict()))["values"]["dof"] == 3


def test_weighted_crosstab_equals_pandas(ask_of: Any, oracle: Any) -> None:
    ours = ask_of("randhie", dt.Crosstab("any", "idp_group", weights="1 + hlthg + 2*hlthf + 3*hlthp"))
    pooled = oracle("randhie").pooled
    w = 1 + pooled.hlthg + 2 * pooled.hlthf + 3 * pooled.hlthp
    theirs = pd.crosstab(pooled.mdvis > 0, pooled.idp > 0.5, values=w, aggfunc="sum")
    npt.assert_allclose(ours.to_frame().to_numpy(float), theirs.to_numpy(float), rtol=1e-12)
    assert ours.nobs == len(pooled)
    scipy = stats.chi2_contingency(theirs.to_numpy(float), correction=False)
    npt.assert_allclose(ours.chi2, scipy.statistic, rtol=1e-9)


def test_crosstab_by_partner(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Crosstab("partner", "sex"))
    pooled = heart.pooled
    npt.assert_array_equal(ours.to_frame(), pd.crosstab(pooled.site, pooled.sex))
    with pytest.raises(dt.Refused) as refused:
        ask_of("uci_heart", dt.Crosstab("partner", "sex"), charter="research")
    assert refused.value.rule == "organisations"


def test_statistics_of_a_table_with_hidden_cells_are_withheld(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Crosstab("cp", "num"), charter="research")
    pooled = heart.pooled
    counts = pd.crosstab(pooled.cp, pooled.num).to_numpy()
    frame, hidden = ours.to_frame(), ours.suppressed.to_numpy()
    assert hidden[counts < 11].all()
    assert frame.isna().to_numpy()[hidden].all()
    npt.assert_array_equal(frame.to_numpy()[~hidden], counts[~hidden])
    for name in ("chi2", "pvalue", "dof", "expected", "cramers_v", "odds_ratio"):
        with pytest.raises(dt.Refused) as refused:
            getattr(ours, name)
        assert refused.value.rule == "suppress-cells"
    released = ours.to_dict()["values"]
    assert not {"chi2", "persons", "partners"} & set(released)
    assert [[c is None for c in row] for row in released["counts"]] == hidden.tolist()


def test_a_cell_of_too_few_partners_is_hidden() -> None:
    dataset = made("name: a, logicalType: boolean\nname: b, logicalType: boolean")
    frame = pd.DataFrame({"a": [0, 0, 1, 1] * 30, "b": [0, 1] * 60})
    frames = {f"p{i}": frame for i in range(4)}
    frames["p0"] = frames["p1"] = frame[(frame.a == 0) | (frame.b == 0)]
    ours = ask_made(dataset, frames, dt.Crosstab("a", "b"))
    assert ours.suppressed.to_numpy().all()
    assert not ask_made(dataset, frames, dt.Crosstab("a", "b"), "sandbox").suppressed.to_numpy().any()


def test_persons_and_not_rows_are_judged() -> None:
    """Ten persons with 20 rows each are ten."""
    dataset = made(
        "name: id, logicalType: string\nname: a, logicalType: boolean\nname: x, logicalType: number", "id", 20
    )
    rows = [(f"{i}", i % 4 == 0, 1.0) for i in range(40) for _ in range(20)]
    frames = {f"p{p}": pd.DataFrame(rows, columns=["id", "a", "x"]) for p in range(3)}
    ours = ask_made(dataset, frames, dt.Histogram("x", [0, 2]))
    assert ours.nobs == 3 * 40 * 20
    some = {name: frame.assign(x=np.where(frame.id.astype(int) < 3, 3.0, 1.0)) for name, frame in frames.items()}
    ours = ask_made(dataset, some, dt.Histogram("x", [0, 2, 4]))
    assert ours.suppressed.all()
    assert ours.nobs == 3 * 40 * 20


def test_a_row_of_weight_zero_is_nobody(rng: np.random.Generator) -> None:
    dataset = made(
        "name: a, logicalType: boolean\nname: b, logicalType: boolean\n"
        "name: w, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 9}"
    )
    frame = pd.DataFrame({"a": rng.random(400) < 0.5, "b": rng.random(400) < 0.5, "w": 1.0})
    frame.loc[(frame.a & frame.b) & (np.arange(400) > 40), "w"] = 0.0
    ours = ask_made(dataset, split(frame), dt.Crosstab("a", "b", weights="w"))
    assert ours.suppressed.to_numpy()[1, 1]
    assert ours.nobs == 400


def test_levels_that_nobody_has_stay_and_do_not_count(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Crosstab("cp", "disease"), cohort="cp <> 2")
    pooled = heart.pooled[heart.pooled.cp != 2]
    scipy = stats.chi2_contingency(pd.crosstab(pooled.cp, pooled.num > 0), correction=False)
    npt.assert_allclose([ours.chi2, ours.pvalue, ours.dof], [scipy.statistic, scipy.pvalue, scipy.dof], rtol=1e-9)
    assert list(ours.to_frame().loc[2]) == [0, 0]
    alone = ask_of("uci_heart", dt.Crosstab("cp", "disease"), cohort="cp = 4")
    assert (alone.chi2, alone.pvalue, alone.dof) == (0.0, 1.0, 0)
    assert np.isnan(alone.cramers_v)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (dt.Crosstab("sex", "sex"), "twice"),
        (dt.Crosstab("sex", "age"), "not a category"),
        (dt.Crosstab("sexe", "cp"), "'sex', perhaps"),
        (dt.Crosstab("sex", "cp", weights="age - 50"), "negative"),
        (dt.Histogram("cp", [0, 1]), "not a number"),
        (dt.Histogram("partner", [0, 1]), "partner"),
    ],
)
def test_what_cannot_be_asked(heart_trust: Any, question: Any, words: str) -> None:
    with pytest.raises(StudyInvalid, match=words):
        heart_trust().study("t", purpose=PURPOSE, analyses={"a": question})


def test_too_few_over_all_refuses(rng: np.random.Generator) -> None:
    dataset = made("name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}")
    x = np.full(100, np.nan)
    x[:8] = 0.5
    with pytest.raises(dt.Refused) as refused:
        ask_made(dataset, split(pd.DataFrame({"x": x})), dt.Histogram("x", [0, 1]))
    assert refused.value.rule == "persons-in-group"


@pytest.mark.parametrize("charter", ["sandbox", "research"])
def test_drawn_and_printed(ask_of: Any, charter: str) -> None:
    for question in (dt.Histogram("age", range(20, 90, 10)), dt.Crosstab("cp", "num")):
        ours = ask_of("uci_heart", question, charter=charter)
        assert ours.plot().get_xlabel()
        assert "4 partners" in str(ours)
        assert len(str(ours).splitlines()) <= 25
        assert ours.provenance["sums"] == 1
