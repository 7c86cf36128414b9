"""A steep term does what a group of one does, without being a group: the leverage of a person is bounded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust.in_process.local_trust import LocalTrust

DATASET = dt.Dataset.parse(
    "apiVersion: v3.1.0\nkind: DataContract\nid: steep\nname: steep\nversion: 1.0.0\nstatus: active\n"
    "schema:\n  - name: t\n    logicalType: object\n    properties:\n"
    "      - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 200}}\n"
    "      - {name: y, logicalType: number, logicalTypeOptions: {minimum: -1000, maximum: 1000}}\n"
    "      - {name: turnover, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1.0e+12}}\n"
)


def trust(charter: str = "research", above: int = 1) -> LocalTrust:
    """600 persons at three partners, of whom `above` have an x above 92."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(20, 90, 600 - above), np.linspace(95, 99, above)])
    frame = pd.DataFrame({"x": x, "y": rng.normal(size=600) + x, "turnover": rng.lognormal(20, 1, 600)})
    return dt.local({f"p{i}": frame.iloc[i::3].reset_index(drop=True) for i in range(3)}, DATASET, charter)


def fit(formula: str, **options: object) -> dt.Result:
    return trust(**options).study("steep", purpose="AcademicResearch", analyses={"m": dt.Glm(formula)}).run()  # type: ignore[arg-type]


STEEP = [
    "y ~ I(1 / (1 + exp(7 * (92 - x))))",
    "y ~ I((x - 92) / sqrt((x - 92)**2 + 1e-9))",
    "y ~ x + I(x + 1 / (1 + exp(7 * (92 - x))))",
]


@pytest.mark.parametrize("above", [1, 2, 3])
@pytest.mark.parametrize("formula", STEEP)
def test_a_term_that_singles_out_few_persons_is_refused(formula: str, above: int) -> None:
    with pytest.raises(dt.Refused) as error:
        fit(formula, above=above)
    assert error.value.rule == "leverage"


@pytest.mark.parametrize("formula", STEEP)
def test_without_the_rule_the_coefficients_give_the_value_away(formula: str) -> None:
    """The positive control: the sandbox answers, and the fit passes through the one person."""
    result = fit(formula, charter="sandbox", above=1)["m"]
    person = pd.DataFrame({"x": [95.0]})
    assert result.predict(person)[0] == pytest.approx(_value_of_the_one(), abs=1e-3)  # type: ignore[attr-defined]


def _value_of_the_one() -> float:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(20, 90, 599), np.linspace(95, 99, 1)])
    return float((rng.normal(size=600) + x)[-1])


def test_honest_terms_and_skewed_measurements_pass() -> None:
    for formula in ("y ~ x + I(x**2)", "y ~ log(x + 1)", "y ~ log(turnover + 1)", "y ~ turnover"):
        assert fit(formula)["m"].nobs == 600


def test_large_measurements_are_described() -> None:
    """Fourth powers of turnovers are beyond what is added exactly; in standard deviations they are not."""
    of = trust()
    study = of.study("large", purpose="AcademicResearch", analyses={"d": dt.Describe(["turnover"])})
    shown = study.run()["d"].to_frame()["turnover"]
    pooled = pd.concat([node.source.url for node in of._nodes.values()])["turnover"]
    assert shown["kurtosis"] == pytest.approx(
        float(((pooled - pooled.mean()) ** 4).mean() / pooled.var(ddof=0) ** 2 - 3)
    )
