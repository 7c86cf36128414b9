"""No more file descriptors, no more memory: what cannot be done now is said, waited for or given up with a code.

A limit of a running process is changed from outside (prlimit(2)): what is open stays open, and nothing more is opened.
"""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import datatrust as dt
from coordinator.operate.certificates import certify
from coordinator.serve import worker as module
from coordinator.serve.worker import CrashLoop, Worker
from coordinator.settings import CoordinatorSettings
from nodes.rows.from_file import FileTable
from tests.e2e.test_killed_processes import children
from tests.faults.test_network import ONE, Live, live, patience, same
from tests.faults.test_node_restarts import run
from tests.faults.test_node_restarts import same as same_conducted
from tests.support import killer
from tests.support.restartable_trust import NAMES, Disturbed, RestartableTrust
from tests.support.sizes import FULL
from trust.errors import Fault, Refused, SourceInvalid

__all__ = ["live"]

SCENES = [("node south", 50), ("superlink", 60), ("coordinator", 70)]


@contextmanager
def nothing_opens(pid: int = 0) -> Iterator[None]:
    """A process, this one if not said, can open no file and no socket, since 0, 1 and 2 are taken."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


# ---- one node


class Starved(Disturbed):
    """Nothing can be opened while the nodes answer message number `at`."""

    def __init__(self, places: RestartableTrust, at: int) -> None:
        super().__init__(places)
        self._at = at

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        with nothing_opens() if self.count["a"] == self._at else nullcontext():
            return super().exchange(messages, deadline=deadline)


def test_nodes_without_file_descriptors_at_a_message(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as folder:
        places = RestartableTrust(Path(folder))
        calm = run(places, channel := Disturbed(places))
        close = len(channel.kinds) - 1
        for at in range(close + 1) if FULL else (0, 2, close):
            try:
                assert same_conducted(run(places, Starved(places, at)), calm)
                ended = ""
            except Refused as wrong:
                ended = wrong.rule
            assert ended == ("" if at == close else "revocation-unreadable" if at < 3 else "store-unavailable"), at
            for name in NAMES:
                places.start(name)  # which reads the journal again
            assert same_conducted(run(places, Disturbed(places)), calm), "it goes on by itself"


def test_a_table_that_cannot_be_opened_now_is_not_said_to_be_wrong(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1, 2]})
    table.to_csv(tmp_path / "t.csv", index=False)
    with duckdb.connect() as engine:
        engine.register("t", table)
        engine.execute(f"COPY t TO '{tmp_path / 't.parquet'}' (FORMAT parquet)")
        for name in ("t.csv", "t.parquet"):
            FileTable(tmp_path / name).names()
            with (
                nothing_opens(),
                pytest.raises(SourceInvalid, match=r"cannot be read .*: look at the file's rights"),
            ):
                FileTable(tmp_path / name).names()


# ---- the worker and its processes


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """With a study in force, and a SuperLink that nobody reaches."""
    killer.mandated(tmp_path)
    certify(tmp_path / "state", NAMES)
    lines: list[str] = []
    worker = Worker(CoordinatorSettings(tmp_path / "state"), "127.0.0.1:1", lines.append)
    worker.lines = lines  # type: ignore[attr-defined]
    yield worker
    worker._end()


@pytest.mark.slow
def test_a_process_that_cannot_be_started_is_started_later(worker: Worker) -> None:
    with closing(worker._settings.docket()) as docket:
        (study,) = docket.ids("mandated")
        with nothing_opens(), pytest.raises(Fault, match=f"no process can be started for {study} "):
            worker._hand_out(docket)
        assert docket.leases.holders() == {}, "it is nobody's"
        assert worker._children == []
        worker._later.clear()
        worker._hand_out(docket)
        assert [each.study for each in worker._children] == [study]


@pytest.mark.slow
def test_a_study_whose_processes_are_killed_again_and_again_ends_with_a_code(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does where it needs more memory than there is."""
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.02)
    with closing(worker._settings.docket()) as docket:
        (study,) = docket.ids("mandated")
        for number in range(5):
            end = time.monotonic() + 20
            while not worker._children:
                worker._hand_out(docket)
                assert time.monotonic() < end
                time.sleep(0.02)
            (each,) = worker._children
            os.kill(each.process.pid or 0, signal.SIGKILL)
            each.process.join()
            worker._reap(docket)
            assert docket.find(study).state == ("mandated" if number < 4 else "failed")
            if number < 4:
                assert docket.notes.read(study).text == "the coordinator's process for it has ended; another goes on"
        ended = docket.find(study).ended
        assert ended is not None
        assert (ended.rule, "5 times" in ended.text) == ("fault", True)
        assert "memory" in ended.text
        worker._later.clear()
        worker._hand_out(docket)
        assert worker._children == []
        assert docket.leases.holders() == {}


def test_a_study_that_got_on_before_its_process_died_is_gone_on_with(tmp_path: Path) -> None:
    """However often somebody kills one."""
    killer.mandated(tmp_path)
    with closing(CoordinatorSettings(tmp_path / "state").docket()) as docket:
        (study,) = docket.ids("mandated")
        seen = CrashLoop()
        for number in range(12):
            docket.messages.keep(study, f"messages {number // 2}", b"")
            docket.leases.acquire(study, "one", 20.0)
            assert seen.next_start(docket, study, "one", 20.0) == (2.0 if number % 2 else 0.0)
        assert docket.find(study).state == "mandated"


@pytest.mark.slow
def test_a_process_that_hangs_is_ended_and_another_goes_on(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does for which a thread could not begin: it renews its lease no more, and does not end."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(module, "_CONNECTED_SECONDS", 0.0)
    with closing(worker._settings.docket()) as docket:
        worker._hand_out(docket)
        monkeypatch.setattr(module, "LEASE_SECONDS", 0.5)
        (hangs,) = worker._children
        os.kill(hangs.process.pid or 0, signal.SIGSTOP)
        worker._reap(docket)
        assert worker._children == [hangs], "so far it may be alive"
        end = time.monotonic() + 10
        while worker._children and time.monotonic() < end:  # leases are counted in whole seconds
            time.sleep(0.1)
            worker._reap(docket)
        assert hangs.process.exitcode == -signal.SIGKILL
        worker._hand_out(docket)
        (again,) = worker._children
        assert again.study == hangs.study


# ---- a deployment


@pytest.mark.slow
@pytest.mark.parametrize(("who", "edge"), SCENES if FULL else SCENES[:1])
def test_without_file_descriptors_for_a_while(live: Live, who: str, edge: int) -> None:
    """In the middle of a study, and another begins meanwhile; each ends, and all goes on by itself."""
    patience(live.folder, 60)
    study = live.begin()
    live.wait_for(lambda: live.sums(study) > 1)
    with nothing_opens(live.processes.pids[who]):
        other = live.begin({"ages": dt.Histogram("age", edges=[40, edge, 80])})
        time.sleep(4)
    ends = [end_of(live, each) for each in (study, other)]
    assert set(ends) <= {"released", *(["store-unavailable"] if who == "node south" else [])}, ends
    live.wait_for(lambda: live.trust.docket.ids("running") == [])
    for each, end in zip((study, other), ends, strict=True):
        if end == "released" and who != "node south":  # which may have answered one of the two only
            live.once(each, live.sums(each))
    assert same(live.trust.job(live.begin()).result(), live.several), "it takes part again"
    live.processes.check()


@pytest.mark.slow
def test_a_node_that_cannot_keep_its_id_joins_all_the_same(live: Live) -> None:
    """On a disk that is full or may only be read."""
    process = live.processes._processes.pop("node south")
    process.terminate()
    process.wait(30)
    kept = live.folder / "nodes" / "south" / "connection" / "node_id"
    kept.unlink()
    kept.mkdir()
    log = live.processes._log("node south")
    before = log.read_text().count("connected")
    live.processes._start("node south", "nodes.serve.loop", str(live.folder), "south", live.processes.address)
    live.wait_for(lambda: log.read_text().count("connected") > before)
    kept.rmdir()
    assert same(live.trust.job(live.begin()).result(), live.several)
    live.processes.check()


def end_of(live: Live, study: str) -> str:
    try:
        live.trust.job(study).result()
    except Refused as wrong:
        return wrong.rule
    return "released"


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="with FULL=1: processes are begun again and again for half a minute")
def test_a_study_without_memory_ends_and_the_other_goes_on(live: Live) -> None:
    """Its process may take no more memory than it has when it begins: what becomes of it differs, but not for ever."""
    patience(live.folder, 60)
    other = live.begin()
    live.wait_for(lambda: live.sums(other) > 0)
    others = set(own(live))
    study = live.begin(ONE)
    live.wait_for(lambda: bool(set(own(live)) - others))
    (pid,) = set(own(live)) - others
    resource.prlimit(pid, resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
    assert same(live.trust.job(other).result(), live.several)
    if live.ended(study, 90) == "released":  # by the next process
        live.trust.job(study).result()
    else:
        with pytest.raises(Refused, match="refused by fault: "):
            live.trust.job(study).result()
    live.trust.job(live.begin(ONE)).result()
    live.processes.check()


def own(live: Live) -> list[int]:
    """The processes of studies."""
    return [own for each in children(live.processes.pids["coordinator"]) for own in children(each)]
