"""Ask a database for fewer rows: the parts of a cohort that it judges exactly as DuckDB does.

Only an optimisation.  A row is left out only where the part of the cohort that is pushed down is false of valid,
present numbers, so that the cohort itself is false; the whole cohort is judged again on the edition, and a value that
the dataset does not allow is found there.  Every literal is a bound parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy
from sqlalchemy.sql import ColumnElement
from sqlglot import exp

from trust.canonical import LARGEST_INTEGER
from trust.dataset.cohort import Cohort, column_name, literal
from trust.dataset.dataset import Column

__all__ = ["push_down"]

_SIGNS: dict[type[Any], str] = {
    exp.EQ: "__eq__",
    exp.NEQ: "__ne__",
    exp.GT: "__gt__",
    exp.GTE: "__ge__",
    exp.LT: "__lt__",
    exp.LTE: "__le__",
}


def push_down(
    cohort: Cohort, table: sqlalchemy.Table, kind: str, columns: Mapping[str, tuple[str, Column]]
) -> ColumnElement[bool] | None:
    """A condition that keeps at least the rows of which the cohort is not false, or None.

    Args:
        where: the cohort.
        table: the reflected table.
        kind: the database's; only SQLite and PostgreSQL are known to compare as DuckDB does.
        columns: dataset's name -> (table's name, column), for those whose values stand in the table as they are.
    """
    used: dict[str, ColumnElement[Any]] = {}

    def column(node: Any, *numbers: ColumnElement[Any] | None) -> ColumnElement[Any] | None:
        if any(number is None for number in numbers):
            return None
        name = column_name(node) if isinstance(node, exp.Column) else ""
        database_column = table.c.get(columns[name][0]) if name in columns else None
        if database_column is None or not _as_duckdb(database_column.type, kind):
            return None
        used[name] = database_column
        return database_column

    def part(node: Any) -> ColumnElement[bool] | None:
        match node:
            case exp.Paren():
                return part(node.this)
            case exp.And():
                conditions = [p for p in (part(node.this), part(node.expression)) if p is not None]
                return sqlalchemy.and_(*conditions) if conditions else None
            case exp.Or():
                left_condition, right = part(node.this), part(node.expression)
                return None if left_condition is None or right is None else sqlalchemy.or_(left_condition, right)
            case exp.Between():
                low, high = _number(node.args["low"]), _number(node.args["high"])
                database_column = column(node.this, low, high)
                return None if database_column is None else database_column.between(low, high)
            case exp.In():
                values = [_number(item) for item in node.expressions]
                database_column = column(node.this, *values)
                return None if database_column is None else database_column.in_(values)
        if type(node) in _SIGNS:
            value = _number(node.expression)
            database_column = column(node.this, value)
            return None if database_column is None else getattr(database_column, _SIGNS[type(node)])(value)
        return None

    if kind not in ("sqlite", "postgresql"):
        return None
    condition = part(cohort.tree)
    if condition is None:
        return None
    return sqlalchemy.or_(
        condition, *(_doubtful(database_column, columns[name][1], kind) for name, database_column in used.items())
    )


def _as_duckdb(stored: sqlalchemy.types.TypeEngine[Any], kind: str) -> bool:
    """Whole numbers and doubles; PostgreSQL's `real` and `numeric` are rounded on their way here."""
    return isinstance(stored, sqlalchemy.Integer | (sqlalchemy.Float if kind == "sqlite" else sqlalchemy.Double))


def _number(node: Any) -> ColumnElement[Any] | None:
    """A numeric literal as a bound parameter; beyond 2^53 whole numbers and doubles compare differently."""
    if isinstance(node, exp.Column):
        return None
    value = literal(node)
    if isinstance(value, bool | str) or abs(value) >= LARGEST_INTEGER:
        return None
    return _bound(value)


def _bound(value: int | float) -> ColumnElement[Any]:
    return sqlalchemy.literal(value, sqlalchemy.BigInteger() if isinstance(value, int) else sqlalchemy.Double())


def _doubtful(database_column: ColumnElement[Any], column: Column, kind: str) -> ColumnElement[bool]:
    """Missing, or perhaps a value that the dataset does not allow."""
    low, high = column.span
    doubts: list[ColumnElement[bool]] = [database_column.is_(None)]
    if column.levels:
        doubts.append(database_column.not_in([_bound(v) for v in column.values if isinstance(v, int)]))
    else:
        doubts += [database_column < _bound(float(low)), database_column > _bound(float(high))]
    if column.type == "integer" and (kind == "sqlite" or not isinstance(database_column.type, sqlalchemy.Integer)):
        doubts.append(database_column != sqlalchemy.func.round(database_column))
    if kind == "sqlite":  # which keeps a text in a column of numbers
        doubts.append(
            sqlalchemy.func.typeof(database_column).in_([sqlalchemy.literal("text"), sqlalchemy.literal("blob")])
        )
    return sqlalchemy.or_(*doubts)
