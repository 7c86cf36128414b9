"""The docket under attack: who may file, sign, vote and revoke, in which state, and what the register then shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from datatrust.in_process.keys import RoleKeys
from tests.coordinator.conftest import Opened
from tests.support.committee import (
    CHARTER,
    DATASET,
    KEYS,
    LAY,
    NAME,
    NOW,
    SECOND,
    THIRD,
    Desk,
    checks,
    mandate,
    refused,
    revocation,
    rotated,
    signed,
    study,
    vote,
    without,
)
from trust.dataset.dataset import Dataset
from trust.documents.mandate import SignedMandate
from trust.documents.study_states import FOLLOWS
from trust.errors import InvalidInput, MessageInvalid, Refused, StudyInvalid
from trust.signing.envelope import Envelope, Signature, Signer, sign
from trust.times import write_time

STRANGER = Signer()


# ---- filing


def test_a_filed_study_waits_with_a_mandate_that_nodes_would_compute(filed: Desk) -> None:
    found = filed.docket.find(NAME)
    assert (found.state, found.number, found.signers, found.against) == ("filed", "2026-0001", frozenset(), ())
    assert filed.docket.find("2026-0001") == found
    assert found.drafted == filed.docket.trust.draft_mandate(study(), found.drafted.study, "2026-0001")
    assert filed.kinds() == ["root", "charter", "study"]


def test_a_study_filed_twice_is_refused_and_the_register_has_it_once(filed: Desk) -> None:
    before = filed.dump()
    for again in (signed(), signed(title="Another, under the same id")):
        with pytest.raises(StudyInvalid, match="a second study with the id 'age-1a2b'; expected a new id"):
            filed.docket.file(again)
    assert filed.dump() == before
    assert filed.kinds(NAME) == ["study"]


def test_the_id_of_a_study_that_was_turned_away_is_used_up(desk: Desk) -> None:
    desk.docket.turned_away(
        signed(), Refused("no-permit", "the charter permits no marketing", remedy="change the purpose")
    )
    assert desk.kinds(NAME) == ["study", "refusal"]
    before = desk.dump()
    with pytest.raises(StudyInvalid, match="a second study"):
        desk.docket.file(signed())
    with pytest.raises(StudyInvalid, match="a second study"):
        desk.docket.turned_away(signed(), Refused("no-permit", "x"))
    assert desk.dump() == before
    assert desk.docket.studies() == []
    assert desk.docket.file(signed("other-1a2b")).number == "2026-0001"  # no number is lost


@pytest.mark.parametrize("way", ["file", "turned_away"])
@pytest.mark.parametrize(
    ("envelope", "rule"),
    [
        (signed().model_copy(update={"signatures": ()}), "signature"),
        (signed(signer=STRANGER), "signature"),
        (signed(signer=LAY), "signature"),
        (sign("mandate", study().document(), KEYS.researcher), "signature"),
        (signed(researcher="nobody"), "researcher"),
    ],
    ids=["nobody", "a stranger", "a member", "as a mandate", "unknown researcher"],
)
def test_a_study_that_no_researcher_has_signed_is_not_filed(
    desk: Desk, envelope: Envelope, rule: str, way: str
) -> None:
    before = desk.dump()
    arguments = (envelope,) if way == "file" else (envelope, Refused("x", "y"))
    with refused(rule):
        getattr(desk.docket, way)(*arguments)
    assert desk.dump() == before


def test_a_researcher_whose_accreditation_has_run_out_cannot_file(open_desk: Opened) -> None:
    until = NOW + timedelta(days=3)

    def change(root: dict[str, Any]) -> None:
        root["researchers"]["local"]["accredited_until"] = write_time(until)

    desk = open_desk(rotated(change))
    desk.now = until - timedelta(seconds=1)
    assert desk.docket.file(signed()).state == "filed"
    desk.now = until
    with refused("researcher", "no longer accredited"):
        desk.docket.file(signed("later-1a2b"))
    assert not desk.docket.used("later-1a2b")


@pytest.mark.parametrize(
    ("changes", "now", "rule"),
    [
        ({"dataset": "other"}, NOW, "dataset"),
        ({"dataset_digest": "sha256:" + 64 * "0"}, NOW, "dataset"),
        ({}, NOW + timedelta(days=30), "mandate-expired"),
        ({}, NOW + timedelta(days=365), "root-expired"),
        ({"not_before": "2027-11-24T12:00:00Z", "expires": "2027-12-24T12:00:00Z"}, NOW, "root-expired"),
    ],
    ids=["dataset", "digest", "expired", "root expired", "begins after the root"],
)
def test_a_study_whose_mandate_could_never_be_in_force_is_not_filed(
    desk: Desk, changes: dict[str, Any], now: Any, rule: str
) -> None:
    before = desk.dump()
    desk.now = now
    with refused(rule):
        desk.docket.file(signed(**changes))
    assert desk.dump() == before


@pytest.mark.parametrize("name", ["2026-0001", "2026-0002", "2026-12345"])
def test_no_study_takes_the_number_of_a_mandate_as_its_id(desk: Desk, name: str) -> None:
    """`review sign 2026-0002` would find the one study or the other."""
    with pytest.raises(StudyInvalid, match="looks like a mandate's number"):
        desk.docket.file(signed(name))
    assert desk.docket.file(signed("age-2026-0001")).number == "2026-0001"


def test_another_version_of_the_dataset_is_not_this_trusts(desk: Desk) -> None:
    other = Dataset.parse(DATASET.to_yaml().replace("1.0.0", "1.0.1"))
    with refused("dataset"):
        desk.docket.file(signed(dataset_digest=other.digest()))


def test_other_signatures_on_a_study_are_not_kept(desk: Desk) -> None:
    """They would be in the register and in the result file for ever."""
    good = signed()
    junk = Signature(keyid=KEYS.researcher.key_id, sig="AAAA")
    noisy = good.with_signature(STRANGER).model_copy(update={"signatures": (junk, *good.signatures)})
    assert desk.docket.file(noisy).study == good
    many = good.model_copy(update={"signatures": good.signatures * 201})
    with pytest.raises(MessageInvalid, match="201 signatures"):
        desk.docket.file(many)


def test_an_unknown_study_names_the_nearest(filed: Desk) -> None:
    for name, near in (("age-1a2c", "'age-1a2b', perhaps"), ("2026-0009", "'2026-0001', perhaps")):
        with pytest.raises(InvalidInput, match=near):
            filed.docket.find(name)


# ---- signing


def test_two_members_of_whom_one_is_lay_put_a_mandate_in_force(filed: Desk) -> None:
    with refused("mandate-missing", "signed by 0 of the 2 members who are needed, 1 of role 'lay' lacking"):
        filed.docket.mandate(NAME)
    assert filed.sign(SECOND) == "filed"
    assert filed.kinds(NAME) == ["study"]
    assert filed.sign(LAY) == "mandated"
    assert filed.kinds(NAME) == ["study", "mandate"]
    assert SignedMandate(filed.docket.mandate(NAME), KEYS.root).signers == {LAY.key_id, SECOND.key_id}
    assert all(checks(filed).values())


def test_two_members_of_whom_none_is_lay_do_not(filed: Desk) -> None:
    assert filed.sign(SECOND, THIRD) == "filed"
    with refused("mandate-missing", "signed by 2 of the 2 members who are needed, 1 of role 'lay' lacking"):
        filed.docket.mandate(NAME)
    assert filed.docket.trust.lacking(filed.docket.find(NAME).signers) == {"lay": 1}
    assert filed.sign(LAY) == "mandated"


def test_one_member_who_signs_twice_counts_once(filed: Desk) -> None:
    assert filed.sign(LAY) == "filed"
    before = filed.docket.find(NAME)
    assert filed.docket.sign(NAME, mandate(filed, LAY)) == before
    twice = mandate(filed, LAY)
    twice = twice.model_copy(update={"signatures": twice.signatures * 2})
    assert filed.docket.sign(NAME, twice) == before
    assert len(before.mandate.signatures) == 1


def test_who_has_signed_may_send_it_again_once_it_is_in_force(filed: Desk) -> None:
    """The answer to her first request may have been lost."""
    filed.sign(LAY, SECOND)
    assert filed.docket.sign(NAME, mandate(filed, LAY)).state == "mandated"
    with refused("study-state", "is mandated; only one that waits"):  # it would not be in the register
        filed.docket.sign(NAME, mandate(filed, THIRD))
    assert filed.kinds(NAME).count("mandate") == 1


@pytest.mark.parametrize(
    "signer", [STRANGER, KEYS.coordinator, KEYS.auditor, KEYS.researcher, KEYS.partners["east"].sign]
)
def test_the_signature_of_nobody_who_is_a_member_is_refused(filed: Desk, signer: Signer) -> None:
    before = filed.dump()
    with refused("signature", "nobody who is a member"):
        filed.docket.sign(NAME, mandate(filed, signer))
    assert filed.dump() == before
    assert filed.docket.sign(NAME, mandate(filed, signer, LAY)).signers == {LAY.key_id}
    assert len(filed.docket.find(NAME).mandate.signatures) == 1


def test_a_signature_that_is_not_valid_does_not_stand_in_the_way_of_the_members_own(filed: Desk) -> None:
    """Whoever can write to the docket could else lock a member out: an envelope takes one signature of a key."""
    junk = Signature(keyid=LAY.key_id, sig="AAAA")
    spoilt = mandate(filed).model_copy(update={"signatures": (junk,)})
    with refused("signature"):
        filed.docket.sign(NAME, spoilt)
    of_another = spoilt.model_copy(update={"signatures": (junk, *mandate(filed, SECOND).signatures)})
    assert filed.docket.sign(NAME, of_another).signers == {SECOND.key_id}
    both = spoilt.model_copy(update={"signatures": (junk, *mandate(filed, LAY).signatures, junk)})
    found = filed.docket.sign(NAME, both)
    assert found.state == "mandated"
    assert [s.keyid for s in found.mandate.signatures] == [SECOND.key_id, LAY.key_id]
    assert junk not in found.mandate.signatures


def test_a_signature_is_over_these_bytes_and_no_others(filed: Desk) -> None:
    before = filed.dump()
    document = filed.docket.find(NAME).drafted.document()
    for other in ({**document, "sums": document["sums"] + 1}, {**document, "id": "2026-0002"}):
        with refused("mandate-study", "over another mandate"):
            filed.docket.sign(NAME, sign("mandate", other, LAY, SECOND))
    for kind in ("vote", "study"):
        with refused("signature"):
            filed.docket.sign(NAME, sign(kind, document, LAY, SECOND))
    one = mandate(filed, LAY)
    many = one.model_copy(update={"signatures": one.signatures * 201})
    with pytest.raises(MessageInvalid, match="201 signatures"):
        filed.docket.sign(NAME, many)
    assert filed.dump() == before


def test_signatures_do_not_go_over_to_a_changed_study(filed: Desk) -> None:
    filed.sign(LAY, SECOND)
    changed = filed.docket.file(signed("age-2b3c", title="Age, and something more"))
    assert (changed.signers, changed.state, changed.number) == (frozenset(), "filed", "2026-0002")
    with refused("mandate-study"):
        filed.docket.sign(changed.id, filed.docket.find(NAME).mandate)
    assert filed.state("age-2b3c") == "filed"


# ---- a root that has changed


def test_a_former_members_signature_is_refused(open_desk: Opened) -> None:
    fresh = Signer()
    desk = open_desk(rotated(without(SECOND, fresh)))
    desk.docket.file(signed())
    with refused("signature", "nobody who is a member today"):
        desk.sign(SECOND)
    with refused("signature", "names nobody who is a member today"):
        desk.docket.refuse(vote(desk.digest(), SECOND))
    with refused("signature", "names nobody who is a member today"):
        desk.docket.revoke(revocation(desk.digest(), SECOND))
    assert desk.sign(LAY, fresh) == "mandated"
    assert all(checks(desk).values())


def test_a_mandate_for_an_earlier_root_can_neither_be_signed_nor_run(desk: Desk) -> None:
    for name in ("waits-1a2b", "signed-1a2b", "against-1a2b"):
        desk.docket.file(signed(name))
    desk.sign(LAY, SECOND, name="signed-1a2b")
    desk.docket.refuse(vote(desk.digest("against-1a2b"), SECOND))
    desk.roots = rotated(without(SECOND, Signer()))
    desk.docket = desk.again()
    for name in ("waits-1a2b", "signed-1a2b", "against-1a2b"):
        assert desk.docket.find(name).lapsed == "outdated"
        with refused("root-version", "earlier version of the trust root"):
            desk.docket.mandate(name)
    with refused("root-version"):
        desk.sign(LAY, name="waits-1a2b")
    with refused("root-version"):
        desk.docket.refuse(vote(desk.digest("waits-1a2b"), LAY))
    assert desk.docket.find("against-1a2b").against == ()  # a former member's vote; the docket can still be read
    assert desk.kinds("") == ["root", "charter", "root"]
    assert all(checks(desk).values())


def test_an_older_root_is_not_in_force_again_and_another_does_not_open_the_register(desk: Desk) -> None:
    """With the old root a former member could sign again."""
    desk.roots = rotated(without(SECOND, Signer()))
    desk.again()
    before = desk.dump()
    assert desk.again((KEYS.envelope,)).trust.roots == desk.roots
    other = RoleKeys.make(("east", "north", "south"), CHARTER, NOW)
    for roots in (rotated(without(SECOND, Signer())), (other.envelope,)):
        with pytest.raises(InvalidInput, match="register is of another trust root"):
            desk.again(roots)
    assert desk.dump() == before
    desk.again()
    assert desk.kinds("") == ["root", "charter", "root"]  # opened twice, written once


def test_a_charter_that_the_root_does_not_name_opens_nothing(desk: Desk) -> None:
    lax = CHARTER.model_copy(update={"folder_digest": "sha256:" + 64 * "0"})
    before = desk.dump()
    with pytest.raises(InvalidInput, match="the charter is not the one that the trust root names"):
        desk.again(charter=lax)
    assert desk.dump() == before


# ---- against


def test_a_study_is_refused_once_the_others_can_be_no_quorum(filed: Desk) -> None:
    assert filed.docket.refuse(vote(filed.digest(), SECOND)).state == "filed"
    found = filed.docket.refuse(vote(filed.digest(), THIRD, reasons=("no benefit", "too long")))
    assert found.state == "refused"
    assert [v.reasons for v in found.against] == [("no benefit",), ("no benefit", "too long")]
    assert filed.kinds(NAME) == ["study", "vote", "vote", "refusal"]
    with refused("committee", "the committee has refused the study"):
        filed.docket.mandate(NAME)
    assert all(checks(filed).values())


def test_when_the_only_lay_member_refuses_the_study_is_refused(filed: Desk) -> None:
    assert filed.docket.refuse(vote(filed.digest(), LAY)).state == "refused"
    assert filed.kinds(NAME) == ["study", "vote", "refusal"]


def test_signers_who_are_left_cannot_make_up_for_a_role(filed: Desk) -> None:
    filed.sign(SECOND, THIRD)
    assert filed.docket.refuse(vote(filed.digest(), LAY)).state == "refused"


def test_a_member_votes_once_and_in_one_way(filed: Desk) -> None:
    filed.docket.refuse(vote(filed.digest(), SECOND))
    before = filed.dump()
    with refused("vote-against", "has voted already"):
        filed.docket.refuse(vote(filed.digest(), SECOND, reasons=("another reason",)))
    with refused("vote-against", "has voted against"):
        filed.sign(SECOND)
    assert filed.dump() == before
    # her signature, in a gathered envelope, is left out and spoils nobody else's
    assert filed.docket.sign(NAME, mandate(filed, THIRD, SECOND)).signers == {THIRD.key_id}
    with refused("vote-against", "has signed this mandate"):
        filed.docket.refuse(vote(filed.digest(), THIRD))
    assert filed.kinds(NAME) == ["study", "vote"]


@pytest.mark.parametrize("made", [vote, revocation], ids=["vote", "revocation"])
def test_nobody_votes_or_revokes_for_a_member(filed: Desk, made: Callable[..., Envelope]) -> None:
    before = filed.dump()
    take = filed.docket.refuse if made is vote else filed.docket.revoke
    for envelope in (
        made(filed.digest(), STRANGER),
        made(filed.digest(), KEYS.coordinator),
        made(filed.digest(), STRANGER, named=LAY.key_id),
        made(filed.digest(), SECOND, named=LAY.key_id),
        made(filed.digest(), LAY).model_copy(update={"payloadType": "application/vnd.datatrust.mandate+json"}),
        made(filed.digest(), LAY).model_copy(update={"signatures": ()}),
    ):
        with refused("signature"):
            take(envelope)
    with pytest.raises(InvalidInput, match="a mandate that is not on the docket"):
        take(made("sha256:" + 64 * "0", LAY))
    assert filed.dump() == before


@pytest.mark.parametrize("made", [vote, revocation], ids=["vote", "revocation"])
def test_of_a_vote_and_of_a_revocation_only_the_members_own_signature_is_kept(
    filed: Desk, made: Callable[..., Envelope]
) -> None:
    good = made(filed.digest(), LAY)
    junk = Signature(keyid=LAY.key_id, sig="AAAA")
    noisy = good.with_signature(STRANGER).model_copy(update={"signatures": (junk, *good.signatures, junk)})
    (filed.docket.refuse if made is vote else filed.docket.revoke)(noisy)
    kind = "vote" if made is vote else "revocation"
    (entry,) = [e for e in filed.docket.register.entries() if e.kind == kind]
    assert Envelope.read(entry.body["envelope"]) == good


# ---- the end of a mandate


@pytest.mark.parametrize("state", sorted(FOLLOWS))
def test_a_revocation_at_each_state(desk: Desk, state: str) -> None:
    desk.bring_to(state)
    before = desk.dump()
    made = revocation(desk.digest(), SECOND)
    if state in ("refused", "revoked"):
        with refused("study-state", f"'age-1a2b' is {state}"):
            desk.docket.revoke(made)
        assert desk.dump() == before
        return
    assert desk.docket.revoke(made).state == "revoked"
    assert desk.docket.revocations(desk.digest()) == [made]
    with refused("mandate-revoked"):
        desk.docket.mandate(NAME)
    with refused("study-state", "is revoked already"):
        desk.docket.revoke(revocation(desk.digest(), THIRD))
    assert desk.kinds(NAME).count("revocation") == 1


def test_a_result_that_is_ready_when_its_mandate_is_revoked_is_not_released(desk: Desk) -> None:
    desk.bring_to("running")
    desk.docket.revoke(revocation(desk.digest(), LAY))
    before = desk.dump()
    with refused("mandate-revoked"):
        desk.docket.released(NAME, {"mandate": desk.digest(), "result": "sha256:" + 64 * "0"})
    assert desk.dump() == before
    desk.docket.refused(NAME, Refused("mandate-revoked", "a member has revoked the mandate"), "failed")
    assert desk.state() == "revoked"


@pytest.mark.parametrize("state", sorted(FOLLOWS))
def test_votes_are_taken_only_while_a_study_waits_for_them(desk: Desk, state: str) -> None:
    desk.bring_to(state)
    before = desk.dump()
    if state == "filed":
        assert desk.sign(THIRD) == "filed"
        return
    with refused("study-state", f"is {state}; only one that waits"):
        desk.docket.refuse(vote(desk.digest(), THIRD))
    with refused("study-state", f"is {state}; only one that waits"):
        desk.docket.sign(NAME, mandate(desk, THIRD))
    assert desk.dump() == before


@pytest.mark.parametrize("state", sorted(FOLLOWS))
def test_only_a_mandate_in_force_is_handed_out(desk: Desk, state: str) -> None:
    desk.bring_to(state)
    if state == "mandated":
        assert desk.docket.mandate("2026-0001") == desk.docket.find(NAME).mandate
        return
    with pytest.raises(Refused) as no:
        desk.docket.mandate(NAME)
    rules = {"filed": "mandate-missing", "revoked": "mandate-revoked", "refused": "committee", "cancelled": "cancelled"}
    assert no.value.rule == rules.get(state, "study-state")
    with pytest.raises(Refused):
        desk.docket.move(NAME, "running" if state != "mandated" else "released")


def test_who_asks_for_a_study_that_a_rule_has_ended_is_told_the_rule(desk: Desk) -> None:
    desk.bring_to("running")
    desk.docket.refused(NAME, Refused("organisations", "at least 3 partners take part", remedy="name more partners"))
    desk.docket = desk.again()
    with refused("organisations", "at least 3 partners take part; to fix it: name more partners"):
        desk.docket.mandate(NAME)
    assert desk.kinds(NAME) == ["study", "mandate", "refusal"]


@pytest.mark.parametrize("signers", [(), (LAY,), (LAY, SECOND)], ids=["none", "one", "quorum"])
def test_an_expired_study_is_neither_signed_nor_voted_on_nor_run(filed: Desk, signers: tuple[Signer, ...]) -> None:
    filed.sign(*signers)
    filed.now = NOW + timedelta(days=30) - timedelta(seconds=1)
    assert filed.docket.find(NAME).lapsed is None
    filed.now += timedelta(seconds=1)
    before = filed.dump()
    assert filed.docket.find(NAME).lapsed == "expired"
    with refused("mandate-expired", "the mandate has expired"):
        filed.docket.mandate(NAME)
    if len(signers) < 2:
        with refused("mandate-expired"):
            filed.sign(THIRD)
        with refused("mandate-expired"):
            filed.docket.refuse(vote(filed.digest(), THIRD))
    assert filed.dump() == before
    assert filed.docket.revoke(revocation(filed.digest(), LAY)).state == "revoked"


def test_a_study_that_is_run_too_early_can_be_run_in_its_time(desk: Desk) -> None:
    """Nodes would refuse it, and a refused study is never run again."""
    begins = NOW + timedelta(days=2)
    desk.docket.file(signed(not_before=write_time(begins)))
    desk.sign(LAY, SECOND)
    with refused("mandate-expired", "not in force yet"):
        desk.docket.mandate(NAME)
    desk.now = begins
    assert desk.docket.mandate(NAME) == desk.docket.find(NAME).mandate


def test_a_state_that_was_changed_by_hand_does_not_make_a_mandate(filed: Desk) -> None:
    filed.sign(SECOND)
    filed.by_hand("UPDATE study SET state = 'mandated'")
    with refused("signature", "signed by 1 of 3 keys; 2 are needed"):
        filed.docket.mandate(NAME)
