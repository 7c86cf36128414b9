"""The coordinator's database: a SQLite file of its folder, or PostgreSQL at a URL, behind the same few calls.

Statements are written once, in the SQL that both understand, with `?` for each value.  Writing transactions come one
after another on both, so that the register is one chain whatever the number of processes.  No error repeats what the
database says, a URL or a password.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.docket import migrations
from trust.errors import Fault, InvalidInput

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy

__all__ = ["Database", "Postgres", "Sqlite", "open_database"]

_LOCK_SECONDS = 30
"""Seconds that a writer waits for another."""
_CONNECT_SECONDS = 10
"""Seconds for a connection to PostgreSQL."""
_ADVISORY_LOCK = 0x6461746174727573
"""Of PostgreSQL's advisory locks, the one that writers take: the letters `datatrus`."""
_MIGRATING = threading.Lock()
_ADDRESS_FORM = "a folder, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def open_database(place: Path | str, *, durable: bool = True) -> Database:
    """The state at a folder or at a database's URL, with its tables of today's version.

    Args:
        durable: a committed transaction survives a power loss; for tests, False.

    Raises: Fault where it cannot be reached or used; InvalidInput for a URL that is none, a state of a newer version,
    a database of something else, or a missing driver.
    """
    database = Sqlite(place, durable=durable) if isinstance(place, Path) else Postgres(place, durable=durable)
    try:
        if database.revision() != migrations.HEAD:
            database.upgrade()
    except BaseException:
        database.close()
        raise
    return database


class Database(ABC):
    """One connection.  One object a thread; any number of processes.

    Attributes:
        execute: run one statement; a cursor with `fetchone`, `fetchall` and `rowcount`.  What the driver raises passes
            through: the caller is inside `mapped`.
    """

    execute: Callable[..., Any]
    _errors: tuple[type[Exception], ...]

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    @abstractmethod
    def close(self) -> None:
        """Release it."""

    @abstractmethod
    def revision(self) -> str | None:
        """The version of the state; None where it has none.  Raises: InvalidInput where it cannot be used."""

    def rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """What a query finds.  Raises: Fault."""
        if any(isinstance(value, str) and not _storable(value) for value in values):
            return []  # no row has a text that cannot be written
        with self.mapped():
            result_rows: list[tuple[Any, ...]] = self.execute(query, values).fetchall()
            return result_rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and no other writer meanwhile.  Raises: Fault."""
        if self.in_transaction:
            raise RuntimeError("a transaction inside another")
        with self.mapped():
            try:
                self._begin()
                yield
                self._commit()
            except BaseException:
                with suppress(*self._errors):
                    self._undo()
                raise

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """What the database or the disk says becomes a Fault, without its text."""
        try:
            yield
        except self._errors as wrong:
            raise self._unusable(wrong) from None

    def upgrade(self) -> None:
        """Bring the state to today's version, all of it or nothing, one process after another.  Raises: Fault."""
        from sqlalchemy import event
        from sqlalchemy.exc import DBAPIError

        engine = self._engine()
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(self._first))
        try:
            with _MIGRATING, engine.begin() as connection:
                self.revision()  # by now another process may have written a newer one
                migrations.upgrade(connection)
        except DBAPIError as wrong:
            raise self._unusable(wrong.orig or wrong) from None

    _first: str
    """The statement by which a transaction becomes the only one that writes."""

    @abstractmethod
    def _engine(self) -> sqlalchemy.Engine:
        """Connections of their own, for migrations."""

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    def _undo(self) -> None:
        self.execute("ROLLBACK")

    @abstractmethod
    def _unusable(self, wrong: BaseException) -> Fault: ...


class Sqlite(Database):
    """The file `state.sqlite` of a folder, made where it is missing."""

    _errors = (sqlite3.Error, OSError)
    _first = "BEGIN IMMEDIATE"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Raises: Fault."""
        self._folder, self._file, self._is_open = folder, folder / "state.sqlite", False
        with self.mapped():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
            self._connection = self._connect()
            self.execute = self._connection.execute
            try:
                self._write_ahead()
                self.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            except BaseException:
                self._connection.close()
                raise

    def _write_ahead(self) -> None:
        """A new file's journal becomes a write-ahead log; SQLite does not wait for another that does so."""
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                self.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as wrong:
                if wrong.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def revision(self) -> str | None:
        """The version of the state; None for a new one.  Raises: InvalidInput, Fault."""
        with self.mapped():
            found_revision = migrations.check_file(self._connection)
        self._is_open = True
        return found_revision

    def _engine(self) -> sqlalchemy.Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        return create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    def _begin(self) -> None:
        self.execute(self._first)

    def _commit(self) -> None:
        self.execute("COMMIT")

    def _unusable(self, wrong: BaseException) -> Fault:
        place = "" if self._is_open else f" in {str(self._folder)!r}"
        text = f"the coordinator's state{place} cannot be used ({type(wrong).__name__})"
        return Fault(text, remedy="correct disk or rights")


class Postgres(Database):
    """A database of a PostgreSQL server, in the first schema of the user's search path.

    A connection that is lost between two transactions is made again; one that is lost inside undoes it.
    """

    _first = f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"

    def __init__(self, url: str, *, durable: bool) -> None:
        """Raises: InvalidInput for no such URL, no driver, a user who is not let in; Fault where nobody answers."""
        parsed = _parsed(url)
        try:
            import psycopg
        except ImportError:
            raise InvalidInput(
                "the driver for PostgreSQL is not installed",
                expected="the package psycopg",
                remedy="pip install 'datatrust-federation[coordinator]'",
            ) from None
        self._psycopg, self._durable = psycopg, durable
        self._errors = (psycopg.Error, OSError)
        self._arguments = dict(parsed.get_dialect()().create_connect_args(parsed)[1])
        self._place = f"{parsed.database!r} at {parsed.host or 'this machine'}:{parsed.port or 5432}"
        self._user, self._within, self._is_closed = parsed.username, False, False
        self.execute = self._execute
        self._connection: psycopg.Connection[tuple[Any, ...]] = self._connect()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._within

    def close(self) -> None:
        """End the connection; it is not made again."""
        self._is_closed = True
        self._connection.close()

    def revision(self) -> str | None:
        """The version of the state; None for an empty database.

        Raises: InvalidInput for one of a newer version or one in which something else is, Fault.
        """
        tables = {name for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")}
        if migrations.TABLE in tables:
            return migrations.check_revision(row[0] for row in self.rows(migrations.STORED))
        if tables & {"log", "head", "study", "root"}:
            raise InvalidInput(
                f"the database {self._place} holds tables of something else",
                expected="an empty database or schema, or a coordinator's",
                remedy="create a database for the coordinator alone",
            )
        return None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection whose single transactions see one state throughout.  Raises: InvalidInput, Fault."""
        options = {
            "connect_timeout": _CONNECT_SECONDS,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        }
        commit = "on" if self._durable else "off"
        try:
            connection = self._psycopg.connect(**{**options, **self._arguments}, autocommit=True)
            connection.execute(
                "SET default_transaction_isolation = 'repeatable read';"
                f"SET lock_timeout = '{_LOCK_SECONDS}s';"
                f"SET idle_in_transaction_session_timeout = '{2 * _LOCK_SECONDS}s';"
                f"SET synchronous_commit = {commit}"
            )
        except self._psycopg.Error as wrong:
            raise self._not_let_in(wrong) from None
        return connection

    def _not_let_in(self, wrong: psycopg.Error) -> InvalidInput | Fault:
        """Why there is no connection; the server's words stay unsaid, which may be in any language."""
        server_connection = getattr(wrong, "pgconn", None)
        if server_connection is not None and (server_connection.used_password or server_connection.needs_password):
            got = "asks for a password of" if server_connection.needs_password else "refuses the password of"
            return InvalidInput(
                f"the server of the database {self._place} {got} user {self._user!r}, or has no such database",
                expected="a user whom it lets in",
                remedy="correct user, password or database in the URL",
            )
        return Fault(
            f"the coordinator's database {self._place} cannot be reached ({type(wrong).__name__})",
            remedy="start its server, create the database, or correct the URL",
        )

    def _execute(self, sql: str, parameters: tuple[Any, ...] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        again = not self._within and not self._is_closed  # nothing is open: the statement stands alone, or is the first
        if again and self._connection.info.transaction_status != self._psycopg.pq.TransactionStatus.IDLE:
            self._reconnect()  # it was lost, or somebody broke off in the middle of a statement
        try:
            cursor = self._connection.execute(_percent(sql), parameters or None)
        except self._psycopg.OperationalError as wrong:
            if not again or not self._is_lost(wrong):
                raise
            self._reconnect()
            cursor = self._connection.execute(_percent(sql), parameters or None)
        finally:
            if sql in ("COMMIT", "ROLLBACK"):
                self._within = False
        if sql.startswith("BEGIN"):
            self._within = True
        return cursor

    def _undo(self) -> None:
        """Somebody who broke off in the middle of a statement holds up no other writer until it has ended."""
        if self._connection.info.transaction_status == self._psycopg.pq.TransactionStatus.ACTIVE:
            self._within = False
            self._drop()
        else:
            self.execute("ROLLBACK")

    def _drop(self) -> None:
        with suppress(self._psycopg.Error):
            if self._connection.info.transaction_status == self._psycopg.pq.TransactionStatus.ACTIVE:
                self._connection.cancel_safe(timeout=_CONNECT_SECONDS)
        self._connection.close()

    def _reconnect(self) -> None:
        self._drop()
        self._connection = self._connect()

    def _is_lost(self, wrong: BaseException) -> bool:
        """Whether there is no connection any more, as far as this error says."""
        if self._connection.closed:
            return True
        state = getattr(wrong, "sqlstate", None)
        return isinstance(wrong, self._psycopg.OperationalError) and (state is None or state[:3] in ("57P", "080"))

    def _engine(self) -> sqlalchemy.Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        def connect() -> psycopg.Connection[tuple[Any, ...]]:
            connection = self._connect()
            connection.autocommit = False
            connection.isolation_level = self._psycopg.IsolationLevel.READ_COMMITTED
            return connection

        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    def _begin(self) -> None:
        """Reads see what the writer before has committed: the lock is there before the first of them."""
        self.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {self._first}")

    def _commit(self) -> None:
        done = self.execute("COMMIT")
        if done.statusmessage != "COMMIT":  # PostgreSQL's answer where a statement of it had failed
            raise self._psycopg.InternalError

    def _unusable(self, wrong: BaseException) -> Fault:
        disk = "correct its server's disk or its user's rights"
        return Fault(
            f"the coordinator's database {self._place} cannot be used ({type(wrong).__name__})",
            remedy="look at its server and at the network" if self._is_lost(wrong) else disk,
        )


def _parsed(url: str) -> sqlalchemy.URL:
    """Raises: InvalidInput, which does not repeat it."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise InvalidInput("a database that is not a URL", expected=_ADDRESS_FORM) from None
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise InvalidInput("a URL of another kind of database", expected=_ADDRESS_FORM)
    if not parsed.database:
        raise InvalidInput("a URL that names no database", expected=_ADDRESS_FORM)
    if "@" in f"{parsed.host}{parsed.database}":  # a part of the password, which errors would name
        raise InvalidInput("a URL with a second @", expected=_ADDRESS_FORM, remedy="write @ in a password as %40")
    return parsed.set(drivername="postgresql+psycopg")


@lru_cache(maxsize=256)
def _percent(sql: str) -> bytes:
    """With psycopg's sign for a value.  No statement of ours has a `?` or a `%` otherwise."""
    return sql.replace("?", "%s").encode("ascii")


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False
