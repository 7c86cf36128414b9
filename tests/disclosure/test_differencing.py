"""Differencing: a cohort that differs by 1 to k - 1 persons from one already answered is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.decision import Decision
from trust.privacy.differencing import Bits, Earlier, apart, bits, differencing, places

K, N = 11, 200


def some(persons: object, size: int = N) -> Bits:
    return bits(np.array(sorted(persons), dtype=np.int64), size)  # type: ignore[call-overload]


def judged(new: object, *earlier: object, columns: str = "x", before: str = "x", k: int = K) -> Decision:
    """The rule on a cohort, after others that were answered."""
    return differencing(some(new), columns.split(), [Earlier(frozenset(before.split()), some(e)) for e in earlier], k)


S = frozenset(range(50))


@pytest.mark.parametrize(
    ("new", "ok"),
    [
        pytest.param(S, True, id="the same persons again pass"),
        pytest.param(S - {7}, False, id="one person less is refused"),
        pytest.param(S | {70}, False, id="one person more is refused"),
        pytest.param((S - {7}) | {70}, False, id="one person for another is refused"),
        pytest.param(S | set(range(60, 60 + K - 1)), False, id="k - 1 persons more are refused"),
        pytest.param(S | set(range(60, 60 + K)), True, id="k persons more pass"),
        pytest.param(S - set(range(K - 1)), False, id="k - 1 persons less are refused"),
        pytest.param(S - set(range(K)), True, id="k persons less pass"),
        pytest.param((S - set(range(5))) | set(range(60, 65)), False, id="5 less and 5 more are refused"),
        pytest.param((S - set(range(5))) | set(range(60, 66)), True, id="5 less and 6 more pass"),
        pytest.param(range(100, 150), True, id="other persons pass"),
        pytest.param(range(50, 200), True, id="the complement passes"),
    ],
)
def test_a_cohort_after_another(new: object, ok: bool) -> None:
    decision = judged(new, S)
    assert decision.ok is ok
    assert decision.rule == "differencing"
    assert decision.remedy == "ask for a cohort that differs by at least 11 persons, or the same one again"


def test_the_first_cohort_passes() -> None:
    assert judged(S).ok


def test_other_columns_pass_and_one_shared_column_is_enough() -> None:
    assert judged(S - {7}, S, columns="y z", before="x w").ok
    assert not judged(S - {7}, S, columns="y x", before="x w").ok


def test_each_earlier_cohort_is_compared() -> None:
    assert judged(S, range(100, 150), range(150, 200)).ok
    assert not judged(S, range(100, 150), S - {3}, S).ok


def test_a_stricter_study_is_held_to_its_own_k() -> None:
    assert judged(S - set(range(15)), S).ok
    assert not judged(S - set(range(15)), S, k=20).ok


def test_persons_who_are_in_this_edition_no_more_count_as_differing() -> None:
    new = some(S)
    for elsewhere, ok in ((0, True), (1, False), (K - 1, False), (K, True)):
        assert differencing(new, ["x"], [Earlier(frozenset("x"), some(S), elsewhere)], K).ok is ok


def test_the_words_do_not_tell_how_many_differ_nor_from_what() -> None:
    assert judged(S - {7}, S) == judged(S - set(range(9)), S) == judged(S | {80}, S, range(100, 150))


def test_a_tracker_of_two_cohorts_is_seen_and_one_of_three_is_not() -> None:
    """Everybody, a part, and the rest but one: each pair differs by many.  A limit that is written down."""
    everybody, part = frozenset(range(N)), frozenset(range(80))
    rest_but_one = everybody - part - {100}
    assert judged(rest_but_one, everybody, part).ok
    assert not judged(everybody - {100}, everybody, part).ok


def test_sets_over_different_editions_are_not_compared_in_silence() -> None:
    with pytest.raises(ValueError, match="different sizes"):
        apart(some(S), Earlier(frozenset("x"), some(S, N + 8)))


def test_a_hundred_thousand_persons_are_compared_at_once() -> None:
    size = 100_000
    new = some(range(0, size, 2), size)
    begin = time.perf_counter()
    for _ in range(20):
        apart(new, Earlier(frozenset("x"), new))
    assert (time.perf_counter() - begin) / 20 < 0.1


persons = st.frozensets(st.integers(0, 39))


@given(one=persons, other=persons, elsewhere=st.integers(0, 3))
def test_what_is_apart_is_the_symmetric_difference(one: frozenset[int], other: frozenset[int], elsewhere: int) -> None:
    found = apart(some(one, 40), Earlier(frozenset(), some(other, 40), elsewhere))
    assert found == len(one ^ other) + elsewhere
    assert apart(some(other, 40), Earlier(frozenset(), some(one, 40), elsewhere)) == found


@given(one=persons, size=st.integers(40, 60))
def test_a_set_is_read_back(one: frozenset[int], size: int) -> None:
    assert places(some(one, size), size).tolist() == sorted(one)


@given(answered=st.lists(persons, max_size=6), new=persons, k=st.integers(1, 12))
def test_whatever_was_answered_no_two_sets_are_a_few_persons_apart(
    answered: list[frozenset[int]], new: frozenset[int], k: int
) -> None:
    passed: list[frozenset[int]] = []
    for cohort in [*answered, new]:
        earlier = [Earlier(frozenset("x"), some(p, 40)) for p in passed]
        if differencing(some(cohort, 40), ["x"], earlier, k).ok:
            passed.append(cohort)
    assert all(len(a ^ b) == 0 or len(a ^ b) >= k for a in passed for b in passed)
    assert not passed or passed[0] == [*answered, new][0]
