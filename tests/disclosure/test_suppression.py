"""What an attacker can work out of a table with hidden cells, computed here by other means than the code's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.support.sizes import FULL
from trust.privacy.suppression import suppress

K = 11
NONE = None


def hide(counts: Any, few: Any = NONE, k: int = K, *, zero_is_small: bool = True) -> Any:
    counts = np.asarray(counts)
    return suppress(counts, np.zeros(counts.shape, dtype=bool) if few is NONE else np.asarray(few), k, zero_is_small)


def margins(
    counts: Any, k: int, *, zero_is_small: bool = True, few: Any = NONE
) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """Axes that are summed, the margin's counts, and which of them a table of its own would hide."""
    few = np.zeros(counts.shape, dtype=bool) if few is NONE else few
    for size in range(1, counts.ndim):
        for summed in combinations(range(counts.ndim), size):
            margin = counts.sum(axis=summed)
            alone = (counts > 0).sum(axis=summed) == 1
            yield (
                summed,
                margin,
                hide(margin, alone & (few & (counts > 0)).any(axis=summed), k, zero_is_small=zero_is_small),
            )


def known(counts: Any, hidden: Any, k: int, *, zero_is_small: bool = True, few: Any = NONE) -> tuple[Any, Any]:
    """Equations `A x = b` over all cells: what is shown of the table and of its margins, and the grand total."""
    rows, sums = [np.ones(counts.size)], [counts.sum()]
    for at in map(tuple, np.argwhere(~hidden)):
        one = np.zeros(counts.shape)
        one[at] = 1
        rows.append(one.ravel())
        sums.append(counts[at])
    for summed, margin, gone in margins(counts, k, zero_is_small=zero_is_small, few=few):
        for at in map(tuple, np.argwhere(~gone)):
            rows.append(line(counts.shape, summed, at).ravel())
            sums.append(margin[at])
    return np.array(rows), np.array(sums, dtype=float)


def line(shape: tuple[int, ...], summed: tuple[int, ...], at: tuple[int, ...]) -> Any:
    index: list[Any] = [slice(None)] * len(shape)
    for axis, level in zip([a for a in range(len(shape)) if a not in summed], at, strict=True):
        index[axis] = level
    one = np.zeros(shape)
    one[tuple(index)] = 1
    return one


def sought(counts: Any, hidden: Any, k: int, *, zero_is_small: bool = True) -> Iterator[Any]:
    """What must not be found: each hidden cell, and each cell of a margin that would be hidden."""
    for at in map(tuple, np.argwhere(hidden)):
        one = np.zeros(counts.shape)
        one[at] = 1
        yield one.ravel()
    for summed, _, gone in margins(counts, k, zero_is_small=zero_is_small):
        for at in map(tuple, np.argwhere(gone)):
            yield line(counts.shape, summed, at).ravel()


def least_width(counts: Any, hidden: Any, k: int, *, zero_is_small: bool = True) -> float:
    """The narrowest interval of anything sought, over whole numbers, by an integer program."""
    matrix, sums = known(counts, hidden, k, zero_is_small=zero_is_small)
    widths = []
    for target in sought(counts, hidden, k, zero_is_small=zero_is_small):
        ends = []
        for sign in (1, -1):
            solved = milp(
                sign * target,
                constraints=LinearConstraint(matrix, sums, sums),
                bounds=Bounds(0, counts.sum()),
                integrality=np.ones(counts.size),
            )
            ends.append(sign * solved.fun)
        widths.append(round(ends[1] - ends[0]))
    return min(widths, default=float("inf"))


def summing_to(total: int, parts: int) -> Iterator[list[int]]:
    """All ways to write a total as that many whole numbers of 0 or more."""
    for bars in combinations(range(total + parts - 1), parts - 1):
        ends = (-1, *bars, total + parts - 1)
        yield [b - a - 1 for a, b in pairwise(ends)]


small_tables = st.one_of(
    st.lists(st.integers(0, 40), min_size=2, max_size=7).map(np.array),
    st.tuples(st.integers(2, 4), st.integers(2, 5)).flatmap(
        lambda shape: st.lists(st.integers(0, 40), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
            lambda cells: np.array(cells).reshape(shape)
        )
    ),
    st.lists(st.integers(0, 40), min_size=8, max_size=8).map(lambda cells: np.array(cells).reshape(2, 2, 2)),
    st.lists(st.integers(0, 40), min_size=12, max_size=12).map(lambda cells: np.array(cells).reshape(2, 3, 2)),
).filter(lambda counts: counts.sum() >= K)


class TestAnAttacker:
    @given(counts=small_tables)
    @settings(max_examples=80 if FULL else 40)
    def test_finds_no_hidden_cell_to_within_less_than_k(self, counts: Any) -> None:
        hidden = hide(counts)
        assert (counts[~hidden] >= K).all()
        assert hidden.all() or least_width(counts, hidden, K) >= K

    @given(counts=small_tables)
    @settings(max_examples=40 if FULL else 20)
    def test_finds_none_where_zeros_are_shown(self, counts: Any) -> None:
        hidden = hide(counts, zero_is_small=False)
        assert ((counts[~hidden] >= K) | (counts[~hidden] == 0)).all()
        assert hidden.all() or least_width(counts, hidden, K, zero_is_small=False) >= K

    @given(counts=small_tables, data=st.data())
    @settings(max_examples=40 if FULL else 20)
    def test_finds_no_cell_of_too_few_partners(self, counts: Any, data: st.DataObject) -> None:
        few = np.array(data.draw(st.lists(st.booleans(), min_size=counts.size, max_size=counts.size))).reshape(
            counts.shape
        )
        hidden = hide(counts, few)
        assert hidden[few].all()
        matrix, sums = known(counts, hidden, K, few=few)
        for at in [] if hidden.all() else map(tuple, np.argwhere(hidden)):
            one = np.zeros(counts.shape)
            one[at] = 1
            ends = [
                sign
                * milp(
                    sign * one.ravel(), constraints=LinearConstraint(matrix, sums, sums), bounds=Bounds(0, np.inf)
                ).fun
                for sign in (1, -1)
            ]
            assert ends[1] - ends[0] >= K - 1e-6

    @pytest.mark.slow
    @given(counts=small_tables)
    @settings(max_examples=400 if FULL else 80)
    def test_finds_no_hidden_cell_in_many_tables(self, counts: Any) -> None:
        """Where all of a table is hidden, what its margins give away together is not the table's doing."""
        hidden = hide(counts)
        assert hidden.all() or least_width(counts, hidden, K) >= K


@given(
    cells=st.one_of(
        st.lists(st.integers(0, 8), min_size=4, max_size=4), st.lists(st.integers(0, 3), min_size=6, max_size=6)
    ).filter(lambda cells: sum(cells) >= 3),
    zero_is_small=st.booleans(),
)
@settings(max_examples=100)
def test_trying_every_table_that_is_possible_finds_no_hidden_cell(cells: list[int], zero_is_small: bool) -> None:
    """By brute force: all tables of whole numbers with what is shown of this one."""
    k = 3
    counts = np.array(cells).reshape(2, -1)
    hidden = hide(counts, k=k, zero_is_small=zero_is_small)
    matrix, sums = known(counts, hidden, k, zero_is_small=zero_is_small)
    free = np.flatnonzero(hidden.ravel())
    ways = list(summing_to(int(counts[hidden].sum()), len(free))) if len(free) else [[]]
    tables = np.repeat(counts.ravel()[None], len(ways), axis=0)
    tables[:, free] = ways
    possible = tables[(tables @ matrix.T == sums).all(axis=1)]
    for target in [] if hidden.all() else sought(counts, hidden, k, zero_is_small=zero_is_small):
        reached = possible @ target
        assert reached.max() - reached.min() >= k


# ---- examples


def test_a_cell_of_k_is_shown_and_one_of_k_minus_1_hides_another_with_it() -> None:
    npt.assert_array_equal(hide([11, 12, 50]), [False, False, False])
    npt.assert_array_equal(hide([10, 12, 50]), [True, True, False])


def test_an_empty_cell_is_small_unless_the_protections_say_otherwise() -> None:
    npt.assert_array_equal(hide([0, 12, 50]), [True, True, False])
    npt.assert_array_equal(hide([0, 12, 50], zero_is_small=False), [False, False, False])


def test_a_table_of_two_groups_beside_the_total_hides_both() -> None:
    """5 women of 105 persons: the men would give them away."""
    npt.assert_array_equal(hide([5, 100]), [True, True])


def test_one_small_cell_of_a_table_hides_a_rectangle() -> None:
    hidden = hide([[5, 40, 60], [30, 50, 70], [35, 80, 90]])
    assert hidden[0, 0]
    assert hidden.sum() == 4
    assert sorted(hidden.sum(axis=0)) == [0, 2, 2]
    assert sorted(hidden.sum(axis=1)) == [0, 2, 2]


@pytest.mark.parametrize("nobody", [0, 1])
def test_a_level_that_nobody_has_does_not_hide_the_whole_table(nobody: int) -> None:
    counts = np.full((3, 5), 100)
    counts[:, 2] = nobody
    hidden = hide(counts)
    assert hidden[:, 2].all()
    assert hidden.sum() <= 9
    assert least_width(counts, hidden, K) >= K


def test_a_table_by_sex_of_women_alone_is_hidden_unless_zero_may_be_shown() -> None:
    """Beside the table by the other group, any cell of the women would say that there are no men."""
    counts = np.array([[100, 90, 80, 70], [0, 0, 0, 0]])
    assert hide(counts).all()
    assert not hide(counts, zero_is_small=False).any()


def test_what_a_table_of_one_group_hides_is_not_shown_by_a_table_of_two() -> None:
    """Of levels 5, 60, 100 the first and so the second are hidden; both halves of the second would give it back."""
    counts = np.array([[2, 30, 50], [3, 30, 50]])
    npt.assert_array_equal(hide(counts.sum(axis=0)), [True, True, False])
    hidden = hide(counts)
    assert hidden[:, 1].any()
    assert least_width(counts, hidden, K) >= K


def test_no_more_is_hidden_than_is_needed() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(14, (4, 5))
    hidden = hide(counts)
    assert least_width(counts, hidden, K) >= K
    for at in map(tuple, np.argwhere(hidden & (counts >= K))):
        shown = hidden.copy()
        shown[at] = False
        assert least_width(counts, shown, K) < K


def test_a_table_without_axes_is_hidden_when_small() -> None:
    assert hide(np.array(10)) == np.True_
    assert hide(np.array(11)) == np.False_


def test_a_large_sparse_table_ends_in_time_and_safely() -> None:
    """Where linear programs would take too long the whole table is hidden."""
    counts = np.random.default_rng(0).poisson(3, (60, 60))
    hidden = hide(counts)
    assert hidden[counts < K].all()
