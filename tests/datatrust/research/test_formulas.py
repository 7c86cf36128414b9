"""A formula becomes typed terms; what it quotes is never run, and too many terms are not even written out."""

from __future__ import annotations

from time import perf_counter

import pytest

from datatrust.research.formulas import parse_formula
from tests.conftest import DATA
from trust.dataset.dataset import Dataset
from trust.errors import FormulaInvalid

HEART = Dataset.load(DATA / "heart.yaml")

REFUSED = {
    "disease ~ age + {sex}": "quoted code in a formula; expected columns, + - : * / ** and log log1p exp sqrt C I",
    "disease ~ {__import__('os').system('x')}": "quoted code in a formula",
    "disease ~ `__import__('os')`": "is not in dataset 'heart'",
    "disease ~ os.system('x')": "a call of 'os.system' in an expression; expected only log, log1p, exp, sqrt",
    "disease ~ (lambda: 1)()": "is not in dataset 'heart'",
    "disease ~ aeg": "column 'aeg' is not in dataset 'heart'; expected 'age', perhaps",
    "disease ~ poly(age, 2)": "poly() needs the data to be defined; expected terms that follow from the dataset alone",
    "disease ~ bs(age, 3)": "bs() needs the data to be defined",
    "disease ~ center(age)": "center() needs the data to be defined",
    "disease ~ offset(age)": "offset() in a formula; expected the argument offset='log(time)' of the model",
    "disease ~ np.log(age)": "a call of 'np.log' in an expression",
    "disease ~ log(chol)": "log(chol) needs values above 0",
    "disease ~ C(age)": "C(age): the column has no levels in the dataset; expected a column with an enum, or a boolean",
    "disease ~ C(cp, Sum)": "C() with another contrast; expected C(column, Treatment(level))",
    "disease ~ C(cp, Treatment(True))": "Treatment() of something that is not a level",
    "disease ~ C()": "C() with other arguments",
    "disease ~ .": "a formula that cannot be parsed",
    "disease ~ 'a'": "a formula that cannot be parsed",
    "disease ~ 2 * age": "a formula that cannot be parsed",
    "disease ~ age +": "a formula that cannot be parsed; expected such as disease ~ age + sex + C(cp)",
    "disease ~ (age": "a formula that cannot be parsed",
    " ~ age": "a formula without an outcome; expected such as disease ~ age + sex",
    "age + sex": "0 times '~' in a formula; expected one: outcome ~ terms",
    "disease ~ age ~ sex": "2 times '~' in a formula",
    "disease + age ~ sex": "a formula with several outcomes; expected one",
    "disease ~ age | sex": "a second part in a formula",
    "disease ~ [age ~ sex]": "times '~' in a formula",
    "disease ~ age[0]": "a bracket in a formula",
    "disease ~ (age + sex)**40": "a power of terms that is not a digit; expected such as (a + b)**2, or I(x**2)",
    "disease ~ (age + sex)**100000000": "a power of terms that is not a digit",
    "disease ~ age**x": "a power of terms that is not a digit",
    "disease ~ (age + sex + cp + chol + exang + num)**9": (
        "a formula that may have more than 1,000 terms; expected fewer"
    ),
    "disease ~ " + "*".join(["age"] * 41): "a formula that may have more than 1,000 terms",
    "disease ~ " + "(age + sex)*" * 30 + "cp": "a formula that may have more than 1,000 terms",
    "disease ~ " + "(" * 10_000 + "age" + ")" * 10_000: "characters; expected at most 4,000, and 40 parentheses",
    "disease ~ C(a" + ".b" * 1_900 + ")": "a formula that cannot be parsed",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_anything_else_is_refused_at_once_with_what_is_allowed(text: str) -> None:
    began = perf_counter()
    with pytest.raises(FormulaInvalid) as caught:
        parse_formula(text, HEART)
    assert REFUSED[text] in str(caught.value)
    assert perf_counter() - began < 10


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("disease ~ age * sex", 3),
        ("disease ~ (age + sex + chol)**2", 6),
        ("disease ~ age / sex", 2),
        ("disease ~ `age` + I(age**2) + I(age**40)", 3),
        ("disease ~ age*sex*cp*chol*exang*num", 63),
        ("disease ~ 1", 0),
    ],
)
def test_products_and_powers_are_written_out(text: str, terms: int) -> None:
    _, found, intercept = parse_formula(text, HEART)
    assert (len(found), intercept) == (terms, True)
