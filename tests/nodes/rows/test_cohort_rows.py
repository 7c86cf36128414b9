"""The cohort means on the edition what DuckDB means by it, whatever the source and whatever it was asked to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.rows.cohort_rows import freeze
from nodes.rows.source import Source
from tests.support.people import as_csv, as_postgres, as_rows, as_sqlite
from tests.support.strategies import cohorts
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Column, Dataset, Level
from trust.errors import SourceInvalid

LETTERS = tuple(Level(value=v) for v in "ABC")
DIGITS = tuple(Level(value=v) for v in (1, 2, 3))
DATASET = Dataset(
    id="mixed",
    name="mixed",
    version="1",
    columns=(
        Column(name="row", type="integer"),
        Column(name="n", type="integer", minimum=-50, maximum=50),
        Column(name="x", type="number"),
        Column(name="s", type="string", levels=LETTERS),
        Column(name="g", type="integer", levels=DIGITS),
        Column(name="b", type="boolean"),
        Column(name="d", type="date"),
        Column(name="t", type="string"),
        Column(name="twice", type="number", derived="n * 2"),
    ),
)
TYPES = {"row": "integer", "n": "integer", "x": "double precision", "g": "bigint", "b": "boolean", "d": "text"}
ORDINARY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def table(n: int = 150) -> pd.DataFrame:
    """Rows on and between the values that cohorts compare with, a tenth of them missing."""
    rng = np.random.default_rng(3)

    def some(values: Any, dtype: str) -> Any:
        return pd.array([None if rng.random() < 0.1 else v for v in values], dtype=dtype)

    return pd.DataFrame(
        {
            "row": np.arange(n),
            "n": some(rng.integers(-50, 51, n), "Int64"),
            "x": some(rng.choice([-7.25, 0.0, 0.5, 0.1, 1 / 3, 60.0, -60.0, 1000.0, 12.0], n), "Float64"),
            "s": some(rng.choice(list("ABC"), n), "object"),
            "g": some(rng.choice([1, 2, 3], n), "Int64"),
            "b": some(rng.random(n) < 0.5, "boolean"),
            "d": some(rng.choice(["2020-01-01", "2020-06-15", "2020-12-31"], n), "object"),
            "t": some(rng.choice(["Albi", "it's", "Œuf", "#; --", "zz"], n), "object"),
        }
    )


ROWS = table()


def kept(source: Any, cohort: str) -> list[int]:
    """Numbers of the rows that the edition holds."""
    edition = freeze(DATASET, source, ["row"], Cohort.parse(cohort, DATASET))
    return [int(v) for v in edition.rows.columns["row"]]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("db") / "mixed.sqlite"
    url = as_sqlite(ROWS[:0], path, "mixed").replace("#mixed", "")
    with duckdb.connect():
        pass
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE mixed")
        connection.exec_driver_sql(
            "CREATE TABLE mixed (row INTEGER, n INTEGER, x REAL, s TEXT, g INT, b BOOLEAN, d DATE, t TEXT)"
        )
        connection.exec_driver_sql("INSERT INTO mixed VALUES (?, ?, ?, ?, ?, ?, ?, ?)", as_rows(ROWS))
    engine.dispose()
    return Source(f"{url}#mixed")


@pytest.fixture(scope="module")
def postgresql(postgres: str) -> Source:
    return Source(as_postgres(ROWS, postgres, "mixed", TYPES))


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    """What DuckDB itself keeps of the frame, given the text as it was written."""
    with duckdb.connect() as connection:
        connection.register("rows", ROWS.assign(n=ROWS["n"].astype("Float64"), g=ROWS["g"].astype("Float64")))
        yield lambda text: [r[0] for r in connection.execute(f"SELECT row FROM rows WHERE {text}").fetchall()]


class TestACohortKeepsWhatDuckDBKeeps:
    @pytest.mark.slow
    @given(text=cohorts)
    @settings(ORDINARY, max_examples=150)
    def test_of_a_frame(self, text: str, oracle: Any) -> None:
        assert kept(Source(ROWS), text) == oracle(text)

    @pytest.mark.slow
    @given(text=cohorts)
    @settings(ORDINARY, max_examples=100)
    def test_of_sqlite_which_is_asked_for_fewer_rows(self, text: str, oracle: Any, sqlite: Source) -> None:
        assert sorted(kept(sqlite, text)) == oracle(text)

    @pytest.mark.slow
    @given(text=cohorts)
    @settings(ORDINARY, max_examples=60)
    def test_of_postgresql_which_is_asked_for_fewer_rows(self, text: str, oracle: Any, postgresql: Source) -> None:
        assert sorted(kept(postgresql, text)) == oracle(text)

    @pytest.mark.slow
    @given(text=cohorts)
    @settings(ORDINARY, max_examples=400)
    def test_of_all_of_them(self, text: str, oracle: Any, sqlite: Source, postgresql: Source) -> None:
        expected = oracle(text)
        for source in (Source(ROWS), sqlite, postgresql):
            assert sorted(kept(source, text)) == expected


wrong_rows = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.one_of(st.none(), st.integers(-60, 60), st.sampled_from([1.5, "abc", "12", " 12 ", "", 10**18])),
            "x": st.one_of(st.none(), st.floats(-60, 60), st.sampled_from(["abc", "1_000", float("inf"), 5])),
            "g": st.one_of(st.none(), st.integers(0, 4), st.sampled_from([1.0, "2", "two"])),
            "s": st.sampled_from([None, "A", "B", "X"]),
            "b": st.sampled_from([None, True, False, 2]),
            "d": st.sampled_from([None, "2020-01-01", "never"]),
            "t": st.sampled_from([None, "Albi", ""]),
        }
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@given(rows=wrong_rows, text=cohorts, invalid=st.sampled_from(["refuse", "missing"]))
@settings(ORDINARY, max_examples=150)
def test_pushing_down_never_changes_what_is_refused(
    rows: list[dict[str, Any]], text: str, invalid: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "wrong.sqlite"
    path.unlink(missing_ok=True)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE t (row INTEGER, n INTEGER, x DOUBLE, s TEXT, g INT, b BOOLEAN, d DATE, t TEXT)"
        )
        for at, row in enumerate(rows):
            connection.exec_driver_sql(
                "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (at, *(row[name] for name in "nxsgbdt"))
            )
        stored = connection.exec_driver_sql("SELECT * FROM t").fetchall()
    engine.dispose()
    frame = pd.DataFrame([tuple(r) for r in stored], columns=["row", *"nxsgbdt"], dtype=object)

    def outcome(url: Any) -> Any:
        source = Source(url, invalid=invalid)
        try:
            return kept(source, text)
        except SourceInvalid as wrong:
            return str(wrong)

    assert outcome(f"sqlite:///{path}#t") == outcome(frame)


# ---- what a database is asked


@pytest.fixture
def asked(postgresql: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Statements and parameters that reach PostgreSQL."""
    seen: list[tuple[str, Any]] = []

    def listen(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if "FROM mixed" in statement:
            seen.append((statement, parameters))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", listen)
    yield seen
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", listen)


def test_literals_are_bound_parameters_and_never_part_of_the_statement(asked: Any, postgresql: Source) -> None:
    kept(postgresql, "n >= 41 and x < 7.125 and (g in (2, 3) or n between 711 and 713) and s = 'A' and t = 'Albi'")
    (statement, parameters), *rest = asked
    assert not rest
    assert "WHERE" in statement
    assert "mixed.n >= %(param_1)s::BIGINT" in statement
    for literal in ("41", "7.125", "711", "713", "'A'", "Albi"):
        assert literal not in statement
    assert {41, 7.125, 2, 3, 711, 713} <= set(parameters.values())
    assert "Albi" not in parameters.values()
    assert "A" not in parameters.values()


@pytest.mark.parametrize(
    "cohort",
    [
        "s = 'A'",
        "t >= 'B'",
        "d > '2020-01-01'",
        "b",
        "n is null",
        "not n > 3",
        "40 < n",
        "n > 1e300",
        "n < 3 or b",
        "n < x",
    ],
)
def test_what_may_be_judged_otherwise_is_not_pushed_down(cohort: str, asked: Any, postgresql: Source) -> None:
    kept(postgresql, cohort)
    assert "WHERE" not in asked[0][0]


def test_only_the_columns_that_are_needed_are_asked_for(asked: Any, postgresql: Source) -> None:
    freeze(DATASET, postgresql, ["twice"], Cohort.parse("g = 2", DATASET))
    assert asked[0][0].partition("FROM")[0].split() == ["SELECT", "mixed.n", "AS", "n,", "mixed.g", "AS", "g"]


def test_numeric_and_real_columns_of_postgresql_are_not_compared_there(postgres: str) -> None:
    """0.1 as `real` is above 0.1; here both are the double that is nearest to 0.1."""
    rows = ROWS.assign(x=0.1)
    for stored in ("real", "numeric"):
        source = Source(as_postgres(rows, postgres, f"as_{stored}", {**TYPES, "x": stored}))
        assert len(kept(source, "x <= 0.1")) == len(rows)


def test_a_row_outside_the_cohort_refuses_nothing_and_one_that_may_be_inside_does(
    tmp_path: Path, postgres: str
) -> None:
    rows = ROWS.assign(n=20, s="A", g=1)
    outside = rows.assign(n=[10, *[20] * 149], s=["X", *["A"] * 149])
    sources = [outside, as_csv(outside, tmp_path / "o.csv"), as_postgres(outside, postgres, "outside", TYPES)]
    for source in sources:
        assert len(kept(Source(source), "n >= 15 and s = 'A'")) == 149
        with pytest.raises(SourceInvalid, match="level-known: column 's'"):
            kept(Source(source), "n >= 5 and s = 'A'")
    unknown = rows.assign(n=[99, *[20] * 149])
    for source in (unknown, as_csv(unknown, tmp_path / "u.csv"), as_postgres(unknown, postgres, "unknown", TYPES)):
        with pytest.raises(SourceInvalid, match="in-bounds: column 'n'"):
            kept(Source(source), "n < 30")


def test_an_edition_is_frozen() -> None:
    edition = freeze(DATASET, Source(ROWS), ["x", "s"], None)
    for values in edition.rows.columns.values():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 7
    npt.assert_array_equal(edition.rows.columns["s"], [-1 if pd.isna(v) else "ABC".index(v) for v in ROWS["s"]])
