"""The tables of a coordinator's state, as steps from each version to the next, which Alembic runs.

A step, once released, is never changed; a new one gets the next number here and a file in `versions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trust.errors import InvalidInput

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import Connection

__all__ = ["FOLDER", "HEAD", "MARK", "REVISIONS", "STORED", "TABLE", "check_file", "check_revision", "upgrade"]

REVISIONS: Final = ("0001",)
"""In their order."""
HEAD: Final = REVISIONS[-1]
TABLE: Final = "datatrust_version"
"""The table that holds the version; other software in the same database may have an `alembic_version`."""
STORED: Final = "SELECT version_num FROM datatrust_version"
MARK: Final = 1
"""SQLite's `user_version` of a state that this software writes; a higher one is refused."""
FOLDER: Final = Path(__file__).parent


def check_revision(revisions: Iterable[str]) -> str:
    """The version of a state, from its table.  Raises: InvalidInput where it is not one that is known."""
    names = list(revisions)
    if len(names) != 1:
        raise InvalidInput(
            f"a state with {len(names)} versions", expected="one", remedy="restore the coordinator's state from a copy"
        )
    if names[0] not in REVISIONS:
        raise _newer(names[0], HEAD)
    return names[0]


def check_file(db: sqlite3.Connection) -> str | None:
    """The version of a SQLite file's state; None for a new one.

    Raises: InvalidInput where a newer version of this software has written it; `sqlite3.Error`.
    """
    mark = db.execute("PRAGMA user_version").fetchone()[0]
    if mark > MARK:
        raise _newer(mark, MARK)
    if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone():
        return None
    return check_revision(row[0] for row in db.execute(STORED))


def _newer(revision: object, newest_revision: object) -> InvalidInput:
    """For a state that a newer version of this software has written."""
    return InvalidInput(
        f"a state of version {revision}", expected=f"version {newest_revision} or older", remedy="use a newer datatrust"
    )


def upgrade(connection: Connection) -> None:
    """Bring a state to the newest version.  The caller has opened the transaction, and commits it.

    One thread at a time: Alembic keeps what it works on in global names.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
