"""`datatrust node run` beside a real SuperLink and coordinator: ready when it says so, one process, quiet, and gone in
time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import datatrust as dt
from datatrust.demo.deployment import DeployedTrust, Processes
from nodes.operate.enrolment import node_toml
from nodes.rows.source import Source
from nodes.settings import NodeToml
from tests.support.example import DATASET, HOSPITALS
from trust.charters.charter import Charter

pytestmark = pytest.mark.slow
RUN = [sys.executable, "-c", "from datatrust.cli.main import main; main()", "node", "run", "--home"]
OURS = "east"


@dataclass
class Live:
    """A deployment whose node `east` is a home of its own."""

    trust: DeployedTrust
    processes: Processes
    home: Path
    port: int

    def start(self, **environment: str) -> subprocess.Popen[str]:
        out, err = (self.home.parent / name for name in ("out.txt", "err.txt"))
        with out.open("w") as said, err.open("w") as logged:
            return subprocess.Popen(
                [*RUN, str(self.home)], stdout=said, stderr=logged, text=True, env={**os.environ, **environment}
            )

    def out(self) -> list[str]:
        return (self.home.parent / "out.txt").read_text().splitlines()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home.parent / "err.txt").read_text().splitlines()]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("node-run")
    sources = {}
    for name, frame in HOSPITALS.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        sources[name] = Source(folder / f"{name}.csv")
    state = folder / "trust"
    trust = DeployedTrust.founded(state, dt.Dataset.parse(DATASET), Charter.load("research"), sources)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Processes(state, trust.partners, folder / "logs", lambda event: None) as processes:
        taken = processes._processes.pop(f"node {OURS}")
        taken.terminate()
        taken.wait(20)
        home = folder / "home"
        shutil.copytree(state / "nodes" / OURS, home)
        for shared in ("charter", "roots"):
            shutil.copytree(state / shared, home / shared)
        shutil.copyfile(state / "dataset.yaml", home / "dataset.yaml")
        toml = NodeToml(name=OURS, superlink=processes.address, health=f"127.0.0.1:{port}", metrics=True)
        (home / "node.toml").write_bytes(
            node_toml(toml.model_copy(update={"coordinator": f"https://{processes.address}"}))
        )
        yield Live(trust, processes, home, port)
    trust.docket.close()


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_node_from_ready_to_its_end(live: Live) -> None:
    with live.start() as node:
        try:
            until(lambda: "ready" in live.out())
            assert live.get("/readyz").status_code == 200
            assert live.get("/livez").json() == {"alive": True}
            assert Path(f"/proc/{node.pid}/limits").read_text().split("Max core file size")[1].split()[:2] == ["0", "0"]

            second = subprocess.run([*RUN, str(live.home)], capture_output=True, text=True, timeout=60)
            assert (second.returncode, f"process {node.pid} serves" in second.stderr) == (3, True)

            asked = {"table": dt.Describe(["age", "pressure"])}
            study = live.trust.study("Ages", purpose="AcademicResearch", cohort="age >= 40", analyses=asked)
            result = study.run()
            assert result.provenance["partners"] == sorted(HOSPITALS)
            few = live.trust.study("Women", purpose="AcademicResearch", cohort="sex = 'F'", analyses=asked)
            with pytest.raises(dt.Refused):
                few.run()
            figures = live.get("/metrics").text
            assert 'datatrust_node_messages_total{answer="upload",kind="ask"}' in figures
        finally:
            node.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            code = node.wait(20)
    assert (code, time.monotonic() - begun < 10) == (0, True)
    events = live.events()
    assert [e["event"] for e in events if e["event"] != "message"][-2:] == ["stopping", "stopped"]
    answered = [e for e in events if e["event"] == "message"]
    assert {"approval", "upload"} <= {e["answer"] for e in answered}
    assert {e["study"] for e in answered if e["answer"] == "upload"} == {result.study.id}
    log = (live.home.parent / "err.txt").read_text()
    for value in (*HOSPITALS[OURS]["pressure"].astype(str).unique()[:40], "PRIVATE"):
        assert f'"{value}"' not in log
    assert all(set(e) <= {
        "event", "level", "timestamp", "node", "pid", "version", "kind", "mandate", "study", "answer", "rule",
        "seconds", "signal", "check", "state", "code", "library",
    } for e in events)  # fmt: skip


def test_a_superlink_that_is_away_is_said_and_waited_for(live: Live) -> None:
    toml = (live.home / "node.toml").read_text()
    (live.home / "node.toml").write_text(toml.replace(live.processes.address, "127.0.0.1:1"))
    try:
        with live.start() as node:
            try:
                until(lambda: any(line.startswith("not ready: superlink") for line in live.out()))
                assert "ready" not in live.out()
                assert live.get("/readyz").status_code == 503
                assert node.poll() is None
            finally:
                node.terminate()
                assert node.wait(20) == 0
    finally:
        (live.home / "node.toml").write_text(toml)


def test_systemd_is_told(live: Live, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        with live.start(NOTIFY_SOCKET=str(tmp_path / "notify")) as node:
            try:
                said = ""
                while "READY=1" not in said:
                    said = systemd.recv(100).decode()
                assert "WATCHDOG=1" in said
            finally:
                node.terminate()
                assert node.wait(20) == 0


def test_a_node_that_was_killed_can_start_again(live: Live) -> None:
    for end in (signal.SIGKILL, signal.SIGTERM):
        with live.start() as node:
            until(lambda: "ready" in live.out())
            node.send_signal(end)
            node.wait(20)
