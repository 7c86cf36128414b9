"""Condition: a time limit.  A mandate ends on its date, or when a member revokes it, between two sums as well.

One member is enough to revoke.  A coordinator that does not pass it on is met by a file at the node.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from nodes.study.gate import still_allowed
from tests.support.outside_view import command, rule_of, watched
from tests.support.small_trusts import dataset, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.decision import Decision
from trust.documents.mandate import SignedMandate
from trust.documents.votes import Revocation
from trust.errors import Refused
from trust.signing.envelope import Envelope, sha256, sign
from trust.times import read_time

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}
NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def several_sums(of: Any) -> Any:
    """A description asks three sums, one after the other."""
    return study(of, dt.Describe(["x"]))


def revocation(of: Any, digest: str) -> Envelope:
    member = of._keys.members[2]
    made = Revocation(mandate=digest, member=member.key_id, reason="the data are needed no more", at=NOW)
    return sign("revocation", made.document(), member)


# ---- expiry


@pytest.mark.parametrize(("seconds", "rule"), [(-1, "answered"), (0, "mandate-expired"), (1, "mandate-expired")])
def test_a_mandate_that_expires_between_approval_and_run_is_refused(seconds: int, rule: str) -> None:
    of = TrustParts(trust(FRAMES))
    asked = several_sums(of.trust).study
    of.clock = datetime.fromtimestamp(read_time(asked.expires).timestamp() + seconds, UTC)
    assert rule_of(lambda: of.run(asked)) == rule
    uploads = [sent for session in of.sessions.values() for sent in session.egress.sent if sent.kind == "upload"]
    assert bool(uploads) is (rule == "answered")


@pytest.mark.parametrize("last", [0, 1])
def test_a_mandate_that_expires_between_two_sums_is_refused_at_the_next(last: int) -> None:
    of = TrustParts(trust(FRAMES))
    asked = several_sums(of.trust).study

    def expire(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        if header["kind"] == "ask" and header["r"] == last + 1:
            of.clock = read_time(asked.expires)
        return header, body

    assert rule_of(lambda: of.run(asked, change=expire)) == "mandate-expired"
    for session in of.sessions.values():
        assert [sent.r for sent in session.egress.sent if sent.kind == "upload"] == list(range(last + 1))
    assert all(node.store.study(asked.id).keys == {} for node in of.nodes.values())


@pytest.mark.parametrize(("seconds", "rules"), [(-1, []), (0, ["root-expired"])])
def test_no_mandate_outlives_the_trust_root(seconds: int, rules: list[str]) -> None:
    """Though its own date were later: members who are no longer members ask for nothing."""
    of = TrustParts(trust(FRAMES))
    asked = several_sums(of.trust).study
    drafted = of.mandate_of(asked, of.keys.study(asked)).model_copy(update={"expires": "2099-01-01T00:00:00Z"})
    mandate, root = SignedMandate(of.keys.mandate(drafted), of.keys.root), of.keys.root
    now = datetime.fromtimestamp(read_time(root.root.expires).timestamp() + seconds, UTC)
    clock = Decision("clock", True, "")
    assert [no.rule for no in still_allowed(root, mandate, revoked=False, clock=clock, now=now).refusals] == rules


def test_a_mandate_is_for_90_days_at_most() -> None:
    begins = datetime.now(UTC)
    ends = datetime.fromtimestamp(begins.timestamp() + 91 * 86_400, UTC)
    long = study(trust(FRAMES), dt.Describe(["x"]), not_before=begins, expires=ends)
    assert rule_of(long.run) == "dates"


# ---- revocation


def test_a_mandate_revoked_between_approval_and_run_is_not_run(tmp_path: Path) -> None:
    """By one member, on the command line."""
    folder = tmp_path / "trust"
    of = dt.local(FRAMES, dataset(), state=folder)
    job = several_sums(of).submit()
    of.docket.sign(job.id, of._keys.signed(of.docket.find(job.id).mandate))
    key, words = folder / "committee" / "member-3.pem", folder / "committee" / "passphrase"
    paper = tmp_path / "stop.json"
    code, _ = command(
        "review", "revoke", job.id, "--state", folder, "--key", key, "--passphrase-file", words,
        "--reason", "the data are needed no more", "--out", paper,
    )  # fmt: skip
    assert code == 0
    with watched() as wire:
        assert rule_of(dt.local(FRAMES, dataset(), state=folder).job(job.id).result) == "mandate-revoked"
    assert wire.everything() == []
    assert json.loads(paper.read_bytes())["payloadType"].endswith("revocation+json")
    code, said = command("register", "show", "--state", folder, "--study", job.id)
    assert (code, "mandate revoked" in said, "needed no more" in said) == (0, True, True)


@pytest.mark.parametrize("last", [0, 1])
def test_a_mandate_revoked_between_two_sums_ends_the_study_before_the_next(last: int) -> None:
    of = trust(FRAMES)
    job = several_sums(of).submit()
    of.docket.sign(job.id, of._keys.signed(of.docket.find(job.id).mandate))
    digest = of.docket.find(job.id).mandate_digest

    def revoke(header: dict[str, Any]) -> None:
        if header["kind"] == "ask" and header["r"] == last:
            of.docket.revoke(revocation(of, digest))

    with watched(revoke) as wire, pytest.raises(Refused) as error:
        job.result()
    assert error.value.rule == "mandate-revoked"
    assert sorted(set(wire.uploads())) == [(name, r) for name in "abc" for r in range(last + 1)]
    assert [entry.kind for entry in of.docket.register.entries()].count("release") == 0
    assert job.state == "revoked"
    assert all(node.store.study(job.id).keys == {} for node in of._nodes.values())


@pytest.mark.parametrize("stage", ["mandate", "start", "ask 0", "ask 1"])
def test_a_coordinator_that_keeps_a_revocation_back_is_met_by_a_file_at_the_node(tmp_path: Path, stage: str) -> None:
    """It goes on asking; the node refuses before the next sum and forgets its keys."""
    of = TrustParts(dt.local(FRAMES, dataset(), state=tmp_path / "trust"))
    asked = several_sums(of.trust).study
    drop = tmp_path / "trust" / "nodes" / "b" / "revocations"

    def revoked(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        kind = f"ask {header['r']}" if header["kind"] == "ask" else header["kind"]
        if kind == stage and name == "a":
            signed = of.keys.study(asked)
            mandate = of.keys.mandate(of.mandate_of(asked, signed))
            paper = revocation(of.trust, sha256(mandate.unverified_payload))
            drop.mkdir(exist_ok=True)
            (drop / "stop.json").write_text(json.dumps(paper.document(), sort_keys=True, separators=(",", ":")))
        return header, body

    expected = "mandate-revoked" if stage != "mandate" else "organisations"  # b stays away, and two are too few
    assert rule_of(lambda: of.run(asked, change=revoked)) == expected
    sent = of.sessions["b"].egress.sent
    assert [s.r for s in sent if s.kind == "upload"] == ([0] if stage == "ask 1" else [])
    assert of.sessions["b"].trouble is not None
    assert of.sessions["b"].trouble.rule == "mandate-revoked"


def test_who_is_no_member_revokes_nothing() -> None:
    of = trust(FRAMES)
    job = several_sums(of).submit()
    filed = of.docket.sign(job.id, of._keys.signed(of.docket.find(job.id).mandate))
    for other in (of._keys.researcher, of._keys.coordinator):
        made = Revocation(mandate=filed.mandate_digest, member=other.key_id, reason="no", at=NOW)
        assert rule_of(lambda: of.docket.revoke(sign("revocation", made.document(), other))) == "signature"  # noqa: B023
    assert rule_of(job.result) == "answered"
