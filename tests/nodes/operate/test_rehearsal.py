"""A rehearsal goes through the whole gate on the real rows and leaves no trace at the node."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.study.conductor import Coordinator, conduct
from nodes.operate.rehearsal import Rehearsal, asked_of, from_register, rehearse
from nodes.settings import NodeSettings
from nodes.study.session import Session
from tests.support.example import HOSPITALS
from tests.support.node_homes import CHARTER, PARTNERS, Founders, contents, enrol_offline, make_homes
from tests.support.tls_server import tls_server
from tests.support.trust_parts import Sessions
from trust.analyses import Describe
from trust.documents.mandate import draft_mandate
from trust.documents.root import TrustRoot
from trust.documents.study import PlannedStudy, Study
from trust.errors import InvalidInput
from trust.protocol.messages import UP, unpack
from trust.signing.envelope import sha256, sign
from trust.times import write_time


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    made = make_homes(tmp_path)
    for name in PARTNERS:
        enrol_offline(tmp_path, name, made)
    return made


def rehearsed(folder: Path, study: Study, name: str = "north") -> Rehearsal:
    return rehearse(NodeSettings.at(folder / name), asked_of(study.canonical()))


def refused(found: Rehearsal) -> list[str]:
    return [decision.rule for _, decisions in found.parts for decision in decisions.refusals]


def test_it_says_yes_and_changes_nothing(founders: Founders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something leaves")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    NodeSettings.at(tmp_path / "north").node().store.close()  # a state that exists
    before = contents(tmp_path)
    for _ in range(2):
        found = rehearsed(tmp_path, founders.study())
        assert found.ok
        assert [name for name, _ in found.parts] == ["before rows", "after rows", "first sums"]
        assert len(found.notes) == 2
    assert contents(tmp_path) == before


def test_a_home_without_a_state_stays_without(founders: Founders, tmp_path: Path) -> None:
    before = contents(tmp_path)
    assert rehearsed(tmp_path, founders.study()).ok
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"cohort": "age >= 40 and sex = 'F'"}, "persons"),
        ({"purpose": "Marketing"}, "no-permit"),
        ({"dataset_digest": "sha256:" + "0" * 64}, "dataset"),
        ({"researcher": "nobody"}, "researcher"),
    ],
)
def test_what_would_be_refused_is_named(changes: dict[str, Any], rule: str, founders: Founders, tmp_path: Path) -> None:
    before = contents(tmp_path)
    found = rehearsed(tmp_path, founders.study(**changes), "south")
    assert not found.ok
    assert rule in refused(found)
    assert contents(tmp_path) == before


def test_a_study_whose_time_is_over(founders: Founders, tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=9)
    late = {"not_before": write_time(then), "expires": write_time(then + timedelta(days=3))}
    assert "mandate-expired" in refused(rehearsed(tmp_path, founders.study(**late)))


def test_the_partners_own_policy_is_asked(founders: Founders, tmp_path: Path) -> None:
    policy = tmp_path / "north" / "policy"
    policy.mkdir()
    (policy / "partner.toml").write_text('name = "own"\nversion = 1\npublished = true\n[floor]\npersons = 20\n')
    assert refused(rehearsed(tmp_path, founders.study()))
    assert rehearsed(tmp_path, founders.study(), "east").ok


def test_rows_that_are_wrong_are_a_no_and_no_value_is_said(founders: Founders, tmp_path: Path) -> None:
    frame = HOSPITALS["north"].copy()
    frame.loc[0, "age"] = 987
    (tmp_path / "north" / "rows.csv").chmod(0o600)
    frame.to_csv(tmp_path / "north" / "rows.csv", index=False)
    found = rehearsed(tmp_path, founders.study())
    assert not found.ok
    assert "987" not in str(found.parts)


def answered(folder: Path, founders: Founders, study: Study) -> None:
    """The study at `north`, up to its first sum, as a coordinator would have it."""
    settings = [NodeSettings.at(folder / name) for name in PARTNERS]
    nodes = {s.name: s.node() for s in settings}
    signed = sign("study", study.document(), founders.researcher)
    root = TrustRoot.chain(founders.roots)
    node = nodes["north"]
    planned = PlannedStudy(study=study, scope=study.scope(node.dataset, sorted(PARTNERS), CHARTER))
    mandate = sign(
        "mandate",
        draft_mandate(
            sha256(signed.unverified_payload), planned, CHARTER.folder_digest, root.root, "2026-0001"
        ).document(),
        *founders.members,
    )
    sessions = Sessions({name: Session(node) for name, node in nodes.items()}, founders.coordinator)
    conduct(Coordinator(founders.coordinator, root), signed, mandate, planned, sessions)
    assert "upload" in {unpack(raw, UP)[0]["kind"] for _, raw in sessions.up}
    for one in nodes.values():
        one.store.close()


def test_it_knows_what_was_answered_and_does_not_add_to_it(founders: Founders, tmp_path: Path) -> None:
    answered(tmp_path, founders, founders.study())
    before = contents(tmp_path)
    assert refused(rehearsed(tmp_path, founders.study())) == ["already-started"]
    again = founders.study(id="again", title="Again")
    assert rehearsed(tmp_path, again).ok
    ages = sorted(HOSPITALS["north"]["age"])
    few = founders.study(id="few", title="A few less", cohort=f"age >= 40 and age < {ages[-2]}")
    assert refused(rehearsed(tmp_path, few)) == ["differencing"]
    assert contents(tmp_path) == before
    fresh = founders.study(
        id="few", title="Other columns", cohort="age >= 40", analyses={"a": Describe(columns=("age",))}
    )
    assert rehearsed(tmp_path, fresh).ok


def test_a_signed_study_is_held_to_its_researcher(founders: Founders, tmp_path: Path) -> None:
    study = founders.study()
    settings = NodeSettings.at(tmp_path / "north")
    good = sign("study", study.document(), founders.researcher).document()
    found = rehearse(settings, asked_of(json.dumps(good).encode()))
    assert found.ok
    assert len(found.notes) == 1
    forged = sign("study", study.document(), founders.auditor).document()
    assert refused(rehearse(settings, asked_of(json.dumps(forged).encode()))) == ["signature"]


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"no JSON", b'{"payload":1}', b'{"a":1.5}'])
def test_a_file_that_is_no_study(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        asked_of(raw)


def test_a_study_of_the_register(founders: Founders, tmp_path: Path) -> None:
    study = founders.study()
    envelope = sign("study", study.document(), founders.researcher).document()
    entry = {"kind": "study", "study": study.id, "body": {"envelope": envelope}, "seq": 0, "at": "x", "v": 1}
    page = json.dumps({"entries": [entry], "size": 1}).encode()
    with tls_server(tmp_path / "server", {"/v1/register/entries?start=0&limit=100": page}) as there:
        enrol_offline(tmp_path, "north", founders, url=there.url, authority=there.authority)
        settings = NodeSettings.at(tmp_path / "north")
        assert rehearse(settings, from_register(settings, study.id)).ok
        with pytest.raises(InvalidInput, match="'pressure-by-age', perhaps"):
            from_register(settings, "pressure-by-ages")
