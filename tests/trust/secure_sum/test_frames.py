"""Frames, names, digests and keys: the bytes that everything else stands on."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.secure_sum.frames import (
    be32,
    context,
    frame,
    hashed,
    is_name,
    mask_seed,
    pair_key,
    question_digest,
    ratchet,
    state_bytes,
    transcript,
)

parts = st.lists(st.binary(max_size=8), max_size=4)


def test_a_frame_is_the_label_and_each_part_behind_its_length() -> None:
    assert frame("mask", b"\xff", "ab", b"") == b"\0\0\0\x0ddt-sum-1/mask\0\0\0\x01\xff\0\0\0\x02ab\0\0\0\0"
    assert be32(258) == b"\0\0\x01\x02"
    assert hashed("next") == hashlib.sha256(frame("next")).digest()
    for number in (-1, 2**32):
        with pytest.raises(OverflowError):
            be32(number)


@given(parts, parts)
def test_two_lists_of_parts_never_give_one_frame(one: list[bytes], other: list[bytes]) -> None:
    assert (frame("plan", *one) == frame("plan", *other)) == (one == other)
    assert frame("plan", *one) != frame("context", *other)


@pytest.mark.parametrize("name", ["a", "0", "va-long-beach", "a" * 63, "a-", "9--z"])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a b", "é", "a" * 64, "a\n", "\u0661", None, 7, b"a"])
def test_what_is_no_name(name: Any) -> None:
    assert not is_name(name)


def test_the_transcript_is_in_the_order_of_names_and_binds_every_part() -> None:
    keys = {"b": b"2" * 32, "a": b"1" * 32}
    same = transcript(b"M", b"R", keys)
    assert same == transcript(b"M", b"R", dict(sorted(keys.items())))
    others = [
        transcript(b"m", b"R", keys),
        transcript(b"M", b"r", keys),
        transcript(b"M", b"R", {"b": b"1" * 32, "a": b"2" * 32}),
        transcript(b"M", b"R", {"a": b"1" * 32}),
        transcript(b"M", b"R", {**keys, "c": b"3" * 32}),
    ]
    assert len({same, *others}) == 6


def test_pair_keys_are_the_same_from_both_sides_and_differ_by_name_and_transcript() -> None:
    agreed = b"z" * 32
    key = pair_key(b"T" * 32, agreed, "a", "b")
    assert key == pair_key(b"T" * 32, agreed, "b", "a")
    assert len({key, pair_key(b"T" * 32, agreed, "a", "c"), pair_key(b"U" * 32, agreed, "a", "b")}) == 3
    extracted = hmac.digest(b"T" * 32, agreed, "sha256")
    assert key == hmac.digest(extracted, frame("pair", "a", "b") + b"\x01", "sha256")


def test_ratchet_and_mask_seed_are_separate() -> None:
    key = b"k" * 32
    assert len({key, ratchet(key), mask_seed(key, b""), mask_seed(key, b"ctx"), mask_seed(ratchet(key), b"ctx")}) == 5


def test_the_context_binds_transcript_number_question_and_partners() -> None:
    whole = context(b"T", 1, b"p", ["a", "b"])
    others = [
        context(b"t", 1, b"p", ["a", "b"]),
        context(b"T", 2, b"p", ["a", "b"]),
        context(b"T", 1, b"q", ["a", "b"]),
        context(b"T", 1, b"p", ["a"]),
        context(b"T", 1, b"p", ["ab"]),
    ]
    assert len({whole, *others}) == 6


def test_the_plan_digest_binds_plan_and_state_apart() -> None:
    assert len({question_digest(b"ab", b""), question_digest(b"a", b"b"), question_digest(b"", b"ab")}) == 3


def test_state_bytes_are_frames_in_the_order_of_names_little_endian() -> None:
    values = {"b": np.array([[1.0, 2.0]]), "a": np.array([3], np.int64)}
    expected = frame("values", "a", "int64", be32(1), (3).to_bytes(8, "little"))
    expected += frame("values", "b", "float64", be32(1) + be32(2), np.array([1.0, 2.0], "<f8").tobytes())
    assert state_bytes(values) == expected
    assert state_bytes({"x": np.array([1.0], ">f8")}) == state_bytes({"x": np.array([1.0], "<f8")})
    assert state_bytes({"x": np.zeros((2, 3)).T}) == state_bytes({"x": np.zeros((3, 2))})
    assert state_bytes({"x": np.array(1.0)}) != state_bytes({"x": np.array([1.0])})
    assert state_bytes({}) == b""


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.array([1j]), np.array([1], np.int16)])
def test_values_that_are_not_plain_numbers_have_no_state_bytes(value: Any) -> None:
    with pytest.raises(ValueError, match="dtype"):
        state_bytes({"x": value})
