"""Attacks on deployed processes from beside them: other users of the machine, files and answers of strangers."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from coordinator.operate.certificates import certify
from coordinator.serve import study_process as process
from coordinator.serve.logs import of_line
from coordinator.study import replay
from coordinator.study.replay import Replay
from nodes import interface
from nodes.interface import CoordinatorReader
from nodes.serve import health
from nodes.serve.health import Health, Watch
from tests.support.committee import NAME, Desk
from trust.charters.charter import Charter
from trust.documents.study_states import State
from trust.errors import CharterInvalid, Fault, InvalidInput, MessageInvalid, Refused
from trust.signing.backup_file import read_backup, write_backup

# ---- files of strangers


def sparse(name: str, size: int) -> bytes:
    """A tar of one member that claims to be so large; old GNU format, which says where the bytes are that it has."""
    member = tarfile.TarInfo(name)
    member.size, member.type = 512, tarfile.GNUTYPE_SPARSE
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = bytes([0x80]) + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(512 * 3)


def test_a_small_backup_that_claims_a_terabyte_takes_no_memory(tmp_path: Path) -> None:
    honest = tmp_path / "honest.tar"
    write_backup(honest, {"partner.json": b"{}"}, {"node.toml": b""}, "a long passphrase")
    assert read_backup(honest, "a long passphrase")[0] == {"partner.json": b"{}"}
    assert stat.S_IMODE(honest.stat().st_mode) == 0o600
    bomb = tmp_path / "bomb.tar"
    bomb.write_bytes(sparse("partner.json", 1 << 40))
    with tarfile.open(bomb) as tar:  # the control: it is what it claims
        assert [member.size for member in tar] == [1 << 40]
    with pytest.raises(InvalidInput, match="is not a file"):
        read_backup(bomb, "a long passphrase")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_backup_with_something_else_than_files(tmp_path: Path, kind: bytes) -> None:
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as tar:
        member = tarfile.TarInfo("keys")
        member.type, member.linkname = kind, "/etc"
        tar.addfile(member)
    with pytest.raises(InvalidInput, match="is not a file"):
        read_backup(bad, "a long passphrase")


@pytest.mark.parametrize(
    "charter",
    [
        b".".join([b"a"] * 100_000) + b" = 1\n",
        b"[" + b".".join([b"a"] * 100_000) + b"]\n",
        b"x = {" + b".".join([b"a"] * 100_000) + b" = 1}\n",
        b"".join(b"%s = 1\n" % b".".join([b"a%d" % i] * 200) for i in range(300)),
    ],
    ids=["key", "table", "inline", "many"],
)
def test_a_charter_whose_keys_would_fill_the_memory_is_not_parsed(tmp_path: Path, charter: bytes) -> None:
    """The parser's memory grows with the square of a key's parts: 200 kB of them are some 40 GB."""
    for name, content in Charter.load("research").files.items():
        (tmp_path / name).write_bytes(content)
    assert Charter.load(tmp_path).name  # the control
    (tmp_path / "charter.toml").write_bytes(charter)
    begun = time.monotonic()
    with pytest.raises(CharterInvalid, match="too long"):
        Charter.load(tmp_path)
    assert time.monotonic() - begun < 5


# ---- another user of the machine


class Well(Watch):
    """Nothing is wrong."""

    def __init__(self) -> None: ...

    def findings(self) -> dict[str, Any]:
        return {}


def get(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost:1\r\n\r\n")
        found = b""
        with suppress(ConnectionError):
            while part := one.recv(4096):
                found += part
        return found


@pytest.mark.slow
def test_another_user_of_the_machine_cannot_fill_a_node_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_REQUEST_SECONDS", 2.0)
    server = Health("127.0.0.1:0", Well(), None)
    try:
        assert get(server.port).startswith(b"HTTP/1.0 200")  # the control
        before, held = threading.active_count(), list[socket.socket]()
        for _ in range(100):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            with suppress(OSError):
                held[-1].sendall(b"GET /livez HTTP/1.1\r\n")
        assert threading.active_count() - before <= 2 * health._MOST_REQUESTS
        end = time.monotonic() + 4
        while time.monotonic() < end:  # a byte now and then holds no place for longer than its time
            for one in held:
                with suppress(OSError):
                    one.sendall(b"x")
            time.sleep(0.2)
        assert get(server.port).startswith(b"HTTP/1.0 200")
        for one in held:
            one.close()
    finally:
        server.end()


_SPILL = """
import os, sys
import duckdb
from nodes.rows.table import database
connection = database() if sys.argv[1] == "ours" else duckdb.connect()
connection.execute("SET memory_limit='40MB'; SET threads=1")
try:
    connection.execute("CREATE TEMP TABLE t AS SELECT range AS a, hash(range)::VARCHAR || 'canary' AS b FROM range(2000000)")
except duckdb.OutOfMemoryException:
    pass
print(os.listdir("."))
"""  # noqa: E501


@pytest.mark.parametrize("whose", ["duckdb's", "ours"], ids=["control", "ours"])
def test_rows_do_not_spill_into_the_working_folder(tmp_path: Path, whose: str) -> None:
    """There they would be readable to others, and `.tmp` in /tmp could be anybody's link."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _SPILL, whose], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (".tmp" in done.stdout) is (whose != "ours"), done.stderr


def test_whatever_the_umask_no_folder_of_a_deployment_is_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "nodes" / "north").mkdir(parents=True)
        certify(tmp_path, ["north"])
    finally:
        os.umask(before)
    made = [tmp_path / "coordinator", *(tmp_path / "coordinator").rglob("*"), *(tmp_path / "nodes/north").rglob("*")]
    assert len(made) > 8  # the control
    assert {path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()


# ---- a coordinator's interface that answers as it likes


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on this machine; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                answer(self)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def whole(body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.end_headers()
        to.wfile.write(body)

    return answer


def drips(where: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A byte now and then, in the head or in the body, for ever."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        to.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n[" if where == "body" else b"X: "))
        while True:
            to.wfile.write(b" ")
            time.sleep(0.1)

    return answer


@pytest.mark.slow
@pytest.mark.parametrize("where", ["head", "body"])
def test_an_answer_that_never_ends_holds_a_node_up_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A thread that waits for it tells systemd nothing: the node would be restarted whenever a coordinator likes."""
    with answering(whole(b"[]")) as url:
        assert CoordinatorReader(url, b"").roots() == []  # the control
    monkeypatch.setattr(interface, "_ANSWER_SECONDS", 1.0)
    begun = time.monotonic()
    with answering(drips(where)) as url, pytest.raises(Fault, match="takes longer"):
        CoordinatorReader(url, b"").roots()
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("size", ['"1"', "null", "1.5", "[1]", "true"])
def test_a_register_whose_size_is_no_number_is_an_error_of_ours(size: str) -> None:
    with answering(whole(b'{"entries": [{}], "size": 1}')) as url:
        assert CoordinatorReader(url, b"").entries() == [{}]  # the control
    with answering(whole(b'{"entries": [{}], "size": %s}' % size.encode())) as url, pytest.raises(MessageInvalid):
        CoordinatorReader(url, b"").entries()


def test_a_register_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "_REGISTER_BYTES", 10_000)
    page = b'{"entries": [{}], "size": 99999999, "more": "%s"}' % (b"x" * 2_000)
    with answering(whole(page)) as url, pytest.raises(MessageInvalid, match="more than"):
        CoordinatorReader(url, b"").entries()


# ---- what a coordinator keeps of a study


class Answers:
    """A channel whose partners answer with so many bytes."""

    def __init__(self, **sizes: int) -> None:
        self.sizes, self.asked = sizes, 0

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        self.asked += 1
        return {name: b"x" * self.sizes[name] for name in messages}


def test_an_answer_that_is_too_long_to_be_kept_is_not_asked_for_again_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_MOST_ANSWER_BYTES", 3_000)
    desk = Desk(tmp_path / "coordinator")
    desk.bring_to("running")
    desk.docket._db._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4_000)  # type: ignore[attr-defined]
    with pytest.raises(Fault):  # the control: so much cannot be kept
        desk.docket.messages.keep(NAME, "control", bytes(4_001))
    channel = Answers(a=1_000, b=5_000, c=10)
    for _ in range(2):  # the second time as another process
        again = Replay(desk.docket, NAME, channel, threading.Event())
        found = again.exchange(dict.fromkeys("abc", b"?"), deadline=1)
        assert {name: len(raw) for name, raw in found.items()} == {"a": 1_000, "b": 0, "c": 10}
    assert channel.asked == 1
    desk.close()


def test_a_partners_refusal_writes_no_line_of_its_own_into_the_coordinators_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    forged = json.dumps({"event": "the root was accepted", "level": "info", "partner": "south"})
    assert of_line(forged)["partner"] == "south"  # the control: such a line is taken for one of ours
    process.print_line("a-study: an honest refusal; ask the partner")
    process.print_line(f"a-study: {Refused('x', 'no', remedy=chr(10) + forged + chr(10) + chr(27) + '[2J')}")
    first, second = capfd.readouterr().out.splitlines()
    assert of_line(first) == {"event": "a-study: an honest refusal; ask the partner"}
    assert "partner" not in of_line(second)
    assert "\x1b" not in second


@pytest.mark.parametrize(("state", "left"), [("running", True), ("released", True), ("failed", False)])
def test_exact_totals_are_not_kept_of_a_study_that_failed(tmp_path: Path, state: State, left: bool) -> None:
    """A partner that answers with nonsense would leave them, and its uploads, in the database for good."""
    desk = Desk(tmp_path / "coordinator")
    desk.bring_to(state)
    desk.docket.messages.keep(NAME, "answers 2", b"uploads")
    process.forget(desk.docket, NAME, unless=("running", "mandated", "released"))
    assert (desk.docket.messages.read(NAME, "answers 2") is not None) is left
    desk.close()
