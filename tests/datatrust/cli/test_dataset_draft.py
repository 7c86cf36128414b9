"""A draft proposes a description and prints neither an extreme nor a rare value; a written dataset reads back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datatrust as dt
from tests.conftest import DATA
from trust.dataset.dataset import Column, Level, TimeGrid
from trust.dataset.draft import draft_dataset


def drafted(values: Any, **asked: Any) -> Column:
    return dt.Dataset.draft(pd.DataFrame({"x": values}), **asked).column("x")


def spread(low: float, high: float, n: int = 40) -> list[float]:
    return [low, high, *np.linspace(low, high, n).tolist()]


# ---- bounds


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        pytest.param(list(range(29, 78)), (20, 80), id="ages, rounded outward to tens"),
        pytest.param(list(range(20, 81)), (10, 90), id="an extreme that is round already is not printed"),
        pytest.param(list(range(85, 604)), (80, 700), id="one significant figure"),
        pytest.param(list(range(12)), (0, 20), id="small whole numbers go to tens, zero stays"),
        pytest.param(spread(-2.6, 6.2), (-3, 7), id="tenths go to ones"),
        pytest.param([i / 1000 for i in range(3, 77)], (0, 0.08), id="thousandths go to hundredths"),
        pytest.param([*range(-30, 0)], (-40, 0), id="negative numbers"),
    ],
)
def test_bounds_lie_beyond_the_extremes(values: list[float], bounds: tuple[float, float]) -> None:
    assert drafted(values).bounds == bounds


@given(st.lists(st.integers(-100_000, 100_000).filter(bool), min_size=30, max_size=60, unique=True))
@settings(max_examples=60)
def test_no_extreme_is_printed(values: list[int]) -> None:
    low, high = drafted(values).bounds
    assert low <= min(values) <= max(values) <= high
    assert low not in values
    assert high not in values
    for extreme in (min(values), max(values)):
        assert f": {extreme}," not in draft_dataset(pd.DataFrame({"x": values})).to_yaml()


def test_few_persons_give_no_bounds() -> None:
    draft_ = draft_dataset(pd.DataFrame({"x": [1.5] * 5 + [None] * 50}))
    assert draft_.dataset.column("x").bounds == (-np.inf, np.inf)
    assert "Fewer than 11 persons" in draft_.to_yaml()


def test_infinite_values_are_no_bounds() -> None:
    assert drafted([np.inf, -np.inf, *np.linspace(0.1, 2, 20)]).bounds == (0, 3)


# ---- levels


def test_levels_of_few_persons_are_left_out_and_said() -> None:
    made = draft_dataset(pd.DataFrame({"x": ["b"] * 20 + ["a"] * 11 + ["rare"] * 10}))
    assert made.dataset.column("x").values == ("a", "b")
    assert "rare" not in made.to_yaml()
    assert "levels are left out" in made.to_yaml()


def test_persons_count_and_not_rows() -> None:
    frame = pd.DataFrame({"id": [1] * 30 + list(range(2, 32)), "x": ["often"] * 30 + ["a", "b"] * 15})
    made = dt.Dataset.draft(frame, person="id")
    assert made.column("x").values == ("a", "b")
    assert made.names == ("x",)
    assert (made.person, made.rows_per_person) == ("id", 40)


def test_the_order_of_pandas_categories_is_kept() -> None:
    values = pd.Categorical(["low", "high", "mid"] * 15, categories=["low", "mid", "high", "never"], ordered=True)
    assert drafted(values).values == ("low", "mid", "high")


@pytest.mark.parametrize(
    ("values", "kind", "levels"),
    [
        pytest.param([0, 1] * 20, "boolean", (False, True), id="0 and 1"),
        pytest.param([0.0, 1.0, np.nan] * 20, "boolean", (False, True), id="0 and 1 with gaps, as pandas reads them"),
        pytest.param(["yes", "no", ""] * 20, "boolean", (False, True), id="yes and no"),
        pytest.param(
            pd.array([True, False, None] * 20, dtype="boolean"), "boolean", (False, True), id="pandas booleans"
        ),
        pytest.param([1, 2, 3, 4] * 20, "integer", (1, 2, 3, 4), id="few small whole numbers"),
        pytest.param(["1", "2", "NA"] * 20, "integer", (1, 2), id="codes as texts, with a marker for missing"),
        pytest.param([1000, 2000] * 20, "integer", (), id="few large numbers are measurements"),
        pytest.param(list(range(11)) * 12, "integer", (), id="eleven different numbers are measurements"),
        pytest.param([1, 2, 3, 4] * 3 + [5] * 5 * 1, "integer", (), id="codes that few persons hold are measurements"),
        pytest.param([0.5, 1.5] * 20, "number", (), id="fractions"),
        pytest.param([f"p{i}" for i in range(200)], "string", (), id="free text"),
        pytest.param(["2020-01-31", "2021-02-28"] * 20, "date", (), id="dates as texts"),
        pytest.param(pd.date_range("2020", periods=40), "date", (), id="dates"),
        pytest.param([None] * 20, "string", (), id="nothing"),
    ],
)
def test_types(values: Any, kind: str, levels: tuple[Any, ...]) -> None:
    column = drafted(values)
    assert (column.type, column.values) == (kind, levels)


def test_free_text_prints_none_of_it() -> None:
    made = draft_dataset(pd.DataFrame({"note": [f"secret-{i}" for i in range(100)]}))
    assert "secret" not in made.to_yaml()
    assert "Free text" in made.to_yaml()


def test_names_that_a_dataset_cannot_have_are_replaced() -> None:
    frame = pd.DataFrame(
        {"Chest pain (é)": range(20), "partner": range(20), "AGE": range(20), "age": range(20), 7: range(20)}
    )
    made = draft_dataset(frame)
    assert made.dataset.names == ("Chest_pain_e", "partner_", "AGE", "age_2", "c_7")
    assert "columns = {age_2 = 'age'}" in made.to_yaml()


@pytest.mark.parametrize(
    ("frame", "asked", "said"),
    [
        pytest.param([1, 2], {}, "from a list", id="no frame"),
        pytest.param(pd.DataFrame(), {}, "without rows", id="an empty frame"),
        pytest.param(pd.DataFrame({"x": []}), {}, "without rows", id="no rows"),
        pytest.param(pd.DataFrame({"x": [1]}), {"person": "y"}, "no column 'y'", id="an unknown person"),
        pytest.param(pd.DataFrame({"x": [1]}), {"person": "x"}, "without columns", id="only the person"),
        pytest.param(pd.DataFrame({"x": [1]}), {"persons": 0}, "persons = 0", id="persons below 1"),
        pytest.param(pd.DataFrame([[1, 2]], columns=["x", "x"]), {}, "the same name", id="a name twice"),
    ],
)
def test_what_cannot_be_drafted(frame: Any, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(dt.InvalidInput, match=said):
        dt.Dataset.draft(frame, **asked)


# ---- writing


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_written_dataset_reads_back_equal(path: Path) -> None:
    dataset = dt.Dataset.load(path)
    assert dt.Dataset.parse(dataset.to_yaml()) == dataset


def test_everything_a_dataset_can_hold_reads_back_equal() -> None:
    texts = ("1", "yes", "", "null", "a # b", "2020-01-01", "~", "é: [x]", "x" * 60)
    columns = (
        Column(name="t", type="number", minimum=1e-9, maximum=1e22, unit="°, {C}", magnitude=True, required=True),
        Column(
            name="s", type="string", levels=tuple(Level(value=v, label='it\'s: "so"') for v in texts), label="a: [b]"
        ),
        Column(name="i", type="integer", levels=(Level(value=-1), Level(value=2))),
        Column(name="d", type="number", grid=TimeGrid(unit="d", step=0.5, until=3650), description="days\nor so"),
        Column(name="ill", type="boolean", derived="num > 0 and t < 5", sources=("num",)),
        Column(name="when", type="date"),
    )
    dataset = dt.Dataset(
        id="a-b",
        name="yes",
        version="1.0",
        description='a: b # c\n"q"',
        person="who",
        rows_per_person=7,
        columns=columns,
    )
    assert dt.Dataset.parse(dataset.to_yaml()) == dataset


def test_a_draft_with_comments_reads_back_equal_and_fits_its_table() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"age": rng.integers(20, 90, 300), "group": rng.choice(["a", "b"], 300), "w": rng.normal(size=300)}
    )
    made = draft_dataset(frame)
    assert dt.Dataset.parse(made.to_yaml()) == made.dataset
    trust = dt.local(sources=dict.fromkeys(("one", "two", "three"), frame), dataset=made.dataset)
    study = trust.study("Ages", purpose="AcademicResearch", analyses={"ages": dt.Describe(["age"], by=["group"])})
    assert study.run()["ages"].nobs == 900
