"""Sizes: what a mandate may ask a secure sum to be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.secure_sum import identity
from trust.secure_sum.errors import NotAvailable, ParametersUnsafe
from trust.secure_sum.parameters import LARGEST_N, Parameters, smallest_m

KEYS = {f"p{i:03d}": identity(i).public_key() for i in range(5)}
FINE: dict[str, Any] = {
    "study": "s",
    "mandate": bytes(32),
    "root": bytes(32),
    "partners": KEYS,
    "m": 4,
    "c": 1,
    "sums": 8,
    "participation": "joined",
}


def test_the_default_m_of_three_to_ten_partners() -> None:
    assert [smallest_m(n, 1) for n in range(3, 11)] == [3, 3, 4, 4, 5, 5, 6, 6]


@pytest.mark.parametrize(
    "change",
    [
        {"partners": dict(list(KEYS.items())[:2]), "m": 2},
        {"partners": {**KEYS, "Upper": identity(9).public_key()}},
        {"partners": {**KEYS, "p009": KEYS["p000"]}},
        {"m": 3},
        {"m": 6},
        {"c": 0},
        {"c": 2, "m": 3},
        {"c": -1},
        {"c": 3, "m": 4},
        {"sums": 0},
        {"sums": 2**32},
        {"mandate": bytes(31)},
        {"root": b""},
        {"participation": "some"},
    ],
)
def test_unsafe_sizes_are_refused(change: dict[str, Any]) -> None:
    Parameters(**FINE)
    with pytest.raises(ParametersUnsafe):
        Parameters(**{**FINE, **change})


def test_participation_any_is_not_available() -> None:
    with pytest.raises(NotAvailable):
        Parameters(**{**FINE, "participation": "any"})


def test_a_thousand_partners_are_allowed_and_1001_are_not() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    keys = {
        f"p{i:04d}": Ed25519PrivateKey.from_private_bytes(i.to_bytes(32, "big")).public_key()
        for i in range(LARGEST_N + 1)
    }
    with pytest.raises(ParametersUnsafe):
        Parameters(**{**FINE, "partners": keys, "m": 600})
    del keys["p0000"]
    Parameters(**{**FINE, "partners": keys, "m": 600})


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["p000", "p001", "p002", "p003"], ""),
        (["p001", "p000", "p002", "p003"], "order"),
        (["p000", "p000", "p001", "p002"], "twice"),
        (["p000", "p001", "p002", "P003"], "form"),
        (["p000", "p001", "p002", "p004"], "does not take part"),
        (["p001", "p002", "p003"], "without this partner"),
        (["p000", "p001", "p002"], "fewer than m"),
        ([None], "form"),
    ],
)
def test_what_is_wrong_with_a_set_is_said_in_public_words(names: Any, fault: str) -> None:
    said = Parameters(**FINE).set_fault(names, among=["p000", "p001", "p002", "p003"], me="p000")
    assert fault in said
    assert bool(said) == bool(fault)
