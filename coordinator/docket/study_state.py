"""What a running study keeps in the coordinator's database, so that another process can go on with it.

Each call is one transaction.  The first writer wins: two processes that carry out the same study by mistake do the
same thing once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from coordinator.docket.database import Database
from trust.times import write_time

__all__ = ["KeptMessages", "Leases", "ProgressNotes"]

_KEPT_QUERY = "SELECT raw FROM kept WHERE study = ? AND name = ?"


class KeptMessages:
    """The bytes of each study's messages, answers and salts, by study and key."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(self, study: str, key: str, raw: bytes) -> bytes:
        """Keep these bytes of a study under a key, unless some are kept there already; returns what is kept.

        Raises: Fault.
        """
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO kept (study, name, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (study, key, raw)
            )
            return bytes(self._db.rows(_KEPT_QUERY, study, key)[0][0])

    def read(self, study: str, key: str) -> bytes | None:
        """The bytes under a key, or None.  Raises: Fault."""
        rows = self._db.rows(_KEPT_QUERY, study, key)
        return bytes(rows[0][0]) if rows else None

    def count(self, study: str) -> int:
        """How many keys a study has; the number grows as the study proceeds.  Raises: Fault."""
        return int(self._db.rows("SELECT COUNT(*) FROM kept WHERE study = ?", study)[0][0])

    def studies(self) -> list[str]:
        """The ids of the studies of which bytes are kept, sorted.  Raises: Fault."""
        return [study for (study,) in self._db.rows("SELECT DISTINCT study FROM kept ORDER BY study")]


class Leases:
    """Which process carries out which study, and until when."""

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock

    def acquire(self, study: str, holder: str, seconds: float) -> bool:
        """Take a study for so long; False while another holder's lease runs.  Raises: Fault."""
        now, expires = self._milliseconds(), self._milliseconds(seconds)
        with self._db.transaction():
            acquired = self._db.execute(
                "INSERT INTO lease (study, holder, until) VALUES (?, ?, ?) ON CONFLICT (study) DO UPDATE"
                " SET holder = excluded.holder, until = excluded.until"
                " WHERE lease.holder = excluded.holder OR lease.until <= ?",
                (study, holder, expires, now),
            )
            return bool(acquired.rowcount == 1)

    def renew(self, study: str, holder: str, seconds: float) -> bool:
        """Hold a study for so long from now on; False where it is another's by now: this holder must stop.

        Raises: Fault.
        """
        expires = self._milliseconds(seconds)
        with self._db.transaction():
            renewed = self._db.execute(
                "UPDATE lease SET until = ? WHERE study = ? AND holder = ?", (expires, study, holder)
            )
            return bool(renewed.rowcount == 1)

    def release(self, study: str, holder: str) -> None:
        """Give a study back; does nothing where it is another's.  Raises: Fault."""
        with self._db.transaction():
            self._db.execute("DELETE FROM lease WHERE study = ? AND holder = ?", (study, holder))

    def holders(self) -> dict[str, tuple[str, datetime]]:
        """Study -> its holder and the end of the lease (UTC), expired leases included.  Raises: Fault."""
        rows = self._db.rows("SELECT study, holder, until FROM lease ORDER BY study")
        return {study: (holder, datetime.fromtimestamp(expires / 1000, UTC)) for study, holder, expires in rows}

    def _milliseconds(self, seconds: float = 0.0) -> int:
        """Milliseconds since 1970 of a time so many seconds from now."""
        return round((self._clock().timestamp() + seconds) * 1000)


class _Note(NamedTuple):
    text: str
    written_at: str


class ProgressNotes:
    """The latest note on how far each study is, for people who wait for it.

    Under the empty name stands what the worker reports about the partners' connections.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock

    def write(self, study: str, text: str) -> None:
        """Replace a study's note.  Raises: Fault."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO said (study, words, at) VALUES (?, ?, ?)"
                " ON CONFLICT (study) DO UPDATE SET words = excluded.words, at = excluded.at",
                (study, text, write_time(self._clock())),
            )

    def read(self, study: str) -> _Note:
        """A study's note, and the time at which it was written; both empty where there is none.  Raises: Fault."""
        rows = self._db.rows("SELECT words, at FROM said WHERE study = ?", study)
        return _Note(*rows[0]) if rows else _Note("", "")

    def connections(self) -> dict[str, Mapping[str, Any]]:
        """Partner -> `online` and `since`, as far as the worker has reported (`{"partners": {…}}`).  Raises: Fault."""
        report: Any = None
        with suppress(ValueError):
            report = json.loads(self.read("").text or "{}")
        partners = report.get("partners") if isinstance(report, dict) else None
        reported = partners.items() if isinstance(partners, dict) else ()
        return {name: partner for name, partner in reported if isinstance(partner, dict)}
