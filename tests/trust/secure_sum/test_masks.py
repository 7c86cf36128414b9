"""Masks: the streams are AES-256-CTR, word for word, and cancel whatever the size of the pieces."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.secure_sum.masks import CHUNK, add_masks, carry, keystream, seeds

SEED = bytes(range(32))


def stream(seed: bytes, size: int) -> bytes:
    return Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(size))


@pytest.mark.parametrize("count", [0, 1, 2, CHUNK // 8 - 1, CHUNK // 8, CHUNK // 8 + 1, CHUNK // 4 + 3])
def test_keystream_is_aes_256_ctr_from_counter_0(count: int) -> None:
    assert keystream(SEED, count).tobytes() == stream(SEED, 8 * count)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("size", [1, 5, CHUNK // 8 - 1, CHUNK // 8, CHUNK // 4 + 1, CHUNK + 7])
def test_masks_are_added_word_by_word_at_every_size(size: int, dtype: str, threads: int) -> None:
    word = np.dtype(dtype)
    vector = np.arange(size, dtype=word)
    add_masks(vector, [SEED], [bytes(32)], threads=threads)
    plus = np.frombuffer(stream(SEED, size * word.itemsize), word)
    minus = np.frombuffer(stream(bytes(32), size * word.itemsize), word)
    assert np.array_equal(vector, np.arange(size, dtype=word) + plus - minus)


@pytest.mark.parametrize("threads", [1, 2])
def test_wide_masks_are_52_bits_of_the_same_words_and_rows_follow_each_other(threads: int) -> None:
    columns = CHUNK // 16 + 1
    vector = np.zeros((4, columns), np.uint64)
    add_masks(vector, [SEED], [], wide=True, threads=threads)
    words = np.frombuffer(stream(SEED, 32 * columns), "<u8") & np.uint64((1 << 52) - 1)
    assert np.array_equal(vector.reshape(-1), words)


def test_an_empty_vector_stays_empty() -> None:
    add_masks(np.zeros(0, np.uint64), [SEED], [])


def test_a_thousand_masks_fit_between_two_carries_and_too_many_are_refused() -> None:
    vector = np.full((2, 1), (1 << 52) - 1, np.uint64)
    plus = [bytes([i >> 8, i & 255]) * 16 for i in range(999)]
    add_masks(vector, plus, [], wide=True)
    exact = sum(sum(int(w & (1 << 52) - 1) << 52 * i for i, w in enumerate(keystream(s, 2).tolist())) for s in plus)
    carry(vector)
    assert int(vector[0, 0]) + (int(vector[1, 0]) << 52) == (exact + (1 << 104) - 1) % (1 << 104)
    with pytest.raises(ValueError, match="2000"):
        add_masks(vector, [SEED] * 1001, [SEED] * 1000, wide=True)


def test_a_vector_with_gaps_is_not_masked_in_a_copy() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        add_masks(np.zeros((4, 6), np.uint64)[:, ::2], [SEED], [])


@given(st.lists(st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3), min_size=1, max_size=20))
@settings(max_examples=200)
def test_carry_keeps_the_number_modulo_2_to_the_52_limbs(columns: list[list[int]]) -> None:
    limbs = np.array(columns, np.int64).T.copy()
    exact = [sum(v << 52 * i for i, v in enumerate(column)) % (1 << 156) for column in columns]
    words = limbs.view(np.uint64)
    carry(words)
    assert int(words.max()) < 1 << 52
    assert [sum(int(words[i, j]) << 52 * i for i in range(3)) for j in range(len(columns))] == exact


def test_without_carry_limb_sums_would_say_more_than_the_total() -> None:
    """Two pairs of partners with the same total: other limb sums, the same canonical words."""

    def limbs(*numbers: int) -> Any:
        return sum(np.array([[v & (1 << 52) - 1], [v >> 52]], np.uint64) for v in numbers)

    one, two = limbs((1 << 52) - 1, 1), limbs(1 << 51, 1 << 51)
    three = limbs(1 << 52, 0)
    assert not np.array_equal(one, three)
    for words in (one, two, three):
        carry(words)
    assert np.array_equal(one, three)
    assert np.array_equal(two, three)


def test_each_pair_adds_and_subtracts_one_stream() -> None:
    keys = {pair: bytes([place]) * 32 for place, pair in enumerate([("a", "b"), ("a", "c"), ("b", "c")])}
    total = np.zeros(3, np.uint64)
    for me in "abc":
        mine = {o: keys[min(me, o), max(me, o)] for o in "abc" if o != me}
        plus, minus = seeds(mine, b"ctx", me)
        assert (len(plus), len(minus)) == {"a": (2, 0), "b": (1, 1), "c": (0, 2)}[me]
        add_masks(total, plus, minus)
    assert total.tolist() == [0, 0, 0]


@pytest.mark.slow
def test_masks_of_a_thousand_partners_cancel_in_wide_words() -> None:
    """The most partners there may be: 999 masks each between two carries."""
    names = [f"p{i:03d}" for i in range(1000)]
    total = np.zeros((4, 2), np.uint64)
    for me in names:
        pairs = {other: sorted((me, other)) for other in names if other != me}
        keys = {other: hashlib.sha256("/".join(pair).encode()).digest() for other, pair in pairs.items()}
        plus, minus = seeds(keys, b"ctx", me)
        vector = np.array([[7, 1], [0, 0], [0, 0], [0, 0]], np.uint64)
        add_masks(vector, plus, minus, wide=True)
        carry(vector)
        total += vector
    carry(total)
    assert total.tolist() == [[7000, 1000], [0, 0], [0, 0], [0, 0]]
