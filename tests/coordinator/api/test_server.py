"""The interface as its users have it: a process with TLS, on a real socket."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from coordinator.api import server
from coordinator.api.server import ApiServer
from coordinator.serve.processes import not_listening
from coordinator.settings import CoordinatorSettings
from tests.support.coordinator_at_work import CoordinatorAtWork, opened, raw
from trust.errors import InvalidInput
from trust.signing.http_signatures import sign_request
from trust.times import now


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listening(world: CoordinatorAtWork, port: int) -> CoordinatorSettings:
    """Its home, with this port in coordinator.toml."""
    toml = world.folder / "coordinator.toml"
    toml.write_text(toml.read_text().replace("127.0.0.1:8443", f"127.0.0.1:{port}"))
    return CoordinatorSettings(world.folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorAtWork]:
    """A world whose interface listens in a thread of this process."""
    port = free_port()
    with opened(tmp_path_factory.mktemp("home") / "coordinator", url=f"https://localhost:{port}") as world:
        interface = ApiServer(listening(world, port))
        thread = threading.Thread(target=interface.run)
        thread.start()
        end = time.monotonic() + 20
        while not interface.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        try:
            yield world
        finally:
            interface.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def trusted(world: CoordinatorAtWork) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(world.settings.engine / "ca.pem"))


def test_a_study_is_filed_over_tls_and_a_body_of_50_megabytes_is_not_read(served: CoordinatorAtWork) -> None:
    url = f"{served.url}/v1/studies"
    with httpx.Client(verify=trusted(served), trust_env=False) as client:
        body = raw(served.study())
        for status in (201, 200):
            headers = sign_request(served.keys.researcher, "POST", url, body, now())
            answer = client.post(url, content=body, headers=headers | {"Content-Type": "application/json"})
            assert answer.status_code == status
        assert "server" not in answer.headers
        listed = client.get(url, headers=sign_request(served.keys.researcher, "GET", url, b"", now()))
        assert [one["id"] for one in listed.json()["studies"]] == [answer.json()["id"]]
        query = f"{served.url}/v1/register/entries?start=0&limit=1"
        assert client.get(query).json()["size"] > 1

        sent = 0

        def large() -> Iterator[bytes]:
            nonlocal sent
            for _ in range(800):
                sent += 1 << 16
                yield bytes(1 << 16)

        with contextlib.suppress(httpx.WriteError):  # it may close while we still write
            answer = client.post(url, content=large(), headers={"Content-Length": str(50 << 20)})
            assert answer.status_code == 413
        assert sent < 25 << 20


def test_a_client_that_does_not_know_the_authority_does_not_connect(served: CoordinatorAtWork) -> None:
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{served.url}/livez")


def test_large_fields_and_broken_requests_end_the_connection(served: CoordinatorAtWork) -> None:
    for head in (
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 17) + b"\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /livez\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with connected(served) as stream:
            with contextlib.suppress(OSError):
                stream.sendall(head)
            assert not received(stream).startswith(b"HTTP/1.1 5")
    with connected(served) as stream:
        stream.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert received(stream).startswith(b"HTTP/1.1 200")


def test_a_request_whose_head_never_ends_is_cut_off(served: CoordinatorAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.5)
    with connected(served) as stream:
        began = time.monotonic()
        stream.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        with contextlib.suppress(OSError):
            for _ in range(100):
                stream.sendall(b"a")
                time.sleep(0.05)
        assert received(stream) == b""
        assert time.monotonic() - began < 4


@contextlib.contextmanager
def connected(world: CoordinatorAtWork) -> Iterator[ssl.SSLSocket]:
    port = int(world.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trusted(world).wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        yield stream


def received(stream: ssl.SSLSocket) -> bytes:
    parts = []
    with contextlib.suppress(OSError):
        while part := stream.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_the_process_ends_in_order_when_it_is_told_to(tmp_path: Path) -> None:
    port = free_port()
    with opened(tmp_path / "coordinator", url=f"https://localhost:{port}") as world:
        settings = listening(world, port)
        command = [sys.executable, "-m", "coordinator.serve.processes", str(world.folder), "api"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not_listening(settings, "api"):
            assert time.monotonic() < end
            time.sleep(0.1)
        with httpx.Client(verify=trusted(world), trust_env=False) as client:
            assert client.get(f"{world.url}/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        out, err = process.communicate()
        assert (out, err) == ("", "")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with opened(tmp_path / "coordinator") as world, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInput, match="nothing can listen at"):
            ApiServer(listening(world, taken.getsockname()[1]))


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with opened(tmp_path / "coordinator") as world:
        (world.settings.engine / "server.key").chmod(0o644)
        with pytest.raises(InvalidInput, match="open to others"):
            ApiServer(world.settings)
        (world.settings.engine / "server.key").chmod(0o600)
        (world.settings.engine / "server.key").write_bytes((world.folder / "keys" / "coordinator.pem").read_bytes())
        with pytest.raises(InvalidInput, match="cannot be used"):
            ApiServer(world.settings)
