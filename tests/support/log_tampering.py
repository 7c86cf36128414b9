"""What the tests of journal and register share: the ways of changing a log's tables behind its owner's back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from coordinator.docket.database import open_database
from trust.canonical import canonical
from trust.logs.logbook import _grown
from trust.logs.merkle import Tree, leaf_hash

AT = "2026-11-24T12:00:01Z"
Change = Callable[[sqlite3.Connection, int], object]


def changed(file: Path | str, change: Change, at: int) -> None:
    """Change a database, a SQLite file or one at a URL, as somebody with a shell would; leave no write-ahead log."""
    if isinstance(file, str):
        with closing(open_database(file)) as database:
            change(cast(Any, database), at)
        return
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        change(db, at)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def body(db: sqlite3.Connection, at: int) -> bytes:
    return bytes(db.execute("SELECT body FROM log WHERE seq = ?", (at,)).fetchone()[0])


def another(raw: bytes) -> bytes:
    """The same entry, of another second."""
    return canonical({**json.loads(raw), "at": "2026-11-24T12:00:02Z"})


def edit(db: sqlite3.Connection, at: int) -> None:
    db.execute("UPDATE log SET body = ? WHERE seq = ?", (another(body(db, at)), at))


def edit_with_its_hash(db: sqlite3.Connection, at: int) -> None:
    raw = another(body(db, at))
    db.execute("UPDATE log SET body = ?, leaf = ? WHERE seq = ?", (raw, leaf_hash(raw), at))


def edit_the_hash(db: sqlite3.Connection, at: int) -> None:
    db.execute("UPDATE log SET leaf = ? WHERE seq = ?", (bytes(32), at))


def delete(db: sqlite3.Connection, at: int) -> None:
    db.execute("DELETE FROM log WHERE seq = ?", (at,))


def delete_and_close_up(db: sqlite3.Connection, at: int) -> None:
    delete(db, at)
    for (seq,) in db.execute("SELECT seq FROM log WHERE seq > ? ORDER BY seq", (at,)).fetchall():
        db.execute("UPDATE log SET seq = ? WHERE seq = ?", (seq - 1, seq))


def cut_off(db: sqlite3.Connection, at: int) -> None:
    db.execute("DELETE FROM log WHERE seq >= ?", (at,))


def swap_with_the_first(db: sqlite3.Connection, at: int) -> None:
    """At 0: with the last."""
    other = 0 if at else db.execute("SELECT max(seq) FROM log").fetchone()[0]
    db.execute("UPDATE log SET seq = -1 WHERE seq = ?", (at,))
    db.execute("UPDATE log SET seq = ? WHERE seq = ?", (at, other))
    db.execute("UPDATE log SET seq = ? WHERE seq = -1", (other,))


def insert(db: sqlite3.Connection, at: int) -> None:
    """A copy of the entry before it, the later ones moved up."""
    raw = body(db, at)
    for (seq,) in db.execute("SELECT seq FROM log WHERE seq >= ? ORDER BY seq DESC", (at,)).fetchall():
        db.execute("UPDATE log SET seq = ? WHERE seq = ?", (seq + 1, seq))
    db.execute("INSERT INTO log VALUES (?, ?, ?)", (at, leaf_hash(raw), raw))


def insert_before_the_first(db: sqlite3.Connection, at: int) -> None:
    raw = body(db, at)
    db.execute("INSERT INTO log VALUES (?, ?, ?)", (-1 - at, leaf_hash(raw), raw))


def not_canonical(db: sqlite3.Connection, at: int) -> None:
    raw = body(db, at).replace(b'"at":', b'"at": ')
    db.execute("UPDATE log SET body = ?, leaf = ? WHERE seq = ?", (raw, leaf_hash(raw), at))


def another_kind(db: sqlite3.Connection, at: int) -> None:
    raw = canonical({**json.loads(body(db, at)), "kind": "else"})
    db.execute("UPDATE log SET body = ?, leaf = ? WHERE seq = ?", (raw, leaf_hash(raw), at))


def forget_the_head(db: sqlite3.Connection, at: int) -> None:
    db.execute("DELETE FROM head")


def shorten_the_head(db: sqlite3.Connection, at: int) -> None:
    _head(db, at)


def spoil_the_head(db: sqlite3.Connection, at: int) -> None:
    (peaks,) = db.execute("SELECT peaks FROM head").fetchone()
    db.execute("UPDATE head SET peaks = ?", (bytes(len(peaks)),))


def lengthen_the_head(db: sqlite3.Connection, at: int) -> None:
    db.execute("UPDATE head SET size = size + 1")


CHANGES: dict[str, Change] = {
    change.__name__.replace("_", " "): change
    for change in (
        edit,
        edit_with_its_hash,
        edit_the_hash,
        delete,
        delete_and_close_up,
        cut_off,
        swap_with_the_first,
        insert,
        insert_before_the_first,
        not_canonical,
        another_kind,
        forget_the_head,
        shorten_the_head,
        spoil_the_head,
        lengthen_the_head,
    )
}
"""Each with the entry that it is done to."""


def _head(db: sqlite3.Connection, size: int) -> None:
    """The head of the first `size` entries as they are now."""
    peaks = b""
    for seq, (leaf,) in enumerate(db.execute("SELECT leaf FROM log ORDER BY seq LIMIT ?", (size,))):
        peaks = _grown(seq, peaks, leaf)
    db.execute("UPDATE head SET size = ?, peaks = ?", (size, peaks))


def write_anew(db: sqlite3.Connection, at: int) -> None:
    """Entry `at` is another, and everything else fits: hashes and head."""
    edit_with_its_hash(db, at)
    _head(db, db.execute("SELECT count(*) FROM log").fetchone()[0])


def shorten(db: sqlite3.Connection, at: int) -> None:
    """All from entry `at` on is gone, and the head fits."""
    cut_off(db, at)
    _head(db, at)


def tree(file: Path | str) -> Tree:
    """The tree over what the table holds."""
    with closing(open_database(file) if isinstance(file, str) else sqlite3.connect(file)) as db:
        return Tree(leaf_hash(raw) for (raw,) in db.execute("SELECT body FROM log ORDER BY seq"))
