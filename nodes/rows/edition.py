"""An edition: all of the dataset's columns that a source has, as they stood at one moment, and who is in it.

A copy in memory, read once; kept over a restart as a Parquet file.  It is a source like any other, so that everything
that is asked of a source can be asked of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from nodes.rows.cohort_rows import FrozenRows
from nodes.rows.columns import columns_of
from nodes.rows.source import Source, open_table, physical_names, table_of
from nodes.rows.table import SourceFingerprint, database, kept_once, text
from trust.dataset.dataset import Dataset
from trust.privacy.differencing import Bits, bits

__all__ = ["Edition", "come_or_gone", "ids_of", "table_columns", "take"]


def take(source: Source, dataset: Dataset, names: Collection[str]) -> tuple[Source, SourceFingerprint]:
    """Freeze all of the dataset's columns that the source has, as a source of its own in memory; and the fingerprint of
    what was read.

    Args:
        names: the table's names of the columns that are needed now; the others may be missing.

    Raises: SourceInvalid, Fault; no message holds an address or a value.
    """
    copied, fingerprint = table_of(source).copy(_kept_names(source, dataset, names), list(names))
    return source.model_copy(update={"url": copied, "table": "", "opt_out": None}), fingerprint


def _kept_names(source: Source, dataset: Dataset, names: Collection[str]) -> list[str]:
    """The table's names of the dataset's columns that an edition keeps."""
    return kept_once(physical_names(source), table_columns(source, dataset), list(names))


def table_columns(source: Source, dataset: Dataset) -> list[str]:
    """The table's names of all of the dataset's columns that may stand in it."""
    return list(dict.fromkeys(_physical(source, dataset).values()))


def _physical(source: Source, dataset: Dataset) -> dict[str, str]:
    """The dataset's name -> the table's name, of all columns that stand in a table."""
    names = [c.name for c in dataset.columns if not c.derived] + [s for c in dataset.columns for s in c.sources]
    names += [] if dataset.person == "row" else [dataset.person]
    return {name: source.physical(name) for name in sorted(set(names))}


# ---- who is in it


class Edition:
    """A copy of the dataset's columns, with its number and date.

    Attributes:
        number: from 1; it is given for good with the first answer.
        taken: when, `YYYY-MM-DDTHH:MM:SSZ`.
        source: the frozen columns.
        seen: what the partner's source looked like when they were taken.
        of: digest of the dataset and of the table's names.
        kept: whether a study was answered from it.
    """

    def __init__(
        self,
        number: int,
        date: str,
        source: Source,
        dataset: Dataset,
        fingerprint: SourceFingerprint,
        *,
        source_id: str,
    ) -> None:
        self.number, self.taken, self.source, self.seen, self.of = number, date, source, fingerprint, source_id
        self.kept = False
        self._dataset = dataset
        self._tokens: npt.NDArray[np.uint64] | None = None

    @cached_property
    def _people(self) -> tuple[npt.NDArray[np.int64], list[str]]:
        """The person of each row, -1 where it is not known, and the persons' ids."""
        codes, ids = pd.factorize(_ids(self.source, self._dataset))
        return codes.astype(np.int64), [str(name) for name in ids]

    @property
    def ids(self) -> frozenset[str]:
        """The persons' ids; for a dataset that has them."""
        return frozenset(self._people[1])

    def persons(self, frozen: FrozenRows) -> Bits:
        """The set of the persons of rows that were frozen from this edition, over all its persons."""
        if self._dataset.person == "row":
            return bits(frozen.places, frozen.height)
        codes, ids = self._people
        return bits(codes[frozen.places], len(ids))

    def tokens(self, key: bytes) -> npt.NDArray[np.uint64]:
        """For each person 64 bits by which another edition's can be known again, shape (persons,).

        Keyed BLAKE2b of the id, or of the row's content and how many equal rows stand before it: without the key,
        which stays in the node's folder, the tokens tell nothing.
        """
        if self._tokens is None:
            if self._dataset.person == "row":
                rows = pd.Series(_contents(self.source, self._dataset), dtype=object)
                rank = rows.groupby(rows).cumcount()
                words = [f"{row}#{n}" for row, n in zip(rows, rank, strict=True)]
            else:
                words = self._people[1]
            hashed = b"".join(hashlib.blake2b(w.encode(), key=key, digest_size=8).digest() for w in words)
            self._tokens = np.frombuffer(hashed, dtype="<u8").astype(np.uint64)
        return self._tokens


def ids_of(source: Source, dataset: Dataset) -> frozenset[str]:
    """The ids of all persons of a source.  Raises: SourceInvalid, Fault."""
    return frozenset(str(name) for name in _ids(source, dataset) if name is not None)


def _ids(source: Source, dataset: Dataset) -> npt.NDArray[np.object_]:
    """The id of each row as a text, None where it is missing."""
    with database() as connection:
        open_table(source, connection, [source.physical(dataset.person)])
        person = columns_of(source, connection).person(dataset.person)
        fetched: Any = connection.execute(f"SELECT {person} AS id FROM raw").fetchnumpy()["id"]  # noqa: S608 - quoted
    ids = np.ma.getdata(fetched).astype(object)
    ids[np.ma.getmaskarray(fetched)] = None
    return ids


def come_or_gone(first: Edition, second: Edition, dataset: Dataset, gone: Collection[str]) -> int:
    """How many persons are in one edition and not in the other, those who have opted out left aside.

    Where each row is a person, equal rows are counted: three of them against one are two persons; and a row that has
    changed is one that went and one that came.
    """
    if dataset.person != "row":
        return len((first.ids ^ second.ids) - frozenset(gone))
    with database() as connection:
        names = [
            _open_rows(connection, which, edition.source, dataset) for which, edition in enumerate((first, second))
        ]
        if names[0] != names[1]:
            row = connection.execute('SELECT (SELECT count(*) FROM "rows 0") + (SELECT count(*) FROM "rows 1")')
        else:
            columns = ", ".join(f"c{index}" for index in range(len(names[0]))) or "1"
            union = 'SELECT 1 AS w, * FROM "rows 0" UNION ALL SELECT -1, * FROM "rows 1"'
            per_row = f"SELECT abs(sum(w)) AS n FROM ({union}) GROUP BY {columns}"  # noqa: S608 - names of ours
            row = connection.execute(f"SELECT coalesce(sum(n), 0) FROM ({per_row})")  # noqa: S608 - names of ours
        return int((row.fetchone() or (0,))[0])


def _open_rows(connection: duckdb.DuckDBPyConnection, which: int, source: Source, dataset: Dataset) -> tuple[str, ...]:
    """Make `rows 0` or `rows 1`, each value as a text; the dataset's names of the columns."""
    physical_names = _physical(source, dataset)
    present = set(_kept_names(source, dataset, []))
    names = tuple(name for name, physical in physical_names.items() if physical in present)
    open_table(source, connection, list(dict.fromkeys(physical_names[name] for name in names)))
    columns = columns_of(source, connection)
    chosen = ", ".join(f"{columns.shown(name)} AS c{index}" for index, name in enumerate(names)) or "1 AS c"
    connection.execute(f'CREATE TEMP TABLE "rows {which}" AS SELECT {chosen} FROM raw')  # noqa: S608 - quoted
    connection.unregister("raw")
    connection.execute("DROP TABLE IF EXISTS raw")
    return names


def _contents(source: Source, dataset: Dataset) -> list[str]:
    """Each row's content in one text: its columns in order of name, each with the length of its value."""
    with database() as connection:
        names = _open_rows(connection, 0, source, dataset)
        parts = [
            f"{text(name + '=')} || coalesce(length(c{index}) || ':' || c{index}, '-')"
            for index, name in enumerate(names)
        ]
        query = f'SELECT {" || ".join(parts) or text("")} FROM "rows 0"'  # noqa: S608 - a name of ours
        return [str(row[0]) for row in connection.execute(query).fetchall()]
