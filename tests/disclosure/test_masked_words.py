"""What a partner uploads looks random, and so does any sum of fewer than all uploads; what is masked does not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import datatrust as dt
from datatrust.demo.masked import randomness
from tests.support.small_trusts import rows, study, trust
from trust.analyses.base import count, real
from trust.secure_sum import encode_sum

LEAST = 1e-6
BINS = 400


@pytest.fixture(scope="module")
def partners() -> Any:
    return trust({name: rows(300, seed) for seed, name in enumerate("abcd")})


@pytest.fixture(scope="module")
def counted(partners: Any) -> Mapping[str, bytes]:
    """The uploads of a sum of counts alone: words of 64 bits."""
    study(partners, dt.Histogram("x", np.linspace(0, 100, BINS + 1))).run()
    (uploads,) = partners.uploads
    return {name: bytes(body) for name, body in uploads.items()}


def test_uploads_of_counts_look_random(counted: Mapping[str, bytes]) -> None:
    assert len(counted) == 4
    assert {len(body) for body in counted.values()} == {8 * (3 * BINS + 2 + 1)}
    assert randomness(counted.values()) > LEAST
    assert all(randomness([body]) > LEAST for body in counted.values())


@pytest.mark.parametrize(
    "questions",
    [
        pytest.param({"a": dt.Describe(["x", "z", "w", "money"], by=["g", "sex", "y"])}, id="describe"),
        pytest.param({"a": dt.Glm("y ~ x + z + g + sex", family="binomial")}, id="glm"),
        pytest.param({"a": dt.Quantiles(["x", "z"], [0.25, 0.5]), "b": dt.Correlation(["x", "z"])}, id="two analyses"),
    ],
)
def test_uploads_of_every_sum_of_a_study_look_random(partners: Any, questions: dict[str, Any]) -> None:
    study(partners, questions).run()
    assert len(partners.uploads) > 1
    assert randomness([bytes(body) for sum_ in partners.uploads for body in sum_.values()]) > LEAST
    assert all(randomness(map(bytes, sum_.values())) > LEAST for sum_ in partners.uploads)


def test_the_same_rows_are_never_under_the_same_masks(partners: Any, counted: Mapping[str, bytes]) -> None:
    """A second study of the same question: what the uploads differ by looks random as well."""
    study(partners, dt.Histogram("x", np.linspace(0, 100, BINS + 1))).run()
    (again,) = partners.uploads
    differences = [_words(again[name]) - _words(body) for name, body in counted.items()]
    assert randomness([d.tobytes() for d in differences]) > LEAST


def test_every_sum_of_fewer_than_all_uploads_looks_random_and_that_of_all_does_not(
    counted: Mapping[str, bytes],
) -> None:
    for size in (1, 2, 3):
        for some in itertools.combinations(counted, size):
            assert randomness([_sum(counted, some).tobytes()]) > LEAST
    total = _sum(counted, tuple(counted))
    assert randomness([total.tobytes()]) < LEAST
    assert total[:BINS].sum() == 4 * 300
    assert total[-1] == 4


def _words(body: Any) -> np.ndarray:
    return np.frombuffer(bytes(body), "<u8")


def _sum(uploads: Mapping[str, bytes], names: tuple[str, ...]) -> np.ndarray:
    return np.sum([_words(uploads[name]) for name in names], axis=0, dtype=np.uint64)


# ---- the test itself can tell


def test_encoded_counts_without_masks_are_told_from_random() -> None:
    counts = np.random.default_rng(1).integers(0, 50, BINS)
    words = encode_sum((count("n", BINS),), {"n": counts}, n=4)
    assert randomness([words.tobytes()]) < LEAST


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_encoded_reals_without_masks_are_told_from_random(scale: float) -> None:
    """Though the low bits of each are random already."""
    values = np.random.default_rng(1).normal(0, scale, BINS)
    words = encode_sum((real("sum", BINS),), {"sum": values}, n=4)
    assert randomness([words.tobytes()]) < LEAST


def test_random_words_pass() -> None:
    words = np.random.default_rng(1).integers(0, 2**64, 5_000, dtype=np.uint64)
    assert randomness([words.tobytes()]) > LEAST
