"""A Merkle log in two tables of a database: what a node's journal and the coordinator's register have in common.

It stands here, below both, since neither of them may import the other.  It opens nothing: its owner hands it a
connection, opens the transactions and says what a failure of the disk means.

Why it is safe: with each entry, in the same transaction, the row `head` takes the new size and the peaks of the tree:
the roots of its complete subtrees, left to right, which RFC 6962's root folds into one.  So an entry that is edited,
deleted, moved, put in or cut off at the end is found by reading the log again, an append costs one or two hashes,
and nothing is kept in memory that another process or an undone transaction could make wrong.  A log that is written
again as a whole, `head` included, is found only by comparing it with an older signed checkpoint.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from json.encoder import encode_basestring_ascii
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar

from trust.canonical import canonical, parse, read_model
from trust.errors import DataTrustError, InvalidInput, MessageInvalid, Refused
from trust.logs.merkle import EMPTY, Entry, Tree, leaf_hash, node_hash
from trust.times import read_time

__all__ = ["LARGEST_ENTRY_BYTES", "Connection", "Logbook", "prepare"]

LARGEST_ENTRY_BYTES = 1 << 22
"""Bytes of one entry: a study of 1 MiB in its envelope fits."""
_VERSION = 1
"""Of the files that hold a log; SQLite's `user_version`."""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS head ("
    "one INTEGER PRIMARY KEY CHECK (one = 0), size INTEGER NOT NULL, peaks BLOB NOT NULL) STRICT",
    "INSERT INTO head VALUES (0, 0, x'') ON CONFLICT DO NOTHING",
    f"PRAGMA user_version={_VERSION}",
)
_ROWS_AT_ONCE = 1000
_LOWEST = -(1 << 63)
"""Of the numbers that a row can have: what was put in before the first entry is read too."""
_P = ParamSpec("_P")
_T = TypeVar("_T")
_MEND = "keep the file as it is for the trust's auditor; nothing is computed or released on it"


class Connection(Protocol):
    """What is used of a database: of an `sqlite3.Connection` in autocommit mode (`isolation_level=None`), or of
    another database that takes the same statements, `?` for a value, and whose `BEGIN` is of one state of it.
    """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql: str, parameters: tuple[Any, ...] = ..., /) -> Any:
        """Run one statement; a cursor."""


def prepare(db: Connection) -> None:
    """Make the tables of a log where they are missing.  Raises: InvalidInput for a file of a newer version."""
    check_version(db)
    for statement in _SCHEMA:
        db.execute(statement)


def check_version(db: Connection) -> None:
    """Raises: InvalidInput for a file that a newer version of this software has written."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise InvalidInput(
            f"a state of version {version}", expected=f"version {_VERSION} or older", remedy="use a newer datatrust"
        )


def _mapped(method: Callable[Concatenate[Logbook, _P], _T]) -> Callable[Concatenate[Logbook, _P], _T]:
    @functools.wraps(method)
    def inside(log: Logbook, /, *arguments: _P.args, **named: _P.kwargs) -> _T:
        with log.mapped():
            return method(log, *arguments, **named)

    return inside


class Logbook:
    """The log in a connection's tables, called `name` in errors, its entries of these `kinds` only.

    One object a thread.  What the database's driver raises passes through `mapped`, in which every public method runs:
    a subclass says what a failure of the disk means.
    """

    def __init__(self, db: Connection, name: str, kinds: frozenset[str]) -> None:
        self._db, self._name, self._kinds = db, name, kinds
        self._size, self._peaks = 0, b""
        self._tree = Tree()

    def mapped(self) -> AbstractContextManager[Any]:
        """Around each use of the database; here nothing is changed."""
        return nullcontext()

    # ---- writing

    @_mapped
    def append(self, kind: str, study: str, time: str, body: Mapping[str, Any]) -> int:
        """Add an entry; its number, from 0.  The caller has opened the transaction, and commits it.

        Raises: ValueError for a kind that the log does not have, a time or a body that has no canonical form: our own
        mistakes; MessageInvalid for an entry that is too long; Refused (`log-corrupt`) where the head is gone.
        """
        if kind not in self._kinds:
            raise ValueError(f"the {self._name} has no entries of kind {kind!r}")
        if not study.isascii():
            raise ValueError("a study's id is ASCII")
        _check_time(time)
        start = b'{"at":"%b","body":%b,"kind":"%b","seq":' % (time.encode(), canonical(dict(body)), kind.encode())
        end = b',"study":%b,"v":1}' % encode_basestring_ascii(study).encode()
        if len(start) + len(end) + 20 > LARGEST_ENTRY_BYTES:
            raise MessageInvalid(f"an entry of {len(start)} bytes", expected=f"at most {LARGEST_ENTRY_BYTES}")
        for _ in range(2):
            seq, peaks_before = self._size, self._peaks
            entry = b"%b%d%b" % (start, seq, end)
            leaf = leaf_hash(entry)
            peaks_after = _grown(seq, peaks_before, leaf)
            changed = self._db.execute(
                "UPDATE head SET size = ?, peaks = ? WHERE size = ? AND peaks = ?",
                (seq + 1, peaks_after, seq, peaks_before),
            )
            if changed.rowcount == 1:
                self._db.execute("INSERT INTO log VALUES (?, ?, ?)", (seq, leaf, entry))
                self._size, self._peaks = seq + 1, peaks_after
                return seq
            self._size, self._peaks = self._stored()  # another process has written, or a transaction was undone
        return self._corrupt("its head changes while it is written")

    # ---- reading

    @_mapped
    def head(self) -> tuple[int, bytes]:
        """How many entries there are, and the Merkle root over them, 32 bytes."""
        size, peaks = self._stored()
        return size, _folded(peaks)

    @_mapped
    def entry(self, seq: int) -> Entry:
        """Entry `seq`.  Raises: Refused (`log-corrupt`) where there is none."""
        row = self._db.execute("SELECT seq, leaf, body FROM log WHERE seq = ?", (seq,)).fetchone()
        return self._checked(seq, *row) if row else self._corrupt(f"entry {seq} is missing")

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Entries from `start` on, each compared with its leaf hash.  Raises: Refused (`log-corrupt`)."""
        with self.mapped():
            for seq, (row_seq, leaf, body) in enumerate(self._rows(start), start):
                yield self._checked(seq, row_seq, leaf, body)

    @_mapped
    def tree(self) -> Tree:
        """The whole tree, for proofs.  Raises: Refused (`log-corrupt`)."""
        with self._snapshot():
            size, root = self.head()
            if len(self._tree) > size:
                self._tree = Tree()
            self._grow()
            if self._tree.root() != root:  # what was read before is of a transaction that was undone
                self._tree = Tree()
                self._grow()
        if (len(self._tree), self._tree.root()) != (size, root):
            self._corrupt("its entries do not lead to its head")
        return self._tree

    @_mapped
    def verify(self) -> None:
        """Read the log again, every entry of it, and compare it with the head.

        Raises: Refused (`log-corrupt`), which names the first entry that is wrong.
        """
        with self._snapshot():
            size, peaks = self._stored()
            count, grown = 0, b""
            for row_seq, leaf, body in self._rows(_LOWEST):
                self._checked(count, row_seq, leaf, body)
                if count == size:
                    self._corrupt(f"entry {count} is beyond its head")
                count, grown = count + 1, _grown(count, grown, leaf)
        if count < size:
            self._corrupt(f"entry {count} is missing, and all after it: {size} were written")
        if grown != peaks:
            self._corrupt(f"{_first_difference(size, grown, peaks)} is not what was written")

    @_mapped
    def same_up_to(self, size: int, root: bytes) -> bool:
        """Whether the first `size` entries have this root; there are at least so many."""
        now, own_head = self.head()
        if size == now:
            return root == own_head
        peaks = b""
        for seq, (leaf,) in enumerate(self._db.execute("SELECT leaf FROM log WHERE seq < ? ORDER BY seq", (size,))):
            peaks = _grown(seq, peaks, leaf)
        return root == _folded(peaks)

    # ---- inside

    def _stored(self) -> tuple[int, bytes]:
        row = self._db.execute("SELECT size, peaks FROM head").fetchone()
        if row is None or type(row[0]) is not int or row[0] < 0 or type(row[1]) is not bytes:
            self._corrupt("its head is missing or no head")
        if len(row[1]) != 32 * row[0].bit_count():
            self._corrupt("its head is missing or no head")
        return row[0], row[1]

    def _rows(self, start: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Rows in order, a thousand at a time: no statement stays open that would hold up a writer."""
        rows = self._db.execute(
            "SELECT seq, leaf, body FROM log WHERE seq >= ? ORDER BY seq LIMIT ?", (start, _ROWS_AT_ONCE)
        ).fetchall()
        while rows:
            yield from rows
            rows = self._db.execute(
                "SELECT seq, leaf, body FROM log WHERE seq > ? ORDER BY seq LIMIT ?", (rows[-1][0], _ROWS_AT_ONCE)
            ).fetchall()

    def _checked(self, seq: int, row_seq: int, leaf: bytes, body: bytes) -> Entry:
        if row_seq != seq:
            self._corrupt(f"entry {seq} is missing" if row_seq > seq else f"an entry {row_seq} was put in")
        if type(body) is not bytes or leaf_hash(body) != leaf:
            self._corrupt(f"entry {seq} does not have the hash that was kept of it")
        try:
            entry = read_model(Entry, parse(body, largest=LARGEST_ENTRY_BYTES), MessageInvalid, f"entry {seq}")
        except DataTrustError:
            self._corrupt(f"entry {seq} is not an entry in canonical form")
        if entry.seq != seq or entry.kind not in self._kinds:
            self._corrupt(f"entry {seq} is in another's place or of an unknown kind")
        return entry

    def _grow(self) -> None:
        for (leaf,) in self._db.execute("SELECT leaf FROM log WHERE seq >= ? ORDER BY seq", (len(self._tree),)):
            self._tree.append(leaf)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One state of the tables, whatever other processes write meanwhile."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def _corrupt(self, problem: str) -> NoReturn:
        raise Refused("log-corrupt", f"the {self._name} was changed: {problem}", remedy=_MEND)


def _grown(size: int, peaks: bytes, leaf: bytes) -> bytes:
    """The peaks after one more leaf on a tree of `size`: one for each 1 in the binary digits of the new size."""
    while size & 1:
        peaks, leaf, size = peaks[:-32], node_hash(peaks[-32:], leaf), size >> 1
    return peaks + leaf


def _folded(peaks: bytes) -> bytes:
    """The root.  Source: RFC 6962, section 2.1: the left subtree is the largest complete one."""
    if not peaks:
        return EMPTY
    root = peaks[-32:]
    for offset in range(len(peaks) - 64, -1, -32):
        root = node_hash(peaks[offset : offset + 32], root)
    return root


def _first_difference(size: int, actual: bytes, expected_leaves: bytes) -> str:
    """The entries under the first peak that differs."""
    offset = next(
        offset
        for offset in range(0, len(expected_leaves), 32)
        if actual[offset : offset + 32] != expected_leaves[offset : offset + 32]
    )
    widths = [1 << bit for bit in range(size.bit_length() - 1, -1, -1) if size >> bit & 1]
    first, width = sum(widths[: offset // 32]), widths[offset // 32]
    return f"entry {first}" if width == 1 else f"one of the entries {first} to {first + width - 1}"


@functools.lru_cache(maxsize=256)
def _check_time(time: str) -> None:
    """Raises: ValueError for a text that is not a time.  Entries of one second share the answer."""
    try:
        read_time(time)
    except InvalidInput as wrong:
        raise ValueError(str(wrong)) from None
