"""The rows of one study at one partner, validated, restricted to the cohort, and frozen as arrays.

Every value is read as the dataset's type, its level or its bounds demand; what does not fit refuses, or counts as
missing where the source says so.  The cohort's meaning is DuckDB's, on these typed values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy
from sqlalchemy.sql import ColumnElement

from nodes.rows.columns import allowed, columns_of, inline
from nodes.rows.opt_outs import opted_out
from nodes.rows.pushdown import push_down
from nodes.rows.source import Source, open_table, physical_names
from nodes.rows.table import database, quoted
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import LARGEST_VALUE, PARTNER, Column, Dataset
from trust.dataset.rows import Rows
from trust.decision import Decision, Decisions
from trust.errors import SourceInvalid

__all__ = ["FrozenRows", "check_source", "freeze", "needed"]


@dataclass(frozen=True)
class FrozenRows:
    """The frozen rows of a study.

    Attributes:
        rows: the columns asked for, of the rows in the cohort.
        persons: how many persons these are.
        places: where each row stands in the table, counted from 0, shape (rows.n,); of no meaning where a database was
            asked for fewer rows.
        height: how many rows the table has.
    """

    rows: Rows
    persons: int
    places: npt.NDArray[np.int64]
    height: int


def freeze(
    dataset: Dataset,
    source: Source,
    names: Iterable[str],
    cohort: Cohort | None,
    gone: Collection[str] | None = None,
) -> FrozenRows:
    """Read, validate and freeze the columns `names` of the persons in the cohort.

    Persons who have opted out are removed before anything is counted or validated.

    Args:
        gone: their ids as texts; read from the source's own list where it is not given.

    Raises: SourceInvalid for a value that the dataset does not allow, which names rule and column, never the value; or
    for a list of opt-outs that cannot be read.
    """
    columns = [n for n in dict.fromkeys(names) if n != PARTNER]
    removed = opted_out(source, dataset) if gone is None else gone
    with database() as connection:
        table = _Table(connection, dataset, source.checked(dataset), columns, cohort)
        table.remove(removed)
        for problem in table.problems():
            if not problem.ok:
                raise SourceInvalid(f"{problem.rule}: {problem.text}", remedy=problem.remedy)
        return table.frozen_rows(columns)


def check_source(dataset: Dataset, source: Source) -> Decisions:
    """Hold a whole table to the dataset: one Decision a column and rule, a count class, never a value."""
    present = physical_names(source.checked(dataset))
    lost = [n for n in needed(dataset, source, dataset.names) if n not in present]
    problems = [
        Decision(
            "column-present", False, f"column {name!r} is not in the table", f"map its name: columns = {{… = {name!r}}}"
        )
        for name in lost
    ]
    if lost:
        return Decisions(problems)
    with database() as connection:
        table = _Table(connection, dataset, source, list(dataset.names), None)
        table.remove(opted_out(source, dataset))
        return Decisions(table.problems())


def needed(dataset: Dataset, source: Source, names: Sequence[str]) -> list[str]:
    """The table's names of all that these columns read, the person's id included."""
    columns: list[str] = []
    for name in names:
        column = dataset.column(name)
        columns += dataset.derivation(name).columns if column.derived else (name,)
    if dataset.person != "row":
        columns.append(dataset.person)
    return list(dict.fromkeys(source.physical(n) for n in columns))


class _Table:
    """The table `typed` over `raw`: for each column that is read its value, null where missing, and `bad …`, true where
    there is a value that the dataset does not allow; and `is in`, whether the row is in the cohort, null where that is
    not known.  Names of ours hold a space, as no column's does.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        dataset: Dataset,
        source: Source,
        names: list[str],
        cohort: Cohort | None,
    ) -> None:
        self._connection, self._dataset, self._source, self._cohort = connection, dataset, source, cohort
        self._names = list(dict.fromkeys([*names, *(cohort.columns if cohort else ())]))
        open_table(source, connection, needed(dataset, source, self._names), self._condition)
        self._columns = columns_of(source, connection)
        self._read = self._columns_read()
        self._derived = [c for c in map(dataset.column, self._names) if c.derived]
        parameters: list[Any] = []
        connection.execute(f"CREATE TEMP TABLE typed AS {self._typed(parameters)}", parameters)

    def remove(self, persons: Collection[str]) -> None:
        """Take these persons out of the cohort.  The rows keep their places."""
        if persons:
            self._connection.register("opted out", pd.DataFrame({"id": pd.Series(list(persons), dtype=object)}))
            self._connection.execute(
                'UPDATE typed SET "is in" = FALSE WHERE "person id" IN (SELECT id FROM "opted out")'
            )

    def _condition(self, table: sqlalchemy.Table, kind: str) -> ColumnElement[bool] | None:
        """Which rows a database need not send.  A mapped or a derived column is not a column of the table."""
        if self._cohort is None or self._source.missing:
            return None
        as_stored = [c for c in map(self._dataset.column, self._cohort.columns) if not c.derived]
        columns = {c.name: (self._source.physical(c.name), c) for c in as_stored if c.name not in self._source.levels}
        return push_down(self._cohort, table, kind, columns)

    def _columns_read(self) -> list[Column]:
        """Columns that stand in the table: those asked for and what derived ones read."""
        read: dict[str, Column] = {}
        for name in self._names:
            column = self._dataset.column(name)
            if not column.derived:
                read[name] = column
                continue
            for inner in self._dataset.derivation(name).columns:
                read[inner] = (
                    self._dataset.column(inner) if inner in self._dataset else Column(name=inner, type="number")
                )
        return list(read.values())

    def _typed(self, parameters: list[Any]) -> str:
        """Four layers, each of which reads the one below: the cohort, derived columns, values, what is given."""
        given_values, plain = [], []
        for column in self._read:
            raw = quoted(f"given {column.name}")
            given_values.append(f"{self._columns.raw(column.name)} AS {raw}")
            plain.append(f"{self._columns.value(column, raw)} AS {quoted(column.name)}")
        checks = [
            f"{quoted(f'given {c.name}')} IS NOT NULL AND {quoted(c.name)} IS NULL AS {_bad(c)}" for c in self._read
        ]
        person = self._dataset.person
        if person != "row":
            given_values.append(f'{self._columns.person(person)} AS "person id"')
        for column in self._derived:
            derivation = self._dataset.derivation(column.name)
            if isinstance(derivation, Cohort):
                checks += [f"{derivation.sql(inline, quoted)} AS {quoted(column.name)}", f"FALSE AS {_bad(column)}"]
                continue
            sql, fits = derivation.sql(), allowed(column, derivation.sql())
            checks.append(f"CASE WHEN {fits} THEN {sql} END AS {quoted(column.name)}")
            checks.append(f"coalesce(NOT ({fits}), FALSE) AS {_bad(column)}")

        def bind(value: Any) -> str:
            parameters.append(value)
            return "?"

        inside = self._cohort.sql(bind, quoted, self._absent) if self._cohort else "TRUE"
        query = f"SELECT {', '.join(given_values) or '1 AS _'} FROM raw"
        query = f"SELECT *{''.join(', ' + p for p in plain)} FROM ({query})"
        query = f"SELECT *{''.join(', ' + j for j in checks)} FROM ({query})"
        used = ", ".join(quoted(f"given {c.name}") for c in self._read)
        return f'SELECT *{f" EXCLUDE ({used})" if used else ""}, {inside} AS "is in" FROM ({query})'

    def _absent(self, name: str) -> str:
        """`name is null`, which is not known of a value that is not allowed, unless the source takes it as missing."""
        column = self._dataset.column(name)
        read = self._dataset.derivation(name).columns if column.derived else (name,)
        bad = " OR ".join(quoted(f"bad {inner}") for inner in dict.fromkeys([*read, name]))
        absent = f"({quoted(name)} IS NULL)"
        return absent if self._source.invalid == "missing" else f"(CASE WHEN NOT ({bad}) THEN {absent} END)"

    # ---- what is wrong with it

    def problems(self) -> list[Decision]:
        """One Decision for each thing that the dataset demands.

        A value that is not allowed counts where the cohort is not false, since the row may belong to it; so what is
        refused does not depend on how many rows a database was asked for.
        """
        counts = self._counts()
        remedy = "check the file or the query"
        decisions = [Decision("rows-present", counts["rows"] > 0, _check_in_words("the table has rows", 0), remedy)]
        for column in [*self._read, *self._derived]:
            bad, missing = counts[f"bad {column.name}"], counts[f"missing {column.name}"]
            rule, demand = _demand(column)
            tolerated = self._source.invalid == "missing"
            remedy = 'correct them, map the levels in the source, or set invalid = "missing" there'
            decisions.append(
                Decision(rule, bad == 0 or tolerated, _check_in_words(f"column {column.name!r}: {demand}", bad), remedy)
            )
            if column.required:
                lost = missing + (bad if tolerated else 0)
                lines = _check_in_words(f"column {column.name!r}: required, no value is missing", lost)
                decisions.append(
                    Decision("required", lost == 0, lines, "fill them in, or take `required` out of the dataset")
                )
        return decisions + self._person_problems(counts)

    def _person_problems(self, counts: dict[str, int]) -> list[Decision]:
        person, most = self._dataset.person, self._dataset.rows_per_person
        if person == "row":
            return []
        lines = _check_in_words(f"person {person!r}: every row says whose it is", counts["nobody"])
        once = _check_in_words(
            f"person {person!r}: at most {most} row{'s' if most > 1 else ''} a person", counts["repeated"]
        )
        remedy = "keep one row a person, or raise rowsPerPerson in the dataset"
        return [
            Decision("person-known", counts["nobody"] == 0, lines, "fill in the ids"),
            Decision("person-repeated", counts["repeated"] == 0, once, remedy),
        ]

    def _counts(self) -> dict[str, int]:
        possible = '"is in" IS NOT FALSE'
        names, parts = ["rows"], ["count(*)"]
        for column in [*self._read, *self._derived]:
            names += [f"bad {column.name}", f"missing {column.name}"]
            parts += [
                f"count(*) FILTER ({_bad(column)} AND {possible})",
                f"count(*) FILTER ({quoted(column.name)} IS NULL AND NOT {_bad(column)} AND {possible})",
            ]
        row = self._connection.execute(f"SELECT {', '.join(parts)} FROM typed").fetchone() or ()
        counts = {name: int(n) for name, n in zip(names, row, strict=True)}
        if self._dataset.person != "row":
            limit = self._dataset.rows_per_person
            rows_per_person = 'SELECT "person id" AS id, count(*) AS n FROM typed WHERE "is in" GROUP BY id'
            counts_row = self._connection.execute(
                f"SELECT coalesce(sum(n) FILTER (id IS NULL), 0), count(*) FILTER (id IS NOT NULL AND n > {limit}) "
                f"FROM ({rows_per_person})"
            ).fetchone() or (0, 0)
            counts |= {"nobody": int(counts_row[0]), "repeated": int(counts_row[1])}
        return counts

    # ---- the rows

    def frozen_rows(self, names: list[str]) -> FrozenRows:
        chosen = [f'{_fetched(self._dataset.column(name))} AS "c {index}"' for index, name in enumerate(names)]
        chosen.append('rowid AS "place"')
        several = self._dataset.person != "row" and self._dataset.rows_per_person > 1
        if several:
            chosen.append('"person id"')
        fetched = self._connection.execute(f'SELECT {", ".join(chosen)} FROM typed WHERE "is in"').fetchnumpy()
        n = len(fetched["place"])
        columns = {name: _array(fetched[f"c {index}"], self._dataset.column(name)) for index, name in enumerate(names)}
        person: npt.NDArray[np.int64] | None = None
        persons = n
        if several:
            ids = np.ma.filled(fetched["person id"], "").astype(str)
            person = np.unique(ids, return_inverse=True)[1].astype(np.int64)
            persons = int(person.max(initial=-1)) + 1
        places = np.ma.getdata(fetched["place"]).astype(np.int64, copy=False)
        height = self._connection.execute("SELECT count(*) FROM typed").fetchone() or (0,)
        return FrozenRows(Rows(n, columns, person), persons, places, int(height[0]))


def _fetched(column: Column) -> str:
    """A plain number for each row: NaN or -1 where missing."""
    name = quoted(column.name)
    if column.type == "boolean":
        return f"CAST(CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 ELSE -1 END AS INTEGER)"
    if column.levels:
        whens = " ".join(f"WHEN {inline(value)} THEN {code}" for code, value in enumerate(column.values))
        return f"CAST(CASE {name} {whens} ELSE -1 END AS INTEGER)"
    return f"coalesce(CAST({name} AS DOUBLE), CAST('NaN' AS DOUBLE))"


def _bad(column: Column) -> str:
    return quoted(f"bad {column.name}")


def _array(values: Any, column: Column) -> npt.NDArray[Any]:
    plain = np.ma.getdata(values)
    array = np.ascontiguousarray(plain, dtype=np.int64 if column.categorical else np.float64)
    array.flags.writeable = False
    return array


def _demand(column: Column) -> tuple[str, str]:
    if column.levels:
        return "level-known", "every value is a level of the dataset"
    if column.type == "boolean":
        return "boolean", "every value is true or false"
    if column.numeric:
        low, high = column.bounds
        kind = "a whole number" if column.type == "integer" else "a finite number"
        bounds = f" between {low:g} and {high:g}" if np.isfinite([low, high]).all() else ""
        if not bounds and np.isfinite([low, high]).any():
            bounds = f" of {low:g} or more" if np.isfinite(low) else f" up to {high:g}"
        if not bounds:
            bounds = f" of at most {LARGEST_VALUE:g} in size"
        return "in-bounds", f"every value is {kind}{bounds}"
    return "readable", f"every value is a {column.type}"


def _check_in_words(demand: str, failing: int) -> str:
    """The demand, and how many do not meet it, as a class: an exact small number would say too much."""
    for limit, words in (
        (1, ""),
        (11, "; fewer than 11 do not"),
        (101, "; 11 to 100 do not"),
        (1001, "; 101 to 1,000 do not"),
    ):
        if failing < limit:
            return demand + words
    return demand + "; more than 1,000 do not"
