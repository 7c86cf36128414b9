"""`datatrust register` and `datatrust node journal`: a kept trust is read and checked by somebody who holds no key."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import datatrust as dt
from datatrust.in_process.folder import TrustFolder
from tests.support.kept_trust import (
    PARTNERS,
    STRANGER,
    Run,
    entries,
    head,
    head_size,
    journal_file,
    made,
    register_file,
    state,
    trust_in,
    unchanged,
    write,
)
from tests.support.log_tampering import CHANGES, Change, changed, shorten, write_anew
from trust.logs.checkpoint import Checkpoint, register_origin, sign_checkpoint
from trust.logs.merkle import leaf_hash
from trust.signing.envelope import sha256

__all__ = ["made", "state"]

# ---- register show


def test_the_register_is_shown_line_by_line(run: Run, state: Path) -> None:
    with unchanged(state):
        code, out, err = run("register", "show", "--state", state)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len(entries(state))
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    for said in (
        "trust root - version 1, valid until 20",
        "charter - research, version 1, sha256:",
        "Age and sex; purpose AcademicResearch",
        "valid until 20",
        "partners north, south, west",
        "total 0, 3 partners",
        "content sha256:",
        "north, 3 entries",
        "persons: a partner takes part with at least 11 persons in the cohort",
    ):
        assert said in " ".join(out.split()), said


def test_in_french(run: Run, state: Path) -> None:
    code, out, _ = run("register", "show", "--state", state, "--lang", "fr")
    assert code == 0
    for said in ("racine de confiance", "étude déposée", "mandat", "valable jusqu’au", "total lu", "refus"):
        assert said in out, said
    for english in ("trust root", "study filed", "valid until", "entries"):
        assert english not in out


def test_as_json_a_line_is_what_is_hashed(run: Run, state: Path) -> None:
    code, out, _ = run("register", "show", "--state", state, "--json")
    assert code == 0
    with closing(sqlite3.connect(register_file(state))) as db:
        leaves = [leaf for (leaf,) in db.execute("SELECT leaf FROM log ORDER BY seq")]
    assert [leaf_hash(line.encode()) for line in out.splitlines()] == leaves


def test_the_entries_of_one_study(run: Run, state: Path) -> None:
    study = entries(state, "refusal")[0]["study"]
    code, out, _ = run("register", "show", "--state", state, "--study", study, "--json")
    assert code == 0
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert kinds[:2] == ["study", "mandate"]
    assert set(kinds) == {"study", "mandate", "refusal"}
    code, _, err = run("register", "show", "--state", state, "--study", study[:-1])
    assert code == 2
    assert repr(study) in err


def test_a_refusal_says_its_rule_and_never_how_many(run: Run, state: Path) -> None:
    for entry in entries(state, "refusal"):
        assert set(entry["body"]) == {"rule", "text", "remedy", "partner"}
        assert entry["body"]["partner"] == ""
    _, out, _ = run("register", "show", "--state", state)
    few = [line.split("persons: ")[1] for line in out.splitlines() if "persons: " in line]
    assert set(few) == {"a partner takes part with at least 11 persons in the cohort"}


def test_words_of_others_cannot_move_the_cursor_or_begin_a_line(run: Run, state: Path) -> None:
    text = "x\n     0  2026\x1b[2J\u202e"
    write(state, ("refusal", "s", {"rule": "r", "text": text, "remedy": "", "partner": ""}))
    _, out, _ = run("register", "show", "--state", state)
    assert len(out.splitlines()) == len(entries(state))
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_an_entry_that_cannot_be_read_is_shown_as_such(run: Run, state: Path) -> None:
    write(state, *((kind, "s", {}) for kind in ("root", "study", "mandate", "sum-record", "journal-head", "vote")[:4]))
    code, out, _ = run("register", "show", "--state", state)
    assert code == 0
    assert [line.split()[-3:] for line in out.splitlines()[-4:]] == [["cannot", "be", "read"]] * 4
    assert run("register", "show", "--state", state, "--lang", "fr")[1].rstrip().endswith("illisible")


# ---- register verify


def test_a_register_as_it_was_written_is_ok(run: Run, state: Path, tmp_path: Path) -> None:
    with unchanged(state):
        code, out, err = run("register", "verify", "--state", state, "--out", tmp_path / "note")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] == "ok"
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert [line.split(":")[0][4:] for line in lines[:-1]] == [
        "trust root", "entries", "checkpoint", "root", "charter", "study", "mandate",
        "sum-record", "release", "refusal", "journal-head",
    ]  # fmt: skip
    assert sha256(TrustFolder(state).roots[0].unverified_payload) in lines[0]
    with unchanged(state):
        code, out, _ = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert code == 0
    assert f"begins with the {len(entries(state))} entries of the earlier checkpoint" in out


def test_an_earlier_checkpoint_is_extended_by_a_longer_register(run: Run, state: Path, tmp_path: Path) -> None:
    run("register", "verify", "--state", state, "--out", tmp_path / "note")
    size = len(entries(state))
    write(state, ("refusal", "s", {"rule": "persons", "text": "x", "remedy": "", "partner": ""}))
    code, out, _ = run(
        "register", "verify", "--state", state, "--checkpoint", tmp_path / "note", "--out", tmp_path / "2"
    )
    assert code == 0
    assert f"begins with the {size} entries" in out
    assert (tmp_path / "2").read_text().splitlines()[1] == str(size + 1)


def test_while_the_trust_is_running(run: Run, tmp_path: Path) -> None:
    trust = trust_in(tmp_path / "state")
    table = {"table": dt.Describe(["age"])}
    for title in ("One", "Two"):
        trust.study(title, purpose="AcademicResearch", analyses=table).run()
        assert run("register", "verify", "--state", tmp_path / "state")[0] == 0
        assert run("node", "journal", "verify", "--state", tmp_path / "state")[0] == 0
        code, out, _ = run("register", "show", "--state", tmp_path / "state")
        assert code == 0
        assert title in out
    trust.docket.close()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_register_is_refused(run: Run, state: Path, tmp_path: Path, change: Change) -> None:
    changed(register_file(state), change, 5)
    code, out, _ = run("register", "verify", "--state", state, "--out", tmp_path / "note")
    assert code == 1
    assert "no  entries: the register was changed: " in out
    assert out.splitlines()[-1] == "not ok"
    assert not (tmp_path / "note").exists()


@pytest.mark.parametrize("change", [write_anew, shorten], ids=["written anew", "shortened"])
@pytest.mark.parametrize("place", [2, 7, 12])
def test_a_register_written_anew_without_the_coordinators_key_is_not_what_it_signed(
    run: Run, state: Path, change: Change, place: int
) -> None:
    changed(register_file(state), change, place)
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "no  checkpoint: the coordinator has signed" in out


def test_a_register_that_the_coordinator_writes_anew_is_found_by_an_earlier_checkpoint(
    run: Run, state: Path, tmp_path: Path
) -> None:
    """The last refusal gets another text: nothing but the kept checkpoint contradicts it."""
    run("register", "verify", "--state", state, "--out", tmp_path / "note")
    last = len(entries(state)) - 1
    body = entries(state)[last]["body"]
    changed(register_file(state), shorten, last)
    write(state, ("refusal", entries(state)[-1]["study"], {**body, "text": "the source was not there"}))
    assert run("register", "verify", "--state", state)[0] == 0
    code, out, _ = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert code == 1
    assert f"no  earlier: the register was rewritten: its first {last + 1} entries are not those" in out


def test_a_register_that_the_coordinator_shortens_is_found_by_an_earlier_checkpoint(
    run: Run, state: Path, tmp_path: Path
) -> None:
    run("register", "verify", "--state", state, "--out", tmp_path / "note")
    size = len(entries(state))
    changed(register_file(state), shorten, size - 1)
    write(state)
    assert run("register", "verify", "--state", state)[0] == 0
    code, out, _ = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert code == 1
    assert f"no  earlier: the register has become shorter: {size - 1} entries; it had {size}" in out


def test_an_earlier_checkpoint_of_somebody_else_is_none(run: Run, state: Path, tmp_path: Path) -> None:
    origin = register_origin("local")
    (tmp_path / "note").write_text(sign_checkpoint(Checkpoint(origin, 1, bytes(32)), STRANGER))
    code, out, _ = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert code == 1
    assert "no  earlier: the checkpoint is not signed by its log's key" in out


def test_a_register_without_a_signed_checkpoint(run: Run, state: Path) -> None:
    changed(register_file(state), lambda db, _: db.execute("DELETE FROM checkpoint"), 0)
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "no  checkpoint: the register has no signed checkpoint" in out


def test_a_register_that_a_stranger_has_signed(run: Run, state: Path) -> None:
    write(state, signer=STRANGER)
    code, out, _ = run("register", "verify", "--state", state)
    assert code == 1
    assert "no  checkpoint: the checkpoint is not signed by its log's key" in out


# ---- node journal verify


def test_journals_as_they_were_written(run: Run, state: Path) -> None:
    with unchanged(state):
        code, out, err = run("node", "journal", "verify", "--state", state)
    assert (code, err) == (0, "")
    sizes = {name: head_size(state, name) for name in PARTNERS}
    lines = out.splitlines()
    assert len(lines) == 4
    for line, (name, size) in zip(lines, sizes.items(), strict=False):
        assert line.startswith(f"ok  {name}: ")
        assert line.endswith(f" entries, with the {size} that the register has the head of")
    assert lines[-1] == "ok"
    code, out, _ = run("node", "journal", "verify", "--state", state, "--partner", "south")
    assert (code, len(out.splitlines())) == (0, 2)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_journal_is_refused_and_the_others_are_checked(run: Run, state: Path, change: Change) -> None:
    changed(journal_file(state, "south"), change, 4)
    code, out, _ = run("node", "journal", "verify", "--state", state)
    assert code == 1
    lines = out.splitlines()
    assert [line[:2] for line in lines] == ["ok", "no", "ok", "no"]
    assert lines[1].startswith("no  south: journal-corrupt: the journal was changed: ")


def test_a_journal_written_anew_is_not_that_of_the_register(run: Run, state: Path) -> None:
    changed(journal_file(state), write_anew, 4)
    code, out, _ = run("node", "journal", "verify", "--state", state, "--partner", "north")
    assert code == 1
    assert f"no  north: journal-corrupt: other entries than the first {head_size(state)} that" in out


def test_a_restored_journal_is_behind_the_register(run: Run, state: Path) -> None:
    changed(journal_file(state), shorten, 6)
    code, out, _ = run("node", "journal", "verify", "--state", state)
    assert code == 1
    size = head_size(state)
    assert f"no  north: state-rolled-back: a journal of 6 entries; expected the {size} of its register" in out


def test_a_node_of_which_the_register_has_no_head_yet(run: Run, tmp_path: Path) -> None:
    trust_in(tmp_path / "state").docket.close()
    code, out, _ = run("node", "journal", "verify", "--state", tmp_path / "state")
    assert code == 0
    assert out.count("0 entries; the register has no head of it yet") == 3


def test_a_head_in_the_register_that_is_not_the_nodes(run: Run, state: Path) -> None:
    write(state, ("journal-head", "", head(state, 999, STRANGER)))
    code, out, _ = run("node", "journal", "verify", "--state", state, "--partner", "north")
    assert code == 1
    assert "no  north: checkpoint-signature: " in out


# ---- what cannot be used

COMMANDS = [("register", "show"), ("register", "verify"), ("node", "journal", "verify")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_that_is_no_trusts(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        code, out, err = run(*command, "--state", folder)
        assert (code, out) == (2, "")
        assert "is not a state of a trust; expected" in err
        assert len(err.splitlines()) == 1


def _no_database(file: Path) -> None:
    file.write_bytes(b"not a database" * 100)


def _no_tables(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE x (y)")


def _newer(file: Path) -> None:
    changed(file, lambda db, _: db.execute("PRAGMA user_version=7"), 0)


UNUSABLE = [
    pytest.param(lambda file: file.unlink(), "is not there; expected the state of", id="missing"),
    pytest.param(_no_database, "cannot be read (DatabaseError); expected the database of", id="no database"),
    pytest.param(_newer, "a state of version 7; expected version ", id="a newer version"),
]


@pytest.mark.parametrize(("spoil", "said"), UNUSABLE)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_register_that_cannot_be_read(
    run: Run, state: Path, command: tuple[str, ...], spoil: Callable[[Path], None], said: str
) -> None:
    spoil(register_file(state))
    code, _, err = run(*command, "--state", state)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("spoil", "said"), UNUSABLE)
def test_a_journal_that_cannot_be_read(run: Run, state: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(journal_file(state))
    code, _, err = run("node", "journal", "verify", "--state", state)
    assert code == 2
    assert said in err


def test_a_database_without_the_tables(run: Run, state: Path) -> None:
    _no_tables(journal_file(state))
    code, out, _ = run("node", "journal", "verify", "--state", state)
    assert code == 1
    assert "no  north: store-unavailable: " in out
    _no_tables(register_file(state))
    for command in COMMANDS:
        code, _, err = run(*command, "--state", state)
        assert code == 2
        assert "cannot be read (OperationalError)" in err


@pytest.mark.parametrize("place", range(100, 40_000, 1777))
def test_a_damaged_register_never_gives_a_traceback(run: Run, state: Path, place: int) -> None:
    raw = bytearray(register_file(state).read_bytes())
    for at in range(place, min(place + 40, len(raw))):
        raw[at] ^= 0x5A
    register_file(state).write_bytes(raw)
    for command in COMMANDS:
        code, _, err = run(*command, "--state", state)
        assert code in (0, 1, 2)
        assert "unexpected" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("register", "show", "--lang", "de"), "one of: en, fr"),
        (("register", "verify", "--checkpoint", "nowhere"), "'nowhere' cannot be read"),
        (("register", "verify", "--out", "no/where"), "'no/where' cannot be written"),
        (("node", "journal", "verify", "--partner", "nort"), "no partner 'nort'; expected 'north', perhaps"),
    ],
)
def test_arguments_that_cannot_be_used(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments, "--state", state)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("text", [b"", b"x", b"\xff\xfe", b"datatrust/local/register\n7\n\n", b"x" * 40_000])
def test_a_file_that_is_no_checkpoint(run: Run, state: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "note").write_bytes(text)
    code, _, err = run("register", "verify", "--state", state, "--checkpoint", tmp_path / "note")
    assert code == 2
    assert "checkpoint" in err


@pytest.mark.parametrize("command", [("register",), ("node",), ("node", "journal"), *COMMANDS], ids=" ".join)
def test_help(run: Run, command: tuple[str, ...]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage: datatrust" in out
    assert "\\[" not in out
