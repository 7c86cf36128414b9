"""Where a partner's rows are, and how they fulfil a dataset.  Private to the partner.

A source names a table (`table.py`): a file, a database or a DataFrame; only the columns that a study needs are read.
  Format of `source.toml`: docs/formats.md, 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import duckdb
import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, ValidationError, field_validator

from nodes.rows.from_database import DATABASES, DatabaseTable
from nodes.rows.from_file import FileTable
from nodes.rows.from_frame import FrameTable
from nodes.rows.table import Condition, Table, TableInMemory, database
from trust.canonical import Model, explained, read_model
from trust.dataset.dataset import Dataset
from trust.errors import SourceInvalid, nearest
from trust.files import parse_toml

__all__ = [
    "Source",
    "as_source",
    "is_database",
    "open_table",
    "physical_names",
    "scheme",
    "table_of",
    "whole_table",
]

Place: TypeAlias = str | Path | pd.DataFrame


class Source(Model):
    """How one partner's table fulfils a dataset.  It shows nothing of itself: an address may hold a password.

    Attributes:
        url: a path of a CSV or Parquet file, a database's URL with `#table`, or a DataFrame.
        table: the database's table, where the URL does not name it.
        columns: dataset's name -> the table's name, where they differ.
        levels: column -> {the table's value: dataset's level}.
        missing: texts that stand for a missing value, besides an empty field.
        invalid: `refuse` a value that the dataset does not allow, or take it as `missing`.
        opt_out: who has opted out: a path of a text with one id a line, a database's URL with `#table`, `#table` alone
            for a table of the source's own database, or a list of ids.  Read again before each study
            (`optouts.py`).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    url: str | Path | pd.DataFrame | TableInMemory = Field(repr=False)
    table: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    levels: dict[str, dict[str, bool | int | str]] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()
    invalid: Literal["refuse", "missing"] = "refuse"
    opt_out: Any = Field(default=None, repr=False)

    def __init__(self, url: Place | None = None, /, **fields: Any) -> None:
        arguments = fields if url is None else {"url": url, **fields}
        try:
            super().__init__(**arguments)
        except ValidationError as wrong:
            raise explained(wrong, type(self), SourceInvalid, "the source") from None

    def __repr__(self) -> str:
        return "<source>"

    __str__ = __repr__

    @field_validator("levels", mode="before")
    @classmethod
    def _text_keys(cls, levels: Any) -> Any:
        """`{0: "F"}` as `{"0": "F"}`: the table's values are compared as texts."""
        if not isinstance(levels, Mapping) or not all(isinstance(mapping, Mapping) for mapping in levels.values()):
            return levels
        return {name: {str(key): level for key, level in mapping.items()} for name, mapping in levels.items()}

    @field_validator("opt_out")
    @classmethod
    def _list_of_ids(cls, value: Any) -> Any:
        """Kept as it is given, so that a list that grows is seen to grow."""
        if value is None or isinstance(value, str | Path | list | tuple | set | frozenset | pd.Series | np.ndarray):
            return value
        raise ValueError("opt_out is a path, a URL with #table, or a list of ids")

    @classmethod
    def load(cls, path: str | Path) -> Source:
        """Read `source.toml`; a relative file is beside it.  Raises: SourceInvalid."""
        try:
            raw = Path(path).read_bytes()
        except OSError as wrong:
            raise SourceInvalid(f"the source {str(path)!r} cannot be read ({wrong.strerror})") from None
        fields = parse_toml(raw, repr(str(path)), SourceInvalid)
        source = read_model(cls, fields, SourceInvalid, "the source")
        beside = {
            name: Path(path).parent / place
            for name, place in (("url", source.url), ("opt_out", source.opt_out))
            if isinstance(place, str) and scheme(place) == "" and not place.startswith("#")
        }
        return source.model_copy(update=beside)

    def physical(self, name: str) -> str:
        """The table's name of a dataset's column."""
        return self.columns.get(name, name)

    def checked(self, dataset: Dataset) -> Source:
        """Itself, when every column and level that it names is the dataset's.  Raises: SourceInvalid."""
        if self.opt_out is not None and dataset.person == "row":
            raise SourceInvalid(
                "opt_out is set, and the dataset has no id of persons",
                expected="person: a column's name, in place of person: row",
                remedy="add the id to the dataset and the table, or take these rows out of the table and leave "
                "opt_out away",
            )
        hidden = {s for c in dataset.columns for s in c.sources}
        known_names = {*dataset.names, *hidden, *([] if dataset.person == "row" else [dataset.person])}
        for name in [*self.columns, *self.levels]:
            if name not in known_names:
                raise SourceInvalid(
                    f"the source maps {name!r}, no column of the dataset", expected=nearest(name, known_names)
                )
        for name, mapping in self.levels.items():
            column = dataset.column(name) if name in dataset else None
            if column is None or not column.categorical:
                raise SourceInvalid(
                    f"the source maps levels of {name!r}, which has none", expected="a column with an enum"
                )
            for level in mapping.values():
                if not any(level == known_names and type(level) is type(known_names) for known_names in column.values):
                    suggestion = nearest(str(level), map(str, column.values))
                    raise SourceInvalid(f"the source maps to {level!r}, no level of {name!r}", expected=suggestion)
        return self


def as_source(place: Place | Source | Mapping[str, Any]) -> Source:
    """A Source from what a person wrote: a path, a URL, a frame or a Source.  Raises: SourceInvalid."""
    if isinstance(place, Source):
        return place
    if isinstance(place, str | Path | pd.DataFrame):
        return Source(place)
    raise SourceInvalid(
        f"a source of type {type(place).__name__}", expected="a path, a URL, a DataFrame or dt.Source(…)"
    )


def table_of(source: Source) -> Table:
    """The table that a source names.  Raises: SourceInvalid for an address that is neither a file nor a database."""
    place = source.url
    if isinstance(place, pd.DataFrame):
        return FrameTable(place)
    if isinstance(place, TableInMemory):
        return place
    if is_database(place):
        return DatabaseTable(str(place), source.table)
    if scheme(str(place)):
        raise SourceInvalid(
            f"a source with the scheme {scheme(str(place))!r}", expected="a file, or " + ", ".join(DATABASES)
        )
    return FileTable(Path(place))


def open_table(
    source: Source, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
) -> None:
    """Make the relation `raw` in `connection`, as `Table.open` does.

    Raises: SourceInvalid, Fault; no message holds a connection's text or a value.
    """
    if len({name.lower() for name in names}) < len(names):
        raise SourceInvalid("two columns of the table differ only in capitals", remedy="rename one of them")
    table_of(source).open(connection, names, condition)


def physical_names(source: Source) -> list[str]:
    """All the column names that the table has.  Raises: SourceInvalid, Fault."""
    return table_of(source).names()


def whole_table(source: Source) -> pd.DataFrame:
    """All columns and rows, as they are: the texts of a CSV file, the types of anything else.

    For the partner's own eyes, as when it drafts a dataset.  Raises: SourceInvalid, Fault.
    """
    if isinstance(source.url, pd.DataFrame):
        return source.url
    with database() as connection:
        open_table(source, connection, physical_names(source))
        return connection.execute("SELECT * FROM raw").df()


def is_database(place: object) -> bool:
    """Whether rows come through SQLAlchemy."""
    return isinstance(place, str) and scheme(place).partition("+")[0] in DATABASES


def scheme(url: str) -> str:
    """What stands before `://`, in small letters; empty for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", url)
    return match[1].lower() if match else ""
