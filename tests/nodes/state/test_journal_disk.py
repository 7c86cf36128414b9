"""The journal on a disk that is full, read-only, damaged or without power: a coded error, or the journal as it was."""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nodes.state.journal import Journal
from nodes.state.store import SqliteStore
from tests.nodes.state.test_journal import Open, at, head_of, write
from tests.support.log_tampering import AT, changed
from trust.logs.merkle import EMPTY
from trust.secure_sum.errors import JournalCorrupt, StoreUnavailable

__all__ = ["at"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 100, 4096, 8000, 16_000, 32_000, 40_000])
def test_a_disk_that_is_full_keeps_nothing_and_recovers_without_hands(at: Open, room: int) -> None:
    store = write(at(), 3)
    before = store.head()
    store.writable()
    with largest_file(room), pytest.raises(StoreUnavailable):
        store.writable()
    with largest_file(min(room, 8000)), pytest.raises(StoreUnavailable), store.transaction() as tx:
        tx.journal("revoked", "s", AT, {"x": "a" * 50_000})
    assert store.head() == before
    store.writable()
    write(store, 1, 3)
    store._journal.verify()


def test_a_database_that_may_not_grow_is_not_writable(at: Open) -> None:
    store = write(at(), 3)
    (pages,) = store.db.execute("PRAGMA page_count").fetchone()
    store.db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable) as full:
        store.writable()
    assert "OperationalError" in str(full.value)
    store.db.execute(f"PRAGMA max_page_count={pages + 50}")
    store.writable()
    assert store.head()[0] == 3


def test_what_proves_that_it_can_be_written_stays_nowhere(at: Open) -> None:
    store = at()
    store.writable()
    (pages,) = store.db.execute("PRAGMA page_count").fetchone()
    for _ in range(5):
        store.writable()
    assert store.db.execute("SELECT count(*) FROM probe").fetchone() == (0,)
    assert store.db.execute("PRAGMA page_count").fetchone() == (pages,)
    assert store.head() == (0, EMPTY)


def test_a_database_that_another_process_holds_is_unavailable(at: Open, tmp_path: Path) -> None:
    store = at()
    store.db.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(tmp_path / "a" / "state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            store.writable()
        other.execute("ROLLBACK")
    store.writable()


def test_a_connection_that_may_only_read_is_not_writable(at: Open) -> None:
    store = write(at(), 2)
    store.db.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreUnavailable):
        store.writable()
    with pytest.raises(StoreUnavailable):
        store.journal("revoked", "s", AT, {})
    assert store.head()[0] == 2


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """As a user whom rights bind, the owner of `folder`: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_only_be_read_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(SqliteStore(folder / "a", durable=False), 2).close()
        with as_nobody(folder):
            SqliteStore(folder / "a", durable=False).close()  # so far it may be written
            for path in (folder / "a" / "state.sqlite", folder / "a" / "uploads", folder / "a"):
                path.chmod(0o500)
            with pytest.raises(StoreUnavailable, match="expected a folder that can be written"):
                SqliteStore(folder / "a", durable=False)
            (folder / "a").chmod(0o700)
            (folder / "a" / "uploads").chmod(0o700)


def test_a_file_of_a_newer_version_does_not_open(at: Open, tmp_path: Path) -> None:
    write(at(), 2).close()
    changed(tmp_path / "a" / "state.sqlite", lambda db, _: db.execute("PRAGMA user_version=2"), 0)
    with pytest.raises(StoreUnavailable, match="a state of version 2; expected version 1 or older"):
        at()


@pytest.mark.slow
def test_flipped_bytes_are_found_or_change_nothing(tmp_path: Path) -> None:
    """Bytes all over the file, two at a time; an error is ours, and a store that opens has the journal as it was."""
    store = write(SqliteStore(tmp_path / "a", durable=False), 30)
    head = head_of(store)
    store.close()
    whole = (tmp_path / "a" / "state.sqlite").read_bytes()
    outcomes = {"opened": 0, "corrupt": 0, "unavailable": 0}
    for place in range(0, len(whole), 61):
        raw = bytearray(whole)
        raw[place] ^= 0xFF
        raw[(place * 7 + 13) % len(raw)] ^= 0x01
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "state.sqlite").write_bytes(raw)
        try:
            opened = SqliteStore(folder, durable=False)
        except JournalCorrupt:
            outcomes["corrupt"] += 1
            continue
        except StoreUnavailable:
            outcomes["unavailable"] += 1
            continue
        opened.extends(head)
        assert len(list(Journal(opened.db).entries())) == 30
        opened.close()
        outcomes["opened"] += 1
    assert min(outcomes.values()) > 5, outcomes


def test_each_prefix_of_the_write_ahead_log_gives_a_journal_or_an_error(tmp_path: Path) -> None:
    """What a loss of power leaves, the last record torn: an earlier journal whole, never a broken one."""
    store = write(SqliteStore(tmp_path / "a", durable=False), 2)
    store.db.execute("PRAGMA wal_autocheckpoint=0")
    heads = {store.head()}
    for number in range(2, 5):
        store.db.execute("BEGIN IMMEDIATE")
        store.journal("sum-contributed", "s", AT, {"r": number})
        store.db.execute("COMMIT")
        heads.add(store.head())
    main, log = ((tmp_path / "a" / name).read_bytes() for name in ("state.sqlite", "state.sqlite-wal"))
    store.close()
    seen = set()
    for end in {*range(0, len(log), 509), len(log)}:
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / "state.sqlite").write_bytes(main)
        (folder / "state.sqlite-wal").write_bytes(log[:end])
        opened = SqliteStore(folder, durable=False)
        seen.add(opened.head())
        opened.close()
    assert seen == heads
