"""Studies at the same time over the same nodes: each has the result that it has alone, and that of the pooled rows."""

from __future__ import annotations

import queue
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out
from coordinator.study.replay import Replay
from datatrust.demo.deployment import _toml
from nodes.rows.editions import EditionKeeper
from nodes.rows.from_database import DatabaseTable
from nodes.rows.source import as_source
from nodes.rows.table import SourceFingerprint
from nodes.settings import NodeSettings
from nodes.study.sessions import Sessions
from tests.faults.test_killed import entries
from tests.support.example import small_trust
from tests.support.restartable_trust import DATASET, frame
from tests.support.sizes import FULL
from trust.documents.result import read_result, write_envelope

SIZES = [(4, 5), *([(10, 20)] if FULL else [])]
AT_ONCE = 16
"""Studies that a node takes part in at once."""


def edges(number: int) -> list[int]:
    """Of the histogram in question `number`, where it has one."""
    return {0: [0, 20, 60, 100], 4: [0, 50, 100]}.get(number, [0, 2 * number, 100])


def questions(count: int) -> list[dict[str, Any]]:
    """Different ones, with one sum and with several."""
    found: list[dict[str, Any]] = [
        {"h": dt.Histogram("x", edges=edges(0))},
        {"r": dt.Glm("y ~ x", family="binomial")},
        {"g": dt.Glm("x ~ y", family="gaussian")},
        {"d": dt.Describe(["x"])},
        {"h": dt.Histogram("x", edges=edges(4)), "d": dt.Describe(["x"], by=["y"])},
    ]
    return [*found, *({"h": dt.Histogram("x", edges=edges(n))} for n in range(len(found), count))][:count]


class Nodes:
    """Each node in a thread of its own, one message at a time, as its process is."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._boxes: dict[str, queue.Queue[tuple[bytes, Future[bytes]] | None]] = {n: queue.Queue() for n in names}
        self.most: Counter[str] = Counter()
        self.told: list[str] = []
        self._threads = [threading.Thread(target=self._serve, args=(folder, name), daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    def _serve(self, folder: Path, name: str) -> None:
        node = NodeSettings(folder, name).node()
        sessions = Sessions(node, tell=lambda event: self.told.append(str(event)))
        while (asked := self._boxes[name].get()) is not None:
            asked[1].set_result(sessions.handle(asked[0]))
            self.most[name] = max(self.most[name], len(sessions))
        node.store.close()

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        waiting: dict[str, Future[bytes]] = {name: Future() for name in messages}
        for name, raw in messages.items():
            self._boxes[name].put((raw, waiting[name]))
        return {name: answer.result(120) for name, answer in waiting.items()}

    def end(self) -> None:
        for box in self._boxes.values():
            box.put(None)
        for thread in self._threads:
            thread.join(30)


class FiledStudies:
    """A trust with these studies, each of which waits for nothing but a worker."""

    def __init__(self, base: Path, partners: int, studies: int) -> None:
        self.names = [f"p{n}" for n in range(partners)]
        self.frames = {name: frame(seed) for seed, name in enumerate(self.names)}
        sources = {}
        for name, table in self.frames.items():
            table.to_csv(base / f"{name}.csv", index=False)
            sources[name] = base / f"{name}.csv"
        trust = small_trust(sources, DATASET, state=base / "state")
        self.folder, self.studies = base / "state", list[str]()
        for asked in questions(studies):
            job = trust.study("many", purpose="AcademicResearch", analyses=asked).submit()
            trust.docket.sign(job.id, trust._keys.signed(trust.docket.find(job.id).mandate))
            self.studies.append(job.id)
        for name, path in sources.items():
            (self.folder / "nodes" / name / "source.toml").write_bytes(_toml(as_source(path)))

    @contextmanager
    def nodes(self) -> Iterator[Nodes]:
        nodes = Nodes(self.folder, self.names)
        try:
            yield nodes
        finally:
            nodes.end()
            print(*(line for line in nodes.told if "because" in line), sep="\n")  # shown where the test fails

    def carry(self, study: str, nodes: Nodes) -> dict[str, dict[str, Any]]:
        """As a worker's process does, with a docket of its own."""
        settings = CoordinatorSettings(self.folder)
        docket = settings.docket()
        try:
            assert docket.leases.acquire(study, study, 60)
            replay = Replay(docket, study, nodes, threading.Event())
            carried = carry_out(docket, settings.identity, study, nodes, replay=replay)
            docket.leases.release(study, study)
        finally:
            docket.close()
        return read_result(write_envelope(carried.envelope))[1].values()  # type: ignore[return-value]

    def pooled(self) -> pd.DataFrame:
        return pd.concat(self.frames.values())


def test_the_first_studies_of_a_database_share_an_edition(tmp_path: Path) -> None:
    """Of a database nobody can tell that it has not changed: it is read once for those that begin side by side."""
    with sqlite3.connect(tmp_path / "t.db") as db:
        frame(1).to_sql("t", db, index=False)
    source = dt.Source(f"sqlite:///{tmp_path / 't.db'}#t")
    made = EditionKeeper(tmp_path / "editions", dt.Dataset.parse(DATASET), persons=5)
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseTable, "fingerprint", lambda *_: SourceFingerprint())  # as of PostgreSQL
        first, second = (made.freeze(source, ["x"], None, now=at) for _ in range(2))
        assert second.edition is first.edition
        made.keep(second)
        made.keep(first)
        assert first.number == second.number == 1
        other = EditionKeeper(tmp_path / "other", made.dataset, persons=5)
        taken = weakref.ref(other.freeze(source, ["x"], None, now=at).edition)  # the control: its study was refused
        again = other.freeze(source, ["x"], None, now=at)
        assert taken() is not again.edition


def same(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        for key, value in one[name].items():
            here, there = np.asarray(value), np.asarray(other[name][key])
            if here.dtype.kind in "if":
                np.testing.assert_allclose(here, there, rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize(("partners", "studies"), SIZES)
def test_at_once_as_one_after_another_as_pooled(tmp_path: Path, partners: int, studies: int) -> None:
    found: list[list[dict[str, dict[str, Any]]]] = []
    for at_once in (1, min(studies, AT_ONCE)):
        base = tmp_path / str(at_once)
        base.mkdir()
        world = FiledStudies(base, partners, studies)
        with world.nodes() as nodes, ThreadPoolExecutor(at_once) as pool:
            found.append(list(pool.map(lambda study, w=world, n=nodes: w.carry(study, n), world.studies)))
            most = min(nodes.most.values())
        assert (most == 1) if at_once == 1 else (most > 1), "the control: they were side by side, or not"
        for name in world.names:
            journal = entries(world.folder / "nodes" / name / "state.sqlite")
            asked = Counter((e.study, e.body["r"]) for e in journal if e.kind == "sum-contributed")
            assert max(asked.values()) == 1
            assert Counter(e.study for e in journal if e.kind == "study-closed") == dict.fromkeys(world.studies, 1)
        register = entries(world.folder / "coordinator" / "state.sqlite")
        assert Counter(e.study for e in register if e.kind == "release") == dict.fromkeys(world.studies, 1)
        assert not any(e.kind == "refusal" for e in register)
    for alone, beside in zip(*found, strict=True):
        same(alone, beside)
    pooled = world.pooled()
    for number, values in enumerate(found[1]):
        if "h" in values:
            np.testing.assert_array_equal(values["h"]["counts"], np.histogram(pooled.x, edges(number))[0])
        if "g" in values:
            design = np.column_stack([np.ones(len(pooled)), pooled.y.astype(float)])
            exact = np.linalg.lstsq(design, pooled.x.astype(float), rcond=None)[0]
            np.testing.assert_allclose(values["g"]["params"], exact, rtol=1e-8)
