"""A database of a node or a coordinator opened for reading only: the folder stays as it is, byte for byte."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from trust.errors import InvalidInput
from trust.logs.logbook import check_version

__all__ = ["opened"]


@contextmanager
def opened(
    folder: Path, subject: str, check: Callable[[sqlite3.Connection], object] = check_version
) -> Iterator[sqlite3.Connection]:
    """The database of a coordinator's or a node's folder, read-only, while its owner may be writing.

    `what` names the folder's owner in errors; `check` raises InvalidInput for a state of a newer version.
    Raises: InvalidInput where it is not there, no database, or of a newer version.
    """
    file = folder / "state.sqlite"
    if not file.is_file():
        raise InvalidInput(
            f"{str(file)!r} is not there", expected=f"the state of {subject}", remedy="name the right folder"
        )
    # without a write-ahead log nobody has the file open, and SQLite need not make one beside it
    mode = "" if file.with_name(f"{file.name}-wal").exists() else "&immutable=1"
    try:
        db = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro{mode}", uri=True, isolation_level=None)
        try:
            check(db)
            db.execute("BEGIN")  # one state of it, until it is closed
            yield db
        finally:
            db.close()
    except (sqlite3.Error, UnicodeDecodeError) as wrong:  # its own words can be damaged too
        raise InvalidInput(
            f"{str(file)!r} cannot be read ({type(wrong).__name__})",
            expected=f"the database of {subject}",
            remedy="look at the disk; a damaged file cannot be repaired by hand",
        ) from None
