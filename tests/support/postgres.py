"""A PostgreSQL server of our own for the tests: in a temporary folder, on the loopback, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coordinator.operate.certificates import Authority
from tests.conftest import missing
from trust.times import now


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3].split(".")[0]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        missing("a PostgreSQL server (apt-get install postgresql)")
    return found[-1].parent if found else Path(str(on_path)).parent


def _as_postgres() -> list[str]:
    """PostgreSQL does not run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


class Server:
    """A server that can be killed and started again at the same address; its one user needs no password.

    It offers TLS.

    Attributes:
        url: of its database, `postgresql://…/postgres`.
    """

    def __init__(self) -> None:
        self._programs, self._run = _programs(), _as_postgres()
        self._folder = Path(tempfile.mkdtemp(prefix="datatrust-pg-"))
        if self._run:
            shutil.chown(self._folder, "postgres", "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        self._options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c ssl=on"
        self._call("initdb", "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        self._certify()

    def _certify(self) -> None:
        """A certificate of its own: who does not ask for `sslmode=disable` gets TLS."""
        own = Authority.make(now())
        parts = (
            ("server.crt", own.certificate.public_bytes(Encoding.PEM)),
            ("server.key", own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        )
        for name, content in parts:
            path = self._folder / "data" / name
            path.touch(mode=0o600)
            path.write_bytes(content)
            if self._run:
                shutil.chown(path, "postgres", "postgres")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._run, str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, timeout=60)

    def start(self) -> None:
        """Until it answers."""
        self._call("pg_ctl", "-l", str(self._folder / "log"), "-w", "-o", f"{self._options} -c fsync=off", "start")

    @property
    def running(self) -> bool:
        """Whether it was started, and not killed."""
        return (self._folder / "data" / "postmaster.pid").exists()

    def kill(self) -> None:
        """SIGKILL to the server and all processes that it has started."""
        file = self._folder / "data" / "postmaster.pid"
        first = int(file.read_text().split()[0])
        all_of_it = (first, *children(first))
        for pid in all_of_it:
            os.kill(pid, signal.SIGKILL)
        while any(map(runs, all_of_it)):
            time.sleep(0.01)
        file.unlink()  # a dead process that process 1 does not reap would count as a server that runs

    def close(self) -> None:
        """Stop it, where it runs, and remove what it has written."""
        with suppress(subprocess.CalledProcessError):
            self._call("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)


def runs(pid: int) -> bool:
    """Whether there is such a process, which is not dead and only not reaped."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    """Process ids of whom it has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server's database, `postgresql://…/postgres`; its one user needs no password."""
    with closing(Server()) as server:
        server.start()
        yield server.url


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """One of a module's own."""
    with closing(Server()) as server:
        yield server


@pytest.fixture
def mortal(own_server: Server) -> Server:
    """A server that runs, and that a test may kill."""
    if not own_server.running:
        own_server.start()
    return own_server


def new_schema(url: str) -> str:
    """The address of an empty schema of its own in that database."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {name}".encode())
    return f"{url}?options=-csearch_path%3D{name}"
