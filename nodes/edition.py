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

from nodes.sources import Source, database, open_table, quoted, text
from trust.cohort import Cohort
from trust.dataset import PARTNER, Column, Dataset
from trust.decision import Decision, Decisions
from trust.errors import SourceInvalid
from trust.rows import Rows

__all__ = ["Edition", "check_source", "freeze"]

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
        table = _Table(
            connection, dataset, source.checked(dataset), [*wanted, *(cohort.columns if cohort else ())], cohort
        )
        for problem in table.problems():
            if not problem.ok:
                raise SourceInvalid(problem.text, remedy=problem.remedy)
        return table.edition(wanted, cohort)


def check_source(dataset: Dataset, source: Source) -> Decisions:
    """Hold a whole table to the dataset: one Decision a column and rule, a count class, never a value."""
    from nodes.sources import physical_names

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
    """The relation `typed` over `raw`: one column for each that is read, of its type, null where missing."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        dataset: Dataset,
        source: Source,
        names: list[str],
        where: Cohort | None,
    ) -> None:
        self._connection, self._dataset, self._source = connection, dataset, source
        self._names = list(dict.fromkeys(names))
        open_table(source, connection, _needed(dataset, source, self._names), where if self._pushable(where) else None)
        described = connection.execute("DESCRIBE raw").fetchall()
        self._types = {str(row[0]): str(row[1]) for row in described}
        self._read = self._columns_read()
        connection.execute(f"CREATE TEMP VIEW typed AS {self._typed()}")

    def _pushable(self, where: Cohort | None) -> bool:
        """A condition on a derived column is no condition on the table."""
        return where is not None and not any(self._dataset.column(n).derived for n in where.columns)

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
        physical = self._source.physical(name)
        kind = self._types[physical]
        if kind.startswith("ENUM"):
            return f"CAST({quoted(physical)} AS VARCHAR)"
        if kind in ("DOUBLE", "FLOAT"):  # NaN is how a frame writes a missing number
            return f"CASE WHEN NOT isnan({quoted(physical)}) THEN {quoted(physical)} END"
        if kind != "VARCHAR":
            return quoted(physical)
        given = f"NULLIF({quoted(physical)}, '')"
        for marker in self._source.missing:
            given = f"NULLIF({given}, {text(marker)})"
        return given

    def _number(self, raw: str) -> str:
        return f"TRY_CAST({raw} AS DOUBLE)"

    def _value(self, column: Column) -> str:
        """The typed value; null for what is missing and for what the dataset does not allow."""
        raw = self._raw(column.name)
        mapped = self._source.levels.get(column.name)
        if column.type == "boolean":
            return self._boolean(column, raw, mapped)
        if column.levels:
            return self._level(column, raw, mapped)
        if column.numeric:
            number = self._number(raw)
            low, high = column.bounds
            tests = [f"isfinite({number})"]
            tests += [f"{number} >= {low!r}"] if np.isfinite(low) else []
            tests += [f"{number} <= {high!r}"] if np.isfinite(high) else []
            tests += [f"{number} = floor({number})"] if column.type == "integer" else []
            return f"CASE WHEN {' AND '.join(tests)} THEN {number} END"
        if column.type == "date":
            return f"CAST(TRY_CAST({raw} AS DATE) AS VARCHAR)"
        return f"CAST({raw} AS VARCHAR)"

    def _kind(self, column: Column) -> str:
        """DuckDB's type of the column in the table."""
        return self._types[self._source.physical(column.name)]

    def _boolean(self, column: Column, raw: str, mapped: dict[str, Any] | None) -> str:
        if mapped is not None:
            whens = " ".join(f"WHEN {self._same(raw, key)} THEN {str(value).upper()}" for key, value in mapped.items())
            return f"CASE {whens} END"
        if self._kind(column) == "BOOLEAN":
            return raw
        shown = f"lower(CAST({raw} AS VARCHAR))"
        return f"CASE WHEN {shown} IN {_TRUE} THEN TRUE WHEN {shown} IN {_FALSE} THEN FALSE END"

    def _level(self, column: Column, raw: str, mapped: dict[str, Any] | None) -> str:
        table = mapped if mapped is not None else {str(v): v for v in column.values}
        whens = []
        for key, value in table.items():
            literal = text(value) if isinstance(value, str) else str(value)
            whens.append(f"WHEN {self._same(raw, key)} THEN {literal}")
        return f"CASE {' '.join(whens)} END"

    def _same(self, raw: str, key: str) -> str:
        """Equal as text, or as a number: 1 and 1.0 are one level."""
        same = f"CAST({raw} AS VARCHAR) = {text(key)}"
        try:
            number = float(key)
        except ValueError:
            return same
        return f"({same} OR {self._number(raw)} = {number!r})" if np.isfinite(number) else same

    def _typed(self) -> str:
        plain = [f"{self._value(c)} AS {quoted(c.name)}" for c in self._read]
        person = self._dataset.person
        if person != "row":
            plain.append(f"CAST({self._raw(person)} AS VARCHAR) AS _person")
        inner = f"SELECT {', '.join(plain) or '1 AS _'} FROM raw"
        derived = []
        for name in self._names:
            column = self._dataset.column(name)
            if not column.derived:
                continue
            how = self._dataset.derivation(name)
            if isinstance(how, Cohort):
                sql = how.sql(_inline, quoted)
            else:
                sql = how.sql()
                sql = f"CASE WHEN isfinite({sql}) THEN {sql} END"
            derived.append(f"{sql} AS {quoted(name)}")
        return f"SELECT *{''.join(', ' + d for d in derived)} FROM ({inner})"

    # ---- what is wrong with it

    def problems(self) -> list[Decision]:
        """One Decision for each thing that the dataset demands of the table."""
        counts = self._counts()
        decisions = [Decision("rows-present", counts["rows"] > 0, "the table has rows", "check the file or the query")]
        for column in self._read:
            bad, missing = counts[f"bad {column.name}"], counts[f"missing {column.name}"]
            rule, text_ = _demand(column)
            tolerated = self._source.invalid == "missing"
            shown = f"column {column.name!r}: {text_}" + (f"; {_count_class(bad)}" if bad else "")
            remedy = 'correct them, map the levels in the source, or set invalid = "missing" there'
            decisions.append(Decision(rule, bad == 0 or tolerated, shown, remedy))
            if column.required:
                lost = missing + (bad if tolerated else 0)
                shown = f"column {column.name!r}: required, no value is missing" + (
                    f"; {_count_class(lost)}" if lost else ""
                )
                decisions.append(
                    Decision("required", lost == 0, shown, "fill them in, or take `required` out of the dataset")
                )
        return decisions + self._person_problems(counts)

    def _person_problems(self, counts: dict[str, int]) -> list[Decision]:
        person, most = self._dataset.person, self._dataset.rows_per_person
        if person == "row":
            return []
        shown = f"person {person!r}: every row says whose it is"
        repeated = f"person {person!r}: at most {most} row{'s' if most > 1 else ''} a person"
        if counts["repeated"]:
            repeated += f"; {_count_class(counts['repeated'])}"
        remedy = "keep one row a person, or raise rowsPerPerson in the dataset"
        return [
            Decision("person-known", counts["nobody"] == 0, shown, "fill in the ids"),
            Decision("person-repeated", counts["repeated"] == 0, repeated, remedy),
        ]

    def _counts(self) -> dict[str, int]:
        parts = ["count(*)"]
        names = ["rows"]
        for column in self._read:
            parts += [f"count({self._raw(column.name)})", f"count({self._value(column)})"]
            names += [f"given {column.name}", f"valid {column.name}"]
        row = self._connection.execute(f"SELECT {', '.join(parts)} FROM raw").fetchone() or ()
        counts = {name: int(n) for name, n in zip(names, row, strict=True)}
        for column in self._read:
            given, valid = counts[f"given {column.name}"], counts[f"valid {column.name}"]
            counts[f"bad {column.name}"], counts[f"missing {column.name}"] = given - valid, counts["rows"] - given
        if self._dataset.person != "row":
            limit = self._dataset.rows_per_person
            each = "SELECT _person, count(*) AS n FROM typed GROUP BY _person"
            found = self._connection.execute(
                f"SELECT coalesce(sum(n) FILTER (_person IS NULL), 0), count(*) FILTER (_person IS NOT NULL AND n > {limit}) "
                f"FROM ({each})"
            ).fetchone() or (0, 0)
            counts |= {"nobody": int(found[0]), "repeated": int(found[1])}
        return counts

    # ---- the rows

    def edition(self, wanted: list[str], cohort: Cohort | None) -> Edition:
        parameters: list[Any] = []
        chosen = []
        for at, name in enumerate(wanted):
            chosen.append(f"{self._fetched(self._dataset.column(name))} AS c{at}")
        if self._dataset.person != "row":
            chosen.append("_person")

        def bind(value: Any) -> str:
            parameters.append(value)
            return "?"

        condition = f" WHERE {cohort.sql(bind, quoted)}" if cohort else ""
        query = f"SELECT {', '.join([*chosen, 'TRUE AS kept'])} FROM typed{condition}"
        fetched = self._connection.execute(query, parameters).fetchnumpy()
        n = len(fetched["kept"])
        columns = {name: _array(fetched[f"c{at}"], self._dataset.column(name)) for at, name in enumerate(wanted)}
        person: npt.NDArray[np.int64] | None = None
        persons = n
        if self._dataset.person != "row" and self._dataset.rows_per_person > 1:
            ids = np.ma.filled(fetched["_person"], "").astype(str)
            person = np.unique(ids, return_inverse=True)[1].astype(np.int64)
            persons = int(person.max(initial=-1)) + 1
        return Edition(Rows(n, columns, person), persons)

    def _fetched(self, column: Column) -> str:
        """A plain number for each row: NaN or -1 where missing."""
        name = quoted(column.name)
        if column.type == "boolean":
            return f"CAST(CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 ELSE -1 END AS INTEGER)"
        if column.levels:
            whens = " ".join(
                f"WHEN {text(v) if isinstance(v, str) else v} THEN {code}" for code, v in enumerate(column.values)
            )
            return f"CAST(CASE {name} {whens} ELSE -1 END AS INTEGER)"
        return f"coalesce(CAST({name} AS DOUBLE), CAST('NaN' AS DOUBLE))"


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
        bounds = f" between {low:g} and {high:g}" if np.isfinite([low, high]).any() else ""
        return "in-bounds", f"every value is {kind}{bounds}"
    return "readable", f"every value is a {column.type}"


def _count_class(n: int) -> str:
    """How many, as a class: an exact small number would say too much."""
    for limit, words in ((11, "fewer than 11 are not"), (101, "11 to 100 are not"), (1001, "101 to 1,000 are not")):
        if n < limit:
            return words
    return "more than 1,000 are not"
