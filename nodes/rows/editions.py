"""The editions of one node: a dated copy of the table, used by all studies until k persons have come or gone.

With a live table each study would see a few persons more or less than the last, and two results, subtracted, would tell
of those few.  So a node answers from one edition and takes the next when at least k persons differ, k being the persons
of the charter's floor.  Until then values that were changed do not enter either.  Persons who have opted out are
removed at once, from a kept edition too, and are not counted as gone.

What is read, and when:

- the first study takes all of the dataset's columns that the source has into memory.  An edition from which nothing was
  answered is taken again as soon as the source may have changed, so that an operator who corrects a value need not wait
  for k persons;
- each later study first asks whether the source has changed.  Of a DataFrame (compared value by value) and of a file or
  SQLite (dates and size; content too while it is quite new) an answer no is proof, and nothing more is read.  Else the
  ids are read and compared; where each row is a person, all columns are;
- with a state that is kept, the edition goes to the disk before the first answer leaves (`edition_files.py`).  The
  rows of the last edition go when the next one comes; its tokens stay, since cohorts that were answered are compared
  over editions (`nodes/study/answered_cohorts.py`).

Limits: a value that one person changed enters with the next edition, and a cohort whose persons are the same in both
then tells of the change.  Of rows without an id, a row that changed counts twice.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nodes.rows.cohort_rows import FrozenRows, freeze, needed
from nodes.rows.edition import Edition, come_or_gone, ids_of, table_columns, take
from nodes.rows.edition_files import EditionEntry, EditionFiles
from nodes.rows.opt_outs import opted_out
from nodes.rows.source import Source, table_of
from nodes.rows.table import SourceFingerprint, TableInMemory
from trust.canonical import digest
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER, Dataset
from trust.errors import Fault
from trust.privacy.differencing import Bits, bits, places
from trust.times import write_time

__all__ = ["CohortRows", "EditionKeeper"]


@dataclass(frozen=True)
class CohortRows:
    """Rows of one study, and the edition that they are of.

    Attributes:
        frozen: rows of the cohort.
        edition: what they were taken from.
        persons: the cohort's persons, over all persons of the edition.
    """

    frozen: FrozenRows
    edition: Edition = field(repr=False)
    persons: Bits = field(repr=False)

    @property
    def number(self) -> int:
        """Of the edition, from 1."""
        return self.edition.number

    @property
    def date(self) -> str:
        """When the edition was taken, `YYYY-MM-DDTHH:MM:SSZ`."""
        return self.edition.taken


class EditionKeeper:
    """The editions of one node in `folder`, made if it is missing.

    Args:
        persons: k; as many must have come or gone for the next edition.
        durable: keep the edition over a restart; else its rows stay in memory, and the folder is one that is thrown
            away.

    Raises: Fault where the folder cannot be used.
    """

    def __init__(self, folder: Path, dataset: Dataset, *, persons: int, durable: bool = True) -> None:
        self.dataset, self._digest = dataset, dataset.digest()
        self._k, self._durable = persons, durable
        self._current_edition: Edition | None = None
        self._next: tuple[Edition, frozenset[str]] | None = None
        self._proof: tuple[SourceFingerprint, frozenset[str]] | None = None
        self._last = 0
        self._rows_in_use: list[weakref.ref[CohortRows]] = []
        self._positions_of: dict[tuple[int, int], tuple[Edition, npt.NDArray[np.int64]]] = {}
        try:
            self._files = EditionFiles(folder, durable=durable)
        except OSError as wrong:
            raise Fault(f"the folder of editions cannot be used ({type(wrong).__name__})") from None

    def freeze(self, source: Source, names: Iterable[str], cohort: Cohort | None, *, now: datetime) -> CohortRows:
        """The columns `names` of the persons in the cohort, from the edition in use.  `keep` makes it last.

        Raises: SourceInvalid, Fault.
        """
        columns = [n for n in dict.fromkeys([*names, *(cohort.columns if cohort else ())]) if n != PARTNER]
        source = source.checked(self.dataset)
        gone = opted_out(source, self.dataset)
        self._reload(source)
        edition = self._current(source, needed(self.dataset, source, columns), gone, now)
        edition_source = source.model_copy(update={"url": edition.source.url, "table": "", "opt_out": None})
        frozen = freeze(self.dataset, edition_source, names, cohort, gone)
        rows = CohortRows(frozen, edition, edition.persons(frozen))
        self._rows_in_use = [reference for reference in self._rows_in_use if reference() is not None] + [
            weakref.ref(rows)
        ]
        return rows

    def keep(self, rows: CohortRows) -> None:
        """All studies from now on use this edition; to be called before its first answer leaves.

        Raises: Fault where another study has made the same edition from another copy.
        """
        edition = rows.edition
        self._reload(edition.source)
        if edition.kept:
            return  # one that gave way meanwhile has its tokens
        if edition.number <= self._last:
            raise Fault("another study has made this edition meanwhile", remedy="run the study again")
        try:
            if self._current_edition is not None:
                self._files.keep_tokens(self._current_edition.number, self._current_edition.tokens(self._files.key))
            if self._durable:
                self._write(edition)
        except OSError as wrong:
            raise Fault(f"the edition cannot be kept ({type(wrong).__name__})") from None
        edition.kept = True
        self._current_edition, self._last, self._next = edition, edition.number, None
        self._proof = None

    def identity(self, edition: Edition) -> bytes:
        """Which persons an edition has, in which order: 32 bytes, of the keyed tokens."""
        return hashlib.sha256(edition.tokens(self._files.key).tobytes()).digest()

    def placed(self, number: int, persons: Bits, among: Edition) -> tuple[Bits, int]:
        """A set of persons of edition `number` as one of the persons of `among`, and how many are not there.

        Raises: Fault where the edition's tokens are lost: what cannot be compared is not answered.
        """
        if number == among.number:
            return persons, 0
        key = (number, id(among))
        if key not in self._positions_of or self._positions_of[key][0] is not among:
            self._positions_of[key] = among, _positions_of(self._tokens(number), among.tokens(self._files.key))
        moved_rows = self._positions_of[key][1]
        places_there = moved_rows[places(persons, len(moved_rows))]
        return bits(places_there[places_there >= 0], self._size(among)), int(np.count_nonzero(places_there < 0))

    def _size(self, edition: Edition) -> int:
        return len(edition.tokens(self._files.key))

    # ---- which edition

    def _current(self, source: Source, names: list[str], gone: frozenset[str], now: datetime) -> Edition:
        if self._next is not None:  # taken for a study that was then refused, or is about to be answered
            edition, fingerprint_then = self._next
            is_unchanged = self._is_unchanged(source, edition.seen) or self._in_use(edition)
            if fingerprint_then == gone and edition.number == self._last + 1 and is_unchanged:
                return edition
        entry = self._current_edition
        if entry is None or entry.of != self._source_id(source):
            return self._take(source, names, gone, now)
        if self._is_unchanged(source, entry.seen):
            return entry
        if self._proof is not None and self._proof[1] == gone and self._is_unchanged(source, self._proof[0]):
            return entry
        fingerprint = table_of(source).fingerprint(table_columns(source, self.dataset))
        if self.dataset.person != "row" and len((entry.ids ^ ids_of(source, self.dataset)) - gone) < self._k:
            self._proof = fingerprint, gone
            return entry
        edition = self._take(source, names, gone, now)
        if come_or_gone(entry, edition, self.dataset, gone) < self._k:
            self._next = None
            self._proof = edition.seen, gone
            return entry
        return edition

    def _is_unchanged(self, source: Source, since: SourceFingerprint) -> bool:
        return table_of(source).is_unchanged(since, table_columns(source, self.dataset))

    def _in_use(self, edition: Edition) -> bool:
        """Whether another study is about to be answered from it, and nothing tells if the source has changed since: of
        two copies only one could be the next edition.
        """
        if edition.seen.is_proof:
            return False
        return any(
            rows is not None and rows.edition is edition for rows in (reference() for reference in self._rows_in_use)
        )

    def _take(self, source: Source, names: list[str], gone: frozenset[str], now: datetime) -> Edition:
        frozen, fingerprint = take(source, self.dataset, names)
        edition = Edition(
            self._last + 1, write_time(now), frozen, self.dataset, fingerprint, source_id=self._source_id(source)
        )
        self._next = edition, gone
        return edition

    # ---- on the disk

    def _tokens(self, number: int) -> npt.NDArray[np.uint64]:
        if self._current_edition is not None and number == self._current_edition.number and not self._durable:
            return self._current_edition.tokens(self._files.key)
        return self._files.tokens(number)

    def _write(self, edition: Edition) -> None:
        entry = EditionEntry(edition.taken, edition.number, edition.of)
        path = self._files.keep(entry, edition.source, edition.tokens(self._files.key))
        if isinstance(edition.source.url, TableInMemory):
            edition.source = edition.source.model_copy(update={"url": path})

    def _source_id(self, source: Source) -> str:
        """What an edition is of: the dataset, and the table's names of its columns.  If it changes, the next is due."""
        mapping = {name: source.physical(name) for name in {*self.dataset.names, *source.columns, self.dataset.person}}
        return digest({"columns": mapping, "dataset": self._digest})

    def _reload(self, source: Source) -> None:
        """The edition that is on the disk, which another process may have made.  Raises: Fault."""
        if not self._durable:
            return
        entry = self._files.in_use()
        if entry is None or entry.number == self._last:
            return
        self._last, self._proof, self._next, self._current_edition = entry.number, None, None, None
        path = self._files.rows(entry.number)
        if not path.is_file():
            raise Fault("the rows of the edition are lost", remedy="put the file back into the folder of editions")
        frozen = source.model_copy(update={"url": path, "table": "", "opt_out": None})
        self._current_edition = Edition(
            entry.number, entry.date, frozen, self.dataset, SourceFingerprint(), source_id=entry.of
        )
        self._current_edition.kept = True


def _positions_of(old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each person of the old edition the place in the new one, -1 for one who is not there; shape (old,)."""
    if not len(new):
        return np.full(len(old), -1, dtype=np.int64)
    order = np.argsort(new)
    positions = np.minimum(np.searchsorted(new, old, sorter=order), len(new) - 1)
    matches: npt.NDArray[np.int64] = np.where(new[order[positions]] == old, order[positions], -1).astype(np.int64)
    return matches
