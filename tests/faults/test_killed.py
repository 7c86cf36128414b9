"""SIGKILL at every write of a study, at nodes and coordinator; started again, it ends with the same result.

Nothing left a node that is not in its journal, no sum was answered twice, no study is left without a word.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support.killer import mandated as made
from tests.support.restartable_trust import NAMES
from tests.support.sizes import FULL
from trust.documents.result import read_result
from trust.logs.merkle import Entry

SOME, MORE = 3, 40
"""Writes, on each change and in the slow test; all of them with FULL=1."""
ROOT = Path(__file__).parents[2]


def lives(folder: Path, study: str, points: list[int]) -> list[list[int]]:
    """Each point with the signals that ended its two lives, and the writes of the last."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.support.killer", str(folder), study, *map(str, points)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=1500)
    assert found.returncode == 0, found.stderr[-3000:]
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture(scope="module")
def mandated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A trust with a study whose mandate is in force, and three nodes."""
    base = tmp_path_factory.mktemp("trust")
    return base / "state", made(base)


def values(folder: Path, study: str) -> dict[str, dict[str, object]]:
    return read_result((folder / "results" / f"{study}.json").read_bytes())[1].values()  # type: ignore[return-value]


def same(one: Path, other: Path, study: str) -> bool:
    here, there = values(one, study), values(other, study)
    return all(
        np.allclose(
            np.asarray(here[a][k], dtype=float), np.asarray(there[a][k], dtype=float), rtol=1e-12, equal_nan=True
        )
        for a in there
        for k in there[a]
        if np.asarray(there[a][k]).dtype.kind in "if"
    )


def entries(file: Path) -> list[Entry]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        return [Entry.model_validate(json.loads(body)) for (body,) in db.execute("SELECT body FROM log ORDER BY seq")]


def invariants(folder: Path, study: str, sums: int) -> None:
    """What must hold after the study, whatever was killed on the way."""
    for name in NAMES:
        journal = Counter(e.kind for e in entries(folder / "nodes" / name / "state.sqlite") if e.study == study)
        assert journal["sum-contributed"] == sums, "a sum is answered once"
        assert journal["study-started"] == journal["study-closed"] == 1
        with sqlite3.connect(folder / "nodes" / name / "state.sqlite") as db:
            assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)
            assert db.execute("SELECT status FROM study").fetchall() == [("closed",)]
    register = Counter(e.kind for e in entries(folder / "coordinator" / "state.sqlite") if e.study == study)
    assert (register["release"], register["sum-record"], register["refusal"]) == (1, sums, 0)


@pytest.fixture(scope="module")
def calm(mandated: tuple[Path, str]) -> tuple[Path, int, int]:
    """The study without a fault: its folder, how many writes it has, and how many sums."""
    folder, study = mandated
    ((_, ended, _, writes),) = lives(folder, study, [0])
    assert ended == 0
    calm = folder.with_name("at-0")
    sums = sum(e.kind == "sum-record" for e in entries(calm / "coordinator" / "state.sqlite"))
    invariants(calm, study, sums)
    return calm, writes, sums


def kill_and_go_on(mandated: tuple[Path, str], calm: tuple[Path, int, int], points: range) -> None:
    folder, study = mandated
    for at, first, again, _ in lives(folder, study, list(points)):
        state = folder.with_name(f"at-{at}")
        assert (first, again) == (signal.SIGKILL, 0), f"write {at}"
        assert same(state, calm[0], study), f"write {at}"
        invariants(state, study, calm[2])
        shutil.rmtree(state)


def test_there_are_many_writes(calm: tuple[Path, int, int]) -> None:
    assert calm[1] > 200
    assert calm[2] >= 4


def test_killed_at_some_writes(mandated: tuple[Path, str], calm: tuple[Path, int, int]) -> None:
    kill_and_go_on(mandated, calm, range(3, calm[1] + 1, calm[1] // SOME))


@pytest.mark.slow
def test_killed_at_each_write(mandated: tuple[Path, str], calm: tuple[Path, int, int]) -> None:
    kill_and_go_on(mandated, calm, range(1, calm[1] + 1, 1 if FULL else calm[1] // MORE))
