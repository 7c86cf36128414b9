"""Where a partner's rows are, and how they fulfil a dataset.  Private to the partner.

CSV and Parquet files and DataFrames are read by DuckDB, databases through SQLAlchemy; in each case only the columns
that a study needs.  Format of `source.toml`: docs/formats.md, 3.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import duckdb
import numpy as np
import pandas as pd
import sqlalchemy
from pydantic import Field

from nodes.pushdown import push_down
from trust.canonical import Model, read_model
from trust.cohort import Cohort
from trust.dataset import Dataset
from trust.errors import Fault, SourceInvalid, nearest

__all__ = ["Source", "as_source", "open_table", "physical_names", "whole_table"]

Place: TypeAlias = str | Path | pd.DataFrame
_DATABASES = ("postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql", "duckdb")


class Source(Model):
    """How one partner's table fulfils a dataset.

    Attributes:
        url: a path of a CSV or Parquet file, a database's URL with `#table`, or a DataFrame.
        table: the database's table, where the URL does not name it.
        columns: dataset's name -> the table's name, where they differ.
        levels: column -> {the table's value: dataset's level}.
        missing: texts that stand for a missing value, besides an empty field.
        invalid: `refuse` a value that the dataset does not allow, or take it as `missing`.
    """

    model_config = {**Model.model_config, "arbitrary_types_allowed": True}

    url: str | Path | pd.DataFrame
    table: str = ""
    columns: dict[str, str] = {}
    levels: dict[str, dict[str, bool | int | str]] = {}
    missing: tuple[str, ...] = ()
    invalid: Literal["refuse", "missing"] = "refuse"

    def __init__(self, url: Place | None = None, /, **fields: Any) -> None:
        super().__init__(**({} if url is None else {"url": url}), **fields)

    @classmethod
    def load(cls, path: str | Path) -> Source:
        """Read `source.toml`; a relative file is beside it.  Raises: SourceInvalid."""
        try:
            fields = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as wrong:
            raise SourceInvalid(f"the source {str(path)!r} cannot be read ({wrong.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
            raise SourceInvalid(f"{str(path)!r} is not valid TOML: {wrong}") from None
        source = read_model(cls, fields, SourceInvalid, "the source")
        if isinstance(source.url, str) and _scheme(source.url) == "" and not Path(source.url).is_absolute():
            source = source.model_copy(update={"url": Path(path).parent / source.url})
        return source

    def physical(self, name: str) -> str:
        """The table's name of a dataset's column."""
        return self.columns.get(name, name)

    def checked(self, dataset: Dataset) -> Source:
        """Itself, when every column and level that it names is the dataset's.  Raises: SourceInvalid."""
        hidden = {s for c in dataset.columns for s in c.sources}
        known = {*dataset.names, *hidden, *([] if dataset.person == "row" else [dataset.person])}
        for name in [*self.columns, *self.levels]:
            if name not in known:
                raise SourceInvalid(
                    f"the source maps {name!r}, no column of the dataset", expected=nearest(name, known)
                )
        for name, mapping in self.levels.items():
            column = dataset.column(name) if name in dataset else None
            if column is None or not column.categorical:
                raise SourceInvalid(
                    f"the source maps levels of {name!r}, which has none", expected="a column with an enum"
                )
            for level in mapping.values():
                if level not in column.values:
                    shown = nearest(str(level), map(str, column.values))
                    raise SourceInvalid(f"the source maps to {level!r}, no level of {name!r}", expected=shown)
        return self


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One in-memory engine a process: to start one takes longer than to ask it."""
    return duckdb.connect()


def database() -> duckdb.DuckDBPyConnection:
    """A connection of its own to the in-memory engine; what is registered or temporary in it is seen by no other."""
    return _engine().cursor()


def as_source(given: Place | Source | Mapping[str, Any]) -> Source:
    """A Source from what a person wrote: a path, a URL, a frame or a Source.  Raises: SourceInvalid."""
    if isinstance(given, Source):
        return given
    if isinstance(given, str | Path | pd.DataFrame):
        return Source(given)
    raise SourceInvalid(
        f"a source of type {type(given).__name__}", expected="a path, a URL, a DataFrame or dt.Source(…)"
    )


def open_table(source: Source, connection: duckdb.DuckDBPyConnection, names: list[str], where: Cohort | None) -> None:
    """Make the relation `raw` in `connection` with the table's columns of these physical names.

    `where` is pushed down to a database where that is certain to keep every row that the cohort keeps; it is
    evaluated again afterwards, so this is only an optimisation.

    Raises: SourceInvalid, Fault; no message holds a connection's text or a value.
    """
    if isinstance(source.url, pd.DataFrame):
        _from_frame(source.url, connection, names)
        return
    url = str(source.url)
    scheme = _scheme(url)
    if scheme.partition("+")[0] in _DATABASES:
        _from_frame(_read_database(source, url, names, where), connection, names)
        return
    _from_file(_path(url), connection, names)


def physical_names(source: Source) -> list[str]:
    """All the column names that the table has.  Raises: SourceInvalid, Fault."""
    if isinstance(source.url, pd.DataFrame):
        return [str(c) for c in source.url.columns]
    url = str(source.url)
    scheme = _scheme(url).partition("+")[0]
    if scheme in _DATABASES:
        engine, table = _database(source, url)
        try:
            return [c.name for c in table.columns]
        finally:
            engine.dispose()
    with database() as connection:
        return _file_columns(_path(url), connection)


def whole_table(source: Source) -> pd.DataFrame:
    """All columns and rows, as they are: the texts of a CSV file, the types of anything else.

    For the partner's own eyes, as when it drafts a dataset.  Raises: SourceInvalid, Fault.
    """
    if isinstance(source.url, pd.DataFrame):
        return source.url
    with database() as connection:
        open_table(source, connection, physical_names(source), None)
        return connection.execute("SELECT * FROM raw").df()


def _path(url: str) -> Path:
    """The file that a text names.  Raises: SourceInvalid for an address that is neither a file nor a database."""
    if _scheme(url):
        raise SourceInvalid(
            f"a source with the scheme {_scheme(url)!r}", expected="a file, or " + ", ".join(_DATABASES)
        )
    return Path(url)


def _scheme(url: str) -> str:
    scheme = urlsplit(url).scheme.lower() if "://" in url else ""
    return scheme if len(scheme) > 1 else ""


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as an SQL literal, for DuckDB."""
    return "'" + value.replace("'", "''") + "'"


def _missing_columns(names: list[str], present: list[str]) -> None:
    lost = [n for n in names if n not in present]
    if lost:
        raise SourceInvalid(
            f"the table has no column {lost[0]!r}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else ""),
            expected=nearest(lost[0], present),
            remedy="map its name in the source, as in columns = {age = 'age_years'}",
        )


def _from_frame(frame: pd.DataFrame, connection: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    _missing_columns(names, [str(c) for c in frame.columns])
    chosen = frame[names] if names else pd.DataFrame({"_": range(len(frame))})
    if chosen.columns.has_duplicates:
        raise SourceInvalid("two columns of the table have the same name", remedy="rename one of them")
    connection.register("raw", pd.DataFrame({name: _plain(chosen[name]) for name in chosen.columns}))


def _plain(values: pd.Series[Any]) -> Any:
    """A column as DuckDB reads it: numbers and texts as they are, anything else as texts, null where missing."""
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return values if pd.api.types.is_string_dtype(kind.categories) else _plain(values.astype(kind.categories.dtype))
    if isinstance(kind, pd.StringDtype) or (isinstance(kind, np.dtype) and kind.kind in "iufb"):
        return values
    if pd.api.types.is_datetime64_any_dtype(kind):
        return values.dt.strftime("%Y-%m-%d").astype(object)
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    gone = values.isna().to_numpy()
    texts = [None if missing else str(v) for v, missing in zip(values.astype(object), gone, strict=True)]
    return pd.Series(texts, index=values.index, dtype=object)


def _file(path: Path) -> str:
    if not path.is_file():
        raise SourceInvalid(f"no file {path.name!r}", expected="a CSV or Parquet file", remedy="check the path")
    if path.suffix.lower() in (".parquet", ".pq"):
        return f"read_parquet({text(str(path))})"
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".gz"):
        raise SourceInvalid(f"a file with the ending {path.suffix!r}", expected=".csv, .tsv or .parquet")
    if path.stat().st_size == 0:
        raise SourceInvalid(f"{path.name!r} is empty", expected="a header line and rows")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return (
        f"read_csv({text(str(path))}, header=true, all_varchar=true, delim={text(separator)}, quote='\"', "
        "escape='\"', nullstr='', strict_mode=true, null_padding=false)"
    )


def _from_file(path: Path, connection: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    _missing_columns(names, _file_columns(path, connection))
    chosen = ", ".join(map(quoted, names)) or "1 AS _"
    _execute(connection, f"CREATE TEMP TABLE raw AS SELECT {chosen} FROM {_file(path)}", path)


def _file_columns(path: Path, connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [str(row[0]) for row in _execute(connection, f"DESCRIBE SELECT * FROM {_file(path)}", path).fetchall()]


def _execute(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> duckdb.DuckDBPyConnection:
    """Raises: SourceInvalid in our words: DuckDB's quote the line."""
    try:
        return connection.execute(query)
    except duckdb.Error as wrong:
        raise SourceInvalid(
            _file_trouble(path, str(wrong)), remedy="save it as UTF-8 CSV with a header, or as Parquet"
        ) from None


def _file_trouble(path: Path, message: str) -> str:
    """What is wrong with a file, in our words: DuckDB's own text quotes the line."""
    lowered = message.lower()
    if path.suffix.lower() in (".parquet", ".pq"):
        return f"{path.name!r} is not a Parquet file"
    if "invalid unicode" in lowered or "not utf-8" in lowered:
        return f"{path.name!r} is not UTF-8 text"
    if "sniffing" in lowered or "columns" in lowered:
        return f"{path.name!r} has a line with too few or too many fields"
    return f"{path.name!r} cannot be read as a table"


def _database(source: Source, url: str) -> tuple[sqlalchemy.Engine, sqlalchemy.Table]:
    """Engine and reflected table.  The `#table` is split off here: SQLAlchemy takes it for part of the database."""
    address, _, named = url.partition("#")
    table = named or source.table
    if not table:
        raise SourceInvalid("a database without a table", expected="…#table at the end of the URL, or table = '…'")
    schema, _, bare = table.rpartition(".")
    try:
        parsed = sqlalchemy.make_url(address)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
            raise SourceInvalid(f"no file {Path(parsed.database).name!r}", expected="an SQLite database")
        engine = sqlalchemy.create_engine(parsed, hide_parameters=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SourceInvalid(
            "a database's URL that cannot be read", expected="postgresql://user@host/db#table"
        ) from None
    except ModuleNotFoundError as wrong:
        remedy = "pip install 'datatrust-federation[node]'"
        raise Fault(f"the driver {wrong.name!r} is not installed; to mend it: {remedy}") from None
    try:
        return engine, sqlalchemy.Table(bare, sqlalchemy.MetaData(), schema=schema or None, autoload_with=engine)
    except sqlalchemy.exc.NoSuchTableError:
        engine.dispose()
        raise SourceInvalid(
            f"the database has no table {table!r}", remedy="check the name behind # in the URL"
        ) from None
    except sqlalchemy.exc.SQLAlchemyError as wrong:
        engine.dispose()
        remedy = "check that it runs, the address, the user and the password"
        raise Fault(f"the database cannot be reached ({type(wrong).__name__}); to mend it: {remedy}") from None


def _read_database(source: Source, url: str, names: list[str], where: Cohort | None) -> pd.DataFrame:
    engine, table = _database(source, url)
    try:
        _missing_columns(names, [c.name for c in table.columns])
        query = sqlalchemy.select(*[table.c[n] for n in names] or [sqlalchemy.literal(1).label("_")])
        query = query.select_from(table)
        condition = (
            push_down(where, table, {n: source.physical(n) for n in where.columns if n not in source.levels})
            if where
            else None
        )
        if condition is not None:
            query = query.where(condition)
        with engine.connect() as connection:
            return pd.read_sql(query, connection)
    except sqlalchemy.exc.SQLAlchemyError as wrong:
        raise Fault(f"the database refused the question ({type(wrong).__name__})") from None
    finally:
        engine.dispose()
