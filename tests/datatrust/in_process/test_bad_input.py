"""What a person hands to a whole trust and gets wrong ends in an error of our tree that says how to fix it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from tests.conftest import DATA
from tests.support.people import FOUR, PEOPLE, people
from trust.canonical import canonical
from trust.dataset.dataset import Dataset
from trust.documents.study import Study
from trust.errors import (
    Collinear,
    DataTrustError,
    Fault,
    MessageInvalid,
    NotConverged,
    Refused,
    SourceInvalid,
    StudyInvalid,
)

SECRET = 74310.25
TABLE = {"t": dt.Describe(["bmi"])}
PURPOSE = "AcademicResearch"
FREE = Dataset.model_validate(
    {
        **PEOPLE.model_dump(),
        "columns": [c for c in PEOPLE.model_dump()["columns"] if c["name"] in ("age", "income", "sex", "smoker")],
    }
)


def frames(n: int = 60, **change: Callable[[pd.DataFrame], Any]) -> dict[str, pd.DataFrame]:
    """Four partners' people, with columns calculated anew."""
    made = {name: people(n, seed, missing=0) for seed, name in enumerate(FOUR)}
    return {
        name: frame.assign(**{column: how(frame) for column, how in change.items()}) for name, frame in made.items()
    }


def trust(sources: Any = None, charter: str = "research", dataset: Any = PEOPLE) -> Any:
    return dt.local(sources=frames() if sources is None else sources, dataset=dataset, charter=charter)


def says(wrong: BaseException) -> str:
    return "".join(traceback.format_exception(wrong))


# ---- the trust


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ({"sources": {}}, StudyInvalid, "no sources; expected a mapping of partners to their sources"),
        ({"sources": ["a.csv"]}, StudyInvalid, "sources is a list; expected a mapping of partners"),
        ({"sources": {"North Hospital": people()}}, StudyInvalid, "'North Hospital' is not a partner's name; expected"),
        ({"sources": {"": people()}}, StudyInvalid, "'' is not a partner's name"),
        ({"sources": {"a_b": people(), "a-b": people()}}, StudyInvalid, "two partners"),
        (
            {"sources": {"a": 3}},
            SourceInvalid,
            "a source of type int; expected a path, a URL, a DataFrame or dt.Source(…)",
        ),
        (
            {"sources": {"a": "absent.csv"}},
            SourceInvalid,
            "partner 'a': no file 'absent.csv'; expected a CSV or Parquet file",
        ),
        (
            {"sources": {"a": "postgresql://u:pw74310@127.0.0.1:1/d#t"}},
            Fault,
            "partner 'a': the database cannot be reached",
        ),
        ({"charter": "reserch"}, DataTrustError, "no charter 'reserch'; expected 'research', perhaps"),
        ({"dataset": "absent.yaml"}, DataTrustError, "the dataset 'absent.yaml' cannot be read"),
    ],
)
def test_a_trust_that_cannot_be(arguments: dict[str, Any], error: type[DataTrustError], expected: str) -> None:
    with pytest.raises(error) as caught:
        trust(**arguments)
    assert expected in str(caught.value)
    assert "74310" not in says(caught.value)


# ---- the study


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"analyses": dt.Describe(["bmi"])}, "analyses is a AnalysisText; expected such as"),
        ({"analyses": {}}, "analyses"),
        ({"analyses": {"t": "bmi"}}, "analysis 't' is a str; expected such as dt.Describe([…])"),
        ({"analyses": {"T 1": dt.Describe(["bmi"])}}, "an analysis' name is small letters, digits, - and _"),
        ({"analyses": {"t": dt.Describe(["bim"])}}, "column 'bim' is not in dataset 'people'; expected 'bmi', perhaps"),
        (
            {"analyses": {"t": dt.Describe(["bmi"], by=["town"])}},
            "column 'town' is not a category; expected a column with an enum",
        ),
        ({"protections": ["persons"]}, "protections is a list"),
        ({"protections": {"person": 20}}, "the protections has an unknown field 'person'; expected 'persons', perhaps"),
        ({"protections": {"persons": True}}, "the protections, field 'persons': Input should be a valid integer"),
        ({"protections": {"persons": "20"}}, "the protections, field 'persons': Input should be a valid integer"),
        ({"protections": {"noise": True}}, "the protections, field 'noise'"),
        ({"cohort": 40}, "cohort is a int"),
        ({"expires": "2027-01-01"}, "expires is a str"),
        ({"expires": datetime(2027, 1, 1)}, "a time without a zone; expected a datetime with tzinfo"),
        ({"expires": datetime.now(UTC) - timedelta(days=1)}, "an expiry in the past"),
        (
            {"not_before": datetime(2998, 1, 1, tzinfo=UTC), "expires": datetime(2997, 1, 1, tzinfo=UTC)},
            "the study: a study that expires before it begins",
        ),
        ({"not_before": datetime(2027, 1, 1)}, "a time without a zone"),
        ({"title": ""}, "the study, field 'title'"),
    ],
)
def test_a_study_that_cannot_be_written(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(StudyInvalid) as caught:
        trust().study(**{"title": "t", "purpose": PURPOSE, "analyses": TABLE, **fields})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "rule", "expected"),
    [
        ({"purpose": "Marketing"}, "no-permit", "the charter “research” does not permit the purpose “Marketing”"),
        (
            {"purpose": "AcademicReserch"},
            "no-permit",
            "to fix it: choose a purpose that the charter knows: 'AcademicResearch'",
        ),
        ({"not_before": datetime(2999, 1, 1, tzinfo=UTC)}, "dates", "the study begins on 2999-01-01"),
    ],
)
def test_a_study_that_is_refused_before_any_row(fields: dict[str, Any], rule: str, expected: str) -> None:
    study = trust().study(**{"title": "t", "purpose": PURPOSE, "analyses": TABLE, **fields})
    assert not study.check().ok
    with pytest.raises(Refused) as caught:
        study.run()
    assert caught.value.rule == rule
    assert expected in str(caught.value)


def test_two_partners_are_too_few() -> None:
    two = {name: frame for name, frame in frames().items() if name in FOUR[:2]}
    study = trust(two).study("t", purpose=PURPOSE, analyses=TABLE)
    with pytest.raises(
        Refused, match="refused by organisations: a study names at least 3 and at most 1,000 partners"
    ) as caught:
        study.run()
    assert caught.value.remedy == "name more partners"


def test_a_document_with_an_unknown_field_is_no_study() -> None:
    document = trust().study("t", purpose=PURPOSE, analyses=TABLE).study.document()
    assert Study.read(canonical(document)).document() == document
    for change, expected in (
        ({"purposes": "x"}, "the study has an unknown field 'purposes'; expected 'purpose', perhaps"),
        ({"schema": "datatrust/study/2"}, "the study, field 'schema'"),
        ({"analyses": {"t": {"kind": "rows"}}}, "does not match any of the expected tags"),
        ({"expires": "2027-02-30T00:00:00Z"}, "a time that does not exist"),
        ({"summary": {"de": "x"}}, "the study, field 'summary.de"),
    ):
        with pytest.raises((StudyInvalid, MessageInvalid)) as caught:
            Study.read(canonical({**document, **change}))
        assert expected in str(caught.value)


# ---- the rows


@pytest.mark.parametrize(
    ("column", "value"),
    [("bmi", np.inf), ("bmi", -np.inf), ("bmi", 1e300), ("bmi", SECRET), ("income", np.inf), ("income", -np.inf)],
)
def test_a_value_that_the_dataset_does_not_allow_names_partner_and_column_only(column: str, value: float) -> None:
    sources = frames()
    sources["south"].loc[7, column] = value
    study = trust(sources).study("t", purpose=PURPOSE, analyses={"t": dt.Describe([column])})
    with pytest.raises(
        SourceInvalid, match=f"partner 'south': in-bounds: column '{column}'.*fewer than 11 do not"
    ) as caught:
        study.run()
    for text in (repr(value), "74310", "1e+300", "inf;"):
        assert text not in says(caught.value)


def test_a_huge_number_without_bounds_ends_in_an_error_that_asks_for_bounds() -> None:
    sources = frames()
    sources["south"].loc[7, "income"] = 1e300
    study = trust(sources, "sandbox").study("t", purpose=PURPOSE, analyses={"t": dt.Describe(["income"])})
    with pytest.raises(DataTrustError) as caught:
        study.run()
    assert "1e+300" not in says(caught.value)
    assert isinstance(caught.value, Refused) or "bounds" in str(caught.value)


def test_not_a_number_is_a_missing_value_and_lost_in_no_count() -> None:
    sources = frames(bmi=lambda frame: np.where(np.arange(len(frame)) < 10, np.nan, 25.0 + np.arange(len(frame)) % 7))
    result = trust(sources).study("t", purpose=PURPOSE, analyses=TABLE).run()["t"].to_frame()["bmi"]
    assert (result["count"], result["missing"]) == (200, 40)


@pytest.mark.parametrize("n", [0, 10])
def test_too_few_rows_everywhere_are_refused_and_none_are_an_error(n: int) -> None:
    study = trust(frames(n)).study("t", purpose=PURPOSE, analyses=TABLE)
    error, expected = (SourceInvalid, "rows-present") if n == 0 else (Refused, "at least 11 persons")
    with pytest.raises(error, match=expected):
        study.run()


def test_ten_rows_at_one_partner_leave_it_out_and_its_rule_is_named() -> None:
    sources = frames()
    sources["west"] = sources["west"][:10]
    result = trust(sources).study("t", purpose=PURPOSE, analyses=TABLE).run()
    assert result.provenance["absent"] == {"west": "persons"}
    assert result["t"].nobs == 180


def test_the_same_person_twice_at_a_partner_is_an_error() -> None:
    sources = frames()
    sources["east"] = pd.concat([sources["east"], sources["east"][:1]])
    with pytest.raises(SourceInvalid, match="partner 'east': person-repeated: person 'pid': at most 1 row a person"):
        trust(sources).study("t", purpose=PURPOSE, analyses=TABLE).run()


def test_columns_that_determine_one_another_are_named() -> None:
    study = trust().study("t", purpose=PURPOSE, analyses={"m": dt.Glm("age ~ bmi + I(2*bmi + 1)")})
    with pytest.raises(
        Collinear, match=r"'bmi', .*determine one another; to fix it: leave one of them out, or set ridge"
    ):
        study.run()


def test_a_column_that_predicts_the_outcome_fully_is_refused_or_does_not_settle() -> None:
    sources = frames(smoker=lambda frame: frame["bmi"].astype(float) > 27)
    study = trust(sources).study("t", purpose=PURPOSE, analyses={"m": dt.Glm("smoker ~ bmi", family="binomial")})
    with pytest.raises((NotConverged, Refused)) as caught:
        study.run()
    assert "set ridge" in str(caught.value)


def test_a_group_by_partner_is_refused_under_research_and_works_under_sandbox() -> None:
    analyses = {"t": dt.Describe(["bmi"], by=["partner"])}
    with pytest.raises(Refused, match="leave 'partner' out of groups and factors") as caught:
        trust().study("t", purpose=PURPOSE, analyses=analyses).run()
    assert caught.value.rule == "organisations"
    shown = trust(charter="sandbox").study("t", purpose=PURPOSE, analyses=analyses).run()["t"].to_frame()
    assert shown.loc[("north", "count"), "bmi"] == 60


def test_a_source_without_a_column_that_the_study_needs_says_so_and_others_work() -> None:
    sources = {name: frame.drop(columns="bmi") if name == "north" else frame for name, frame in frames().items()}
    made = trust(sources)
    with pytest.raises(SourceInvalid, match="partner 'north': the table has no column 'bmi'"):
        made.study("t", purpose=PURPOSE, analyses=TABLE).run()
    assert made.study("t", purpose=PURPOSE, analyses={"t": dt.Describe(["age"])}).run()["t"].nobs == 240


def test_the_description_of_another_table_is_no_fault_of_the_software() -> None:
    with pytest.raises(SourceInvalid, match="partner 'east': the table has no column 'chol'"):
        trust(dataset=DATA / "heart.yaml").study("t", purpose=PURPOSE, analyses={"t": dt.Describe(["chol"])}).run()
