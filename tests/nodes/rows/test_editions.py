"""One edition is used by all studies until k persons have come or gone."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodes.rows.cohort_rows import freeze
from nodes.rows.edition import table_columns
from nodes.rows.source import Source, table_of
from tests.support.live_tables import BY_ID, BY_ROW, COLUMNS, K, N, Place, Table, people, values
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Column
from trust.errors import Fault, SourceInvalid


@pytest.fixture(params=["frame", "csv", "parquet", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path, lambda: str(request.getfixturevalue("postgres")))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "node")


# ---- editions


class TestOfEverySource:
    @pytest.mark.parametrize("durable", [False, True], ids=["in memory", "kept"])
    def test_fewer_than_k_new_persons_do_not_enter_and_k_do(self, place: Place, tmp_path: Path, durable: bool) -> None:
        node = Table(tmp_path / "node", durable=durable)
        first = node.ask(place.write(people()))
        assert first is not None
        assert (first.number, first.date, first.frozen.persons) == (1, "2026-11-24T00:00:00Z", N)
        later = node.ask(place.write(people(N + K - 1)))
        assert later is not None
        assert later.number == 1
        assert values(later) == values(first)
        next_one = node.ask(place.write(people(N + K)))
        assert next_one is not None
        assert next_one.number == 2
        assert next_one.frozen.persons == N + K

    def test_persons_who_go_count_like_those_who_come(self, place: Place, table: Table) -> None:
        table.ask(place.write(people()))
        taken = table.ask(place.write(people(N - 1, 2)))  # 2 gone, 1 come
        assert taken is not None
        assert (taken.number, taken.frozen.persons) == (1, N)
        taken = table.ask(place.write(people(N, 3)))  # 3 gone, 3 come
        assert taken is not None
        assert taken.number == 2

    def test_a_value_that_is_changed_enters_with_the_next_edition(self, place: Place, table: Table) -> None:
        first = table.ask(place.write(people()))
        changed = people()
        changed.loc[3, "x"] = 1000.0
        assert values(table.ask(place.write(changed))) == values(first)
        more = pd.concat([changed, people(K, N)], ignore_index=True)
        assert 1000.0 in values(table.ask(place.write(more)))

    def test_an_order_of_rows_is_no_change(self, place: Place, table: Table) -> None:
        table.ask(place.write(people()), "age < 50")
        shuffled = people().sample(frac=1, random_state=1).reset_index(drop=True)
        taken = table.ask(place.write(shuffled), "age < 50")
        assert taken is not None
        assert taken.number == 1

    def test_columns_that_were_not_asked_at_first_are_of_the_same_edition(self, place: Place, table: Table) -> None:
        table.ask(place.write(people()), names=("age",))
        taken = table.ask(place.write(people().assign(x=-7.0)), names=("age", "x"))
        assert min(values(taken)) == 0.0

    def test_rows_without_an_id_are_known_by_their_content(self, place: Place, tmp_path: Path) -> None:
        node = Table(tmp_path / "node", BY_ROW)
        twins = pd.concat([people(), people(3)], ignore_index=True)
        assert node.ask(place.write(twins)) is not None
        four_more = pd.concat([twins, people(K - 1)], ignore_index=True)  # equal rows are counted
        taken = node.ask(place.write(four_more))
        assert taken is not None
        assert (taken.number, taken.frozen.persons) == (1, N + 3)
        taken = node.ask(place.write(pd.concat([twins, people(K)], ignore_index=True)))
        assert taken is not None
        assert (taken.number, taken.frozen.persons) == (2, N + 3 + K)

    def test_a_restarted_node_uses_the_same_edition(self, place: Place, tmp_path: Path) -> None:
        node = Table(tmp_path / "node", durable=True)
        first = node.ask(place.write(people()), "age >= 30")
        later = node.again().ask(place.write(people(N + 1)), "age >= 30")
        assert later is not None
        assert (later.number, later.date) == (1, "2026-11-24T00:00:00Z")
        assert values(later) == values(first)


def test_a_frame_that_is_changed_in_place_is_seen_to_have_changed(table: Table) -> None:
    frame = people()
    first = table.ask(frame)
    frame.loc[0, "x"] = 99.0
    assert values(table.ask(frame)) == values(first)
    for more in range(K):
        frame.loc[len(frame)] = [1000 + more, 30, 1.5]
    taken = table.ask(frame)
    assert taken is not None
    assert taken.number == 2
    assert 99.0 in values(taken)


def test_a_file_that_is_written_anew_within_one_tick_is_seen(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    people().to_csv(path, index=False)
    table.ask(path)
    text = path.read_text().replace("0,20,0.0", "9,20,0.0").replace("1,21,0.25", "8,21,0.25")
    path.write_text(text)
    source = Source(path)
    assert not table_of(source).is_unchanged(table.taken(path).edition.seen, table_columns(source, BY_ID))


def test_an_unchanged_source_is_not_read_again(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = people()
    table.ask(frame)
    monkeypatch.setattr("nodes.rows.editions.ids_of", None)
    monkeypatch.setattr("nodes.rows.editions.take", None)
    assert table.ask(frame) is not None


def test_a_value_may_be_corrected_while_nothing_was_answered(table: Table) -> None:
    wrong = people()
    wrong.loc[2, "age"] = 500
    with pytest.raises(SourceInvalid, match="in-bounds"):
        table.taken(wrong, names=("age",))
    taken = table.ask(people(), names=("age",))
    assert taken is not None
    assert taken.number == 1


def test_a_study_that_is_refused_keeps_no_edition(table: Table) -> None:
    table.taken(people())
    taken = table.taken(people(N + 1))
    assert (taken.number, taken.frozen.persons) == (1, N + 1)


def test_two_extracts_do_not_become_the_same_edition(table: Table) -> None:
    one, other = table.taken(people()), table.taken(people(N + 1))
    table.answered.record("s1", one, ["x"], 11)
    with pytest.raises(Fault, match="run the study again"):
        table.answered.record("s2", other, ["x"], 11)
    table.answered.record("s3", one, ["x"], 11)


def test_a_lost_column_is_an_error_only_when_it_is_asked_for(table: Table) -> None:
    frame = people().drop(columns="age")
    assert table.ask(frame, names=("x", "twice")) is not None
    with pytest.raises(SourceInvalid, match="no column 'age'"):
        table.ask(frame, names=("age",))


def test_another_version_of_the_dataset_takes_the_next_edition(tmp_path: Path) -> None:
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    wider = BY_ID.model_copy(update={"version": "2", "columns": (*COLUMNS, Column(name="y", type="number"))})
    newer = Table(tmp_path / "node", wider, durable=True, database=node.database)
    frame = people(N).assign(y=1.0)
    taken = newer.ask(frame, names=("y",))
    assert taken is not None
    assert taken.number == 2
    assert newer.ask(frame, "age <> 27", names=("x",)) is None  # compared with the edition before


# ---- on the disk


def test_the_folder_is_the_owners_and_holds_one_edition(tmp_path: Path) -> None:
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    node.ask(people(N + K))
    folder = tmp_path / "node" / "editions"
    names = {path.name for path in folder.iterdir()}
    assert names == {"edition.json", "key", "000001.tokens", "000002.tokens", "000002.parquet"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_without_a_kept_state_no_row_is_on_the_disk(tmp_path: Path) -> None:
    node = Table(tmp_path / "node")
    path = tmp_path / "t.csv"
    people().to_csv(path, index=False)
    node.ask(path)
    assert [p.name for p in (tmp_path / "node" / "editions").iterdir()] == ["key"]


def test_tokens_tell_nothing_without_the_key(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "other"):
        Table(tmp_path / name, durable=True).ask(people())
        tokens.append((tmp_path / name / "editions" / "000001.tokens").read_bytes())
    assert len(tokens[0]) == len(tokens[1]) == 8 * N
    assert not set(np.frombuffer(tokens[0], "<u8")) & set(np.frombuffer(tokens[1], "<u8"))


@pytest.mark.parametrize(
    ("lost", "words"), [("key", "key"), ("000001.tokens", "tokens"), ("000002.parquet", "rows of the edition")]
)
def test_what_is_lost_refuses(tmp_path: Path, lost: str, words: str) -> None:
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    node.ask(people(N + K))
    (tmp_path / "node" / "editions" / lost).unlink()
    with pytest.raises(Fault, match=words):
        node.again().ask(people(N + K), "age >= 30")


def test_a_broken_description_of_the_edition_refuses(tmp_path: Path) -> None:
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    (tmp_path / "node" / "editions" / "edition.json").write_text("{")
    with pytest.raises(Fault, match=r"edition\.json"):
        node.again().ask(people())


@pytest.mark.parametrize("how", ["lost", "older"])
def test_a_description_that_is_lost_or_older_than_the_editions_beside_it_refuses(tmp_path: Path, how: str) -> None:
    """Else the next extract would have the number of one already answered, and be compared with it place by place."""
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    described = tmp_path / "node" / "editions" / "edition.json"
    before = described.read_bytes()
    node.ask(people(N + K))
    described.unlink() if how == "lost" else described.write_bytes(before)
    with pytest.raises(Fault, match=r"edition\.json is"):
        node.again().ask(people(N + K).iloc[::-1], "x > 1")


def test_an_extract_under_the_number_of_one_already_answered_refuses(tmp_path: Path) -> None:
    """The whole folder was lost: what cannot be compared is not answered."""
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    shutil.rmtree(tmp_path / "node" / "editions")
    with pytest.raises(Fault, match="number of another"):
        node.again().ask(people(), "x > 1")


def test_another_process_that_made_the_next_edition_is_followed(tmp_path: Path) -> None:
    node = Table(tmp_path / "node", durable=True)
    node.ask(people())
    other = node.again()
    other.ask(people(N + K))
    taken = node.ask(people(N + K))
    assert taken is not None
    assert (taken.number, taken.frozen.persons) == (2, N + K)


@pytest.mark.parametrize("cohort", ["", "age >= 30", "age >= 30 and x > 2"])
def test_places_are_those_of_the_table(cohort: str) -> None:
    frame = pd.concat([people()] * 40, ignore_index=True)
    parsed = Cohort.parse(cohort, BY_ROW) if cohort else None
    edition = freeze(BY_ROW, Source(frame), ["x"], parsed)
    assert edition.height == len(frame)
    np.testing.assert_array_equal(frame["x"].to_numpy()[edition.places], edition.rows.columns["x"])
