"""`datatrust register verify` against a coordinator that holds its own key and writes what others must sign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datatrust.in_process.folder import TrustFolder
from tests.support.kept_trust import (
    STRANGER,
    Run,
    document,
    entries,
    envelope,
    head,
    head_size,
    keys_of,
    made,
    mandate,
    mandated,
    record,
    refusal,
    revocation,
    state,
    studied,
    vote,
    write,
)
from trust.canonical import canonical, parse
from trust.signing.envelope import Envelope, Signer, sign

pytestmark = pytest.mark.slow

__all__ = ["made", "state"]

Forged = Callable[[Path], tuple[str, str, dict[str, Any]]]
FORGED: dict[str, tuple[Forged, str]] = {
    "a study that a stranger signed": (
        lambda s: ("study", "x", {"envelope": sign("study", document(s, "study", id="x"), STRANGER).document()}),
        "the study is signed by 0 of 1 keys",
    ),
    "a study under another id": (
        lambda s: ("study", "x", {"envelope": envelope(s, "study")}),
        "the study has another id than its entry",
    ),
    "a study twice": (
        lambda s: ("study", studied(s), {"envelope": envelope(s, "study")}),
        "a second study with this id",
    ),
    "a mandate without a quorum": (
        lambda s: ("mandate", studied(s), mandate(s, 1)),
        "the mandate is signed by 1 of 3 keys; 2 are needed",
    ),
    "a mandate of another digest": (
        lambda s: ("mandate", studied(s), {**mandate(s, 2), "digest": f"sha256:{'0' * 64}"}),
        "the mandate has another digest",
    ),
    "a mandate for a study that was never filed": (
        lambda s: ("mandate", studied(s), mandate(s, 2, study=f"sha256:{'0' * 64}")),
        "the mandate is for no study of this id",
    ),
    "a mandate under another study": (
        lambda s: ("mandate", entries(s, "refusal")[0]["study"], mandate(s, 2)),
        "the mandate is for no study of this id",
    ),
    "a mandate for another root": (
        lambda s: ("mandate", studied(s), mandate(s, 2, root=2)),
        "signed for another version of the trust root",
    ),
    "a root that is not in the folder": (
        lambda s: ("root", "", {"envelope": envelope(s, "root")}),
        "a version of the trust root that the folder does not have",
    ),
    "another charter": (
        lambda s: ("charter", "", {"name": "research", "version": 2, "digest": f"sha256:{'0' * 64}"}),
        "the charter is not the trust root's",
    ),
    "a vote of a stranger": (lambda s: ("vote", studied(s), vote(s, STRANGER)), "names nobody who is a member today"),
    "a revocation by a stranger": (
        lambda s: ("revocation", studied(s), revocation(s, STRANGER)),
        "names nobody who is a member today",
    ),
    "a revocation in a member's name": (
        lambda s: ("revocation", studied(s), revocation(s, STRANGER, keys_of(s).members[0])),
        "the revocation is signed by 0 of 1 keys",
    ),
    "a revocation under another study": (
        lambda s: ("revocation", "x", revocation(s, keys_of(s).members[0])),
        "the revocation is of another study's mandate",
    ),
    "a sum record that a stranger signed": (
        lambda s: ("sum-record", studied(s), record(s, STRANGER)),
        "not signed by the coordinator",
    ),
    "a sum of a study without a mandate": (
        lambda s: ("sum-record", "x", record(s, keys_of(s).coordinator)),
        "of a study without a mandate",
    ),
    "no sum record": (lambda s: ("sum-record", "x", {"record": {}}), "unknown or missing fields"),
    "a release without a mandate": (
        lambda s: ("release", studied(s), {"mandate": f"sha256:{'0' * 64}", "result": f"sha256:{'0' * 64}"}),
        "under no mandate of its study",
    ),
    "a release under another study's mandate": (
        lambda s: ("release", "x", {"mandate": mandated(s), "result": f"sha256:{'0' * 64}"}),
        "under no mandate of its study",
    ),
    "a refusal that says how many": (lambda s: ("refusal", "x", refusal(n="7")), "unknown field 'n'"),
    "a refusal without a rule": (lambda s: ("refusal", "x", refusal(rule="")), "names no rule"),
    "a head that a stranger signed": (lambda s: ("journal-head", "", head(s, 99, STRANGER)), "not signed by its log"),
    "a head of another partner": (
        lambda s: ("journal-head", "", {**head(s, 99), "partner": "south"}),
        "the checkpoint is of another log",
    ),
    "a head of nobody": (
        lambda s: ("journal-head", "", {**head(s, 99), "partner": "east"}),
        "the checkpoint is of another log",
    ),
    "a shorter head": (
        lambda s: ("journal-head", "", head(s, head_size(s) - 1)),
        "the journal of north has become shorter",
    ),
    "another head of the same size": (
        lambda s: ("journal-head", "", head(s, head_size(s))),
        "the journal of north was rewritten",
    ),
    "an envelope that is none": (lambda s: ("study", "x", {"envelope": "x"}), "its body"),
}


@pytest.mark.parametrize(("forged", "said"), FORGED.values(), ids=FORGED)
def test_what_others_must_sign_the_coordinator_cannot_write(run: Run, state: Path, forged: Forged, said: str) -> None:
    kind, study, body = forged(state)
    place = len(entries(state))
    write(state, (kind, study, body))
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    wrong = [line for line in out.splitlines() if line.startswith("no  ")]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"no  {kind}: entry {place}: ")
    assert said in wrong[0]


def test_votes_and_revocations_of_members_stand_and_end_the_releases(run: Run, state: Path) -> None:
    member, study = keys_of(state).members[0], studied(state)
    write(state, ("vote", study, vote(state, member)), ("revocation", study, revocation(state, member)))
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 0
    assert "ok  vote: 1 against a mandate, each signed by its member" in out
    assert "ok  revocation: 1, each signed by its member" in out
    _, out, _ = run("register", "show", "--state", state, "--study", study)
    assert "  vote against  " in out
    assert out.splitlines()[-1].endswith("no longer")
    write(state, ("release", study, {"mandate": mandated(state), "result": f"sha256:{'0' * 64}"}))
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "the release comes after its mandate was revoked" in out


def test_several_wrong_entries_are_counted(run: Run, state: Path) -> None:
    write(state, *[("refusal", "x", refusal(rule=""))] * 3)
    _, out, _ = run("register", "verify", "--state", state)
    assert f"no  refusal: entry {len(entries(state)) - 3} (and 2 more): " in out


# ---- the trust root changes


def next_root(state: Path, coordinator: Signer, *, partner: Signer | None = None) -> Envelope:
    """Version 2, with another coordinator and perhaps another key of north; written to the folder too."""
    now = parse(TrustFolder(state).roots[0].unverified_payload)
    keys = {**now["keys"], coordinator.key_id: coordinator.public.hex()}
    del keys[keys_of(state).coordinator.key_id]
    roles = {**now["roles"], "coordinator": {"keys": [coordinator.key_id], "threshold": 1}}
    partners = dict(now["partners"])
    if partner:
        partners["north"] = {**partners["north"], "sign": partner.public.hex()}
    document = {**now, "version": 2, "keys": keys, "roles": roles, "partners": partners}
    made = sign("root", document, *keys_of(state).members)
    (state / "roots" / "2.json").write_bytes(canonical(made.document()))
    return made


def test_a_new_root_with_a_new_coordinator_and_a_new_key_of_a_partner(run: Run, state: Path, tmp_path: Path) -> None:
    run("register", "verify", "--state", state, "--out", tmp_path / "note")
    old, new, north = keys_of(state).coordinator, Signer(), Signer()
    root = next_root(state, new, partner=north)
    study = studied(state)
    write(
        state,
        ("root", "", {"envelope": root.document()}),
        ("journal-head", "", head(state, 99, north)),
        ("sum-record", study, record(state, old)),  # a study that was running goes on
        ("sum-record", study, record(state, new)),
        signer=new,
    )
    code, out, _ = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert (code, out.splitlines()[-1]) == (0, "ok")
    assert "local, version 2" in out
    assert "ok  root: 2, those of the folder in their order" in out
    _, out, _ = run("register", "show", "--state", state)
    assert "version 2, valid until" in out


def test_a_root_in_the_folder_that_the_register_does_not_have_yet_gives_no_one_rights(run: Run, state: Path) -> None:
    new = Signer()
    next_root(state, new)
    write(state, ("sum-record", studied(state), record(state, new)))
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "no  sum-record: entry" in out


def test_another_root_than_the_folders(run: Run, state: Path) -> None:
    root = next_root(state, Signer())
    other = sign("root", {**parse(root.unverified_payload), "charter": f"sha256:{'1' * 64}"}, *keys_of(state).members)
    write(state, ("root", "", {"envelope": other.document()}))
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "it is not version 2 of the folder's trust root" in out


def test_a_root_without_its_quorum_ends_the_check(run: Run, state: Path) -> None:
    now = parse(TrustFolder(state).roots[0].unverified_payload)
    forged = sign("root", {**now, "version": 2}, keys_of(state).members[0])
    (state / "roots" / "2.json").write_bytes(canonical(forged.document()))
    for command in (("register", "verify"), ("node", "journal", "verify")):
        code, out, err = run(*command, "--state", state)
        assert code == 1
        assert "signed by 1 of 3 keys; 2 are needed" in out + err
