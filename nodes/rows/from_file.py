"""Rows from a CSV or Parquet file, through DuckDB: only the columns that a study needs.

Nothing is guessed: the header is read here, and DuckDB is told separator, quotes and columns.  Its guesses would drop
lines that begin with `#` or that stand before the header, add columns from the names of folders, and take `data[1].csv`
for a pattern.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import re
from pathlib import Path

import duckdb

from trust.errors import SourceInvalid

__all__ = ["file_columns", "load_file", "missing_columns", "quoted", "text"]

_SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_OF_MACHINE = ("too many open files", "out of memory", "input/output error", "permission denied")
_MACHINE = "look at the file's rights, and at this machine's disk, memory and limits (ulimit -a)"


def file_columns(path: Path, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The names of a file's columns, in order.  Raises: SourceInvalid."""
    if _kind(path) not in _PARQUET:
        return _header(path)
    described = _execute(connection, f"DESCRIBE SELECT * FROM {_parquet(path)}", path)
    return [str(row[0]) for row in described.fetchall()]


def load_file(path: Path, connection: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    """Make the relation `raw` with these columns of a file.  Raises: SourceInvalid; no message holds a value."""
    present = file_columns(path, connection)
    missing_columns(names, present)
    twice = [name for name in names if present.count(name) > 1]
    if twice:
        raise SourceInvalid(f"{path.name!r} has two columns named {twice[0]!r}", remedy="rename one of them")
    if _kind(path) in _PARQUET:
        relation, chosen = _parquet(path), ", ".join(map(quoted, names))
    else:
        relation = _csv(path, len(present))
        chosen = ", ".join(f"c{present.index(name)} AS {quoted(name)}" for name in names)
    _execute(connection, f"CREATE TEMP TABLE raw AS SELECT {chosen or '1 AS _'} FROM {relation}", path)


def missing_columns(names: list[str], present: list[str]) -> None:
    """Raises: SourceInvalid where one of the names is not among those present.

    It names what is present only where that is near: the first line of a file without a header is a row.
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


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as an SQL literal, for DuckDB."""
    return "'" + value.replace("'", "''") + "'"


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
        if isinstance(wrong, OSError) and wrong.strerror:  # the machine; a file that is no gzip has none
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
