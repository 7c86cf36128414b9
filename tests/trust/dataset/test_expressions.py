"""Arithmetic is read into a closed tree; nothing is ever evaluated as code, and what may be undefined is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import DATA
from trust.canonical import read_model
from trust.dataset.dataset import Dataset
from trust.dataset.expressions import Calculate, parse_expression, written
from trust.errors import FormulaInvalid, StudyInvalid

HEART = Dataset.load(DATA / "heart.yaml")

REFUSED = {
    "": "an expression that cannot be parsed; expected such as 1 + age / 10",
    "age +": "an expression that cannot be parsed",
    "agee + 1": "column 'agee' is not in dataset 'heart'; expected 'age', perhaps",
    "partner": "column 'partner' is not in dataset 'heart'",
    "sex + 1": "column 'sex' is a category in an expression; expected a number, or the term C(sex)",
    "'x'": "a text or a constant that is not a number in an expression; expected numbers and columns",
    "True": "a text or a constant that is not a number",
    "1j": "a text or a constant that is not a number",
    "1e400": "an expression outside what is allowed",
    "__import__('os')": "a call of '__import__' in an expression; expected only log, log1p, exp, sqrt",
    "log(age, 2)": "a call of 'log' in an expression",
    "age.__class__": "column 'age.__class__' is not in dataset 'heart'",
    "(lambda: 1)()": "a call of 'something' in an expression",
    "[age for age in (1,)]": (
        "an expression outside what is allowed; expected columns, numbers, + - * / ** and comparisons"
    ),
    "age if age else 1": "an expression outside what is allowed",
    "age[0]": "an expression outside what is allowed",
    "f'{age}'": "an expression outside what is allowed",
    "(age := 1)": "an expression outside what is allowed",
    "age @ chol": "an expression outside what is allowed",
    "age > chol": "a comparison with something that is not a number; expected such as age > 60",
    "40 < age < 50": "an expression outside what is allowed",
    "age ** chol": "a power that is not a number; expected such as x**2",
    "log(chol)": (
        "log(chol) needs values above 0, and the dataset allows others; to fix it: declare a minimum in the dataset"
    ),
    "log1p(oldpeak)": "log1p(oldpeak) needs values above -1",
    "sqrt(oldpeak)": "sqrt(oldpeak) needs values of 0 or more",
    "oldpeak ** 0.5": "needs values of 0 or more, and the dataset allows others; to fix it: declare a minimum",
    "1 + " * 900 + "1": "an expression nested too deeply; expected at most 40 levels",
    "-" * 3_900 + "1": "an expression",
    "a" + ".b" * 1_900: "is not in dataset 'heart'",
    "(" * 10_000: "an expression of 10000 characters; expected at most 4,000, 40 parentheses",
    "(" * 41 + "age" + ")" * 41: "expected at most 4,000, 40 parentheses",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30] or "empty")
def test_anything_else_is_refused_with_what_was_found_and_what_is_allowed(text: str) -> None:
    with pytest.raises(FormulaInvalid) as caught:
        parse_expression(text, HEART)
    assert REFUSED[text] in str(caught.value)


@pytest.mark.parametrize(
    "text", ["age ** 400", "age ** 10000000000", "exp(exp(chol))", "1e299 * 1e299", "0 * exp(exp(chol))"]
)
def test_a_number_too_large_for_a_double_is_infinite_and_no_failure(text: str) -> None:
    low, high = parse_expression(text, HEART).interval(HEART)
    assert low <= high


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + age / 10", 6.0),
        ("log(age)", np.log(50)),
        ("-age", -50.0),
        ("(age > 40) * 2", 2.0),
        ("age**-1", 0.02),
        ("exp(age - 50)", 1.0),
    ],
)
def test_what_is_allowed_is_calculated_and_reads_back(text: str, expected: float) -> None:
    found = parse_expression(text, HEART)
    assert found.evaluate(lambda name: np.array([50.0]))[()] == pytest.approx(expected)
    assert parse_expression(written(found), HEART) == found


def test_a_power_in_a_study_is_a_number_too() -> None:
    document = {"op": "**", "left": {"column": "age"}, "right": {"column": "chol"}}
    with pytest.raises(StudyInvalid, match="a power is a number"):
        read_model(Calculate, document, StudyInvalid, "the expression")
