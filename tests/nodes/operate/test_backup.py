"""A backup holds no state and no open secret; a restored home serves only with the quorum's consent."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from nodes.keys import NodeKeys, rotate
from nodes.operate.backup import collect, export, put_back
from nodes.serve.process import run_node
from nodes.settings import NodeSettings
from nodes.state.restored import require_caught_up, restored
from nodes.state.store import SqliteStore
from tests.support.node_homes import Founders, contents, enrol_offline, make_homes, partner_of
from trust.errors import InvalidInput, Refused
from trust.logs.checkpoint import journal_origin, read_checkpoint
from trust.secure_sum.errors import JournalCorrupt, StateRolledBack
from trust.signing.backup_file import read_backup, write_backup

PASSPHRASE = "correct horse battery"
PASSWORD = "s3cret-Pa55"


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    made = make_homes(tmp_path)
    enrol_offline(tmp_path, "north", made)
    home = tmp_path / "north"
    (home / "source.toml").write_text(f'url = "postgresql://reader:{PASSWORD}@db/h#t"\n')
    node = NodeSettings.at(home)
    store = SqliteStore(home)
    for number in range(3):
        store.journal("root-accepted", "", f"2026-11-25T00:00:0{number}Z", {"digest": "x", "version": number})
    store.close()
    (home / "uploads" / "0a").write_bytes(b"an upload")
    (home / "editions").mkdir()
    (home / "editions" / "000001.parquet").write_bytes(b"rows")
    (home / "policy").mkdir()
    (home / "policy" / "partner.toml").write_text('name = "own"\nversion = 1\npublished = false\n')
    assert node.name == "north"
    return made


def backed_up(folder: Path) -> Path:
    public, secret = collect(NodeSettings.at(folder / "north"))
    write_backup(folder / "n.tar", public, secret, PASSPHRASE)
    return folder / "n.tar"


def put(file: Path, home: Path) -> NodeSettings:
    return put_back(home, *read_backup(file, PASSPHRASE))


def test_it_holds_no_state_and_shows_no_secret(founders: Founders, tmp_path: Path) -> None:
    file = backed_up(tmp_path)
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert "secrets" in names
    assert "roots/1.json" in names
    public, secret = read_backup(file, PASSPHRASE)
    for name in ("keys/sign.pem", "keys/seal.pem", "connection/node.pem", "source.toml", "policy/partner.toml"):
        assert secret[name] == (tmp_path / "north" / name).read_bytes()
    everything = " ".join([*names, *public, *secret])
    for never in ("state.sqlite", "uploads", "editions", "rows.csv", "node_id"):
        assert never not in everything
    raw = file.read_bytes()
    for shown in (b"PRIVATE KEY", PASSWORD.encode(), b"published", b"root-accepted"):
        assert shown not in raw


def test_another_passphrase_and_a_changed_file_are_refused(founders: Founders, tmp_path: Path) -> None:
    file = backed_up(tmp_path)
    with pytest.raises(InvalidInput, match="does not open"):
        read_backup(file, "another passphrase")
    with tarfile.open(file) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for name in ("roots/1.json", "connection/ca.pem", "secrets"):
        changed = {**members, name: members[name][:-1] + bytes([members[name][-1] ^ 1])}
        packed(tmp_path / "changed.tar", changed)
        with pytest.raises(InvalidInput, match="was changed"):
            read_backup(tmp_path / "changed.tar", PASSPHRASE)
    packed(tmp_path / "changed.tar", {n: c for n, c in members.items() if n != "roots/1.json"})
    with pytest.raises(InvalidInput, match="was changed"):
        read_backup(tmp_path / "changed.tar", PASSPHRASE)
    for raw in (b"", b"no tar", file.read_bytes()[:700]):
        (tmp_path / "changed.tar").write_bytes(raw)
        with pytest.raises(InvalidInput):
            read_backup(tmp_path / "changed.tar", PASSPHRASE)


def packed(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_it_is_never_written_over_another_file(founders: Founders, tmp_path: Path) -> None:
    (tmp_path / "n.tar").write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="cannot be written"):
        backed_up(tmp_path)
    assert (tmp_path / "n.tar").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "keys/../../evil", "state.sqlite/x", "a/b/c", ".", "keys/.."])
def test_a_file_that_would_leave_the_home_is_refused(name: str, founders: Founders, tmp_path: Path) -> None:
    public, secret = read_backup(backed_up(tmp_path), PASSPHRASE)
    with pytest.raises(InvalidInput):
        put_back(tmp_path / "new", {**public, name: b"x"}, secret)
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_not_empty_is_left(founders: Founders, tmp_path: Path) -> None:
    file, before = backed_up(tmp_path), contents(tmp_path / "north")
    with pytest.raises(InvalidInput, match="not empty"):
        put(file, tmp_path / "north")
    assert contents(tmp_path / "north") == before


def test_a_restored_home_serves_only_under_keys_that_the_quorum_names(founders: Founders, tmp_path: Path) -> None:
    old = NodeKeys.read(tmp_path / "north").public("north")
    home = put(backed_up(tmp_path), tmp_path / "new").own
    assert NodeKeys.read(home).public("north") == old
    assert not (home / "state.sqlite").exists()
    with pytest.raises(Refused, match="does not know what it has answered") as refused:
        run_node(NodeSettings.at(home), lambda words: None)
    assert refused.value.rule == "state-rolled-back"
    founders.found()  # a new version with the old keys is no consent
    enrol_offline(tmp_path, "new", founders)
    with pytest.raises(Refused):
        require_caught_up(home, "north", NodeSettings.at(home).root())
    founders.partners["north"] = partner_of(rotate(home, "north"))
    founders.found()
    enrol_offline(tmp_path, "new", founders)
    settings = NodeSettings.at(home)
    require_caught_up(home, "north", settings.root())
    (home / "source.toml").write_text('url = "rows.csv"\n')
    node = settings.node()
    assert node.abandoned == (bytes.fromhex(old.sign),)
    assert node.former == ()
    node.store.close()


def test_the_registers_heads_of_the_old_history_do_not_bind_the_new_one(founders: Founders, tmp_path: Path) -> None:
    _, note, size = export(NodeSettings.at(tmp_path / "north"))
    assert size == 3
    home = put(backed_up(tmp_path), tmp_path / "new").own
    founders.partners["north"] = partner_of(rotate(home, "north"))
    founders.found()
    enrol_offline(tmp_path, "new", founders)
    (home / "source.toml").write_text('url = "rows.csv"\n')
    node = NodeSettings.at(home).node()
    node.not_behind(note)
    node.journal("root-accepted", "", {"digest": "x", "version": 1})
    mine = node.head()
    node.not_behind(mine)
    (home / "restored").unlink()  # without the mark the old head counts, and the home is behind it
    bare = NodeSettings.at(home).node()
    with pytest.raises(StateRolledBack):
        bare.not_behind(note)
    for one in (node, bare):
        one.store.close()


def test_after_a_rotation_heads_under_the_key_before_still_bind(founders: Founders, tmp_path: Path) -> None:
    home = tmp_path / "north"
    _, note, _ = export(NodeSettings.at(home))
    founders.partners["north"] = partner_of(rotate(home, "north"))
    founders.found()
    enrol_offline(tmp_path, "north", founders)
    node = NodeSettings.at(home).node()
    node.not_behind(note)
    stranger = NodeSettings.at(tmp_path / "north").identity()
    assert stranger.public == node.identity.public
    node.store.db.execute("DELETE FROM log WHERE seq = 2")
    node.store.db.execute("UPDATE head SET size = 2")
    with pytest.raises((StateRolledBack, JournalCorrupt)):
        node.not_behind(note)
    node.store.close()


def test_a_home_that_is_restored_twice_gives_up_both_histories(founders: Founders, tmp_path: Path) -> None:
    first = NodeKeys.read(tmp_path / "north").public("north").sign
    home = put(backed_up(tmp_path), tmp_path / "new").own
    founders.partners["north"] = partner_of(rotate(home, "north"))
    founders.found()
    enrol_offline(tmp_path, "new", founders)
    second = NodeKeys.read(home).public("north").sign
    public, secret = collect(NodeSettings.at(home))
    again = put_back(tmp_path / "again", public, secret).own
    mark = restored(again)
    assert mark is not None
    assert mark.keys == (first, second)
    with pytest.raises(Refused):
        require_caught_up(again, "north", NodeSettings.at(again).root())


def test_an_export_is_the_journal_and_its_checkpoint(founders: Founders, tmp_path: Path) -> None:
    settings = NodeSettings.at(tmp_path / "north")
    before = contents(tmp_path)
    lines, note, count = export(settings)
    assert contents(tmp_path) == before
    assert lines.count(b"\n") == count == 3
    head = read_checkpoint(note, journal_origin("pressure", "north"), [settings.identity().public])
    assert head.size == 3
