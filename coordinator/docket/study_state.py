"""What a running study keeps in the coordinator's state, so that another process can go on with it.

Kept bytes, the register's entries, the lease of the process that carries a study out, and its last words for people who
wait.  Each is one transaction; whoever was first wins, so two processes that carry out one study by mistake do the same
thing once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from coordinator.docket.database import Database
from coordinator.docket.register import Register
from trust.times import write_time

__all__ = ["RunState"]

_PROBE = "/"
"""In place of a study, whose id has no such letter."""
_KEPT_QUERY = "SELECT raw FROM kept WHERE study = ? AND name = ?"


class RunState:
    """The half of `docket.Docket` that concerns studies while they run.

    Attributes:
        register: the public log.
    """

    def __init__(self, db: Database, register: Register, clock: Callable[[], datetime]) -> None:
        self._db, self.register, self._clock = db, register, clock

    def close(self) -> None:
        """Release the database."""
        self._db.close()

    # ---- the register

    def publish(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """One entry of the register; its index."""
        with self._transaction():
            return self._write(kind, study, body)

    def publish_once(self, key: str, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """The same, at most once for a study's `key`: a second call writes nothing and gives the first one's index.

        It is remembered when the study is forgotten, too.
        """
        with self._transaction():
            published_rows = self._rows("SELECT seq FROM published WHERE study = ? AND name = ?", study, key)
            if published_rows:
                return int(published_rows[0][0])
            index = self._write(kind, study, body)
            self._db.execute("INSERT INTO published (study, name, seq) VALUES (?, ?, ?)", (study, key, index))
            return index

    def head(self, partner: str) -> str:
        """The last checkpoint of a partner's journal, empty where there is none."""
        return self.register.head_of(partner) or ""

    # ---- bytes

    def keep(self, study: str, key: str, raw: bytes) -> bytes:
        """Keep these bytes of a study under a key, unless there are some already; what is kept."""
        with self._transaction(writes_register=False):
            self._db.execute(
                "INSERT INTO kept (study, name, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (study, key, raw)
            )
            return bytes(self._rows(_KEPT_QUERY, study, key)[0][0])

    def kept(self, study: str, key: str) -> bytes | None:
        """What was kept, or None."""
        rows = self._rows(_KEPT_QUERY, study, key)
        return bytes(rows[0][0]) if rows else None

    def keeps(self, study: str) -> int:
        """How many things are kept of a study: more, each time that it has got on."""
        return int(self._rows("SELECT COUNT(*) FROM kept WHERE study = ?", study)[0][0])

    def keeping(self) -> list[str]:
        """The studies of which bytes are kept."""
        return [study for (study,) in self._rows("SELECT DISTINCT study FROM kept ORDER BY study")]

    def forget(self, study: str) -> None:
        """Remove what was kept of a study and said about it; what it has published is not published again."""
        with self._transaction(writes_register=False):
            self._db.execute("DELETE FROM kept WHERE study = ?", (study,))
            self._db.execute("DELETE FROM said WHERE study = ?", (study,))

    # ---- leases

    def lease(self, study: str, holder: str, seconds: float) -> bool:
        """Take a study for so long; False where another holds it and its time is not over."""
        now, expires = self._milliseconds(), self._milliseconds(seconds)
        with self._transaction(writes_register=False):
            acquired = self._db.execute(
                "INSERT INTO lease (study, holder, until) VALUES (?, ?, ?) ON CONFLICT (study) DO UPDATE"
                " SET holder = excluded.holder, until = excluded.until"
                " WHERE lease.holder = excluded.holder OR lease.until <= ?",
                (study, holder, expires, now),
            )
            return bool(acquired.rowcount == 1)

    def renew(self, study: str, holder: str, seconds: float) -> bool:
        """Hold a study for so long from now on; False where it is no longer this holder's: it must stop."""
        expires = self._milliseconds(seconds)
        with self._transaction(writes_register=False):
            renewed = self._db.execute(
                "UPDATE lease SET until = ? WHERE study = ? AND holder = ?", (expires, study, holder)
            )
            return bool(renewed.rowcount == 1)

    def free(self, study: str, holder: str) -> None:
        """Give a study back; nothing where it is another's."""
        with self._transaction(writes_register=False):
            self._db.execute("DELETE FROM lease WHERE study = ? AND holder = ?", (study, holder))

    def leased(self) -> dict[str, tuple[str, datetime]]:
        """Study -> who has taken it and until when (UTC), those whose time is over too."""
        rows = self._rows("SELECT study, holder, until FROM lease ORDER BY study")
        return {study: (holder, datetime.fromtimestamp(expires / 1000, UTC)) for study, holder, expires in rows}

    def _milliseconds(self, seconds: float = 0.0) -> int:
        """Of the docket's clock since 1970, so many seconds from now."""
        return round((self._clock().timestamp() + seconds) * 1000)

    # ---- words

    def tell(self, study: str, words: str) -> None:
        """Say how far a study is, for whoever waits."""
        with self._transaction(writes_register=False):
            self._db.execute(
                "INSERT INTO said (study, words, at) VALUES (?, ?, ?)"
                " ON CONFLICT (study) DO UPDATE SET words = excluded.words, at = excluded.at",
                (study, words, write_time(self._clock())),
            )

    def writable(self) -> None:
        """Prove that the database can be written now: commit a row.  Raises: Fault."""
        self.tell(_PROBE, secrets.token_hex(8))  # SQLite does not write what is as it was

    def told(self, study: str) -> str:
        """The last words about a study, empty where there are none."""
        return self.told_at(study)[0]

    def told_at(self, study: str) -> tuple[str, str]:
        """The last words about a study and when they were said; both empty where there are none."""
        rows = self._rows("SELECT words, at FROM said WHERE study = ?", study)
        return (rows[0][0], rows[0][1]) if rows else ("", "")

    # ---- inside

    def _write(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        return self.register.append(kind, study, write_time(self._clock()), body)

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        return self._db.rows(query, *values)

    @contextmanager
    def _transaction(self, *, writes_register: bool = True) -> Iterator[None]:
        """All or nothing; the register's checkpoint is signed anew with what was written."""
        with self._db.transaction():
            yield
            if writes_register:
                self.register.checkpoint()
