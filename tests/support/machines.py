"""Machines of a test: network namespaces on a switch of their own, each with its folders, names and programs.

Nothing of it is on the host's network: the switch is in a namespace, too.  Needs root, `ip` and PostgreSQL; everything
that was started ends by its own id, and every namespace is deleted, also after a failure.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.postgres import _programs

HOMES = Path("/var/lib/datatrust")
"""Where the guide keeps a machine's state; each machine has a folder of its own mounted there."""
_VENV = Path(sys.executable).parent
_WAIT = 60.0


def needed() -> None:
    """Skip where this cannot run."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("ss"):
        missing("root, with ip and ss")
    probe = f"datatrust-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        missing("the right to make network namespaces")
    subprocess.run(["ip", "netns", "del", probe], check=True)
    _programs()


@dataclass
class Done:
    """What a command printed, errors included, and its exit code."""

    text: str
    code: int


@dataclass
class Machine:
    """One namespace; several persons may work at it, each in a folder."""

    name: str
    space: str
    address: str
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    database: Path | None = None

    def environment(self, home: Path) -> dict[str, str]:
        """As the service's user or the person has it."""
        found = {
            "PATH": f"{_VENV}:{_programs()}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "120",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        if self.database is not None:
            found |= {"PGHOST": str(self.database), "PGUSER": "postgres"}
        return found

    def argv(self, command: str, home: Path) -> list[str]:
        """The command in this namespace, with the machine's folder mounted and as the working folder."""
        mounted = f"mount --bind {self.folder / 'state'} {HOMES} && cd {home} && {command}"
        return ["ip", "netns", "exec", self.space, "bash", "-c", mounted]

    def run(self, command: str, home: Path, answers: list[tuple[str, str]], **more: str) -> Done:
        """Run to the end.

        Args:
            answers: what is typed when the last thing printed begins like the first text of a pair.
        """
        environment = self.environment(home) | more
        if not answers:
            done = subprocess.run(
                self.argv(command, home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=_WAIT * 2,
                check=False,
            )
            return Done(done.stdout.decode(), done.returncode)
        return _typed(self.argv(command, home), environment, answers)

    def start(self, key: str, command: str, home: Path, **more: str) -> Done:
        """Start in the background and wait until it says `ready`, or has ended; what it has printed so far."""
        log = self.folder / f"{key.replace('/', '-')}.log"
        with log.open("wb") as out:
            self.running[key] = subprocess.Popen(
                self.argv(f"exec {command}", home),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment(home) | more,
                start_new_session=True,
            )
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            said = log.read_text("utf-8", "replace")
            if any(line == "ready" or '"ready' in line or " ready: " in line for line in said.splitlines()):
                return Done(said, 0)
            if self.running[key].poll() is not None:
                return Done(said, self.running.pop(key).returncode)
            time.sleep(0.1)
        raise AssertionError(f"{command} at {self.name} did not say ready:\n{said}")

    def stop(self, key: str) -> None:
        """End it as a service manager does."""
        process = self.running.pop(key)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def sockets(self, what: str) -> list[list[str]]:
        """Lines of `ss -Hn` with these flags: the fields of each."""
        command = ["ip", "netns", "exec", self.space, "ss", "-Hn", *what.split()]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        return [line.split() for line in text.splitlines()]


def _typed(argv: list[str], environment: dict[str, str], answers: list[tuple[str, str]]) -> Done:
    """With a terminal, at which somebody answers."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=take_terminal
    )
    os.close(theirs)
    said, seen, left, end = b"", 0, list(answers), time.monotonic() + _WAIT
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            said += more
            if left and left[0][0].encode() in said[seen:]:
                time.sleep(0.05)  # getpass throws away what was typed before its question
                seen = len(said)
                os.write(ours, left.pop(0)[1].encode() + b"\n")
        code = process.wait(10) if time.monotonic() < end else -1
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
    return Done(said.decode("utf-8", "replace").replace("\r\n", "\n"), code)


class Machines(ExitStack):
    """All of them, on one switch."""

    def __init__(self, names: dict[str, str], hosts: str) -> None:
        """Args: names: machine -> its address. hosts: the lines of every machine's /etc/hosts."""
        super().__init__()
        self._names, self._hosts = names, hosts
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Machines:
        super().__enter__()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def _make(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="datatrust-guide-"))
        self.base.chmod(0o755)
        self.callback(shutil.rmtree, self.base, ignore_errors=True)
        if not HOMES.exists():  # a place to mount on
            HOMES.mkdir(parents=True)
            self.callback(HOMES.rmdir)
        prefix = f"dt{os.getpid()}"
        switch = self._space(f"{prefix}-switch")
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for number, (name, address) in enumerate(self._names.items()):
            space = self._space(f"{prefix}-{name}")
            port = f"port{number}"
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", switch, "link", "set", port, "master", "switch", "up")
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", space, "link", "set", link, "up")
            folder = self.base / name
            (folder / "state").mkdir(parents=True)
            folder.chmod(0o755)
            self.machines[name] = Machine(name, space, address, folder)
            self.callback(_end, self.machines[name])

    def _space(self, name: str) -> str:
        _ip("netns", "add", name)
        self.callback(_delete, name)
        own = Path("/etc/netns") / name
        own.mkdir(parents=True)
        self.callback(shutil.rmtree, own, ignore_errors=True)
        (own / "hosts").write_text(f"127.0.0.1 localhost\n{self._hosts}")
        (own / "resolv.conf").write_text("")
        return name

    def database(self, name: str) -> str:
        """Start a PostgreSQL server in the namespace; the address of its database `records`, by its socket."""
        machine, programs = self.machines[name], _programs()
        folder = machine.folder / "postgresql"
        folder.mkdir()
        shutil.chown(folder, "postgres", "postgres")
        data = str(folder / "data")
        enter = ["ip", "netns", "exec", machine.space, "runuser", "-u", "postgres", "--"]

        def call(*command: str) -> None:
            done = subprocess.run([*enter, *command], check=False, capture_output=True, cwd=folder, timeout=60)
            assert done.returncode == 0, done.stderr.decode()

        init = ("-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8")
        call(str(programs / "initdb"), "-D", data, *init)
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = str(programs / "pg_ctl")
        call(control, "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
        self.callback(call, control, "-D", data, "-m", "immediate", "-w", "stop")
        call(str(programs / "createdb"), "-h", str(folder), "-U", "postgres", "records")
        machine.database = folder
        return f"postgresql://postgres@/records?host={folder}"


def _end(machine: Machine) -> None:
    """Whatever is still running there that we started."""
    for key in list(machine.running):
        with suppress(ProcessLookupError, PermissionError):
            machine.stop(key)


def _delete(space: str) -> None:
    subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        pytest.fail(f"ip {' '.join(words)}: {done.stderr}")
