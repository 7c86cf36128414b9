"""Rows from a database, through SQLAlchemy: only the columns that a study needs, and no more rows than it may need.

No message holds an address, a user, a password or a value.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import NullType

from nodes.rows.from_file import missing_columns
from trust.errors import Fault, SourceInvalid

__all__ = [
    "DATABASES", "Condition", "SourceAway",
    "database_columns", "encrypted", "is_here", "read_database", "writes_allowed",
]  # fmt: skip

DATABASES = ("postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql", "duckdb")
Condition = Callable[[sqlalchemy.Table, str], ColumnElement[bool] | None]
"""Given the reflected table and the database's kind, which rows are enough; None: all."""
_PATIENCE = 5
_UNLOGGED = "datatrust"
"""SQLAlchemy logs each row that it fetches where its logger is set to DEBUG: our engines have one that says nothing.  A
filter stays on it whatever is configured later; whether it is `disabled` does not.
"""
logging.getLogger(f"sqlalchemy.engine.Engine.{_UNLOGGED}").addFilter(lambda record: False)


class SourceAway(Fault):
    """The partner's database cannot be reached now, or went away while it was asked; it may be back in a moment."""


def database_columns(url: str, table: str) -> list[str]:
    """The names of a table's columns, in order.  Raises: SourceInvalid, Fault."""
    engine, reflected = _reflected(url, table)
    engine.dispose()
    return [c.name for c in reflected.columns]


def read_database(url: str, table: str, names: list[str], condition: Condition | None) -> pd.DataFrame:
    """These columns of the rows that the condition keeps; of one row where it keeps none, so that a table without rows
    is told from one without such rows.

    Raises: SourceInvalid, Fault; SourceAway where it does not answer.
    """
    engine, reflected = _reflected(url, table)
    try:
        missing_columns(names, [c.name for c in reflected.columns])
        # without a type, so that values come as they are stored: SQLite keeps a text in a column of dates
        chosen: list[sqlalchemy.Label[Any]] = [
            sqlalchemy.type_coerce(reflected.c[n], NullType()).label(n) for n in names
        ]
        query = sqlalchemy.select(*chosen or [sqlalchemy.literal(1).label("_")]).select_from(reflected)
        criteria = condition(reflected, engine.dialect.name) if condition else None
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execution_options(postgresql_readonly=True)
            rows = connection.execute(query if criteria is None else query.where(criteria)).fetchall()
            if criteria is not None and not rows:
                rows = connection.execute(query.limit(1)).fetchall()
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as wrong:
        raise _fault(wrong)(f"the database refused the question ({type(wrong).__name__})") from None
    finally:
        engine.dispose()
    return pd.DataFrame([tuple(row) for row in rows], columns=names or ["_"], dtype=object).infer_objects()


def writes_allowed(url: str, table: str) -> list[str]:
    """What this account may do beside reading, as SQL's words; empty for one that may only read.

    Each is tried on no row, in a transaction that is always undone.  A default that makes transactions read-only is
    switched off first, as the account could do itself.

    Raises: SourceInvalid, Fault; no message holds an address or a password.
    """
    engine, reflected = _reflected(url, table)
    column = next(iter(reflected.columns))
    tried: dict[str, Any] = {
        "UPDATE": sqlalchemy.update(reflected).where(sqlalchemy.false()).values({column: column}),
        "DELETE": sqlalchemy.delete(reflected).where(sqlalchemy.false()),
        "INSERT": sqlalchemy.insert(reflected).from_select(
            list(reflected.columns), sqlalchemy.select(reflected).where(sqlalchemy.false())
        ),
    }
    postgresql = engine.dialect.name == "postgresql"
    if postgresql:  # elsewhere a CREATE TABLE ends the transaction
        tried["CREATE TABLE"] = sqlalchemy.text("CREATE TABLE datatrust_write_probe (x integer)")
    rights = []
    try:
        with engine.connect() as connection:
            try:
                if postgresql:
                    connection.execute(sqlalchemy.text("SET TRANSACTION READ WRITE"))
                    connection.execute(sqlalchemy.text("SET LOCAL lock_timeout = '2s'"))
                for name, statement in tried.items():
                    if _passes(connection, statement):
                        rights.append(name)
                if postgresql:
                    table_name = engine.dialect.identifier_preparer.format_table(reflected)
                    query = sqlalchemy.text("SELECT has_table_privilege(current_user, :table, 'TRUNCATE')")
                    if connection.execute(query, {"table": table_name}).scalar():
                        rights.append("TRUNCATE")
            finally:
                connection.rollback()
    except sqlalchemy.exc.SQLAlchemyError as wrong:
        if "recovery" in str(wrong):  # a standby server, on which nobody writes
            return []
        raise Fault(f"the database refused the question ({type(wrong).__name__})") from None
    finally:
        engine.dispose()
    return rights


def is_here(url: str) -> bool:
    """Whether a database is a file, or is reached over this machine's loopback or a Unix socket."""
    parsed = sqlalchemy.make_url(_split(url)[0])
    host_named = parsed.query.get("host", parsed.host or "")
    hosts = host_named.split(",") if isinstance(host_named, str) else host_named
    return all(not host or host.startswith(("/", "@")) or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def encrypted(url: str) -> bool | None:
    """Whether the rows come over TLS; None where only the database's administrator can say.

    Source: PostgreSQL, pg_stat_ssl.  Raises: SourceInvalid, Fault.
    """
    engine = _engine(_split(url)[0])
    try:
        if engine.dialect.name != "postgresql":
            return None
        with engine.connect() as connection:
            query = sqlalchemy.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool(connection.execute(query).scalar())
    except sqlalchemy.exc.SQLAlchemyError as wrong:
        raise Fault(f"the database refused the question ({type(wrong).__name__})") from None
    finally:
        engine.dispose()


def _passes(connection: sqlalchemy.Connection, statement: Any) -> bool:
    """Whether a statement is carried out; undone either way."""
    point = connection.begin_nested()
    try:
        connection.execute(statement)
    except sqlalchemy.exc.DBAPIError:
        return False
    finally:
        point.rollback()
    return True


def _split(url: str) -> tuple[str, str]:
    """Address, and what is named behind `#`: SQLAlchemy takes it for part of the database's name."""
    address, mark, table = url.rpartition("#")
    if not mark or "@" in table or "/" in table:  # a `#` of the password
        return url, ""
    return address, table


def _reflected(url: str, table: str) -> tuple[sqlalchemy.Engine, sqlalchemy.Table]:
    """Engine and table."""
    address, table_named = _split(url)
    name = table_named or table
    if not name:
        raise SourceInvalid("a database without a table", expected="…#table at the end of the URL, or table = '…'")
    schema, _, bare = name.rpartition(".")
    engine = _engine(address)
    try:
        return engine, sqlalchemy.Table(bare, sqlalchemy.MetaData(), schema=schema or None, autoload_with=engine)
    except sqlalchemy.exc.NoSuchTableError:
        engine.dispose()
        raise SourceInvalid(
            f"the database has no table {name!r}", remedy="check the name behind # in the URL"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as wrong:
        engine.dispose()
        remedy = "check that it runs, the address, the user and the password"
        raise _fault(wrong)(f"the database cannot be reached ({type(wrong).__name__})", remedy=remedy) from None


def _fault(wrong: Exception) -> type[Fault]:
    """What may pass by itself: PEP 249 has OperationalError for a connection that fails or is lost."""
    passes = isinstance(wrong, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
    return SourceAway if passes or getattr(wrong, "connection_invalidated", False) else Fault


def _engine(address: str) -> sqlalchemy.Engine:
    try:
        parsed = sqlalchemy.make_url(address)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
        if backend == "sqlite" and parsed.database and not Path(parsed.database).is_file():
            raise SourceInvalid(f"no file {Path(parsed.database).name!r}", expected="an SQLite database")
        patience = {"connect_timeout": _PATIENCE} if backend == "postgresql" else {}
        return sqlalchemy.create_engine(parsed, hide_parameters=True, logging_name=_UNLOGGED, connect_args=patience)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SourceInvalid(
            "a database's URL that cannot be read", expected="postgresql://user@host/db#table"
        ) from None
    except ModuleNotFoundError as wrong:
        remedy = "pip install 'datatrust-federation[node]'"
        raise Fault(f"the driver {wrong.name!r} is not installed", remedy=remedy) from None
