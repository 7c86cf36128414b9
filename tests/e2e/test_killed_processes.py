"""Any one process is killed in the middle of a study and started again, as by a service manager: only time is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import datatrust as dt
from datatrust.client import Result
from datatrust.demo.hospitals import COHORT, write
from datatrust.demo.question import CHARTER, PURPOSE
from datatrust.deployment import DeployedTrust, Processes
from trust.charter import Charter
from trust.dataset import Dataset

_PATIENCE = 120.0
ASKED = {
    "model": dt.Glm("disease ~ age + sex + smoker", family="binomial"),
    "age": dt.Quantiles(["age"], [0.25, 0.5]),
}


@dataclass
class Live:
    trust: DeployedTrust
    processes: Processes
    calm: Result

    def study(self) -> str:
        job = self.trust.study("Killed", purpose=PURPOSE, cohort=COHORT, analyses=ASKED).submit()
        self.trust.docket.sign(job.id, self.trust._keys.signed(self.trust.docket.find(job.id).mandate))
        return job.id

    def sums(self, study: str) -> int:
        return sum(e.kind == "sum-record" and e.study == study for e in self.trust.docket.register.entries())

    def start(self, name: str) -> None:
        """As it was started the first time."""
        folder, address = str(self.processes._folder), self.processes.address
        if name == "superlink":
            host, _, port = address.rpartition(":")
            engine = str(Path(folder) / "coordinator" / "engine")
            self.processes._start(name, "coordinator.superlink", engine, host, port)
        elif name == "coordinator":
            self.processes._start(name, "coordinator.worker", folder, address)
        else:
            self.processes._start(name, "nodes.serve", folder, name.partition(" ")[2], address)


def children(pid: int) -> list[int]:
    """Process ids of whom it has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("killed")
    written = write(home / "data")
    trust = DeployedTrust.founded(
        home / "trust", Dataset.load(written.dataset), Charter.load(CHARTER), written.sources()
    )
    with Processes(home / "trust", trust.partners, home / "logs", lambda event: None) as processes:
        calm = trust.study("Calm", purpose=PURPOSE, cohort=COHORT, analyses=ASKED).run()
        yield Live(trust, processes, calm)
    trust.docket.close()


def same(one: Result, other: Result) -> bool:
    np.testing.assert_allclose(one["model"].params, other["model"].params, rtol=1e-9)
    return bool(one["age"].quantile(0.5) == other["age"].quantile(0.5))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["node north", "superlink", "coordinator", "the study's own process"])
def test_the_study_ends_with_the_same_result(live: Live, victim: str) -> None:
    study = live.study()
    end = time.monotonic() + _PATIENCE
    while live.sums(study) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    if victim in live.processes.pids:
        os.kill(live.processes.pids[victim], signal.SIGKILL)
        live.processes._running[victim].wait()
        live.start(victim)
    else:
        (own,) = [own for each in children(live.processes.pids["coordinator"]) for own in children(each)]
        os.kill(own, signal.SIGKILL)
    killed_at = live.sums(study)
    result = live.trust.job(study).result()
    assert killed_at < live.sums(study), "it was in the middle"
    assert same(result, live.calm)
    assert live.trust.docket.find(study).state == "released"
