"""Who has opted out is gone from every study from then on, before anything is counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy

from nodes.rows.cohort_rows import check_source, freeze
from nodes.rows.from_database import SourceAway
from nodes.rows.opt_outs import opted_out
from nodes.rows.source import Source
from tests.support.live_tables import BY_ID, BY_ROW, K, N, Table, people
from trust.errors import SourceInvalid


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "node")


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


LISTS: dict[str, Callable[[Path], Any]] = {
    "a text": lambda folder: written(folder / "out.txt", "3\n5\n"),
    "a CSV with a heading": lambda folder: written(folder / "out.csv", "pid\r\n3\r\n5\r\n"),
    "a mark of UTF-8, spaces and empty lines": lambda folder: written(folder / "out.csv", "\ufeffpid\n\n 3 \n5\n\n"),
    "numbers with a point": lambda folder: written(folder / "out.csv", "3.0\n5.0\n"),
    "a path as a text": lambda folder: str(written(folder / "out.txt", "3\n5")),
    "a list of numbers": lambda folder: [3, 5],
    "a list of texts": lambda folder: (" 3", "5.0"),
    "a column": lambda folder: pd.Series([3.0, 5.0]),
    "an array": lambda folder: np.array([3, 5]),
    "a set": lambda folder: {"3", 5},
}
IDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "whole numbers": lambda frame: frame,
    "doubles": lambda frame: frame.assign(pid=frame["pid"].astype(float)),
    "texts": lambda frame: frame.assign(pid=frame["pid"].map(lambda v: f" {v} ")),
    "texts with a point": lambda frame: frame.assign(pid=frame["pid"].map(lambda v: f"{v}.0")),
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
@pytest.mark.parametrize("given", LISTS.values(), ids=LISTS.keys())
def test_persons_on_the_list_are_removed_however_it_is_written(
    given: Callable[[Path], Any], ids: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    source = Source(ids(people()), opt_out=given(tmp_path))
    edition = freeze(BY_ID, source, ["x"], None)
    assert edition.persons == N - 2
    assert not {0.75, 1.25} & set(edition.rows.columns["x"].tolist())


class TestAListInADatabase:
    @pytest.fixture
    def address(self, postgres: str) -> str:
        engine = sqlalchemy.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            people().to_sql("optable", connection, index=False, if_exists="replace")
            connection.exec_driver_sql("DROP TABLE IF EXISTS optouts")
            connection.exec_driver_sql("CREATE TABLE optouts (pid text, since date)")
            connection.exec_driver_sql("INSERT INTO optouts VALUES ('3', '2026-01-01'), ('5', NULL)")
        engine.dispose()
        return postgres

    @pytest.mark.slow
    def test_of_its_own_and_beside_the_rows(self, address: str) -> None:
        for opt_out in (f"{address}#optouts", "#optouts"):
            source = Source(f"{address}#optable", opt_out=opt_out)
            assert freeze(BY_ID, source, ["x"], None).persons == N - 2

    def test_is_read_anew_before_each_study(self, address: str, table: Table) -> None:
        source = Source(f"{address}#optable", opt_out="#optouts")
        table.ask(source, "age >= 0")
        engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO optouts VALUES ('7', NULL)")
        engine.dispose()
        taken = table.taken(source, "age >= 0")
        assert (taken.number, taken.frozen.persons) == (1, N - 3)

    def test_without_a_column_of_the_id_is_refused(self, address: str) -> None:
        with pytest.raises(SourceInvalid, match="opt-outs"):
            opted_out(Source(people(), opt_out=f"{address}#kept_nowhere"), BY_ID)


def test_a_list_beside_the_rows_in_sqlite(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as database:
        people().to_sql("t", database, index=False)
        database.execute("CREATE TABLE gone (patient INTEGER)")
        database.execute("INSERT INTO gone VALUES (3)")
    database.close()
    for opt_out in ("#gone", f"sqlite:///{tmp_path / 't.db'}#gone"):
        source = Source(f"sqlite:///{tmp_path / 't.db'}#t", opt_out=opt_out)
        assert freeze(BY_ID, source, ["x"], None).persons == N - 1


FAULTY: dict[str, Callable[[Path], Any]] = {
    "no file": lambda folder: folder / "none.txt",
    "a folder": lambda folder: folder,
    "no UTF-8": lambda folder: (folder / "out.txt").write_bytes(b"\xff\xfe3\n") and folder / "out.txt",
    "several fields": lambda folder: written(folder / "out.csv", "pid,since\n3,2026-01-01\n"),
    "semicolons": lambda folder: written(folder / "out.csv", "3;2026-01-01\n"),
    "a missing id in a list": lambda folder: [3, None],
    "not a number in a list": lambda folder: [3.0, float("nan")],
    "a table beside a file": lambda folder: "#optouts",
    "another scheme": lambda folder: "https://example.org/optouts",
    "a database that is not there": lambda folder: f"sqlite:///{folder / 'none.db'}#optouts",
    "a server that is not there": lambda folder: "postgresql://someone:zq7431@127.0.0.1:9/db#optouts",
}


@pytest.mark.parametrize("given", FAULTY.values(), ids=FAULTY.keys())
def test_a_list_that_cannot_be_read_refuses_the_study(given: Callable[[Path], Any], tmp_path: Path) -> None:
    source = Source(people(), opt_out=given(tmp_path))
    for use in (lambda: freeze(BY_ID, source, ["x"], None), lambda: check_source(BY_ID, source)):
        with pytest.raises((SourceInvalid, SourceAway), match="no study runs before") as error:
            use()
        assert "zq7431" not in str(error.value)


def test_an_empty_list_removes_nobody(tmp_path: Path) -> None:
    for given in ([], written(tmp_path / "out.txt", ""), written(tmp_path / "out.csv", "pid\n")):
        assert opted_out(Source(people(), opt_out=given), BY_ID) == frozenset()


def test_where_each_row_is_a_person_there_is_no_id_to_match() -> None:
    with pytest.raises(SourceInvalid, match="no id of persons"):
        freeze(BY_ROW, Source(people(), opt_out=[3]), ["x"], None)


def test_something_that_is_no_list_is_told_at_once() -> None:
    with pytest.raises(SourceInvalid, match="opt_out"):
        Source(people(), opt_out=7)


def test_a_relative_list_is_beside_source_toml(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "t.csv", index=False)
    written(tmp_path / "out.txt", "3\n")
    written(tmp_path / "source.toml", 'url = "t.csv"\nopt_out = "out.txt"\n')
    assert freeze(BY_ID, Source.load(tmp_path / "source.toml"), ["x"], None).persons == N - 1


def test_what_they_hold_is_not_validated_either() -> None:
    frame = people()
    frame.loc[3, "age"] = 500
    frame = pd.concat([frame, people(1, 4)], ignore_index=True)  # person 4 twice
    assert freeze(BY_ID, Source(frame, opt_out=[3, 4]), ["age"], None).persons == N - 2


def test_they_leave_a_kept_edition_at_once_and_come_back_with_it(table: Table) -> None:
    gone: list[int] = []
    source = Source(people(), opt_out=gone)
    assert table.taken(source).frozen.persons == N
    table.ask(source, "age >= 30")
    gone.append(3)
    taken = table.taken(source)
    assert (taken.number, taken.frozen.persons) == (1, N - 1)
    gone.clear()
    assert table.taken(source).frozen.persons == N


def test_they_are_not_counted_as_gone(table: Table) -> None:
    gone: list[int] = []
    table.ask(Source(people(), opt_out=gone))
    gone.extend(range(4))
    taken = table.taken(Source(people(N - 4, 4), opt_out=gone))  # the partner has deleted them too
    assert (taken.number, taken.frozen.persons) == (1, N - 4)
    taken = table.taken(Source(people(N - 5, 5), opt_out=gone))
    assert taken.number == 1
    taken = table.taken(Source(people(N - 4 - K, 4 + K), opt_out=gone))
    assert taken.number == 2


def test_a_study_before_and_after_an_opt_out_is_a_pair_that_differs_by_one(table: Table) -> None:
    gone: list[int] = []
    source = Source(people(), opt_out=gone)
    assert table.ask(source) is not None
    gone.append(3)
    assert table.ask(source) is None
    assert table.ask(source, names=("age",)) is not None
    gone.extend(range(10, 10 + K - 1))
    assert table.ask(source) is not None
