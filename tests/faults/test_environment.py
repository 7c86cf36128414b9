"""The machine gets in the way: a full or read-only disk, a held database, a wrong clock.

Each is refused with a code, loses nothing, and goes on by itself once it is mended.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import coordinator.docket.database
import datatrust as dt
import nodes.state.store
from coordinator.docket.database import Sqlite
from coordinator.settings import CoordinatorSettings
from coordinator.study.replay import LeaveForAnother
from nodes.study.sessions import Sessions
from tests.conftest import missing
from tests.faults.test_killed import ROOT, entries, invariants, same
from tests.faults.test_node_restarts import run
from tests.faults.test_node_restarts import same as same_conducted
from tests.support import killer
from tests.support.restartable_trust import NAMES, Disturbed, RestartableTrust
from tests.support.sizes import FULL
from trust.errors import DataTrustError, Fault, Refused
from trust.protocol.messages import pack_signed
from trust.secure_sum.errors import StoreUnavailable
from trust.signing.envelope import sha256

pytestmark = pytest.mark.slow

ASKED = {"r": dt.Glm("x ~ y", family="gaussian")}


# ---- a disk of our own


@dataclass
class Disk:
    """A small file system in memory."""

    folder: Path

    def fill(self) -> None:
        """Until nothing more can be written."""
        with (self.folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def clear(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def mount(self, *options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{','.join(options)}", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        missing("root, with mount,")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "datatrust-test", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        missing("the right to mount a tmpfs")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def journals(places: RestartableTrust) -> dict[str, int]:
    """Entries of each node's journal, which is verified."""
    found = {}
    for name in NAMES:
        places.start(name)
        places.node(name).store._journal.verify()
        found[name] = places.node(name).store.head()[0]
    return found


def given_up(places: RestartableTrust) -> None:
    """What an hour of silence does."""
    for name in NAMES:
        Sessions(places.node(name), idle=-1.0).handle(b"")
        assert places.node(name).store.open_studies() == []


# ---- a node's disk


def test_a_nodes_disk_that_is_full_before_a_study(disk: Disk) -> None:
    places = RestartableTrust(disk.folder)
    calm, before = run(places, Disturbed(places)), journals(places)
    disk.fill()
    with pytest.raises(Refused) as wrong:
        run(places, Disturbed(places))
    assert wrong.value.rule == "journal"
    assert "cannot be written" in wrong.value.text
    disk.clear()
    assert journals(places) == before, "nothing lost, and nothing begun"
    assert same_conducted(run(places, Disturbed(places)), calm)


def test_a_nodes_disk_that_is_full_in_the_middle(disk: Disk) -> None:
    places = RestartableTrust(disk.folder)
    calm = run(places, Disturbed(places))
    places.start("a")

    def fill(name: str, n: int) -> None:
        if n == 4:
            disk.fill()

    with pytest.raises(DataTrustError) as wrong:
        run(places, Disturbed(places, before=fill))
    assert isinstance(wrong.value, Refused)
    assert wrong.value.rule == "store-unavailable"
    disk.clear()
    after = journals(places)
    for name in NAMES:
        contributed = Counter(
            (e.study, e.body["r"]) for e in places.node(name).store._journal.entries() if e.kind == "sum-contributed"
        )
        assert max(contributed.values()) == 1
    given_up(places)
    assert all(journals(places)[name] > after[name] for name in NAMES), "the close of the study is in the journal"
    assert same_conducted(run(places, Disturbed(places)), calm)


@pytest.mark.slow
def test_a_disk_that_may_only_be_read(disk: Disk) -> None:
    """Node and coordinator say so and do not start; once it may be written, the study goes on."""
    study = killer.mandated(disk.folder, ASKED)
    state, gone = disk.folder / "state", disk.folder / "other"
    gc.collect()  # whoever made them has them open
    with closing(CoordinatorSettings(state).docket()) as docket:
        before = docket.register.head()
    shutil.copytree(state, gone)
    disk.mount("ro")
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "nodes.serve.loop", str(gone), "a", "127.0.0.1:1"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
        assert ran.returncode == 3
        assert "cannot be written (Read-only file system); to fix it: correct its rights" in ran.stderr
        with pytest.raises(StoreUnavailable, match="expected a folder that can be written"):
            nodes.state.store.SqliteStore(gone / "nodes" / "a")
        with pytest.raises(Fault, match=r"cannot be used \(.*\); to fix it: correct disk or rights"):
            CoordinatorSettings(gone).docket()
    finally:
        disk.mount("rw")
    killer.carried(gone, study)
    with closing(CoordinatorSettings(gone).docket()) as docket:
        assert docket.find(study).state == "released"
        assert docket.register.head()[0] > before[0]


def test_a_nodes_database_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than is waited: 50 ms here, 30 s elsewhere."""
    monkeypatch.setattr(nodes.state.store, "_LOCK_SECONDS", 0.05)
    places = RestartableTrust(tmp_path)
    calm = run(places, Disturbed(places))
    with closing(sqlite3.connect(places.node("b").store.folder / "state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused) as wrong:
            run(places, Disturbed(places))
        assert wrong.value.rule == "organisations"
        assert "journal" in wrong.value.text
        other.execute("ROLLBACK")
    assert same_conducted(run(places, Disturbed(places)), calm)


# ---- the coordinator's disk


@pytest.fixture(scope="module")
def mandated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A trust with a study whose mandate is in force, on a disk that syncs at once."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path_factory.getbasetemp()
    folder = base / f"datatrust-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder / "state", killer.mandated(folder, ASKED)
    finally:
        shutil.rmtree(folder)


@dataclass
class Commits:
    """Counts the docket's commits; from `fails_at` on, so many of them find no room."""

    fails_at: int = 0
    failing: int = 1
    seen: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        real = Sqlite._commit

        def commit(database: Sqlite) -> None:
            self.seen += 1
            if 0 < self.fails_at <= self.seen < self.fails_at + self.failing:
                raise sqlite3.OperationalError("database or disk is full")
            real(database)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sqlite, "_commit", commit)
            yield


@pytest.fixture(scope="module")
def calm(mandated: tuple[Path, str]) -> tuple[Path, int, int]:
    """The study without a fault: its folder, the docket's commits, its sums."""
    folder, study = mandated
    calm, commits = folder.with_name("calm"), Commits()
    shutil.copytree(folder, calm)
    with commits.counted():
        killer.carried(calm, study)
    sums = sum(e.kind == "sum-record" for e in entries(calm / "coordinator" / "state.sqlite"))
    invariants(calm, study, sums)
    return calm, commits.seen, sums


def no_room_at(mandated: tuple[Path, str], calm: tuple[Path, int, int], at: int, failing: int) -> None:
    """The docket's commit number `at` finds no room, alone or with the next; a process later there is room again."""
    folder, study = mandated
    state, commits = folder.with_name(f"at-{at}"), Commits(at, failing)
    shutil.copytree(folder, state)
    with commits.counted(), suppress(LeaveForAnother, Fault):
        killer.carried(state, study)
    assert commits.seen >= at
    assert not CoordinatorSettings(state).result(study).exists() or at >= calm[1] - 1
    killer.carried(state, study)
    assert same(state, calm[0], study), at
    invariants(state, study, calm[2])
    shutil.rmtree(state)


def test_the_coordinators_disk_is_full_at_the_end(mandated: tuple[Path, str], calm: tuple[Path, int, int]) -> None:
    """Of its commits the release, what comes before it and after it."""
    for at in range(calm[1] - 3, calm[1] + 1):
        for failing in (1, 3):
            no_room_at(mandated, calm, at, failing)


def test_the_coordinators_disk_is_full_at_each_commit(mandated: tuple[Path, str], calm: tuple[Path, int, int]) -> None:
    for at in range(1, calm[1] - 3, 1 if FULL else 3):
        no_room_at(mandated, calm, at, 1 + at % 2)


def test_the_coordinators_disk_is_really_full(disk: Disk) -> None:
    """Without a stand-in for SQLite: filled before the third exchange."""
    study = killer.mandated(disk.folder, ASKED)
    state, docket = disk.folder / "state", CoordinatorSettings(disk.folder / "state").docket()
    before = docket.register.head()
    disk.fill()
    with pytest.raises(Fault, match="correct disk or rights"):
        docket.publish("refusal", study, {"rule": "x", "text": "y" * 100_000})
    assert docket.register.head() == before
    with pytest.raises((LeaveForAnother, DataTrustError)):
        killer.carried(state, study)
    docket.register.verify()
    assert docket.find(study).state in ("mandated", "running")
    docket.close()
    disk.clear()
    killer.carried(state, study)
    with closing(CoordinatorSettings(state).docket()) as docket:
        assert docket.find(study).state == "released"


def test_the_results_folder_is_full(
    mandated: tuple[Path, str], calm: tuple[Path, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released, and no file: it is written by whoever looks next."""
    folder, study = mandated
    state = folder.with_name("no-file")
    shutil.copytree(folder, state)
    results = state / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.write_bytes(b"in the way")
    with pytest.raises(Fault, match="the result cannot be written"):
        killer.carried(state, study)
    results.unlink()
    results.mkdir()
    killer.carried(state, study)
    assert same(state, calm[0], study)
    invariants(state, study, calm[2])


def test_the_coordinators_database_is_held_by_another_process(
    mandated: tuple[Path, str], calm: tuple[Path, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study = mandated
    state = folder.with_name("held")
    shutil.copytree(folder, state)
    monkeypatch.setattr(coordinator.docket.database, "_LOCK_SECONDS", 0.05)
    real, count = killer.Straight.exchange, [0]
    other = sqlite3.connect(state / "coordinator" / "state.sqlite", isolation_level=None)

    def exchange(channel: Any, messages: Any, *, deadline: float) -> Any:
        count[0] += 1
        if count[0] == 3:
            other.execute("BEGIN IMMEDIATE")
        return real(channel, messages, deadline=deadline)

    with monkeypatch.context() as patch, closing(other):
        patch.setattr(killer.Straight, "exchange", exchange)
        with pytest.raises(LeaveForAnother):
            killer.carried(state, study)
        other.execute("ROLLBACK")
    killer.carried(state, study)
    assert same(state, calm[0], study)
    invariants(state, study, calm[2])


# ---- the clock


@pytest.mark.slow
def test_a_node_whose_clock_is_an_hour_back_refuses_until_it_is_right(tmp_path: Path) -> None:
    """A process of its own whose clock goes wrong (Debian's faketime)."""
    if not shutil.which("faketime"):
        missing("faketime (apt-get install faketime)")
    study = killer.mandated(tmp_path, ASKED)
    state = tmp_path / "state"
    killer.carried(state, study)  # its journal has entries of now
    settings = CoordinatorSettings(state)
    with closing(settings.docket()) as docket:
        filed = docket.find(study)
        fields = {"mandate": filed.mandate.document(), "study": filed.study.document()}
        message = pack_signed({"kind": "mandate", **fields}, settings.identity)
        assert sha256(filed.mandate.unverified_payload) == filed.mandate_digest
    size = len(entries(state / "nodes" / "a" / "state.sqlite"))
    answers = []
    for clock in (["faketime", "-f", "-1h"], []):
        ran = subprocess.run(
            [*clock, sys.executable, "-m", "tests.support.node_answer", str(state), "a"],
            input=message,
            capture_output=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        answers.append(ran.stdout.decode().split())
    assert answers[0] == ["refusal", "clock"]
    assert answers[1] == ["refusal", "already-started"], "the clock is right: only that the study was answered stands"
    kinds = [e.kind for e in entries(state / "nodes" / "a" / "state.sqlite")[size:]]
    assert kinds == ["gate-refused", "gate-refused"]
