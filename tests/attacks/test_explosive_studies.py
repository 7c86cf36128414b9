"""A study of a few bytes that would become a table or a model of millions is refused before anything is written out."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from tests.conftest import DATA
from trust.analyses import Describe, Glm
from trust.analyses.base import Scope
from trust.canonical import read_model
from trust.dataset.dataset import Column, Dataset
from trust.errors import StudyInvalid
from trust.privacy.protections import Protections

PARTNERS = ("a", "b", "c")
HEART = Scope(Dataset.load(DATA / "heart.yaml"), PARTNERS, Protections())
WIDE = Scope(
    Dataset(
        id="wide",
        name="wide",
        version="1",
        columns=(*(Column(name=f"x{i}", type="boolean") for i in range(70)), Column(name="y", type="number")),
    ),
    PARTNERS,
    Protections(),
)
CP = {"function": "C", "column": "cp"}


def older(than: int) -> dict[str, Any]:
    return {"op": ">", "left": {"column": "age"}, "number": f"{than}.0"}


def model(*factors: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "glm",
        "outcome": {"column": "disease"},
        "terms": [list(factors)],
        "family": "binomial",
        "link": "logit",
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (model(*[CP] * 30), "a model of more than 10,000 columns; expected fewer"),
        (model(*({"function": "C", "column": f"x{i}"} for i in range(60))), "more than 10,000 columns"),
        (model(*(older(i) for i in range(60))), "more than 10,000 combinations of levels"),
    ],
    ids=["one category thirty times", "sixty categories", "sixty conditions"],
)
def test_a_product_of_many_factors_is_refused_at_once(document: dict[str, Any], expected: str) -> None:
    scope = WIDE if "x1" in str(document) else HEART
    if scope is WIDE:
        document = {**document, "outcome": {"column": "x69"}}
    began = perf_counter()
    with pytest.raises(StudyInvalid, match=expected):
        read_model(Glm, document, StudyInvalid, "the analysis").plan(scope)
    assert perf_counter() - began < 5


def test_a_product_of_a_few_factors_is_planned() -> None:
    document = model(CP, {"function": "C", "column": "sex"}, older(60))
    assert read_model(Glm, document, StudyInvalid, "the analysis").plan(HEART)


@pytest.mark.parametrize("groups", [14, 64, 68])
def test_a_table_of_too_many_groups_is_refused_at_once(groups: int) -> None:
    """2^64 groups are 0 in a machine's whole numbers."""
    with pytest.raises(StudyInvalid, match="a table of more than 10000 groups"):
        Describe(columns=("y",), by=tuple(f"x{i}" for i in range(groups))).plan(WIDE)


def test_a_table_of_a_few_groups_is_planned() -> None:
    assert Describe(columns=("y",), by=("x1", "x2", "x3")).plan(WIDE)
