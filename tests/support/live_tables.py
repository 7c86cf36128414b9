"""Live tables for the tests of editions, opt-outs and cohorts already answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import sqlalchemy

from nodes.rows.editions import CohortRows, EditionKeeper
from nodes.rows.source import Source
from nodes.study.answered_cohorts import AnsweredCohorts
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Column, Dataset

K, N = 5, 60
COLUMNS = (
    Column(name="age", type="integer", minimum=0, maximum=120),
    Column(name="x", type="number"),
    Column(name="twice", type="number", derived="x * 2"),
)
BY_ID = Dataset(id="kept", name="kept", version="1", person="pid", columns=COLUMNS)
BY_ROW = Dataset(id="kept", name="kept", version="1", columns=COLUMNS)
VISITS = BY_ID.model_copy(update={"rows_per_person": 3})
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def people(n: int = N, first: int = 0) -> pd.DataFrame:
    numbers = np.arange(first, first + n)
    return pd.DataFrame({"pid": numbers, "age": 20 + numbers % 60, "x": numbers / 4})


class Place:
    """A table that can be written anew, in each kind of source."""

    def __init__(self, kind: str, folder: Path, server: Callable[[], str]) -> None:
        self._kind, self._folder = kind, folder
        self._frame = pd.DataFrame()
        self._server = server() if kind == "postgresql" else ""

    def write(self, frame: pd.DataFrame) -> Any:
        if self._kind == "frame":
            return frame
        if self._kind == "csv":
            frame.to_csv(self._folder / "t.csv", index=False)
            return self._folder / "t.csv"
        if self._kind == "parquet":
            with duckdb.connect() as engine:
                engine.register("t", frame)
                engine.execute(f"COPY t TO '{self._folder / 't.parquet'}' (FORMAT parquet)")
            return self._folder / "t.parquet"
        url = self._server or f"sqlite:///{self._folder / 't.db'}"
        engine_ = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine_.begin() as connection:
            frame.to_sql("kept", connection, index=False, if_exists="replace")
        engine_.dispose()
        return f"{url}#kept"


class Table:
    """One node's editions and answered cohorts."""

    def __init__(self, folder: Path, dataset: Dataset = BY_ID, *, durable: bool = False, database: Any = None) -> None:
        self.folder, self.dataset, self.durable = folder, dataset, durable
        self.database = database or sqlite3.connect(":memory:")
        self.editions = EditionKeeper(folder / "editions", dataset, persons=K, durable=durable)
        self.answered = AnsweredCohorts(self.database, self.editions)
        self._studies = 0

    def again(self) -> Table:
        """The node after a restart."""
        return Table(self.folder, self.dataset, durable=self.durable, database=self.database)

    def taken(self, source: Any, cohort: str = "", names: tuple[str, ...] = ("x",)) -> CohortRows:
        parsed = Cohort.parse(cohort, self.dataset) if cohort else None
        given = source if isinstance(source, Source) else Source(source)
        return self.editions.freeze(given, names, parsed, now=NOW)

    def ask(self, source: Any, cohort: str = "", names: tuple[str, ...] = ("x",)) -> CohortRows | None:
        """A whole study: None where it is refused."""
        taken = self.taken(source, cohort, names)
        if not self.answered.judge(taken, names, K).ok:
            return None
        self._studies += 1
        self.answered.record(f"s{self._studies}", taken, names, K)
        return taken


def values(taken: CohortRows | None) -> list[float]:
    assert taken is not None
    return sorted(taken.frozen.rows.columns["x"].tolist())
