"""Newer roots and revocations reach a node in any message or as a file, and hold from then on."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nodes.state.journal import Journal
from nodes.state.store import SqliteStore
from nodes.study.notices import Notices
from nodes.study.session import Session
from tests.nodes.study.test_session import Scene, scene, world, written
from tests.support.trust_parts import TrustParts
from trust.canonical import canonical
from trust.documents.mandate import SignedMandate
from trust.documents.root import TrustRoot
from trust.documents.study import Study
from trust.documents.votes import Revocation
from trust.errors import MessageInvalid, Refused
from trust.logs.checkpoint import Checkpoint, journal_origin, sign_checkpoint
from trust.logs.merkle import EMPTY
from trust.secure_sum.errors import StateRolledBack
from trust.signing.envelope import Envelope, Signer, sha256, sign
from trust.times import write_time

NOW = "2026-11-25T00:00:00Z"


@pytest.fixture(scope="module")
def of() -> TrustParts:
    return world()


def revocation(on: Scene, signer: Signer | None = None, *, mandate: str = "", member: str = "") -> Envelope:
    signer = signer or on.of.keys.members[2]
    named = mandate or sha256(mandate_of(on).unverified_payload)
    made = Revocation(mandate=named, member=member or signer.key_id, reason="no longer needed", at=NOW)
    return sign("revocation", made.document(), signer)


def mandate_of(on: Scene) -> Envelope:
    return Envelope.read(on.next("mandate")[0]["mandate"])


def kinds(on: Scene) -> list[str]:
    return [entry["kind"] for entry in entries(on)]


def entries(on: Scene) -> list[dict[str, Any]]:
    return [entry.document() for entry in Journal(on.of.nodes["a"].store.db).entries()]


# ---- revocation


@pytest.mark.parametrize("stage", ["mandate", "start", "ask 0", "ask 1"])
def test_a_revocation_in_any_message_ends_the_study_before_the_next_sum(of: TrustParts, stage: str) -> None:
    on = scene(of, stage)
    header, body = on.next(stage)
    before = len(on.uploads)
    answer = on.answer(on.signed({**header, "revocations": [revocation(on).document()]}, body))
    assert (answer["kind"], answer["rule"]) == ("refusal", "mandate-revoked")
    assert len(on.uploads) == before
    assert "revoked" in kinds(on)
    if stage != "mandate":
        assert entries(on)[-1]["body"] == {"reason": "mandate-revoked"}
        assert on.kept().keys == {}
    # whoever asks again, and however
    assert on.answer(on.raw[stage])["kind"] == "refusal"
    again = Session(of.nodes["a"])
    with suppress(KeyError):
        again.handle(on.raw["mandate"])
        assert again.trouble is not None


def test_a_revocation_with_the_close_is_kept(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    header = {"kind": "close", "mandate": on.next("ask 1")[0]["mandate"]}
    answer = on.answer(on.signed({**header, "revocations": [revocation(on).document()]}))
    assert answer["kind"] == "ready"
    assert entries(on)[-1]["body"] == {"reason": "mandate-revoked"}


def test_a_revocation_dropped_as_a_file_is_seen_before_the_next_sum(tmp_path: Path) -> None:
    of = world()
    folder = tmp_path / "revocations"
    of.nodes["a"] = replace(of.nodes["a"], revocations=folder)
    on = scene(of, "ask 1")
    folder.mkdir()
    (folder / "stop.json").write_bytes(canonical(revocation(on).document()) + b"\n")
    assert on.answer(on.raw["ask 1"])["rule"] == "mandate-revoked"


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 100_000, b"null", "former member"])
def test_a_file_that_nobody_can_read_as_a_revocation_stops_every_study(tmp_path: Path, content: Any) -> None:
    of = world()
    of.nodes["a"] = replace(of.nodes["a"], revocations=tmp_path)
    on = scene(of, "ask 1")
    if content == "former member":
        content = canonical(revocation(on, Signer()).document())
    (tmp_path / "x.json").write_bytes(content)
    assert on.answer(on.raw["ask 1"])["rule"] == "revocation-unreadable"


def test_a_revocation_of_another_mandate_stops_nothing(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    other = revocation(on, mandate="sha256:" + 64 * "0")
    header, body = on.next("ask 1")
    assert on.answer(on.signed({**header, "revocations": [other.document()]}, body))["kind"] == "upload"
    assert of.nodes["a"].store.revoked(bytes(32))


@pytest.mark.parametrize("who", ["coordinator", "stranger", "member under another's name", "vote"])
def test_nobody_but_a_member_revokes(of: TrustParts, who: str) -> None:
    on = scene(of, "ask 1")
    match who:
        case "coordinator":
            made = revocation(on, of.keys.coordinator)
        case "stranger":
            made = revocation(on, Signer())
        case "vote":
            made = revocation(on).model_copy(update={"payloadType": "application/vnd.datatrust.vote+json"})
        case _:
            made = revocation(on, of.keys.members[0], member=of.keys.members[1].key_id)
    header, body = on.next("ask 1")
    answer = on.answer(on.signed({**header, "revocations": [made.document()]}, body))
    assert (answer["kind"], answer["rule"]) == ("refusal", "message-invalid")
    assert on.answer(on.raw["ask 1"])["kind"] == "upload"  # nothing has changed


@pytest.mark.parametrize("value", ["x", {}, [1], [{}], [None] * 101, True])
def test_notices_that_are_no_list_of_envelopes_are_an_invalid_message(of: TrustParts, value: Any) -> None:
    on = scene(of, "ask 0")
    header, body = on.next("ask 0")
    for name in ("revocations", "roots"):
        try:
            raw = on.signed({**header, name: value}, body)
        except ValueError:
            continue  # null has no canonical form
        assert on.answer(raw)["rule"] == "message-invalid"
    assert on.answer(on.raw["ask 0"])["kind"] == "upload"


# ---- rotation


def following(root: TrustRoot, change: Callable[[dict[str, Any]], object] = lambda d: None) -> dict[str, Any]:
    document = copy.deepcopy(root.root.document())
    document["version"] += 1
    change(document)
    return document


def replacing(old: Signer, new: Signer, *roles: str) -> Callable[[dict[str, Any]], object]:
    """A key in these roles replaced by another."""

    def change(document: dict[str, Any]) -> None:
        document["keys"][new.key_id] = new.public.hex()
        for name in roles:
            role = document["roles"][name]
            role["keys"] = [new.key_id if key == old.key_id else key for key in role["keys"]]

    return change


def rotated(of: TrustParts, change: Callable[[dict[str, Any]], object] = lambda d: None, signers: int = 2) -> Envelope:
    return sign("root", following(of.keys.root, change), *of.keys.members[:signers])


def asked(of: TrustParts, study: Study, root: TrustRoot, roots: list[Envelope], signer: Signer | None = None) -> bytes:
    signed = of.keys.study(study)
    document = of.mandate_of(study, signed).document() | {"root": root.root.version}
    mandate = sign("mandate", document, *of.keys.members[:2])
    header = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}
    told = {"roots": [envelope.document() for envelope in roots]} if roots else {}
    return (
        Scene(of, study, Session(of.nodes["a"]), {}).signed({**header, **told})
        if signer is None
        else _by(signer, {**header, **told})
    )


def _by(signer: Signer, header: dict[str, Any]) -> bytes:
    from trust.protocol.messages import pack_signed

    return pack_signed(header, signer)


def answered(of: TrustParts, raw: bytes) -> dict[str, Any]:
    return Scene(of, written(of), Session(of.nodes["a"]), {}).answer(raw)


def test_the_next_root_is_taken_with_the_message_and_kept() -> None:
    of = world()
    envelope = rotated(of)
    new = of.keys.root.next(envelope)
    assert answered(of, asked(of, written(of), new, [envelope]))["kind"] == "approval"
    store = of.nodes["a"].store
    assert [e.body["version"] for e in Journal(store.db).entries() if e.kind == "root-accepted"] == [1, 2]
    # from now on: without the root in the message, and nothing of the old version
    assert answered(of, asked(of, written(of), new, []))["kind"] == "approval"
    assert answered(of, asked(of, written(of), of.keys.root, []))["rule"] == "root-version"
    assert Notices(of.keys.root, store, of.nodes["a"].clock).root.digest == new.digest


def test_a_root_that_the_old_quorum_has_not_signed_is_refused() -> None:
    of = world()
    for envelope in (
        rotated(of, signers=1),
        sign("root", following(of.keys.root), *[Signer() for _ in range(3)]),
        sign("mandate", following(of.keys.root), *of.keys.members),
    ):
        answer = answered(of, asked(of, written(of), of.keys.root, [envelope]))
        assert answer["rule"] == "message-invalid"
        assert of.nodes["a"].store.roots() == []


@pytest.mark.parametrize("version", [3, 4])
def test_a_version_that_is_skipped_is_refused(version: int) -> None:
    of = world()
    envelope = rotated(of, lambda d: d.update(version=version))
    answer = answered(of, asked(of, written(of), of.keys.root, [envelope]))
    assert answer["rule"] == "message-invalid"
    assert of.nodes["a"].store.roots() == []


def test_an_old_root_changes_nothing() -> None:
    """Rollback: version 1 delivered to a node that has version 2."""
    of = world()
    envelope = rotated(of)
    new = of.keys.root.next(envelope)
    assert answered(of, asked(of, written(of), new, [envelope]))["kind"] == "approval"
    old = of.keys.envelope
    assert answered(of, asked(of, written(of), new, [old]))["kind"] == "approval"
    assert answered(of, asked(of, written(of), of.keys.root, [old]))["rule"] == "root-version"


def test_a_former_members_signature_counts_no_more() -> None:
    of = world()
    fresh = Signer()
    change = replacing(of.keys.members[1], fresh, "root", "committee")
    envelope = sign("root", following(of.keys.root, change), *of.keys.members[:2], fresh)
    new = of.keys.root.next(envelope)
    raw = asked(of, written(of), new, [envelope])  # signed by members 0 and 1
    answer = answered(of, raw)
    assert (answer["rule"], "signed by 1 of 3" in answer["text"]) == ("signature", True)


def test_a_new_root_may_name_the_key_of_the_message_that_brings_it() -> None:
    of = world()
    fresh = Signer()
    envelope = rotated(of, replacing(of.keys.coordinator, fresh, "coordinator"))
    new = of.keys.root.next(envelope)
    assert answered(of, asked(of, written(of), new, [], fresh))["rule"] == "message-invalid"
    assert answered(of, asked(of, written(of), new, [envelope], fresh))["kind"] == "approval"
    assert answered(of, asked(of, written(of), new, []))["rule"] == "message-invalid"  # the old key's


def test_a_new_root_in_the_middle_ends_studies_of_the_old_one() -> None:
    of = world()
    on = scene(of, "ask 1")
    header, body = on.next("ask 1")
    answer = on.answer(on.signed({**header, "roots": [rotated(of).document()]}, body))
    assert answer["rule"] == "root-version"
    assert on.kept().status == "closed"


# ---- the journal's head, as the register has it


def head(of: TrustParts, size: int, root: bytes, signer: Signer | None = None) -> str:
    node = of.nodes["a"]
    return sign_checkpoint(Checkpoint(journal_origin("local", "a"), size, root), signer or node.identity)


def with_head(of: TrustParts, note: Any) -> dict[str, Any]:
    study = written(of)
    signed = of.keys.study(study)
    mandate = of.keys.mandate(of.mandate_of(study, signed))
    header = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document(), "head": note}
    on = Scene(of, study, Session(of.nodes["a"]), {})
    return on.answer(on.signed(header))


def test_the_journals_own_head_is_fine(of: TrustParts) -> None:
    scene(of, "over")
    size, root = of.nodes["a"].store.head()
    assert with_head(of, head(of, size, root))["kind"] == "approval"
    assert with_head(of, "")["kind"] == "approval"


def test_a_journal_that_is_behind_its_head_in_the_register_stops_the_node(of: TrustParts) -> None:
    size, root = of.nodes["a"].store.head()
    assert with_head(of, head(of, size + 1, bytes(32)))["rule"] == "state-rolled-back"
    assert with_head(of, head(of, size + 100, root))["rule"] == "state-rolled-back"


def test_a_journal_that_was_rewritten_stops_the_node(of: TrustParts) -> None:
    size, _ = of.nodes["a"].store.head()
    assert with_head(of, head(of, size - 1, bytes(32)))["rule"] == "journal-corrupt"


def test_a_head_of_another_key_log_or_form_is_refused(of: TrustParts) -> None:
    size, root = of.nodes["a"].store.head()
    assert with_head(of, head(of, size, root, of.keys.coordinator))["rule"] == "checkpoint-signature"
    other = sign_checkpoint(Checkpoint(journal_origin("local", "b"), size, root), of.nodes["a"].identity)
    assert with_head(of, other)["rule"] == "checkpoint-origin"
    assert with_head(of, "nonsense")["rule"] == "message-invalid"
    assert with_head(of, 7)["rule"] == "message-invalid"


def test_a_node_restored_from_a_copy_of_its_folder_answers_nothing(tmp_path: Path) -> None:
    of = world()
    store = SqliteStore(tmp_path / "now")
    of.nodes["a"] = replace(of.nodes["a"], store=store)
    of.run(written(of))
    store.close()
    shutil.copytree(tmp_path / "now", tmp_path / "copy")
    store = SqliteStore(tmp_path / "now")
    of.nodes["a"] = replace(of.nodes["a"], store=store)
    of.run(written(of))
    note = store.checkpoint(journal_origin("local", "a"), of.nodes["a"].identity)
    assert with_head(of, note)["kind"] == "approval"
    of.nodes["a"] = replace(of.nodes["a"], store=SqliteStore(tmp_path / "copy"))
    assert with_head(of, note)["rule"] == "state-rolled-back"
    with pytest.raises(StateRolledBack):
        of.nodes["a"].store.extends(Checkpoint("", *store.head()))


def test_a_node_that_is_behind_its_head_closes_its_open_studies() -> None:
    """Their keys have been used where the copy does not know of it."""
    of = world()
    on = scene(of, "ask 1")
    assert on.kept().status == "started"
    size, _ = of.nodes["a"].store.head()
    assert with_head(of, head(of, size + 1, bytes(32)))["rule"] == "state-rolled-back"
    assert of.nodes["a"].store.open_studies() == []
    assert on.kept().keys == {}
    assert on.answer(on.raw["ask 1"])["rule"] == "study-closed"


def test_an_empty_journal_has_the_empty_trees_root(tmp_path: Path) -> None:
    assert SqliteStore(tmp_path).head() == (0, EMPTY)


# ---- the reading functions, alone


def test_a_mandate_of_an_old_root_is_not_read_under_the_new_one(of: TrustParts) -> None:
    study = written(of)
    envelope = of.keys.mandate(of.mandate_of(study, of.keys.study(study)))
    with pytest.raises(Refused, match="another version"):
        SignedMandate(envelope, of.keys.root.next(rotated(of)))


def test_accepting_nothing_is_fine(of: TrustParts) -> None:
    notices = Notices(of.keys.root, of.nodes["a"].store, of.nodes["a"].clock)
    assert notices.newer([]) == []
    notices.accept_roots([])
    notices.accept_revocations([])
    with pytest.raises(MessageInvalid):
        notices.newer("")
    assert write_time(of.nodes["a"].clock()).endswith("Z")


def test_a_revocation_told_twice_stands_once_in_the_journal(of: TrustParts) -> None:
    on = scene(of, "ask 0")
    header, body = on.next("ask 0")
    told = {**header, "revocations": [revocation(on).document()] * 2}
    assert on.answer(on.signed(told, body))["rule"] == "mandate-revoked"
    mandate = sha256(mandate_of(on).unverified_payload)
    assert [e["body"]["mandate"] for e in entries(on) if e["kind"] == "revoked"].count(mandate) == 1


def test_a_node_whose_pin_is_newer_than_what_it_has_kept_goes_by_its_pin() -> None:
    of = world()
    envelope = rotated(of)
    new = of.keys.root.next(envelope)
    assert answered(of, asked(of, written(of), new, [envelope]))["kind"] == "approval"
    assert Notices(new, of.nodes["a"].store, of.nodes["a"].clock).root is new


# ---- what an outsider, a former coordinator or a former member may not do


def test_an_outsiders_root_changes_nothing_of_a_running_study(of: TrustParts) -> None:
    """Whoever has no key may send what she likes: the study goes on, and no journal grows."""
    on = scene(of, "ask 1")
    before = len(entries(on))
    header, _ = on.next("ask 1")
    for roots in ([rotated(of)], [rotated(of, lambda d: d.update(version=7))], [rotated(of, signers=1)]):
        told = {**header, "roots": [envelope.document() for envelope in roots]}
        assert on.answer(_by(Signer(), told))["rule"] == "message-invalid"
    assert on.answer(b"")["rule"] == "message-invalid"
    assert len(entries(on)) == before
    assert of.nodes["a"].store.roots() == []
    assert on.answer(on.raw["ask 1"])["kind"] == "upload"


def test_garbage_to_a_new_session_leaves_the_journal_as_it_is(of: TrustParts) -> None:
    node = of.nodes["a"]
    before = node.store.head()
    for raw in (b"", b"x" * 100, _by(Signer(), {"kind": "mandate"})):
        assert Scene(of, written(of), Session(node), {}).answer(raw)["rule"] == "message-invalid"
    assert node.store.head() == before


def test_a_coordinators_key_that_another_session_saw_dropped_works_no_more() -> None:
    of = world()
    on = scene(of, "ask 1")
    fresh = Signer()
    envelope = rotated(of, replacing(of.keys.coordinator, fresh, "coordinator"))
    new = of.keys.root.next(envelope)
    assert answered(of, asked(of, written(of), new, [envelope], fresh))["kind"] == "approval"
    before = len(on.uploads)
    assert on.answer(on.raw["ask 1"])["rule"] == "message-invalid"
    assert len(on.uploads) == before


def test_a_root_dated_ahead_of_the_clock_is_taken_when_its_time_has_come() -> None:
    of = world()
    later = of.nodes["b"].clock() + timedelta(days=60)
    envelope = rotated(of, lambda d: d.update(issued=write_time(later)))
    assert answered(of, asked(of, written(of), of.keys.root, [envelope]))["kind"] == "approval"
    assert of.nodes["a"].store.roots() == []
    of.clock = later
    assert answered(of, asked(of, written(of), of.keys.root, [envelope]))["rule"] == "root-version"
    assert len(of.nodes["a"].store.roots()) == 1


def test_a_former_members_file_still_ends_what_it_ended_and_stops_nothing_else(tmp_path: Path) -> None:
    of = world()
    of.nodes["a"] = replace(of.nodes["a"], revocations=tmp_path)
    on = scene(of, "ask 1")
    (tmp_path / "stop.json").write_bytes(canonical(revocation(on, of.keys.members[1]).document()))
    assert on.answer(on.raw["ask 1"])["rule"] == "mandate-revoked"
    fresh = Signer()
    change = replacing(of.keys.members[1], fresh, "root", "committee")
    envelope = sign("root", following(of.keys.root, change), *of.keys.members[:2], fresh)
    new = of.keys.root.next(envelope)
    of.keys.members[1] = fresh
    assert answered(of, asked(of, written(of), new, [envelope]))["kind"] == "approval"
