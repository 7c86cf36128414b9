"""The power fails: at every moment of what was written, the last record torn, nodes and coordinator open again.

What was committed is there; what was not has not happened; nothing is shorter without a word.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nodes.rows.edition_files
from coordinator.docket.docket import Docket
from coordinator.study.conductor import Coordinator, conduct
from nodes.rows.editions import EditionKeeper
from nodes.rows.source import as_source
from nodes.state.store import SqliteStore
from tests.support.committee import CHARTER, DATASET, KEYS, LAY, NAME, NOW, SECOND, signed
from tests.support.disk_recorder import Commit, Files, contents, frames, put, recording
from tests.support.restartable_trust import ASKED, Disturbed, RestartableTrust
from tests.support.restartable_trust import DATASET as MANY
from tests.support.sizes import FULL
from trust.dataset.dataset import Dataset
from trust.documents.filed_study import TrustDocuments
from trust.errors import Fault, Refused
from trust.logs.checkpoint import Checkpoint
from trust.secure_sum.errors import JournalCorrupt, StateRolledBack

STEP = 1 if FULL else 1021
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


# ---- the node's store


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Commit, tuple[int, bytes], dict[str, bytes]]]:
    """Each commit of a node's store in a whole study, the journal's head after it, and the uploads that were synced."""
    places = RestartableTrust(tmp_path_factory.mktemp("power"))
    folder = places.node("b").store.folder
    found: list[tuple[Commit, tuple[int, bytes], dict[str, bytes]]] = []
    uploads = Files(folder / "uploads")

    def told(db: sqlite3.Connection, commit: Commit) -> None:
        size = db.execute("SELECT size FROM head").fetchone()[0]
        with closing(SqliteStore(put({"state.sqlite": commit.main, "state.sqlite-wal": commit.log}, spare()))) as copy:
            assert copy.head()[0] == size
            found.append((commit, copy.head(), {**uploads.synced}))
        kept = {row[0].hex() for row in db.execute("SELECT sha256 FROM contribution WHERE kept = 1")}
        assert kept <= uploads.synced.keys(), "an upload is on the disk before it counts"
        assert not {name for name in uploads.unsynced if Path(name).name in kept}, "and under its name"

    def spare() -> Path:
        return tmp_path_factory.mktemp("copy")

    with recording(folder / "state.sqlite", told), uploads.watched():
        places.start("b")
        _, study, mandate, planned = places.study(asked=ASKED)
        conduct(
            Coordinator(places.of.keys.coordinator, places.of.keys.root), study, mandate, planned, Disturbed(places)
        )
    assert max(head[0] for _, head, _ in found) > 12
    return found


def opened(folder: Path, main: bytes, log: bytes) -> tuple[int, bytes]:
    """The journal's head of a store that was put there; it has verified the journal."""
    with closing(SqliteStore(put({"state.sqlite": main, "state.sqlite-wal": log}, folder))) as store:
        return store.head()


def test_a_node_opens_after_every_write_and_has_what_was_committed(
    history: list[tuple[Commit, tuple[int, bytes], dict[str, bytes]]], tmp_path: Path
) -> None:
    before, seen = history[0][1], set()
    for number, (commit, head, _) in enumerate(history[1:]):
        ends = frames(commit.log, 0, STEP)
        for at in ends if FULL else ends[number % 4 :: 4]:
            found = opened(tmp_path / f"{number}-{at}", commit.main, commit.log[:at])
            assert found in (before, head), (number, at)
            seen.add(found)
        assert opened(tmp_path / f"{number}", commit.main, commit.log) == head, "what was synced is there"
        before = head
    assert len(seen) > 12


def test_a_node_opens_when_its_log_was_half_written_back(
    history: list[tuple[Commit, tuple[int, bytes], dict[str, bytes]]], tmp_path: Path
) -> None:
    for number, ((commit, head, _), (following, _, _)) in enumerate(pairwise(history)):
        old, new = commit.main, following.main
        pages = range(0, max(len(old), len(new)), 4096)
        changed = [at for at in pages if old[at : at + 4096] != new[at : at + 4096]]
        for upto in range(len(changed) + 1):
            half = bytearray(old.ljust(max(len(old), len(new)), b"\0"))
            for at in changed[:upto]:
                half[at : at + 4096] = new[at : at + 4096]
            if upto and not FULL:  # the last page torn in the middle
                half[changed[upto - 1] + 2048 : changed[upto - 1] + 4096] = b"\0" * 2048
            assert opened(tmp_path / f"{number}-{upto}", bytes(half), commit.log) == head, (number, upto)


def test_a_store_that_has_lost_a_synced_commit_is_told_by_the_register(
    history: list[tuple[Commit, tuple[int, bytes], dict[str, bytes]]], tmp_path: Path
) -> None:
    """The control: a disk that lies about its syncs, or a restored copy.  The head that the register has tells."""
    commit, head, _ = history[-1]
    with closing(SqliteStore(put({"state.sqlite": commit.main, "state.sqlite-wal": b""}, tmp_path / "short"))) as store:
        assert store.head()[0] < head[0]
        with pytest.raises(StateRolledBack, match=f"expected the {head[0]} of its register"):
            store.extends(Checkpoint("x", *head))
    main = bytearray(commit.main)
    with sqlite3.connect(put({"state.sqlite": bytes(main)}, tmp_path / "cut") / "state.sqlite") as db:
        db.execute("DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
    with pytest.raises(JournalCorrupt):
        SqliteStore(tmp_path / "cut")


def test_both_wait_for_the_disk(tmp_path: Path) -> None:
    """Without it none of the above says anything: 2 is FULL."""
    with closing(SqliteStore(tmp_path / "node")) as store:
        assert store.db.execute("PRAGMA synchronous").fetchone() == (2,)
    with closing(docket(tmp_path / "coordinator")) as opened:
        assert opened._db.execute("PRAGMA synchronous").fetchone() == (2,)


# ---- the coordinator's docket


def docket(folder: Path) -> Docket:
    trust = TrustDocuments(roots=(KEYS.envelope,), dataset=DATASET, charter=CHARTER)
    return Docket(folder, trust, KEYS.coordinator, lambda: NOW)


def stands(folder: Path) -> tuple[Any, ...]:
    """All that a docket says: register, studies, what was kept; opening has verified the register."""
    with closing(docket(folder)) as opened:
        studies = tuple((filed.id, filed.state, len(filed.signers)) for filed in opened.studies())
        return opened.register.head(), studies, opened.messages.read(NAME, "answers 0"), opened.notes.read(NAME).text


def test_the_docket_opens_after_every_write_and_has_what_was_committed(tmp_path: Path) -> None:
    place, commits = tmp_path / "coordinator", list[Commit]()
    with recording(place / "state.sqlite", lambda _, commit: commits.append(commit)), closing(docket(place)) as desk:
        desk.file(signed())
        for member in (LAY, SECOND):
            desk.sign(NAME, desk.find(NAME).mandate.with_signature(member))
        desk.leases.acquire(NAME, "one", 20)
        desk.move(NAME, "running")
        desk.messages.keep(NAME, "answers 0", b"x" * 20_000)
        desk.publish_once("sum 1", "sum-record", NAME, {"record": {"r": 0}})
        desk.notes.write(NAME, "sum 1")
        desk.released(NAME, {"mandate": "m", "result": "r"})
        desk.refused(NAME, Refused("x", "y"))
        desk.forget(NAME)
    states = [stands(put(_files(commit), tmp_path / f"at-{at}")) for at, commit in enumerate(commits)]
    assert len(set(states)) >= 9
    for number, (last, commit) in enumerate(pairwise(commits)):
        start = len(last.log) if commit.log.startswith(last.log) else 0
        ends = frames(commit.log, start, STEP if FULL else 4096)
        for at in ends if FULL else ends[:: max(1, len(ends) // 6)]:
            cut = Commit(commit.main, commit.log[:at])
            found = stands(put(_files(cut), tmp_path / f"{number}-{at}"))
            assert found in states[number : number + 2], (number, at)


def _files(commit: Commit) -> dict[str, bytes]:
    return {"state.sqlite": commit.main, "state.sqlite-wal": commit.log}


# ---- the node's editions


def rows(folder: Path, start: int) -> Path:
    table = pd.DataFrame({"x": range(start, start + 40), "y": [True, False] * 20})
    table.to_csv(folder / "rows.csv", index=False)
    os.utime(folder / "rows.csv", (start, start))
    return folder / "rows.csv"


def editions(folder: Path) -> EditionKeeper:
    return EditionKeeper(folder, Dataset.parse(MANY), persons=5)


def asked(made: EditionKeeper, source: Path) -> int:
    """The number of the edition that a study gets now, and keeps."""
    taken = made.freeze(as_source(source), ["x"], None, now=AT)
    made.keep(taken)
    return taken.number


@pytest.mark.parametrize("again", [False, True], ids=["the first edition", "the next edition"])
def test_an_edition_is_whole_or_was_never_made(tmp_path: Path, again: bool) -> None:
    folder = tmp_path / "editions"
    folder.mkdir()
    if again:
        assert asked(editions(folder), rows(tmp_path, 0)) == 1
    source = rows(tmp_path, 40 if again else 0)
    files, number = Files(folder), 2 if again else 1
    with files.watched():
        assert asked(editions(folder), source) == number
    gone = {str(folder / "making"), str(folder / "000001.parquet") if again else ""}
    assert files.unsynced <= gone, "what a study is answered from is on the disk before the answer leaves"
    assert len(files.states) > 12
    named = []
    for at, state in enumerate(files.states):
        made = editions(put(state, tmp_path / str(at)))
        made._reload(as_source(source))
        named.append(made._last)
        assert asked(made, source) == number, "it goes on, with the same rows"
        if again:
            assert len(made._tokens(1)) == 40, "who was in the first edition is still known"
    assert named == sorted(named)
    assert set(named) == {number - 1, number}


def test_without_its_syncs_an_edition_could_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(nodes.rows.edition_files, "synced", lambda folder: None)
    (tmp_path / "editions").mkdir()
    files = Files(tmp_path / "editions")
    with files.watched():
        asked(editions(tmp_path / "editions"), rows(tmp_path, 0))
    assert {Path(name).name for name in files.unsynced} >= {"edition.json", "000001.tokens", "key"}


@pytest.mark.parametrize("lost", ["edition.json", "000002.tokens", "000002.parquet", "key"])
def test_an_edition_that_has_lost_a_file_says_how_to_mend_it(tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "editions"
    for start in (0, 20):
        asked(editions(folder), rows(tmp_path, start))
    state = contents(folder)
    del state[lost]
    put(state, tmp_path / "lost")
    with pytest.raises(Fault, match="to fix it: put"):
        _look_back(editions, tmp_path)


def _look_back(made: Callable[[Path], EditionKeeper], folder: Path) -> None:
    """Open what has lost a file, take two more editions, and ask where the persons of the second are in the last."""
    here = made(folder / "lost")
    persons = here.freeze(as_source(rows(folder, 40)), ["x"], None, now=AT).persons
    here.placed(2, persons, here.freeze(as_source(rows(folder, 60)), ["x"], None, now=AT).edition)


def test_an_older_edition_json_beside_newer_tokens_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "editions"
    asked(editions(folder), rows(tmp_path, 0))
    old = (folder / "edition.json").read_bytes()
    asked(editions(folder), rows(tmp_path, 40))
    (folder / "edition.json").write_bytes(old)
    with pytest.raises(Fault, match=r"older than the editions beside it; to fix it: put the last one back"):
        asked(editions(folder), rows(tmp_path, 40))
