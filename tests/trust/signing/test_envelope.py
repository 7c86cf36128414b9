"""Signatures over documents: DSSE's own vector, quorums, and every way of getting in without having signed."""

from __future__ import annotations

import base64
import json
from typing import Any, cast, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import DataTrustError, MessageInvalid, Refused
from trust.signing.envelope import (
    Envelope,
    Kind,
    Signature,
    Signer,
    distinct,
    key_id,
    payload_type,
    sha256,
    sign,
    signers_of,
    valid,
    verified,
)

HELLO = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
DOCUMENT = {"schema": "datatrust/vote/1", "decision": "refuse", "n": 7}


def fixed(seed: int) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


ALICE, BOB, CAROL, STRANGER = (fixed(seed) for seed in (1, 2, 3, 9))
MEMBERS = distinct([ALICE, BOB, CAROL])
SIGNED = sign("vote", DOCUMENT, ALICE, BOB)


def encoded(type_: str, payload: bytes) -> bytes:
    """The specification's formula, written a second time: PAE(type, body)."""
    kind = type_.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def with_signatures(envelope: Envelope, *signatures: Signature) -> Envelope:
    return envelope.model_copy(update={"signatures": signatures})


# ---- what is signed


def test_the_encoding_is_that_of_dsses_published_example() -> None:
    """secure-systems-lab/dsse, protocol.md, Test Vectors: the encoding, and the example's P-256 signature over it."""
    assert encoded("http://example.com/HelloWorld", b"hello world") == HELLO
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(signature, HELLO, ec.ECDSA(SHA256()))


def test_an_ed25519_signature_over_dsses_example_is_taken_in_an_envelope_of_that_type() -> None:
    envelope = Envelope(
        payload=base64.b64encode(b"hello world").decode(), payloadType="http://example.com/HelloWorld", signatures=()
    ).with_signature(ALICE)
    assert valid(ALICE.public, envelope.signatures[0].sig, HELLO)
    assert base64.b64decode(envelope.signatures[0].sig) == ALICE.sign(HELLO)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_is_signed_is_the_encoding_of_type_and_payload(kind: Kind) -> None:
    envelope = sign(kind, DOCUMENT, ALICE)
    payload = b'{"decision":"refuse","n":7,"schema":"datatrust/vote/1"}'
    assert envelope.unverified_payload == payload
    assert envelope.payloadType == f"application/vnd.datatrust.{kind}+json"
    assert valid(ALICE.public, envelope.signatures[0].sig, encoded(envelope.payloadType, payload))
    assert verified(kind, envelope, MEMBERS) == payload


def test_a_length_counts_bytes_so_that_type_and_payload_cannot_run_into_each_other() -> None:
    assert encoded("a", b"1 b 1 c") != encoded("a 7 1", b"b 1 c")
    assert encoded("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


# ---- keys


def test_a_key_id_is_the_sha256_of_the_raw_public_key() -> None:
    """RFC 8032, 7.1, test 1: its secret key has this public key."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = Signer(Ed25519PrivateKey.from_private_bytes(secret))
    assert signer.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.key_id == key_id(signer.public) == sha256(signer.public).removeprefix("sha256:")
    assert signer.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_a_signer_is_shown_without_its_private_key() -> None:
    assert repr(ALICE) == "Signer()"
    assert (bytes([1]) * 32).hex() not in repr(ALICE)


# ---- quorum


def test_two_of_three_members_are_a_quorum() -> None:
    assert signers_of("vote", SIGNED, MEMBERS) == {ALICE.key_id, BOB.key_id}
    assert json.loads(verified("vote", SIGNED, MEMBERS, threshold=2)) == DOCUMENT


def test_three_are_not_reached_by_two() -> None:
    with pytest.raises(Refused, match="signed by 2 of 3 keys; 3 are needed"):
        verified("vote", SIGNED, MEMBERS, threshold=3)


def test_a_member_who_signs_twice_counts_once() -> None:
    once = sign("vote", DOCUMENT, ALICE)
    assert once.with_signature(ALICE) == once
    twice = with_signatures(once, *once.signatures, *once.signatures)
    assert signers_of("vote", twice, MEMBERS) == {ALICE.key_id}
    with pytest.raises(Refused, match="signed by 1 of 3"):
        verified("vote", twice, MEMBERS, threshold=2)


def test_a_strangers_signature_counts_nothing() -> None:
    strange = sign("vote", DOCUMENT, STRANGER, ALICE)
    assert signers_of("vote", strange, MEMBERS) == {ALICE.key_id}
    assert signers_of("vote", sign("vote", DOCUMENT, STRANGER), MEMBERS) == frozenset()


def test_a_strangers_signature_under_a_members_key_id_counts_nothing() -> None:
    (theirs,) = sign("vote", DOCUMENT, STRANGER).signatures
    claimed = Signature(keyid=BOB.key_id, sig=theirs.sig)
    assert signers_of("vote", with_signatures(SIGNED, SIGNED.signatures[0], claimed), MEMBERS) == {ALICE.key_id}


def test_a_members_signature_under_another_members_key_id_counts_nothing() -> None:
    (hers,) = sign("vote", DOCUMENT, ALICE).signatures
    claimed = Signature(keyid=BOB.key_id, sig=hers.sig)
    assert signers_of("vote", with_signatures(SIGNED, hers, claimed), MEMBERS) == {ALICE.key_id}


def test_a_key_listed_under_an_id_that_is_not_its_own_counts_nothing() -> None:
    """Else one key under two ids would be a quorum of two."""
    doubled = {ALICE.key_id: ALICE.public, BOB.key_id: ALICE.public}
    (hers,) = sign("vote", DOCUMENT, ALICE).signatures
    both = with_signatures(SIGNED, hers, Signature(keyid=BOB.key_id, sig=hers.sig))
    assert signers_of("vote", both, doubled) == {ALICE.key_id}
    with pytest.raises(Refused):
        verified("vote", both, doubled, threshold=2)


def test_a_broken_signature_beside_a_members_true_one_takes_nothing_away() -> None:
    broken = Signature(keyid=ALICE.key_id, sig="%")
    assert len(signers_of("vote", with_signatures(SIGNED, broken, *SIGNED.signatures), MEMBERS)) == 2


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_that_needs_no_signature_is_refused(threshold: int) -> None:
    with pytest.raises(Refused, match="below 1"):
        verified("vote", SIGNED, MEMBERS, threshold=threshold)


def test_without_keys_or_signatures_nothing_is_verified() -> None:
    for envelope, keys in ((SIGNED, {}), (with_signatures(SIGNED), MEMBERS)):
        with pytest.raises(Refused, match="signed by 0"):
            verified("vote", envelope, keys)


# ---- other kinds, changed bytes, malformed texts


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "vote"])
def test_a_vote_is_no_other_kind_of_document(kind: Kind) -> None:
    assert signers_of(kind, SIGNED, MEMBERS) == frozenset()
    relabelled = SIGNED.model_copy(update={"payloadType": payload_type(kind)})
    assert signers_of(kind, relabelled, MEMBERS) == frozenset()


def test_a_kind_that_does_not_exist_is_signed_by_nobody() -> None:
    other = Envelope(payload=SIGNED.payload, payloadType=payload_type("note"), signatures=()).with_signature(ALICE)
    assert signers_of(cast(Kind, "note"), other, MEMBERS) == frozenset()


def flip(raw: bytes, bit: int) -> bytes:
    at = bit % (8 * len(raw))
    return bytes(byte ^ (1 << at % 8) if place == at // 8 else byte for place, byte in enumerate(raw))


@given(st.integers(0, 10_000))
def test_one_bit_changed_in_the_payload_leaves_no_signature(bit: int) -> None:
    changed = base64.b64encode(flip(SIGNED.unverified_payload, bit)).decode()
    assert signers_of("vote", SIGNED.model_copy(update={"payload": changed}), MEMBERS) == frozenset()


@given(st.integers(0, 10_000))
def test_one_bit_changed_in_a_signature_leaves_the_other_one(bit: int) -> None:
    hers, his = SIGNED.signatures
    changed = Signature(keyid=hers.keyid, sig=base64.b64encode(flip(base64.b64decode(hers.sig), bit)).decode())
    assert signers_of("vote", with_signatures(SIGNED, changed, his), MEMBERS) == {BOB.key_id}


@given(st.integers(0, len(SIGNED.payloadType) - 1), st.characters(exclude_categories=["Cs"]))
def test_one_character_changed_in_the_type_leaves_no_signature(at: int, letter: str) -> None:
    type_ = SIGNED.payloadType[:at] + letter + SIGNED.payloadType[at + 1 :]
    found = signers_of("vote", SIGNED.model_copy(update={"payloadType": type_}), MEMBERS)
    assert len(found) == (2 if type_ == SIGNED.payloadType else 0)


@pytest.mark.parametrize("text", ["%%%%", "QQ", "QQ=", "Q", "QQ==QQ", "QQ ==", "QQ==\n", "é===", "-_-_"])
def test_malformed_base64_is_invalid_in_a_payload_and_no_signature(text: str) -> None:
    broken = SIGNED.model_copy(update={"payload": text})
    with pytest.raises(MessageInvalid, match="base64"):
        _ = broken.unverified_payload
    with pytest.raises(MessageInvalid):
        verified("vote", broken, MEMBERS)
    assert not valid(ALICE.public, text, b"")


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_malformed_key_signs_nothing(public: bytes) -> None:
    assert not valid(public, ALICE.sign(b"m"), b"m")
    assert valid(ALICE.public, ALICE.sign(b"m"), b"m")


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), ALICE.sign(b"m") + b"\0"])
def test_a_signature_of_another_length_is_none(signature: bytes) -> None:
    assert not valid(ALICE.public, signature, b"m")


@pytest.mark.parametrize(
    "change",
    [
        {"note": "x"},
        {"payload": None},
        {"payload": 5},
        {"signatures": None},
        {"signatures": [{"keyid": ALICE.key_id}]},
        {"signatures": [{"keyid": ALICE.key_id, "sig": "", "cert": "x"}]},
        {"signatures": "none"},
    ],
)
def test_an_envelope_with_missing_or_unknown_fields_is_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid, match="the envelope"):
        Envelope.read({**SIGNED.document(), **change})
    assert Envelope.read(SIGNED.document()) == SIGNED


@given(st.recursive(st.one_of(st.text(), st.integers(), st.booleans(), st.none()), st.lists, max_leaves=5))
def test_no_value_makes_reading_an_envelope_raise_anything_else(value: Any) -> None:
    for candidate in (value, {"payload": value, "payloadType": value, "signatures": value}):
        try:
            verified("vote", Envelope.read(candidate), MEMBERS)
        except DataTrustError:
            continue
        raise AssertionError("accepted")
