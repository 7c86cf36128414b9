"""/readyz is true only when every check holds, on the loopback alone, and asking it costs the node nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

import nodes.state.store
from nodes.operate.findings import failure
from nodes.serve.health import Health, Watch
from nodes.serve.metrics import Metrics
from nodes.settings import NodeSettings
from tests.support.failing_disk import Failing
from tests.support.node_homes import enrol_offline, make_homes
from tests.support.tls_server import Server, tls_server
from trust.errors import Fault


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with tls_server(tmp_path / "server", {"/livez": b"{}"}) as there:
        yield there


@pytest.fixture
def home(server: Server, tmp_path: Path) -> NodeSettings:
    founders = make_homes(tmp_path)
    enrol_offline(tmp_path, "north", founders, url=server.url, nodes=server.place, authority=server.authority)
    return NodeSettings.at(tmp_path / "north")


@pytest.fixture
def watch(home: NodeSettings) -> Iterator[Watch]:
    made = Watch(home, lambda _: None, every=0.05)
    made.begin()
    yield made
    made.end()


def get(health: Health, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    answer = httpx.get(
        f"http://127.0.0.1:{health.port}{path}", headers={"Host": f"{host}:1"}, trust_env=False, timeout=5
    )
    return answer.status_code, answer.text


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def failing(watch: Watch) -> set[str]:
    return {name for name, finding in watch.findings().items() if finding.state == "failure"}


def test_ready_means_connected_and_every_check(watch: Watch, home: NodeSettings) -> None:
    health = Health("127.0.0.1:0", watch, None)
    try:
        assert get(health, "/livez") == (200, '{"alive":true}\n')
        until(lambda: failing(watch) == {"connected"})
        status, body = get(health, "/readyz")
        said = json.loads(body)
        assert (status, said["ready"]) == (503, False)
        assert {check["check"] for check in said["checks"]} == {
            "root", "journal", "source", "clock", "disk", "superlink", "connected",
        }  # fmt: skip
        watch.connected = True
        status, body = get(health, "/readyz")
        assert (status, json.loads(body)["ready"]) == (200, True)
        assert get(health, "/metrics")[0] == 404
        for path in ("/", "/readyz/../x", "/v1/studies"):
            assert get(health, path)[0] == 404
        assert get(health, "/readyz", "evil.example")[0] == 421
        assert "age" not in body
    finally:
        health.end()


@pytest.mark.parametrize("what", ["source", "root", "journal"])
def test_what_is_lost_is_found(what: str, watch: Watch, home: NodeSettings) -> None:
    watch.connected = True
    until(lambda: watch.ready)
    if what == "source":
        (home.own / "rows.csv").unlink()
        watch._far = 0.0
    if what == "root":
        (home.own / "roots" / "1.json").unlink()
    if what == "journal":
        until(lambda: watch._store is not None)
        (home.own / "state.sqlite").rename(home.own / "elsewhere")
        (home.own / "state.sqlite").mkdir()
        watch._store = None
    until(lambda: what in failing(watch))
    assert not watch.ready


@pytest.mark.parametrize("what", ["another process holds it", "the disk fails"])
def test_a_journal_that_cannot_be_written_for_a_while(
    what: str, home: NodeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes.state.store, "_LOCK_SECONDS", 0.05)
    disk = Failing(home.own, failing=1 << 30)
    with disk.watched():
        watch = Watch(home, lambda _: None, every=0.05)
        watch.connected = True
        watch.begin()
        until(lambda: watch.ready)
        with closing(sqlite3.connect(home.own / "state.sqlite", isolation_level=None)) as other:
            if what == "the disk fails":
                disk.at = disk.seen + 1
            else:
                other.execute("BEGIN IMMEDIATE")
            until(lambda: failing(watch) == {"journal"})
            disk.at = 0
        until(lambda: watch.ready)
        watch.end()


def test_a_superlink_that_goes_away(home: NodeSettings, tmp_path: Path) -> None:
    founders = make_homes(tmp_path / "more")
    with tls_server(tmp_path / "server-2", {"/livez": b"{}"}) as there:
        enrol_offline(tmp_path / "more", "north", founders, url=there.url, nodes=there.place, authority=there.authority)
        watch = Watch(NodeSettings.at(tmp_path / "more" / "north"), lambda _: None, every=0.05)
        watch.connected = True
        watch.begin()
        until(lambda: watch.ready)
    watch._far = 0.0
    until(lambda: "superlink" in failing(watch))
    assert watch.findings()["clock"].state == "warning"  # the interface is away: no study needs it
    watch.end()


def test_checks_that_hang_are_not_ready(home: NodeSettings) -> None:
    watch = Watch(home, lambda _: None)
    watch.connected = True
    assert not watch.ready  # never asked
    watch._round = time.monotonic() - 61
    assert "checks" in failing(watch)


def test_figures_are_given_where_they_are_switched_on(watch: Watch) -> None:
    figures = Metrics()
    figures.open_studies(lambda: 2)
    figures.message("ask", "upload", "", 0.5)
    figures.message("mandate", "refusal", "persons", 0.25)
    figures.watched(ready=True, days={"root": 300, "certificate": 89})
    health = Health("127.0.0.1:0", watch, figures)
    try:
        status, text = get(health, "/metrics")
    finally:
        health.end()
    assert status == 200
    for line in (
        'datatrust_node_messages_total{answer="upload",kind="ask"} 1.0',
        'datatrust_node_refusals_total{rule="persons"} 1.0',
        "datatrust_node_compute_seconds_total 0.75",
        "datatrust_node_studies_open 2.0",
        "datatrust_node_ready 1.0",
        'datatrust_node_days_left{of="root"} 300.0',
    ):
        assert line in text


def test_an_address_that_is_taken(watch: Watch) -> None:
    health = Health("127.0.0.1:0", watch, None)
    try:
        with pytest.raises(Fault, match="name another"):
            Health(f"127.0.0.1:{health.port}", watch, None)
    finally:
        health.end()


def test_a_finding_is_a_document() -> None:
    assert failure("disk", "full", "free some").document() == {
        "check": "disk", "state": "failure", "text": "full", "remedy": "free some",
    }  # fmt: skip
