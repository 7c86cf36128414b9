"""TTest and Anova equal R, scipy and statsmodels on the concatenated rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

import datatrust as dt
from tests.trust.analyses.conftest import PURPOSE, ask_made, made, split
from trust.errors import AnalysisFailed, Collinear, StudyInvalid

TTESTS = [
    ("uci_heart", "ttest_thalach_disease", "thalach", "disease"),
    ("randhie", "ttest_mdvis_idp", "mdvis", "idp_group"),
    ("datashield_cnsim", "ttest_trig_gender", "LAB_TRIG", "SEX"),
]


@pytest.mark.parametrize("equal_var", [False, True])
@pytest.mark.parametrize(("data", "case", "value", "group"), TTESTS, ids=[c[1] for c in TTESTS])
def test_ttest_equals_r(
    ask_of: Any, oracle: Any, data: str, case: str, value: str, group: str, equal_var: bool
) -> None:
    r = oracle(data).cases[case]
    test = r["student" if equal_var else "welch"]
    ours = ask_of(data, dt.TTest(value, group, equal_var=equal_var))
    npt.assert_allclose(ours.means, r["means"], rtol=1e-9)
    npt.assert_allclose(ours.statistic, test["t"], rtol=1e-9)
    npt.assert_allclose(ours.df, test["df"], rtol=1e-9)
    npt.assert_allclose(ours.pvalue, test["p"], rtol=1e-9)
    npt.assert_allclose(ours.confidence_interval(0.95), test["ci95"], rtol=1e-9)
    assert ours.confidence_interval().low == pytest.approx(test["ci95"][0], rel=1e-9)


@pytest.mark.parametrize("equal_var", [False, True])
def test_ttest_equals_scipy(ask_of: Any, heart: Any, equal_var: bool) -> None:
    ours = ask_of("uci_heart", dt.TTest("chol", "sex", equal_var=equal_var), cohort="age > 45", charter="research")
    pooled = heart.pooled.query("age > 45").dropna(subset=["chol"])
    theirs = stats.ttest_ind(pooled.chol[pooled.sex == 0], pooled.chol[pooled.sex == 1], equal_var=equal_var)
    npt.assert_allclose([ours.statistic, ours.pvalue, ours.df], [theirs.statistic, theirs.pvalue, theirs.df], rtol=1e-9)
    npt.assert_allclose(ours.confidence_interval(0.9), theirs.confidence_interval(0.9), rtol=1e-9)
    assert ours.nobs == len(pooled)
    assert list(ours.means.index) == ["F", "M"]
    assert ours.means["F"] == pytest.approx(pooled.chol[pooled.sex == 0].mean(), rel=1e-12)
    assert "pvalue" in str(ours)
    assert json.loads(json.dumps(ours.to_dict()))["values"]["df"] == pytest.approx(ours.df)
    assert "interval" in ours.plot().get_xlabel()
    with pytest.raises(StudyInvalid, match=r"0\.95"):
        ours.confidence_interval(95)


def test_nothing_cancels(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"x": 1e9 + rng.normal(size=400), "g": rng.random(400) < 0.4, "h": rng.random(400) < 0.5})
    frame.loc[frame.g, "x"] += 0.2
    dataset = made("name: x, logicalType: number\nname: g, logicalType: boolean\nname: h, logicalType: boolean")
    ours = ask_made(dataset, split(frame), dt.TTest("x", "g"))
    near = frame.assign(x=frame.x - 1e9)  # exact: the same binary grid
    theirs = stats.ttest_ind(near.x[~near.g], near.x[near.g], equal_var=False)
    npt.assert_allclose([ours.statistic, ours.df], [theirs.statistic, theirs.df], rtol=1e-9)
    table = ask_made(dataset, split(frame), dt.Anova("x", ["g", "h"], typ=2)).to_frame()
    npt.assert_allclose(table.sum_sq, statsmodels("x ~ C(g) * C(h)", near, 2).sum_sq, rtol=1e-9)


def test_anova_equals_r(ask_of: Any, heart: Any) -> None:
    r = heart.cases["anova_thalach_site"]
    ours = ask_of("uci_heart", dt.Anova("thalach", "partner"))
    frame = ours.to_frame()
    assert list(frame.index) == ["partner", "Residual"]
    assert list(frame.columns) == ["df", "sum_sq", "mean_sq", "F", "PR(>F)"]
    npt.assert_allclose(frame.df, r["df"])
    npt.assert_allclose(frame.sum_sq, r["sum_sq"], rtol=1e-9)
    npt.assert_allclose(frame.F, np.array(r["f"], dtype=float), rtol=1e-9)
    npt.assert_allclose(frame["PR(>F)"], np.array(r["p"], dtype=float), rtol=1e-9)
    with pytest.raises(dt.Refused) as refused:
        ask_of("uci_heart", dt.Anova("thalach", "partner"), charter="research")
    assert refused.value.rule == "organisations"


def statsmodels(formula: str, frame: pd.DataFrame, typ: int) -> pd.DataFrame:
    return anova_lm(smf.ols(formula, frame).fit(), typ=typ)


def same(ours: Any, theirs: pd.DataFrame, names: dict[str, str]) -> None:
    theirs = theirs.rename(index=names)
    frame = ours.to_frame()
    assert list(frame.index) == list(theirs.index)
    npt.assert_allclose(frame[list(theirs.columns)], theirs, rtol=1e-9, atol=1e-300)
    npt.assert_allclose(frame.mean_sq, theirs.sum_sq / theirs.df, rtol=1e-9)


@pytest.mark.parametrize("typ", [1, 2, 3])
@pytest.mark.parametrize("group", ["cp", "sex", ["sex", "cp"], ["cp", "sex"]], ids=str)
@pytest.mark.parametrize("interaction", [True, False])
def test_anova_equals_statsmodels(ask_of: Any, heart: Any, group: Any, typ: Any, interaction: bool) -> None:
    ours = ask_of("uci_heart", dt.Anova("thalach", group, interaction=interaction, typ=typ), charter="research")
    names = [group] if isinstance(group, str) else group
    coded = [f"C({name}, Sum)" for name in names]
    theirs = statsmodels(f"thalach ~ {(' * ' if interaction else ' + ').join(coded)}", heart.pooled, typ)
    plain = dict(zip(coded, names, strict=True)) | {":".join(coded): ":".join(names)}
    same(ours, theirs, plain)
    assert ours.nobs == heart.pooled.thalach.notna().sum()


def test_anova_of_a_larger_table(ask_of: Any, oracle: Any) -> None:
    pooled = oracle("datashield_cnsim").pooled
    for typ in (1, 2, 3):
        ours = ask_of("datashield_cnsim", dt.Anova("LAB_TRIG", ["PM_BMI_CATEGORICAL", "SEX"], typ=typ))
        theirs = statsmodels("LAB_TRIG ~ C(PM_BMI_CATEGORICAL, Sum) * C(GENDER, Sum)", pooled, typ)
        a, b = "C(PM_BMI_CATEGORICAL, Sum)", "C(GENDER, Sum)"
        same(ours, theirs, {a: "PM_BMI_CATEGORICAL", b: "SEX", f"{a}:{b}": "PM_BMI_CATEGORICAL:SEX"})


def test_levels_that_nobody_has_are_left_out(ask_of: Any, heart: Any) -> None:
    ours = ask_of("uci_heart", dt.Anova("thalach", ["cp", "sex"]), cohort="cp <> 2")
    theirs = statsmodels("thalach ~ C(cp) * C(sex)", heart.pooled.query("cp != 2"), 1)
    same(ours, theirs, {"C(cp)": "cp", "C(sex)": "sex", "C(cp):C(sex)": "cp:sex"})
    with pytest.raises(Collinear, match="cp"):
        ask_of("uci_heart", dt.Anova("thalach", "cp"), cohort="cp = 4")


def test_empty_combinations(rng: np.random.Generator) -> None:
    """Nobody is in the last of 3 x 3: 3 degrees of freedom are left for the interaction, none of type 3."""
    levels = "logicalType: integer, enum: [{value: 1}, {value: 2}, {value: 3}]"
    dataset = made(f"name: x, logicalType: number\nname: a, {levels}\nname: b, {levels}")
    frame = pd.DataFrame({"x": rng.normal(size=500), "a": rng.integers(1, 4, 500), "b": rng.integers(1, 4, 500)})
    frame = frame[(frame.a < 3) | (frame.b < 3)]
    ours = ask_made(dataset, split(frame), dt.Anova("x", ["a", "b"])).to_frame()
    residual = ((frame.x - frame.groupby(["a", "b"]).x.transform("mean")) ** 2).sum()
    both = smf.ols("x ~ C(a) + C(b)", frame).fit()
    npt.assert_allclose(ours.df, [2, 2, 3, len(frame) - 8])
    npt.assert_allclose(ours.sum_sq["Residual"], residual, rtol=1e-9)
    npt.assert_allclose(ours.sum_sq["a:b"], both.ssr - residual, rtol=1e-9)
    npt.assert_allclose(ours.sum_sq[["a", "b"]], anova_lm(both).sum_sq[:2], rtol=1e-9)
    with pytest.raises(AnalysisFailed, match="typ=2"):
        ask_made(dataset, split(frame), dt.Anova("x", ["a", "b"], typ=3))
    assert len(ask_made(dataset, split(frame), dt.Anova("x", ["a", "b"], interaction=False, typ=3)).to_frame()) == 4


def test_a_small_group_refuses(rng: np.random.Generator) -> None:
    dataset = made("name: x, logicalType: number\nname: g, logicalType: boolean")
    frame = pd.DataFrame({"x": rng.random(200), "g": np.arange(200) < 10})
    for question in (dt.TTest("x", "g"), dt.Anova("x", "g")):
        with pytest.raises(dt.Refused) as refused:
            ask_made(dataset, split(frame), question)
        assert refused.value.rule == "persons-in-group"
    eleven = frame.assign(g=np.arange(200) < 11)
    assert ask_made(dataset, split(eleven), dt.TTest("x", "g")).nobs == 200
    assert ask_made(dataset, split(eleven), dt.Anova("x", "g")).nobs == 200


def test_a_group_of_two_partners_refuses(rng: np.random.Generator) -> None:
    dataset = made("name: x, logicalType: number\nname: g, logicalType: boolean")
    frames = split(pd.DataFrame({"x": rng.random(400), "g": rng.random(400) < 0.5}))
    frames["p0"]["g"] = frames["p1"]["g"] = False
    for question in (dt.TTest("x", "g"), dt.Anova("x", "g")):
        with pytest.raises(dt.Refused) as refused:
            ask_made(dataset, frames, question)
        assert refused.value.rule == "organisations"
        assert ask_made(dataset, frames, question, "sandbox").nobs == 400


def test_a_value_of_two_is_a_table(rng: np.random.Generator) -> None:
    """The means of a boolean are a table of counts: 5 in one of its cells."""
    dataset = made("name: x, logicalType: boolean\nname: g, logicalType: boolean")
    frame = pd.DataFrame({"x": rng.random(400) < 0.5, "g": rng.random(400) < 0.5})
    ours = ask_made(dataset, split(frame), dt.TTest("x", "g"))
    npt.assert_allclose(ours.means, frame.groupby("g").x.mean(), rtol=1e-12)
    frame.loc[frame.index[frame.g][5:], "x"] = False
    frame.loc[frame.index[frame.g][:5], "x"] = True
    for question in (dt.TTest("x", "g"), dt.Anova("x", "g")):
        with pytest.raises(dt.Refused) as refused:
            ask_made(dataset, split(frame), question)
        assert refused.value.rule in ("persons-in-group", "organisations")


def test_persons_and_not_rows_are_judged(rng: np.random.Generator) -> None:
    columns = "name: id, logicalType: string\nname: x, logicalType: number\nname: g, logicalType: boolean"
    dataset = made(columns, "id", 20)
    frame = pd.DataFrame({"id": np.repeat(np.arange(60), 20).astype(str), "x": rng.random(1200)})
    few = {f"p{p}": frame[frame.id.astype(int) % 4 == p].assign(g=lambda d: d.id.astype(int) < 8) for p in range(4)}
    with pytest.raises(dt.Refused) as refused:
        ask_made(dataset, few, dt.TTest("x", "g"))
    assert refused.value.rule == "persons-in-group"
    many = {name: f.assign(g=f.id.astype(int) < 20) for name, f in few.items()}
    pooled = pd.concat(many)
    ours = ask_made(dataset, many, dt.TTest("x", "g"))
    assert ours.pvalue == pytest.approx(
        stats.ttest_ind(pooled.x[~pooled.g], pooled.x[pooled.g], equal_var=False).pvalue
    )


def test_an_empty_group_has_no_test() -> None:
    dataset = made("name: x, logicalType: number\nname: g, logicalType: boolean")
    frame = pd.DataFrame({"x": np.arange(100.0), "g": False})
    with pytest.raises(AnalysisFailed, match="nobody"):
        ask_made(dataset, split(frame), dt.TTest("x", "g"), "sandbox")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (dt.TTest("thalach", "cp"), "4 levels"),
        (dt.TTest("sex", "disease"), "not a number"),
        (dt.TTest("thalach", "age"), "not a category"),
        (dt.TTest("disease", "disease"), "both value and group"),
        (dt.Anova("thalach", ["sex", "sex"]), "twice"),
        (dt.Anova("thalach", ["sex", "cp", "num"]), "at most 2"),
        (dt.Anova("thalach", []), "at least 1"),
        (dt.Anova("thalach", "sex", typ=4), "typ"),  # type: ignore[arg-type]
        (dt.Anova("thalach", "age"), "not a category"),
    ],
)
def test_what_cannot_be_asked(heart_trust: Any, question: Any, words: str) -> None:
    with pytest.raises(StudyInvalid, match=words):
        heart_trust().study("t", purpose=PURPOSE, analyses={"a": question})


def test_drawn(ask_of: Any) -> None:
    ours = ask_of("uci_heart", dt.Anova("thalach", ["sex", "cp"], typ=3))
    assert [t.get_text() for t in ours.plot().get_yticklabels()] == ["sex", "cp", "sex:cp", "Residual"]
    assert "hidden" not in ours._repr_html_()
