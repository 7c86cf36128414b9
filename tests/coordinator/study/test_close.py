"""A study that ended while no process carried it out: its nodes are told, and nothing is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.docket.docket import Docket
from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out, tell_the_end
from coordinator.study.replay import LeaveForAnother, Replay, _write
from nodes.state.store import SqliteStore
from tests.support.committee import revocation
from tests.support.restartable_trust import NAMES, RestartableTrust
from trust.protocol.messages import DOWN, unpack


class Left:
    """A channel to nodes of whose coordinator nothing is heard after so many exchanges."""

    def __init__(self, places: RestartableTrust, exchanges: int = 99) -> None:
        self._places, self._left = places, exchanges
        self.told: list[tuple[str, str]] = []

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        self._left -= 1
        if self._left < 0:
            raise LeaveForAnother
        self.told += [(name, unpack(raw, DOWN)[0]["kind"]) for name, raw in messages.items()]
        return {name: self._places.up[name].handle(raw) for name, raw in messages.items()}


class Begun:
    """A study that was under way when its process, and the worker, ended."""

    def __init__(self, folder: Path, exchanges: int) -> None:
        self.places = RestartableTrust(folder)
        self.settings = CoordinatorSettings(folder / "state")
        self.docket: Docket = self.settings.docket()
        _, signed, _, _ = self.places.study()
        self.study = self.docket.file(signed).id
        self.docket.sign(self.study, self.places.of.keys.signed(self.docket.find(self.study).mandate))
        channel = Left(self.places, exchanges)
        replay = Replay(self.docket, self.study, channel, threading.Event())
        with pytest.raises(LeaveForAnother):
            carry_out(self.docket, self.settings.identity, self.study, channel, replay=replay)

    def stores(self) -> list[SqliteStore]:
        return [self.places.node(name).store for name in NAMES]  # type: ignore[misc]

    def open(self) -> int:
        """At how many nodes it is."""
        return sum(self.study in store.open_studies() for store in self.stores())

    def reasons(self) -> set[str]:
        found = [entry for store in self.stores() for entry in store._journal.entries()]
        return {entry.body["reason"] for entry in found if entry.kind == "study-closed"}


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    made = Begun(tmp_path, 4)
    with closing(made.docket):
        yield made


def test_nodes_are_told_of_a_study_that_was_cancelled(begun: Begun) -> None:
    begun.docket.cancel(begun.study, "operator")
    assert begun.open() == 3
    assert begun.docket.messages.studies() == [begun.study]
    tell_the_end(begun.docket, begun.settings.identity, begun.study, channel := Left(begun.places))
    assert channel.told == [(name, "close") for name in NAMES]
    assert begun.open() == 0
    assert begun.reasons() == {"closed"}


def test_nodes_that_started_again_meanwhile_are_told_of_a_revocation(begun: Begun) -> None:
    keys = begun.places.of.keys
    begun.docket.revoke(revocation(begun.docket.find(begun.study).mandate_digest, keys.members[0]))
    for name in NAMES:
        begun.places.start(name)
    tell_the_end(begun.docket, begun.settings.identity, begun.study, Left(begun.places))
    assert begun.open() == 0
    assert begun.reasons() == {"mandate-revoked"}


def test_a_partner_that_took_no_part_is_not_told(begun: Begun) -> None:
    _, signed, _, _ = begun.places.study()
    other = begun.docket.file(signed).id
    refusal = begun.places.up["c"].handle(b"no message")
    begun.docket.messages.keep(other, "answers 0", _write({"a": b"", "c": refusal}))
    tell_the_end(begun.docket, begun.settings.identity, other, channel := Left(begun.places))
    assert channel.told == [("a", "close"), ("b", "close")]
