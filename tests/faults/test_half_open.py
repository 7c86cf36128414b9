"""Half-open connections: a peer that takes a connection and never says a word, before TLS or after the question, or
that vanishes without a goodbye.  Whoever waits for it ends in time with a code, and goes on once it is there again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.operate.certificates import certify
from coordinator.serve import processes as parts
from coordinator.serve.processes import not_listening
from coordinator.settings import CoordinatorSettings
from datatrust.remote import coordinator_client
from datatrust.remote.coordinator_client import CoordinatorClient
from nodes.interface import CoordinatorReader
from nodes.operate import check_network as checks_network
from nodes.serve.health import Watch
from nodes.settings import NodeSettings
from tests.faults.test_network import Live, live, patience, same
from tests.faults.test_processes import silent
from tests.support.node_homes import enrol_offline, make_homes
from tests.support.sizes import FULL
from tests.support.tcp_relay import Relay
from tests.support.tls_server import Server, tls_server
from trust.errors import Fault, Unreachable

__all__ = ["live"]

SOON = 3.0
"""Seconds, where the patience is a third of one."""


class _Never(dict[str, bytes]):
    """Answers that do not come before the test has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def get(self, *_: object) -> None:  # type: ignore[override]
        self.over.wait(30)


@contextmanager
def mute(folder: Path, when: str) -> Iterator[Server]:
    """A peer with a good certificate that never answers."""
    answers = _Never()
    with tls_server(folder, answers) as server:
        try:
            if when == "after the question":
                yield server
            else:
                with silent() as place:
                    yield Server(f"https://{place}", server.authority, [])
        finally:
            answers.over.set()


WHEN = pytest.mark.parametrize("when", ["before TLS", "after the question"])


@WHEN
def test_a_node_that_asks_the_interface(tmp_path: Path, when: str) -> None:
    with mute(tmp_path / "server", when) as server:
        begun = time.monotonic()
        with pytest.raises(Fault, match=r"cannot be reached .*; to fix it: ask who runs the coordinator"):
            CoordinatorReader(server.url, server.authority.encode(), patience=0.3).roots()
        assert time.monotonic() - begun < SOON


@WHEN
def test_a_client_that_asks_the_interface(tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_client, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(coordinator_client, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(coordinator_client, "_FIRST_PAUSE_SECONDS", 0.01)
    with mute(tmp_path / "server", when) as server:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="does not answer in time; to fix it: try again later"):
            CoordinatorClient(server.url, server.authority).json("/v1/roots")
        assert 0.8 < time.monotonic() - begun < SOON, "three times"
        assert len(server.asked) in (0, 3)


def test_a_nodes_checks_of_a_superlink_that_is_mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/readyz says so, and that all is well once it speaks."""
    monkeypatch.setattr(checks_network, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(checks_network.certificate_days, "__defaults__", (0.3,))
    monkeypatch.setattr(checks_network.interface, "__defaults__", (0.3,))
    with tls_server(tmp_path / "server", {"/livez": b"{}"}) as server:
        relay = Relay(int(server.place.rpartition(":")[2]))
        there = f"127.0.0.1:{relay.port}"
        enrol_offline(
            tmp_path, "north", make_homes(tmp_path), url=f"https://{there}", nodes=there, authority=server.authority
        )
        watch = Watch(NodeSettings.at(tmp_path / "north"), lambda _: None, every=0.05)
        watch.connected = True
        relay.stall()
        watch.begin()
        try:
            _until(lambda: watch.findings().get("superlink") is not None)
            assert not watch.ready
            assert watch.findings()["superlink"].state == "failure"
            assert watch.findings()["clock"].state == "warning"
            relay.flow()
            _until(lambda: watch.ready)
        finally:
            watch.end()
            relay.close()


def _until(holds) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_supervisor_that_looks_whether_a_part_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_PROBE_SECONDS", 0.3)
    certify(tmp_path, [])
    with silent() as place:
        (tmp_path / "coordinator.toml").write_text(f'api = "{place}"\nsuperlink = "{place}"\n')
        for part in ("api", "superlink"):
            begun = time.monotonic()
            assert not_listening(CoordinatorSettings(tmp_path), part) == f"nothing answers at {place} (TimeoutError)"
            assert time.monotonic() - begun < SOON


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="with FULL=1: Flower's clients wait for half a minute")
def test_connections_that_vanish_in_the_middle_of_a_study(live: Live) -> None:
    """All that are open carry nothing any more and are never closed, as behind a gateway that has forgotten them."""
    patience(live.folder, 120)
    study = live.begin()
    live.wait_for(lambda: live.sums(study) > 1)
    live.relay.vanish()
    assert same(live.trust.job(study).result(), live.several)
    live.once(study, live.sums(study))
