"""The coordinator as its operator runs it: one supervisor of three processes, which starts again what has ended.

`ready` is said when it is so: the interface answers, the SuperLink listens, the worker has opened its run.  Until then
it says again and again what is missing.  One supervisor a home.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.serve.logs import logger, of_line
from coordinator.serve.processes import PARTS, SUPERVISOR, not_listening, say_opened
from coordinator.serve.systemd import Watchdog, notify
from coordinator.settings import CoordinatorSettings
from trust.errors import InvalidInput
from trust.files import lock, writing
from trust.times import now, read_time

__all__ = ["LOCK", "Supervisor", "environment_of", "pids", "supervise"]

LOCK = "run.lock"
"""In the folder `coordinator`: held by the supervisor, with the ids of its processes in it."""
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
"""Seconds before a process is started again: twice as many each time, until all are ready."""
_POLL_SECONDS = 0.1
_PROBE_SECONDS, _REMIND_SECONDS = 0.5, 10.0
"""Seconds between two looks at who answers, and between two reminders of what is missing."""
_END = {"api": 3.5, "worker": 3.0, "superlink": 2.5}
"""Seconds for a process to end by itself; together less than ten."""
_RENEW_DAYS = 30
"""Days before the certificate's end from which on it is spoken of."""


@dataclass
class _Part:
    """One of the processes."""

    name: str
    process: subprocess.Popen[str] | None = None
    wait: float = _SHORTEST_PAUSE_SECONDS
    again: float = 0.0
    opened: bool = False
    ended: str = ""
    reader: threading.Thread | None = None


@dataclass
class Supervisor:
    """Starts the parts of a home, and starts each again that ends, until `stop` is set."""

    settings: CoordinatorSettings
    log: Any
    parts: tuple[str, ...] = PARTS
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._parts = {name: _Part(name) for name in self.parts}
        self._ready, self._probe, self._remind = False, 0.0, time.monotonic() + _REMIND_SECONDS
        self._watchdog = Watchdog()
        self._ending = False

    def run(self, lock: int) -> None:
        """Until `stop`; then all have ended, the interface first and the SuperLink last."""
        try:
            while not self.stop.is_set():
                for part in self._parts.values():
                    if part.process is None and time.monotonic() >= part.again:
                        self._start(part)
                        self._write(lock)
                    elif part.process is not None and _has_ended(part.process):
                        self._gone(part)
                self._look()
                self._watchdog.keep_alive()
                self.stop.wait(_POLL_SECONDS)
        finally:
            notify("STOPPING=1")
            self.end()

    def end(self) -> None:
        """End what runs, in order; killed where it does not end by itself."""
        self._ending = True
        for part in reversed(list(self._parts.values())):
            process = part.process
            if process is None:
                continue
            if not _has_ended(process):
                process.terminate()
            end = time.monotonic() + _END.get(part.name, 2.5)
            while not _has_ended(process) and time.monotonic() < end:
                time.sleep(0.02)
            in_time = _has_ended(process)
            code = _reap(process)
            if part.reader is not None:
                part.reader.join(0.2)
            say = self.log.info if in_time else self.log.warning
            say("ended" if in_time else "killed: it did not end in time", part=part.name, code=code)
            part.process = None
        self.log.info("stopped")

    # ---- one part

    def _start(self, part: _Part) -> None:
        part.process = subprocess.Popen(  # noqa: S603 - this Python, a module of ours
            [sys.executable, "-P", "-m", "coordinator.serve.processes", str(self.settings.folder), part.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment_of(self.settings, part.name),
            start_new_session=True,  # Ctrl-C comes to us alone, and what a part has started ends with it
        )
        part.opened, part.ended = False, ""
        part.reader = threading.Thread(target=self._read, args=(part, part.process), daemon=True)
        part.reader.start()
        self.log.info("started", part=part.name, pid=part.process.pid)

    def _read(self, part: _Part, process: subprocess.Popen[str]) -> None:
        """Each line of a process, under its name."""
        if process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                fields = of_line(line)
                event, level = str(fields.pop("event")), str(fields.pop("level", ""))
                if part.name == "worker" and say_opened(event) and part.process is process:
                    part.opened = True
                if event and not (part.name == "superlink" and level in ("info", "debug")):  # a line each request
                    say = {"warning": self.log.warning, "error": self.log.error}.get(level, self.log.info)
                    say(event, **{**fields, "part": part.name})

    def _gone(self, part: _Part) -> None:
        """Note that it has ended, and when it is started again."""
        if part.process is None:
            return
        code = _reap(part.process)
        part.ended = f"it has ended (code {code})"
        self.log.warning("ended; it is started again", part=part.name, code=code, seconds=part.wait)
        part.process, part.again, part.opened = None, time.monotonic() + part.wait, False
        part.wait = min(2 * part.wait, _LONGEST_PAUSE_SECONDS)
        if self._ready:
            self._ready, self._remind = False, time.monotonic() + _REMIND_SECONDS
        self._probe = 0.0

    # ---- all of them

    def _look(self) -> None:
        """Say `ready` when it is true; until then, once in a while, what is missing."""
        checked_at = time.monotonic()
        if self._ready or checked_at < self._probe:
            return
        missing = {name: why for name, part in self._parts.items() if (why := self._missing(part))}
        self._probe = time.monotonic() + _PROBE_SECONDS
        if not missing:
            self._ready = True
            for part in self._parts.values():
                part.wait = _SHORTEST_PAUSE_SECONDS
            self.log.info(f"ready: {', '.join(self.parts)}")
            notify("READY=1", "STATUS=ready")
        elif checked_at >= self._remind:
            self._remind = checked_at + _REMIND_SECONDS
            for name, why in missing.items():
                self.log.warning(f"not ready: {why}", part=name)
            notify("STATUS=waiting for " + ", ".join(missing))

    def _missing(self, part: _Part) -> str:
        if part.process is None:
            return part.ended or "it is not started"
        if part.name == "worker":
            return "" if part.opened else "it has not opened its run at the SuperLink"
        return not_listening(self.settings, part.name)

    def _write(self, lock: int) -> None:
        ids = {name: part.process.pid for name, part in self._parts.items() if part.process is not None}
        raw = json.dumps({"run": os.getpid(), **ids}).encode() + b"\n"
        os.pwrite(lock, raw, 0)
        os.ftruncate(lock, len(raw))


def environment_of(settings: CoordinatorSettings, part: str) -> dict[str, str]:
    """A process's environment; of the SuperLink, which anybody can reach, without the database's password."""
    kind, _, name = settings.said.database.partition(":")
    secret = {"DATATRUST_PASSPHRASE", *([name] if part == "superlink" and kind == "env" else [])}
    left_out = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", *secret}
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    environment |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    return environment | {"FLWR_HOME": str(settings.engine / "flwr"), SUPERVISOR: str(os.getpid())}


def supervise(settings: CoordinatorSettings, *, as_json: bool | None = None) -> int:
    """Run a home's three processes until SIGTERM or SIGINT; the exit code, 0.

    Raises: InvalidInput for a home that cannot be used, whose certificate has expired, or that runs already.
    """
    log = logger(as_json=as_json)
    _ = (settings.identity, settings.secrets(), settings.place)  # raise now what the processes would raise again
    days = settings.days_left(now())
    without = sorted(settings.trust.root.root.partners.keys() - settings.nodes().keys())
    with _alone(settings) as lock_descriptor:
        supervisor = Supervisor(settings, log)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop.set())
        say = log.warning if days < _RENEW_DAYS else log.info
        say(f"the server's certificate has {days} days left" + (f"; {settings.renew}" if days < _RENEW_DAYS else ""))
        ends = read_time(settings.trust.root.root.expires)
        if (
            days_left := (ends - now()).days
        ) < _RENEW_DAYS:  # it is started all the same: the next version comes through it
            log.warning("the trust root ends soon, or has ended: sign the next version", days=days_left)
        for name in without:
            log.warning("the trust root has no key for its connection; it cannot be let in", partner=name)
        supervisor.run(lock_descriptor)
    return 0


def pids(settings: CoordinatorSettings) -> dict[str, int]:
    """Part -> process id, and `run`, the supervisor's own; empty where none runs here."""
    path = settings.folder / "coordinator" / LOCK
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pids_by_part = json.loads(file.read(1 << 12) or b"{}")
                return (
                    {str(name): int(pid) for name, pid in pids_by_part.items()}
                    if isinstance(pids_by_part, dict)
                    else {}
                )
    except (OSError, ValueError):
        pass
    return {}


@contextmanager
def _alone(settings: CoordinatorSettings) -> Iterator[int]:
    """Hold the home's lock.  Raises: InvalidInput where another supervisor does."""
    path: Path = settings.folder / "coordinator" / LOCK
    with writing(path, "correct disk or rights"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not lock(descriptor):
            raise InvalidInput(
                f"{str(settings.folder)!r} runs already (process {pids(settings).get('run', 'unknown')})",
                expected="one `datatrust coordinator run` a home",
                remedy="end that one first",
            )
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _has_ended(process: subprocess.Popen[str]) -> bool:
    """Whether it has, without taking its code: until then nobody else can have its id."""
    if process.returncode is not None:
        return True
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True


def _reap(process: subprocess.Popen[str]) -> int:
    """End what it has left behind, or itself; its code."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
