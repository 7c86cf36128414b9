"""`datatrust coordinator backup|restore`: what was saved comes back, and nothing that others have seen is denied."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from coordinator.docket.database import open_database
from coordinator.operate.backup import LEFT_OUT, TABLES
from coordinator.settings import CoordinatorSettings
from tests.coordinator.test_settings import home as trust_home
from tests.support import committee
from tests.support.command import Run
from tests.support.committee import Desk
from tests.support.postgres import new_schema, postgres
from trust.errors import Refused
from trust.signing.backup_file import read_backup, write_backup

pytestmark = pytest.mark.slow

__all__ = ["postgres"]

PASSPHRASE = "correct horse battery"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE)
    path.chmod(0o600)
    return path


@pytest.fixture
def kept(tmp_path: Path) -> CoordinatorSettings:
    """A home with studies, one of which runs and keeps something."""
    said = 'url = "https://t.example:1"\nnodes = "t.example:2"\n'
    settings = trust_home(tmp_path / "kept", toml=said)
    write_key_of_authority(settings)
    desk = Desk(settings.folder / "coordinator")
    for state in ("filed", "mandated", "running", "released", "refused", "revoked"):
        desk.bring_to(state, f"age-{state}")
    desk.docket.messages.keep("age-running", "total 1", b"exact totals")
    desk.docket.publish_once("sum 1", "journal-head", "age-running", {"partner": "north", "note": "n"})
    desk.docket.leases.acquire("age-running", "somebody", 20)
    desk.docket.notes.write("age-running", "sum 1 of about 2")
    desk.close()
    settings.keep_result("age-released", b"{}")
    published = settings.folder / "policies" / "north"
    published.mkdir(parents=True)
    (published / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n')
    return settings


def write_key_of_authority(settings: CoordinatorSettings) -> None:
    """`certify` of a demo keeps none: another stands in for it."""
    shutil.copy(settings.engine / "server.key", settings.folder / "keys" / "authority.pem")


def rows(settings: CoordinatorSettings) -> dict[str, list[Any]]:
    with closing(open_database(settings.place)) as database:
        return {table: sorted(map(repr, database.rows(f"SELECT * FROM {table}"))) for table in ("log", *TABLES)}


def test_every_table_is_saved_or_left_out_on_purpose() -> None:
    assert sorted((*TABLES, *LEFT_OUT, "log", "datatrust_version")) == sorted(committee.TABLES)


def test_what_was_saved_comes_back(run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path) -> None:
    before = rows(kept)
    out = tmp_path / "b.tar"
    code, said, _ = run("coordinator", "backup", "--home", kept.folder, "--out", out, "--passphrase-file", secret)
    assert code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert rows(kept) == before
    size = len(before["log"])
    note = tmp_path / "checkpoint"
    with closing(kept.docket()) as docket:
        note.write_text(docket.register.consistency(size)[1])
    assert f"{size} entries" in said
    code, said, err = run(
        *("coordinator", "restore", out, "--home", tmp_path / "new", "--passphrase-file", secret, "--checkpoint", note)
    )
    assert code == 0, err
    assert "the checkpoint is among them" in said
    assert "ended as failed: age-running" in said
    new = CoordinatorSettings(tmp_path / "new")
    for path in kept.folder.rglob("*"):
        name = path.relative_to(kept.folder)
        if path.is_file() and "state.sqlite" not in path.name and name.parts[0] != "nodes":
            assert (new.folder / name).read_bytes() == path.read_bytes(), name
    with closing(new.docket()) as docket:
        states = {filed.id: filed.state for filed in docket.studies()}
        assert states.pop("age-running") == "failed"
        assert all(name == f"age-{state}" for name, state in states.items())
        with pytest.raises(Refused, match="restored from a backup"):
            docket.mandate("age-running")
        assert docket.messages.read("age-running", "total 1") is None
        assert docket.leases.holders() == {}
        assert docket.publish_once("sum 1", "journal-head", "age-running", {}) < size  # nothing is published twice
        assert docket.register.head()[0] == size + 1
    assert json.loads(run("coordinator", "status", "--home", new.folder, "--json")[1])["states"]["failed"] == 1


def test_no_secret_and_no_total_is_in_it_in_the_open(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path
) -> None:
    kept.file.write_text(kept.file.read_text() + "# hunter2\n")
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    raw = (tmp_path / "b.tar").read_bytes()
    assert b"age-released" in raw
    closed = [b"PRIVATE KEY", b"hunter2", b"exact totals", b"exact totals".hex().encode(), PASSPHRASE.encode()]
    closed += [(kept.engine / name).read_bytes() for name in ("control", "executor")]
    assert not [one for one in closed if one in raw]


def test_a_backup_that_is_too_old_is_not_put_back(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path
) -> None:
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    with closing(kept.docket()) as docket:
        docket.publish("charter", "", {"name": "x"})
        (tmp_path / "note").write_text(docket.register.consistency(1)[1])
    words = ["coordinator", "restore", tmp_path / "b.tar", "--home", tmp_path / "new", "--passphrase-file", secret]
    code, out, err = run(*words, "--checkpoint", tmp_path / "note")
    assert (code, out) == (1, "")
    assert "refused by state-rolled-back" in err
    assert not (tmp_path / "new").exists()
    (tmp_path / "note").write_text("no checkpoint")
    assert run(*words, "--checkpoint", tmp_path / "note")[0] == 2
    code, _, err = run(*words)
    assert code == 0
    assert "this backup is too old, and must not run" in err


def test_a_register_written_anew_is_not_put_back(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path
) -> None:
    """As many entries, signed by the same key, but others than somebody has seen."""
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    other = Desk(tmp_path / "other")
    for number in range(20):
        other.bring_to("filed", f"other-{number}")
    note = other.docket.register.consistency(1)[1]
    size = len(rows(kept)["log"])
    assert other.docket.register.head()[0] > size
    other.close()
    shorter = Desk(tmp_path / "shorter")
    shorter.bring_to("filed", "another")
    (tmp_path / "note").write_text(shorter.docket.register.consistency(1)[1])
    shorter.close()
    for checkpoint, text in ((note, "has"), ((tmp_path / "note").read_text(), "are not those of the checkpoint")):
        (tmp_path / "note").write_text(checkpoint)
        code, _, err = run(
            *("coordinator", "restore", tmp_path / "b.tar", "--home", tmp_path / "new", "--passphrase-file", secret),
            *("--checkpoint", tmp_path / "note"),
        )
        assert code == 1
        assert text in err


def without(name: str) -> Callable[[dict[str, bytes], dict[str, bytes]], None]:
    def change(public: dict[str, bytes], own: dict[str, bytes]) -> None:
        public.pop(name, None)
        own.pop(name, None)

    return change


def put(name: str, raw: bytes) -> Callable[[dict[str, bytes], dict[str, bytes]], None]:
    return lambda public, own: public.update({name: raw})


def cut(public: dict[str, bytes], own: dict[str, bytes]) -> None:
    public["register.jsonl"] = b"".join(public["register.jsonl"].splitlines(keepends=True)[:-1])


DAMAGED: list[tuple[str, Callable[[dict[str, bytes], dict[str, bytes]], None]]] = [
    ("without its register", without("register.jsonl")),
    ("without the coordinator's key", without("keys/coordinator.pem")),
    ("about what is not JSON", put("about.json", b"{")),
    ("a table that is not known", put("docket.jsonl", b'{"row":{"a":1},"table":"sqlite_master"}\n')),
    ("a column that is none", put("docket.jsonl", b'{"row":{"a); DROP TABLE log; --":1},"table":"study"}\n')),
    ("a register that is cut off", cut),
]


@pytest.mark.parametrize("change", [case[1] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_what_is_no_backup_is_not_put_back(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path, change: Any
) -> None:
    """Even where it was closed anew with the passphrase."""
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    public, own = read_backup(tmp_path / "b.tar", PASSPHRASE)
    change(public, own)
    write_backup(tmp_path / "c.tar", public, own, PASSPHRASE)
    code, out, _ = run(
        "coordinator", "restore", tmp_path / "c.tar", "--home", tmp_path / "new", "--passphrase-file", secret
    )
    assert (code in (1, 2, 3), out) == (True, "")
    assert not (tmp_path / "new").exists()


def test_a_name_that_leads_elsewhere_is_not_written(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path
) -> None:
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    public, own = read_backup(tmp_path / "b.tar", PASSPHRASE)
    public |= {"../outside": b"x", "results/../../outside": b"x", "results/..": b"x", "run.sh": b"x"}
    write_backup(tmp_path / "c.tar", public, own, PASSPHRASE)
    words = ("coordinator", "restore", tmp_path / "c.tar", "--home", tmp_path / "new", "--passphrase-file", secret)
    assert run(*words)[0] == 0
    assert not [path for path in tmp_path.rglob("*") if path.name in ("outside", "run.sh")]


def test_a_file_of_it_that_was_exchanged_is_found(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path
) -> None:
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar", "--passphrase-file", secret)
    with tarfile.open(tmp_path / "b.tar") as old, tarfile.open(tmp_path / "c.tar", "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            raw = content.read()
            raw = raw.replace(b"age-filed", b"age-fIled") if member.name == "docket.jsonl" else raw
            new.addfile(member, BytesIO(raw))
    for file, passphrase in (("c.tar", PASSPHRASE), ("b.tar", "incorrect horse battery"), ("passphrase", PASSPHRASE)):
        secret.write_text(passphrase)
        words = ("coordinator", "restore", tmp_path / file, "--home", tmp_path / "new", "--passphrase-file", secret)
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert passphrase not in err
    assert not (tmp_path / "new").exists()


def test_from_sqlite_to_postgresql_and_back(
    run: Run, kept: CoordinatorSettings, secret: Path, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATATRUST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("HEART", new_schema(postgres))
    run("coordinator", "backup", "--home", kept.folder, "--out", tmp_path / "b.tar")
    words = ("coordinator", "restore", tmp_path / "b.tar", "--home", tmp_path / "pg", "--database", "env:HEART")
    code, _, err = run(*words)
    assert code == 0, err
    there = CoordinatorSettings(tmp_path / "pg")
    assert there.database.startswith("PostgreSQL, postgres at 127.0.0.1:")
    code, _, err = run("coordinator", "backup", "--home", there.folder, "--out", tmp_path / "c.tar")
    assert code == 0, err
    again = ("coordinator", "restore", tmp_path / "c.tar", "--home", tmp_path / "lite", "--database", "")
    assert run(*again)[0] == 0
    back = CoordinatorSettings(tmp_path / "lite")
    assert (back.database, (back.folder / "coordinator" / "state.sqlite").is_file()) == ("SQLite", True)
    assert rows(back) == rows(there)
    shutil.rmtree(tmp_path / "pg")
    code, _, err = run(*words)  # the database is in use now
    assert (code, "holds a coordinator's state already" in err) == (2, True)
    assert not (tmp_path / "pg").exists()
