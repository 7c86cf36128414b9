"""Start and stop: told to end, a process ends within ten seconds in whatever it is doing, and the next one goes on.

Two processes do not share a home.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from coordinator.flower.grid import FlowerRun
from coordinator.operate.certificates import certify
from coordinator.settings import CoordinatorSettings
from tests.conftest import missing
from tests.faults.test_killed import ROOT
from tests.faults.test_network import OTHERS, Live, live, patience, same
from tests.support import killer
from tests.support.restartable_trust import NAMES
from tests.support.sizes import FULL
from trust.errors import Fault

__all__ = ["live"]

SOON = 10.0
"""Seconds."""


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust's folder with a study whose mandate is in force; nothing runs."""
    base = tmp_path_factory.mktemp("processes")
    killer.mandated(base)
    certify(base / "state", NAMES)
    return base / "state"


class Started:
    """A process of ours, and its lines."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line)

    def stop(self) -> float:
        """SIGTERM; the seconds until it has ended."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(60)
        return time.monotonic() - begun

    def wait_for(self, what: str, seconds: float = 40.0) -> None:
        end = time.monotonic() + seconds
        while not any(what in line for line in self.lines):
            assert time.monotonic() < end, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.02)

    def handles_sigterm(self) -> None:
        """Wait until it does (proc(5), SigCgt)."""
        end, status = time.monotonic() + 40, Path(f"/proc/{self.process.pid}/status")
        while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) & 1 << (signal.SIGTERM - 1):
            assert time.monotonic() < end
            assert self.process.poll() is None, self.lines
            time.sleep(0.05)


@contextmanager
def started(*command: str) -> Iterator[Started]:
    one = Started(*command)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        one._reader.join(5)


@contextmanager
def silent() -> Iterator[str]:
    """An address where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def free() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


# ---- one process a home


@pytest.mark.slow
def test_a_second_node_on_one_home_refuses(trust: Path) -> None:
    command, address = ("nodes.serve.loop", str(trust), "a"), free()
    with started(*command, address) as first:
        end = time.monotonic() + 40
        lock = trust / "nodes" / "a" / "lock"
        while not (lock.exists() and lock.read_bytes().strip() == str(first.process.pid).encode()):
            assert time.monotonic() < end
            time.sleep(0.05)
        second = subprocess.run(
            [sys.executable, "-m", *command, address], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
        )
        assert second.returncode == 3
        assert f"process {first.process.pid} serves" in second.stderr
        assert "one process a home" in second.stderr
        assert first.process.poll() is None
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    with started(*command, address) as third:  # the control: the lock ends with its process
        time.sleep(2)
        assert third.process.poll() is None, third.lines


# ---- SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "where"),
    [
        ("worker", "nobody listens"),
        pytest.param("worker", "nothing is said", marks=pytest.mark.slow),
        pytest.param("node", "nobody listens", marks=pytest.mark.slow),
        pytest.param("node", "nothing is said", marks=pytest.mark.slow),
    ],
)
def test_told_to_stop_while_the_superlink_is_away(trust: Path, who: str, where: str) -> None:
    command = ("nodes.serve.loop", str(trust), "b") if who == "node" else ("coordinator.serve.worker", str(trust))
    with silent() as address, started(*command, address if where == "nothing is said" else free()) as one:
        one.handles_sigterm()
        time.sleep(2)
        assert one.process.poll() is None, one.lines
        assert one.stop() < SOON
        assert one.process.returncode == 0, one.lines
    with closing(CoordinatorSettings(trust).docket()) as docket:
        assert docket.ids("running") == []
        assert len(docket.ids("mandated")) == 1


def test_a_call_that_waits_for_the_superlink_ends_with_its_process(trust: Path) -> None:
    """The control of the above: without `stop` it waits for half a minute."""
    stop = threading.Event()
    engine = FlowerRun(free(), CoordinatorSettings(trust).secrets(), stop)
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Fault, match="told to stop"):
        engine.enrol({})
    assert 0.4 < time.monotonic() - begun < 3
    engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("who", ["node south", "coordinator", "superlink"])
@pytest.mark.parametrize("when", ["in a study", *(["at rest"] if FULL else [])])
def test_told_to_stop_and_started_again(live: Live, who: str, when: str) -> None:
    patience(live.folder, 120)
    study = live.begin() if when == "in a study" else ""
    if study:
        live.wait_for(lambda: live.sums(study) > 1)
    begun, process = time.monotonic(), live.processes._processes[who]
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert time.monotonic() - begun < SOON
    if study and who != "superlink":
        assert live.trust.docket.find(study).state in ("running", "released")
    folder, address = str(live.folder), live.processes.address
    if who == "superlink":
        arguments = ["coordinator.flower.superlink", str(live.folder / "coordinator" / "engine"), "127.0.0.1"]
        live.processes._start(who, *arguments, str(live.processes.relay.to))
    elif who == "coordinator":
        live.processes._start(who, "coordinator.serve.worker", folder, address)
    else:
        live.processes._start(who, "nodes.serve.loop", folder, who.partition(" ")[2], address)
    study = study or live.begin()
    assert same(live.trust.job(study).result(), live.several)
    live.once(study, live.sums(study))


# ---- the clock of a node that is connected


@pytest.mark.slow
def test_a_node_with_a_wrong_clock_is_not_let_in_until_it_is_right(live: Live) -> None:
    """An hour back: its requests are older than the SuperLink takes; the others go on without it."""
    if not shutil.which("faketime"):
        missing("faketime (apt-get install faketime)")
    patience(live.folder, 15)
    process = live.processes._processes.pop("node south")
    process.terminate()
    process.wait(30)
    command = ["faketime", "-f", "-1h", sys.executable, "-m", "nodes.serve.loop", str(live.folder), "south"]
    log = live.folder / "late.log"
    with log.open("w") as out:
        late = subprocess.Popen(
            [*command, live.processes.address], stdout=out, stderr=out, cwd=ROOT, start_new_session=True
        )
        try:
            live.wait_for(lambda: "not admitted yet" in log.read_text())
            result = live.trust.job(live.begin(OTHERS)).result()
            assert result.provenance["partners"] == [n for n in live.trust.partners if n != "south"]
        finally:
            os.killpg(late.pid, signal.SIGKILL)  # faketime and what it has started
            late.wait(30)
            for left in Path("/dev/shm").glob(f"*faketime*_{late.pid}"):
                left.unlink()
    live.processes._start("node south", "nodes.serve.loop", str(live.folder), "south", live.processes.address)
    live.wait_for(lambda: "south" in _online(live))
    assert same(live.trust.job(live.begin()).result(), live.several)


def _online(live: Live) -> dict[str, int]:
    settings = CoordinatorSettings(live.folder)
    engine = FlowerRun(live.processes.address, settings.secrets())
    try:
        return engine.online(settings.nodes())
    finally:
        engine.close()
