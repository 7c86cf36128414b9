"""The register: entries with proofs that anybody can check, and no change that stays unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from coordinator.docket.database import Database, open_database
from coordinator.docket.register import Register
from tests.support.log_tampering import AT, CHANGES, Change, changed, shorten, tree, write_anew
from trust.errors import MessageInvalid, Refused
from trust.logs.checkpoint import Checkpoint, journal_origin, read_checkpoint, register_origin, sign_checkpoint
from trust.logs.kinds import REGISTER as KINDS
from trust.logs.merkle import EMPTY, Entry, Tree, check_consistency, check_inclusion, leaf_hash
from trust.signing.envelope import Signer

SIZE = 7
KEY, NODE = Signer(), Signer()
ORIGIN = register_origin("heart")
Open = Callable[..., Register]


@pytest.fixture
def at(place: Path | str) -> Iterator[Open]:
    """`at()`: the register of one place, opened anew each time; closed after the test."""
    made: list[Database] = []

    def maker(signer: Signer = KEY) -> Register:
        made.append(open_database(place, durable=False))
        return Register(made[-1], ORIGIN, signer)

    yield maker
    for db in made:
        db.close()


@pytest.fixture
def tables(place: Path | str) -> Path | str:
    """Where somebody with a shell finds them: the file of a folder, or the URL."""
    return place / "state.sqlite" if isinstance(place, Path) else place


@contextmanager
def transaction(register: Register) -> Iterator[None]:
    with register._db.transaction():
        yield
        register.checkpoint()


def write(register: Register, count: int, start: int = 0) -> Register:
    for number in range(start, start + count):
        with transaction(register):
            assert register.append("refusal", "s", AT, {"rule": "persons", "text": str(number)}) == number
    return register


def read(note: str) -> Checkpoint:
    return read_checkpoint(note, ORIGIN, [KEY.public])


def test_entries_and_head(at: Open, tables: Path | str) -> None:
    register = at()
    assert register.head() == (0, EMPTY)
    assert list(register.entries()) == []
    for size in range(1, 20):
        write(register, 1, size - 1)
        assert register.head() == (size, tree(tables).root())
    expected = [Entry.of("refusal", "s", AT, {"rule": "persons", "text": str(n)}, seq=n) for n in range(19)]
    assert list(register.entries()) == expected
    assert list(register.entries(17)) == expected[17:]
    assert list(register.entries(19)) == []
    assert at().head() == register.head()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_the_list_can_be_written_and_no_other(at: Open, kind: str) -> None:
    register = at()
    with transaction(register):
        register.append(kind, "", AT, {"partner": "a", "note": "x"})
    with pytest.raises(ValueError, match="has no entries of kind"), transaction(register):
        register.append(f"{kind}s", "", AT, {})
    assert [entry.kind for entry in register.entries()] == [kind]


def test_a_checkpoint_is_the_signed_head_and_the_latest_is_kept(at: Open) -> None:
    register = write(at(), 3)
    assert read(register.checkpoint()) == Checkpoint(ORIGIN, *register.head())
    write(register, 1, 3)
    (note,) = register._db.execute("SELECT note FROM checkpoint").fetchone()
    assert read(note).size == 4
    assert at()._db.execute("SELECT note FROM checkpoint").fetchone() == (note,)


def test_every_entry_has_a_proof_that_leads_to_the_checkpoint(at: Open) -> None:
    register = at()
    for size in range(1, 18):
        write(register, 1, size - 1)
        for index, entry in enumerate(register.entries()):
            proof, note = register.inclusion(index)
            head = read(note)
            check_inclusion(leaf_hash(entry.canonical()), index, head.size, proof, head.root)
    with pytest.raises(MessageInvalid):
        register.inclusion(17)


def test_every_earlier_checkpoint_is_extended(at: Open) -> None:
    register = at()
    notes = [register.checkpoint()]
    for size in range(1, 18):
        write(register, 1, size - 1)
        notes.append(register.checkpoint())
        for old in map(read, notes):
            proof, note = register.consistency(old.size)
            new = read(note)
            check_consistency(old.size, new.size, old.root, new.root, proof)
    with pytest.raises(MessageInvalid):
        register.consistency(18)


def test_a_proof_inside_a_transaction_and_after_one_that_was_undone(at: Open) -> None:
    register = write(at(), 5)
    with suppress(LookupError), transaction(register):
        register.append("release", "s", AT, {"undone": 1})
        register.append("release", "s", AT, {"undone": 2})
        proof, note = register.inclusion(5)
        check_inclusion(leaf_hash(next(register.entries(5)).canonical()), 5, 7, proof, read(note).root)
        raise LookupError
    assert register.head()[0] == 5
    with transaction(register):
        register.append("release", "s", AT, {"kept": 1})
        register.append("release", "s", AT, {"kept": 2})
    proof, note = register.inclusion(6)
    check_inclusion(leaf_hash(next(register.entries(6)).canonical()), 6, 7, proof, read(note).root)
    register.verify()


def test_the_register_catches_up_with_what_another_process_wrote(at: Open) -> None:
    mine, other = write(at(), 3), at()
    mine.inclusion(0)
    write(other, 4, 3)
    proof, note = mine.inclusion(6)
    check_inclusion(leaf_hash(next(other.entries(6)).canonical()), 6, 7, proof, read(note).root)
    write(mine, 1, 7)
    other.verify()


# ---- heads of journals


def head(size: int) -> str:
    return sign_checkpoint(Checkpoint(journal_origin("heart", "a"), size, bytes([size]) * 32), NODE)


def test_the_last_head_of_each_partner(at: Open) -> None:
    register = at()
    assert register.journal_head("a") == ""
    for partner, size in (("a", 1), ("b", 2), ("a", 3)):
        with transaction(register):
            register.append("journal-head", "s", AT, {"partner": partner, "note": head(size)})
    assert (register.journal_head("a"), register.journal_head("b"), register.journal_head("c")) == (
        head(3),
        head(2),
        "",
    )
    assert at().journal_head("a") == head(3)


def test_a_head_of_an_undone_transaction_is_none(at: Open) -> None:
    register = at()
    with suppress(LookupError), transaction(register):
        register.append("journal-head", "s", AT, {"partner": "a", "note": head(1)})
        assert register.journal_head("a") == head(1)
        raise LookupError
    assert register.journal_head("a") == ""


# ---- changed files


def _found(at: Open, tables: Path | str, change: Change, entry: int) -> None:
    register = write(at(), SIZE)
    changed(tables, change, entry)
    for again in (register.verify, at):
        with pytest.raises(Refused, match="the register was changed: ") as found:
            again()
        assert found.value.rule == "log-corrupt"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("entry", range(SIZE))
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whoever_changes_the_file_is_found(at: Open, tables: Path, change: Change, entry: int) -> None:
    _found(at, tables, change, entry)


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whoever_changes_the_database_is_found(at: Open, tables: str, change: Change) -> None:
    _found(at, tables, change, 3)


@pytest.mark.parametrize("entry", range(SIZE))
def test_a_register_written_anew_or_shortened_does_not_extend_its_checkpoint(
    at: Open, tables: Path | str, entry: int
) -> None:
    old = read(write(at(), SIZE).checkpoint())
    changed(tables, write_anew, entry)
    register = at()  # in itself it fits
    write(register, 2, SIZE)
    proof, note = register.consistency(old.size)
    with pytest.raises(Refused, match="does not extend"):
        check_consistency(old.size, read(note).size, old.root, read(note).root, proof)
    changed(tables, shorten, entry)
    with pytest.raises(MessageInvalid):
        at().consistency(old.size)


def test_proofs_of_a_changed_register_are_refused(at: Open, tables: Path | str) -> None:
    register = write(at(), SIZE)
    changed(tables, CHANGES["edit the hash"], 2)
    with pytest.raises(Refused, match="do not lead to its head"):
        register.inclusion(5)


def test_another_coordinator_goes_on_with_the_same_register(at: Open) -> None:
    write(at(), 3)
    new = Signer()
    register = write(at(new), 1, 3)
    assert read_checkpoint(register.checkpoint(), ORIGIN, [new.public]).size == 4


def test_opening_keeps_a_transaction_that_is_open(at: Open) -> None:
    db = at()._db
    with suppress(LookupError), db.transaction():
        Register(db, ORIGIN, KEY).append("study", "s", AT, {})
        raise LookupError
    assert Register(db, ORIGIN, KEY).head()[0] == 0


@pytest.mark.parametrize("proof_of", ["inclusion", "consistency"])
def test_a_proof_and_its_checkpoint_are_of_one_tree_whatever_is_written_meanwhile(
    at: Open, monkeypatch: pytest.MonkeyPatch, proof_of: str
) -> None:
    """A member who signs while a result is released."""
    mine, other = write(at(), 5), at()
    proving = getattr(Tree, proof_of)

    def interrupted(self: Tree, *of: int) -> list[bytes]:
        proof: list[bytes] = proving(self, *of)
        write(other, 1, 5)
        return proof

    monkeypatch.setattr(Tree, proof_of, interrupted)
    proof, note = getattr(mine, proof_of)(3)
    head = read(note)
    assert (head.size, mine.head()[0]) == (5, 6)
    if proof_of == "inclusion":
        check_inclusion(leaf_hash(next(mine.entries(3)).canonical()), 3, head.size, proof, head.root)
    else:
        before = Tree(leaf_hash(entry.canonical()) for entry in mine.entries()).root(3)
        check_consistency(3, head.size, before, head.root, proof)
