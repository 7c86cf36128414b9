"""Condition: accountability.  Journal and register are chained and signed; a change is found; no log, no result."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from nodes.state.journal import Journal
from tests.support import log_tampering as logs
from tests.support.outside_view import command, rule_of, watched
from tests.support.small_trusts import dataset, rows, study, trust
from trust.errors import DataTrustError
from trust.protocol.messages import UP, unpack
from trust.secure_sum.errors import JournalCorrupt

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}
FOUND = {
    "an entry edited": logs.edit,
    "an entry edited with its hash": logs.edit_with_its_hash,
    "an entry deleted": logs.delete,
    "an entry deleted and the rest closed up": logs.delete_and_close_up,
    "two entries in another order": logs.swap_with_the_first,
    "the end cut off": logs.cut_off,
    "an entry put in": logs.insert,
}
ANEW = {"written anew as a whole": logs.write_anew, "shortened as a whole": logs.shorten}
CODES = {"written anew as a whole": "journal-corrupt", "shortened as a whole": "state-rolled-back"}
"""Changes after which hashes and head fit again: found by comparing with what was signed before."""


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trust that has answered two studies, and the checkpoint that a citizen kept after it."""
    folder = tmp_path_factory.mktemp("answered")
    of = dt.local(FRAMES, dataset(), state=folder / "trust")
    study(of, dt.Describe(["x"])).run()
    study(of, dt.Describe(["z"])).run()
    code, said = command("register", "verify", "--state", folder / "trust", "--out", folder / "checkpoint")
    assert code == 0, said
    assert command("node", "journal", "verify", "--state", folder / "trust")[0] == 0
    return folder


@pytest.fixture
def copy(answered: Path, tmp_path: Path) -> Path:
    shutil.copytree(answered / "trust", tmp_path / "trust")
    return tmp_path / "trust"


@pytest.mark.parametrize("change", FOUND)
@pytest.mark.parametrize("at", [2, 5])
def test_a_changed_journal_is_found_and_its_node_answers_nothing_more(copy: Path, change: str, at: int) -> None:
    logs.changed(copy / "nodes" / "b" / "state.sqlite", FOUND[change], at)
    code, said = command("node", "journal", "verify", "--state", copy)
    assert (code, said.splitlines()[-1]) == (1, "not ok")
    assert "no  b: journal-corrupt" in said
    with pytest.raises(JournalCorrupt):
        dt.local(FRAMES, dataset(), state=copy)


@pytest.mark.parametrize("change", ANEW)
def test_a_journal_whose_hashes_fit_again_is_behind_what_the_register_has_of_it(copy: Path, change: str) -> None:
    logs.changed(copy / "nodes" / "b" / "state.sqlite", ANEW[change], 5)
    code, said = command("node", "journal", "verify", "--state", copy)
    assert code == 1
    assert f"no  b: {CODES[change]}" in said
    of = dt.local(FRAMES, dataset(), state=copy)
    with watched() as wire:
        assert rule_of(study(of, dt.Describe(["x"], by=["sex"])).run) == "organisations"  # b refuses, two are too few
    assert wire.sent("b") == ["refusal"]
    assert wire.uploads() == []


@pytest.mark.parametrize("change", FOUND)
@pytest.mark.parametrize("at", [3, 8])
def test_a_changed_register_is_found(copy: Path, change: str, at: int) -> None:
    logs.changed(copy / "coordinator" / "state.sqlite", FOUND[change], at)
    code, said = command("register", "verify", "--state", copy)
    assert (code, said.splitlines()[-1]) == (1, "not ok")
    assert "no  entries: the register was changed" in said


@pytest.mark.parametrize("change", ANEW)
def test_a_register_whose_hashes_fit_again_is_not_the_one_that_was_signed(
    answered: Path, copy: Path, change: str
) -> None:
    logs.changed(copy / "coordinator" / "state.sqlite", ANEW[change], 8)
    kept = answered / "checkpoint"
    code, said = command("register", "verify", "--state", copy, "--checkpoint", kept)
    assert code == 1
    assert "no  checkpoint:" in said
    assert "no  earlier:" in said


# ---- no log, no result


def closed(db: Any) -> None:
    """The disk is full, or the file cannot be written."""
    db.execute("PRAGMA query_only=ON")


def test_a_node_that_cannot_write_its_journal_computes_nothing(tmp_path: Path) -> None:
    """No row is even read: the table has gone by then, and that is not what the node complains of."""
    FRAMES["b"].to_csv(tmp_path / "b.csv", index=False)
    of = dt.local(FRAMES | {"b": tmp_path / "b.csv", "d": rows(60, 7)}, dataset())
    study(of, dt.Describe(["z"])).run()
    (tmp_path / "b.csv").unlink()
    closed(of._nodes["b"].store.db)
    with watched() as wire:
        result = study(of, dt.Describe(["x"])).run()
    assert result.provenance["absent"] == {"b": "journal"}
    assert wire.sent("b") == ["refusal"]


@pytest.mark.parametrize("last", [0, 1])
def test_a_node_whose_journal_fails_between_two_sums_gives_no_more(last: int) -> None:
    of = trust(FRAMES)

    def fails(header: dict[str, Any]) -> None:
        if header["kind"] == "ask" and header["r"] == last:
            closed(of._nodes["b"].store.db)

    with watched(fails) as wire, pytest.raises(DataTrustError):
        study(of, dt.Describe(["x"])).run()
    assert [r for name, r in wire.uploads() if name == "b"] == list(range(last))
    assert [entry.kind for entry in of.docket.register.entries()].count("release") == 0


def test_a_coordinator_that_cannot_write_the_register_releases_nothing(tmp_path: Path) -> None:
    of = dt.local(FRAMES, dataset(), state=tmp_path / "trust")

    def fails(header: dict[str, Any]) -> None:
        if header["kind"] == "close":
            closed(of.docket._db)

    with watched(fails), pytest.raises(DataTrustError):
        study(of, dt.Describe(["x"])).run()
    assert list((tmp_path / "trust" / "results").iterdir()) == []
    assert command("register", "show", "--state", tmp_path / "trust")[1].count("result released") == 0


def test_what_left_a_node_stands_in_its_journal_before_the_next_message() -> None:
    """Each masked vector, by its length and its SHA-256."""
    of = trust(FRAMES)
    journal = Journal(of._nodes["a"].store.db)
    written: list[list[str]] = []

    def look(header: dict[str, Any]) -> None:
        written.append([entry.body["sha256"] for entry in journal.entries() if entry.kind == "sum-contributed"])

    with watched(look) as wire:
        study(of, dt.Describe(["x"])).run()
    bodies = [unpack(raw, UP)[1] for name, raw in wire.up if name == "a"]
    left = [hashlib.sha256(body).hexdigest() for body in bodies if body]
    assert written[-1] == left
    assert [len(at) for at in written] == [0, 0, *range(len(left) + 1)]
