"""Rows from a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from nodes.rows.table import Condition, SourceFingerprint, TableInMemory, database, kept_once, require_columns

__all__ = ["FrameTable"]


@dataclass(frozen=True, eq=False)
class FrameTable:
    """A DataFrame; it is compared value by value, since nothing else tells that it has changed."""

    frame: pd.DataFrame
    kind = "DataFrame"

    def names(self) -> list[str]:
        """All columns, in order."""
        return [str(c) for c in self.frame.columns]

    def open(
        self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
    ) -> None:
        """As `Table.open`."""
        present = self.names()
        require_columns(names, present)
        frame = self.frame.reset_index(drop=True)
        columns = {name: _plain(frame.iloc[:, present.index(name)]) for name in names} or {"_": np.zeros(len(frame))}
        connection.register("raw", pd.DataFrame(columns))

    def fingerprint(self, columns: Sequence[str]) -> SourceFingerprint:
        """A copy of these columns."""
        return SourceFingerprint(frame=self._selected(columns).copy(deep=True))

    def is_unchanged(self, since: SourceFingerprint, columns: Sequence[str]) -> bool:
        """As `Table.is_unchanged`."""
        return since.frame is not None and since.frame.equals(self._selected(columns))

    def copy(self, names: list[str], needed: list[str]) -> tuple[pd.DataFrame | TableInMemory, SourceFingerprint]:
        """As `Table.copy`; the copy is the fingerprint too."""
        with database() as connection:  # for what is wrong with a column that is needed
            FrameTable(self.frame.iloc[:0]).open(connection, needed)
        copied = self._select(names).copy(deep=True)
        return copied, SourceFingerprint(frame=copied)

    def _selected(self, columns: Sequence[str]) -> pd.DataFrame:
        return self._select(kept_once(self.names(), columns))

    def _select(self, names: Sequence[str]) -> pd.DataFrame:
        present = self.names()
        return self.frame.iloc[:, [present.index(name) for name in names]]


def _plain(values: pd.Series[Any]) -> Any:
    """A column as DuckDB reads it: numbers and texts as they are, anything else as texts, null where missing."""
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return values if pd.api.types.is_string_dtype(kind.categories) else _plain(values.astype(kind.categories.dtype))
    if isinstance(kind, pd.StringDtype) or (isinstance(kind, np.dtype) and kind.kind in "iufb"):
        return values
    if isinstance(values.array, pd.arrays.IntegerArray | pd.arrays.FloatingArray | pd.arrays.BooleanArray):
        return values
    if pd.api.types.is_datetime64_any_dtype(kind):
        return values.dt.strftime("%Y-%m-%d").astype(object)
    gone = values.isna().to_numpy()
    texts = [None if missing else str(v) for v, missing in zip(values.astype(object), gone, strict=True)]
    return pd.Series(texts, index=values.index, dtype=object)
