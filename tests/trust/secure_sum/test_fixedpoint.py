"""Fixed point: every total is Python's `int / int`, whatever the limbs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.secure_sum_strategies import fixed_points, near_ties, reals_below
from trust.secure_sum.errors import ValueNotFinite, ValueOutOfRange
from trust.secure_sum.fixedpoint import (
    STATISTICS,
    TINY,
    FixedPoint,
    decode_integers,
    decode_reals,
    encode_integers,
    encode_reals,
    fill,
)
from trust.secure_sum.masks import carry


def limbs_of(numbers: list[int], fixed: FixedPoint) -> Any:
    """Python integers as canonical limbs (limbs, k)."""
    rows = [[(v % (1 << fixed.bits)) >> 52 * i & (1 << 52) - 1 for v in numbers] for i in range(fixed.limbs)]
    return np.array(rows, np.uint64).reshape(fixed.limbs, len(numbers))


def numbers_of(words: Any, fixed: FixedPoint) -> list[int]:
    """Limbs, canonical or not, as Python integers with their sign."""
    numbers = [sum(int(words[i, j]) << 52 * i for i in range(fixed.limbs)) for j in range(words.shape[1])]
    half = 1 << (fixed.bits - 1)
    return [(v + half) % (2 * half) - half for v in numbers]


def encoded(x: Any, fixed: FixedPoint = STATISTICS, key: bytes | None = None) -> Any:
    out = np.empty((fixed.limbs, np.size(x)), np.uint64)
    encode_reals(np.asarray(x), out, fixed, name="b", key=key)
    return out


@given(st.data(), fixed_points)
@settings(max_examples=400)
def test_decode_equals_int_over_int(data: st.DataObject, fixed: FixedPoint) -> None:
    numbers = data.draw(st.lists(near_ties(fixed.bits), min_size=1, max_size=40))
    got = decode_reals(limbs_of(numbers, fixed), fixed)
    assert got.tolist() == [v / (1 << fixed.fraction) for v in numbers]


def test_decode_at_the_ends_of_the_range_and_on_every_tie() -> None:
    for fixed in (STATISTICS, TINY, FixedPoint(2, 0)):
        edges = [0, 1, -1, (1 << fixed.bits - 1) - 1, -(1 << fixed.bits - 1)]
        for place in range(52, fixed.bits - 2):
            for odd in (1, 3):
                tie = (1 << place) + (odd << max(place - 54, 0))
                edges += [tie - 1, tie, tie + 1, 1 - tie, -tie, -tie - 1]
        assert decode_reals(limbs_of(edges, fixed), fixed).tolist() == [v / (1 << fixed.fraction) for v in edges]


@given(st.data(), fixed_points)
@settings(max_examples=200)
def test_encode_is_the_nearest_unit_and_canonical(data: st.DataObject, fixed: FixedPoint) -> None:
    x = data.draw(st.lists(reals_below(fixed.limit), min_size=1, max_size=30))
    words = encoded(x, fixed)
    assert int(words.max()) < 1 << 52
    assert numbers_of(words, fixed) == [round(Fraction(v) * (1 << fixed.fraction)) for v in x]


@given(st.lists(reals_below(2.0**90), min_size=1, max_size=50))
@settings(max_examples=200)
def test_a_sum_of_partners_is_the_exact_sum_of_what_they_encoded_rounded_once(x: list[float]) -> None:
    words = encoded(x)
    total = np.sum(words, axis=1, dtype=np.uint64).reshape(-1, 1)
    carry(total)
    exact = sum(round(Fraction(v) * 2**104) for v in x)
    assert decode_reals(total)[0] == exact / 2**104
    if all(v == 0 or math.ulp(v) >= 2.0**-104 for v in x):
        assert decode_reals(total)[0] == math.fsum(x)


def test_a_thousand_partners_at_the_end_of_the_range_do_not_wrap() -> None:
    largest = float(np.nextafter(STATISTICS.limit, 0))
    for sign in (1, -1):
        total = encoded([sign * largest]) * np.uint64(1000)
        carry(total)
        assert decode_reals(total)[0] == sign * 1000 * largest


def test_reals_near_1e_minus_20_keep_every_bit_in_six_limbs() -> None:
    x = [1.2345678901234567e-20, -9.87654321e-21, 1e-22]
    assert decode_reals(encoded(x, TINY), TINY).tolist() == x
    assert decode_reals(encoded(x, STATISTICS), STATISTICS).tolist() != x


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_naming_the_block(bad: float) -> None:
    with pytest.raises(ValueNotFinite, match="block b"):
        encoded([1.0, bad])


def test_the_range_ends_below_the_limit_and_the_message_holds_no_number_of_the_block() -> None:
    encoded([float(np.nextafter(2.0**93, 0))])
    for bad in (2.0**93, -(2.0**93), 1.7e308):
        with pytest.raises(ValueOutOfRange, match="block b") as refused:
            encoded([1.0, bad])
        assert str(bad) not in str(refused.value)


@given(st.lists(reals_below(2.0**93), min_size=1, max_size=30), st.binary(min_size=32, max_size=32))
@settings(max_examples=200)
def test_fill_stays_below_the_last_place_and_is_none_for_zero(x: list[float], key: bytes) -> None:
    plain, filled = numbers_of(encoded(x), STATISTICS), numbers_of(encoded(x, key=key), STATISTICS)
    for value, before, after in zip(x, plain, filled, strict=True):
        place = Fraction(math.ulp(value)) * 2**104  # ulp(0) is far below a unit
        if place <= 1:
            assert after == before
        else:
            assert -place / 2 <= after - before < place / 2


def test_fill_is_uniform_over_its_whole_range() -> None:
    """Values whose last place is 16 units: each of the 16 integers comes up, about as often."""
    x = np.full(160_000, 2.0**-48)
    rows = fill(x, bytes(range(32)))
    assert rows.shape == (1, x.size)
    values, times = np.unique(rows[0], return_counts=True)
    assert values.tolist() == list(range(-8, 8))
    assert ((times - 10_000) ** 2 / 10_000).sum() < 50  # chi-squared, 15 degrees of freedom


def test_fill_of_large_numbers_reaches_over_several_limbs() -> None:
    x = np.full(20_000, 2.0**92)  # last place 2^144 units
    rows = fill(x, bytes(32))
    assert rows.shape == (3, x.size)
    drawn = np.array([sum(int(rows[i, j]) << 52 * i for i in range(3)) / 2.0**144 for j in range(x.size)])
    assert drawn.min() >= -0.5
    assert drawn.max() < 0.5
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 12**-0.5) < 0.01


def test_low_bits_of_a_total_do_not_show_the_small_partner() -> None:
    """Without fill, a total's low bits are the small partner's, and a candidate is confirmed."""
    large, candidates = 123456.789, [0.1, 0.3]
    place = int(Fraction(math.ulp(large)) * 2**104)

    def low_bits(small: float, keys: tuple[bytes, bytes] | tuple[None, None]) -> int:
        a, b = (numbers_of(encoded([v], key=k), STATISTICS)[0] for v, k in zip((large, small), keys, strict=True))
        return (a + b) % place

    assert low_bits(0.1, (None, None)) == numbers_of(encoded([0.1]), STATISTICS)[0] % place
    keys = [(bytes([i, 1]) * 16, bytes([i, 2]) * 16) for i in range(200)]
    for small in candidates:
        drawn = np.array([low_bits(small, pair) / place for pair in keys])
        counts = np.histogram(drawn, bins=4, range=(0, 1))[0]
        assert counts.min() > 25, "low bits are not uniform"


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30), fixed_points)
@settings(max_examples=200)
def test_whole_numbers_go_in_and_out_of_wide_words_exactly(q: list[int], fixed: FixedPoint) -> None:
    words = np.empty((fixed.limbs, len(q)), np.uint64)
    numbers = np.array(q, np.int64)
    if fixed.limit < 2.0**63 and any(abs(float(v)) >= fixed.limit for v in q):
        with pytest.raises(ValueOutOfRange):
            encode_integers(numbers, words, fixed, name="b")
        return
    encode_integers(numbers, words, fixed, name="b")
    assert numbers_of(words, fixed) == [v << fixed.fraction for v in q]
    assert decode_integers(words, fixed, name="b").tolist() == q


def test_a_total_that_is_not_whole_or_too_large_for_int64_is_refused() -> None:
    for number in (1, (5 << 104) + 1, 1 << 167, -(1 << 167) - (1 << 104)):
        with pytest.raises(ValueOutOfRange):
            decode_integers(limbs_of([number], STATISTICS), STATISTICS, name="b")


@pytest.mark.parametrize(("limbs", "fraction"), [(1, 10), (17, 0), (2, 104), (4, 197), (4, -1), (16, 832)])
def test_a_fixed_point_without_headroom_is_refused(limbs: int, fraction: int) -> None:
    with pytest.raises(ValueError, match="fixed point"):
        FixedPoint(limbs, fraction)


def test_least_squares_over_fifteen_orders_of_magnitude_equals_the_pooled_one() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((400, 4)) * 10.0 ** np.array([-7, -2, 3, 8])
    y = X @ np.array([3e7, 1.0, -2e-3, 5e-8]) + 0.1 * rng.standard_normal(400)
    full = np.column_stack([X, y])
    parts = [part.T @ part for part in np.array_split(full, 4)]
    words = sum((encoded(part.reshape(-1), key=bytes([i]) * 32) for i, part in enumerate(parts)), start=np.uint64(0))
    carry(words)
    gram = decode_reals(words).reshape(5, 5)
    scale = 1 / np.sqrt(np.diag(gram)[:4])
    beta = scale * np.linalg.solve(gram[:4, :4] * np.outer(scale, scale), gram[:4, 4] * scale)
    pooled = full.T @ full
    expected = scale * np.linalg.solve(pooled[:4, :4] * np.outer(scale, scale), pooled[:4, 4] * scale)
    assert np.abs(beta / expected - 1).max() < 1e-12
