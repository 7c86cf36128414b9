"""A cohort is a small closed part of SQL: everything else ends in a clear error before it is given to anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import DATA
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Column, Dataset, Level
from trust.errors import CohortInvalid

HEART = Dataset.load(DATA / "heart.yaml")
ODD = Dataset(
    id="odd",
    name="odd",
    version="1",
    columns=(
        Column(name="ph.ecog", type="number"),
        Column(name="birth", type="date"),
        Column(name="text", type="string", levels=(Level(value="it's"), Level(value="C#; --"), Level(value="(("))),
    ),
)

REFUSED = {
    "": "a cohort without a condition; expected such as age >= 40",
    " \n ": "a cohort without a condition",
    "age": "column 'age' alone is not a condition; expected such as age = …",
    "true": "a cohort that is not a condition",
    "age >": "a cohort that cannot be parsed; expected such as age >= 40 and sex = 'F'",
    "age >= 40; drop table x": "a semicolon in a cohort; expected one condition",
    "age >= 40 -- all": "a comment in a cohort; expected the condition alone; to fix it: put words into the summary",
    "age >= 40 /* all */": "a comment in a cohort",
    "lower(sex) = 'f'": "a function call in a cohort; expected columns compared with literals",
    "case when true then true end": "a function call in a cohort",
    "age in (select 1)": "a sub-query in a cohort",
    "exists (select 1)": "in a cohort; expected columns compared with literals",
    "(select 1)": "a sub-query in a cohort",
    "age + 1 > 40": "add in a cohort; expected columns compared with literals",
    "sex like 'F%'": "like in a cohort",
    "age > ?": "placeholder in a cohort",
    "age > date '2020-01-01'": "a cast in a cohort; expected a column against a literal; to fix it: write a date as",
    "age::int > 40": "a cast in a cohort",
    "age between symmetric 50 and 40": "the word symmetric in a cohort; expected plain comparisons",
    'sex = "F"': "'F' is not a column of dataset 'heart'; expected one of: age,",
    "agee >= 40": "'agee' is not a column of dataset 'heart'; expected 'age', perhaps",
    "partner = 'north'": "a cohort cannot name a partner: each node answers for its own rows",
    "sex = 'W'": "'W' is not a level of column 'sex'; expected one of: F, M",
    "sex = 1": "column 'sex' is compared with a number; expected a text in single quotes",
    "age = '40'": "column 'age' is compared with a string; expected a number",
    "exang = 1": "column 'exang' is compared with a number; expected true or false",
    "age = null": "a comparison without a literal",
    "age is true": "'is' with something other than null",
    "age = sex": "'age' is compared with 'sex'; expected columns of the same type",
    "1 = 1": "a comparison without a column",
    "age in ()": "'in' without a list of literals; expected such as cp in (1, 2)",
    "age > 1e400": "a number that is not finite in a cohort",
    "age > 1 > 0": "a comparison without a column",
    "age > 40\x00": "a character in a cohort that cannot be printed; expected plain text",
    "age > 40\u200b": "a character in a cohort that cannot be printed",
    "x" * 4_001: "a cohort of 4001 characters; expected at most 4000",
    "(" * 10_000: "characters; expected at most 4000",
    "(" * 21 + "age > 1" + ")" * 21: "21 opening parentheses in a cohort; expected at most 20; to fix it: use in (…)",
    "not " * 200 + "exang": "a cohort with too many conditions; expected at most 120; to fix it: use in (…)",
    " or ".join(["age = 1"] * 200): "a cohort with too many conditions",
    "age > " + "9" * 3_000: "a number that is not finite in a cohort",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40].strip() or "empty")
def test_anything_else_is_refused_with_what_was_found_and_what_is_allowed(text: str) -> None:
    with pytest.raises(CohortInvalid) as caught:
        Cohort.parse(text, HEART)
    assert REFUSED[text] in str(caught.value)
    assert len(str(caught.value)) < 400


def test_double_quotes_are_for_names_and_the_error_says_so() -> None:
    with pytest.raises(CohortInvalid, match="write a text in single quotes: 'F'"):
        Cohort.parse('sex = "F"', HEART)


@pytest.mark.parametrize("date", ["2020-13-01", "2020-1-1", "01/02/2020", "yesterday", "2020-01-01 10:00"])
def test_a_text_that_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(
        CohortInvalid, match="column 'birth' is compared with a text that is not a date; expected 'YYYY-MM-DD'"
    ):
        Cohort.parse(f"birth >= '{date}'", ODD)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("age>=40", '"age" >= 40'),
        ("age != 40", '"age" <> 40'),
        ("sex not in ('F')", "NOT \"sex\" IN ('F')"),
        ("chol is not null", 'NOT "chol" IS NULL'),
        ("exang", '"exang"'),
        ("not exang", 'NOT "exang"'),
        ("age between 40 and 50", '"age" BETWEEN 40 AND 50'),
    ],
)
def test_equal_questions_have_one_text_and_it_reads_back(text: str, normal: str) -> None:
    cohort = Cohort.parse(text, HEART)
    assert cohort.text == normal
    assert Cohort.parse(cohort.text, HEART).text == normal


def test_names_with_dots_and_texts_with_any_sign_are_read() -> None:
    cohort = Cohort.parse("ph.ecog >= 1 and text in ('it''s', 'C#; --', '((')", ODD)
    assert cohort.columns == ("ph.ecog", "text")
    assert Cohort.parse(cohort.text, ODD) == Cohort.parse(cohort.text, ODD)
    bound: list[Any] = []
    sql = cohort.sql(lambda value: bound.append(value) or "?", lambda name: f"<{name}>")
    assert sql == "((<ph.ecog> >= ?) AND (<text> IN (?, ?, ?)))"
    assert bound == [1, "it's", "C#; --", "(("]


@pytest.mark.parametrize(
    ("text", "value"), [("99999999999999999999", 1e20), ("-5", -5), (".5", 0.5), ("1e3", 1000.0), ("- - 5", 5)]
)
def test_numbers_are_bound_as_numbers(text: str, value: float) -> None:
    bound: list[Any] = []
    Cohort.parse(f"age > {text}", HEART).sql(lambda v: bound.append(v) or "?", str)
    assert bound == [value]
