"""The operator's guide and the incident page, typed word for word in namespaces that are machines and an office."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import datatrust as dt
from tests.support import guide
from tests.support import guide_machines as hospitals_there
from tests.support.guide import Typed
from tests.support.guide_machines import ADDRESSES, PERSONS, opted_out, tables
from tests.support.guide_run import Follower
from tests.support.machines import needed

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
PARTNERS = ("north", "south", "east")
URL = "--url https://coordinator.trust.example:8443"
ANALYSES = {
    "table": dt.Describe(["age", "systolic"]),
    "risk": dt.Glm("disease ~ age + sex + smoker", family="binomial"),
}
"""As the guide's study.py has them."""
_PATIENCE = 120.0


@dataclass
class Watched:
    """What nodes were seen to listen at and to be connected with, looked at again and again."""

    follower: Follower
    listens: set[str] = field(default_factory=set)
    peers: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """In a thread of its own, until `over`."""
        while not self.over.wait(1.0):
            for name in (*PARTNERS, "west"):
                machine = self.follower.machines.machines[name]
                for kind in ("-lt", "-lu"):
                    self.listens |= {line[3].rpartition(":")[0] for line in machine.sockets(kind)}
                self.peers |= {line[4].rpartition(":")[0] for line in machine.sockets("-t state connected")}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """The machines, and somebody who looks at the nodes' sockets."""
    needed()
    with hospitals_there.built() as made:
        looking = Watched(Follower(made, PERSONS))
        thread = threading.Thread(target=looking.look, daemon=True)
        thread.start()
        try:
            yield looking
        finally:
            looking.over.set()
            thread.join(10)


def follow(watched: Watched, page: str) -> None:
    begun = time.monotonic()
    for step in guide.read(DOCS / page):
        watched.follower.follow(step)
    print(f"{page}: {time.monotonic() - begun:.0f} s")


def released(watched: Watched, number: str) -> dict[str, Any]:
    """What `datatrust study result --json` prints of a study: analysis -> values."""
    command = f"datatrust study result {number} {URL} --key keys/lab-1 --wait {_PATIENCE:.0f} --json 2>said.txt"
    done = watched.follower.run("lab-1", Typed(command))
    assert done.code == 0, (watched.follower.folder("lab-1") / "said.txt").read_text()
    return {name: one["values"] for name, one in json.loads(done.text)["results"].items()}


def pooled(watched: Watched, partners: Sequence[str] = PARTNERS) -> dict[str, pd.DataFrame]:
    return {name: frame for name, frame in tables(watched.follower.machines.base / "again").items() if name in partners}


def in_one_process(watched: Watched, frames: Mapping[str, pd.DataFrame], analyses: Mapping[str, Any]) -> Any:
    """The result of the same study by `dt.local`."""
    sources = {n: dt.Source(frame, opt_out=list(frame["patient"][opted_out(frame)])) for n, frame in frames.items()}
    local = dt.local(sources, watched.follower.folder("member-1") / "dataset.yaml")
    return local.study("The same", purpose="AcademicResearch", cohort="age >= 40", analyses=analyses).run()


def close(one: Any, other: Any) -> None:
    """The same names and texts, and equal numbers, relative 1e-9."""
    assert one.keys() == other.keys()
    for name in one:
        mine, theirs = np.array(one[name]), np.array(other[name])
        if mine.dtype.kind in "US":
            assert list(mine) == list(theirs), name
        else:
            numbers = mine.astype(float), theirs.astype(float)
            np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-12, err_msg=name)


def follow_the_guide(watched: Watched) -> None:
    """Its result equals pandas' and statsmodels' on the pooled rows, and that of a trust in one process."""
    follow(watched, "operate.md")
    found = released(watched, "2026-0001")

    frames = pooled(watched)
    same = in_one_process(watched, frames, ANALYSES)
    for name, one in same.to_dict()["results"].items():
        close(found[name], one["values"])

    rows = pd.concat([frame[~opted_out(frame)] for frame in frames.values()])
    rows = rows[rows["age"] >= 40]
    rows = rows.assign(disease=rows["disease"].astype(float))
    complete = rows.dropna(subset=["smoker"]).astype({"smoker": bool})
    fit = smf.logit("disease ~ age + sex + smoker", complete).fit(disp=0, tol=1e-14, maxiter=100)
    risk: Any = same["risk"]
    for mine, theirs in ((risk.params, fit.params), (risk.bse, fit.bse)):
        np.testing.assert_allclose(mine, theirs[list(mine.index)], rtol=1e-9)
    table = same["table"].to_frame()[["age", "systolic"]].astype(float)
    expected = rows[["age", "systolic"]].agg(["count", "mean", "std", "var", "sum"])
    np.testing.assert_allclose(table.loc[list(expected.index)], expected, rtol=1e-9)


def nodes_open_no_port_and_reach_nobody_else(watched: Watched) -> None:
    """Seen each second while the guide was followed; the coordinator's ports are the positive control."""
    assert watched.listens == {"127.0.0.1"}, "PostgreSQL and /readyz, on the loopback"
    assert watched.peers == {"127.0.0.1", ADDRESSES["coordinator"]}
    there = watched.follower.machines.machines["coordinator"].sockets("-lt")
    assert {"8443", "9443"} <= {line[3].rpartition(":")[2] for line in there if not line[3].startswith("127.")}


def any_process_may_be_killed_in_the_middle(watched: Watched) -> None:
    """With one study under way: a node, and each of the coordinator's three; only time is lost."""
    follower = watched.follower
    text = (follower.folder("lab-1") / "study.py").read_text()
    for old, new in (
        ("study.json", "study-between.json"),
        ("age + sex + smoker", "age + smoker"),
        (', "systolic"', ""),
    ):
        assert old in text  # another question than before: a partner has come, and the same one would be refused
        text = text.replace(old, new)
    (follower.folder("lab-1") / "study-between.py").write_text(text)
    for command in ("python study-between.py", f"datatrust study submit study-between.json {URL} --key keys/lab-1"):
        assert follower.run("lab-1", Typed(command)).code == 0
    sums = _sums(watched)
    for member in ("member-1", "member-3"):
        done = follower.run(member, Typed(f"datatrust review sign 2026-0002 {URL} --key keys/{member} --yes"))
        assert done.code == 0, done.text

    end = time.monotonic() + _PATIENCE
    while _sums(watched) == sums and time.monotonic() < end:
        time.sleep(0.01)
    north = follower.machines.machines["north"]
    node = north.running.pop("datatrust node run")
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    for part in ("superlink", "worker", "api"):
        ids = json.loads(follower.run("coordinator", Typed("datatrust coordinator status --json")).text)["pids"]
        os.kill(ids[part], signal.SIGKILL)
    at_the_kill = _sums(watched)
    assert follower.run("north", Typed("datatrust node run")).code == 0

    found = released(watched, "2026-0002")
    assert sums < at_the_kill < _sums(watched), "it was in the middle"
    shown = follower.run("lab-1", Typed(f"datatrust study result 2026-0002 {URL} --key keys/lab-1 --json 2>said.txt"))
    partners = json.loads(shown.text)["provenance"]["partners"]
    asked = {"table": dt.Describe(["age"]), "risk": dt.Glm("disease ~ age + smoker", family="binomial")}
    same = in_one_process(watched, pooled(watched, partners), asked)
    for name, one in same.to_dict()["results"].items():
        close(found[name], one["values"])


def follow_the_incident_page(watched: Watched) -> None:
    watched.follower.studies_between = 1  # the one of the killed processes
    follow(watched, "incidents.md")


def _sums(watched: Watched) -> int:
    """How many sums the register has."""
    file = watched.follower.folder("coordinator") / "coordinator" / "coordinator" / "state.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        bodies = [bytes(body) for (body,) in db.execute("SELECT body FROM log")]
    return sum(b'"kind":"sum-record"' in body for body in bodies)


def test_both_pages_word_for_word(watched: Watched) -> None:
    """One test, since each part goes on where the one before has ended."""
    follow_the_guide(watched)
    nodes_open_no_port_and_reach_nobody_else(watched)
    any_process_may_be_killed_in_the_middle(watched)
    follow_the_incident_page(watched)
