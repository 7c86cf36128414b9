"""Rows from a CSV or Parquet file, through DuckDB: only the columns that a study needs.

Nothing is guessed: the header is read here, and DuckDB is told separator, quotes and columns.  Its guesses would drop
lines that begin with `#` or that stand before the header, add columns from the names of folders, and take `data[1].csv`
for a pattern.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from nodes.rows.table import (
    Condition,
    SourceFingerprint,
    TableInMemory,
    copy_into_memory,
    database,
    quoted,
    require_columns,
    text,
)
from trust.errors import SourceInvalid

__all__ = ["FileTable"]

_SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_OF_MACHINE = ("too many open files", "out of memory", "input/output error", "permission denied")
_MACHINE = "look at the file's rights, and at this machine's disk, memory and limits (ulimit -a)"


@dataclass(frozen=True)
class FileTable:
    """A CSV or Parquet file."""

    path: Path

    @property
    def kind(self) -> str:
        """Its ending."""
        return self.path.suffix.removeprefix(".") or "file"

    def names(self) -> list[str]:
        """All columns, in order.  Raises: SourceInvalid."""
        with database() as connection:
            return self._names(connection)

    def open(
        self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
    ) -> None:
        """As `Table.open`."""
        path, present = self.path, self._names(connection)
        require_columns(names, present)
        if _kind(path) in _PARQUET:
            relation, chosen = _parquet(path), ", ".join(map(quoted, names))
        else:
            relation = _csv(path, len(present))
            chosen = ", ".join(f"c{present.index(name)} AS {quoted(name)}" for name in names)
        _execute(connection, f"CREATE TEMP TABLE raw AS SELECT {chosen or '1 AS _'} FROM {relation}", path)

    def fingerprint(self, columns: Sequence[str]) -> SourceFingerprint:
        """Of the file."""
        return SourceFingerprint.of_files([self.path])

    def is_unchanged(self, since: SourceFingerprint, columns: Sequence[str]) -> bool:
        """As `Table.is_unchanged`."""
        return since.is_of_files([self.path])

    def copy(self, names: list[str], needed: list[str]) -> tuple[pd.DataFrame | TableInMemory, SourceFingerprint]:
        """As `Table.copy`."""
        return copy_into_memory(self, names, needed)

    def _names(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        if _kind(self.path) not in _PARQUET:
            return _header(self.path)
        described = _execute(connection, f"DESCRIBE SELECT * FROM {_parquet(self.path)}", self.path)
        return [str(row[0]) for row in described.fetchall()]


def _kind(path: Path) -> str:
    """The ending that says what a file is.  Raises: SourceInvalid."""
    if not path.is_file():
        raise SourceInvalid(f"no file {path.name!r}", expected="a CSV or Parquet file", remedy="check the path")
    kind = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if kind not in _SEPARATORS and kind not in _PARQUET:
        raise SourceInvalid(f"a file with the ending {path.suffix!r}", expected=".csv, .tsv or .parquet")
    if path.stat().st_size == 0:
        raise SourceInvalid(f"{path.name!r} is empty", expected="a header line and rows")
    return kind


def _header(path: Path) -> list[str]:
    """The first record of a CSV file.  Raises: SourceInvalid."""
    separator = _SEPARATORS[_kind(path)]
    open_file = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
            names = [name.strip() for name in next(csv.reader(file, delimiter=separator, strict=True), [])]
    except UnicodeDecodeError:
        raise SourceInvalid(f"{path.name!r} is not UTF-8 text", remedy="save it as UTF-8") from None
    except (csv.Error, OSError, EOFError) as wrong:
        if isinstance(wrong, OSError) and wrong.strerror:  # the machine; a file that is not gzip has none
            raise SourceInvalid(f"{path.name!r} cannot be read ({wrong.strerror})", remedy=_MACHINE) from None
        raise SourceInvalid(
            f"{path.name!r} has no header line that can be read", remedy="save it as UTF-8 CSV"
        ) from None
    if not any(names):
        raise SourceInvalid(f"{path.name!r} has no header line", expected="the columns' names in the first line")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|,"):
        separator_name = "a tab" if separator == "\t" else "a comma"
        remedy = "save it with commas as .csv, or with tabs as .tsv"
        raise SourceInvalid(
            f"{path.name!r} is not separated by {separator_name}",
            expected=f"{separator_name} between fields",
            remedy=remedy,
        )
    return names


def _literal(path: Path) -> str:
    """The path as a literal in which nothing is a pattern."""
    return text(re.sub(r"([\[*?])", r"[\1]", str(path.resolve())))


def _parquet(path: Path) -> str:
    return f"read_parquet({_literal(path)}, hive_partitioning=false)"


def _csv(path: Path, width: int) -> str:
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(width))
    return (
        f"read_csv({_literal(path)}, auto_detect=false, header=true, columns={{{columns}}}, "
        f"delim={text(_SEPARATORS[_kind(path)])}, quote='\"', escape='\"', comment='', skip=0, nullstr='', "
        "strict_mode=true, null_padding=false, hive_partitioning=false)"
    )


def _execute(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> duckdb.DuckDBPyConnection:
    """Raises: SourceInvalid in our words: DuckDB's quote the line."""
    try:
        return connection.execute(query)
    except duckdb.Error as wrong:
        message = str(wrong).lower()
        if any(words in message for words in _OF_MACHINE):
            raise SourceInvalid(f"{path.name!r} cannot be read ({type(wrong).__name__})", remedy=_MACHINE) from None
        got, remedy = _trouble(_kind(path), message)
        raise SourceInvalid(f"{path.name!r} {got}", remedy=remedy) from None


def _trouble(kind: str, message: str) -> tuple[str, str]:
    if kind in _PARQUET:
        return "is not a Parquet file", "save it again"
    if "unicode" in message:
        return "is not UTF-8 text", "save it as UTF-8"
    if "number of columns" in message:
        line = re.search(r"csv error on line: (\d+)", message)
        place = f", line {line[1]}" if line else ""
        return (
            f"has a line with too few or too many fields{place}",
            "a field that holds the separator stands in double quotes",
        )
    if "unterminated quote" in message:
        return "has a quoted field that does not end as one", "double each quote inside a quoted field"
    return "cannot be read as a table", "save it as UTF-8 CSV with one kind of line ending, or as Parquet"
