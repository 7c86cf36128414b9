"""The journal: what was written stays, whoever changes the file is found, and the disk may fail at any time."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.state.journal import KINDS, Journal
from nodes.state.store import SqliteStore
from tests.support.log_tampering import AT, CHANGES, Change, changed, forget_the_head, shorten, tree, write_anew
from trust.errors import MessageInvalid
from trust.logs.checkpoint import Checkpoint, journal_origin, read_checkpoint
from trust.logs.logbook import LARGEST_ENTRY_BYTES
from trust.logs.merkle import EMPTY, Entry
from trust.secure_sum.errors import JournalCorrupt, StateRolledBack
from trust.signing.envelope import Signer

SIZE = 7
KEY = Signer()
ORIGIN = journal_origin("heart", "a")
Open = Callable[..., SqliteStore]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Open]:
    """`at("a")`: a store in a folder of its own; closed after the test."""
    made: list[SqliteStore] = []

    def maker(name: str = "a", *, durable: bool = False) -> SqliteStore:
        made.append(SqliteStore(tmp_path / name, durable=durable))
        return made[-1]

    yield maker
    for store in made:
        store.close()


def write(store: SqliteStore, count: int, start: int = 0) -> SqliteStore:
    for number in range(start, start + count):
        with store.transaction() as tx:
            tx.journal("sum-contributed", "s", AT, {"r": number})
    return store


def head_of(store: SqliteStore) -> Checkpoint:
    return read_checkpoint(store.checkpoint(ORIGIN, KEY), ORIGIN, [KEY.public])


# ---- what is written


def test_entries_come_back_with_their_numbers_and_the_head_is_the_trees(at: Open, tmp_path: Path) -> None:
    store = at()
    assert store.head() == (0, EMPTY)
    for size in range(1, 41):
        write(store, 1, size - 1)
        assert store.head() == (size, tree(tmp_path / "a" / "state.sqlite").root())
    entries = list(Journal(store.db).entries())
    assert entries == [Entry.of("sum-contributed", "s", AT, {"r": r}, seq=r) for r in range(40)]
    assert [entry.seq for entry in Journal(store.db).entries(37)] == [37, 38, 39]
    store._journal.verify()


def test_an_entry_is_the_canonical_bytes_of_its_model(at: Open) -> None:
    store, body = at(), {"b": [1, True, 'é\u2028"\\'], "a": {"z": "", "y": {}}}
    with store.transaction():
        assert Journal(store.db).append("gate-refused", "s-1", AT, body) == 0
    kept = store.db.execute("SELECT body FROM log").fetchone()[0]
    assert kept == Entry.of("gate-refused", "s-1", AT, body, seq=0).canonical()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_the_list_can_be_written(at: Open, kind: str) -> None:
    with (store := at()).transaction() as tx:
        tx.journal(kind, "", AT, {})
    assert store.head()[0] == 1


@pytest.mark.parametrize(
    ("kind", "study", "when", "body"),
    [
        pytest.param("sum-record", "s", AT, {}, id="a kind of the register"),
        pytest.param("", "s", AT, {}, id="no kind"),
        pytest.param("revoked", "s", "2026-02-30T00:00:00Z", {}, id="a time that does not exist"),
        pytest.param("revoked", "s", "yesterday", {}, id="no time"),
        pytest.param("revoked", "é", AT, {}, id="a study's id that is not ASCII"),
        pytest.param("revoked", "s", AT, {"x": 0.5}, id="a float"),
        pytest.param("revoked", "s", AT, {"x": None}, id="null"),
        pytest.param("revoked", "s", AT, {"x": "\ud800"}, id="a text that is not Unicode"),
        pytest.param("revoked", "s", AT, {"x": 2**53}, id="a large integer"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    at: Open, kind: str, study: str, when: str, body: dict[str, Any]
) -> None:
    store = write(at(), 2)
    with pytest.raises(ValueError), store.transaction() as tx:  # noqa: PT011 - our own mistakes have no code
        tx.journal(kind, study, when, body)
    assert store.head()[0] == 2
    store._journal.verify()


def test_an_entry_that_is_too_long_is_refused_and_the_largest_is_read_back(at: Open) -> None:
    store, room = at(), LARGEST_ENTRY_BYTES - 200
    with store.transaction() as tx:
        tx.journal("revoked", "s", AT, {"x": "a" * room})
    store._journal.verify()
    with pytest.raises(MessageInvalid, match="an entry of"), store.transaction() as tx:
        tx.journal("revoked", "s", AT, {"x": "a" * LARGEST_ENTRY_BYTES})
    assert store.head()[0] == 1


def test_outside_a_transaction_an_entry_is_one_of_its_own(at: Open) -> None:
    store = at()
    store.journal("revoked", "s", AT, {})
    assert not store.db.in_transaction
    store._journal.verify()
    assert store.head()[0] == 1


# ---- transactions and processes


def test_an_undone_transaction_is_undone_in_memory_too(at: Open) -> None:
    store = write(at(), 5)
    before = store.head()
    for _ in range(2):
        with suppress(LookupError), store.transaction() as tx:
            tx.journal("revoked", "s", AT, {})
            tx.journal("revoked", "s", AT, {})
            assert store.head()[0] == 7
            raise LookupError
        assert store.head() == before
    write(store, 1, 5)
    store._journal.verify()
    assert [entry.body for entry in Journal(store.db).entries(5)] == [{"r": 5}]


def test_an_undone_transaction_and_then_another_process_that_writes_as_much(at: Open) -> None:
    mine, other = write(at(), 3), at()
    with suppress(LookupError), mine.transaction() as tx:
        tx.journal("revoked", "undone", AT, {})
        raise LookupError
    write(other, 1, 3)
    write(mine, 1, 4)
    mine._journal.verify()
    assert mine.head() == other.head()
    assert [entry.body for entry in Journal(mine.db).entries()] == [{"r": r} for r in range(5)]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.booleans()), max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_objects_take_turns_and_some_turns_are_undone(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[bool, int, bool]]
) -> None:
    folder, written = tmp_path_factory.mktemp("journal") / "a", 0
    stores = [SqliteStore(folder, durable=False), SqliteStore(folder, durable=False)]
    for which, count, kept in turns:
        with suppress(LookupError), stores[which].transaction() as tx:
            for number in range(count):
                tx.journal("sum-contributed", "s", AT, {"r": written + number})
            if not kept:
                raise LookupError
            written += count
        assert stores[0].head() == stores[1].head()
        assert stores[which].head()[0] == written
    stores[0]._journal.verify()
    assert stores[1].head() == (written, tree(folder / "state.sqlite").root())
    for store in stores:
        store.close()


def _writes(folder: Path, count: int) -> None:
    store = SqliteStore(folder, durable=False)
    write(store, count)
    store.close()


def test_processes_at_once_leave_one_journal(at: Open, tmp_path: Path) -> None:
    spawn, store = multiprocessing.get_context("spawn"), at()
    processes = [spawn.Process(target=_writes, args=(tmp_path / "a", 40)) for _ in range(3)]
    for process in processes:
        process.start()
    write(store, 40)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store._journal.verify()
    assert store.head()[0] == 160


# ---- changed files


@pytest.mark.parametrize("place", range(SIZE))
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whoever_changes_the_file_is_found_at_the_next_start(
    at: Open, tmp_path: Path, change: Change, place: int
) -> None:
    write(at(), SIZE).close()
    changed(tmp_path / "a" / "state.sqlite", change, place)
    with pytest.raises(JournalCorrupt) as found:
        at()
    assert found.value.code == "journal-corrupt"
    assert "the journal was changed: " in found.value.text
    with pytest.raises(JournalCorrupt):  # and again: nothing is mended in passing
        at()


@pytest.mark.parametrize("place", range(SIZE))
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("edit", "entry {} does not have the hash"),
        ("delete", "entry {} is missing"),
        ("cut off", "entry {} is missing"),
        ("not canonical", "entry {} is not an entry in canonical form"),
        ("another kind", "entry {} is in another's place or of an unknown kind"),
        ("delete and close up", "entry {} "),
        ("swap with the first", "entry 0 "),
        ("insert before the first", "an entry -"),
    ],
)
def test_the_first_wrong_entry_is_named(at: Open, tmp_path: Path, name: str, said: str, place: int) -> None:
    write(at(), SIZE).close()
    changed(tmp_path / "a" / "state.sqlite", CHANGES[name], place)
    with pytest.raises(JournalCorrupt, match=said.format(place)):
        at()


@pytest.mark.parametrize(
    ("place", "said"), [(0, "one of the entries 0 to 3"), (3, "0 to 3"), (5, "4 to 5"), (6, "entry 6 is not what")]
)
def test_an_entry_written_anew_with_its_hash_is_narrowed_down(at: Open, tmp_path: Path, place: int, said: str) -> None:
    write(at(), SIZE).close()
    changed(tmp_path / "a" / "state.sqlite", CHANGES["edit with its hash"], place)
    with pytest.raises(JournalCorrupt, match=said):
        at()


def test_a_journal_that_is_changed_while_it_is_open_is_found_when_it_is_read_again(at: Open, tmp_path: Path) -> None:
    store = write(at(), SIZE)
    changed(tmp_path / "a" / "state.sqlite", CHANGES["edit"], 2)
    with pytest.raises(JournalCorrupt, match="entry 2 "):
        store._journal.verify()
    with pytest.raises(JournalCorrupt, match="entry 2 "):
        list(Journal(store.db).entries())


def test_without_its_head_nothing_is_written(at: Open, tmp_path: Path) -> None:
    store = write(at(), SIZE)
    changed(tmp_path / "a" / "state.sqlite", forget_the_head, 0)
    with pytest.raises(JournalCorrupt, match="its head is missing"), store.transaction() as tx:
        tx.journal("revoked", "s", AT, {})
    with pytest.raises(JournalCorrupt, match="its head is missing"):
        store.head()


# ---- against the register


def test_a_journal_extends_every_head_that_it_has_had(at: Open) -> None:
    store, heads = at(), []
    for number in range(20):
        heads.append(head_of(store))
        write(store, 1, number)
        for head in heads:
            store.extends(head)
    store.extends(head_of(store))


@pytest.mark.parametrize("place", range(SIZE))
def test_a_journal_written_anew_is_found_by_the_head_in_the_register(at: Open, tmp_path: Path, place: int) -> None:
    store = write(at(), SIZE)
    head = head_of(store)
    store.close()
    changed(tmp_path / "a" / "state.sqlite", write_anew, place)
    store = at()  # in itself it fits
    with pytest.raises(JournalCorrupt, match=f"other entries than the first {SIZE}"):
        store.extends(head)
    write(store, 3, SIZE)
    with pytest.raises(JournalCorrupt):
        store.extends(head)


@pytest.mark.parametrize("place", range(SIZE))
def test_a_shortened_journal_is_found_by_the_head_in_the_register(at: Open, tmp_path: Path, place: int) -> None:
    store = write(at(), SIZE)
    head = head_of(store)
    store.close()
    changed(tmp_path / "a" / "state.sqlite", shorten, place)
    with pytest.raises(StateRolledBack, match=f"a journal of {place} entries; expected the {SIZE} of its register"):
        at().extends(head)


def test_a_folder_restored_from_a_copy_is_rolled_back(at: Open, tmp_path: Path) -> None:
    write(at(), 4).close()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    store = write(at(), 3, 4)
    head = head_of(store)
    store.close()
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "copy", tmp_path / "a")
    store = at()
    with pytest.raises(StateRolledBack) as found:
        store.extends(head)
    assert (found.value.code, found.value.exit_code) == ("state-rolled-back", 3)
    write(store, 9, 40)  # and if it goes on as if nothing had been, it is another journal
    with pytest.raises(JournalCorrupt):
        store.extends(head)


def test_a_copy_of_the_folder_is_the_same_journal(at: Open, tmp_path: Path) -> None:
    """The positive control of the case above."""
    store = write(at(), 4)
    head = head_of(store)
    store.close()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    at("copy").extends(head)
