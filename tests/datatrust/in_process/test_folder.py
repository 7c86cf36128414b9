"""The folder of a kept trust: opened again it is the same trust, and nothing else is taken for one."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.keys import RoleKeys
from tests.support.committee import rotated, without
from tests.support.example import DATASET, HOSPITALS, small_trust
from tests.support.trust_copies import PASSPHRASE, close, copy, key, only, opened, quick
from trust.canonical import canonical
from trust.errors import Fault, InvalidInput, Refused
from trust.signing.envelope import Signer


@pytest.fixture(autouse=True)
def quick_keys() -> Iterator[None]:
    with quick():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy(tmp_path / "state")


def test_opened_again_it_has_the_same_keys_root_and_register(folder: Path) -> None:
    first = opened(folder)
    head, keys, root = first.docket.register.head(), first._keys, first._trust.root.digest
    close(first)
    again = opened(folder)
    assert again.docket.register.head() == head
    assert again._trust.root.digest == root
    for role in ("coordinator", "auditor", "researcher"):
        assert getattr(again._keys, role).key_id == getattr(keys, role).key_id
    assert [m.key_id for m in again._keys.members] == [m.key_id for m in keys.members]
    assert {n: p.public for n, p in again._keys.partners.items()} == {n: p.public for n, p in keys.partners.items()}
    close(again)


def test_every_folder_is_closed_to_others_and_so_is_every_file_that_is_not_a_public_key(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        expected = 0o700 if path.is_dir() else 0o644 if path.suffix == ".pub" else 0o600
        assert (str(path), oct(mode)) == (str(path), oct(expected))


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    close(opened(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_a_passphrase_one_is_kept_beside_the_keys(tmp_path: Path) -> None:
    close(opened(tmp_path / "state", passphrase=None))
    kept = tmp_path / "state" / "committee" / "passphrase"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    again = opened(tmp_path / "state", passphrase=None)
    assert len(again._keys.members) == 3
    close(again)
    kept.chmod(0o644)
    with pytest.raises(InvalidInput, match="open to others"):
        opened(tmp_path / "state", passphrase=None)


def test_a_passphrase_that_was_given_is_in_no_file(folder: Path) -> None:
    assert not (folder / "committee" / "passphrase").exists()
    for path in folder.rglob("*"):
        assert path.is_dir() or PASSPHRASE.encode() not in path.read_bytes()


def test_a_wrong_passphrase_opens_nothing(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"the passphrase does not open '.*member-1\.pem'") as wrong:
        opened(folder, passphrase="another passphrase")
    assert "another passphrase" not in str(wrong.value)


def test_without_the_members_passphrase_studies_can_be_filed_and_not_signed(folder: Path) -> None:
    trust = opened(folder, passphrase=None)
    study = trust.study("Age", purpose="AcademicResearch", analyses={"table": dt.Describe(["age"])})
    with pytest.raises(InvalidInput, match="0 members' keys are open here, and 2 must sign; expected their passphrase"):
        study.run()
    assert not trust.docket.used(study.study.id)  # it is not left on the docket
    assert study.submit().state == "0 of 2 signatures"
    close(trust)


@pytest.mark.parametrize("passphrase", ["", "short"])
def test_a_passphrase_that_is_too_short_leaves_nothing_behind(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(InvalidInput, match="too short; expected at least 8 characters"):
        opened(tmp_path / "state", passphrase=passphrase)
    assert list((tmp_path / "state").iterdir()) == []
    close(opened(tmp_path / "state"))


def test_other_partners_another_dataset_or_charter_are_another_trust(folder: Path) -> None:
    dataset = dt.Dataset.parse(DATASET)
    fewer = {"east": HOSPITALS["east"], "north": HOSPITALS["north"], "west": HOSPITALS["south"]}
    other = dt.Dataset.parse(DATASET.replace("maximum: 110", "maximum: 120"))
    for what, arguments in (
        ("other partners", (fewer, dataset)),
        ("another dataset", (HOSPITALS, other)),
        ("another charter", (HOSPITALS, dataset, "sandbox")),
    ):
        with pytest.raises(InvalidInput, match=f"is of a trust with {what}; .* name another folder"):
            dt.local(*arguments, state=folder, passphrase=PASSPHRASE)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(InvalidInput, match="holds other files, or was left half made; expected an empty folder"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_where_no_folder_can_be_is_bad_input(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="cannot be written"):
        opened(tmp_path / place)


def test_half_a_folder_is_no_trust(folder: Path) -> None:
    """`trust.json` is written last."""
    (folder / "trust.json").unlink()
    with pytest.raises(InvalidInput, match="is not a state of a trust"):
        TrustFolder(folder)
    with pytest.raises(InvalidInput, match="left half made"):
        opened(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"layout": 2, "partners": [], "new": 1}', r"another version \(layout 2\); expected layout 1"),
        ('{"partners": ["a"]}', r"another version \(layout None\)"),
        ("[]", r"another version \(layout None\)"),
        ("{", "is not JSON"),
        ('{"layout": 1, "partners": 7}', "partners"),
    ],
)
def test_a_layout_that_is_newer_or_none_is_refused(folder: Path, content: str, said: str) -> None:
    (folder / "trust.json").write_text(content)
    with pytest.raises(InvalidInput, match=said):
        TrustFolder(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"payload": "AAAA"}', "[1]"])
def test_a_root_that_cannot_be_read_is_named(folder: Path, content: str) -> None:
    (folder / "roots" / "1.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"roots/1\.json"):
        _ = TrustFolder(folder).trust


def test_a_charter_that_was_changed_in_the_folder_is_found(folder: Path) -> None:
    file = folder / "charter" / "charter.toml"
    file.write_text(file.read_text().replace("quorum = 2", "quorum = 1"))
    with pytest.raises(InvalidInput, match="the charter is not the one that the trust root names"):
        TrustFolder(folder).docket()
    with pytest.raises(InvalidInput, match="another charter"):
        opened(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    (folder / "keys" / "coordinator.pem").unlink()
    with pytest.raises(InvalidInput, match=r"coordinator\.pem' cannot be read \(No such file"):
        TrustFolder(folder).docket()
    with pytest.raises(InvalidInput, match=r"there is no file .*coordinator\.pem"):
        opened(folder)


def test_a_result_is_written_whole_and_once(folder: Path) -> None:
    state = TrustFolder(folder)
    state.coordinator.keep_result("age-1a2b", b"x")
    assert stat.S_IMODE(state.coordinator.result("age-1a2b").stat().st_mode) == 0o600
    with pytest.raises(Fault, match="cannot be written"):
        state.coordinator.keep_result("age-1a2b", b"y")
    assert state.coordinator.result("age-1a2b").read_bytes() == b"x"
    shutil.rmtree(folder / "results")
    with pytest.raises(Fault, match="correct disk or rights"):
        state.coordinator.keep_result("other-1a2b", b"x")


def test_a_register_of_a_newer_version_is_refused_by_python_and_by_the_command_line(folder: Path, run: Any) -> None:
    with sqlite3.connect(folder / "coordinator" / "state.sqlite") as db:
        db.execute("PRAGMA user_version=7")
    db.close()
    with pytest.raises(InvalidInput, match="a state of version 7"):
        opened(folder)
    code, _, err = run("review", "list", "--state", folder)
    assert (code, "a state of version 7; expected version 1 or older" in err) == (2, True)


# ---- keys


def test_a_role_of_many_members_has_as_many(tmp_path: Path) -> None:
    """A charter that asks for more lay members than its quorum."""
    shutil.copytree(Path(dt.__file__).parents[1] / "trust" / "charters" / "research", tmp_path / "charter")
    toml = tmp_path / "charter" / "charter.toml"
    toml.write_text(toml.read_text().replace("lay = 1", "lay = 4"))
    trust = small_trust(charter=str(tmp_path / "charter"))
    assert (len(trust._keys.members), trust._keys.quorum) == (4, 4)
    study = trust.study("Age", purpose="AcademicResearch", analyses={"table": dt.Describe(["age"])})
    assert study.run()["table"].nobs > 0


def test_after_a_rotation_members_are_those_of_the_new_root(folder: Path) -> None:
    keys = RoleKeys.load(folder, HOSPITALS, TrustFolder(folder).roots[0], 2, PASSPHRASE)
    fresh, former = Signer(), keys.members[1]
    _, second = rotated(without(former, fresh), keys)
    (folder / "roots" / "2.json").write_bytes(canonical(second.document()))
    trust = opened(folder)
    assert [m.key_id for m in trust._keys.members] == [keys.members[0].key_id, keys.members[2].key_id]
    with pytest.raises(Refused, match="earlier version of the trust root"):
        trust.job(only(folder)).result()
    study = trust.study("Age", purpose="AcademicResearch", analyses={"table": dt.Describe(["age"])})
    result = study.run()  # nodes, which have pinned the first version, are shown the second
    assert result.provenance["root"] == 2
    assert result.verify(trust._keys.root).ok
    close(trust)
    assert json.loads((folder / "trust.json").read_text())["layout"] == 1
    assert key(folder, 2).exists()
