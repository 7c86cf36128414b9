"""A sum's blocks as one vector: counts, reals, models, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.secure_sum import Block
from trust.secure_sum.encoding import (
    Layout,
    counts,
    decode_sum,
    dequantised,
    encode_sum,
    layout_of,
    model_steps,
    quantised,
)
from trust.secure_sum.errors import UploadShape, ValueNotFinite, ValueOutOfRange
from trust.secure_sum.fixedpoint import TINY


def total(vectors: list[Any], layout: Layout) -> Any:
    added = np.sum(np.stack(vectors), axis=0, dtype=layout.dtype)
    layout.normalise(added)
    return added


def test_blocks_of_every_kind_come_back_with_their_shapes() -> None:
    blocks = [Block("n", (), "count"), Block("xtx", (2, 2)), Block("w", (3,), "model"), Block("cells", (2,), "count")]
    assert layout_of(blocks) == Layout("wide", 1 + 4 + 4 + 2, layout_of(blocks).fixed)
    parts = [
        {
            "n": np.array(i + 2),
            "xtx": np.array([[1.5, 2.0**-60], [-1e18, 0.1]]) * (i + 1),
            "w": np.array([0.5, -2.0, 0.25]),
            "cells": np.array([7, -(2**40)]),
        }
        for i in range(3)
    ]
    layout = layout_of(blocks)
    vectors = [encode_sum(blocks, part, n=3) for part in parts]
    assert all(v.shape == layout.shape and int(v.max()) < 1 << 52 for v in vectors)
    got = decode_sum(blocks, total(vectors, layout), n=3)
    assert got["n"] == 9
    assert got["n"].shape == ()
    assert got["cells"].tolist() == [21, -3 * 2**40]
    assert got["cells"].dtype == np.int64
    assert np.allclose(got["xtx"], np.array([[9, 6 * 2.0**-60], [-6e18, 0.6]]), rtol=1e-15, atol=0)
    assert np.allclose(got["w"], [1.5, -3.0, 0.75], atol=1e-8)
    assert got["w/clipped"] == 3


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        (["count"], "u64"),
        (["model"], "u32"),
        (["count", "model"], "u32"),
        (["real"], "wide"),
        (["count", "real"], "wide"),
        (["model", "real"], "wide"),
    ],
)
def test_the_word_follows_from_the_blocks(kinds: list[Any], word: str) -> None:
    blocks = [Block(f"b{i}", (2,), kind) for i, kind in enumerate(kinds)]
    layout = layout_of(blocks)
    assert layout.word == word
    assert layout.columns == sum(2 + (kind == "model") for kind in kinds)
    parts = [{b.name: np.array([1, -1]) for b in blocks}] * 5
    got = decode_sum(blocks, total([encode_sum(blocks, part, n=5) for part in parts], layout), n=5)
    for block in blocks:
        assert np.allclose(got[block.name], [5, -5], rtol=1e-8)


def test_a_wide_vector_is_limb_rows_with_the_check_number_in_limb_0() -> None:
    words = encode_sum([Block("x", (2,))], {"x": np.array([1.0, 2.0**-104])}, n=3, random=None)
    assert words.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    six = layout_of([Block("x", (2,))], TINY)
    assert six.shape == (6, 3)
    assert six.nbytes == 6 * 3 * 8


def test_fill_takes_a_new_key_for_each_real_block_and_none_for_counts() -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)]) * size

    blocks = [Block("a", (2,)), Block("n", (1,), "count"), Block("b", (2,))]
    part = {"a": np.array([0.1, 0.1]), "n": np.array([3]), "b": np.array([0.1, 0.1])}
    words = encode_sum(blocks, part, n=3, random=random)
    assert asked == [32, 32]
    low = words[0, :5].tolist()
    assert len(set(low)) == 5
    assert words[:, 2].tolist() == [0, 0, 3, 0]
    assert not np.array_equal(encode_sum(blocks, part, n=3), encode_sum(blocks, part, n=3))


@given(st.integers(1, 1000), st.data())
@settings(max_examples=100)
def test_n_counts_of_the_largest_size_never_wrap(n: int, data: st.DataObject) -> None:
    for bits in (32, 64):
        most = ((1 << (bits - 1)) - 1) // n
        q = data.draw(st.sampled_from([most, -most]))
        assert abs(int(counts(np.array([q]), n=n, name="b", bits=bits)[0]) * n) < 1 << (bits - 1)
        with pytest.raises(ValueOutOfRange, match="block b"):
            counts(np.array([most + 1]), n=n, name="b", bits=bits)
        with pytest.raises(ValueOutOfRange, match="block b"):
            counts(np.array([-most - 1]), n=n, name="b", bits=bits)


def test_a_declared_bound_is_held_and_must_fit_n_times() -> None:
    assert counts(np.array([7, -7]), n=1000, name="b", bound=7).tolist() == [7, -7]
    with pytest.raises(ValueOutOfRange):
        counts(np.array([8]), n=1000, name="b", bound=7)
    counts(np.array([0]), n=2, name="b", bound=(2**63 - 1) // 2)
    with pytest.raises(ValueOutOfRange, match="bound"):
        counts(np.array([0]), n=2, name="b", bound=2**62)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.array([math.nan]), ValueNotFinite),
        (np.array([math.inf]), ValueNotFinite),
        (np.array([1.5]), ValueOutOfRange),
        (np.array([2.0**63]), ValueOutOfRange),
        (np.array([2**64 - 1], np.uint64), ValueOutOfRange),
        (np.array(["7"]), ValueOutOfRange),
        (np.array([1 + 1j]), ValueOutOfRange),
    ],
)
def test_counts_that_are_not_whole_finite_and_in_range_are_refused(bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="block b"):
        counts(bad, n=3, name="b")


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.uint64, np.float32, np.float64])
def test_counts_of_any_numeric_dtype_are_taken(dtype: Any) -> None:
    assert counts(np.array([0, 1, 1], dtype), n=3, name="b").tolist() == [0, 1, 1]
    assert counts(np.array([], dtype), n=3, name="b").size == 0


@pytest.mark.parametrize("n", [0, 1001])
def test_a_thousand_partners_are_the_most(n: int) -> None:
    counts(np.array([1]), n=1000, name="b")
    model_steps(1000)
    for call in (
        lambda: counts(np.array([1]), n=n, name="b"),
        lambda: model_steps(n),
        lambda: encode_sum([Block("x", (1,))], {"x": np.ones(1)}, n=n),
    ):
        with pytest.raises(ValueOutOfRange, match="partners"):
            call()


@pytest.mark.parametrize("n", [3, 7, 20, 999, 1000])
@pytest.mark.parametrize("clip", [1.0, 0.1, 8.0, 3.7e-5, 1e30])
def test_float32_at_plus_clip_does_not_wrap(n: int, clip: float) -> None:
    """In float32, clip * (K / clip) rounds above K, and n of them wrap."""
    block = [Block("w", (2,), "model")]
    part = {"w": np.array([clip, -clip], np.float32)}
    layout = layout_of(block)
    vectors = [encode_sum(block, part, n=n, clip=clip)] * n
    got = decode_sum(block, total(vectors, layout), n=n, clip=clip)["w"]
    assert np.allclose(got, [n * clip, -n * clip], rtol=1e-6)
    steps = model_steps(n)
    q, _ = quantised(part["w"], clip=clip, steps=steps, name="w")
    assert np.abs(q).max() <= steps
    assert n * steps < 2**31


def test_what_is_clipped_is_counted_and_the_rest_is_within_half_a_step() -> None:
    x = np.array([0.5, -0.3, 1.0, -1.0, 1.0000001, 50.0, -3.0])
    q, clipped = quantised(x, clip=1.0, steps=1000, name="w")
    assert clipped == 3
    assert q.tolist() == [500, -300, 1000, -1000, 1000, 1000, -1000]
    assert np.abs(dequantised(q, clip=1.0, steps=1000)[:4] - x[:4]).max() <= 0.0005


def test_noise_takes_headroom_and_too_much_of_it_is_refused() -> None:
    assert model_steps(4) == 2**31 // 4 - 1
    assert model_steps(4, share_sigma=100.0) == 2**31 // 4 - 1 - 1350
    with pytest.raises(ValueOutOfRange):
        model_steps(1000, share_sigma=2e5)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf])
def test_a_clip_that_is_not_positive_is_refused(clip: float) -> None:
    with pytest.raises(ValueOutOfRange):
        quantised(np.array([1.0]), clip=clip, steps=10, name="w")


@pytest.mark.parametrize("kind", ["real", "model", "count"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_naming_the_block(kind: Any, bad: float) -> None:
    with pytest.raises(ValueNotFinite, match="block beta"):
        encode_sum([Block("beta", (2,), kind)], {"beta": np.array([1.0, bad])}, n=3)


def test_arrays_that_are_not_the_plan_s_are_refused() -> None:
    blocks = [Block("a", (2,))]
    twice = [Block("a", (2,)), Block("a", (2,))]
    with pytest.raises(UploadShape):
        encode_sum(twice, {"a": np.zeros(2)}, n=3)
    for arrays in ({}, {"b": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(2)}, {"a": np.zeros(3)}):
        with pytest.raises(UploadShape):
            encode_sum(blocks, arrays, n=3)


def test_a_body_of_another_length_or_with_a_word_above_52_bits_is_refused() -> None:
    wide = layout_of([Block("a", (1,))])
    wide.read(bytes(64))
    for body in (bytes(63), bytes(72), b"", bytes(56) + (1 << 52).to_bytes(8, "little")):
        with pytest.raises(UploadShape):
            wide.read(body)
    Layout("u64", 1).read(b"\xff" * 16)


def test_a_layout_has_columns_and_a_fixed_point_where_it_is_wide() -> None:
    for args in (("u64", 0), ("wide", 1), ("u64", 1, TINY)):
        with pytest.raises(ValueError, match="layout"):
            Layout(*args)
