"""Verification of a result file: seven steps in their order, the first no ends it, and no bytes raise anything else.

Single documents that must be refused: tests/conformance/release, judged by `tests/test_conformance.py`.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import strategies as our
from tests.support.corpus.honest import (
    COORDINATOR,
    MEMBERS,
    NOW,
    RESEARCHER,
    ROOT,
    STRANGER,
    file_of,
    root_document,
    set_to,
    sign_bytes,
    signed_root,
)
from tests.support.corpus.release import HONEST, SIGNED, Release, mandate, register
from tests.support.sizes import FULL
from trust.canonical import canonical
from trust.decision import Decisions
from trust.documents.root import TrustRoot
from trust.documents.verification import (
    NOT_CHECKED,
    STEPS,
    Verified,
    check_roots,
    check_signature_count,
    require_verified,
    verify,
)
from trust.errors import DataTrustError, MessageInvalid, Refused
from trust.signing.envelope import sha256, sign
from trust.times import read_time

RAW = file_of(SIGNED)
PINNED = TrustRoot.founding(ROOT)
ORDER = ["file", "root", "result", "mandate", "study", "rules", "register"]
many = settings(max_examples=1_000, suppress_health_check=list(HealthCheck))
some = settings(many, max_examples=1_000 if FULL else 150)


def judged(release: Release, pinned: TrustRoot | None = PINNED) -> Verified:
    return verify(file_of(release.envelope()), pinned=pinned)


def test_an_honest_result_is_verified_step_by_step() -> None:
    found = verify(RAW, pinned=PINNED, now=read_time(NOW))
    assert found.ok
    assert list(STEPS) == [decision.rule for decision in found.decisions] == ORDER
    assert found.document is not None
    assert found.study is not None
    assert found.mandate is not None
    assert found.root is not None
    assert (found.study.id, found.mandate.id, found.root.root.version) == ("age-and-disease-7k3f", "2026-0001", 1)
    assert (found.pinned, found.fingerprint) == (True, sha256(ROOT.unverified_payload))
    assert require_verified(RAW, pinned=PINNED) == verify(RAW, pinned=PINNED)


def test_without_a_pinned_root_it_is_said_and_the_fingerprint_given() -> None:
    found = verify(RAW, pinned=None)
    assert found.ok
    assert not found.pinned
    assert found.fingerprint == sha256(ROOT.unverified_payload)
    said = found.decisions[1].text
    assert said.startswith("root not pinned")
    assert found.fingerprint in said
    assert "not pinned" not in str(verify(RAW, pinned=PINNED).decisions)


AT_STEP: list[tuple[str, Release]] = [
    ("file", Release(signed=set_to(note="x"))),
    ("root", Release(root=(signed_root(root_document(), *MEMBERS[:2]),))),
    ("result", Release(signers=(STRANGER,))),
    ("mandate", Release(mandate=mandate(lambda d: None, *MEMBERS[:2]))),
    ("study", Release(study=sign_bytes("study", HONEST.study.unverified_payload, STRANGER))),
    ("rules", Release(content=set_to(suppressed={"ages": 0, "table": 0}))),
    ("register", Release(signed=register(index=3))),
]


@pytest.mark.parametrize(("step", "release"), AT_STEP, ids=ORDER)
def test_the_first_no_ends_it_and_the_rest_is_not_checked(step: str, release: Release) -> None:
    found = judged(release, None)
    at = ORDER.index(step)
    assert [decision.rule for decision in found.decisions] == ORDER
    assert [decision.ok for decision in found.decisions] == [True] * at + [False] * (7 - at)
    assert all(decision.text == NOT_CHECKED for decision in found.decisions[at + 1 :])
    assert found.decisions[at].text != NOT_CHECKED
    assert found.decisions[at].remedy
    assert not found.ok
    assert found.readable == (step != "file")
    with pytest.raises(Refused) as error:
        require_verified(file_of(release.envelope()), pinned=None)
    assert error.value.rule == step


def test_what_was_not_verified_is_not_handed_out() -> None:
    found = judged(Release(mandate=mandate(lambda d: None, *MEMBERS[:2])))
    assert found.root is not None
    assert found.mandate is found.study is None
    assert judged(Release(root=(signed_root(root_document(), MEMBERS[0]),)), None).root is None


def test_a_result_of_another_trust_names_both() -> None:
    other = TrustRoot.founding(signed_root(root_document(1, set_to(trust="other"))))
    said = verify(RAW, pinned=other).decisions[1]
    assert not said.ok
    assert "'example'" in said.text
    assert "'other'" in said.text


def test_a_result_older_than_the_pinned_root_says_why_and_what_to_do() -> None:
    later = TrustRoot.founding(signed_root(root_document(2)))
    said = verify(RAW, pinned=later).decisions[1]
    assert not said.ok
    assert "version 1" in said.text
    assert "version 2" in said.text
    assert "version 1" in said.remedy


def test_a_date_is_compared_with_a_clock_only_where_one_is_given() -> None:
    early = read_time("2026-11-24T10:59:59Z")
    assert verify(RAW, pinned=PINNED).ok
    assert [d.rule for d in verify(RAW, pinned=PINNED, now=early).decisions.refusals] == ["register"]


def test_no_step_at_all_verifies_nothing() -> None:
    assert not Verified(Decisions(), pinned=False).ok


def test_signatures_are_bounded() -> None:
    check_signature_count(ROOT)
    (one, *_) = ROOT.signatures
    with pytest.raises(MessageInvalid, match="201 signatures"):
        check_signature_count(ROOT.model_copy(update={"signatures": (one,) * 201}))


def test_a_chain_without_a_root_is_none() -> None:
    with pytest.raises(MessageInvalid, match="without a trust root"):
        check_roots([], None)
    with pytest.raises(MessageInvalid, match="without a trust root"):
        check_roots([], PINNED)


# ---- any bytes


def quiet(raw: bytes) -> Verified:
    """Never anything but a verdict."""
    found = verify(raw, pinned=None)
    assert [decision.rule for decision in found.decisions] == ORDER
    assert verify(raw, pinned=PINNED).ok <= found.ok
    return found


@many
@given(st.one_of(st.binary(max_size=300), our.wellformed(our.json_values)))
def test_no_bytes_raise_anything(raw: bytes) -> None:
    assert not quiet(raw).ok


@many
@given(our.mutated(st.just(RAW)))
def test_no_mutation_of_a_file_raises_anything(raw: bytes) -> None:
    found = quiet(raw)
    if found.ok:
        assert _same_content(raw)


@some
@given(our.mutated(st.just(SIGNED.unverified_payload)))
def test_no_mutation_of_a_signed_payload_raises_anything(payload: bytes) -> None:
    """Signed by the coordinator as it is: only the parts' own signatures and forms are left to refuse it."""
    quiet(file_of(sign_bytes("result", payload, COORDINATOR)))


@some
@given(our.changed(st.just(json.loads(SIGNED.unverified_payload))))
def test_no_change_of_a_document_raises_anything(document: Any) -> None:
    try:
        raw = canonical(document)
    except ValueError:
        return
    quiet(file_of(sign_bytes("result", raw, COORDINATOR)))


@some
@given(st.sampled_from(["study", "mandate", "root"]), st.data())
def test_no_change_of_a_part_raises_anything(part: str, data: st.DataObject) -> None:
    """The part is signed again by whom it needs, so that the steps behind its signature are reached."""
    document = json.loads(SIGNED.unverified_payload)
    envelope = document["root"][0] if part == "root" else document[part]
    inner = data.draw(our.changed(st.just(json.loads(base64.b64decode(envelope["payload"])))))
    try:
        signers = {"study": [RESEARCHER], "mandate": MEMBERS, "root": MEMBERS}[part]
        again = sign_bytes(part, canonical(inner), *signers).document()
    except ValueError:
        return
    document[part] = [again] if part == "root" else again
    quiet(file_of(sign("result", document, COORDINATOR)))


def _same_content(raw: bytes) -> bool:
    """The envelope says what it said: spacing, or a signature more."""
    return base64.b64decode(json.loads(raw)["payload"]) == SIGNED.unverified_payload


def test_the_verdict_is_one_of_our_errors_or_none() -> None:
    for raw in (b"", b"{}", b"[]", b"null", b'"x"', RAW[:-10]):
        with pytest.raises(DataTrustError):
            require_verified(raw, pinned=None)
