"""A value that is not finite would drop its row: an expression could choose the one person who is left out.

The attacker is a researcher with a signed mandate and one study: the mean of everybody, and of everybody but her.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust.in_process.local_trust import LocalTrust
from trust.analyses import Describe, Glm
from trust.analyses.base import Scope
from trust.dataset import expressions
from trust.dataset.expressions import Calculate, Compare, Name, Number
from trust.documents.study import Study, plan
from trust.errors import FormulaInvalid
from trust.privacy.protections import Protections

TARGET = {"age": 97.0, "bmi": 25.9, "chol": 371.4}
PROPERTIES = "".join(
    f"      - {{name: {name}, logicalType: number, logicalTypeOptions: {{minimum: {low}, maximum: {high}}}}}\n"
    for name, low, high in (("age", 18, 120), ("bmi", 10, 80), ("chol", 50, 900))
)
DATASET = dt.Dataset.parse(
    "apiVersion: v3.1.0\nkind: DataContract\nid: people\nname: people\nversion: 1.0.0\nstatus: active\n"
    f"schema:\n  - name: t\n    logicalType: object\n    properties:\n{PROPERTIES}"
)
LEFT_OUT = [
    "0/(age - 97)",
    "0/((age - 97)**2 + (bmi - 25.9)**2)",
    "0*(age - 97)**-1",
    "0*(age - 97)**-2",
    "0*log((age - 97)**2)",
    "0/log(1 + (age - 97)**2)",
    "0*exp(710*(age > 96))*exp(710*(age > 96))",
]


def trust() -> LocalTrust:
    """200 persons at four partners; the target is the only one of 97 years."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {"age": rng.uniform(20, 90, 200), "bmi": rng.uniform(18, 40, 200), "chol": rng.uniform(120, 300, 200)}
    )
    frame.loc[77] = TARGET
    return dt.local({f"h{i}": frame.iloc[i::4].reset_index(drop=True) for i in range(4)}, DATASET, "research")


def read_value(expression: str, where: str) -> float:
    """What the attacker makes of the two means: her cholesterol, where she is left out of the second one."""
    options = {where: expression} if where != "term" else {}
    formula = f"chol ~ I({expression})" if where == "term" else "chol ~ 1"
    analyses = {"all": dt.Glm("chol ~ 1"), "others": dt.Glm(formula, ridge=1.0, **options)}  # type: ignore[arg-type]
    result = trust().study("means", purpose="AcademicResearch", analyses=analyses).run()
    (_, all_), (_, others) = ((result[name].nobs, result[name].params.iloc[0]) for name in ("all", "others"))
    return float(all_ * result["all"].nobs - others * result["others"].nobs)


@pytest.mark.parametrize("where", ["offset", "term"])
@pytest.mark.parametrize("expression", LEFT_OUT)
def test_she_cannot_be_left_out(expression: str, where: str) -> None:
    with pytest.raises(FormulaInvalid) as error:
        read_value(expression, where)
    assert "by the bounds in the dataset" in str(error.value) or "the dataset allows others" in str(error.value)


@pytest.mark.parametrize("expression", LEFT_OUT[:2])
def test_without_the_rule_her_value_is_read(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: the same study, with no rule on what may not be finite."""
    monkeypatch.setattr(expressions, "_require_divisor", lambda *_: None)
    monkeypatch.setattr(expressions, "_require_finite", lambda whole, interval, dataset: interval)
    assert read_value(expression, "offset") == pytest.approx(TARGET["chol"], abs=1e-6)


ROOM = Scope(dataset=DATASET, partners=("a", "b", "c"), protections=Protections())
NOBODY = Calculate(
    op="/", left=Number(number=0.0), right=Calculate(op="-", left=Name(column="age"), right=Number(number=97.0))
)
CHOL = Name(column="chol")
PLACES = {
    "outcome": Glm(link="identity", outcome=NOBODY, terms=()),
    "term": Glm(link="identity", outcome=CHOL, terms=((CHOL, NOBODY),)),
    "weights": Glm(link="identity", outcome=CHOL, terms=(), weights=NOBODY),
    "offset": Glm(link="identity", outcome=CHOL, terms=(), offset=NOBODY),
    "described": Describe(columns=("chol",), weights=NOBODY),
    "inside": Glm(link="identity", outcome=CHOL, terms=((Compare(op=">", left=NOBODY, number=1.0),),)),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_wherever_it_stands_also_in_a_study_written_without_the_library(place: str) -> None:
    with pytest.raises(FormulaInvalid, match="may be 0"):
        plan(Study.model_construct(analyses={"a": PLACES[place]}), ROOM)
