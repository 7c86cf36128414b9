"""Any one process is killed in the middle of a study and started again, as by a service manager: only time is lost.

The PostgreSQL servers of the coordinator's state and of a partner's rows are processes, too.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy

import datatrust as dt
from coordinator.settings import CoordinatorSettings
from datatrust.demo.deployment import DeployedTrust, Processes
from datatrust.demo.hospitals import COHORT, write
from datatrust.demo.question import CHARTER, PURPOSE
from datatrust.research.result import Result
from nodes.rows.source import Source, whole_table
from tests.faults.test_killed import entries
from tests.support.postgres import Server, children, runs
from tests.support.sizes import FULL
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset

_PATIENCE = 120.0
OUTAGES = (5, 60) if FULL else (5,)
"""Seconds for which the coordinator's database is away."""
ASKED = {
    "model": dt.Glm("disease ~ age + sex + smoker", family="binomial"),
    "age": dt.Quantiles(["age"], [0.25, 0.5]),
}


@dataclass
class Live:
    trust: DeployedTrust
    processes: Processes
    calm: Result
    database: Server
    source: Server
    """Of the partner north."""

    def study(self) -> str:
        job = self.trust.study("Killed", purpose=PURPOSE, cohort=COHORT, analyses=ASKED).submit()
        self.trust.docket.sign(job.id, self.trust._keys.signed(self.trust.docket.find(job.id).mandate))
        return job.id

    def sums(self, study: str) -> int:
        return sum(e.kind == "sum-record" and e.study == study for e in self.trust.docket.register.entries())

    def wait_for(self, what: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "it has not come to that"
            time.sleep(0.01)

    def own(self) -> list[int]:
        """The processes of studies."""
        return [own for each in children(self.processes.pids["coordinator"]) for own in children(each)]

    def open(self, study: str) -> list[str]:
        """The partners whose nodes hold it."""
        found = []
        for name in self.trust.partners:
            file = self.processes._folder / "nodes" / name / "state.sqlite"
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
                rows = db.execute("SELECT 1 FROM study WHERE study = ? AND status <> 'closed'", (study,)).fetchall()
            found += [name] if rows else []
        return found

    def once(self, study: str) -> None:
        """Each node has answered each sum once, and nothing is kept."""
        sums = self.sums(study)
        for name in self.trust.partners:
            journal = entries(self.processes._folder / "nodes" / name / "state.sqlite")
            asked = Counter(e.body["r"] for e in journal if e.study == study and e.kind == "sum-contributed")
            assert asked == dict.fromkeys(range(sums), 1), name
        self.wait_for(lambda: study not in self.trust.docket.messages.studies(), 20)
        assert [e.kind for e in self.trust.docket.register.entries() if e.study == study].count("release") == 1

    def kill(self, name: str) -> None:
        os.kill(self.processes.pids[name], signal.SIGKILL)
        self.processes._processes[name].wait()

    def start(self, name: str) -> None:
        """As it was started the first time."""
        folder, address = str(self.processes._folder), self.processes.address
        if name == "superlink":
            host, _, port = address.rpartition(":")
            engine = str(Path(folder) / "coordinator" / "engine")
            self.processes._start(name, "coordinator.flower.superlink", engine, host, port)
        elif name == "coordinator":
            self.processes._start(name, "coordinator.serve.worker", folder, address)
        else:
            self.processes._start(name, "nodes.serve.loop", folder, name.partition(" ")[2], address)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("killed")
    written, folder = write(home / "data"), home / "trust"
    with closing(Server()) as database, closing(Server()) as source:
        database.start()
        source.start()
        sources = written.sources()
        dataset = Dataset.load(written.dataset)
        sources["north"] = in_database(sources["north"], source)
        trust = DeployedTrust.founded(folder, dataset, Charter.load(CHARTER), sources)
        trust.docket.close()
        (folder / "coordinator.toml").write_text(f'database = "{database.url}"\n')
        (folder / "coordinator.toml").chmod(0o600)
        trust.docket = CoordinatorSettings(folder).docket()
        with Processes(folder, trust.partners, home / "logs", lambda event: None) as processes:
            calm = trust.study("Calm", purpose=PURPOSE, cohort=COHORT, analyses=ASKED).run()
            yield Live(trust, processes, calm, database, source)
        trust.docket.close()


def in_database(source: Source, server: Server) -> Source:
    """The same rows in a table of PostgreSQL's."""
    engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    whole_table(source).to_sql("persons", engine, index=False)
    engine.dispose()
    return source.model_copy(update={"url": f"{server.url}#persons"})


def same(one: Result, other: Result) -> bool:
    np.testing.assert_allclose(one["model"].params, other["model"].params, rtol=1e-9)
    return bool(one["age"].quantile(0.5) == other["age"].quantile(0.5))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["node north", "superlink", "coordinator", "the study's own process"])
def test_the_study_ends_with_the_same_result(live: Live, victim: str) -> None:
    study = live.study()
    live.wait_for(lambda: live.sums(study) > 1)
    own = live.own()
    assert len(own) == 1
    if victim in live.processes.pids:
        live.kill(victim)
        live.start(victim)
    else:
        os.kill(own[0], signal.SIGKILL)
    killed_at = live.sums(study)
    result = live.trust.job(study).result()
    assert killed_at < live.sums(study), "it was in the middle"
    assert same(result, live.calm)
    assert live.trust.docket.find(study).state == "released"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", OUTAGES)
def test_the_coordinators_database_is_killed(live: Live, seconds: int) -> None:
    study = live.study()
    live.wait_for(lambda: live.sums(study) > 1)
    live.database.kill()
    time.sleep(seconds)
    live.database.start()
    killed_at = live.sums(study)
    assert same(live.trust.job(study).result(), live.calm)
    assert killed_at < live.sums(study), "it was in the middle"
    live.once(study)


@pytest.mark.slow
def test_a_partners_database_is_killed_before_its_rows_are_read(live: Live) -> None:
    live.source.kill()
    study = live.study()
    log = live.processes._log("node north")
    live.wait_for(lambda: "not answered yet, since the source is away" in log.read_text())
    live.source.start()
    assert same(live.trust.job(study).result(), live.calm)
    live.once(study)


@pytest.mark.slow
def test_a_study_that_is_cancelled_while_the_worker_is_down_is_ended_at_the_nodes(live: Live) -> None:
    study = live.study()
    live.wait_for(lambda: live.sums(study) > 1)
    node = live.processes.pids["node south"]
    os.kill(node, signal.SIGSTOP)  # the study comes to no end by itself
    try:
        (own,) = live.own()
        live.kill("coordinator")
        live.wait_for(lambda: not runs(own), 10)  # it does not outlive the worker
        live.trust.docket.cancel(study, "operator")
        assert live.open(study) == sorted(live.trust.partners)
        assert study in live.trust.docket.messages.studies()
    finally:
        os.kill(node, signal.SIGCONT)
    live.start("coordinator")
    live.wait_for(lambda: live.open(study) == [] and study not in live.trust.docket.messages.studies(), 40)
