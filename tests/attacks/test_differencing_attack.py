"""A researcher who knows that one woman of 87 is at a hospital asks for a sum with her and for one without her."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust.research.result import Result
from tests.support.example import contract, levels, number
from trust.decision import Decision
from trust.errors import Refused

DATASET = dt.Dataset.parse(
    contract(
        number("age", 18, 110, "integer"),
        levels("sex", "F", "M"),
        number("income", 0, 100000),
        name="attacked",
        person="pid",
    )
)
SECRET = 54_321.0
WITH_HER, WITHOUT_HER = "age >= 40", "age >= 40 and not (age = 87 and sex = 'F')"


def people(seed: int, n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "pid": [f"{seed}-{i}" for i in range(n)],
            "age": rng.integers(20, 80, n),
            "sex": rng.choice(["F", "M"], n),
            "income": rng.uniform(10_000, 50_000, n).round(2),
        }
    )


def frames() -> dict[str, pd.DataFrame]:
    made = {name: people(seed) for seed, name in enumerate(("a", "b", "c"))}
    made["a"].loc[0, ["age", "sex", "income"]] = [87, "F", SECRET]
    return made


def asked(trust: Any, cohort: str, columns: tuple[str, ...] = ("income",)) -> Result:
    analyses = {"d": dt.Describe(list(columns))}
    result: Result = trust.study("an attack", purpose="AcademicResearch", cohort=cohort, analyses=analyses).run()
    return result


def total(result: Result) -> float:
    return float(result["d"].to_frame()["income"]["sum"])


@pytest.fixture
def trust() -> Any:
    return dt.local(frames(), DATASET)


def test_without_the_rule_the_difference_is_her_income(trust: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    monkeypatch.setattr(
        "nodes.study.answered_cohorts.differencing", lambda *_: Decision("differencing", True, "switched off")
    )
    assert total(asked(trust, WITH_HER)) - total(asked(trust, WITHOUT_HER)) == pytest.approx(SECRET, abs=1e-3)


@pytest.mark.parametrize("cohorts", [(WITH_HER, WITHOUT_HER), (WITHOUT_HER, WITH_HER)], ids=["with", "without"])
def test_the_second_of_the_two_is_refused(trust: Any, cohorts: tuple[str, str]) -> None:
    first, second = cohorts
    asked(trust, first)
    with pytest.raises(Refused):
        asked(trust, second)
    sent = {name: [s.kind for s in messages] for name, messages in trust.exchanged.items()}
    assert sent["a"] == ["refusal"]
    assert all("upload" not in kinds for kinds in sent.values())


def four() -> Any:
    return dt.local({**frames(), "d": people(7)}, DATASET)


def test_her_hospital_refuses_and_the_others_are_not_asked() -> None:
    trust = four()
    asked(trust, WITH_HER)
    with pytest.raises(Refused) as refused:
        asked(trust, WITHOUT_HER)
    assert refused.value.rule == "differencing"
    sent = {name: [s.kind for s in messages] for name, messages in trust.exchanged.items()}
    assert sent.pop("a") == ["refusal"]
    assert all(kinds == ["approval", "ready"] for kinds in sent.values())


def test_if_the_others_were_asked_her_hospitals_total_would_be_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: three of four answer, and the fourth is told apart."""
    monkeypatch.setattr("coordinator.study.conductor._TELLS_APART", frozenset())
    trust = four()
    everybody = total(asked(trust, WITH_HER))
    others = asked(trust, WITHOUT_HER)
    assert others.provenance["absent"] == {"a": "differencing"}
    hospital = frames()["a"]
    assert everybody - total(others) == pytest.approx(hospital[hospital["age"] >= 40]["income"].sum(), abs=1e-3)


def stricter(trust: Any, persons: int, columns: tuple[str, ...]) -> Result:
    analyses = {"d": dt.Describe(list(columns))}
    result: Result = trust.study(
        "stricter", purpose="AcademicResearch", cohort=WITH_HER, analyses=analyses, protections={"persons": persons}
    ).run()
    return result


def uneven() -> Any:
    """One hospital has fewer people of this age than the others."""
    return dt.local({**frames(), "a": frames()["a"].iloc[:30], "d": people(7)}, DATASET)


def test_a_stricter_threshold_does_not_tell_a_partner_apart() -> None:
    """Else its total is that of everybody less that of the three that have enough people."""
    trust = uneven()
    asked(trust, WITH_HER)
    with pytest.raises(Refused) as refused:
        stricter(trust, 30, ("income", "age"))
    assert refused.value.rule == "persons"
    assert not any(sent.kind == "upload" for messages in trust.exchanged.values() for sent in messages)


def test_if_it_did_the_difference_would_be_that_partners_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    monkeypatch.setattr("coordinator.study.conductor._THRESHOLDS", frozenset())
    trust = uneven()
    everybody, others = total(asked(trust, WITH_HER)), stricter(trust, 30, ("income", "age"))
    assert others.provenance["absent"] == {"a": "persons"}
    own = frames()["a"].iloc[:30]
    assert everybody - total(others) == pytest.approx(own[own["age"] >= 40]["income"].sum(), abs=1e-3)


@pytest.mark.parametrize("first", [20, 11])
def test_a_study_keeps_the_threshold_that_it_promised(trust: Any, first: int) -> None:
    """15 people more are enough for one of 11, and too few beside one of 20, whichever comes first."""
    wide = "age >= 40"
    ages = sorted(frames()["a"]["age"], reverse=True)
    narrow = f"age >= {next(age for age in range(41, 90) if 11 <= sum(40 <= a < age for a in ages) < 20)}"

    def ask(cohort: str, persons: int) -> Result:
        study = trust.study(
            "k", purpose="AcademicResearch", cohort=cohort, analyses={"d": dt.Describe(["income"])},
            protections={"persons": persons},
        )  # fmt: skip
        result: Result = study.run()
        return result

    ask(wide, first)
    with pytest.raises(Refused) as refused:
        ask(narrow, 31 - first)
    assert refused.value.rule == "differencing"


def test_another_column_and_the_same_cohort_are_answered(trust: Any) -> None:
    asked(trust, WITH_HER)
    asked(trust, WITHOUT_HER, ("age",))
    again = total(asked(trust, f"({WITH_HER}) or age > 200"))
    assert total(asked(trust, WITH_HER)) == pytest.approx(again, rel=1e-12)


def test_a_refused_study_leaves_the_way_free_for_others(trust: Any) -> None:
    """The two that were ready when the third refused have given nothing, and remember nothing."""
    asked(trust, WITH_HER)
    with pytest.raises(Refused):
        asked(trust, "age >= 41 and age <> 87")
    asked(trust, "age >= 60")


def test_an_opt_out_between_two_studies_does_not_tell_her_income(tmp_path: Path) -> None:
    path = tmp_path / "optouts.txt"
    path.write_text("")
    made = frames()
    trust = dt.local({**made, "a": dt.Source(made["a"], opt_out=path)}, DATASET)
    asked(trust, WITH_HER)
    path.write_text("0-0\n")
    with pytest.raises(Refused):
        asked(trust, WITH_HER)
    path.write_text("")
    asked(trust, WITH_HER)


def test_a_person_who_comes_between_two_studies_is_not_told_of(tmp_path: Path) -> None:
    made = frames()
    made["a"].iloc[1:].to_csv(tmp_path / "a.csv", index=False)
    trust = dt.local({**made, "a": tmp_path / "a.csv"}, DATASET)
    before = total(asked(trust, WITH_HER))
    made["a"].to_csv(tmp_path / "a.csv", index=False)
    assert total(asked(trust, WITH_HER)) == pytest.approx(before, rel=1e-12)
