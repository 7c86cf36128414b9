"""The cohorts that a node has answered, for differencing: which persons, of which edition, for which columns.

A set of persons is a bit for each person of its edition, kept once however many studies asked for it.  The node's
state holds the sets and the folder of editions who the persons are, as keyed tokens; neither tells anything alone.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from nodes.rows.editions import CohortRows, EditionKeeper
from trust.dataset.dataset import PARTNER, Dataset
from trust.decision import Decision
from trust.errors import Fault
from trust.privacy.differencing import Earlier, differencing
from trust.secure_sum.errors import StoreUnavailable

__all__ = ["AnsweredCohorts", "columns_read"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cohort (
    digest BLOB PRIMARY KEY, dataset TEXT NOT NULL, edition INTEGER NOT NULL, extract BLOB NOT NULL,
    persons BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS answered_cohort (
    study TEXT NOT NULL, cohort BLOB NOT NULL, columns TEXT NOT NULL, k INTEGER NOT NULL,
    PRIMARY KEY (study, cohort)) STRICT;
"""


def columns_read(dataset: Dataset, names: Iterable[str]) -> frozenset[str]:
    """These columns, and those that derived ones among them read: to ask for a column's logarithm is to ask for it."""
    read = set(names)
    for name in list(read):
        if name != PARTNER and dataset.column(name).derived:
            read |= set(dataset.derivation(name).columns)
    return frozenset(read)


class AnsweredCohorts:
    """The cohorts that were answered from one node's editions, in the node's database.

    Judge, record, then answer; where studies may run side by side, judge and record in one transaction.
    Every method raises StoreUnavailable.
    """

    def __init__(self, database: sqlite3.Connection, editions: EditionKeeper) -> None:
        self._database, self._editions = database, editions
        with _mapped():
            database.executescript(_SCHEMA)

    def judge(self, rows: CohortRows, columns: Iterable[str], persons: int) -> Decision:
        """The rule `differencing` on a cohort that is to be asked about these columns; `persons` is k.

        Raises: Fault where an earlier edition's tokens are lost.
        """
        columns_asked = columns_read(self._editions.dataset, columns)
        return differencing(rows.persons, columns_asked, self._earlier(rows, columns_asked), persons)

    def record(self, study: str, rows: CohortRows, columns: Iterable[str], persons: int) -> None:
        """This study has been answered, or is about to be; its edition is kept from here on.

        Raises: Fault where the edition cannot be kept.
        """
        self._editions.keep(rows)
        dataset = self._editions.dataset
        edition_id, cohort, digest = self._names_of(rows)
        read = " ".join(sorted(columns_read(dataset, columns)))
        with _mapped():
            self._database.execute(
                "INSERT OR IGNORE INTO cohort VALUES (?, ?, ?, ?, ?)",
                (digest, dataset.id, rows.number, edition_id, cohort),
            )
            self._database.execute(
                "INSERT OR REPLACE INTO answered_cohort VALUES (?, ?, ?, ?)", (study, digest, read, persons)
            )

    def is_of(self, study: str, rows: CohortRows) -> bool:
        """Whether a study was recorded with these very persons of this edition.  Raises: StoreUnavailable."""
        with _mapped():
            row = self._database.execute("SELECT cohort FROM answered_cohort WHERE study = ?", (study,)).fetchone()
        return row is not None and row[0] == self._names_of(rows)[2]

    def _names_of(self, rows: CohortRows) -> tuple[bytes, bytes, bytes]:
        """Which persons the edition has, which of them are in the cohort, and a digest of both."""
        dataset = self._editions.dataset
        edition_id, cohort = self._editions.identity(rows.edition), rows.persons.tobytes()
        return (
            edition_id,
            cohort,
            hashlib.sha256(f"{dataset.id}\0{rows.number}\0".encode() + edition_id + cohort).digest(),
        )

    def _earlier(self, cohort_rows: CohortRows, columns_asked: frozenset[str]) -> Iterator[Earlier]:
        """Each set that was answered for a shared column, once, as persons of the edition now in use."""
        with _mapped():
            rows = self._database.execute(
                "SELECT cohort, columns, k FROM answered_cohort JOIN cohort ON digest = cohort WHERE dataset = ?",
                (self._editions.dataset.id,),
            ).fetchall()
        shared: dict[bytes, tuple[set[str], int]] = {}
        for cohort, columns, k in rows:
            if not columns_asked.isdisjoint(read := columns.split(" ")):
                places_before, most = shared.get(cohort, (set(), 1))
                shared[cohort] = places_before | set(read), max(most, k)
        for cohort, (read, most) in shared.items():
            with _mapped():
                row = self._database.execute("SELECT edition, extract, persons FROM cohort WHERE digest = ?", (cohort,))
                number, edition_id, persons = row.fetchone()
            if number == cohort_rows.number and edition_id != self._editions.identity(cohort_rows.edition):
                raise Fault("an edition under the number of another", remedy="put the folder of editions back")
            stored = np.frombuffer(persons, dtype=np.uint8)
            places_there, elsewhere = self._editions.placed(number, stored, cohort_rows.edition)
            yield Earlier(frozenset(read), places_there, elsewhere, most)


@contextmanager
def _mapped() -> Iterator[None]:
    """What SQLite says becomes StoreUnavailable, without its text."""
    try:
        yield
    except sqlite3.Error as wrong:
        name = type(wrong).__name__
        raise StoreUnavailable(f"a {name} of the store", expected="a folder that can be written") from None
