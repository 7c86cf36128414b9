"""Enrolling: the root is verified, names this node's keys and follows from the pinned one; no secret leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nodes.interface import CoordinatorReader
from nodes.keys import NodeKeys, rotate
from nodes.operate.enrolment import Shared, enrol, fetched, given, init, newer_of
from nodes.settings import NodeSettings
from nodes.state.restored import require_caught_up, restored
from tests.support.example import DATASET
from tests.support.node_homes import CHARTER, Founders, contents, enrol_offline, make_homes, partner_of
from tests.support.tls_server import tls_server
from trust.documents.root import TrustRoot
from trust.errors import DataTrustError, Fault, InvalidInput, Refused


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    return make_homes(tmp_path)


def test_the_same_invitation_again_changes_nothing(founders: Founders, tmp_path: Path) -> None:
    first = enrol_offline(tmp_path, "north", founders)
    assert "version 1 of the trust root" in first.changed
    before = contents(tmp_path)
    assert enrol_offline(tmp_path, "north", founders).changed == ()
    assert contents(tmp_path) == before


def test_a_newer_root_is_followed_and_an_older_one_refused(founders: Founders, tmp_path: Path) -> None:
    old = founders.invitation()
    enrol_offline(tmp_path, "north", founders)
    founders.found()
    founders.found()
    assert enrol_offline(tmp_path, "north", founders).root.root.version == 3
    assert sorted(path.name for path in (tmp_path / "north" / "roots").iterdir()) == ["1.json", "2.json", "3.json"]
    with pytest.raises(Refused, match="older than version 3") as refused:
        newer_of(tmp_path / "north", old)
    assert refused.value.rule == "root-version"


def test_another_trusts_root_is_refused(founders: Founders, tmp_path: Path) -> None:
    enrol_offline(tmp_path, "north", founders)
    before = contents(tmp_path)
    foreign = Founders(founders.partners)
    foreign.found()
    other = Founders(founders.partners)
    other.found(trust="other")
    forged = Founders(founders.partners, roots=list(founders.roots))  # a second version that other members have signed
    forged.found()
    for invitation, rule in (
        (foreign.invitation(), "root-pinned"),
        (other.invitation(trust="other"), "root-trust"),
        (forged.invitation(), "signature"),
    ):
        with pytest.raises(Refused) as refused:
            enrol(tmp_path / "north", invitation, lambda root: given(tmp_path / "dataset.yaml", "research", root))
        assert refused.value.rule == rule
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "said"), [("none", "has no partner"), ("other", "another key that north signs with")]
)
def test_a_root_that_does_not_name_this_node_is_refused(
    change: str, said: str, founders: Founders, tmp_path: Path
) -> None:
    partners = dict(founders.partners)
    partners.pop("north") if change == "none" else partners.update(north=partner_of(NodeKeys.make().public("north")))
    other = Founders(partners)
    other.found()
    before = contents(tmp_path)
    with pytest.raises(Refused, match=said) as refused:
        enrol_offline(tmp_path, "north", other)
    assert refused.value.rule == "partner"
    assert contents(tmp_path) == before


def test_a_charter_that_the_root_does_not_name_is_refused(founders: Founders, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not the one that version 1"):
        enrol(
            tmp_path / "north",
            founders.invitation(),
            lambda root: given(tmp_path / "dataset.yaml", "sandbox", root),
        )
    assert not (tmp_path / "north" / "roots").exists()


def test_an_invitation_without_the_founding_root_is_refused(founders: Founders, tmp_path: Path) -> None:
    founders.found()
    with pytest.raises(InvalidInput, match="founding root"):
        newer_of(tmp_path / "north", founders.invitation(roots=tuple(founders.roots[1:])))


def test_keys_that_wait_are_taken_with_the_root_that_names_them(founders: Founders, tmp_path: Path) -> None:
    enrol_offline(tmp_path, "north", founders)
    file = rotate(tmp_path / "north", "north")
    founders.partners["north"] = partner_of(file)
    founders.found()
    assert any(words.startswith("the keys") for words in enrol_offline(tmp_path, "north", founders).changed)
    node = NodeSettings.at(tmp_path / "north").node()
    node.store.close()
    assert node.identity.public.hex() == file.sign
    (before,) = node.former
    assert before == TrustRoot(founders.roots[0].unverified_payload).root.verify_keys()["north"]


def test_a_new_home_of_an_old_partner_begins_a_new_history(founders: Founders, tmp_path: Path) -> None:
    """The machine was lost without a backup: the quorum names new keys, and that is its consent."""
    lost = founders.partners["north"]
    founders.partners["north"] = partner_of(NodeKeys.make().public("north"))
    founders.found()
    fresh = tmp_path / "fresh"
    founders.partners["north"] = partner_of(init(fresh, "north"))
    root = founders.found()
    changed = enrol_offline(tmp_path, "fresh", founders).changed
    assert any(words.startswith("a new history") for words in changed)
    mark = restored(fresh)
    assert mark is not None
    assert lost.sign in mark.keys
    assert len(mark.keys) == 2
    require_caught_up(fresh, "north", root)


# ---- over HTTPS


def answers(charter: dict[str, str] | None = None) -> dict[str, bytes]:
    files = charter or {name: content.decode() for name, content in CHARTER.files.items()}
    return {"/v1/dataset": DATASET.encode(), "/v1/charter": json.dumps({"files": files}).encode()}


def from_server(folder: Path, founders: Founders, server: Any, **changes: Any) -> Any:
    invitation = founders.invitation(url=server.url, nodes=server.place, authority=server.authority, **changes)

    def ask(root: TrustRoot) -> Shared:
        return fetched(CoordinatorReader(invitation.url, invitation.authority.encode(), patience=3), root)

    return enrol(folder / "north", invitation, ask)


def test_dataset_and_charter_come_over_https(founders: Founders, tmp_path: Path) -> None:
    with tls_server(tmp_path / "server", answers()) as server:
        done = from_server(tmp_path, founders, server)
        assert sorted(server.asked) == ["/v1/charter", "/v1/dataset"]
    assert done.shared.dataset.id == "pressure"
    settings = NodeSettings.at(tmp_path / "north")
    assert (settings.toml.coordinator, settings.superlink) == (server.url, server.place)  # type: ignore[union-attr]
    assert settings.authority().decode() == server.authority
    assert settings.charter().folder_digest == CHARTER.folder_digest
    settings.node().store.close()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("expired", "certificate is expired"),
        ("authority", "of another authority"),
        ("charter", "not the one that version 1"),
        ("path", "a charter's file named"),
        ("no charter", "that is not a charter"),
        ("json", "not JSON"),
        ("404", "answers 404"),
    ],
)
def test_a_coordinator_that_is_wrong_is_refused_and_nothing_is_written(
    what: str, said: str, founders: Founders, tmp_path: Path
) -> None:
    given_ = answers()
    if what == "charter":
        given_ = answers({n: c.decode().replace("quorum = 2", "quorum = 1") for n, c in CHARTER.files.items()})
    if what == "path":
        given_ = answers({"../../keys/sign.pem": "x"})
    if what in ("no charter", "json"):
        given_["/v1/charter"] = b'{"files":[]}' if what == "no charter" else b"<html>"
    if what == "404":
        given_ = {}
    before = contents(tmp_path / "north")
    with tls_server(tmp_path / "server", given_, days=-1 if what == "expired" else 90) as server:
        if what == "authority":
            with tls_server(tmp_path / "other", {}) as other:
                server.authority = other.authority
        with pytest.raises(DataTrustError, match=said):
            from_server(tmp_path, founders, server)
    assert contents(tmp_path / "north") == before


def test_a_coordinator_that_sends_without_end_is_given_up(tmp_path: Path) -> None:
    long = {"/v1/dataset": b"x" * ((1 << 24) + 1)}
    with tls_server(tmp_path / "server", long) as server, pytest.raises(InvalidInput, match="more than"):
        CoordinatorReader(server.url, server.authority.encode()).dataset()
    with pytest.raises(Fault, match="refused"):
        CoordinatorReader(server.url, server.authority.encode()).dataset()


def test_what_the_environment_says_of_proxies_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with tls_server(tmp_path / "server", {"/v1/dataset": b"x"}) as server:
        assert CoordinatorReader(server.url, server.authority.encode()).dataset() == "x"
        with pytest.raises(Fault):
            CoordinatorReader(server.url, server.authority.encode(), "http://127.0.0.1:1").dataset()
