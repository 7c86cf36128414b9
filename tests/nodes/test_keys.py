"""A node's keys: closed to others, replaced by a root alone, and the request for that signed with the key in use."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nodes.keys import NodeKeys, check_rotation, named, next_keys, rotate, take_next
from nodes.operate.enrolment import init
from tests.support.node_homes import Founders, contents, make_homes, partner_of
from trust.documents.root import TrustRoot
from trust.errors import InvalidInput, MessageInvalid, Refused


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    return make_homes(tmp_path)


def root_of(founders: Founders) -> TrustRoot:
    return TrustRoot.chain(founders.roots)


def test_init_makes_keys_for_this_user_alone(tmp_path: Path) -> None:
    made = init(tmp_path / "north", "north")
    for name in ("keys/sign.pem", "keys/seal.pem", "connection/node.pem", "source.toml", "node.toml"):
        assert stat.S_IMODE((tmp_path / "north" / name).stat().st_mode) == 0o600
    for name in ("", "keys", "connection"):
        assert stat.S_IMODE((tmp_path / "north" / name).stat().st_mode) == 0o700
    assert made == NodeKeys.read(tmp_path / "north").public("north")
    assert b"PRIVATE" not in (tmp_path / "north" / "partner.json").read_bytes()


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    init(tmp_path / "north", "north")
    before = contents(tmp_path)
    with pytest.raises(InvalidInput, match="has a node already"):
        init(tmp_path / "north", "south")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["", "North", "../north", "a b"])
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        init(tmp_path / "north", name)
    assert not (tmp_path / "north").exists()


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    keys = NodeKeys.make()
    assert repr(keys) == str(keys) == "<a node's keys>"


def test_the_root_names_all_three(founders: Founders, tmp_path: Path) -> None:
    assert named(root_of(founders), "north", NodeKeys.read(tmp_path / "north")) == []
    assert len(named(root_of(founders), "north", NodeKeys.read(tmp_path / "east"))) == 3
    assert named(root_of(founders), "west", NodeKeys.read(tmp_path / "east"))


def test_a_rotation_is_signed_with_the_key_in_use(founders: Founders, tmp_path: Path) -> None:
    home, before = tmp_path / "north", NodeKeys.read(tmp_path / "north").public("north")
    file = rotate(home, "north")
    raw, signature = (home / "partner.json").read_bytes(), (home / "partner.json.sig").read_bytes()
    assert check_rotation(raw, signature, root_of(founders).root.partners) == file
    assert {file.sign, file.seal, file.flower}.isdisjoint({before.sign, before.seal, before.flower})
    assert NodeKeys.read(home).public("north") == before  # until a root names the next ones
    assert rotate(home, "north") == file  # a second call makes no others
    other = rotate(tmp_path / "east", "east")
    with pytest.raises(Refused, match="not signed with the key"):
        check_rotation(other.file().replace(b'"east"', b'"north"'), signature, root_of(founders).root.partners)
    with pytest.raises(Refused):
        check_rotation(raw, (tmp_path / "east" / "partner.json.sig").read_bytes(), root_of(founders).root.partners)
    for nothing in (b"{}", b"[]", b'{"keyid":1,"sig":2}'):
        with pytest.raises(Refused):
            check_rotation(raw, nothing, root_of(founders).root.partners)
    with pytest.raises((InvalidInput, MessageInvalid)):
        check_rotation(b"no JSON", signature, root_of(founders).root.partners)


def test_the_next_keys_wait_for_a_root_that_names_them(founders: Founders, tmp_path: Path) -> None:
    home = tmp_path / "north"
    file = rotate(home, "north")
    assert take_next(home, "north", root_of(founders)) is False
    founders.partners["north"] = partner_of(file)
    root = founders.found()
    assert take_next(home, "north", root) is True
    assert NodeKeys.read(home).public("north") == file
    assert next_keys(home) is None
    assert len(list((home / "keys" / "old").iterdir())) == 3
    assert not (home / "partner.json.sig").exists()
    before = contents(home)
    assert take_next(home, "north", root) is False
    assert contents(home) == before


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_stop_half_way_is_gone_on_from(
    steps: int, founders: Founders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "north"
    file = rotate(home, "north")
    founders.partners["north"] = partner_of(file)
    root, done = founders.found(), 0
    real = Path.replace

    def stopping(self: Path, target: Path) -> Path:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            take_next(home, "north", root)
    take_next(home, "north", root)
    assert NodeKeys.read(home).public("north") == file


def test_a_root_that_names_another_key_takes_none(founders: Founders, tmp_path: Path) -> None:
    rotate(tmp_path / "north", "north")
    founders.partners["north"] = partner_of(rotate(tmp_path / "east", "east"))
    before = contents(tmp_path / "north")
    assert take_next(tmp_path / "north", "north", founders.found()) is False
    assert contents(tmp_path / "north") == before
