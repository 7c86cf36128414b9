"""A table that a partner's rows are read from: one protocol, with a class for each kind.

`FrameTable` (a DataFrame), `FileTable` (CSV or Parquet, by DuckDB), `DatabaseTable` (by SQLAlchemy) and, for the copy
that an edition is, `TableInMemory`.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import duckdb
import pandas as pd
import sqlalchemy
from sqlalchemy.sql import ColumnElement

from trust.errors import Fault, SourceInvalid

__all__ = [
    "Condition", "SourceFingerprint", "Table", "TableInMemory",
    "copy_into_memory", "database", "kept_once", "quoted", "require_columns", "text",
]  # fmt: skip

Condition: TypeAlias = Callable[[sqlalchemy.Table, str], ColumnElement[bool] | None]
"""Given the reflected table and the database's kind, which rows are enough; None: all."""
_SETTLED_NS = 2_000_000_000
"""A file that was written to later than this before we looked may be written to again within the same tick."""


class Table(Protocol):
    """Rows under the table's own column names.  No error holds an address, a password or a value."""

    @property
    def kind(self) -> str:
        """In a word, for the partner's engineer: `csv`, `parquet`, `postgresql`."""

    def names(self) -> list[str]:
        """All columns, in order.  Raises: SourceInvalid, Fault."""

    def open(
        self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
    ) -> None:
        """Make the relation `raw` in `connection` with these columns.

        `condition` is for a database: rows that it leaves out need not come.  Raises: SourceInvalid, Fault.
        """

    def fingerprint(self, columns: Sequence[str]) -> SourceFingerprint:
        """What the table looks like now; `columns` are those that count."""

    def is_unchanged(self, since: SourceFingerprint, columns: Sequence[str]) -> bool:
        """Whether it is certain that the rows are those of a fingerprint."""

    def copy(self, names: list[str], needed: list[str]) -> tuple[pd.DataFrame | TableInMemory, SourceFingerprint]:
        """These columns in memory, and what the table looked like before they were read.

        Raises: SourceInvalid where one of the columns `needed` cannot be read, Fault.
        """


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One in-memory engine a process: to start one takes longer than to ask it.

    Rows that do not fit into memory are not written to the working folder, and nothing is fetched from a network.
    """
    return duckdb.connect(
        config={"temp_directory": "", "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )


def database() -> duckdb.DuckDBPyConnection:
    """A connection of its own to the in-memory engine; what is registered or temporary in it is seen by no other."""
    return _engine().cursor()


@dataclass(frozen=True)
class _FileState:
    """A file's identity, size and dates; and a hash of its content where they may not tell."""

    dates: tuple[int, ...]
    content: str


@dataclass(frozen=True)
class SourceFingerprint:
    """What a table looked like, as a proof that it has not changed since: the state of its files, or a copy of it.

    Neither where there is no proof, as of a database that others write to.
    """

    files: tuple[_FileState, ...] | None = None
    frame: pd.DataFrame | None = None

    @classmethod
    def of_files(cls, paths: Iterable[Path], *, whole: bool = False) -> SourceFingerprint:
        """Dates and sizes; content too of a file that is quite new, since a second change within one tick of the clock
        would leave no trace, and where `whole`.
        """
        states = [_state_of(path, whole=whole) for path in paths]
        present = tuple(state for state in states if state is not None)
        return cls(files=present if present and len(present) == len(states) else None)

    @property
    def is_proof(self) -> bool:
        """Whether anything can be told from it."""
        return self.files is not None or self.frame is not None

    def is_of_files(self, paths: Iterable[Path]) -> bool:
        """Whether it is certain that the files are as they were."""
        if self.files is None:
            return False
        files = SourceFingerprint.of_files(paths, whole=any(state.content for state in self.files)).files
        if files is None or len(files) != len(self.files):
            return False
        return all(
            now.dates == before.dates and before.content in ("", now.content)
            for before, now in zip(self.files, files, strict=True)
        )


def _state_of(path: Path, *, whole: bool) -> _FileState | None:
    try:
        status = path.stat()
        content = ""
        if whole or max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - _SETTLED_NS:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    return _FileState((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns), content)


class TableInMemory:
    """A table of the in-memory engine: rows read once, which go with this object."""

    kind = "memory"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """From the relation `raw` of a connection.  Raises: duckdb.Error where there is no room for its rows."""
        self._name = f"held {secrets.token_hex(8)}"
        connection.execute(f"CREATE TABLE {quoted(self._name)} AS SELECT * FROM raw")  # noqa: S608 - quoted
        weakref.finalize(self, _drop, self._name)

    def names(self) -> list[str]:
        """All columns, in order."""
        with database() as connection:
            return [str(row[0]) for row in connection.execute(f"DESCRIBE {quoted(self._name)}").fetchall()]

    def open(
        self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
    ) -> None:
        """As `Table.open`."""
        require_columns(names, self.names())
        chosen = ", ".join(map(quoted, names)) or "1 AS _"
        connection.execute(f"CREATE TEMP TABLE raw AS SELECT {chosen} FROM {quoted(self._name)}")  # noqa: S608 - quoted

    def fingerprint(self, columns: Sequence[str]) -> SourceFingerprint:
        """None is needed: it does not change."""
        return SourceFingerprint()

    def is_unchanged(self, since: SourceFingerprint, columns: Sequence[str]) -> bool:
        """As `Table.is_unchanged`."""
        return False

    def copy(self, names: list[str], needed: list[str]) -> tuple[pd.DataFrame | TableInMemory, SourceFingerprint]:
        """As `Table.copy`."""
        return copy_into_memory(self, names, needed)


def _drop(name: str) -> None:
    with suppress(duckdb.Error), database() as connection:
        connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")


def copy_into_memory(table: Table, names: list[str], needed: list[str]) -> tuple[TableInMemory, SourceFingerprint]:
    """As `Table.copy`, for tables that are read through the engine.  Raises: SourceInvalid, Fault."""
    fingerprint = table.fingerprint(names)
    with database() as connection:
        table.open(connection, names if set(needed) <= set(names) else needed)
        try:
            return TableInMemory(connection), fingerprint
        except duckdb.Error as wrong:
            raise Fault(f"the edition cannot be held in memory ({type(wrong).__name__})") from None


def kept_once(present: Sequence[str], columns: Sequence[str], needed: Sequence[str] = ()) -> list[str]:
    """Those of `columns` that stand in a table once; of two that differ only in capitals, which cannot both be columns
    of a relation, the one among `needed`.
    """
    names_used: dict[str, str] = {}
    for name in [*needed, *columns]:
        if present.count(name) == 1:
            names_used.setdefault(name.lower(), name)
    return [name for name in columns if names_used.get(name.lower()) == name]


def require_columns(names: Sequence[str], present: Sequence[str]) -> None:
    """Raises: SourceInvalid where a table does not have one of these columns, or has it twice.

    What is present is named only where it is near: the first line of a file without a header is a row.
    """
    lost = [n for n in names if n not in present]
    if lost:
        near = difflib.get_close_matches(lost[0].lower(), [p.lower() for p in present], n=1)
        similar = [p for p in present if p.lower() in near]
        raise SourceInvalid(
            f"the table has no column {lost[0]!r}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else ""),
            expected=f"{similar[0]!r}, perhaps" if similar else f"it among the table's {len(present)} columns",
            remedy="map its name in the source, as in columns = {age = 'age_years'}",
        )
    repeated = [name for name in names if present.count(name) > 1]
    if repeated:
        raise SourceInvalid(f"the table has two columns named {repeated[0]!r}", remedy="rename one of them")


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as an SQL literal, for DuckDB."""
    return "'" + value.replace("'", "''") + "'"
