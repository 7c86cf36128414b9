"""Statements for SQLite and PostgreSQL from one text."""

from __future__ import annotations

from alembic import op

__all__ = ["is_sqlite", "run_statements"]

_WORDS = {
    "sqlite": {"integer": "INTEGER", "blob": "BLOB", "strict": " STRICT", "empty": "x''"},
    "postgresql": {"integer": "BIGINT", "blob": "BYTEA", "strict": "", "empty": "''::bytea"},
}


def is_sqlite() -> bool:
    """Whether the step runs on SQLite."""
    return op.get_bind().dialect.name == "sqlite"


def run_statements(*statements: str) -> None:
    """Run each; `{integer}`, `{blob}`, `{strict}` and `{empty}` stand for the words of each database."""
    bind = op.get_bind()
    for statement in statements:
        bind.exec_driver_sql(statement.format(**_WORDS[bind.dialect.name]))
