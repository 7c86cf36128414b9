"""Ask a database for fewer rows: the parts of a cohort that it judges exactly as DuckDB does.

Only an optimisation: what comes back holds every row of the cohort, and the whole cohort is judged again on the
edition.  Every literal is a bound parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy
from sqlalchemy.sql import ColumnElement
from sqlglot import exp

from trust.cohort import Cohort, column_name, literal

__all__ = ["push_down"]

_SIGNS: dict[type[Any], str] = {
    exp.EQ: "__eq__",
    exp.NEQ: "__ne__",
    exp.GT: "__gt__",
    exp.GTE: "__ge__",
    exp.LT: "__lt__",
    exp.LTE: "__le__",
}


def push_down(where: Cohort, table: sqlalchemy.Table, names: Mapping[str, str]) -> ColumnElement[bool] | None:
    """A condition that keeps at least the rows of the cohort, or None.

    Args:
        where: the cohort.
        table: the reflected table.
        names: dataset's column -> table's column, for those whose values stand in the table as they are.
    """

    def column(node: Any) -> ColumnElement[Any] | None:
        found = table.c.get(names.get(column_name(node), "")) if isinstance(node, exp.Column) else None
        numeric = found is not None and isinstance(found.type, sqlalchemy.Integer | sqlalchemy.Numeric)
        return found if numeric else None

    def number(node: Any) -> int | float | None:
        value = None if isinstance(node, exp.Column) else literal(node)
        return None if isinstance(value, str | bool) else value

    def part(node: Any) -> ColumnElement[bool] | None:
        match node:
            case exp.Paren():
                return part(node.this)
            case exp.And():
                known = [p for p in (part(node.this), part(node.expression)) if p is not None]
                return sqlalchemy.and_(*known) if known else None
            case exp.Or():
                left, right = part(node.this), part(node.expression)
                return None if left is None or right is None else sqlalchemy.or_(left, right)
            case exp.Between():
                found, ends = column(node.this), [number(node.args["low"]), number(node.args["high"])]
                return None if found is None or None in ends else found.between(*ends)
            case exp.In():
                found, values = column(node.this), [number(item) for item in node.expressions]
                return None if found is None or None in values else found.in_(values)
        if type(node) in _SIGNS:
            found, value = column(node.this), number(node.expression)
            return None if found is None or value is None else getattr(found, _SIGNS[type(node)])(value)
        return None

    return part(where.tree)
