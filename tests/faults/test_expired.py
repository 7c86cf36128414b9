"""A server's certificate that has expired: node and coordinator say so, and nobody connects."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from coordinator.flower.grid import FlowerRun, Secrets
from coordinator.operate.certificates import Authority, new_server_key, private_pem
from nodes.events import NodeEvent, NotAdmitted
from nodes.serve.flower import FleetNode, SuperLinkAddress
from tests.faults.test_killed import ROOT
from tests.support import killer
from trust.errors import Fault


@contextmanager
def server(folder: Path, days_ago: int) -> Iterator[tuple[str, bytes]]:
    """Something that listens with a certificate of 30 days, issued so long ago; its address and its authority."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    authority, key = Authority.make(at), new_server_key()
    (folder / "server.pem").write_bytes(authority.server(key, (), at, 30))
    (folder / "server.key").write_bytes(private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Refusing)
    listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.server_address[1]}", authority.pem
    finally:
        listening.shutdown()
        listening.server_close()


def node_at(address: str, authority: bytes, folder: Path, said: list[NodeEvent]) -> FleetNode:
    link = SuperLinkAddress(address, authority, generate_private_key(SECP256R1()), folder / "node_id")
    return FleetNode(link, lambda raw: raw, tell=said.append)


def test_an_expired_certificate_is_named_and_nobody_connects(tmp_path: Path) -> None:
    said: list[NodeEvent] = []
    with server(tmp_path, 40) as (address, authority):
        with pytest.raises(Fault, match=r"the SuperLink's certificate has expired; to fix it: ask the coordinator"):
            node_at(address, authority, tmp_path, said).run()
        engine, begun = FlowerRun(address, Secrets(authority, b"a", b"b")), time.monotonic()
        with pytest.raises(Fault, match=r"its certificate has expired; to fix it: datatrust coordinator certify"):
            engine.enrol({"a": b"key"})
        assert time.monotonic() - begun < 5, "it is not tried again and again"
        engine.close()
    assert said == []


def test_a_certificate_that_has_not_expired_is_spoken_to(tmp_path: Path) -> None:
    """The control: the same server with a certificate that holds; what it says is that it knows nobody."""
    said: list[NodeEvent] = []
    with server(tmp_path, 0) as (address, authority):
        node = node_at(address, authority, tmp_path, said)
        thread = threading.Thread(target=node.run)
        thread.start()
        end = time.monotonic() + 10
        while not said and time.monotonic() < end:
            time.sleep(0.01)
        node.stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert said[0] == NotAdmitted()
        engine = FlowerRun(address, Secrets(authority, b"a", b"b"))
        with pytest.raises(Fault, match=r"status 404"):
            engine.enrol({"a": b"key"})
        engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["superlink", "api"])
def test_a_coordinator_does_not_start_with_an_expired_certificate(tmp_path: Path, part: str) -> None:
    killer.mandated(tmp_path)
    state = tmp_path / "state"
    engine = state / "coordinator" / "engine"
    engine.mkdir(parents=True)
    with server(tmp_path, 40) as (_, authority):
        (engine / "ca.pem").write_bytes(authority)
    for name in ("server.pem", "server.key"):
        shutil.copyfile(tmp_path / name, engine / name)
    ran = subprocess.run(
        [sys.executable, "-m", "coordinator.serve.processes", str(state), part],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "the server's certificate has expired" in ran.stderr
    assert "datatrust coordinator certify" in ran.stderr
