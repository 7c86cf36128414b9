"""What running studies keep: the first wins, one holds a study, and nothing is published twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from coordinator.docket.docket import Docket
from tests.support.committee import (
    CHARTER,
    KEYS,
    LAY,
    NAME,
    NOW,
    SECOND,
    Desk,
    checks,
    mandate,
    refused,
    revocation,
    rotated,
    signed,
    vote,
    without,
)
from trust.documents.study_states import ENDED, FOLLOWS
from trust.errors import InvalidInput, MessageInvalid, Refused
from trust.signing.envelope import Envelope, Signer, sign
from trust.times import write_time

LATER = write_time(NOW + timedelta(days=2))
REFUSAL = {"rule": "x", "text": "y", "remedy": "", "partner": ""}


# ---- bytes


@pytest.mark.parametrize("raw", [b"", b"\0\xff" * 3, bytes(1 << 20)], ids=["none", "any", "a million"])
def test_who_keeps_first_is_kept_and_every_process_reads_it(desk: Desk, raw: bytes) -> None:
    other = desk.again()
    assert desk.docket.messages.read(NAME, "total 1") is None
    assert desk.docket.messages.keep(NAME, "total 1", raw) == raw
    assert other.messages.keep(NAME, "total 1", b"another") == raw
    assert desk.docket.messages.read(NAME, "total 1") == other.messages.read(NAME, "total 1") == raw
    assert other.messages.keep("b-1a2b", "total 1", b"of another study") == b"of another study"
    assert other.messages.keep(NAME, "total 2", b"the next") == b"the next"


def test_what_is_forgotten_is_gone_and_of_no_other_study(desk: Desk) -> None:
    for study in (NAME, "b-1a2b"):
        desk.docket.messages.keep(study, "k", b"x")
        desk.docket.notes.write(study, "sum 1")
    desk.docket.forget(NAME)
    desk.docket.forget(NAME)
    assert (desk.docket.messages.read(NAME, "k"), desk.docket.notes.read(NAME).text) == (None, "")
    assert (desk.docket.messages.read("b-1a2b", "k"), desk.docket.notes.read("b-1a2b").text) == (b"x", "sum 1")
    assert desk.docket.messages.keep(NAME, "k", b"new") == b"new"


def test_a_key_is_published_once_even_when_its_study_was_forgotten(desk: Desk) -> None:
    first = desk.docket.publish_once("sum 1", "refusal", NAME, REFUSAL)
    assert desk.docket.publish("refusal", NAME, REFUSAL) == first + 1
    desk.docket.forget(NAME)
    for docket in (desk.docket, desk.again()):
        assert docket.publish_once("sum 1", "refusal", NAME, {**REFUSAL, "text": "another"}) == first
    assert desk.docket.publish_once("sum 2", "refusal", NAME, REFUSAL) == first + 2
    assert desk.docket.publish_once("sum 1", "refusal", "b-1a2b", REFUSAL) == first + 3
    assert desk.kinds(NAME) == ["refusal"] * 3
    assert desk.docket.messages.read(NAME, "sum 1") is None
    assert all(checks(desk).values())


def test_an_entry_that_cannot_be_written_leaves_its_key_free(desk: Desk) -> None:
    before = desk.dump()
    with pytest.raises(ValueError, match="no entries of kind"):
        desk.docket.publish_once("sum 1", "unknown", NAME, REFUSAL)
    assert desk.dump() == before
    assert desk.docket.publish_once("sum 1", "refusal", NAME, REFUSAL) == 2


def test_the_checkpoint_that_is_kept_covers_what_was_published_once(desk: Desk) -> None:
    desk.docket.publish_once("sum 1", "refusal", NAME, REFUSAL)
    assert checks(desk)["checkpoint"]


# ---- leases


def test_one_holds_a_study_until_its_time_is_over(desk: Desk) -> None:
    mine, other = desk.docket, desk.again()
    assert mine.leases.acquire(NAME, "a", 20)
    assert not other.leases.acquire(NAME, "b", 20)
    assert other.leases.acquire("b-1a2b", "b", 20)
    assert mine.leases.acquire(NAME, "a", 20)  # asked again
    assert mine.leases.holders() == {
        NAME: ("a", NOW + timedelta(seconds=20)),
        "b-1a2b": ("b", NOW + timedelta(seconds=20)),
    }
    desk.now += timedelta(seconds=19.999)
    assert not other.leases.acquire(NAME, "b", 20)
    desk.now += timedelta(seconds=0.001)
    assert other.leases.acquire(NAME, "b", 20)
    assert not mine.leases.acquire(NAME, "a", 20)
    assert not mine.leases.renew(NAME, "a", 20)
    assert other.leases.holders()[NAME] == ("b", NOW + timedelta(seconds=40))


def test_a_lease_that_is_renewed_goes_on_and_one_that_nobody_took_can_be_renewed_late(desk: Desk) -> None:
    assert not desk.docket.leases.renew(NAME, "a", 20)  # never taken
    desk.docket.leases.acquire(NAME, "a", 20)
    desk.now += timedelta(seconds=15)
    assert desk.docket.leases.renew(NAME, "a", 20)
    desk.now += timedelta(seconds=15)
    assert not desk.again().leases.acquire(NAME, "b", 20)
    desk.now += timedelta(seconds=60)
    assert desk.docket.leases.renew(NAME, "a", 20)
    assert not desk.again().leases.acquire(NAME, "b", 20)


def test_only_its_holder_gives_a_study_back(desk: Desk) -> None:
    desk.docket.leases.acquire(NAME, "a", 20)
    desk.docket.leases.release(NAME, "b")
    assert not desk.docket.leases.acquire(NAME, "b", 20)
    desk.docket.leases.release(NAME, "a")
    assert desk.docket.leases.holders() == {}
    assert desk.docket.leases.acquire(NAME, "b", 20)


def test_a_clock_that_goes_back_gives_no_study_to_two(desk: Desk) -> None:
    desk.docket.leases.acquire(NAME, "a", 20)
    desk.now -= timedelta(hours=1)
    assert not desk.docket.leases.acquire(NAME, "b", 20)


# ---- words


def test_the_last_words_are_told(desk: Desk) -> None:
    assert (desk.docket.notes.read(NAME).text, desk.docket.notes.read(NAME)) == ("", ("", ""))
    desk.docket.notes.write(NAME, "sum 1")
    desk.now += timedelta(seconds=5)
    desk.docket.notes.write(NAME, "somme 2 sur 7 environ – bientôt")
    assert desk.again().notes.read(NAME).text == "somme 2 sur 7 environ – bientôt"
    assert desk.docket.notes.read(NAME)[1] == write_time(desk.now)


def test_words_leases_and_bytes_are_not_in_the_register(desk: Desk) -> None:
    before = desk.docket.register.head()
    desk.docket.notes.write(NAME, "sum 1")
    desk.docket.leases.acquire(NAME, "a", 20)
    desk.docket.messages.keep(NAME, "k", b"x")
    assert desk.docket.register.head() == before


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x' OR '1'='1"])
def test_a_name_that_no_study_has_is_unknown(filed: Desk, name: str) -> None:
    with pytest.raises(InvalidInput, match="is on the docket"):
        filed.docket.find(name)
    assert not filed.docket.used(name)
    assert filed.docket.messages.read(name, "k") is None


# ---- withdrawn


@pytest.mark.parametrize("state", sorted(FOLLOWS))
def test_a_study_is_withdrawn_until_it_has_ended(desk: Desk, state: str) -> None:
    desk.bring_to(state)
    before = desk.dump()
    if state in ENDED:
        with refused("study-state", f"is {state}"):
            desk.docket.cancel(NAME, "operator")
        assert desk.dump() == before
        return
    found = desk.docket.cancel("2026-0001", "researcher")
    assert (found.state, found.lapsed) == ("cancelled", None)
    assert found.ended is not None
    assert (found.ended.rule, found.ended.text) == ("cancelled", "the researcher has withdrawn the study")
    with refused("cancelled", "the researcher has withdrawn the study"):
        desk.docket.mandate(NAME)
    (entry,) = [entry for entry in desk.docket.register.entries() if entry.kind == "refusal"]
    assert (entry.study, entry.body["rule"]) == (NAME, "cancelled")
    assert all(checks(desk).values())


def test_what_was_withdrawn_is_neither_signed_nor_released_nor_ended_again(desk: Desk) -> None:
    desk.bring_to("running")
    desk.docket.cancel(NAME, "operator")
    before = desk.dump()
    with refused("cancelled", "the operator has withdrawn the study"):
        desk.docket.released(NAME, {"mandate": desk.digest(), "result": "sha256:" + 64 * "0"})
    desk.docket.refused(NAME, Refused("cancelled", "the study was withdrawn"), "failed")
    with refused("study-state"):
        desk.docket.move(NAME, "running")
    with refused("study-state"):
        desk.docket.sign(NAME, mandate(desk, *KEYS.members))
    assert desk.dump() == before
    with pytest.raises(InvalidInput, match="no study"):
        desk.docket.cancel("unknown", "operator")


def test_the_mandate_of_a_withdrawn_study_can_be_revoked_for_the_nodes_that_have_it(desk: Desk) -> None:
    desk.bring_to("mandated")
    desk.docket.cancel(NAME, "researcher")
    made = revocation(desk.digest(), LAY)
    assert desk.docket.revoke(made).state == "revoked"
    assert desk.docket.revocations(desk.digest()) == [made]


# ---- the next root


def test_a_root_that_is_accepted_is_in_force_for_every_process_at_once(filed: Desk) -> None:
    other = filed.again()
    roots = rotated(without(SECOND, fresh := Signer()))
    assert filed.docket.accept_root(roots[1]).root.root.version == 2
    assert other.trust.roots == roots
    assert other.find(NAME).lapsed == "outdated"
    with refused("signature", "names nobody who is a member today"):
        other.refuse(vote(filed.digest(), SECOND))
    other.file(signed("new-1a2b"))
    assert filed.sign(LAY, fresh, name="new-1a2b") == "mandated"
    assert filed.again((KEYS.envelope,)).trust.roots == roots  # its files are older
    assert filed.kinds("") == ["root", "charter", "root"]
    filed.roots = roots
    assert all(checks(filed).values())


def test_a_root_that_was_accepted_before_changes_nothing(desk: Desk) -> None:
    roots = rotated(without(SECOND, Signer()))
    desk.docket.accept_root(roots[1])
    before = desk.dump()
    for envelope in roots:
        assert desk.again().accept_root(envelope).roots == roots
    assert desk.dump() == before


def test_only_valid_signatures_of_the_quorums_are_kept_with_a_root(desk: Desk) -> None:
    good = rotated()[1]
    assert desk.docket.accept_root(good.with_signature(Signer())).roots == (KEYS.envelope, good)


def _members(count: int) -> Envelope:
    new = rotated()[1]
    return new.model_copy(update={"signatures": new.signatures[:count]})


def _other_quorum() -> Envelope:
    """The new root's members are others, and none of them has signed."""
    fresh = [Signer() for _ in KEYS.members]

    def change(root: dict[str, Any]) -> None:
        for old, new in zip(KEYS.members, fresh, strict=True):
            without(old, new)(root)

    return rotated(change)[1]


WRONG: dict[str, tuple[Callable[[], Envelope], type[Exception], str]] = {
    "nobody": (lambda: _members(0), Refused, "signed by 0 of 3 keys"),
    "no quorum": (lambda: _members(1), Refused, "signed by 1 of 3 keys"),
    "nobody of the new root": (_other_quorum, Refused, "signed by 0 of 3 keys"),
    "as a mandate": (
        lambda: sign("mandate", {**_document(), "version": 2}, *KEYS.members),
        Refused,
        "signed by 0 of 3 keys",
    ),
    "a version left out": (lambda: rotated(lambda root: root.update(version=3))[1], Refused, "root-version"),
    "an old version": (lambda: rotated(lambda root: root.update(version=1, expires=LATER))[1], Refused, "root-version"),
    "another trust": (lambda: rotated(lambda root: root.update(trust="other"))[1], Refused, "root-trust"),
    "not yet": (
        lambda: rotated(lambda root: root.update(issued=write_time(NOW + timedelta(seconds=1))))[1],
        Refused,
        "not in force yet",
    ),
    "another charter": (
        lambda: rotated(lambda root: root.update(charter="sha256:" + 64 * "0"))[1],
        InvalidInput,
        "the charter is not the one",
    ),
    "no root": (lambda: sign("root", {"x": 1}, *KEYS.members), MessageInvalid, "the trust root"),
    "many signatures": (
        lambda: rotated()[1].model_copy(update={"signatures": rotated()[1].signatures * 70}),
        MessageInvalid,
        "signatures",
    ),
}


def _document() -> dict[str, Any]:
    return KEYS.root.root.document()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_root_that_does_not_follow_is_not_accepted(desk: Desk, wrong: str) -> None:
    make, error, text = WRONG[wrong]
    envelope, before = make(), desk.dump()
    with pytest.raises(error, match=text):
        desk.docket.accept_root(envelope)
    assert desk.dump() == before
    assert desk.docket.trust.roots == (KEYS.envelope,)


def test_a_root_whose_time_is_over_is_not_accepted(desk: Desk) -> None:
    root = rotated(lambda root: root.update(expires=LATER))[1]
    desk.now += timedelta(days=2)
    with refused("root-expired"):
        desk.docket.accept_root(root)
    desk.now -= timedelta(seconds=1)
    assert desk.docket.accept_root(root).root.root.version == 2


def test_a_process_that_has_another_charter_than_the_newest_root_does_nothing_more(filed: Desk) -> None:
    """Another has been started anew, with the new root and the new charter."""
    other = CHARTER.model_copy(update={"folder_digest": "sha256:" + 64 * "0"})
    roots = rotated(lambda root: root.update(charter=other.folder_digest))
    old: Docket = filed.docket
    filed.docket = filed.again(roots, charter=other)
    assert filed.docket.find(NAME).lapsed == "outdated"
    for act in (lambda: old.find(NAME), lambda: old.file(signed("b-1a2b")), lambda: old.mandate(NAME)):
        with pytest.raises(InvalidInput, match="the charter is not the one that the trust root names"):
            act()
    assert filed.kinds("") == ["root", "charter", "root", "charter"]
