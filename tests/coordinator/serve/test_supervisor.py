"""The coordinator's processes: what they say, and that each comes back however it has ended."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.operate.certificates import Authority, new_server_key
from coordinator.serve.logs import logger, of_line
from coordinator.serve.processes import PARTS, main, not_listening, run_part
from coordinator.serve.supervisor import LOCK, pids, supervise
from coordinator.settings import CoordinatorSettings
from tests.coordinator.test_settings import home
from trust.errors import InvalidInput
from trust.times import now, read_time

# ---- what is said


def said(*, as_json: bool, **more: Any) -> str:
    out = io.StringIO()
    logger(out, as_json=as_json).warning("it ended", **more)
    return out.getvalue()


def test_a_line_has_the_keys_of_the_list_and_no_others() -> None:
    line = json.loads(said(as_json=True, part="api", code=3, password="hunter2", url="postgresql://a:b@c/d"))
    assert list(line) == ["time", "level", "event", "part", "code"]
    assert (line["level"], line["event"], line["code"]) == ("warning", "it ended", 3)
    read_time(line["time"])


def test_for_people_it_is_one_line_of_text() -> None:
    line = said(as_json=False, part="api", code=3, password="hunter2")
    assert line.endswith(" api       warning: it ended code=3\n")
    assert "hunter2" not in line


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    assert "\x1b" not in said(as_json=False, part="\x1b[2J")
    assert said(as_json=False, part="a\nb").count("\n") == 1
    assert len(said(as_json=True, study="x" * 10_000)) < 2200


LINES: list[tuple[str, dict[str, Any]]] = [
    ("waiting: 0 of 3\n", {"event": "waiting: 0 of 3"}),
    ('{"event": "a", "level": "error", "study": "s", "rows": [1]}', {"event": "a", "level": "error", "study": "s"}),
    ('{"no": "event"}', {"event": '{"no": "event"}'}),
    ("{" * 4000, {"event": "{" * 4000}),
    ("\x1b[93mWARNING \x1b[0m:   a key is old", {"level": "warning", "event": "a key is old"}),
    ("2026-11-28T14:41:25.977Z INFO [uvicorn.error] Started", {"level": "info", "event": "Started"}),
    ("INFORMATION", {"event": "INFORMATION"}),
    ("", {"event": ""}),
]


@pytest.mark.parametrize(("line", "found"), LINES)
def test_a_line_of_a_process_is_taken_apart(line: str, found: dict[str, Any]) -> None:
    assert of_line(line) == found


# ---- what cannot start


def test_only_the_three_parts_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput, match="'worker', perhaps"):
        run_part(home(tmp_path / "h"), "worke")
    assert main(["only one"]) == 2
    assert main([str(tmp_path / "h"), "all"]) == 2
    assert "no part 'all'" in capsys.readouterr().err


def renewed(settings: CoordinatorSettings, days: int) -> None:
    """Another certificate in its place, which ended or ends so many days from now, by an authority of its own."""
    at = now()
    authority = Authority.make(at)
    made = authority.server(new_server_key(), [], at, days) if days > 0 else _past(authority, -days)
    (settings.engine / "server.pem").write_bytes(made)


def _past(authority: Authority, days: int) -> bytes:
    return authority.server(new_server_key(), [], now() - timedelta(days=days + 1), 1)


def test_with_an_expired_certificate_nothing_starts(tmp_path: Path) -> None:
    settings = home(tmp_path / "h")
    renewed(settings, -1)
    for start in (
        lambda: supervise(settings),
        lambda: run_part(settings, "api"),
        lambda: run_part(settings, "superlink"),
    ):
        with pytest.raises(InvalidInput, match=r"has expired .*coordinator certify"):
            start()
    assert not (settings.folder / "coordinator" / LOCK).exists()


def test_where_nobody_listens_it_is_said(tmp_path: Path) -> None:
    settings = home(tmp_path / "h", toml=ports())
    assert "nothing answers at 127.0.0.1:" in not_listening(settings, "api")
    assert "nothing answers at 127.0.0.1:" in not_listening(settings, "superlink")


def test_somebody_else_at_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    settings, other = home(tmp_path / "h", toml=ports()), home(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.engine / "server.pem", other.engine / "server.key")
    host, port = settings.superlink_here.split(":")
    code = "import socket, ssl, sys\n" + (
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[1], sys.argv[2])\n"
        "s = socket.create_server((sys.argv[3], int(sys.argv[4])))\nprint('listening', flush=True)\n"
        "while True:\n    try:\n        c.wrap_socket(s.accept()[0], server_side=True)\n"
        "    except OSError:\n        pass\n"
    )
    files = [str(other.engine / "server.pem"), str(other.engine / "server.key")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *files, host, port], stdout=subprocess.PIPE, text=True
    ) as stranger:
        try:
            assert stranger.stdout is not None
            stranger.stdout.readline()
            assert "another certificate" in not_listening(settings, "superlink")
            assert not_listening(CoordinatorSettings(_with_port(other, settings)), "superlink") == ""
        finally:
            stranger.kill()


def _with_port(other: CoordinatorSettings, settings: CoordinatorSettings) -> Path:
    other.file.write_bytes(settings.file.read_bytes())
    return other.folder


# ---- real processes


def ports() -> str:
    """coordinator.toml with two free ports of the loopback."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        names = [each.getsockname()[1] for each in (one, two)]
    return f'api = "127.0.0.1:{names[0]}"\nsuperlink = "127.0.0.1:{names[1]}"\nurl = "https://localhost:{names[0]}"\n'


class Run:
    """`coordinator run` of a folder, with its lines."""

    def __init__(self, settings: CoordinatorSettings, **environment: str) -> None:
        self.settings = settings
        code = "import sys; from pathlib import Path; from coordinator.serve.supervisor import supervise;"
        code += "from coordinator.settings import CoordinatorSettings;"
        code += "sys.exit(supervise(CoordinatorSettings(Path(sys.argv[1]))))"
        self.log = settings.folder / "lines"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(settings.folder)], stdout=out, env={**os.environ, **environment}
            )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def ready(self) -> int:
        """How often it was said."""
        return sum(line["event"].startswith("ready: superlink") for line in self.lines())

    def wait_until(self, what: Any, seconds: float = 90.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and how many seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(30), time.monotonic() - begun


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Run]:
    run = Run(home(folder, toml=ports()), **environment)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.stop()


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.slow
def test_each_process_that_is_killed_comes_back_and_all_end_in_order(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        with running(tmp_path / "h", NOTIFY_SOCKET=str(tmp_path / "notify")) as run:
            while (told := manager.recv(200)).startswith(b"STATUS=waiting"):
                pass
            assert told == b"READY=1\nSTATUS=ready"
            assert run.ready() == 1
            first = pids(run.settings)
            assert first.keys() == {"run", *PARTS}
            for part in PARTS:
                assert not_listening(run.settings, part) == "" if part != "worker" else alive(first["worker"])
            with pytest.raises(InvalidInput, match=f"runs already .process {first['run']}"):
                supervise(run.settings)
            for times, part in enumerate(PARTS, 2):
                before = pids(run.settings)[part]
                os.kill(before, signal.SIGKILL)
                run.wait_until(lambda times=times: run.ready() == times)
                after = pids(run.settings)
                assert after[part] != before
                assert not alive(before)
                assert all(alive(pid) for pid in after.values())
            last = pids(run.settings)
            assert {name for name in last if last[name] == first[name]} == {"run"}
            code, seconds = run.stop()
            assert (code, seconds < 10) == (0, True)
            assert not any(alive(pid) for pid in last.values())
            assert pids(run.settings) == {}
            ended = [line["part"] for line in run.lines() if line["event"] == "ended"]
            assert ended == ["api", "worker", "superlink"]
            assert not any("hunter" in line for line in run.log.read_text().splitlines())


@pytest.mark.slow
def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "h") as run:
        run.wait_until(run.ready)
        children = [pid for name, pid in pids(run.settings).items() if name != "run"]
        run.stop(signal.SIGKILL)
        end = time.monotonic() + 20
        while any(map(alive, children)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(alive, children))
        assert pids(run.settings) == {}


def waits(run: Run) -> list[float]:
    """Seconds before the interface was started again, each time."""
    return [line["seconds"] for line in run.lines() if line.get("part") == "api" and "seconds" in line]


@pytest.mark.slow
def test_what_is_failing_is_said_until_it_is_mended(tmp_path: Path) -> None:
    """The interface's port is another's: it is started again and again, later each time, and then it is there."""
    settings = home(tmp_path / "h", toml=ports())
    host, port = settings.api_here.split(":")
    with closing(socket.create_server((host, int(port)))) as other:
        run = Run(settings)
        try:
            run.wait_until(lambda: len(waits(run)) >= 2)
            run.wait_until(lambda: any("not ready" in line["event"] and line["part"] == "api" for line in run.lines()))
            assert waits(run)[:2] == [0.1, 0.2]
            assert any("nothing can listen" in line["event"] and line["level"] == "error" for line in run.lines())
            assert run.ready() == 0
            other.close()
            run.wait_until(run.ready)
        finally:
            code, _ = run.stop(signal.SIGINT)
        assert code == 0
