"""Votes against and revocations: signed by the member that they name, about one mandate, and by nobody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatrust.in_process.keys import RoleKeys
from trust.canonical import canonical
from trust.charters.charter import Charter
from trust.documents.root import Root
from trust.documents.votes import Refusal, Revocation, read_refusal, read_revocation, valid_revocations
from trust.errors import MessageInvalid, Refused
from trust.signing.envelope import Envelope, Kind, Signer, sign
from trust.times import read_time

KEYS = RoleKeys.make(["a", "b", "c"], Charter.load("research"), read_time("2026-11-24T00:00:00Z"))
ROOT = KEYS.root.root
MEMBER, OTHER = KEYS.members[0], KEYS.members[1]
MANDATE = "sha256:" + "ab" * 32
AT = "2026-11-25T12:00:00Z"
REFUSAL = Refusal(mandate=MANDATE, member=MEMBER.key_id, reasons=("The benefit is not said.",), at=AT).document()
REVOCATION = Revocation(mandate=MANDATE, member=MEMBER.key_id, reason="The data were wrong.", at=AT).document()
Read = Callable[[Envelope, Root], Any]
BOTH: list[tuple[Kind, Read, dict[str, Any]]] = [
    ("vote", read_refusal, REFUSAL),
    ("revocation", read_revocation, REVOCATION),
]
each = pytest.mark.parametrize(("kind", "read", "document"), BOTH, ids=["a vote against", "a revocation"])


@each
def test_what_a_member_has_signed_is_read(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    found = read(sign(kind, document, MEMBER), ROOT)
    assert found.document() == document
    assert (found.mandate, found.member, found.at) == (MANDATE, MEMBER.key_id, AT)


@each
def test_other_signatures_beside_it_do_no_harm(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    assert read(sign(kind, document, Signer(), OTHER, MEMBER), ROOT).member == MEMBER.key_id


@each
@pytest.mark.parametrize(
    "signers",
    [
        pytest.param([], id="nobody"),
        pytest.param([OTHER], id="another member"),
        pytest.param([KEYS.coordinator], id="the coordinator"),
        pytest.param([Signer()], id="a stranger"),
        pytest.param([*KEYS.members[1:], KEYS.coordinator, KEYS.auditor], id="everybody else"),
    ],
)
def test_it_counts_for_nothing_when_signed_by(
    kind: Kind, read: Read, document: dict[str, Any], signers: list[Signer]
) -> None:
    with pytest.raises(Refused, match="signed by 0 of 1 keys; 1 is needed") as error:
        read(sign(kind, document, *signers), ROOT)
    assert error.value.rule == "signature"


@each
@pytest.mark.parametrize("signer", [KEYS.coordinator, KEYS.auditor, KEYS.researcher, KEYS.partners["a"].sign, Signer()])
def test_who_is_no_member_cannot_sign_one(kind: Kind, read: Read, document: dict[str, Any], signer: Signer) -> None:
    with pytest.raises(Refused, match="nobody who is a member today") as error:
        read(sign(kind, {**document, "member": signer.key_id}, signer), ROOT)
    assert error.value.rule == "signature"


@each
def test_a_member_who_has_left_cannot(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    """The next version of the root has other members."""
    left = ROOT.document()
    for role in ("root", "committee"):
        left["roles"][role] = {
            "keys": [key for key in left["roles"][role]["keys"] if key != MEMBER.key_id],
            "threshold": 2,
        }
    left["roles"]["lay"]["keys"] = [OTHER.key_id]
    with pytest.raises(Refused, match="nobody who is a member today"):
        read(sign(kind, document, MEMBER), Root.model_validate(left))


@each
def test_one_kind_is_never_taken_for_another(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    others: list[Kind] = [other for other in ("root", "mandate", "vote", "revocation", "study") if other != kind]
    for other in others:
        with pytest.raises(Refused, match="signed by 0 of 1"):
            read(sign(other, document, MEMBER), ROOT)


def test_a_vote_is_no_revocation_and_the_other_way_round() -> None:
    with pytest.raises(MessageInvalid):
        read_revocation(sign("revocation", REFUSAL, MEMBER), ROOT)
    with pytest.raises(MessageInvalid):
        read_refusal(sign("vote", REVOCATION, MEMBER), ROOT)


@each
def test_it_speaks_of_the_mandate_that_was_signed(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    """Another mandate under the same signature."""
    other = sign(kind, {**document, "mandate": "sha256:" + "cd" * 32}, MEMBER)
    moved = sign(kind, document, MEMBER).model_copy(update={"payload": other.payload})
    with pytest.raises(Refused, match="signed by 0 of 1"):
        read(moved, ROOT)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("an unknown field", {"note": "x"}),
    ("another schema", {"schema": "datatrust/vote/2"}),
    ("a mandate by its number", {"mandate": "2026-0001"}),
    ("a digest in capitals", {"mandate": "sha256:" + "AB" * 32}),
    ("a digest that is too short", {"mandate": "sha256:ab"}),
    ("a member by name", {"member": "member-1"}),
    ("a time without a zone", {"at": "2026-11-25T12:00:00"}),
    ("a time that does not exist", {"at": "2026-02-30T12:00:00Z"}),
]


@each
@pytest.mark.parametrize("change", [case[1] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_document_does_not_stand_with(
    kind: Kind, read: Read, document: dict[str, Any], change: dict[str, Any]
) -> None:
    with pytest.raises(MessageInvalid):
        read(sign(kind, {**document, **change}, MEMBER), ROOT)


@each
def test_no_field_may_be_left_out(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    for name in document.keys() - {"schema", "decision"}:
        with pytest.raises(MessageInvalid, match=f"no field '{name}'"):
            read(sign(kind, {k: v for k, v in document.items() if k != name}, MEMBER), ROOT)


@pytest.mark.parametrize(
    ("reasons", "stands"),
    [
        ([], False),
        ([""], False),
        (["x"], True),
        (["x" * 2000], True),
        (["x" * 2001], False),
        (["x"] * 20, True),
        (["x"] * 21, False),
        ("x", False),
        ([1], False),
    ],
)
def test_a_refusal_gives_its_reasons(reasons: Any, stands: bool) -> None:
    envelope = sign("vote", {**REFUSAL, "reasons": reasons}, MEMBER)
    if stands:
        assert read_refusal(envelope, ROOT).reasons == tuple(reasons)
        return
    with pytest.raises(MessageInvalid):
        read_refusal(envelope, ROOT)


@pytest.mark.parametrize(("reason", "stands"), [("", False), ("x", True), ("x" * 2000, True), ("x" * 2001, False)])
def test_a_revocation_gives_its_reason(reason: str, stands: bool) -> None:
    envelope = sign("revocation", {**REVOCATION, "reason": reason}, MEMBER)
    if stands:
        assert read_revocation(envelope, ROOT).reason == reason
        return
    with pytest.raises(MessageInvalid):
        read_revocation(envelope, ROOT)


@pytest.mark.parametrize("decision", ["approve", "abstain", ""])
def test_a_vote_against_says_nothing_else(decision: str) -> None:
    """A vote for a mandate is a signature over the mandate, and never this."""
    with pytest.raises(MessageInvalid, match="decision"):
        read_refusal(sign("vote", {**REFUSAL, "decision": decision}, MEMBER), ROOT)


@each
def test_bytes_that_are_not_canonical_are_refused(kind: Kind, read: Read, document: dict[str, Any]) -> None:
    loose = base64.b64encode(json.dumps(document, indent=1).encode()).decode()
    with pytest.raises(MessageInvalid, match="canonical"):
        read(sign(kind, document, MEMBER).model_copy(update={"payload": loose}), ROOT)


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.just(canonical(REFUSAL)) | st.just(canonical(REVOCATION)), st.booleans())
def test_any_bytes_are_read_or_refused(raw: bytes, revoke: bool) -> None:
    kind: Kind = "revocation" if revoke else "vote"
    envelope = Envelope(
        payload=base64.b64encode(raw).decode(), payloadType=f"application/vnd.datatrust.{kind}+json", signatures=()
    ).with_signature(MEMBER)
    read: Read = read_revocation if revoke else read_refusal
    try:
        assert canonical(read(envelope, ROOT).document()) == raw
    except (Refused, MessageInvalid):
        assert raw != canonical(REVOCATION if revoke else REFUSAL)


def test_a_stored_revocation_that_cannot_be_read_is_an_error_and_one_that_is_shown_is_passed_over() -> None:
    good, mandate = sign("revocation", REVOCATION, MEMBER), str(REVOCATION["mandate"])
    junk = good.model_copy(update={"payload": base64.b64encode(b"{}").decode()})
    former = sign("revocation", {**REVOCATION, "member": Signer().key_id}, Signer())
    assert valid_revocations([former, good], [ROOT], mandate) == [good]
    assert valid_revocations([good], [ROOT], "sha256:" + "0" * 64) == []
    with pytest.raises(MessageInvalid):
        valid_revocations([junk, good], [ROOT], mandate)
    assert valid_revocations([junk, good], [ROOT], mandate, from_docket=False) == [good]
