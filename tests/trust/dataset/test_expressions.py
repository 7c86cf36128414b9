"""Arithmetic is read into a closed tree; nothing is ever evaluated as code, and what may be undefined is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.conftest import DATA
from trust.canonical import read_model
from trust.dataset.dataset import Column, Dataset
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


TOO_LARGE = "may be too large for a number; expected values up to 1e+300, by the bounds in the dataset; to fix it:"
NOT_FINITE = {
    "age ** 400": f"age ** 400 {TOO_LARGE} declare narrower bounds, or",
    "age ** 10000000000": TOO_LARGE,
    "exp(exp(chol))": f"exp(chol) {TOO_LARGE} declare narrower bounds",
    "1e299 * 1e299": TOO_LARGE,
    "0 * exp(exp(chol))": TOO_LARGE,
    "exp(1000 * age) > 2": TOO_LARGE,
    "1 / (age - 97)": (
        "1 / (age - 97) divides by age - 97, which may be 0; expected a divisor that is never 0, by the bounds in the "
        "dataset; to fix it: declare bounds that leave out 0, or add a constant: 1 / (1 + x)"
    ),
    "0 / ((age - 61)**2 + (chol - 25.9)**2)": "which may be 0",
    "(age - 97) ** -1": "(age - 97) ** (-1) divides by age - 97, which may be 0",
    "(age - 97) ** -2": "which may be 0",
    "(age - 97) ** -0.5": "needs values of 0 or more",
    "1 / (age * 0)": "which may be 0",
}


@pytest.mark.parametrize("text", NOT_FINITE)
def test_what_may_not_be_finite_is_refused_by_the_bounds_alone(text: str) -> None:
    with pytest.raises(FormulaInvalid) as caught:
        parse_expression(text, HEART)
    assert NOT_FINITE[text] in str(caught.value)


BOUNDS: tuple[tuple[float | None, float | None], ...] = ((18, 120), (-3.5, 2), (0, 1), (None, 0), (None, None))
BOUNDED = Dataset(
    id="bounded",
    name="Bounded",
    version="1",
    columns=tuple(
        Column(name=f"x{place}", type="number", minimum=low, maximum=high) for place, (low, high) in enumerate(BOUNDS)
    ),
)
POWERS = st.sampled_from(["2", "3", "-1", "-2", "0", "0.5", "-0.5", "7"])
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "0.5", "10", "97", "1e-6", "1e6"])
ATOMS = NUMBERS | st.sampled_from(BOUNDED.names)
TEXTS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, POWERS).map("({0[0]})**{0[1]}".format),
        st.tuples(st.sampled_from(["log", "log1p", "exp", "sqrt"]), inner).map("{0[0]}({0[1]})".format),
        st.tuples(inner, NUMBERS).map("(({0[0]}) > {0[1]})".format),
    ),
    max_leaves=6,
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.filter_too_much])
@given(TEXTS, st.integers(0, 2**32 - 1))
@example("((x1 - 1) / 60)**3", 0)
@example("1 / (1 + exp(10 * (92 - x0)))", 0)
@example("log(x0 - 17) * x3**2", 0)
def test_what_is_accepted_is_finite_and_in_its_interval_for_every_value_within_bounds(text: str, seed: int) -> None:
    try:
        expression = parse_expression(text, BOUNDED)
    except FormulaInvalid:
        assume(False)
        return
    random = np.random.default_rng(seed)
    table = {}
    for column in BOUNDED.columns:
        low, high = column.span
        inside = random.uniform(low, high, 40)
        near = np.clip([0, low, high, 1, 2, 97, -1, 1e-9, *np.geomspace(1e-12, 1e12, 9)], low, high)
        table[column.name] = random.permutation(np.concatenate([inside, near]))
    values = np.broadcast_to(expression.evaluate(table.__getitem__), (57,))
    assert np.isfinite(values).all()
    low, high = expression.interval(BOUNDED)
    slack = 1e-12 * max(abs(low), abs(high))
    assert low - slack <= values.min() <= values.max() <= high + slack


@pytest.mark.parametrize("power", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("centre", [-1, 0, 60])
def test_a_whole_power_of_what_may_be_negative_has_the_interval_of_its_ends(power: int, centre: float) -> None:
    low, high = parse_expression(f"((x0 - {centre})/60)**{power}", BOUNDED).interval(BOUNDED)
    ends = [((end - centre) / 60) ** power for end in (18, 120)]
    if power % 2 == 0 and centre == 60:
        ends.append(0.0)
    assert (low, high) == pytest.approx((min(ends), max(ends)))


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
