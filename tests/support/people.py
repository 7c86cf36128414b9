"""Made-up people: a table with a column of every kind, and the ways in which a partner may hold it."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy

import datatrust as dt
from tests.conftest import DATA
from trust.dataset.dataset import Dataset

PEOPLE = Dataset.load(DATA / "people.yaml")
FOUR = ("east", "north", "south", "west")


def people(n: int = 60, seed: int = 0, missing: float = 0.1) -> pd.DataFrame:
    """`n` persons as nullable columns; a share of the values is missing."""
    rng = np.random.default_rng(seed)

    def some(values: Any, dtype: str) -> Any:
        gone = rng.random(n) < missing
        return pd.array([None if g else v for v, g in zip(values, gone, strict=True)], dtype=dtype)

    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in rng.integers(0, 700, n)]
    return pd.DataFrame(
        {
            "pid": [f"p{seed}-{i:05d}" for i in range(n)],
            "age": rng.integers(18, 90, n),
            "bmi": some(rng.normal(27, 4, n).round(2), "Float64"),
            "income": some(rng.normal(2000, 1500, n).round(2), "Float64"),
            "sex": some(rng.choice(["F", "M"], n), "object"),
            "region": some(rng.choice([1, 2, 3], n), "Int64"),
            "smoker": some(rng.random(n) < 0.4, "boolean"),
            "visit": some(days, "object"),
            "town": some(rng.choice(["Albi", "L'Union", 'Saint "X"', "Foix, sud", "Œuf"], n), "object"),
            "score": some(rng.integers(0, 11, n), "Int64"),
        }
    )


def as_rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows as plain Python values, None where missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [tuple(v.item() if isinstance(v, np.generic) else v for v in row) for row in plain.itertuples(index=False)]


def as_csv(frame: pd.DataFrame, path: Path, **options: Any) -> Path:
    frame.to_csv(path, index=False, **options)
    return path


def as_sqlite(frame: pd.DataFrame, path: Path, table: str = "people") -> str:
    """A file of SQLite's, its columns declared; the URL of the table."""
    types = {"age": "INTEGER", "region": "INTEGER", "score": "INTEGER", "smoker": "BOOLEAN", "visit": "DATE"}
    types |= {"bmi": "DOUBLE", "income": "REAL"}
    columns = ", ".join(f'"{name}" {types.get(name, "TEXT")}' for name in frame.columns)
    with sqlite3.connect(path) as connection:
        connection.execute(f'CREATE TABLE "{table}" ({columns})')
        rows = [[str(v) if isinstance(v, datetime.date) else v for v in row] for row in as_rows(frame)]
        marks = ", ".join("?" * len(frame.columns))
        connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
    connection.close()
    return f"sqlite:///{path}#{table}"


def as_postgres(frame: pd.DataFrame, server: str, table: str, types: dict[str, str] | None = None) -> str:
    """A table of PostgreSQL's, `schema.table`; its URL."""
    types = {
        "age": "smallint", "region": "integer", "score": "bigint", "smoker": "boolean", "visit": "date",
        "bmi": "double precision", "income": "numeric(14, 4)", **(types or {}),
    }  # fmt: skip
    schema = table.rpartition(".")[0]
    columns = ", ".join(f'"{name}" {types.get(name, "text")}' for name in frame.columns)
    engine = sqlalchemy.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with contextlib.ExitStack() as end, engine.begin() as connection:
        end.callback(engine.dispose)
        if schema:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        connection.exec_driver_sql(f"CREATE TABLE {table} ({columns})")
        marks = ", ".join(["%s"] * len(frame.columns))
        if len(frame):
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", as_rows(frame))
    return f"{server}#{table}"


def trust_of(n: int = 60, charter: str = "research", partners: tuple[str, ...] = FOUR, **options: Any) -> Any:
    """A trust in which each partner holds `n` persons of its own."""
    frames = {name: people(n, seed, **options) for seed, name in enumerate(partners)}
    return dt.local(sources=dict(frames), dataset=PEOPLE, charter=charter)
