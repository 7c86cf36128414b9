"""A disk that answers a sync with EIO, at each sync of a study, once or until it is mended: at a node and at the
coordinator.

What is refused has a code, no entry of a journal or of the register is lost or doubled, nothing leaves a node that is
not in its journal, and once the disk is well the same study is answered.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

import datatrust as dt
from coordinator.settings import CoordinatorSettings
from coordinator.study.conductor import StudyOutcome
from coordinator.study.replay import LeaveForAnother
from nodes.study.sessions import Sessions
from tests.faults.test_killed import entries, invariants, same
from tests.faults.test_node_restarts import run
from tests.faults.test_node_restarts import same as same_conducted
from tests.support import killer
from tests.support.failing_disk import Failing
from tests.support.restartable_trust import NAMES, Disturbed, RestartableTrust
from tests.support.sizes import FULL
from trust.errors import Fault, Refused
from trust.protocol.messages import UP, unpack
from trust.secure_sum.errors import SecureSumError

ASKED = {"r": dt.Glm("x ~ y", family="gaussian")}
FOR_EVER = 1 << 30
ENDS = {"", "store-unavailable", "organisations", "fault"}
"""What a study ends with whose node has such a disk: nothing, where the answer had left."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One whose disk syncs at once."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


# ---- a node


class Node:
    """A trust whose node `b` has a disk that may fail."""

    def __init__(self, folder: Path) -> None:
        self.disk = Failing(folder / "state" / "nodes" / "b")
        with self.disk.watched():
            self.places = RestartableTrust(folder)
            self.calm = run(self.places, Disturbed(self.places))
            self.syncs = self._syncs()

    def _syncs(self) -> int:
        before = self.disk.seen
        assert same_conducted(self._run(), self.calm)
        return self.disk.seen - before

    def _run(self) -> StudyOutcome:
        self.channel = Disturbed(self.places)
        return run(self.places, self.channel)

    def fails_at(self, at: int, failing: int) -> str:
        """A study whose sync number `at` at `b` fails; its rule or code, empty where it was answered all the same."""
        log = self.places.node("b").store._journal
        before, ended = [entry.model_dump_json() for entry in log.entries()], ""
        self.disk.seen, self.disk.at, self.disk.failing = 0, at, failing
        with self.disk.watched():
            try:
                assert same_conducted(self._run(), self.calm)
            except Refused as wrong:
                ended = wrong.rule
            except (Fault, SecureSumError) as wrong:
                ended = wrong.code
            assert self.disk.failed, "the control: it failed"
            self.disk.at = 0
            self._nothing_lost(before)
            assert same_conducted(self._run(), self.calm), "it recovers without hands"
            for name in NAMES:
                Sessions(self.places.node(name), idle=-1.0).handle(b"")
                assert self.places.node(name).store.open_studies() == []
        return ended

    def _nothing_lost(self, before: list[str]) -> None:
        left = [unpack(raw, UP) for name, raw in self.channel.answers if name == "b"]
        given = {(head["r"], bytes(body)) for head, body in left if head["kind"] == "upload"}
        self.places.start("b")  # which reads the journal again
        log = list(self.places.node("b").store._journal.entries())
        assert [entry.model_dump_json() for entry in log[: len(before)]] == before
        now = log[len(before) :]
        asked = Counter((e.study, e.body["r"]) for e in log if e.kind == "sum-contributed")
        assert max(asked.values()) == 1
        assert {r for r, _ in given} <= {e.body["r"] for e in now if e.kind == "sum-contributed"}
        assert len(given) == len({r for r, _ in given})


@pytest.fixture(scope="module")
def node(folder: Path) -> Node:
    (folder / "node").mkdir()
    return Node(folder / "node")


def points(syncs: int, some: int) -> range:
    return range(1, syncs + 1, 1 if FULL else max(1, syncs // some))


def test_a_nodes_sync_fails_at_some_points(node: Node) -> None:
    assert {node.fails_at(at, FOR_EVER) for at in points(node.syncs, 2)} <= ENDS


@pytest.mark.slow
def test_a_nodes_sync_fails_at_each_point(node: Node) -> None:
    some = points(node.syncs, 12)
    ends = {node.fails_at(at, (1, FOR_EVER)[number % 2]) for number, at in enumerate(some)}
    assert ends <= ENDS
    assert len(ends) > 1, "the control: some are refused"


# ---- the coordinator


class Coordinator:
    """A trust with a study whose mandate is in force; the coordinator's disk may fail."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder / "state", killer.mandated(folder, ASKED)
        self.calm = folder / "calm"
        shutil.copytree(self.folder, self.calm)
        disk = self._disk(self.calm, 0, 0)
        with disk.watched():
            killer.carried(self.calm, self.study)
        self.syncs = disk.seen
        self.sums = sum(e.kind == "sum-record" for e in entries(self.calm / "coordinator" / "state.sqlite"))
        invariants(self.calm, self.study, self.sums)

    def _disk(self, state: Path, at: int, failing: int) -> Failing:
        return Failing(state, at, failing, left_out=state / "nodes")

    def fails_at(self, at: int, failing: int) -> None:
        state = self.folder.with_name(f"at-{at}-{failing}")
        shutil.copytree(self.folder, state)
        before = entries(state / "coordinator" / "state.sqlite")
        disk = self._disk(state, at, failing)
        with disk.watched(), suppress(LeaveForAnother, Fault):
            killer.carried(state, self.study)
        assert disk.failed
        with closing(CoordinatorSettings(state).docket()) as docket:
            docket.register.verify()
            assert docket.find(self.study).state in ("mandated", "running", "released")
        assert entries(state / "coordinator" / "state.sqlite")[: len(before)] == before
        killer.carried(state, self.study)
        assert same(state, self.calm, self.study), at
        invariants(state, self.study, self.sums)
        shutil.rmtree(state)


@pytest.fixture(scope="module")
def coordinator(folder: Path) -> Coordinator:
    (folder / "coordinator").mkdir()
    return Coordinator(folder / "coordinator")


def test_the_coordinators_sync_fails_at_some_points(coordinator: Coordinator) -> None:
    for at in points(coordinator.syncs, 2):
        coordinator.fails_at(at, 1)


@pytest.mark.slow
def test_the_coordinators_sync_fails_at_each_point(coordinator: Coordinator) -> None:
    for number, at in enumerate(points(coordinator.syncs, 15)):
        coordinator.fails_at(at, (1, 2, FOR_EVER)[number % 3])
