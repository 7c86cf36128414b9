"""Glm equals R and statsmodels on the concatenated rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import datatrust as dt
from tests.conftest import DATA
from trust.errors import Collinear, NotConverged

PURPOSE = "AcademicResearch"
X = "lncoins + idp + lpi + fmde + physlm + disea + hlthg + hlthf + hlthp"


@pytest.fixture(scope="module")
def fit(oracle: Any, heart_trust: Any) -> Any:
    trusts: dict[str, Any] = {"uci_heart": heart_trust("sandbox")}

    def run(name: str, formula: str, cohort: str = "", **options: Any) -> Any:
        if name not in trusts:
            short = {"datashield_cnsim": "cnsim"}.get(name, name)
            frames = {site.lower(): frame for site, frame in oracle(name).frames.items()}
            trusts[name] = dt.local(sources=frames, dataset=DATA / f"{short}.yaml", charter="sandbox")
        study = trusts[name].study("t", purpose=PURPOSE, cohort=cohort, analyses={"m": dt.Glm(formula, **options)})
        return study.run()["m"]

    return run


CASES = [
    (
        "uci_heart",
        "logistic_disease",
        "disease ~ age + sex + C(cp) + trestbps + thalach + exang + oldpeak",
        {"family": "binomial"},
    ),
    (
        "uci_heart",
        "logistic_disease_site",
        "disease ~ age + sex + C(cp) + thalach + C(partner)",
        {"family": "binomial"},
    ),
    ("uci_heart", "probit_disease", "disease ~ age + sex", {"family": "binomial", "link": "probit"}),
    ("uci_heart", "linear_thalach", "thalach ~ age * sex + C(cp)", {}),
    ("randhie", "poisson_mdvis", f"mdvis ~ {X}", {"family": "poisson"}),
    ("randhie", "quasipoisson_mdvis", f"mdvis ~ {X}", {"family": "poisson", "scale": "X2"}),
    (
        "randhie",
        "poisson_offset_weights",
        "mdvis ~ idp + physlm + disea",
        {
            "family": "poisson",
            "offset": "log(1 + disea)",
            "weights": "1 + hlthg + 2*hlthf + 3*hlthp",
            "weights_are": "precision",
        },
    ),
    (
        "randhie",
        "gamma_log_mdvis",
        "mdvis ~ lncoins + physlm + disea",
        {"family": "gamma", "link": "log", "cohort": "mdvis > 0"},
    ),
    ("randhie", "logistic_any", "any ~ lncoins + idp + physlm + disea + hlthg + hlthf + hlthp", {"family": "binomial"}),
    ("randhie", "ols_log_mdvis", f"log(mdvis + 1) ~ {X}", {}),
    (
        "randhie",
        "wls_log_mdvis",
        "log(mdvis + 1) ~ lncoins + physlm + disea",
        {"weights": "1 + hlthg + 2*hlthf + 3*hlthp", "weights_are": "precision"},
    ),
    (
        "datashield_cnsim",
        "logistic_diabetes",
        "DIS_DIAB ~ GENDER + PM_BMI_CONTINUOUS + LAB_HDL",
        {"family": "binomial"},
    ),
    ("datashield_cnsim", "linear_bmi", "PM_BMI_CONTINUOUS ~ DIS_DIAB * GENDER + LAB_HDL", {}),
    ("datashield_cnsim", "linear_gluc_bmi_class", "LAB_GLUC_ADJUSTED ~ C(PM_BMI_CATEGORICAL) + GENDER", {}),
]


def in_rs_order(names: list[str], terms: list[str]) -> list[int]:
    """Where each of R's terms stands: `cp[2]` is our `C(cp)[T.2]`."""
    ours = []
    for name in names:
        plain = (
            name.replace("C(", "")
            .replace(")[", "[")
            .replace("[T.", "[")
            .replace("partner", "site")
            .replace("-long-", "_long_")
        )
        plain = {"Intercept": "(Intercept)"}.get(plain, plain).replace("sex[M]", "sex").replace("exang[True]", "exang")
        ours.append(plain)
    return [ours.index(term) for term in terms]


@pytest.mark.parametrize(("data", "case", "formula", "options"), CASES, ids=[c[1] for c in CASES])
def test_equals_r(fit: Any, oracle: Any, data: str, case: str, formula: str, options: dict[str, Any]) -> None:
    result = fit(data, formula, **options)
    r = oracle(data).cases[case]
    order = in_rs_order(list(result.params.index), r["terms"])
    assert result.nobs == r["n_used"]
    npt.assert_allclose(result.params.to_numpy()[order], r["coef"], rtol=1e-9)
    npt.assert_allclose(result.bse.to_numpy()[order], r["se"], rtol=1e-9)
    npt.assert_allclose(result.tvalues.to_numpy()[order], r.get("statistic") or r["t"], rtol=1e-9)
    npt.assert_allclose(result.pvalues.to_numpy()[order], r["p"], rtol=1e-7, atol=1e-300)
    scale = np.sqrt(np.outer(r["se"], r["se"]))
    npt.assert_allclose(
        result.cov_params().to_numpy()[np.ix_(order, order)] / scale, np.array(r["vcov"]) / scale, atol=1e-9
    )
    npt.assert_allclose(result.df_resid, r["df_residual"])
    if "deviance" in r:
        npt.assert_allclose(result.deviance, r["deviance"], rtol=1e-9)
        npt.assert_allclose(result.null_deviance, r["null_deviance"], rtol=1e-9)
        npt.assert_allclose(result.pearson_chi2, r["pearson_chi2"], rtol=1e-9)
        npt.assert_allclose(result.scale, r["dispersion"], rtol=1e-9)
    else:
        npt.assert_allclose(np.sqrt(result.scale), r["sigma"], rtol=1e-9)
        npt.assert_allclose(result.rsquared, r["r_squared"], rtol=1e-9)
        npt.assert_allclose(result.rsquared_adj, r["adj_r_squared"], rtol=1e-9)
        npt.assert_allclose(result.fvalue, r["f"], rtol=1e-9)
    if "loglik" in r and options.get("family") == "gamma":  # R's dispersion for a gamma likelihood is deviance / n
        npt.assert_allclose(result.llf_scaled(result.deviance / result.nobs), r["loglik"], rtol=1e-9)
    elif "loglik" in r:
        npt.assert_allclose(result.llf, r["loglik"], rtol=1e-9)


@pytest.mark.parametrize("robust", ["HC0", "HC1"])
def test_robust_errors_equal_r(fit: Any, oracle: Any, robust: str) -> None:
    r = oracle("randhie").cases["ols_log_mdvis"]
    result = fit("randhie", f"log(mdvis + 1) ~ {X}", robust=robust)
    npt.assert_allclose(result.bse, r[f"se_{robust.lower()}"], rtol=1e-9)


def sm_family(name: str, link: str | None) -> Any:
    links = {
        "cloglog": sm.families.links.CLogLog,
        "inverse": sm.families.links.InversePower,
        "identity": sm.families.links.Identity,
    }
    families = {"gaussian": sm.families.Gaussian, "binomial": sm.families.Binomial, "poisson": sm.families.Poisson}
    families["gamma"] = sm.families.Gamma
    return families[name](**({"link": links[link]()} if link else {}))


@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("any ~ physlm + disea", {"family": "binomial", "link": "cloglog"}),
        ("mdvis ~ physlm + lncoins", {"family": "gamma", "cohort": "mdvis > 0"}),
        ("mdvis ~ physlm + disea", {"family": "poisson", "link": "identity", "cohort": "mdvis > 0"}),
        ("mdvis ~ log(disea + 1) + I(physlm**2) + physlm:disea", {"family": "poisson"}),
        ("mdvis ~ physlm + disea - 1", {"family": "gaussian"}),
    ],
)
def test_equals_statsmodels(fit: Any, oracle: Any, formula: str, options: dict[str, Any]) -> None:
    result = fit("randhie", formula, **options)
    pooled = oracle("randhie").pooled
    pooled["any"] = (pooled["mdvis"] > 0).astype(float)
    pooled = pooled[pooled["mdvis"] > 0] if "cohort" in options else pooled
    their = smf.glm(
        formula.replace("log(", "np.log("), pooled, family=sm_family(options["family"], options.get("link"))
    )
    fitted = their.fit(tol=1e-14, maxiter=200)
    fitted = their.fit(start_params=fitted.params, tol=1e-14, maxiter=200)
    npt.assert_allclose(result.params, fitted.params, rtol=1e-7)
    npt.assert_allclose(result.bse, fitted.bse, rtol=1e-6)
    npt.assert_allclose(result.llf, fitted.llf, rtol=1e-9)
    npt.assert_allclose(result.aic, fitted.aic, rtol=1e-9)
    npt.assert_allclose(result.deviance, fitted.deviance, rtol=1e-9)
    assert [n.replace("np.", "") for n in fitted.params.index] == list(result.params.index)


def test_frequency_weights_equal_statsmodels(fit: Any, oracle: Any) -> None:
    pooled = oracle("randhie").pooled
    w = 1 + pooled.hlthg + 2 * pooled.hlthf + 3 * pooled.hlthp
    result = fit(
        "randhie", "mdvis ~ physlm + disea", family="poisson", scale="X2", weights="1 + hlthg + 2*hlthf + 3*hlthp"
    )
    fitted = smf.glm("mdvis ~ physlm + disea", pooled, family=sm.families.Poisson(), freq_weights=w).fit(
        scale="X2", tol=1e-14
    )
    npt.assert_allclose(result.params, fitted.params, rtol=1e-9)
    npt.assert_allclose(result.bse, fitted.bse, rtol=1e-8)
    npt.assert_allclose(result.df_resid, fitted.df_resid)
    robust = fit(
        "randhie", "mdvis ~ physlm + disea", family="poisson", robust="HC0", weights="1 + hlthg + 2*hlthf + 3*hlthp"
    )
    repeated = pooled.iloc[np.repeat(np.arange(len(pooled)), w.astype(int))]
    theirs = smf.glm("mdvis ~ physlm + disea", repeated, family=sm.families.Poisson()).fit(cov_type="HC0", tol=1e-14)
    npt.assert_allclose(robust.bse, theirs.bse, rtol=1e-7)


def test_ridge_equals_scikit_learn(fit: Any, oracle: Any) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    pooled = oracle("randhie").pooled
    x = pooled[["physlm", "disea", "lncoins"]]
    ours = fit("randhie", "mdvis ~ physlm + disea + lncoins", ridge=50.0)
    npt.assert_allclose(ours.params.iloc[1:], Ridge(alpha=50.0).fit(x, pooled.mdvis).coef_, rtol=1e-9)
    logistic = fit("randhie", "any ~ physlm + disea + lncoins", family="binomial", ridge=10.0)
    theirs = LogisticRegression(C=1 / 10, tol=1e-12, max_iter=10_000).fit(x, pooled.mdvis > 0)
    npt.assert_allclose(logistic.params.iloc[1:], theirs.coef_[0], rtol=1e-5)


def test_predictions_and_tests_equal_statsmodels(fit: Any, heart: Any) -> None:
    ours = fit("uci_heart", "disease ~ age + sex + C(cp)", family="binomial")
    pooled = heart.pooled.assign(disease=lambda d: (d.num > 0).astype(int), sex=lambda d: d.sex.map({0: "F", 1: "M"}))
    theirs = smf.glm("disease ~ age + sex + C(cp)", pooled, family=sm.families.Binomial()).fit(tol=1e-14)
    people = pd.DataFrame({"age": [40, 60, 71], "sex": ["F", "M", "M"], "cp": [1, 4, 2]})
    npt.assert_allclose(ours.predict(people), theirs.predict(people), rtol=1e-9)
    frame, expected = ours.get_prediction(people).summary_frame(), theirs.get_prediction(people).summary_frame()
    npt.assert_allclose(frame, expected[list(frame.columns)], rtol=1e-7)
    npt.assert_allclose(ours.conf_int(), theirs.conf_int().loc[ours.params.index], rtol=1e-7)
    names = ["C(cp)[T.2]", "C(cp)[T.3]", "C(cp)[T.4]"]
    wald = theirs.wald_test(np.eye(6)[[list(theirs.params.index).index(n) for n in names]], scalar=True)
    assert ours.wald_test(names).statistic == pytest.approx(float(wald.statistic), rel=1e-7)
    assert ours.wald_test(", ".join(f"{n} = 0" for n in names)).pvalue == pytest.approx(float(wald.pvalue), rel=1e-6)
    with pytest.raises(AttributeError, match="rows do not move"):
        _ = ours.resid


def test_collinear_columns_are_named(fit: Any) -> None:
    with pytest.raises(Collinear, match="hlthg"):
        fit("randhie", "mdvis ~ hlthg + I(2 * hlthg)")


def test_separation_does_not_settle(oracle: Any) -> None:
    x = np.arange(200.0)
    frames = {f"p{i}": pd.DataFrame({"x": x[i::3], "y": (x[i::3] > 100).astype(int)}) for i in range(3)}
    dataset = dt.Dataset.parse(SEPARATED)
    trust = dt.local(sources=frames, dataset=dataset, charter="sandbox")
    with pytest.raises(NotConverged, match="separation"):
        trust.study("t", purpose=PURPOSE, analyses={"m": dt.Glm("y ~ x", family="binomial")}).run()


SEPARATED = """
apiVersion: v3.1.0
kind: DataContract
id: separated
name: separated
version: 1.0.0
status: active
schema:
  - name: t
    logicalType: object
    properties:
      - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 200}}
      - {name: y, logicalType: boolean}
"""
