"""An edition: the rows of one study at one partner, validated, restricted to the cohort, and frozen as arrays.

Every value is read as the dataset's type, its level or its bounds demand; what does not fit refuses, or counts as
missing where the source says so.  The cohort's meaning is DuckDB's, on these typed values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import sqlalchemy
from sqlalchemy.sql import ColumnElement

from nodes.files import quoted, text
from nodes.pushdown import push_down
from nodes.sources import Source, database, open_table, physical_names
from trust.cohort import Cohort
from trust.dataset import PARTNER, Column, Dataset
from trust.decision import Decision, Decisions
from trust.errors import SourceInvalid
from trust.rows import Rows

__all__ = ["Edition", "check_source", "freeze"]

_NUMBERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}) | {
    "FLOAT", "DOUBLE",
}  # fmt: skip
_TRUE, _FALSE = "('true', 't', 'yes', '1', '1.0')", "('false', 'f', 'no', '0', '0.0')"


@dataclass(frozen=True)
class Edition:
    """The frozen rows of a study."""

    rows: Rows
    persons: int


def freeze(dataset: Dataset, source: Source, names: Iterable[str], cohort: Cohort | None) -> Edition:
    """Read, validate and freeze the columns `names` of the persons in the cohort.

    Raises: SourceInvalid for a value that the dataset does not allow; it names rule and column, never the value.
    """
    wanted = [n for n in dict.fromkeys(names) if n != PARTNER]
    with database() as connection:
        table = _Table(connection, dataset, source.checked(dataset), wanted, cohort)
        for problem in table.problems():
            if not problem.ok:
                raise SourceInvalid(f"{problem.rule}: {problem.text}", remedy=problem.remedy)
        return table.edition(wanted)


def check_source(dataset: Dataset, source: Source) -> Decisions:
    """Hold a whole table to the dataset: one Decision a column and rule, a count class, never a value."""
    present = physical_names(source.checked(dataset))
    lost = [n for n in _needed(dataset, source, dataset.names) if n not in present]
    found = [
        Decision(
            "column-present", False, f"column {name!r} is not in the table", f"map its name: columns = {{… = {name!r}}}"
        )
        for name in lost
    ]
    if lost:
        return Decisions(found)
    with database() as connection:
        return Decisions(_Table(connection, dataset, source, list(dataset.names), None).problems())


def _needed(dataset: Dataset, source: Source, names: Sequence[str]) -> list[str]:
    """The table's names of all that these columns read, the person's id included."""
    wanted: list[str] = []
    for name in names:
        column = dataset.column(name)
        wanted += dataset.derivation(name).columns if column.derived else (name,)
    if dataset.person != "row":
        wanted.append(dataset.person)
    return list(dict.fromkeys(source.physical(n) for n in wanted))


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
        open_table(source, connection, _needed(dataset, source, self._names), self._condition)
        described = connection.execute("DESCRIBE raw").fetchall()
        self._types = {str(row[0]): str(row[1]) for row in described}
        self._read = self._columns_read()
        self._derived = [c for c in map(dataset.column, self._names) if c.derived]
        parameters: list[Any] = []
        connection.execute(f"CREATE TEMP TABLE typed AS {self._typed(parameters)}", parameters)

    def _condition(self, table: sqlalchemy.Table, kind: str) -> ColumnElement[bool] | None:
        """Which rows a database need not send.  A mapped or a derived column is no column of the table."""
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

    # ---- SQL of one column

    def _raw(self, name: str) -> str:
        """The table's value, null where it is missing."""
        physical = self._source.physical(name)
        stored = quoted(physical)
        kind = self._types[physical]
        if kind == "VARCHAR" or kind.startswith("ENUM"):
            value = f"NULLIF(TRIM(CAST({stored} AS VARCHAR)), '')"
        elif kind in ("DOUBLE", "FLOAT"):  # NaN is how a frame writes a missing number
            value = f"CASE WHEN NOT isnan({stored}) THEN {stored} END"
        else:
            value = stored
        if not self._source.missing:
            return value
        marked = " OR ".join(self._same(value, kind, marker) for marker in self._source.missing)
        return f"CASE WHEN NOT ({marked}) THEN {value} END"

    def _kind(self, name: str) -> str:
        return self._types[self._source.physical(name)]

    def _text(self, raw: str, kind: str) -> str:
        """As a text: 1.0 of a column of doubles, which are whole numbers with some missing, as 1."""
        if kind not in ("DOUBLE", "FLOAT"):
            return f"CAST({raw} AS VARCHAR)"
        whole = f"abs({raw}) < 1e15 AND {raw} = floor({raw})"
        return f"CASE WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"

    def _same(self, raw: str, kind: str, key: str) -> str:
        """Equal as a text, or as a number: 1 and 1.0 are one value."""
        if kind == "BOOLEAN":
            return f"{self._text(raw, kind)} = {text(key.lower())}"
        number = _finite(key)
        if number is not None and kind != "VARCHAR":
            return f"{_double(raw, kind)} IS NOT DISTINCT FROM {number!r}"
        same = f"{self._text(raw, kind)} = {text(key)}"
        return same if number is None else f"({same} OR {_double(raw, kind)} IS NOT DISTINCT FROM {number!r})"

    def _value(self, column: Column, raw: str) -> str:
        """The typed value; null for what is missing and for what the dataset does not allow."""
        kind = self._kind(column.name)
        mapped = self._source.levels.get(column.name)
        if column.type == "boolean":
            return self._boolean(raw, kind, mapped)
        if column.levels:
            return self._level(column, raw, kind, mapped)
        if column.numeric:
            number = _double(raw, kind)
            return f"CASE WHEN {_allowed(column, number)} THEN {number} END"
        if column.type == "date":
            return f"CAST(TRY_CAST({raw} AS DATE) AS VARCHAR)"
        return self._text(raw, kind)

    def _boolean(self, raw: str, kind: str, mapped: dict[str, Any] | None) -> str:
        if mapped is not None:
            whens = " ".join(
                f"WHEN {self._same(raw, kind, key)} THEN {_inline(value)}" for key, value in mapped.items()
            )
            return f"CASE {whens} END"
        if kind == "BOOLEAN":
            return raw
        shown = f"lower({self._text(raw, kind)})"
        return f"CASE WHEN {shown} IN {_TRUE} THEN TRUE WHEN {shown} IN {_FALSE} THEN FALSE END"

    def _level(self, column: Column, raw: str, kind: str, mapped: dict[str, Any] | None) -> str:
        """The level of the same text; else, of a whole number or a mapped value, the level of the same number."""
        table = mapped if mapped is not None else {str(v): v for v in column.values}
        whens = []
        if kind not in _NUMBERS or column.type == "string":
            whens += [
                f"WHEN {self._text(raw, kind)} = {text(key)} THEN {_inline(level)}" for key, level in table.items()
            ]
        if mapped is not None or column.type == "integer":
            whens += [f"WHEN {self._same(raw, kind, key)} THEN {_inline(level)}" for key, level in table.items()]
        return f"CASE {' '.join(whens)} END"

    def _typed(self, parameters: list[Any]) -> str:
        """Four layers, each of which reads the one below: the cohort, derived columns, values, what is given."""
        given, plain = [], []
        for column in self._read:
            raw = quoted(f"given {column.name}")
            given.append(f"{self._raw(column.name)} AS {raw}")
            plain.append(f"{self._value(column, raw)} AS {quoted(column.name)}")
        judged = [
            f"{quoted(f'given {c.name}')} IS NOT NULL AND {quoted(c.name)} IS NULL AS {_bad(c)}" for c in self._read
        ]
        person = self._dataset.person
        if person != "row":
            given.append(f'{self._text(self._raw(person), self._kind(person))} AS "person id"')
        for column in self._derived:
            how = self._dataset.derivation(column.name)
            if isinstance(how, Cohort):
                judged += [f"{how.sql(_inline, quoted)} AS {quoted(column.name)}", f"FALSE AS {_bad(column)}"]
                continue
            sql, allowed = how.sql(), _allowed(column, how.sql())
            judged.append(f"CASE WHEN {allowed} THEN {sql} END AS {quoted(column.name)}")
            judged.append(f"coalesce(isfinite({sql}) AND NOT ({allowed}), FALSE) AS {_bad(column)}")

        def bind(value: Any) -> str:
            parameters.append(value)
            return "?"

        inside = self._cohort.sql(bind, quoted, self._absent) if self._cohort else "TRUE"
        query = f"SELECT {', '.join(given) or '1 AS _'} FROM raw"
        query = f"SELECT *{''.join(', ' + p for p in plain)} FROM ({query})"
        query = f"SELECT *{''.join(', ' + j for j in judged)} FROM ({query})"
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
        decisions = [Decision("rows-present", counts["rows"] > 0, _said("the table has rows", 0), remedy)]
        for column in [*self._read, *self._derived]:
            bad, missing = counts[f"bad {column.name}"], counts[f"missing {column.name}"]
            rule, demand = _demand(column)
            tolerated = self._source.invalid == "missing"
            remedy = 'correct them, map the levels in the source, or set invalid = "missing" there'
            decisions.append(
                Decision(rule, bad == 0 or tolerated, _said(f"column {column.name!r}: {demand}", bad), remedy)
            )
            if column.required:
                lost = missing + (bad if tolerated else 0)
                shown = _said(f"column {column.name!r}: required, no value is missing", lost)
                decisions.append(
                    Decision("required", lost == 0, shown, "fill them in, or take `required` out of the dataset")
                )
        return decisions + self._person_problems(counts)

    def _person_problems(self, counts: dict[str, int]) -> list[Decision]:
        person, most = self._dataset.person, self._dataset.rows_per_person
        if person == "row":
            return []
        known = _said(f"person {person!r}: every row says whose it is", counts["nobody"])
        once = _said(f"person {person!r}: at most {most} row{'s' if most > 1 else ''} a person", counts["repeated"])
        remedy = "keep one row a person, or raise rowsPerPerson in the dataset"
        return [
            Decision("person-known", counts["nobody"] == 0, known, "fill in the ids"),
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
            each = 'SELECT "person id" AS id, count(*) AS n FROM typed WHERE "is in" GROUP BY id'
            found = self._connection.execute(
                f"SELECT coalesce(sum(n) FILTER (id IS NULL), 0), count(*) FILTER (id IS NOT NULL AND n > {limit}) "
                f"FROM ({each})"
            ).fetchone() or (0, 0)
            counts |= {"nobody": int(found[0]), "repeated": int(found[1])}
        return counts

    # ---- the rows

    def edition(self, wanted: list[str]) -> Edition:
        chosen = [f'{_fetched(self._dataset.column(name))} AS "c {at}"' for at, name in enumerate(wanted)]
        chosen.append('"is in"')
        several = self._dataset.person != "row" and self._dataset.rows_per_person > 1
        if several:
            chosen.append('"person id"')
        fetched = self._connection.execute(f'SELECT {", ".join(chosen)} FROM typed WHERE "is in"').fetchnumpy()
        n = len(fetched["is in"])
        columns = {name: _array(fetched[f"c {at}"], self._dataset.column(name)) for at, name in enumerate(wanted)}
        person: npt.NDArray[np.int64] | None = None
        persons = n
        if several:
            ids = np.ma.filled(fetched["person id"], "").astype(str)
            person = np.unique(ids, return_inverse=True)[1].astype(np.int64)
            persons = int(person.max(initial=-1)) + 1
        return Edition(Rows(n, columns, person), persons)


def _fetched(column: Column) -> str:
    """A plain number for each row: NaN or -1 where missing."""
    name = quoted(column.name)
    if column.type == "boolean":
        return f"CAST(CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 ELSE -1 END AS INTEGER)"
    if column.levels:
        whens = " ".join(f"WHEN {_inline(value)} THEN {code}" for code, value in enumerate(column.values))
        return f"CAST(CASE {name} {whens} ELSE -1 END AS INTEGER)"
    return f"coalesce(CAST({name} AS DOUBLE), CAST('NaN' AS DOUBLE))"


def _double(raw: str, kind: str) -> str:
    return f"CAST({raw} AS DOUBLE)" if kind in _NUMBERS else f"TRY_CAST({raw} AS DOUBLE)"


def _finite(key: str) -> float | None:
    try:
        number = float(key)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _allowed(column: Column, number: str) -> str:
    """Finite, within the bounds and, of an integer, whole."""
    low, high = column.bounds
    tests = [f"isfinite({number})"]
    tests += [f"{number} >= {low!r}"] if np.isfinite(low) else []
    tests += [f"{number} <= {high!r}"] if np.isfinite(high) else []
    tests += [f"{number} = floor({number})"] if column.type == "integer" else []
    return " AND ".join(tests)


def _bad(column: Column) -> str:
    return quoted(f"bad {column.name}")


def _inline(value: Any) -> str:
    """A literal of the dataset's own derived column, for a view: DuckDB takes no parameters there."""
    if isinstance(value, bool):
        return str(value).upper()
    return text(value) if isinstance(value, str) else repr(value)


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
        return "in-bounds", f"every value is {kind}{bounds}"
    return "readable", f"every value is a {column.type}"


def _said(demand: str, failing: int) -> str:
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
