"""node.toml is closed, and says where it is wrong; a home and a trust's folder are two layouts of one node."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.settings import NodeSettings, NodeToml
from tests.support.node_homes import enrol_offline, make_homes
from trust.errors import InvalidInput


def toml(folder: Path, text: str) -> NodeToml:
    (folder / "node.toml").write_text(text)
    return NodeToml.load(folder / "node.toml")


def test_what_is_not_said_is_safe(tmp_path: Path) -> None:
    read = toml(tmp_path, 'name = "north"\n')
    assert (read.health, read.metrics, read.proxy, read.coordinator) == ("127.0.0.1:8765", False, "", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "north"\nmetric = true', "expected 'metrics', perhaps"),
        ('name = "north"\nsuper_link = "a:1"', "expected 'superlink', perhaps"),
        ("metrics = true", "has no field 'name'"),
        ('name = "../north"', "field 'name'"),
        ('name = "north"\nmetrics = "yes"', "field 'metrics'"),
        ('name = "north"\nhealth = "0.0.0.0:8765"', "this machine alone"),
        ('name = "north"\nhealth = "192.168.1.2:8765"', "this machine alone"),
        ('name = "north"\nhealth = "localhost:99999"', "this machine alone"),
        ('name = "north"\nproxy = "http://user:secret@proxy:3128"', "http://host:port"),
        ('name = "north"\ncoordinator = "http://trust:8443"', "coordinator"),
        ('name = "north"\nsuperlink = "trust"', "superlink"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_wrong_field_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as wrong:
        toml(tmp_path, text)
    assert said in str(wrong.value)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("health", ["", "127.0.0.1:1", "localhost:8765", "[::1]:8765", "127.0.0.2:80"])
def test_health_is_for_this_machine_alone(health: str, tmp_path: Path) -> None:
    assert toml(tmp_path, f'name = "north"\nhealth = "{health}"').health == health


def test_a_folder_without_a_node(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="datatrust node init"):
        NodeSettings.at(tmp_path)


def test_a_home_that_is_not_enrolled_says_what_to_do(tmp_path: Path) -> None:
    make_homes(tmp_path)
    settings = NodeSettings.at(tmp_path / "north")
    for ask in (settings.root, lambda: settings.superlink):
        with pytest.raises(InvalidInput, match="datatrust node enrol"):
            ask()


def test_a_home_gives_the_same_node_as_a_trusts_folder(tmp_path: Path) -> None:
    founders = make_homes(tmp_path)
    enrol_offline(tmp_path, "north", founders)
    home = NodeSettings.at(tmp_path / "north").node()
    home.store.close()
    own = tmp_path / "trust" / "nodes" / "north"
    own.parent.mkdir(parents=True)
    (tmp_path / "north").rename(own)
    for shared in ("dataset.yaml", "charter", "roots"):
        (own / shared).rename(tmp_path / "trust" / shared)
    node = NodeSettings(tmp_path / "trust", "north").node()
    node.store.close()
    assert (node.identity.public, node.dataset, node.root.digest) == (
        home.identity.public,
        home.dataset,
        home.root.digest,
    )
