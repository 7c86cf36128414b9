"""SQL of one column: from what a partner's table holds to the value that the dataset means.

For DuckDB, over the relation `raw`.  Used for the rows of an edition, for the ids of persons, and for opt-outs, so that
an id is the same text wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from nodes.rows.source import Source
from nodes.rows.table import quoted, text
from trust.dataset.dataset import Column

__all__ = ["Columns", "allowed", "columns_of", "double", "inline"]

_NUMBERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}) | {
    "FLOAT", "DOUBLE",
}  # fmt: skip
_TRUE, _FALSE = "('true', 't', 'yes', '1', '1.0')", "('false', 'f', 'no', '0', '0.0')"


@dataclass(frozen=True)
class Columns:
    """How the columns of `raw` are read: `types` is DuckDB's type by the table's name."""

    source: Source
    types: Mapping[str, str]

    def raw(self, name: str) -> str:
        """The table's value, null where it is missing."""
        physical = self.source.physical(name)
        stored = quoted(physical)
        kind = self.types[physical]
        if kind == "VARCHAR" or kind.startswith("ENUM"):
            value = f"NULLIF(TRIM(CAST({stored} AS VARCHAR)), '')"
        elif kind in ("DOUBLE", "FLOAT"):  # NaN is how a frame writes a missing number
            value = f"CASE WHEN NOT isnan({stored}) THEN {stored} END"
        else:
            value = stored
        if not self.source.missing:
            return value
        marked = " OR ".join(self._equals(value, kind, marker) for marker in self.source.missing)
        return f"CASE WHEN NOT ({marked}) THEN {value} END"

    def kind(self, name: str) -> str:
        """DuckDB's type of a column."""
        return self.types[self.source.physical(name)]

    def shown(self, name: str) -> str:
        """The value as a text, null where it is missing; the same text from every kind of source."""
        return self._text(self.raw(name), self.kind(name))

    def person(self, name: str) -> str:
        """The id of a person as a text: `1`, `1.0` and ` 1 ` are one person."""
        if self.kind(name) in _NUMBERS:
            return self.shown(name)
        raw = self.shown(name)
        whole = rf"ends_with({raw}, '0') AND regexp_full_match({raw}, '-?[0-9]+\.0+')"
        return f"CASE WHEN {whole} THEN split_part({raw}, '.', 1) ELSE {raw} END"

    def value(self, column: Column, raw: str) -> str:
        """The typed value; null for what is missing and for what the dataset does not allow."""
        kind = self.kind(column.name)
        mapped = self.source.levels.get(column.name)
        if column.type == "boolean":
            return self._boolean(raw, kind, mapped)
        if column.levels:
            return self._level(column, raw, kind, mapped)
        if column.numeric:
            number = double(raw, kind)
            return f"CASE WHEN {allowed(column, number)} THEN {number} END"
        if column.type == "date":
            return f"CAST(TRY_CAST({raw} AS DATE) AS VARCHAR)"
        return self._text(raw, kind)

    def _text(self, raw: str, kind: str) -> str:
        """As a text: 1.0 of a column of doubles, which are whole numbers with some missing, as 1."""
        if kind not in ("DOUBLE", "FLOAT"):
            return f"CAST({raw} AS VARCHAR)"
        whole = f"abs({raw}) < 1e15 AND {raw} = floor({raw})"
        return f"CASE WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"

    def _equals(self, raw: str, kind: str, key: str) -> str:
        """Equal as a text, or as a number: 1 and 1.0 are one value."""
        if kind == "BOOLEAN":
            return f"{self._text(raw, kind)} = {text(key.lower())}"
        number = _finite(key)
        if number is not None and kind != "VARCHAR":
            return f"{double(raw, kind)} IS NOT DISTINCT FROM {number!r}"
        is_same = f"{self._text(raw, kind)} = {text(key)}"
        return is_same if number is None else f"({is_same} OR {double(raw, kind)} IS NOT DISTINCT FROM {number!r})"

    def _boolean(self, raw: str, kind: str, mapped: Mapping[str, Any] | None) -> str:
        if mapped is not None:
            whens = " ".join(
                f"WHEN {self._equals(raw, kind, key)} THEN {inline(value)}" for key, value in mapped.items()
            )
            return f"CASE {whens} END"
        if kind == "BOOLEAN":
            return raw
        lowered = f"lower({self._text(raw, kind)})"
        return f"CASE WHEN {lowered} IN {_TRUE} THEN TRUE WHEN {lowered} IN {_FALSE} THEN FALSE END"

    def _level(self, column: Column, raw: str, kind: str, mapped: Mapping[str, Any] | None) -> str:
        """The level of the same text; else, of a whole number or a mapped value, the level of the same number."""
        table = mapped if mapped is not None else {str(v): v for v in column.values}
        whens = []
        if kind not in _NUMBERS or column.type == "string":
            whens += [
                f"WHEN {self._text(raw, kind)} = {text(key)} THEN {inline(level)}" for key, level in table.items()
            ]
        if mapped is not None or column.type == "integer":
            whens += [f"WHEN {self._equals(raw, kind, key)} THEN {inline(level)}" for key, level in table.items()]
        return f"CASE {' '.join(whens)} END"


def columns_of(source: Source, connection: duckdb.DuckDBPyConnection) -> Columns:
    """The columns of the relation `raw` in `connection`."""
    described = connection.execute("DESCRIBE raw").fetchall()
    return Columns(source, {str(row[0]): str(row[1]) for row in described})


def double(raw: str, kind: str) -> str:
    """As a double, null where it is none."""
    return f"CAST({raw} AS DOUBLE)" if kind in _NUMBERS else f"TRY_CAST({raw} AS DOUBLE)"


def allowed(column: Column, number: str) -> str:
    """Finite, within the bounds and, of an integer, whole."""
    low, high = column.span
    tests = [f"isfinite({number})", f"{number} >= {low!r}", f"{number} <= {high!r}"]
    tests += [f"{number} = floor({number})"] if column.type == "integer" else []
    return " AND ".join(tests)


def inline(value: Any) -> str:
    """A literal of the dataset's own derived column, for a view: DuckDB takes no parameters there."""
    if isinstance(value, bool):
        return str(value).upper()
    return text(value) if isinstance(value, str) else repr(value)


def _finite(key: str) -> float | None:
    try:
        number = float(key)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
