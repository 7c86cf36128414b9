"""Why a study is refused, and the smallest changes that would pass: each is decided again, none holds another."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datatrust as dt
from tests.support.charters import (
    ASKER,
    NOW,
    PARTNERS,
    PERMIT,
    analyses,
    asker,
    decided,
    forbid,
    permit,
    scope_of,
    study,
    with_floor,
    write,
)
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.documents.study import Study, plan
from trust.errors import InvalidInput
from trust.policy.explain import Explanation, Without, changed, explain
from trust.times import write_time

RESEARCH = permit('context.purpose in Trust::Purpose::"Research"')
COLUMNS = forbid('context.columns.contains("postcode") || context.cohort_columns.contains("postcode")', "columns")


@pytest.fixture
def mine(tmp_path: Path) -> Charter:
    return Charter.load(write(tmp_path, RESEARCH + COLUMNS))


def said(asked: Study, charter: Charter, partners: tuple[str, ...] = PARTNERS, **more: Any) -> Explanation:
    scope = replace(scope_of(asked, partners), partner_may_be_shown=charter.partner_may_be_shown)
    return explain(asked, charter, scope, **{"now": NOW, "asker": ASKER, **more})


def found(asked: Study, charter: Charter, **more: Any) -> list[dict[str, Any]]:
    return [dict(change) for change in said(asked, charter, **more).changes]


# ---- what refuses


def test_a_study_that_passes(mine: Charter) -> None:
    explained = said(study(), mine)
    assert (explained.ok, explained.reasons, explained.changes) == (True, (), ())
    assert str(explained) == "The study passes: no rule refuses it."
    assert str(said(study(), mine, lang="fr")) == "L’étude est recevable\N{NO-BREAK SPACE}: aucune règle ne la refuse."


def test_each_refusal_has_its_article_text_and_remedy_in_the_language_asked(mine: Charter) -> None:
    asked = study({"persons": 5}, analyses=analyses(t=dt.Describe(["age", "postcode"])))
    english, french = said(asked, mine), said(asked, mine, lang="fr")
    assert [(r.rule, r.article, r.text, r.remedy) for r in english.reasons] == [
        ("mine/columns", "9", "A text.", "A remedy."),
        ("floor/persons", "", "persons must be 11 or more; the study declares 5", "set persons to 11"),
    ]
    assert [(r.rule, r.text, r.remedy) for r in french.reasons] == [
        ("mine/columns", "Un texte.", "Un remède."),
        (
            "floor/persons",
            "persons\N{NO-BREAK SPACE}: 11 ou plus\N{NARROW NO-BREAK SPACE}; l’étude promet 5",
            "fixez persons à 11",
        ),
    ]
    assert "columns = without postcode; persons = 11" in str(english)
    assert "columns = sans postcode; persons = 11" in str(french)
    assert "(article 9)" in str(french)
    assert "Pour y remédier" in str(french)


def test_every_built_in_refusal_has_french_words(mine: Charter) -> None:
    asked = study(
        {"persons": 5, "zero_is_small": False, "participation": "all", "dominance_percent": 90, "colluders": 9},
        purpose="Academik",
        days=100,
        dataset="other",
        analyses=analyses(t=dt.Describe(["age"], by=["partner"])),
    )
    charter = with_floor(mine, participation=("joined",), sums_at_most=1, bytes_at_most=1)
    english, french = said(asked, charter).reasons, said(asked, charter, lang="fr").reasons
    assert len(english) == 11
    for one, other in zip(english, french, strict=True):
        assert one.rule == other.rule
        assert one.text != other.text
        assert one.remedy != other.remedy
    assert "Academic\N{NO-BREAK SPACE}», peut-être" in french[1].remedy
    assert "au choix" in said(study(purpose="zzz"), mine, lang="fr").reasons[0].remedy


def test_an_unknown_language(mine: Charter) -> None:
    with pytest.raises(InvalidInput, match="the language 'de'"):
        said(study(), mine, lang="de")


# ---- one, two and three fields


def test_one_field(mine: Charter) -> None:
    assert found(study({"persons": 5}), mine) == [{"persons": 11}]
    assert found(study(purpose="Academik"), mine) == [{"purpose": "Academic"}]
    assert found(study(days=100), mine) == [{"expires": write_time(NOW + timedelta(days=90))}]
    assert found(study(cohort="postcode > 1000 and age > 3"), mine) == [{"cohort_columns": Without(("postcode",))}]


def test_two_fields(mine: Charter) -> None:
    asked = study(cohort="postcode > 1", analyses=analyses(t=dt.Describe(["age", "postcode"])))
    columns = Without(("postcode",))
    assert found(asked, mine) == [{"cohort_columns": columns, "columns": columns}]


def test_three_fields_a_purpose_too_few_persons_and_too_long(mine: Charter) -> None:
    assert found(study({"persons": 5}, purpose="Marketing", days=100), mine) == [
        {"expires": write_time(NOW + timedelta(days=90)), "persons": 11, "purpose": "Research"}
    ]


def test_four_fields_are_too_many_and_that_is_said(mine: Charter) -> None:
    explained = said(study({"persons": 5, "residual_df": 1}, purpose="Marketing", days=100), mine)
    assert (explained.changes, explained.complete) == ((), True)
    assert "No change of up to three fields was found" in str(explained)


def test_alternatives_are_all_told_and_none_has_another_in_it(tmp_path: Path) -> None:
    condition = 'context.participation == "joined" && context.persons < 20 && context.columns.contains("age")'
    charter = Charter.load(write(tmp_path, PERMIT + forbid(condition)))
    asked = study(analyses=analyses(t=dt.Describe(["age", "chol"])))
    assert found(asked, charter) == [
        {"columns": Without(("age",))},
        {"participation": "all"},
        {"persons": 20},
    ]


def test_a_change_that_another_policy_would_refuse_is_not_told(tmp_path: Path) -> None:
    cedar = PERMIT + forbid("context.persons < 20", "a") + forbid("context.persons > 15 && context.colluders == 1", "b")
    charter = Charter.load(write(tmp_path, cedar))
    assert found(study(), charter) == [{"persons": 20, "colluders": 2}]


def test_who_asks_cannot_be_changed_in_the_study(tmp_path: Path) -> None:
    charter = Charter.load(write(tmp_path, PERMIT + forbid("principal.accredited_until <= context.now")))
    explained = said(study(), charter, asker=asker(accredited_until=NOW))
    assert explained.changes == ()
    assert explained.complete


def test_no_permit_by_any_purpose(tmp_path: Path) -> None:
    charter = Charter.load(write(tmp_path, permit("context.persons >= 50")))
    assert found(study(), charter) == [{"persons": 50}]
    assert found(study(), Charter.load(write(tmp_path / "none", None))) == []
    both = permit('context.purpose == Trust::Purpose::"Clinical" && context.persons >= 50')
    assert found(study(), Charter.load(write(tmp_path / "both", both))) == [{"persons": 50, "purpose": "Clinical"}]


def test_an_allow_list_of_columns(tmp_path: Path) -> None:
    cedar = PERMIT + forbid('!["age", "sex"].containsAll(context.columns)')
    charter = Charter.load(write(tmp_path, cedar))
    asked = study(analyses=analyses(t=dt.Describe(["age", "chol"]), u=dt.Describe(["postcode", "age"])))
    assert found(asked, charter) == [{"columns": Without(("chol", "postcode"))}]
    assert found(study(analyses=analyses(t=dt.Describe(["chol"]))), charter) == []


def test_of_columns_forbidden_together_only_one_is_left_out(tmp_path: Path) -> None:
    cedar = PERMIT + forbid('context.columns.containsAll(["age", "sex"])')
    asked = study(analyses=analyses(t=dt.Describe(["age", "chol"], by=["sex"])))
    assert found(asked, Charter.load(write(tmp_path, cedar))) == [{"columns": Without(("sex",))}]


def test_a_derived_column_is_left_out_for_what_it_follows_from(tmp_path: Path) -> None:
    charter = Charter.load(write(tmp_path, PERMIT + forbid('context.columns.contains("num")')))
    asked = study(analyses=analyses(t=dt.Describe(["age", "ill"])))
    assert found(asked, charter) == [{"columns": Without(("ill",))}]


def test_an_analysis_is_left_out(tmp_path: Path) -> None:
    charter = Charter.load(write(tmp_path, PERMIT + forbid('context.analyses.contains("glm")')))
    asked = study(analyses=analyses(t=dt.Describe(["age"]), m=dt.Glm("chol ~ age"), n=dt.Glm("chol ~ age + sex")))
    (change,) = said(asked, charter).changes
    assert change == {"analyses": Without(("m", "n"))}
    kept = changed(asked, change)
    assert kept is not None
    assert set(kept.analyses) == {"t"}
    assert found(study(analyses=analyses(m=dt.Glm("chol ~ age"))), charter) == []


def test_analyses_that_are_too_large(mine: Charter) -> None:
    asked = study(analyses=analyses(t=dt.Describe(["age"]), m=dt.Glm("chol ~ age"), n=dt.Glm("chol ~ sex")))
    assert found(asked, with_floor(mine, sums_at_most=10)) == [{"analyses": Without(("m", "n"))}]
    asked = study(analyses=analyses(t=dt.Describe(["age"]), m=dt.Glm("chol ~ age"), q=dt.Quantiles(["chol"], [0.5])))
    assert found(asked, with_floor(mine, sums_at_most=10)) == [{"analyses": Without(("m", "q"))}]


def test_analyses_and_columns_at_once(tmp_path: Path) -> None:
    cedar = PERMIT + COLUMNS + forbid("context.parameters > 1", "models")
    charter = Charter.load(write(tmp_path, cedar))
    asked = study(analyses=analyses(t=dt.Describe(["age", "postcode"]), m=dt.Glm("chol ~ age")))
    assert found(asked, charter) == [{"analyses": Without(("m",)), "columns": Without(("postcode",))}]


def test_groups_by_partner(mine: Charter) -> None:
    assert found(study(analyses=analyses(t=dt.Describe(["age"], by=["partner"]))), mine) == [
        {"groups": Without(("partner",))}
    ]


def test_partners_are_not_changed_but_what_the_study_asks_of_their_number_is(mine: Charter) -> None:
    assert found(study({"organisations": 9}), mine) == [{"organisations": 3}]
    assert found(study({"colluders": 5}), mine) == [{"colluders": 2}]
    assert found(study(), mine, partners=("a", "b")) == []


def test_another_dataset_is_no_change_of_a_field(mine: Charter) -> None:
    assert found(study(dataset="other"), mine) == []


def test_a_cohort_that_cannot_be_read_is_no_change_of_a_field(mine: Charter) -> None:
    scope = scope_of(study())
    asked = study(cohort="nowhere > 3")
    explained = explain(asked, mine, scope, plan(study(), scope), now=NOW, asker=ASKER)
    assert [r.rule for r in explained.reasons] == ["policy-error"]
    assert explained.changes == ()


def test_a_policy_that_could_not_be_evaluated_can_be_mended_by_what_it_reads(tmp_path: Path) -> None:
    big = 2**63 - 1 - 20
    charter = Charter.load(write(tmp_path, PERMIT + forbid(f"context.persons + {big} < 15")))
    explained = said(study({"persons": 21}), charter)
    assert [r.rule for r in explained.reasons] == ["policy-error"]
    assert dict(explained.changes[0]).keys() == {"persons"}


# ---- dates


@pytest.mark.parametrize(
    ("begins", "days", "change"),
    [
        pytest.param(10, 90, {"not_before": 0, "expires": 90}, id="not begun, and as long as can be"),
        pytest.param(10, 20, {"not_before": 0}, id="not begun"),
        pytest.param(-100, 100, {"not_before": 0, "expires": 90}, id="expired long ago"),
        pytest.param(-10, 5, {"expires": 80}, id="expired a while ago"),
        pytest.param(10, 120, {"not_before": 0, "expires": 90}, id="not begun and too long"),
    ],
)
def test_dates(mine: Charter, begins: int, days: int, change: dict[str, int]) -> None:
    asked = study(begins=NOW + timedelta(days=begins), days=days)
    wanted = {name: write_time(NOW + timedelta(days=at)) for name, at in change.items()}
    assert wanted in found(asked, mine)


def test_a_date_and_a_span_of_a_policy(tmp_path: Path) -> None:
    cedar = PERMIT + forbid('context.expires > datetime("2026-12-24")', "a")
    cedar += forbid('context.expires > datetime("2027-05-05T10:00:00.123Z")', "b")
    assert found(study(), Charter.load(write(tmp_path, cedar))) == [{"expires": "2026-12-24T00:00:00Z"}]
    cedar = PERMIT + forbid('context.expires.durationSince(context.not_before) > duration("30d")')
    changes = found(study(), Charter.load(write(tmp_path / "b", cedar)))
    assert {"expires": write_time(NOW + timedelta(days=30))} in changes


# ---- a partner's policy


def test_the_partner_s_floor_is_the_value_where_it_is_stricter(tmp_path: Path, mine: Charter) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "partner.toml").write_text('name = "own"\nversion = 1\npublished = true\n[floor]\npersons = 30\n')
    (own / "a.cedar").write_text(forbid('context.columns.contains("age")', "age", "own"))
    policy = PartnerPolicy.load(own)
    asked = study(analyses=analyses(t=dt.Describe(["age", "chol"])))
    explained = said(asked, mine, policy=policy, partner="east")
    assert [r.rule for r in explained.reasons] == ["own/age", "floor/persons"]
    assert [dict(c) for c in explained.changes] == [{"columns": Without(("age",)), "persons": 30}]
    (own / "a.cedar").write_text(forbid("false", "columns"))  # an id of the charter's
    clash = said(asked, mine, policy=PartnerPolicy.load(own))
    assert [r.rule for r in clash.reasons] == ["policy-error", "floor/persons"]
    assert clash.changes == ()


# ---- every change is really decided, over combinations of what is wrong

WRONG: dict[str, Any] = {
    "purpose": ["Academic", "Marketing", "zzz", ""],
    "persons": [11, 5, 40],
    "dominance_percent": [85, 99],
    "zero_is_small": [True, False],
    "participation": ["joined", "all"],
    "colluders": [1, 2, 5],
    "days": [90, 89, 100],
    "begins": [0, 5, -95],
    "cohort": ["", "postcode > 3", "age > 3"],
    "columns": [["age"], ["age", "postcode"], ["postcode"]],
}


@settings(max_examples=60)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in WRONG.items()}))
def test_applying_a_change_makes_the_study_pass(
    tmp_path_factory: pytest.TempPathFactory, wrong: dict[str, Any]
) -> None:
    charter = CHARTER or _load(tmp_path_factory.mktemp("c"))
    declared = ("persons", "dominance_percent", "zero_is_small", "participation", "colluders")
    asked = study(
        {name: wrong[name] for name in declared},
        purpose=wrong["purpose"],
        begins=NOW + timedelta(days=wrong["begins"]),
        days=wrong["days"],
        cohort=wrong["cohort"],
        analyses=analyses(t=dt.Describe(wrong["columns"]), h=dt.Histogram("age", [0, 50, 100])),
    )
    explained = said(asked, charter)
    assert explained.ok == decided(asked, charter).ok
    assert explained.complete
    for change in explained.changes:
        assert 1 <= len(change) <= 3
        mended = changed(asked, change)
        if mended is None:
            whole = {"cohort": ""} if "cohort_columns" in change else {}
            if "columns" in change:
                whole["analyses"] = analyses(h=dt.Histogram("age", [0, 50, 100]))
            rest = {n: v for n, v in change.items() if not isinstance(v, Without)}
            mended = changed(asked, rest)
            assert mended is not None
            mended = mended.model_copy(update=whole)
        assert decided(mended, charter).ok
    for one, other in itertools.permutations(explained.changes, 2):
        assert not one.keys() <= other.keys()


CHARTER: Charter | None = None


def _load(folder: Path) -> Charter:
    global CHARTER
    strict = forbid(
        'context.purpose == Trust::Purpose::"Academic" && context.colluders == 2 && context.persons < 20', "x"
    )
    CHARTER = Charter.load(write(folder, RESEARCH + COLUMNS + strict))
    return CHARTER


def test_a_search_that_is_cut_short_says_so(tmp_path: Path) -> None:
    cedar = PERMIT + "".join(
        forbid(f"context.persons != {100 + n} || context.organisations != {200 + n} || context.colluders != 3", f"p{n}")
        for n in range(40)
    )
    explained = said(study(), Charter.load(write(tmp_path, cedar)))
    assert not explained.complete
    assert f"cut short after {explained.tried} attempts" in str(explained)


def test_a_change_that_the_plan_would_undo_is_not_told(mine: Charter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned anew with the change, the study may need more than before: it is decided once more."""
    asked = study({"persons": 5})
    scope = scope_of(asked)
    plans = plan(asked, scope)
    monkeypatch.setattr("trust.policy.explain.plan", lambda *_: (_ for _ in ()).throw(InvalidInput("no plan")))
    assert explain(asked, mine, scope, plans, now=NOW, asker=ASKER).changes == ()


def test_without_plans_sizes_are_not_judged(mine: Charter) -> None:
    asked = study({"persons": 5}, analyses=analyses(t=dt.Describe(["age"]), m=dt.Glm("chol ~ age")))
    charter = with_floor(mine, sums_at_most=1)
    explained = explain(asked, charter, scope_of(asked), {}, now=NOW, asker=ASKER)
    assert [dict(c) for c in explained.changes] == [{"persons": 11}]


def test_without_is_written_in_words() -> None:
    assert str(Without(("a", "b"))) == "without a, b"


def test_it_is_quick_enough_to_wait_for(tmp_path: Path) -> None:
    """A generous bound; `make bench` measures."""
    cedar = RESEARCH + "".join(forbid(f'context.columns.contains("c{n}")', f"p{n}") for n in range(59))
    charter = Charter.load(write(tmp_path, cedar))
    asked = study({"persons": 5}, purpose="zzz", days=100)
    said(asked, charter)
    begin = time.perf_counter()
    said(asked, charter)
    assert time.perf_counter() - begin < 2
