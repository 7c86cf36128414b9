"""Each rule at its edge: one person, one partner, one per cent less, and it says no."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import datatrust as dt
from tests.support.small_trusts import K, absent, dataset, outcome, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.dataset.rows import Rows
from trust.errors import Refused, StudyInvalid
from trust.privacy.protections import Protections
from trust.privacy.rules import EffectiveRecords, dominance


def others(n: int = 60) -> dict[str, pd.DataFrame]:
    """Three partners with enough of everything."""
    return {name: rows(n, seed) for seed, name in enumerate("abc", 2)}


def with_fourth(frame: pd.DataFrame, rows_per_person: int = 1, charter: Any = "research") -> Any:
    """A trust in which partner d has these rows."""
    return trust(others() | {"d": frame}, charter, dataset(rows_per_person))


# ---- persons at a node


@pytest.mark.parametrize(("persons", "missing"), [(K - 1, {"d": "persons"}), (K, {}), (K + 1, {})])
def test_a_partner_takes_part_with_k_persons_and_not_with_one_fewer(persons: int, missing: dict[str, str]) -> None:
    assert absent(with_fourth(rows(persons)), dt.Describe(["x"])) == missing


@pytest.mark.parametrize(("persons", "missing"), [(K - 1, {"d": "persons"}), (K, {}), (K + 1, {})])
def test_a_partner_counts_persons_and_not_their_rows(persons: int, missing: dict[str, str]) -> None:
    frame = rows(3 * persons, id=np.resize(np.arange(persons), 3 * persons))
    assert absent(with_fourth(frame, 3), dt.Describe(["x"])) == missing


@pytest.mark.parametrize(("persons", "missing"), [(K - 1, {"d": "persons"}), (K, {})])
def test_a_partner_counts_the_persons_of_the_cohort(persons: int, missing: dict[str, str]) -> None:
    frame = rows(50, x=[10.0] * persons + [90.0] * (50 - persons))
    assert absent(with_fourth(frame), dt.Describe(["z"]), cohort="x < 89") == missing


def test_a_study_that_declares_more_persons_is_held_to_them() -> None:
    """A partner that refuses by more than the charter asks for ends the study: else it could be told apart."""
    assert absent(with_fourth(rows(20)), dt.Describe(["x"]), protections={"persons": 20}) == {}
    with pytest.raises(dt.Refused) as refused:
        absent(with_fourth(rows(20)), dt.Describe(["x"]), protections={"persons": 21})
    assert refused.value.rule == "persons"


# ---- effective records


@pytest.mark.parametrize(
    ("light", "missing"),
    [
        pytest.param(10, {"d": "too-few-effective-records"}, id="(2 + 10)^2 / (4 + 10) = 10.3 of 11 persons: refused"),
        pytest.param(11, {}, id="(2 + 11)^2 / (4 + 11) = 11.3 of 12 persons: allowed"),
    ],
)
@pytest.mark.parametrize(
    "question",
    [
        dt.Describe(["x"], weights="w"),
        dt.Crosstab("sex", "y", weights="w"),
        dt.Glm("x ~ 1", weights="w"),
    ],
    ids=["describe", "crosstab", "glm"],
)
def test_weights_must_not_lie_on_fewer_than_k_records(question: Any, light: int, missing: dict[str, str]) -> None:
    assert absent(with_fourth(rows(light + 1, w=[2.0] + [1.0] * light)), question) == missing


@pytest.mark.parametrize(("heavy", "missing"), [(K - 1, {"d": "too-few-effective-records"}), (K, {})])
@pytest.mark.parametrize(
    "question",
    [
        dt.Describe(["x"], weights="w"),
        dt.Crosstab("sex", "y", weights="w"),
        dt.Glm("x ~ 1", weights="w"),
    ],
    ids=["describe", "crosstab", "glm"],
)
def test_weights_are_counted_by_person_and_not_by_row(question: Any, heavy: int, missing: dict[str, str]) -> None:
    """Three heavy rows of each of k - 1 persons are 30 heavy records; the other persons weigh next to nothing."""
    n = 3 * heavy + 20
    person = [*np.repeat(np.arange(heavy), 3), *range(100, 120)]
    frame = rows(n, w=[1.0] * (3 * heavy) + [1e-9] * 20, id=person)
    assert absent(with_fourth(frame, 3), question) == missing


@given(st.integers(1, 40), st.floats(1e-150, 1e150), st.integers(0, 20))
def test_equal_weights_count_as_many_as_they_are_at_any_scale(n: int, scale: float, zeros: int) -> None:
    weights = np.concatenate([np.full(n, scale), np.zeros(zeros)])
    judged = EffectiveRecords(of="w").judge({"w": weights}, Protections(), 3)
    assert judged.ok == (n >= K)


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(dt.Describe(["x"], weights="x > 90"), id="describe"),
        pytest.param(dt.Describe(["x"], weights="1 + 2 * (x <= 90)"), id="inside a sum"),
        pytest.param(dt.Crosstab("sex", "y", weights="sqrt(x == 50)"), id="inside a function"),
        pytest.param(dt.Glm("y ~ z", family="binomial", weights="(x > 90)**2"), id="glm"),
    ],
)
def test_weights_with_a_comparison_are_refused(question: Any) -> None:
    with pytest.raises(StudyInvalid, match=r"comparison.*restrict the cohort"):
        study(trust(others()), question)


def test_weights_without_a_comparison_are_allowed() -> None:
    assert outcome(trust(others()), dt.Describe(["x"], weights="1 + w / 10")) == "answered"


# ---- dominance


MONEY = [
    pytest.param(849.0, {}, id="84.9 %"),
    pytest.param(850.0, {}, id="85 %"),
    pytest.param(851.0, {"d": "dominance"}, id="85.1 %"),
]


def money(largest: float) -> list[float]:
    """One amount of 1,000 in all; twenty others have the rest."""
    return [largest] + [(1000 - largest) / 20] * 20


@pytest.mark.parametrize(("largest", "missing"), MONEY)
def test_one_person_may_make_up_85_per_cent_of_a_magnitude(largest: float, missing: dict[str, str]) -> None:
    assert absent(with_fourth(rows(21, money=money(largest))), dt.Describe(["money"])) == missing


@pytest.mark.parametrize(("largest", "missing"), MONEY)
@pytest.mark.parametrize("signs", ["largest", "others", "mixed"])
def test_negative_amounts_do_not_hide_a_large_one(largest: float, missing: dict[str, str], signs: str) -> None:
    sign = np.ones(21)
    sign[{"largest": slice(0, 1), "others": slice(1, 21), "mixed": slice(0, 21, 2)}[signs]] = -1
    assert absent(with_fourth(rows(21, money=sign * money(largest))), dt.Describe(["money"])) == missing


@pytest.mark.parametrize(("largest", "missing"), MONEY)
def test_the_rows_of_a_person_are_one_amount(largest: float, missing: dict[str, str]) -> None:
    parts = [300.0, -300.0, largest - 600]
    frame = rows(23, money=parts + money(largest)[1:], id=[0, 0, 0, *range(1, 21)])
    assert absent(with_fourth(frame, 3), dt.Describe(["money"])) == missing


@pytest.mark.parametrize("cohort", ["", "money > 7.4"])
def test_dominance_is_judged_in_the_cohort(cohort: str) -> None:
    """In the whole table the largest has 80 %; among those above 7.4, nine tenths."""
    amounts = [800.0] + [8.0] * 11 + [7.0] * 16
    found = absent(with_fourth(rows(28, money=amounts)), dt.Describe(["money"]), cohort=cohort)
    assert found == ({"d": "dominance"} if cohort else {})


def test_a_column_that_is_no_magnitude_is_not_judged_by_dominance() -> None:
    assert absent(with_fourth(rows(21, plain=money(999.0))), dt.Describe(["plain"])) == {}


def test_dominance_is_the_declared_share() -> None:
    fourth = with_fourth(rows(21, money=money(830.0)))
    assert absent(fourth, dt.Describe(["money"]), protections={"dominance_percent": 85}) == {}
    with pytest.raises(dt.Refused) as refused:
        absent(fourth, dt.Describe(["money"]), protections={"dominance_percent": 80})
    assert refused.value.rule == "dominance"


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30), st.integers(1, 100))
def test_dominance_is_the_share_of_the_sum_of_absolute_values(amounts: list[int], percent: int) -> None:
    table = Rows(len(amounts), {"money": np.array(amounts, dtype=float)})
    ok = dominance(table, "money", Protections(dominance_percent=percent)).ok
    absolute = [abs(amount) for amount in amounts]
    assert ok == (100 * max(absolute) <= percent * sum(absolute))


# ---- organisations


@pytest.mark.parametrize(("low", "expected"), [("ab", "organisations"), ("abc", "answered"), ("abcd", "answered")])
def test_a_study_needs_three_of_four_partners(low: str, expected: str) -> None:
    frames = {name: rows(40, seed, x=np.full(40, 10.0 if name in low else 90.0)) for seed, name in enumerate("abcd")}
    assert outcome(trust(frames), dt.Describe(["z"]), cohort="x < 50") == expected


def cell_of(partners: str) -> dict[str, pd.DataFrame]:
    """Forty persons of group c at each of these partners, none elsewhere; a and b everywhere."""
    return {
        name: rows(120, seed, g=np.resize(["a", "b", "c"] if name in partners else ["a", "b"], 120))
        for seed, name in enumerate("abcd")
    }


@pytest.mark.parametrize("partners", ["a", "ab"])
def test_a_cell_of_fewer_than_m_partners_is_hidden_under_research_and_shown_under_sandbox(partners: str) -> None:
    for charter, hidden in (("research", True), ("sandbox", False)):
        of = trust(cell_of(partners), charter)
        table = study(of, {"t": dt.Crosstab("g", "sex"), "d": dt.Describe(["x"], by=["g"])}).run()
        frame = table["t"].to_frame()
        assert frame.loc["c"].isna().all() == hidden
        means = table["d"].to_frame()["x"].unstack()
        assert bool(pd.isna(means.loc["c", "mean"])) == hidden


def test_a_cell_of_m_partners_is_shown_under_research() -> None:
    table = study(trust(cell_of("abc")), dt.Crosstab("g", "sex")).run()["a"]
    assert table.to_frame().notna().all(axis=None)


QUESTIONS_BY_PARTNER = [
    pytest.param(dt.Describe(["x"], by=["partner"]), id="describe"),
    pytest.param(dt.Describe(["x"], by=["sex", "partner"]), id="describe, second group"),
    pytest.param(dt.Crosstab("partner", "sex"), id="crosstab, rows"),
    pytest.param(dt.Crosstab("sex", "partner"), id="crosstab, columns"),
    pytest.param(dt.Anova("x", "partner"), id="anova"),
    pytest.param(dt.Anova("x", ["sex", "partner"]), id="anova, second group"),
    pytest.param(dt.Glm("x ~ partner"), id="glm"),
    pytest.param(dt.Glm("x ~ z:C(partner)"), id="glm, interaction"),
]


@pytest.mark.parametrize("question", QUESTIONS_BY_PARTNER)
def test_groups_by_partner_are_refused_under_research_and_shown_under_sandbox(question: Any) -> None:
    assert outcome(trust(others()), question) == "organisations"
    assert outcome(trust(others(), "sandbox"), question) == "answered"


def test_each_node_refuses_groups_by_partner_for_itself() -> None:
    of = TrustParts(trust(others()))
    with pytest.raises(Refused) as error:
        of.run(study(of.trust, dt.Describe(["x"], by=["partner"])).study)
    assert error.value.rule == "organisations"
    assert [session.egress.sent[0].kind for session in of.sessions.values()] == ["refusal"] * 3


# ---- parameters and residual degrees of freedom


WIDE = "".join(
    f"\n      - {{name: v{i}, logicalType: number, logicalTypeOptions: {{minimum: 0, maximum: 1}}}}" for i in range(11)
)


def wide(n: int) -> Any:
    """Three partners with n rows in all, and eleven measurements."""
    data = dataset(properties=WIDE)
    rng = np.random.default_rng(n)
    sizes = [K, K, n - 2 * K]
    frames = {
        p: pd.DataFrame({f"v{i}": rng.random(size) for i in range(11)}) for p, size in zip("abc", sizes, strict=True)
    }
    return trust(frames, data=data)


ELEVEN_PARAMETERS = dt.Glm("v0 ~ " + " + ".join(f"v{i}" for i in range(1, 11)))


@pytest.mark.parametrize(("n", "expected"), [(33, "parameters"), (34, "answered")])
def test_a_model_has_at_most_a_parameter_for_three_records(n: int, expected: str) -> None:
    """11 / 33 is above 0.33; 11 / 34 is below."""
    assert outcome(wide(n), ELEVEN_PARAMETERS) == expected


@pytest.mark.parametrize(("declared", "expected"), [(34 - 11, "answered"), (34 - 11 + 1, "residual-df")])
def test_a_model_keeps_the_residual_degrees_of_freedom_that_are_declared(declared: int, expected: str) -> None:
    assert outcome(wide(34), ELEVEN_PARAMETERS, protections={"residual_df": declared}) == expected


@pytest.mark.parametrize("question", [dt.TTest("x", "sex"), dt.Anova("x", "sex")], ids=["ttest", "anova"])
@pytest.mark.parametrize(("declared", "expected"), [(180 - 2, "answered"), (180 - 1, "residual-df")])
def test_a_comparison_keeps_the_residual_degrees_of_freedom(question: Any, declared: int, expected: str) -> None:
    assert outcome(trust(others()), question, protections={"residual_df": declared}) == expected


# ---- groups that a model or a test speaks of


def few(column: str, level: Any, n: int, rest: list[Any]) -> Any:
    """Three partners where `level` is `n` persons' in all, spread over the three; the others take turns at `rest`."""
    frames = {}
    for at, name in enumerate("abc"):
        frame = rows(60, at)
        frame[column] = np.resize(rest, 60)
        frame.loc[list(range(n // 3 + (at < n % 3))), column] = level
        frames[name] = frame
    return frames


SMALL_GROUPS = [
    pytest.param(dt.Glm("x ~ g"), "g", "c", ["a", "b"], id="a level"),
    pytest.param(dt.Glm("x ~ g"), "g", "a", ["b", "c"], id="the reference level"),
    pytest.param(dt.Glm("x ~ C(g, Treatment('b'))"), "g", "b", ["a", "c"], id="another reference level"),
    pytest.param(dt.Glm("x ~ z + g:z"), "g", "c", ["a", "b"], id="a level of an interaction with a number"),
    pytest.param(dt.Glm("y ~ z", family="binomial"), "y", True, [False], id="an outcome"),
    pytest.param(dt.Glm("y ~ z"), "y", True, [False], id="an outcome of two values in a linear model"),
    pytest.param(dt.Glm("I(x > 90) ~ z"), "x", 95.0, list(range(80)), id="a comparison as outcome"),
    pytest.param(dt.Glm("z ~ I(x > 90)"), "x", 95.0, list(range(80)), id="a comparison as term"),
    pytest.param(dt.Glm("z ~ I(x <= 90)"), "x", 95.0, list(range(80)), id="the other side of a comparison"),
    pytest.param(dt.Glm("z ~ I(z * (x > 90))"), "x", 95.0, list(range(80)), id="a comparison in a product"),
    pytest.param(dt.Glm("z ~ I(exp(x > 90))"), "x", 95.0, list(range(80)), id="a comparison in a function"),
    pytest.param(dt.Glm("z ~ y"), "y", True, [False], id="a boolean"),
    pytest.param(dt.Glm("z ~ I(y * 2)"), "y", True, [False], id="a boolean in a product"),
    pytest.param(dt.Glm("z ~ one"), "one", 2, [1], id="a whole number of two values"),
    pytest.param(dt.Anova("x", "g"), "g", "c", ["a", "b"], id="anova"),
    pytest.param(dt.TTest("x", "sex"), "sex", "M", ["F"], id="t test"),
    pytest.param(dt.TTest("y", "sex"), "y", True, [False], id="t test of two values"),
    pytest.param(dt.Correlation(["x", "y"]), "y", True, [False], id="correlation"),
]


@pytest.mark.parametrize(("question", "column", "level", "rest"), SMALL_GROUPS)
def test_a_group_of_fewer_than_k_persons_is_refused(question: Any, column: str, level: Any, rest: list[Any]) -> None:
    assert outcome(trust(few(column, level, K - 1, rest)), question) == "persons-in-group"


@pytest.mark.parametrize(("question", "column", "level", "rest"), SMALL_GROUPS)
def test_a_group_of_enough_persons_is_answered(question: Any, column: str, level: Any, rest: list[Any]) -> None:
    """The positive control: the same question, of the same rows but for the group's size."""
    assert outcome(trust(few(column, level, 4 * K, rest)), question) == "answered"


@pytest.mark.parametrize(("persons", "expected"), [(K - 1, "persons-in-group"), (K, "answered"), (K + 1, "answered")])
def test_a_level_of_k_persons_is_answered_and_of_one_fewer_refused(persons: int, expected: str) -> None:
    assert outcome(trust(few("g", "c", persons, ["a", "b"])), dt.Glm("x ~ g")) == expected


@pytest.mark.parametrize(("persons", "expected"), [(K - 1, "persons-in-group"), (K, "answered")])
def test_a_level_counts_persons_and_not_their_rows(persons: int, expected: str) -> None:
    """Two rows of each person of the level."""
    frames = few("g", "c", persons, ["a", "b"])
    twice = {name: pd.concat([frame, frame[frame["g"] == "c"]]) for name, frame in frames.items()}
    assert outcome(trust(twice, data=dataset(2)), dt.Glm("x ~ g")) == expected


@pytest.mark.parametrize("question", [dt.Glm("x ~ g"), dt.Anova("x", "g")], ids=["glm", "anova"])
def test_a_level_that_only_two_partners_have_is_refused(question: Any) -> None:
    frames = cell_of("ab")
    assert outcome(trust(frames), question) == "organisations"
    assert outcome(trust(cell_of("abc")), question) == "answered"


CROSSED = [
    pytest.param("x ~ sex*y", {"sex": ("F", "M"), "y": (True, False)}, id="two categories"),
    pytest.param("x ~ sex:y - 1", {"sex": ("F", "M"), "y": (True, False)}, id="without main effects"),
    pytest.param("x ~ sex*I(z > 90)", {"sex": ("F", "M"), "z": (95.0, 10.0)}, id="a category and a comparison"),
    pytest.param("x ~ I(w > 5)*I(z > 90)", {"w": (9.0, 1.0), "z": (95.0, 10.0)}, id="two comparisons"),
]


@pytest.mark.parametrize(("formula", "columns"), CROSSED)
@pytest.mark.parametrize(("persons", "expected"), [(K - 1, "persons-in-group"), (K, "answered")])
def test_a_small_combination_in_an_interaction_is_refused(
    formula: str, columns: dict[str, tuple[Any, Any]], persons: int, expected: str
) -> None:
    """Each level is large; the combination of the first ones is small, and no other."""
    (one, ones), (two, twos) = columns.items()
    frames = {}
    for at, name in enumerate("abc"):
        few_here = persons // 3 + (at < persons % 3)
        cells = [(ones[0], twos[0])] * few_here + [(ones[0], twos[1]), (ones[1], twos[0]), (ones[1], twos[1])] * 20
        frames[name] = rows(len(cells), at, **{one: [c[0] for c in cells], two: [c[1] for c in cells]})
    assert outcome(trust(frames), dt.Glm(formula)) == expected


@pytest.mark.parametrize(("persons", "expected"), [(K - 1, "persons-in-group"), (K, "answered")])
@pytest.mark.parametrize("family", ["binomial", "gaussian"])
def test_a_model_of_categories_alone_is_judged_as_the_table_that_it_is(
    family: Any, persons: int, expected: str
) -> None:
    """F and true is the small cell; with a measurement in the model there is no such table."""
    frames = {}
    for at, name in enumerate("abc"):
        n = persons // 3 + (at < persons % 3)
        sex = ["F"] * (n + 20) + ["M"] * 40
        y = [True] * n + [False] * 20 + [True, False] * 20
        frames[name] = rows(len(sex), at, sex=sex, y=y)
    of = trust(frames)
    assert outcome(of, dt.Glm("y ~ sex", family=family)) == expected
    assert outcome(of, dt.Glm("y ~ sex + x", family=family)) == "answered"
