"""Attacks on the start: keys that are swapped, copied, re-signed, of low order, or of another study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.support.secure_sum import MANDATE, NOW, ROOT, Federation, question, vector
from trust.secure_sum.errors import ApprovalInvalid, ApprovalSet, EphemeralKeyInvalid
from trust.secure_sum.frames import mask_seed, pair_key, transcript
from trust.secure_sum.masks import add_masks
from trust.secure_sum.messages import Approval

P = 2**255 - 19


def _inverse(key: bytes) -> bytes:
    """1/u is the point plus one of order 2: after clamping, every agreement is the same."""
    return pow(int.from_bytes(key, "little") % 2**255, -1, P).to_bytes(32, "little")


COPIES: dict[str, Callable[[bytes], bytes]] = {
    "same bytes": lambda key: key,
    "bit 255 set": lambda key: key[:31] + bytes([key[31] | 128]),
    "1/u": _inverse,
}

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b8") + b"\x80"),
]


def _forged(made: Federation, kind: str) -> list[Approval]:
    zero, one, two = made.approvals
    older = X25519PrivateKey.generate().public_key().public_bytes_raw()
    stranger = Approval("p999", one.key, one.sig)
    return {
        "keys swapped": [zero, Approval(one.name, two.key, one.sig), Approval(two.name, one.key, two.sig)],
        "re-signed by another identity": made.swapped(
            Approval("p001", one.key, made.identities["p002"].sign(Approval.message(MANDATE, ROOT, "p001", one.key)))
        ),
        "another's approval under this name": made.swapped(Approval("p001", two.key, two.sig)),
        "one bit of the signature": made.swapped(Approval("p001", one.key, one.sig[:-1] + bytes([one.sig[-1] ^ 1]))),
        "a signature of 63 bytes": made.swapped(Approval("p001", one.key, one.sig[:-1])),
        "missing": [zero, two],
        "duplicate": [zero, one, one, two],
        "out of order": [one, zero, two],
        "invented partner": [zero, one, two, stranger],
        "without me": [one, two],
        "none": [],
        "another mandate": made.swapped(made.signed("p001", one.key, mandate=hashlib.sha256(b"other").digest())),
        "another root": made.swapped(made.signed("p001", one.key, root=hashlib.sha256(b"other").digest())),
        "my older key": made.swapped(made.signed("p000", older)),
        "a key of 31 bytes": made.swapped(made.signed("p001", one.key[:31])),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("keys swapped", ApprovalInvalid),
        ("re-signed by another identity", ApprovalInvalid),
        ("another's approval under this name", ApprovalInvalid),
        ("one bit of the signature", ApprovalInvalid),
        ("a signature of 63 bytes", ApprovalInvalid),
        ("missing", ApprovalSet),
        ("duplicate", ApprovalSet),
        ("out of order", ApprovalSet),
        ("invented partner", ApprovalSet),
        ("without me", ApprovalSet),
        ("none", ApprovalSet),
        ("another mandate", ApprovalInvalid),
        ("another root", ApprovalInvalid),
        ("my older key", EphemeralKeyInvalid),
        ("a key of 31 bytes", EphemeralKeyInvalid),
    ],
)
def test_a_forged_set_of_approvals_is_refused_and_an_honest_start_still_works(
    make: Any, kind: str, error: type[Exception]
) -> None:
    made = make(3, start=False)
    with pytest.raises(error):
        made.parties["p000"].start(_forged(made, kind), now=NOW)
    state = made.stores["p000"].study("study-1")
    assert state.status == "approved"
    assert state.ephemeral
    made.start()


@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_key_of_low_order_is_refused_and_an_honest_start_still_works(make: Any, key: bytes) -> None:
    made = make(3, start=False)
    with pytest.raises(EphemeralKeyInvalid):
        made.parties["p000"].start(made.swapped(made.signed("p002", key)), now=NOW)
    made.start()


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize(("victim", "peer", "copier"), [(1, 2, 0), (0, 2, 1), (0, 1, 2)])
def test_a_partner_that_signs_a_copy_of_anothers_key_does_not_uncover_it(
    make: Any, copy: str, victim: int, peer: int, copier: int
) -> None:
    """The copier knows no secret; it hopes that victim and peer share a mask that its own name cancels."""
    made = make(3, participation="all", start=False)
    names = made.names
    approvals = made.swapped(made.signed(names[copier], COPIES[copy](made.approvals[victim].key)))
    for i in (victim, peer):
        made.parties[names[i]].start(approvals, now=NOW)
    asked, numbers = question(), [7, -8, 9]
    uploads = {i: made.contribute(names[i], asked, numbers) for i in (victim, peer)}
    plain = vector(numbers, asked.layout)
    y = {i: np.frombuffer(upload.body, np.uint64) for i, upload in uploads.items()}
    for seen in (y[victim], y[peer], y[victim] + y[peer], y[victim] - y[peer]):
        for known in (plain, plain * np.uint64(2), plain * np.uint64(0)):
            assert not np.any(seen == known.reshape(-1))
    # Positive control: without names in the derivation both pair keys of the peer are one, and its masks cancel.
    secret = X25519PrivateKey.generate()
    agreed = {
        name: secret.exchange(X25519PublicKey.from_public_bytes(key))
        for name, key in ((names[victim], approvals[victim].key), (names[copier], approvals[copier].key))
    }
    assert len(set(agreed.values())) == 1
    common = transcript(MANDATE, ROOT, {a.name: a.key for a in approvals})
    assert len({pair_key(common, shared, names[peer], name) for name, shared in agreed.items()}) == 2


def test_positive_control_without_names_a_copied_key_uncovers_the_peer_between_them() -> None:
    """Peer between copier and victim: it adds one mask and subtracts the same one."""
    victim, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    key = victim.public_key().public_bytes_raw()
    common = transcript(MANDATE, ROOT, {"a": key, "b": peer.public_key().public_bytes_raw(), "c": key})
    agreed = peer.exchange(X25519PublicKey.from_public_bytes(key))
    nameless = HKDF(hashes.SHA256(), 32, salt=common, info=b"pair").derive(agreed)
    plain = np.array([7, 8, 9], np.uint64)
    masked = plain.copy()
    add_masks(masked, [mask_seed(nameless, b"ctx")], [mask_seed(nameless, b"ctx")])
    assert np.array_equal(masked, plain)
    masked = plain.copy()
    pairs = [pair_key(common, agreed, "b", other) for other in ("a", "c")]
    add_masks(masked, [mask_seed(pairs[1], b"ctx")], [mask_seed(pairs[0], b"ctx")])
    assert not np.any(masked == plain)
