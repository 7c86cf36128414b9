"""An attacker of our own against the hiding of cells: he shares no code with what he attacks.

He knows every cell that is shown, the grand total, and every line of every margin that its own table would show.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import datatrust as dt
from tests.support.sizes import FULL
from tests.support.small_trusts import K, rows, study, trust
from trust.privacy.suppression import suppress

pytestmark = pytest.mark.slow


def hide(table: Any, k: int = K, *, zero_is_small: bool = True, too_few: Any = None) -> np.ndarray:
    table = np.asarray(table)
    few = np.zeros(table.shape, dtype=bool) if too_few is None else too_few
    return suppress(table, few, k, zero_is_small)


@dataclass(frozen=True)
class Knowledge:
    """Sums of cells of one table: which cells (a mask of its shape), and their sum."""

    table: np.ndarray
    facts: tuple[tuple[np.ndarray, int], ...]

    def range_of(self, wanted: np.ndarray) -> tuple[float, float]:
        """The least and the greatest sum of the wanted cells, all cells being 0 or more: by linear programming."""
        matrix = np.array([mask.ravel() for mask, _ in self.facts], dtype=float)
        sums = np.array([total for _, total in self.facts], dtype=float)
        ends = []
        for sign in (1, -1):
            solved = linprog(sign * wanted.ravel().astype(float), A_eq=matrix, b_eq=sums, method="highs")
            assert solved.status == 0, "the true table satisfies all facts, and the total bounds it"
            ends.append(sign * solved.fun)
        return ends[0], ends[1]

    def whole_ranges(self) -> np.ndarray:
        """Least and greatest value of each cell over all tables of whole numbers, shape (2, …): by trying them all."""
        found = _tables(self.table.size, [(mask.ravel().tolist(), total) for mask, total in self.facts])
        return np.array([found.min(axis=0), found.max(axis=0)]).reshape(2, *self.table.shape)


def _tables(cells: int, facts: list[tuple[list[bool], int]]) -> np.ndarray:
    """Every way to fill the cells with whole numbers such that each fact's cells have its sum."""
    found: list[list[int]] = []

    def fill(chosen: list[int], left: list[int]) -> None:
        at = len(chosen)
        if at == cells:
            if not any(left):
                found.append(list(chosen))
            return
        of = [i for i, (mask, _) in enumerate(facts) if mask[at]]
        last = [left[i] for i in of if not any(facts[i][0][at + 1 :])]
        for value in {*last} if last else range(min(left[i] for i in of) + 1):
            after = [v - value if i in of else v for i, v in enumerate(left)]
            if min(after) >= 0:
                fill([*chosen, value], after)

    fill([], [total for _, total in facts])
    return np.array(found)


def everything(shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=bool)


def margins(table: np.ndarray) -> Iterable[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each proper margin as the axes kept and the axes summed over."""
    axes = range(table.ndim)
    for size in range(1, table.ndim):
        for kept in itertools.combinations(axes, size):
            yield kept, tuple(axis for axis in axes if axis not in kept)


def margins_of(
    table: np.ndarray, k: int, *, zero_is_small: bool = True, too_few: Any = None
) -> list[tuple[np.ndarray, int, bool]]:
    """Each line of each margin: its cells, its sum, and whether a table of the margin would show it.

    Where one cell makes up a line, the line has that cell's partners.
    """
    few = np.zeros(table.shape, dtype=bool) if too_few is None else too_few
    found = []
    for kept, summed in margins(table):
        lines = list(np.ndindex(tuple(table.shape[axis] for axis in kept)))
        masks = []
        for line in lines:
            where: list[Any] = [slice(None)] * table.ndim
            for axis, at in zip(kept, line, strict=True):
                where[axis] = at
            mask = np.zeros(table.shape, dtype=bool)
            mask[tuple(where)] = True
            masks.append(mask)
        alone = [(table[mask] > 0).sum() == 1 and few[mask][table[mask] > 0].all() for mask in masks]
        margin = table.sum(axis=summed)
        hidden = hide(margin, k, zero_is_small=zero_is_small, too_few=np.array(alone).reshape(margin.shape))
        found += [(mask, int(margin[line]), not hidden[line]) for mask, line in zip(masks, lines, strict=True)]
    return found


def known(table: np.ndarray, hidden: np.ndarray, lines: list[tuple[np.ndarray, int, bool]]) -> Knowledge:
    """All that is known of a table of which these cells are hidden."""
    facts = [(everything(table.shape), int(table.sum()))]
    facts += [(cell, int(table[cell][0])) for cell in single(~hidden)]
    facts += [(mask, total) for mask, total, shown in lines if shown]
    return Knowledge(table, tuple(facts))


def single(which: np.ndarray) -> list[np.ndarray]:
    """A mask of each of the cells."""
    found = []
    for cell in map(tuple, np.argwhere(which)):
        mask = np.zeros(which.shape, dtype=bool)
        mask[cell] = True
        found.append(mask)
    return found


def narrowest(table: np.ndarray, hidden: np.ndarray, k: int, **how: Any) -> float:
    """The width of the narrowest interval that the attacker finds for a hidden cell, or a hidden line of a margin."""
    lines = margins_of(table, k, **how)
    knowledge = known(table, hidden, lines)
    widths = []
    for wanted in [*single(hidden), *(mask for mask, _, shown in lines if not shown)]:
        low, high = knowledge.range_of(wanted)
        assert low - 1e-6 <= table[wanted].sum() <= high + 1e-6
        widths.append(np.floor(high + 1e-6) - np.ceil(low - 1e-6))
    return min(widths, default=np.inf)


# ---- the attacker works


@pytest.mark.parametrize(
    ("table", "hidden"),
    [
        pytest.param([[30, 3], [40, 50]], [[0, 1], [0, 0]], id="one cell: its row gives it back"),
        pytest.param([[30, 3], [40, 50]], [[0, 1], [0, 1]], id="two in a column: their rows give them back"),
        pytest.param([[3, 4, 60], [20, 30, 40]], [[1, 1, 0], [1, 1, 0]], id="a box with too small corners"),
        pytest.param([30, 3, 40], [0, 1, 0], id="a line: the total gives it back"),
        pytest.param([4, 3, 40], [1, 1, 0], id="two small cells: both are at most seven"),
    ],
)
def test_what_hides_too_little_is_found_out(table: Any, hidden: Any) -> None:
    assert narrowest(np.array(table), np.array(hidden, dtype=bool), K) < K


@pytest.mark.parametrize("table", [[[30, 3], [40, 50]], [[2, 3, 4], [5, 6, 7]], [[[3, 9], [8, 7]], [[1, 9], [2, 4]]]])
def test_trying_all_tables_and_linear_programming_agree(table: Any) -> None:
    """Where only the grand total and the two-way margins are known."""
    counts = np.array(table)
    knowledge = known(counts, everything(counts.shape), margins_of(counts, 1, zero_is_small=False))
    low, high = knowledge.whole_ranges()
    for wanted in single(everything(counts.shape)):
        assert knowledge.range_of(wanted) == pytest.approx((low[wanted][0], high[wanted][0]))


# ---- against what is hidden


SHAPES = [(2,), (3,), (7,), (2, 2), (2, 4), (3, 3), (4, 5), (2, 2, 2), (2, 3, 2), (3, 3, 2)]


@st.composite
def tables(draw: st.DrawFn, shapes: Any = SHAPES, largest: int = 60) -> np.ndarray:
    """Counts, many of them small; perhaps with a small row, or an empty level of each axis."""
    shape = draw(st.sampled_from(shapes))
    size = int(np.prod(shape))
    cell = st.one_of(st.integers(0, largest), st.integers(0, 5), st.integers(largest // 2, largest))
    table = np.array(draw(st.lists(cell, min_size=size, max_size=size)), dtype=np.int64).reshape(shape)
    match draw(st.sampled_from(["as it is", "small row", "empty row", "empty levels", "one small cell"])):
        case "small row":
            table[0] = table[0] % 4
        case "empty row":
            table[0] = 0
        case "empty levels":
            for axis in range(table.ndim):
                np.moveaxis(table, axis, 0)[-1] = 0
        case "one small cell":
            table += largest // 2
            table[(0,) * table.ndim] = 1
    return table


@given(tables(), st.sampled_from([2, 5, K]), st.booleans())
@settings(max_examples=15)
def test_every_cell_that_is_shown_has_k_persons(table: np.ndarray, k: int, zero_is_small: bool) -> None:
    shown = table[~hide(table, k, zero_is_small=zero_is_small)]
    assert ((shown >= k) | ((shown == 0) & (not zero_is_small))).all()


def attack(table: np.ndarray, k: int, zero_is_small: bool) -> None:
    hidden = hide(table, k, zero_is_small=zero_is_small)
    if not hidden.all():
        assert narrowest(table, hidden, k, zero_is_small=zero_is_small) >= k


@given(tables(), st.sampled_from([2, 5, K]), st.booleans())
@settings(max_examples=15)
def test_no_hidden_cell_is_bounded_within_less_than_k(table: np.ndarray, k: int, zero_is_small: bool) -> None:
    attack(table, k, zero_is_small)


@pytest.mark.slow
@given(tables(shapes=[*SHAPES, (5, 6), (3, 3, 3), (2, 2, 2, 2)]), st.sampled_from([2, 5, K]), st.booleans())
@settings(max_examples=300 if FULL else 40)
def test_no_hidden_cell_of_many_tables_is_bounded_within_less_than_k(
    table: np.ndarray, k: int, zero_is_small: bool
) -> None:
    attack(table, k, zero_is_small)


@given(tables(), st.data())
@settings(max_examples=15)
def test_no_cell_hidden_for_too_few_partners_is_bounded_within_less_than_k(
    table: np.ndarray, data: st.DataObject
) -> None:
    """Whatever is hidden for another reason is protected alike, large as it may be."""
    few = data.draw(st.lists(st.booleans(), min_size=table.size, max_size=table.size))
    too_few = np.array(few).reshape(table.shape)
    hidden = hide(table, too_few=too_few)
    assert hidden[too_few].all()
    if not hidden.all():
        assert narrowest(table, hidden, K, too_few=too_few) >= K


@given(tables(shapes=[(3,), (2, 2), (2, 3), (2, 2, 2)], largest=9), st.booleans())
@settings(max_examples=25)
def test_no_attacker_who_tries_all_tables_of_whole_numbers_does_better(table: np.ndarray, zero_is_small: bool) -> None:
    k = 3
    hidden = hide(table, k, zero_is_small=zero_is_small)
    if not hidden.all():
        low, high = known(table, hidden, margins_of(table, k, zero_is_small=zero_is_small)).whole_ranges()
        assert (high - low)[hidden].min(initial=k) >= k


def test_a_table_without_small_cells_is_shown_whole() -> None:
    assert not hide(np.full((4, 5), K)).any()
    assert not hide([[0, 40], [40, 0]], zero_is_small=False).any()


@pytest.mark.parametrize("small", [1, 6, 20])
def test_a_table_of_twelve_by_ten_takes_less_than_two_seconds(small: int) -> None:
    rng = np.random.default_rng(small)
    table = rng.integers(15, 200, (12, 10))
    table.ravel()[rng.choice(table.size, small, replace=False)] = rng.integers(0, K, small)
    began = time.process_time()
    hidden = hide(table)
    assert time.process_time() - began < 2
    assert not hidden.all()
    assert narrowest(table, hidden, K) >= K


# ---- results side by side


def people(table: np.ndarray, columns: dict[str, list[Any]], seed: int = 0) -> dict[str, pd.DataFrame]:
    """Persons of four partners with these counts of combinations, dealt out in turn."""
    levels = list(itertools.product(*columns.values()))
    chosen = [pair for pair, n in zip(levels, table.ravel(), strict=True) for _ in range(n)]
    at = np.concatenate([np.arange(n) + i for i, n in enumerate(table.ravel())]) % 4
    whole = rows(len(chosen), seed, **{name: [pair[i] for pair in chosen] for i, name in enumerate(columns)})
    return {name: whole[at == i].reset_index(drop=True) for i, name in enumerate("abcd")}


def counts_by(result: Any) -> np.ndarray:
    """The counts of a description, NaN where hidden, in the shape of its groups."""
    frame = result.to_frame()["x"].unstack()["count"]
    return frame.to_numpy(dtype=float, na_value=np.nan)


@pytest.mark.parametrize("women", [1, K - 1, K, 40])
def test_a_group_is_not_the_total_less_the_other_group(women: int) -> None:
    """With a description of all beside it, both groups are hidden or none."""
    of = trust(people(np.array([women, 150]), {"sex": ["F", "M"]}))
    result = study(of, {"all": dt.Describe(["x", "z"]), "by": dt.Describe(["x", "z"], by=["sex"])}).run()
    assert result["all"].to_frame().loc["count", "x"] == 150 + women
    by = result["by"].to_frame()
    assert by.isna().all(axis=None) if women < K else by.notna().all(axis=None)
    document = result["by"].to_dict()["values"]
    numbers = np.concatenate([np.ravel(v) for n, v in document.items() if n not in ("nobs", "hidden", "hidden_groups")])
    assert pd.isna(numbers).all() if women < K else not pd.isna(numbers).all()


def test_the_persons_without_a_value_are_not_all_less_those_with_one() -> None:
    """Three persons of b have no value of z: what they have in x is not the difference of two descriptions."""
    frames = people(np.array([60, 60, 60]), {"g": ["a", "b", "c"]})
    for frame in list(frames.values())[:3]:
        frame.loc[frame.index[frame["g"] == "b"][0], "z"] = np.nan
    result = study(trust(frames), dt.Describe(["z"], by=["g"])).run()["a"].to_frame()["z"].unstack()
    assert result["count"].tolist() == [60, 57, 60]
    assert result["mean"].notna().all()


TABLES = [
    pytest.param([[40, 3, 50], [60, 70, 80]], id="one small cell"),
    pytest.param([[40, 3, 5], [60, 70, 80]], id="two in a row"),
    pytest.param([[2, 3, 4], [60, 70, 80]], id="a small row"),
    pytest.param([[0, 40, 50], [60, 0, 80]], id="two empty cells"),
    pytest.param([[0, 0, 0], [60, 70, 80]], id="an empty row"),
    pytest.param([[11, 11, 10], [90, 11, 90]], id="at the edge"),
]


def facts_of(shown: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[np.ndarray, int]]:
    """What a result says of a table: the sum of the cells behind each number that it shows."""
    found = []
    for line in map(tuple, np.argwhere(~np.isnan(shown))):
        where: list[Any] = [slice(None)] * len(shape)
        for axis, at in zip(axes, line, strict=True):
            where[axis] = at
        mask = np.zeros(shape, dtype=bool)
        mask[tuple(where)] = True
        found.append((mask, int(shown[line])))
    return found


def small_and_bounded(truth: np.ndarray, facts: list[tuple[np.ndarray, int]], hidden: np.ndarray) -> list[Any]:
    """Hidden cells that the facts bound within less than k: the count, and its bounds."""
    knowledge = Knowledge(truth, tuple(facts))
    found = []
    for wanted in single(hidden):
        low, high = knowledge.range_of(wanted)
        if high - low < K - 1e-6:
            found.append((int(truth[wanted][0]), round(low), round(high)))
    return found


@pytest.mark.parametrize("table", TABLES)
def test_a_crosstab_beside_all_its_margins_gives_no_hidden_cell(table: Any) -> None:
    """The rows as a histogram and as a description, the columns as a description, and the total."""
    truth = np.array(table)
    of = trust(people(truth, {"y": [False, True], "g": ["a", "b", "c"]}))
    questions = {
        "table": dt.Crosstab("y", "g"),
        "rows": dt.Histogram("y", [0, 0.5, 1]),
        "by-y": dt.Describe(["x"], by=["y"]),
        "by-g": dt.Describe(["x"], by=["g"]),
        "all": dt.Describe(["x"]),
    }
    result = study(of, questions).run()
    shown = result["table"].to_frame().to_numpy(dtype=float, na_value=np.nan)
    bins = result["rows"].to_frame()["count"].to_numpy(dtype=float, na_value=np.nan)
    facts = [
        *facts_of(shown, (0, 1), truth.shape),
        *facts_of(bins, (0,), truth.shape),
        *facts_of(counts_by(result["by-y"]), (0,), truth.shape),
        *facts_of(counts_by(result["by-g"]), (1,), truth.shape),
        (everything(truth.shape), int(result["all"].to_frame().loc["count", "x"])),
    ]
    assert all(truth[mask].sum() == total for mask, total in facts)
    assert small_and_bounded(truth, facts, np.isnan(shown)) == []


def test_the_same_attack_finds_the_cell_where_it_is_alone_hidden() -> None:
    """The positive control: by hand, without hiding a second cell."""
    truth = np.array([[40, 3, 50], [60, 70, 80]])
    shown = np.where(truth < K, np.nan, truth)
    facts = [*facts_of(shown, (0, 1), truth.shape), *facts_of(truth.sum(axis=1).astype(float), (0,), truth.shape)]
    assert small_and_bounded(truth, facts, np.isnan(shown)) == [(3, 3, 3)]


@pytest.mark.parametrize("seed", range(4))
def test_a_description_by_three_columns_beside_its_crosstabs_gives_no_hidden_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(15, 60, (2, 3, 2))
    truth.ravel()[rng.choice(12, 3, replace=False)] = rng.integers(0, K, 3)
    of = trust(people(truth, {"sex": ["F", "M"], "g": ["a", "b", "c"], "y": [False, True]}))
    pairs = {(0, 1): ("sex", "g"), (0, 2): ("sex", "y"), (1, 2): ("g", "y")}
    questions: dict[str, Any] = {"-".join(names): dt.Crosstab(*names) for names in pairs.values()}
    result = study(of, questions | {"cube": dt.Describe(["x"], by=["sex", "g", "y"])}).run()
    cube = result["cube"].to_frame()["x"].unstack()["count"]
    shown = cube.to_numpy(dtype=float, na_value=np.nan).reshape(truth.shape)
    facts = [(everything(truth.shape), int(truth.sum())), *facts_of(shown, (0, 1, 2), truth.shape)]
    for axes, names in pairs.items():
        table = result["-".join(names)].to_frame().to_numpy(dtype=float, na_value=np.nan)
        facts += facts_of(table, axes, truth.shape)
    assert all(truth[mask].sum() == total for mask, total in facts)
    assert np.isnan(shown)[truth < K].all()
    assert small_and_bounded(truth, facts, np.isnan(shown)) == []
