"""What the service manager is told, over a real socket: by the coordinator's function and by the node's alike."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import coordinator.serve.systemd
import nodes.serve.systemd
from coordinator.serve.systemd import Watchdog

BOTH = pytest.mark.parametrize(
    "notify", [coordinator.serve.systemd.notify, nodes.serve.systemd.notify], ids=["coordinator", "node"]
)


def manager_at(place: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(place)
    manager.settimeout(5)
    return manager


@BOTH
def test_lines_arrive_at_a_path_as_one_datagram(
    notify: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with manager_at(str(tmp_path / "notify")) as manager:
        notify("READY=1", "STATUS=prêt")
        assert manager.recv(100) == "READY=1\nSTATUS=prêt".encode()
    notify("STOPPING=1")  # nobody listens any more: nothing happens


@BOTH
def test_lines_arrive_at_an_abstract_name(notify: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"datatrust-{secrets.token_hex(8)}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with manager_at(f"\0{name}") as manager:
        notify("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"
    notify("STOPPING=1")


@BOTH
@pytest.mark.parametrize("address", [None, "", "notify", "vsock:2:1234", "/nowhere/notify", "/" + 200 * "x"])
def test_an_address_that_leads_nowhere_is_no_error(
    notify: Callable[..., None], address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.chdir(tmp_path)
    with manager_at("notify") as manager:  # a name relative to the folder is not an address of sd_notify(3)
        notify("READY=1")
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@BOTH
def test_a_manager_that_reads_nothing_is_not_waited_for(
    notify: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{notify.__module__}._PATIENCE_SECONDS", 0.05)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    queue = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text("ascii"))
    with manager_at(str(tmp_path / "notify")):
        begun_at = time.monotonic()
        for _ in range(queue + 3):
            notify("WATCHDOG=1")
    assert time.monotonic() - begun_at < 5


@BOTH
def test_no_socket_stays_open(notify: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with manager_at(str(tmp_path / "notify")):
        before = set(Path("/proc/self/fd").iterdir())
        notify("READY=1")
        assert set(Path("/proc/self/fd").iterdir()) == before


def test_signs_of_life_are_sent_at_half_of_the_period(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    with manager_at(str(tmp_path / "notify")) as manager:
        watchdog = Watchdog()
        watchdog.keep_alive()
        watchdog.keep_alive()  # it is not yet time for another
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
        Watchdog().keep_alive()  # it is another process's
        assert manager.recv(100) == b"WATCHDOG=1"
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
