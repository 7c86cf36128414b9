"""Cohorts already answered are compared by person, within an edition and over editions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nodes.study.answered_cohorts import columns_read
from tests.support.live_tables import BY_ID, BY_ROW, VISITS, K, Table, people


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "node")


def test_cohorts_of_one_edition(table: Table) -> None:
    frame = people()
    assert table.ask(frame, "age >= 30") is not None
    assert table.ask(frame, "age >= 30") is not None
    assert table.ask(frame, "age > 30") is None
    assert table.ask(frame, "age >= 30 and x <> 4") is None
    assert table.ask(frame, "age >= 35") is not None
    assert table.ask(frame, "age < 30") is not None
    assert table.ask(frame, "age > 30", names=("age",)) is not None
    assert table.ask(frame, "age > 30", names=("age", "x")) is None


def test_a_refused_cohort_is_not_recorded(table: Table) -> None:
    frame = people()
    table.ask(frame, "age >= 30")
    assert table.ask(frame, "age >= 32") is None
    assert table.ask(frame, "age >= 36") is not None


def test_a_derived_column_is_what_it_reads(table: Table) -> None:
    assert columns_read(BY_ID, ["twice", "partner"]) == {"twice", "x", "partner"}
    frame = people()
    table.ask(frame, "age >= 30", names=("twice",))
    assert table.ask(frame, "age > 30", names=("x",)) is None


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "kept"])
def test_cohorts_of_two_editions_are_compared_by_person(tmp_path: Path, durable: bool) -> None:
    node = Table(tmp_path / "node", durable=durable)
    assert node.ask(people(), "age >= 30") is not None
    frame = people().iloc[::-1].assign(age=lambda f: f["age"].where(f["pid"] != 20, 25))  # one has left the cohort
    young = people(K, 1000).assign(age=21)
    frame = pd.concat([frame, young], ignore_index=True)
    taken = node.taken(frame, "age >= 30")
    assert taken.number == 2
    assert node.ask(frame, "age >= 30") is None
    assert node.ask(frame, "age >= 30 or x = 5") is not None  # pid 20 again: the same persons
    assert node.ask(frame, "age < 30") is not None


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "kept"])
def test_cohorts_of_rows_without_ids_are_compared_over_editions(tmp_path: Path, durable: bool) -> None:
    node = Table(tmp_path / "node", BY_ROW, durable=durable)
    twins = pd.concat([people(), people(3)], ignore_index=True)
    assert node.ask(twins, "age < 30") is not None
    more = pd.concat([twins, people(K).assign(age=70)], ignore_index=True)
    assert node.ask(more, "age < 30") is not None
    assert node.ask(more, "age < 30 and x <> 0") is None  # a row and its twin
    other = pd.concat([twins.iloc[1:], people(K).assign(age=70)], ignore_index=True)
    after = node.again() if durable else node
    assert after.ask(pd.concat([other, people(K).assign(age=71)], ignore_index=True), "age < 30") is None


def test_persons_of_several_rows_are_compared_not_rows(tmp_path: Path) -> None:
    node = Table(tmp_path / "node", VISITS)
    frame = pd.concat([people(), people().assign(age=80), people(1).assign(age=81)], ignore_index=True)
    assert node.ask(frame, "age < 80") is not None
    assert node.ask(frame, "age >= 80") is not None  # other rows of the same persons
    assert node.ask(frame, "age = 80 and x < 14.75") is None  # one person less


def test_a_person_of_two_rows_is_one_where_only_one_row_is_allowed(table: Table) -> None:
    frame = pd.concat([people(), people().assign(age=90)], ignore_index=True)
    first, second = table.taken(frame, "age < 90"), table.taken(frame, "age = 90")
    assert (first.persons == second.persons).all()


def test_equal_sets_are_kept_once(table: Table) -> None:
    for _ in range(3):
        table.ask(people(), "age >= 30")
    assert table.database.execute("SELECT count(*) FROM cohort").fetchone() == (1,)
    assert table.database.execute("SELECT count(*) FROM answered_cohort").fetchone() == (3,)


def test_another_datasets_cohorts_are_not_compared(tmp_path: Path) -> None:
    node = Table(tmp_path / "one")
    node.ask(people(), "age >= 30")
    other = Table(tmp_path / "two", BY_ID.model_copy(update={"id": "other"}), database=node.database)
    assert other.ask(people(), "age > 30") is not None
