"""`datatrust node …` as a partner's engineer types it: what is printed, what is asked, and which code it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datatrust.person.passphrase import ENVIRONMENT
from nodes.keys import NodeKeys
from nodes.settings import NodeSettings
from tests.support.command import Run
from tests.support.node_homes import Founders, contents, copied, make_homes
from trust.signing.envelope import key_id, sha256

PASSPHRASE = "correct horse battery"
OFFLINE = ("--dataset", "dataset.yaml", "--charter", "research")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Founders]:
    folder = tmp_path_factory.mktemp("founded")
    founders = make_homes(folder)
    (folder / "invitation.json").write_bytes(founders.invitation().file())
    (folder / "study.json").write_bytes(founders.study().canonical())
    (folder / "women.json").write_bytes(founders.study(id="women", cohort="age >= 40 and sex = 'F'").canonical())
    return folder, founders


@pytest.fixture
def here(founded: tuple[Path, Founders], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied(founded[0], tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)
    return tmp_path


@pytest.fixture
def enrolled(here: Path, run: Run) -> Path:
    assert run("node", "enrol", "invitation.json", "--home", "south", "--yes", *OFFLINE)[0] == 0
    return here / "south"


def fingerprint(founders: Founders) -> str:
    return sha256(founders.roots[-1].unverified_payload)


def private(home: Path) -> list[str]:
    keys = NodeKeys.read(home)
    return [keys.sign.private_bytes_raw().hex(), keys.seal.private_bytes_raw().hex(), "PRIVATE KEY"]


# ---- init


def test_init_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    code, out, err = run("node", "init", "north", "--home", tmp_path / "n")
    assert code == 0
    partner = json.loads((tmp_path / "n" / "partner.json").read_text())
    assert (partner["schema"], partner["name"]) == ("datatrust/partner/1", "north")
    assert f"signs    {key_id(bytes.fromhex(partner['sign']))}" in out
    assert "hand partner.json to who drafts the trust root" in err
    assert not any(secret in out + err for secret in private(tmp_path / "n"))
    code, _, err = run("node", "init", "north", "--home", tmp_path / "n")
    assert (code, "never" in err or "nothing was changed" in err) == (2, True)


def test_the_home_is_the_users_own_where_none_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path))
    assert run("node", "init", "north")[0] == 0
    assert (tmp_path / "node" / "node.toml").is_file()


# ---- enrol


def test_enrol_without_a_terminal_asks_for_the_fingerprint(
    run: Run, here: Path, founded: tuple[Path, Founders]
) -> None:
    before = contents(here)
    code, _, err = run("node", "enrol", "invitation.json", "--home", "north", *OFFLINE)
    assert (code, "nobody has compared" in err) == (2, True)
    code, _, err = run("node", "enrol", "invitation.json", "--home", "north", "--fingerprint", "sha256:00", *OFFLINE)
    assert (code, "refused by root-pinned" in err) == (1, True)
    assert contents(here) == before
    mine = fingerprint(founded[1])
    code, out, err = run("node", "enrol", "invitation.json", "--home", "north", "--fingerprint", mine, *OFFLINE)
    assert (code, mine in err) == (0, True)
    assert out.splitlines()[0] == "enrolled north in pressure, version 1 of its trust root"
    assert "dataset  pressure 1.0.0, sha256:" in out
    before = contents(here)
    code, out, _ = run("node", "enrol", "invitation.json", "--home", "north", *OFFLINE)  # pinned: nothing is asked
    assert (code, out.splitlines()[-1]) == (0, "changed  nothing")
    assert contents(here) == before


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"", "not JSON"), (b"{}", "not an invitation"), (b"[]", "not an invitation"), (b"\xff", "not JSON")],
)
def test_a_file_that_is_no_invitation(raw: bytes, said: str, run: Run, here: Path) -> None:
    (here / "bad.json").write_bytes(raw)
    code, _, err = run("node", "enrol", "bad.json", "--home", "north", "--yes", *OFFLINE)
    assert (code, said in err) == (2, True)


def test_enrol_beside_nothing(run: Run, here: Path) -> None:
    assert run("node", "enrol", "gone.json", "--home", "north", "--yes")[0] == 2
    assert run("node", "enrol", "invitation.json", "--home", "nowhere", "--yes")[0] == 2
    code, _, err = run("node", "enrol", "invitation.json", "--home", "north", "--yes", "--dataset", "dataset.yaml")
    assert (code, "both, or neither" in err) == (2, True)
    code, _, err = run("node", "enrol", "invitation.json", "--home", "north", "--yes")
    assert (code, "cannot be reached (refused)" in err) == (3, True)


# ---- check, doctor, rehearse


def test_check_prints_a_line_a_rule(run: Run, enrolled: Path) -> None:
    code, out, _ = run("node", "check", "--home", "south")
    assert (code, out.splitlines()[-1]) == (0, "ok")
    (enrolled / "rows.csv").chmod(0o600)
    (enrolled / "rows.csv").write_text("age,sex,pressure\n50,F,987654\n")
    code, out, _ = run("node", "check", "--home", "south")
    assert (code, out.splitlines()[-1]) == (1, "not ok")
    assert "987654" not in out
    (enrolled / "node.toml").write_text('name = "south"\nsuperlnk = "a:1"\n')
    code, _, err = run("node", "check", "--home", "south")
    assert (code, "expected 'superlink', perhaps" in err) == (2, True)


def test_doctor_speaks_to_people_and_to_programs(run: Run, enrolled: Path) -> None:
    code, out, _ = run("node", "doctor", "--home", "south", "--quick")
    assert code == 0
    assert out.splitlines()[-1].startswith("10 checks: ")
    code, out, _ = run("node", "doctor", "--home", "south", "--json")
    said = json.loads(out)
    assert (code, said["ok"]) == (1, False)  # no coordinator is there
    states = {check["check"]: check["state"] for check in said["checks"]}
    assert (states["superlink"], states["dataset"]) == ("failure", "ok")
    assert all(check.get("remedy") for check in said["checks"] if check["state"] != "ok")


def test_rehearse_ends_with_yes_or_no_and_leaves_no_trace(run: Run, enrolled: Path) -> None:
    before = contents(enrolled)
    code, out, _ = run("node", "rehearse", "study.json", "--home", "south")
    assert (code, out.splitlines()[-1]) == (0, "this node would answer")
    code, out, _ = run("node", "rehearse", "women.json", "--home", "south")
    assert (code, out.splitlines()[-1]) == (1, "this node would refuse")
    assert "no  persons: " in out
    assert contents(enrolled) == before
    code, _, err = run("node", "rehearse", "gone", "--home", "south")
    assert (code, "cannot be reached" in err) == (3, True)


# ---- journal, backup, keys


def test_the_journal_is_verified_and_exported(run: Run, enrolled: Path) -> None:
    code, _, err = run("node", "journal", "verify", "--home", "south")
    assert (code, "is not there" in err) == (2, True)
    node = NodeSettings.at(enrolled).node()
    node.journal("root-accepted", "", {"digest": "x", "version": 1})
    node.store.close()
    assert run("node", "journal", "export", "--out", "j.jsonl", "--home", "south")[0] == 0
    assert json.loads(Path("j.jsonl").read_text())["kind"] == "root-accepted"
    code, out, _ = run("node", "journal", "verify", "--home", "south", "--checkpoint", "j.jsonl.checkpoint")
    assert (code, "1 entries, with the 1 of" in out) == (0, True)
    assert run("node", "journal", "export", "--out", "j.jsonl", "--home", "south")[0] == 2
    (enrolled / "state.sqlite").unlink()
    NodeSettings.at(enrolled).node().store.close()
    code, out, _ = run("node", "journal", "verify", "--home", "south", "--checkpoint", "j.jsonl.checkpoint")
    assert (code, "state-rolled-back" in out) == (1, True)
    assert run("node", "journal", "verify", "--home", "south", "--state", "south")[0] == 2


def test_backup_restore_rotate_and_a_new_history(run: Run, enrolled: Path, founded: tuple[Path, Founders]) -> None:
    (enrolled / "source.toml").write_text('url = "postgresql://reader:s3cret-Pa55@db/h#t"\n')
    code, out, err = run("node", "backup", "--out", "n.tar", "--home", "south")
    assert code == 0
    assert "without state.sqlite" in err
    assert b"s3cret-Pa55" not in Path("n.tar").read_bytes()
    code, out, err = run("node", "restore", "n.tar", "--home", "new")
    assert (code, "it does not serve yet" in err) == (0, True)
    code, _, err = run("node", "run", "--home", "new")
    assert (code, "refused by state-rolled-back" in err) == (1, True)
    code, out, err = run("node", "doctor", "--home", "new", "--quick")
    assert (code, "failure  history" in out) == (1, True)
    code, out, _ = run("node", "keys", "rotate", "--home", "new")
    assert (code, "partner.json.sig" in out) == (0, True)
    assert not any(secret in out for secret in private(Path("new")))
    assert run("node", "restore", "n.tar", "--home", "new")[0] == 2


def test_a_wrong_passphrase(run: Run, enrolled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("node", "backup", "--out", "n.tar", "--home", "south")[0] == 0
    monkeypatch.setenv(ENVIRONMENT, "another passphrase")
    code, _, err = run("node", "restore", "n.tar", "--home", "new")
    assert (code, "another passphrase" in err) == (2, False)
    assert not Path("new").exists()


# ---- run


@pytest.mark.parametrize("command", [["run"], ["check"], ["rehearse", "study.json"]])
def test_before_the_node_is_enrolled(command: list[str], run: Run, here: Path) -> None:
    code, _, err = run("node", *command, "--home", "east")
    assert (code, "datatrust node enrol" in err) == (2, True)


@pytest.mark.parametrize("command", ["check", "doctor", "run", "backup", "keys rotate", "journal verify", "rehearse"])
def test_a_folder_that_is_no_home(command: str, run: Run, tmp_path: Path) -> None:
    more = {"backup": ["--out", tmp_path / "x"], "rehearse": ["study.json"]}.get(command, [])
    code, out, err = run("node", *command.split(), *more, "--home", tmp_path / "nothing")
    assert code in (1, 2)
    assert "datatrust node init" in out + err
