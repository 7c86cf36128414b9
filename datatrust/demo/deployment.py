"""A trust as processes on this machine: a SuperLink with TLS, the coordinator, and a node for each partner.

Each process reads its own part of one folder.  The process that starts them ends them, by their ids.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import tomli_w

from coordinator.operate.certificates import certify
from coordinator.serve.worker import READY
from datatrust.in_process.local_trust import LocalTrust
from datatrust.research.progress import Say
from datatrust.research.result import Result
from nodes.rows.source import Source, scheme
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.errors import Fault, InvalidInput
from trust.files import write_new, writing

__all__ = ["DeployedTrust", "Processes"]

_HOST = "127.0.0.1"
_FIRST_PORT = 9443
_START_SECONDS, _END_SECONDS, _STUDY_SECONDS = 60.0, 5.0, 300.0
"""Seconds for everything to be connected, for a process to end by itself, for a study."""
_POLL_SECONDS = 0.03
_LISTENING, _ADDRESS_IN_USE = "Uvicorn running on", "address already in use"
"""What stands in the SuperLink's log once it has its port, and where another process was first."""


class DeployedTrust(LocalTrust):
    """The studies of a trust whose nodes and coordinator are other processes.

    Holds the keys of committee and researcher; opens no node's state, and computes nothing.
    """

    def _begin(self, sources: Mapping[str, Source], is_kept: bool) -> list[object]:
        """The nodes are elsewhere: write where each has its rows, and how all of them are reached.

        Raises: InvalidInput for a partner's policy, which belongs into its own folder before its node starts.
        """
        if any(policy is not None for policy in self._policies.values()):
            raise InvalidInput("a policy that is given here", expected="the partner's own folder, nodes/NAME/policy")
        with writing(self._home, "name an empty folder"):
            certify(self._home, self._policies)
            for name, source in sources.items():
                write_new(self._home / "nodes" / name / "source.toml", _toml(source), 0o600)
        return []

    @classmethod
    def founded(cls, folder: Path, dataset: Dataset, charter: Charter, sources: Mapping[str, Source]) -> DeployedTrust:
        """A new trust in an empty folder.  Raises: InvalidInput."""
        return cls(dataset, charter, sources, state=folder)

    def answer(self, study: str, say: Say = lambda words: None) -> Result:
        """Wait for the coordinator, which carries out whatever is in force.  Raises: as `LocalTrust.answer`."""
        end = time.monotonic() + _STUDY_SECONDS
        while time.monotonic() < end:
            filed_study = self.docket.find(study)
            file = self._home / "results" / f"{filed_study.id}.json"
            if filed_study.state == "released":
                if file.exists():
                    return self._read_release(file, filed_study)
            elif filed_study.lapsed or filed_study.state not in ("mandated", "running"):
                self.docket.mandate(study)  # raises: why it has not run, or how it has ended
            time.sleep(_POLL_SECONDS)
        raise Fault(
            f"the coordinator did not carry out {study!r} in {_STUDY_SECONDS:.0f} seconds", remedy="see its log"
        )


def _toml(source: Source) -> bytes:
    """A source as a file, every field of it; of files with absolute paths.

    Raises: InvalidInput for what only this process has: a table or a list in memory.
    """
    if not isinstance(source.url, str | Path) or not isinstance(source.opt_out, str | Path | None):
        raise InvalidInput("a source or its opt-outs in memory", expected="a file or a database", remedy="write a file")
    fields = {
        "url": _place(source.url),
        "table": source.table,
        "invalid": source.invalid,
        "missing": list(source.missing),
        "columns": dict(source.columns),
        "levels": {column: dict(levels) for column, levels in source.levels.items()},
    }
    if source.opt_out is not None:
        fields["opt_out"] = _place(source.opt_out)
    return tomli_w.dumps(fields).encode()


def _place(place: str | Path) -> str:
    """A database's address as it is; a file, which a node would look for beside `source.toml`, with its whole path."""
    is_file = isinstance(place, Path) or not (scheme(place) or place.startswith("#"))
    return str(Path(place).absolute()) if is_file else str(place)


class Processes:
    """The processes of a deployment; a context manager that ends them.

    Attributes:
        address: host:port of the SuperLink.
        pids: name -> process id.
    """

    def __init__(self, folder: Path, partners: Sequence[str], logs: Path, tell: Callable[[str], None]) -> None:
        """Args: logs: a folder for a log of each process; tell: is told each event, one line."""
        self._folder, self._partners, self._logs, self._tell = folder, tuple(partners), logs, tell
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._ready, self._listening = threading.Event(), threading.Event()
        self._ending = False
        self.address = ""

    @property
    def pids(self) -> dict[str, int]:
        """Name -> process id, of those that were started."""
        return {name: process.pid for name, process in self._processes.items()}

    def __enter__(self) -> Processes:
        """Start them, and wait until all partners are connected.  Raises: Fault."""
        try:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.address = f"{_HOST}:{self._superlink()}"
            for name in self._partners:
                self._start(f"node {name}", "nodes.serve.loop", str(self._folder), name, self.address)
            self._start("coordinator", "coordinator.serve.worker", str(self._folder), self.address)
            self._tell(f"started: a SuperLink at {self.address}, the coordinator, {len(self._partners)} nodes")
            self._wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """End all of them: nodes and coordinator first, the SuperLink last."""
        self._ending = True
        other_processes = [process for name, process in self._processes.items() if name != "superlink"]
        for group in (
            other_processes,
            [process for process in self._processes.values() if process not in other_processes],
        ):
            for process in group:
                if process.poll() is None:
                    process.terminate()
            for process in group:
                _wait(process)
        for reader in self._readers:
            reader.join(_END_SECONDS)

    def check(self) -> None:
        """Look at all processes.  Raises: Fault where one has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self._log(name)
                raise Fault(f"the process {name!r} has ended (code {process.returncode}); why is in {log}")

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"

    def _start(self, name: str, module: str, *arguments: str) -> None:
        environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        environment |= {"FLWR_HOME": str(self._folder / "flwr"), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(  # noqa: S603 - this Python, a module of ours
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C comes to us alone, and we end them in order
        )
        self._processes[name] = process
        reader = threading.Thread(target=self._read, args=(name, process), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        """Each line into the log; those of nodes and coordinator are events."""
        if process.stdout is None:
            return
        with self._log(name).open("a", encoding="utf-8") as log, process.stdout:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if name == "coordinator" and line.startswith(READY):
                    self._ready.set()
                if name == "superlink" and _LISTENING in line:
                    self._listening.set()
                if name != "superlink" and not self._ending:
                    self._tell(f"{name}: {line.rstrip()}")

    def _superlink(self) -> int:
        """Start it at a free port, which is given back; where somebody else takes it first, at the next.

        Raises: Fault.
        """
        engine, port, end = self._folder / "coordinator" / "engine", _FIRST_PORT, time.monotonic() + _START_SECONDS
        while True:
            port = free_port(port)
            self._start("superlink", "coordinator.flower.superlink", str(engine), _HOST, str(port))
            process = self._processes["superlink"]
            while not self._listening.wait(_POLL_SECONDS) and process.poll() is None and time.monotonic() < end:
                pass
            if self._listening.is_set():
                return port
            if process.poll() is not None:
                self._readers[-1].join(_END_SECONDS)  # its last words
            if process.poll() is None or _ADDRESS_IN_USE not in self._log("superlink").read_text("utf-8"):
                self.check()
                raise Fault(
                    f"the SuperLink does not listen after {_START_SECONDS:.0f} seconds",
                    remedy=f"see {self._log('superlink')}",
                )
            self._log("superlink").unlink()
            port += 1

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._ready.wait(0.05):
            self.check()
            if time.monotonic() > end:
                raise Fault(
                    f"not all partners were connected within {_START_SECONDS:.0f} seconds", remedy=f"see {self._logs}"
                )


def free_port(first: int = _FIRST_PORT) -> int:
    """The first port from this one on that nobody listens at.  Raises: Fault."""
    for port in range(first, first + 200):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return port
    raise Fault(f"no port from {first} to {first + 199} is free on {_HOST}")


def _wait(process: subprocess.Popen[str]) -> None:
    """Until it has ended; killed where it does not end by itself."""
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
