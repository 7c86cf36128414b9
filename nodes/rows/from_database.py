"""Rows from a database, through SQLAlchemy: only the columns that a study needs, and no more rows than it may need.

No message holds an address, a user, a password or a value.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import sqlalchemy
from sqlalchemy.types import NullType

from nodes.rows.from_frame import FrameTable
from nodes.rows.table import Condition, SourceFingerprint, TableInMemory, copy_into_memory, require_columns
from trust.errors import Fault, SourceInvalid

__all__ = ["DATABASES", "DatabaseTable", "SourceAway"]

DATABASES = ("postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql", "duckdb")
_CONNECT_SECONDS = 5
_WRITE_RIGHTS = """
SELECT has_any_column_privilege(:table, 'UPDATE') AS "UPDATE", has_table_privilege(:table, 'DELETE') AS "DELETE",
       has_any_column_privilege(:table, 'INSERT') AS "INSERT",
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS "CREATE TABLE",
       has_table_privilege(:table, 'TRUNCATE') AS "TRUNCATE", pg_is_in_recovery() AS "STANDBY"
"""
_UNLOGGED = "datatrust"
"""SQLAlchemy logs each row that it fetches where its logger is set to DEBUG: our engines have one that says nothing.  A
filter stays on it whatever is configured later; whether it is `disabled` does not.
"""
logging.getLogger(f"sqlalchemy.engine.Engine.{_UNLOGGED}").addFilter(lambda record: False)


class SourceAway(Fault):
    """The partner's database cannot be reached now, or went away while it was asked; it may be back in a moment."""


@dataclass(frozen=True)
class DatabaseTable:
    """A table or view of a database; `table` names it where the URL does not.  It shows nothing of itself."""

    url: str = field(repr=False)
    table: str = ""

    @property
    def kind(self) -> str:
        """The database's: `postgresql`."""
        return self.url.partition("://")[0].partition("+")[0].lower()

    @property
    def address(self) -> str:
        """The URL without the table's name."""
        return _split(self.url)[0]

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, None for any other."""
        if self.kind != "sqlite":
            return None
        with suppress(sqlalchemy.exc.ArgumentError):
            return Path(sqlalchemy.make_url(self.address).database or "")
        return None

    def names(self) -> list[str]:
        """All columns, in order.  Raises: SourceInvalid, Fault."""
        engine, reflected = _reflected(self.url, self.table)
        engine.dispose()
        return [c.name for c in reflected.columns]

    def open(
        self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: Condition | None = None
    ) -> None:
        """As `Table.open`.  Raises: SourceAway where the database does not answer."""
        FrameTable(self.read(names, condition)).open(connection, names)

    def fingerprint(self, columns: Sequence[str]) -> SourceFingerprint:
        """Of SQLite's files; of a database that others write to there is none."""
        return SourceFingerprint.of_files(self._files())

    def is_unchanged(self, since: SourceFingerprint, columns: Sequence[str]) -> bool:
        """As `Table.is_unchanged`."""
        return since.is_of_files(self._files())

    def copy(self, names: list[str], needed: list[str]) -> tuple[pd.DataFrame | TableInMemory, SourceFingerprint]:
        """As `Table.copy`."""
        return copy_into_memory(self, names, needed)

    def _files(self) -> list[Path]:
        if self.file is None or not self.file.is_file():
            return []
        beside = [Path(f"{self.file}{ending}") for ending in ("-wal", "-journal")]
        return [self.file, *(path for path in beside if path.exists())]

    def read(self, names: Sequence[str], condition: Condition | None = None) -> pd.DataFrame:
        """These columns of the rows that the condition keeps; of one row where it keeps none, so that a table without
        rows is told from one without such rows.

        Raises: SourceInvalid, Fault; SourceAway where it does not answer.
        """
        engine, reflected = _reflected(self.url, self.table)
        try:
            require_columns(names, [c.name for c in reflected.columns])
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
        return pd.DataFrame([tuple(row) for row in rows], columns=list(names) or ["_"], dtype=object).infer_objects()

    def write_rights(self) -> list[str] | None:
        """What this account may do beside reading, as SQL's words; empty for one that may only read.

        None where it is not known: only PostgreSQL is asked.  Nothing is tried on the table.

        Raises: SourceInvalid, Fault; no message holds an address or a password.
        """
        if self.kind != "postgresql":
            return None
        engine, reflected = _reflected(self.url, self.table)
        try:
            with engine.connect() as connection:
                name = engine.dialect.identifier_preparer.format_table(reflected)
                row = connection.execute(sqlalchemy.text(_WRITE_RIGHTS), {"table": name}).mappings().one()
                return [] if row["STANDBY"] else [right for right in row if right != "STANDBY" and row[right]]
        except sqlalchemy.exc.SQLAlchemyError as wrong:
            raise Fault(f"the database refused the question ({type(wrong).__name__})") from None
        finally:
            engine.dispose()

    @property
    def is_local(self) -> bool:
        """Whether it is a file, or is reached over this machine's loopback or a Unix socket."""
        parsed = sqlalchemy.make_url(self.address)
        host_named = parsed.query.get("host", parsed.host or "")
        hosts = host_named.split(",") if isinstance(host_named, str) else host_named
        return all(not host or host.startswith(("/", "@")) or _is_loopback(host) for host in hosts)

    def is_encrypted(self) -> bool | None:
        """Whether the rows come over TLS; None where only the database's administrator can say.

        Source: PostgreSQL, pg_stat_ssl.  Raises: SourceInvalid, Fault.
        """
        engine = _engine(self.address)
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


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
        patience = {"connect_timeout": _CONNECT_SECONDS} if backend == "postgresql" else {}
        return sqlalchemy.create_engine(parsed, hide_parameters=True, logging_name=_UNLOGGED, connect_args=patience)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SourceInvalid(
            "a database's URL that cannot be read", expected="postgresql://user@host/db#table"
        ) from None
    except ModuleNotFoundError as wrong:
        remedy = "pip install 'datatrust-federation[node]'"
        raise Fault(f"the driver {wrong.name!r} is not installed", remedy=remedy) from None
