"""The mandate: what the committee signs follows from the study, in one spelling, and holds in its time only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from tests.support.example import contract, number
from tests.support.trust_parts import TrustParts
from trust.canonical import canonical, parse
from trust.documents.mandate import Mandate, SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import plan, plan_document_digest, sums_at_most
from trust.errors import MessageInvalid, Refused
from trust.protocol.asks import upload_bytes
from trust.signing.envelope import Envelope, Signer, sha256, sign
from trust.times import read_time, write_time

DATASET = contract(
    number("x", 0, 100),
    "name: y, logicalType: boolean",
    name="mandates",
)
FRAME = pd.DataFrame({"x": [1.0, 2.0], "y": [True, False]})
NONE = "sha256:" + 64 * "0"
SECOND = timedelta(seconds=1)


def world(*partners: str) -> TrustParts:
    return TrustParts(dt.local(dict.fromkeys(partners or ("a", "b", "c"), FRAME), dt.Dataset.parse(DATASET)))


OF = world()
STUDY = OF.trust.study(
    "mandates",
    purpose="AcademicResearch",
    cohort="x > 1",
    analyses={"m": dt.Glm("y ~ x", family="binomial"), "d": dt.Describe(["x"])},
).study
SIGNED = OF.keys.study(STUDY)
MANDATE = OF.mandate_of(STUDY, SIGNED)


def read(envelope: Envelope, root: TrustRoot | None = None) -> SignedMandate:
    return SignedMandate(envelope, root or OF.keys.root)


# ---- it follows from the study


def test_every_field_of_the_draft_follows_from_study_root_and_charter() -> None:
    scope = OF.trust._scope(STUDY)
    plans = plan(STUDY, scope)
    assert MANDATE.document() == {
        "schema": "datatrust/mandate/1",
        "id": "2026-0001",
        "study": sha256(SIGNED.unverified_payload),
        "plan": plan_document_digest(STUDY, scope, plans),
        "dataset": OF.trust.dataset.digest(),
        "charter": OF.trust.charter.folder_digest,
        "root": 1,
        "partners": ["a", "b", "c"],
        "participation": "joined",
        "m": 3,
        "c": 1,
        "sums": sums_at_most(plans),
        "bytes": upload_bytes(plans),
        "audit": "nodes",
        "conditions": [],
        "not_before": STUDY.not_before,
        "expires": STUDY.expires,
    }


def test_the_longest_analysis_says_how_many_sums() -> None:
    plans = plan(STUDY, OF.trust._scope(STUDY))
    by_analysis = {name: sum(planned.at_most for planned in sums.values()) for name, sums in plans.items()}
    assert MANDATE.sums == by_analysis["m"] > by_analysis["d"]


def test_another_cohort_is_another_plan_and_another_study() -> None:
    other = STUDY.model_copy(update={"cohort": "x > 2"})
    mandate = OF.mandate_of(other, OF.keys.study(other))
    assert mandate.plan != MANDATE.plan
    assert mandate.study != MANDATE.study
    assert mandate.dataset == MANDATE.dataset


def test_a_title_changes_the_study_and_not_the_plan() -> None:
    other = STUDY.model_copy(update={"title": "Other words"})
    mandate = OF.mandate_of(other, OF.keys.study(other))
    assert mandate.plan == MANDATE.plan
    assert mandate.study != MANDATE.study


def test_a_mandate_ends_with_the_trust_root_at_the_latest() -> None:
    late = STUDY.model_copy(update={"expires": "2999-01-01T00:00:00Z"})
    assert OF.mandate_of(late, OF.keys.study(late)).expires == OF.keys.root.root.expires


@pytest.mark.parametrize(("partners", "m"), [("abc", 3), ("abcd", 3), ("abcde", 4), ("abcdef", 4), ("abcdefg", 5)])
def test_more_partners_raise_the_fewest_in_a_sum(partners: str, m: int) -> None:
    """2m > n + c, so that no two sets of m partners have only colluders in common."""
    of = world(*partners)
    assert of.mandate_of(STUDY, SIGNED).m == m


# ---- one spelling


def test_a_mandate_read_back_is_the_same_to_the_byte() -> None:
    raw = MANDATE.canonical()
    again = Mandate.model_validate(parse(raw))
    assert again == MANDATE
    assert again.canonical() == raw
    assert again.digest() == MANDATE.digest()


def test_the_digest_of_a_mandate_in_hand_is_that_of_its_signed_bytes() -> None:
    signed = read(OF.keys.mandate(MANDATE))
    assert signed.mandate == MANDATE
    assert "sha256:" + signed.digest.hex() == MANDATE.digest()


@pytest.mark.parametrize("field", sorted(set(MANDATE.document())))
def test_every_field_counts_in_the_digest_and_none_may_be_missing(field: str) -> None:
    document = MANDATE.document()
    other = {**document, field: "another"}
    assert canonical(other) != MANDATE.canonical()
    del other[field]
    envelope = sign("mandate", other, *OF.keys.members)
    if field in ("audit", "conditions"):  # they have one value, or a default
        assert read(envelope).mandate == MANDATE
        assert read(envelope).digest != read(OF.keys.mandate(MANDATE)).digest
        return
    with pytest.raises(MessageInvalid, match=f"no field '{field}'"):
        read(envelope)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("note", "x"),
        ("schema", "datatrust/mandate/2"),
        ("id", "No Name"),
        ("root", 0),
        ("partners", ["b", "a", "c"]),
        ("partners", ["a", "a", "b"]),
        ("partners", ["a", "B"]),
        ("participation", "any"),
        ("c", 0),
        ("m", "three"),
        ("sums", 0),
        ("bytes", 0),
        ("audit", "nobody"),
        pytest.param("expires", MANDATE.not_before, id="expires-as-it-begins"),
        ("not_before", "2026-11-24"),
    ],
)
def test_a_mandate_is_invalid_with(field: str, value: Any) -> None:
    with pytest.raises(MessageInvalid, match="the mandate"):
        read(sign("mandate", {**MANDATE.document(), field: value}, *OF.keys.members))


# ---- the quorum


def test_any_two_members_are_its_quorum_and_are_named() -> None:
    one, two, three = OF.keys.members
    for pair in ((one, two), (one, three), (two, three)):
        assert read(sign("mandate", MANDATE.document(), *pair)).signers == {member.key_id for member in pair}


def test_one_member_and_everybody_else_are_not() -> None:
    others = [OF.keys.coordinator, OF.keys.auditor, OF.keys.researcher, OF.keys.partners["a"].sign, Signer()]
    with pytest.raises(Refused, match="signed by 1 of 3 keys") as error:
        read(sign("mandate", MANDATE.document(), OF.keys.members[0], *others))
    assert error.value.rule == "signature"


def test_a_mandate_signed_as_a_vote_is_none() -> None:
    with pytest.raises(Refused, match="signed by 0 of 3"):
        read(sign("vote", MANDATE.document(), *OF.keys.members))


def test_a_mandate_for_another_version_of_the_root_is_refused() -> None:
    document = {**OF.keys.root.root.document(), "version": 2}
    newer = TrustRoot.founding(sign("root", document, *OF.keys.members))
    with pytest.raises(Refused) as error:
        read(OF.keys.mandate(MANDATE), newer)
    assert error.value.rule == "root-version"
    assert read(OF.keys.mandate(MANDATE.model_copy(update={"root": 2})), newer).mandate.root == 2


# ---- the charter's committee, beyond the root's threshold


def answered(members: list[int], threshold: int) -> set[str]:
    """Rules that nodes name for a mandate signed by these members, under a root that asks for `threshold`."""
    of = world()
    document = of.keys.root.root.document()
    document["roles"]["committee"]["threshold"] = threshold
    of.found(document)
    of.keys.members = [of.keys.members[at] for at in members]
    of.keys.quorum = len(members)
    answers = of.mandate_answers(STUDY, lambda drafted: drafted)
    return {answer.get("rule", answer["kind"]) for answer in answers}


def test_a_root_with_a_lower_threshold_does_not_lower_the_charters_quorum() -> None:
    assert answered([0], threshold=1) == {"signature"}
    assert answered([0, 2], threshold=1) == {"persons"}  # two rows are too few: the gate's next step


def test_a_quorum_without_the_lay_member_that_the_charter_asks_for_is_refused() -> None:
    assert answered([1, 2], threshold=2) == {"signature"}
    assert answered([0, 1], threshold=2) == {"persons"}


def test_a_researchers_accreditation_ends_with_its_second() -> None:
    of = world()
    ends = read_time(STUDY.not_before) + timedelta(days=3)
    document = of.keys.root.root.document()
    document["researchers"]["local"]["accredited_until"] = write_time(ends)
    of.found(document)
    for now, rule in ((ends - SECOND, "persons"), (ends, "researcher"), (ends + SECOND, "researcher")):
        answers = of.mandate_answers(STUDY, lambda drafted: drafted, clock=now)
        assert {answer["rule"] for answer in answers} == {rule}


# ---- its time


@pytest.mark.parametrize(
    ("when", "after", "stands"),
    [
        ("not_before", -SECOND, False),
        ("not_before", 0 * SECOND, True),
        ("not_before", SECOND, True),
        ("expires", -SECOND, True),
        ("expires", 0 * SECOND, False),
        ("expires", SECOND, False),
    ],
)
def test_a_mandate_is_in_force_from_its_first_second_to_the_last_before_its_expiry(
    when: str, after: timedelta, stands: bool
) -> None:
    signed = read(OF.keys.mandate(MANDATE))
    now = read_time(getattr(MANDATE, when)) + after
    if stands:
        signed.require_in_force(now)
        return
    with pytest.raises(Refused) as error:
        signed.require_in_force(now)
    assert error.value.rule == "mandate-expired"
