"""`node run` without a SuperLink: it follows the root by itself, and knows when its next keys are due."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodes.events import SourceUnreachable
from nodes.keys import NodeKeys, rotate
from nodes.rows.source import Source
from nodes.serve.loop import _take_roots
from nodes.serve.process import _heading, _NodeProcess, follow_roots
from nodes.settings import NodeSettings
from nodes.study.notices import Notices
from nodes.study.sessions import Sessions
from tests.faults.test_node_restarts import run
from tests.support.node_homes import CHARTER, Founders, contents, enrol_offline, make_homes, partner_of
from tests.support.restartable_trust import Disturbed, RestartableTrust
from tests.support.tls_server import tls_server
from trust.documents.mandate import draft_mandate
from trust.documents.study import PlannedStudy
from trust.errors import DataTrustError, Refused
from trust.protocol.messages import pack_signed
from trust.signing.envelope import sha256, sign


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    return make_homes(tmp_path)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, flower = logging.getLogger(), logging.getLogger("flwr")
    kept = list(root.handlers), list(flower.handlers), flower.propagate, sys.excepthook, threading.excepthook
    yield
    root.handlers[:], flower.handlers[:] = kept[0], kept[1]
    flower.propagate, sys.excepthook, threading.excepthook = kept[2:]
    logging.captureWarnings(False)


def served(founders: Founders) -> dict[str, bytes]:
    return {"/v1/roots": json.dumps([envelope.document() for envelope in founders.roots]).encode()}


def test_a_newer_root_is_followed_and_its_keys_are_due(founders: Founders, tmp_path: Path) -> None:
    with tls_server(tmp_path / "server", answers := served(founders)) as there:
        enrol_offline(tmp_path, "north", founders, url=there.url, nodes=there.place, authority=there.authority)
        settings = NodeSettings.at(tmp_path / "north")
        running = _NodeProcess(settings, lambda words: None)
        assert follow_roots(settings) == 1
        file = rotate(settings.own, "north")
        assert not running._keys_are_due()
        founders.partners["north"] = partner_of(file)
        founders.found()
        answers.update(served(founders))
        assert follow_roots(settings) == 2
    assert running._keys_are_due()
    running._take_keys()
    assert NodeKeys.read(settings.own).public("north") == file
    assert not running._keys_are_due()
    node = settings.node()
    _take_roots(node, settings)
    _take_roots(node, settings)
    kinds = [(e.kind, e.body["version"]) for e in node.store._journal.entries()]
    assert kinds == [("root-accepted", 1), ("root-accepted", 2)]
    node.store.close()


def test_a_root_that_came_with_a_message_is_kept_beside_the_enrolled(founders: Founders, tmp_path: Path) -> None:
    enrol_offline(tmp_path, "north", founders)
    settings = NodeSettings.at(tmp_path / "north")
    founders.found()
    node = settings.node()
    notices = Notices(node.root, node.store, node.clock)
    notices.accept_roots(notices.newer([envelope.document() for envelope in founders.roots]))
    node.store.close()
    running = _NodeProcess(settings, lambda words: None)
    running._watch._ask()
    running._keep_accepted(running._watch)
    assert settings.root().root.version == 2
    running._watch._store.close()  # type: ignore[union-attr]


def test_what_does_not_follow_from_the_pinned_root_is_not_taken(founders: Founders, tmp_path: Path) -> None:
    forged = Founders(founders.partners, roots=list(founders.roots))
    forged.found()
    foreign = Founders(founders.partners)
    foreign.found()
    for other, said in ((forged, "signed by 0"), (foreign, "not the one that was pinned")):
        with tls_server(tmp_path / "server", served(other)) as there:
            enrol_offline(tmp_path, "north", founders, url=there.url, authority=there.authority)
            before = contents(tmp_path / "north")
            with pytest.raises(Refused, match=said):
                follow_roots(NodeSettings.at(tmp_path / "north"))
            assert contents(tmp_path / "north") == before
    with tls_server(tmp_path / "server", {"/v1/roots": b"{}"}) as there:
        enrol_offline(tmp_path, "north", founders, url=there.url, authority=there.authority)
        with pytest.raises(DataTrustError):
            follow_roots(NodeSettings.at(tmp_path / "north"))


def test_a_message_is_known_by_its_names(founders: Founders, tmp_path: Path) -> None:
    enrol_offline(tmp_path, "north", founders)
    study, settings = founders.study(), NodeSettings.at(tmp_path / "north")
    signed = sign("study", study.document(), founders.researcher)
    scope = study.scope(settings.dataset(), sorted(founders.partners), CHARTER)
    planned = PlannedStudy(study=study, scope=scope)
    root, digest = settings.root().root, sha256(signed.unverified_payload)
    mandate = sign("mandate", draft_mandate(digest, planned, CHARTER.folder_digest, root, "2026-0001").document())
    header = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}
    of = sha256(mandate.unverified_payload).removeprefix("sha256:")
    assert _heading(pack_signed(header, founders.coordinator)) == ("mandate", of, "pressure-by-age")
    close = pack_signed({"kind": "close", "mandate": of}, founders.coordinator)
    assert _heading(close) == ("close", of, "")
    broken: tuple[dict[str, Any], ...] = ({**header, "mandate": {}}, {**header, "study": 1}, {"kind": "mandate"})
    for wrong in broken:
        assert _heading(pack_signed(wrong, founders.coordinator)) == ("", "", "")
    assert _heading(b"\x80\x04pickled") == ("", "", "")


def logged(capsys: pytest.CaptureFixture[str], *events: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] in events]


def process(founders: Founders, tmp_path: Path) -> _NodeProcess:
    enrol_offline(tmp_path, "north", founders)
    return _NodeProcess(NodeSettings.at(tmp_path / "north"), lambda words: None)


def test_a_source_that_is_waited_for_is_logged(
    founders: Founders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process(founders, tmp_path)._heard(SourceUnreachable("0123abcd" * 8, "mandate"))
    (line,) = logged(capsys, "source-away")
    assert (line["level"], line["mandate"]) == ("warning", "0123abcd")


def test_a_study_that_cannot_be_resumed_is_logged(
    founders: Founders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running, places = process(founders, tmp_path), RestartableTrust(tmp_path)

    def lose_rows(name: str, n: int) -> None:
        if name == "b" and n == 4:
            for rows in (places.node("b").store.folder / "editions").glob("*.parquet"):
                rows.unlink()
            places.start("b")
            places.up["b"] = Sessions(places.node("b"), tell=running._heard)

    with pytest.raises(DataTrustError):
        run(places, Disturbed(places, before=lose_rows))
    (line,) = logged(capsys, "cannot-go-on")
    assert (line["level"], line["rule"], len(line["mandate"])) == ("warning", "fault", 8)


def test_the_words_of_a_refusal_do_not_make_an_event(
    founders: Founders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running, places = process(founders, tmp_path), RestartableTrust(tmp_path)
    node = replace(places.node("b"), source=Source(tmp_path / "goes on, given up, the source is away.csv"))
    refused: list[str] = []

    def listen(event: Any) -> None:
        refused.append(str(event))
        running._heard(event)

    places.up["b"] = Sessions(node, tell=listen)
    with pytest.raises(DataTrustError):
        run(places, Disturbed(places))
    assert any("because: " in words and "goes on, given up" in words for words in refused)
    assert logged(capsys, "goes-on", "given-up", "source-away") == []
