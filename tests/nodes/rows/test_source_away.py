"""A partner's database is killed and started again: the node waits for it, and its study is answered.

Before its rows are read, while they are read, after they were read, and while the node itself starts again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from nodes.rows.from_database import DatabaseTable, SourceAway
from nodes.rows.opt_outs import opted_out
from nodes.rows.source import Source
from nodes.study.sessions import Sessions
from tests.faults.test_node_restarts import same
from tests.support.live_tables import BY_ID
from tests.support.postgres import Server, mortal, own_server
from tests.support.restartable_trust import NAMES, RestartableTrust, frame
from trust.documents.study import Study
from trust.errors import Fault, Refused
from trust.protocol.messages import DOWN, UP, pack_signed, unpack
from trust.signing.envelope import Signer, sha256

__all__ = ["mortal", "own_server"]

AWAY, AGAIN = 45.0, 10.0
"""Seconds: as a node that serves has it, and between two copies of a message."""
OURS = "b"


class Trust:
    """Three nodes, one of which has its rows in a database, and a clock that only moves between two copies."""

    def __init__(self, places: RestartableTrust, server: Server) -> None:
        self.places, self.server, self.now = places, server, 0.0
        self.source = Source(f"{server.url}#people")
        self.sent: list[tuple[str, str]] = []
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
        frame(NAMES.index(OURS)).to_sql("people", engine, index=False, if_exists="replace")
        engine.dispose()
        self.restart()

    def restart(self) -> None:
        """Our node's process ends, and another starts over its folder."""
        self.places.start(OURS)
        node = replace(self.places.node(OURS), source=self.source)
        self.places._node[OURS] = node
        self.places.up[OURS] = Sessions(
            node, away=AWAY, clock=lambda: self.now, tell=lambda event: self.places.told.append(str(event))
        )

    def conducted(
        self, before: Callable[[str, int], None] = lambda kind, copy: None, patience: float = 600.0
    ) -> tuple[StudyOutcome, Study]:
        """A study; `before` is called before each copy of a message to our node, with its kind and number."""
        study, signed, mandate, planned = self.places.study()
        keys = self.places.of.keys
        self._before = before
        coordinator = Coordinator(keys.coordinator, keys.root)
        return conduct(coordinator, signed, mandate, planned, self, deadline=60.0, patience=patience), study

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        """As the deployed channel: what is not answered is sent again until the deadline."""
        answers = {}
        for name, raw in messages.items():
            kind, end = unpack(raw, DOWN)[0]["kind"], self.now + deadline
            for copy in itertools.count():
                if name == OURS:
                    self._before(kind, copy)
                with suppress(SourceAway):
                    answers[name] = self.places.up[name].handle(raw)
                    self.sent.append((name, unpack(answers[name], UP)[0]["kind"]))
                    break
                self.now += AGAIN
                if self.now >= end:
                    break
        return answers

    def journal(self, study: Study) -> Counter[str]:
        entries = self.places.node(OURS).store._journal.entries()
        return Counter(entry.kind for entry in entries if entry.study == study.id)


@pytest.fixture
def trust(tmp_path: Any, mortal: Server) -> Trust:
    return Trust(RestartableTrust(tmp_path), mortal)


def test_killed_before_and_after_its_rows_are_read_and_under_a_node_that_starts_again(trust: Trust) -> None:
    calm, _ = trust.conducted()
    asks = itertools.count()

    def before(kind: str, copy: int) -> None:
        if kind == "mandate" and copy == 0:
            trust.server.kill()
        if kind == "mandate" and copy == 3:
            trust.server.start()
        if kind == "start":
            trust.server.kill()  # the rows are read
        if kind == "ask" and copy == 0 and next(asks) == 2:
            trust.restart()
        if kind == "ask" and copy == 20:
            trust.server.start()

    disturbed, study = trust.conducted(before)
    assert same(disturbed, calm)
    assert trust.now == (3 + 20) * AGAIN, "it was waited for, twice"
    journal = trust.journal(study)
    assert journal["mandate-accepted"] == journal["study-approved"] == journal["study-closed"] == 1
    assert journal["sum-contributed"] == len(disturbed.records)
    assert any("the source is away" in words for words in trust.places.told)


def test_killed_while_its_rows_are_read(mortal: Server) -> None:
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%slow%' AND pid <> %s"
    slow = "CREATE VIEW slow AS SELECT n AS x, pg_sleep(0.01) IS NULL AS y FROM generate_series(1, 10000) AS n"
    with psycopg.connect(mortal.url, autocommit=True) as db:
        db.execute(slow)

        def kill() -> None:
            while not db.execute(busy.replace("%slow%", "%%slow%%"), [db.info.backend_pid]).fetchall()[0][0]:
                time.sleep(0.01)
            mortal.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(SourceAway, match="refused the question"):
            DatabaseTable(mortal.url, "slow").read(["x", "y"])
        killer.join()
    with pytest.raises(SourceAway, match="cannot be reached"):
        DatabaseTable(mortal.url, "slow").read(["x"])
    mortal.start()
    assert DatabaseTable(mortal.url, "slow").names() == ["x", "y"]


def test_one_that_stays_away_is_refused_while_the_coordinator_still_waits(trust: Trust) -> None:
    trust.server.kill()
    with pytest.raises(Refused) as refused:
        trust.conducted()
    assert refused.value.rule == "organisations"
    assert "those that do not, because of: fault" in refused.value.text
    assert AWAY <= trust.now < 60
    assert trust.sent.count((OURS, "refusal")) == 1


def test_a_study_that_is_waited_for_is_one_whatever_else_is_sent(trust: Trust) -> None:
    """A message of somebody else changes nothing; after a close a late copy of the mandate does not begin it again."""
    study, signed, mandate, _ = trust.places.study()
    keys = trust.places.of.keys
    about = sha256(mandate.unverified_payload).removeprefix("sha256:")
    wanted = pack_signed(
        {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}, keys.coordinator
    )
    close = pack_signed({"kind": "close", "mandate": about}, keys.coordinator)
    forged = pack_signed({"kind": "close", "mandate": about}, Signer(Ed25519PrivateKey.generate()))
    node = trust.places.up[OURS]
    trust.server.kill()

    def rule(raw: bytes) -> str:
        return str(unpack(node.handle(raw), UP)[0].get("rule", ""))

    with pytest.raises(SourceAway):
        node.handle(wanted)
    for _ in range(3):
        assert rule(forged) == "message-invalid"
        trust.now += AGAIN
        with pytest.raises(SourceAway):
            node.handle(wanted)
    assert rule(close) == ""
    trust.server.start()
    late = pack_signed(
        {"kind": "mandate", "mandate": mandate.document(), "study": signed.document(), "roots": []}, keys.coordinator
    )
    assert [rule(raw) for raw in (wanted, wanted, late, wanted)] == ["study-closed"] * 3 + ["message-order"]
    assert trust.journal(study)["mandate-accepted"] == 1
    assert trust.places.node(OURS).store.open_studies() == []


def test_what_somebody_else_sends_does_not_make_the_wait_longer(trust: Trust) -> None:
    def before(kind: str, copy: int) -> None:
        node = trust.places.up[OURS]
        for mandate in list(node._waiting):
            node.handle(pack_signed({"kind": "close", "mandate": mandate}, Signer(Ed25519PrivateKey.generate())))

    trust.server.kill()
    with pytest.raises(Refused, match="because of: fault"):
        trust.conducted(before)


def test_a_node_that_is_not_told_to_wait_refuses_at_once(trust: Trust) -> None:
    """The control, and what a trust in one process does: nobody would send the message again."""
    trust.places.up[OURS] = Sessions(trust.places.node(OURS))
    trust.server.kill()
    with pytest.raises(Refused):
        trust.conducted()
    assert trust.now == 0


def test_a_node_that_starts_again_without_its_source_forgets_the_study_at_the_close(trust: Trust) -> None:
    def before(kind: str, copy: int) -> None:
        if kind == "ask" and copy == 0:
            trust.server.kill()
            trust.restart()

    with pytest.raises(Fault, match="did not answer in time"):
        trust.conducted(before)
    assert trust.now >= 600
    assert trust.places.node(OURS).store.open_studies() == []


def test_a_list_of_opt_outs_that_is_away_is_waited_for_too(mortal: Server) -> None:
    mortal.kill()
    with pytest.raises(SourceAway):
        opted_out(Source(frame(0), opt_out=f"{mortal.url}#gone"), BY_ID)
