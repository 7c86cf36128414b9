"""A deployment's node has the very source that was given, and nobody's policy is left behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from coordinator.operate.certificates import certify
from datatrust.demo.deployment import DeployedTrust, Processes, _toml
from nodes.rows.source import Source
from tests.support.example import DATASET, HOSPITALS
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.errors import InvalidInput

ODD = 'a "b" \\ \n \t \x7f é \U0001f600'


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"table": "patients"},
        {"columns": {"cholesterol": ODD, ODD: "x"}},
        {"levels": {"sex": {"0": "F", ODD: "M"}, "n": {"1": 7, "2": True}}},
        {"missing": ("NA", ODD, "?")},
        {"invalid": "missing"},
        {"opt_out": "postgresql://host/db#optouts"},
        {"opt_out": "#optouts"},
        {"opt_out": Path("gone.txt").absolute()},
    ],
)
def test_each_field_of_a_source_reaches_the_node(fields: dict[str, Any], tmp_path: Path) -> None:
    given = Source("postgresql://user:secret@host/db#t", **fields)
    (tmp_path / "source.toml").write_bytes(_toml(given))
    assert vars(Source.load(tmp_path / "source.toml")) == vars(given)


@pytest.mark.parametrize("place", ["rows.csv", Path("rows.csv")])
def test_a_file_is_found_from_wherever_the_node_is_started(
    place: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "source.toml").write_bytes(_toml(Source(place, opt_out="gone.txt")))
    source = Source.load(tmp_path / "node" / "source.toml")
    assert (source.url, source.opt_out) == (tmp_path / "rows.csv", tmp_path / "gone.txt")


@pytest.mark.parametrize("source", [Source(pd.DataFrame({"x": [1]})), Source("rows.csv", opt_out=["1"])])
def test_what_only_this_process_has_cannot_be_a_nodes_source(source: Source) -> None:
    with pytest.raises(InvalidInput, match="in memory"):
        _toml(source)


def test_a_policy_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "north").mkdir()
    (tmp_path / "north" / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n')
    sources = {name: Source(tmp_path / f"{name}.csv") for name in HOSPITALS}
    with pytest.raises(InvalidInput, match="a policy that is given here"):
        DeployedTrust(
            dt.Dataset.parse(DATASET),
            Charter.load("research"),
            sources,
            policies={"north": PartnerPolicy.load(tmp_path / "north")},
            state=tmp_path / "state",
        )


@pytest.mark.slow
def test_a_port_that_another_process_takes_first_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking for a free port and listening at it, as when two deployments start at once."""
    (tmp_path / "nodes").mkdir()
    for name in HOSPITALS:
        (tmp_path / "nodes" / name).mkdir()
    certify(tmp_path, HOSPITALS)
    processes = Processes(tmp_path, [], tmp_path / "logs", lambda words: None)
    (tmp_path / "logs").mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr("datatrust.demo.deployment.free_port", lambda first=0: max(first, taken))
        monkeypatch.setattr("datatrust.demo.deployment._FIRST_PORT", taken)
        try:
            assert processes._superlink() > taken
        finally:
            processes.end()
