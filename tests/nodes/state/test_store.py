"""The store: one transaction or none, secrets gone from the disk, one winner among processes and crashes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import sqlite3
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodes.state import store as store_module
from nodes.state.store import SqliteStore
from tests.support.log_tampering import CHANGES, changed
from tests.support.secure_sum import (
    COORDINATOR,
    MANDATE,
    NOW,
    ROOT,
    federation,
    identity,
    nothing,
    question,
    vector,
    yes,
)
from trust.canonical import canonical
from trust.errors import Refused
from trust.logs.checkpoint import Checkpoint
from trust.secure_sum import party as party_module
from trust.secure_sum.errors import JournalCorrupt, StoreUnavailable
from trust.secure_sum.parameters import Parameters
from trust.secure_sum.party import Party
from trust.signing.envelope import Signer, sign


def _bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_ephemeral_and_pair_keys_are_gone_from_the_disk_after_their_use(make: Any, tmp_path: Path) -> None:
    made = make(3, start=False)
    folder = tmp_path / "federation-0" / "p000"
    ephemeral = made.stores["p000"].study("study-1").ephemeral
    assert ephemeral in _bytes_on_disk(folder)
    made.start()
    assert ephemeral not in _bytes_on_disk(folder)
    keys = made.stores["p000"].study("study-1").keys
    assert all(key in _bytes_on_disk(folder) for key in keys.values())
    made.contribute("p000", question())
    later = made.stores["p000"].study("study-1").keys
    assert not any(key in _bytes_on_disk(folder) for key in keys.values())
    assert all(key in _bytes_on_disk(folder) for key in later.values())
    made.parties["p000"].close("expired", now=NOW)
    assert not any(key in _bytes_on_disk(folder) for key in later.values())


def test_many_pair_keys_are_overwritten_too(make: Any, tmp_path: Path) -> None:
    """300 keys take pages of their own in the file."""
    names = [f"p{i:03d}" for i in range(300)]
    made = make(3)
    store = made.stores["p000"]
    state = store.study("study-1")
    old = {name: hashlib.sha256(name.encode()).digest() for name in names}
    with store.transaction() as tx:
        tx.put_study(replace(state, keys=old))
    with store.transaction() as tx:
        tx.put_study(replace(state, keys={}))
    raw = _bytes_on_disk(tmp_path / "federation-0" / "p000")
    assert not any(key in raw for key in old.values())


def test_only_the_owner_may_read_the_folder(make: Any, tmp_path: Path) -> None:
    made = make(3)
    made.contribute("p000", question())
    folder = tmp_path / "federation-0" / "p000"
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_journal_says_what_left_and_holds_no_secret(make: Any, tmp_path: Path) -> None:
    made, asked = make(3), question()
    before = made.stores["p000"].study("study-1")
    upload = made.contribute("p000", asked)
    db = sqlite3.connect(tmp_path / "federation-0" / "p000" / "state.sqlite")
    rows = db.execute("SELECT seq, leaf, body FROM log ORDER BY seq").fetchall()
    db.close()
    entries = [json.loads(body) for _, _, body in rows]
    assert [entry["kind"] for entry in entries] == ["study-approved", "study-started", "sum-contributed"]
    assert [entry["seq"] for entry in entries] == [0, 1, 2]
    assert all(leaf == hashlib.sha256(b"\0" + body).digest() for _, leaf, body in rows)
    assert entries[2] == {
        "at": "2026-11-24T12:00:01Z",
        "body": {
            "asked": "risk/step",
            "bytes": 32,
            "ctx": upload.ctx.hex(),
            "r": 0,
            "sha256": hashlib.sha256(upload.body).hexdigest(),
        },
        "kind": "sum-contributed",
        "seq": 2,
        "study": "study-1",
        "v": 1,
    }
    assert not any(key.hex() in str(entries) for key in before.keys.values())


def test_a_transaction_that_raises_keeps_nothing_and_the_journal_no_gap(make: Any) -> None:
    made = make(3)
    store = made.stores["p000"]

    def broken() -> None:
        with store.transaction() as tx:
            tx.put_study(tx.study("study-1").closed())
            tx.journal("study-closed", "study-1", "2026-11-24T12:00:01Z", {})
            raise LookupError

    with pytest.raises(LookupError):
        broken()
    assert store.study("study-1").status == "started"
    assert store.head()[0] == 2


def test_a_folder_that_cannot_be_written_and_a_file_that_is_no_database_are_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "file" / "folder")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "state.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable) as wrong:
        SqliteStore(tmp_path / "bad")
    assert "not a database" not in str(wrong.value)


def test_a_stored_upload_that_changed_is_never_sent_again(make: Any) -> None:
    made, asked = make(3), question()
    made.contribute("p000", asked)
    (path,) = (made.stores["p000"].folder / "uploads").iterdir()
    body = bytearray(path.read_bytes())
    body[3] ^= 1
    path.write_bytes(body)
    with pytest.raises(StoreUnavailable):
        made.contribute("p000", asked)
    path.unlink()
    with pytest.raises(StoreUnavailable):
        made.contribute("p000", asked)


def test_a_crash_at_each_line_of_the_transaction_leaves_nothing_or_the_bytes_to_resend(
    make: Any, tmp_path: Path
) -> None:
    """The folder is copied before each line of the store and of `contribute` runs: what a kill there leaves."""
    made, asked = make(3), question()
    others = [made.contribute(name, asked, [10, 20, 30]) for name in made.names[1:]]
    folder, copies = made.stores["p000"].folder, tmp_path / "copies"
    watched = {party_module.__file__, store_module.__file__}
    taken: list[tuple[str, int]] = []

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            shutil.copytree(folder, copies / str(len(taken)))
            taken.append((Path(frame.f_code.co_filename).stem, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        sent = made.contribute("p000", asked)
    finally:
        sys.settrace(before)
    assert len(set(taken)) > 60
    outcomes = []
    for place, line in enumerate(taken):
        store = SqliteStore(copies / str(place), durable=False)
        held = store.contribution("study-1", 0)
        party = Party(made.parameters, "p000", made.identities["p000"], store)
        again = party.contribute(
            asked,
            made.names,
            gate=yes,
            replay=nothing,
            compute=lambda: vector([1, 2, 3], asked.layout),
            now=NOW,
        )
        assert (bytes(again.body), again.sig) == (bytes(sent.body), sent.sig), line
        assert store.study("study-1").epoch == 1, line
        assert len(list((copies / str(place) / "uploads").iterdir())) == 1, line
        outcomes.append(held is not None)
        opening = made.opening(asked)
        for upload in [again, *others]:
            opening.add(upload)
        assert opening.total()[0, :-1].tolist() == [21, 42, 63], line
        store.close()
    assert True in outcomes
    assert False in outcomes
    assert outcomes == sorted(outcomes)


def _contribute(folder: Path, number: int, meeting: Any, answers: Any) -> None:
    """A process of the same node.  Each computes other bytes, as the fill would make them."""
    keys = {f"p{i:03d}": identity(i).public_key() for i in range(3)}
    parameters = Parameters(
        study="study-1", mandate=MANDATE, root=ROOT, partners=keys, m=3, c=1, sums=8, participation="joined"
    )
    store = SqliteStore(folder, durable=False)
    asked = question()

    def compute() -> Any:
        meeting.wait(20)
        return vector([number, 2, 3], asked.layout)

    upload = Party(parameters, "p000", identity(0), store).contribute(
        asked, tuple(keys), gate=yes, replay=nothing, compute=compute, now=NOW
    )
    answers.put((bytes(upload.body), upload.sig))
    store.close()


def test_of_two_processes_at_once_one_wins_and_both_send_its_bytes(tmp_path: Path) -> None:
    made = federation(tmp_path, 3)
    spawn = multiprocessing.get_context("spawn")
    meeting, answers = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=_contribute, args=(tmp_path / "p000", i, meeting, answers)) for i in (100, 200)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(30)
    answers.close()
    answers.join_thread()
    assert got[0] == got[1]
    assert len(list((tmp_path / "p000" / "uploads").iterdir())) == 1
    assert made.stores["p000"].study("study-1").epoch == 1
    assert bytes(made.contribute("p000", question()).body) == got[0][0]
    for store in made.stores.values():
        store.close()


def test_a_durable_store_works_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node")
    keys = {f"p{i:03d}": identity(i).public_key() for i in range(3)}
    parameters = Parameters(study="s", mandate=MANDATE, root=ROOT, partners=keys, m=3, c=1, sums=1)
    party = Party(parameters, "p000", identity(0), store)
    first = party.approve(yes, now=NOW)
    store.close()
    store = SqliteStore(tmp_path / "node")
    assert Party(parameters, "p000", identity(0), store).approve(yes, now=NOW) == first
    settings = [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "secure_delete")]
    assert settings == [2, 1]
    store.close()


def test_a_settled_upload_leaves_the_disk(make: Any) -> None:
    made, asked = make(3), question()
    opening = made.opening(asked)
    for name in made.names:
        opening.add(made.contribute(name, asked))
    made.parties["p000"].settle(opening.record(COORDINATOR)[0], COORDINATOR.public_key(), now=NOW)
    assert not list((made.stores["p000"].folder / "uploads").iterdir())


def test_a_revocation_is_kept_once_and_for_good(make: Any) -> None:
    store, other = make(3).stores["p000"], hashlib.sha256(b"other").digest()
    assert not store.revoked(MANDATE)
    store.put_revocation(MANDATE, b"first")
    store.put_revocation(MANDATE, b"second")
    assert store.revoked(MANDATE)
    assert not store.revoked(other)
    assert store.db.execute("SELECT envelope FROM revocation").fetchall() == [(b"first",)]
    with suppress(LookupError), store.transaction() as tx:
        tx.put_revocation(other, b"undone")
        raise LookupError
    assert not store.revoked(other)


def _root(version: int, *signers: Signer) -> bytes:
    return canonical(sign("root", {"version": version}, *signers).document())


def test_an_accepted_root_never_changes_but_for_its_signatures(make: Any) -> None:
    made = make(3)
    store, one, two = made.stores["p000"], Signer(), Signer()
    assert store.roots() == []
    store.put_root(2, _root(2, one))
    store.put_root(1, _root(1, one))
    store.put_root(2, _root(2, two, one))
    assert store.roots() == [_root(1, one), _root(2, one)]
    with pytest.raises(Refused) as refused:
        store.put_root(2, _root(3, one))
    assert refused.value.rule == "root-pinned"
    assert not store.db.in_transaction
    made.restart("p000")
    assert made.stores["p000"].roots() == [_root(1, one), _root(2, one)]


def test_a_store_with_a_changed_journal_does_not_open_and_nothing_is_computed(make: Any, tmp_path: Path) -> None:
    made = make(3)
    made.contribute("p000", question())
    for name, change in (("p000", "cut off"), ("p001", "edit"), ("p002", "delete")):
        made.stores[name].close()
        changed(made.stores[name].folder / "state.sqlite", CHANGES[change], 1)
        with pytest.raises(JournalCorrupt, match="entry 1 "):
            SqliteStore(made.stores[name].folder, durable=False)
        with pytest.raises(StoreUnavailable):  # closed: no way past the check
            made.contribute(name, question())


def test_every_step_of_a_study_leaves_a_journal_that_holds(make: Any) -> None:
    made = make(3)
    heads = {name: [] for name in made.names}
    opening = made.opening(question())
    for r in range(3):
        for name in made.names:
            upload = made.contribute(name, question(r, b'{"q":%d}' % (r + 1)))
            heads[name].append(Checkpoint("x", *made.stores[name].head()))
            if r == 0:
                opening.add(upload)
    record, _ = opening.record(COORDINATOR)
    for name in made.names:
        made.parties[name].settle(record, COORDINATOR.public_key(), now=NOW)
        made.parties[name].close("expired", now=NOW)
        made.restart(name)
        for head in heads[name]:
            made.stores[name].extends(head)
        assert made.stores[name].head()[0] == 7


def test_a_study_whose_transaction_fails_at_the_journal_leaves_no_trace(make: Any) -> None:
    """The journal's entry is the last write of a step; without it nothing of the step is kept, in memory neither."""
    made = make(3)
    store = made.stores["p000"]
    before, state = store.head(), store.study("study-1")
    store.db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON main.log BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StoreUnavailable):
        made.contribute("p000", question())
    store.db.execute("DROP TRIGGER full")
    assert (store.head(), store.study("study-1"), store.contribution("study-1", 0)) == (before, state, None)
    made.contribute("p000", question())
    store._journal.verify()
    assert store.head()[0] == before[0] + 1


def test_another_owner_of_tables_shares_the_transaction(make: Any) -> None:
    store = make(3).stores["p000"]
    store.db.execute("CREATE TABLE mine (x INTEGER) STRICT")
    with suppress(LookupError), store.transaction() as tx:
        tx.db.execute("INSERT INTO mine VALUES (1)")
        raise LookupError
    assert store.db.execute("SELECT count(*) FROM mine").fetchone() == (0,)
