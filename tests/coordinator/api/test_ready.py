"""/readyz of the interface where docket and register can be read and not written: 503, and 200 again without hands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import coordinator.docket.database
from coordinator.api import dockets as desk
from tests.support.coordinator_at_work import CoordinatorAtWork, opened
from tests.support.failing_disk import Failing


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Failing]:
    """The coordinator's, which may fail."""
    with Failing(tmp_path / "coordinator", failing=1 << 30).watched() as disk:
        yield disk


@pytest.fixture
def world(tmp_path: Path, disk: Failing, monkeypatch: pytest.MonkeyPatch) -> Iterator[CoordinatorAtWork]:
    monkeypatch.setattr(coordinator.docket.database, "_LOCK_SECONDS", 0.05)
    monkeypatch.setattr(desk, "_PROOF_SECONDS", 0.0)
    with opened(tmp_path / "coordinator") as world:
        yield world


def wrong(world: CoordinatorAtWork) -> list[tuple[str, str]]:
    answer = world.send("GET", "/readyz")
    found = [(one["check"], one["text"]) for one in answer.json() if not one["ok"]]
    assert answer.status_code == (503 if found else 200)
    return found


CANNOT = [("database", "docket and register cannot be written")]


def test_a_database_that_another_process_holds(world: CoordinatorAtWork) -> None:
    assert wrong(world) == []
    with closing(sqlite3.connect(world.folder / "coordinator" / "state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert wrong(world) == CANNOT
        assert world.send("GET", "/v1/trust").status_code == 200, "what is public can still be read"
        other.execute("ROLLBACK")
    assert wrong(world) == []


def test_a_disk_that_fails(world: CoordinatorAtWork, disk: Failing) -> None:
    assert wrong(world) == []
    head = world.docket.register.head()
    disk.at = disk.seen + 1
    assert wrong(world) == CANNOT
    disk.at = 0
    assert wrong(world) == []
    world.docket.register.verify()
    assert world.docket.register.head() == head, "the proof is not an entry"


def test_it_is_tried_once_in_a_while_whoever_asks(
    world: CoordinatorAtWork, disk: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrong(world) == []
    monkeypatch.setattr(desk, "_PROOF_SECONDS", 60.0)
    before = disk.seen
    for _ in range(5):
        assert wrong(world) == []
    assert disk.seen == before
