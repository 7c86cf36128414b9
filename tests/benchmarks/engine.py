"""A round over a SuperLink: our node loop and our polling against Flower's own pair, on the same SuperLink.

Three nodes each, 1 KB from each.  The stock pair installs and runs a bundle, which takes most of a minute.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.app import Message

import coordinator.flower.grid
from coordinator.flower.grid import FlowerRun, Secrets, flower_content
from coordinator.operate.certificates import certify
from datatrust.demo.deployment import free_port
from nodes.serve.flower import FleetNode, SuperLinkAddress
from tests.benchmarks.study import line
from trust.files import read_secret
from trust.signing.read import read_curve

NODES = ("a", "b", "c")
_BIN = Path(sys.executable).parent
_TLS = {"certfile": "server.pem", "keyfile": "server.key", "ca-certfile": "ca.pem"}
_APP = b"""from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()

@app.query()
def query(message, context):
    return Message(RecordDict({"datatrust": ConfigRecord({"message": bytes(1000)})}), reply_to=message)
"""


def engine(*, full: bool) -> Iterator[str]:
    """Median of the rounds, after one to warm up."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in NODES:
            (folder / "nodes" / name).mkdir(parents=True)
        certify(folder, NODES)
        running: list[subprocess.Popen[bytes]] = []
        try:
            address = _superlink(folder, running)
            ours = _ours(folder, address, running)
            stock = _stock(folder, address, running)
        finally:
            for process in reversed(running):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(8)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    name = "a round over a SuperLink / stock SuperNode and ServerApp"
    yield line(name, f"{1e3 * ours:.0f} ms", f"{stock:.2f} s", f"{stock / ours:.0f} x")


def _run(folder: Path, running: list[subprocess.Popen[bytes]], *command: str) -> None:
    log = (folder / f"{len(running)}.log").open("wb")
    environment = {**os.environ, "FLWR_HOME": str(folder / f"home{len(running)}"), "FLWR_TELEMETRY_ENABLED": "0"}
    environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    running.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True))
    log.close()


def _superlink(folder: Path, running: list[subprocess.Popen[bytes]]) -> str:
    """Flower's own command with TLS and authentication: without our gate, which gives no bundle to a stock node."""
    port, files = free_port(9643), folder / "coordinator" / "engine"
    tls = [f"--ssl-{name}={files / file}" for name, file in _TLS.items()]
    options = ["--enable-supernode-auth", "--isolation=process", f"--superexec-auth-secret-file={files / 'executor'}"]
    _run(folder, running, str(_BIN / "flower-superlink"), "--host=127.0.0.1", f"--port={port}", *tls, *options)
    return f"127.0.0.1:{port}"


def _engine(folder: Path, address: str) -> FlowerRun:
    files = folder / "coordinator" / "engine"
    return FlowerRun(
        address,
        Secrets((files / "ca.pem").read_bytes(), read_secret(files / "control"), read_secret(files / "executor")),
    )


def _rounds(run: FlowerRun, nodes: dict[str, int], times: int, *, stock: bool) -> float:
    seconds = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        if stock:  # Flower's own polling, which the class between ours and the Grid replaces
            messages = [Message(flower_content(b"x"), node, "query") for node in nodes.values()]
            replies = list(super(type(run._grid), run._grid).send_and_receive(messages, timeout=120))
            answered = sum(not reply.has_error() for reply in replies)
        else:
            answered = len(run.channel(nodes).exchange(dict.fromkeys(nodes, b"x"), deadline=60))
        if answered != len(nodes):
            raise RuntimeError(f"{answered} of {len(nodes)} nodes answered")
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def _connected(run: FlowerRun, partners: dict[str, bytes]) -> dict[str, int]:
    run.enrol(partners)
    end = time.monotonic() + 60
    while len(found := run.online(partners)) < len(partners):
        if time.monotonic() > end:
            raise RuntimeError("not all nodes are connected")
        time.sleep(0.1)
    return found


def _keys(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "coordinator" / "engine" / "nodes" / f"{name}.pem").read_bytes() for name in NODES}


def _ours(folder: Path, address: str, running: list[subprocess.Popen[bytes]]) -> float:
    run = _engine(folder, address)
    for name in NODES:
        _run(folder, running, sys.executable, "-m", "tests.benchmarks.engine", str(folder), name, address)
    try:
        nodes = _connected(run, _keys(folder))
        run.open()
        return _rounds(run, nodes, 15, stock=False)
    finally:
        run.close()
        for process in running[1:]:
            process.terminate()
            process.wait(20)


def _stock(folder: Path, address: str, running: list[subprocess.Popen[bytes]]) -> float:
    """Flower's node, which fetches the bundle and runs it, and its own way of waiting."""
    own = folder / "stock"
    for name in NODES:
        (own / "nodes" / name).mkdir(parents=True)
    certify(own, NODES)
    authority = folder / "coordinator" / "engine" / "ca.pem"
    run = _engine(folder, address)
    run.enrol({f"stock-{name}": key for name, key in _keys(own).items()})
    for at, name in enumerate(NODES):
        pem = read_curve(own / "nodes" / name / "connection" / "node.pem")
        key = own / f"{name}.key"  # a stock node reads OpenSSH's form alone
        key.write_bytes(pem.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        options = [f"--superlink={address}", f"--root-certificates={authority}", f"--port={free_port(9843 + 10 * at)}"]
        _run(folder, running, str(_BIN / "flower-supernode"), *options, f"--auth-supernode-private-key={key}")
    bundle = {**coordinator.flower.grid._NO_CODE, "none.py": _APP}
    try:
        nodes = _connected(run, _keys(own))
        with mock.patch.object(coordinator.flower.grid, "_NO_CODE", bundle):
            run.open()
        return _rounds(run, nodes, 3, stock=True)
    finally:
        run.close()


def _node(folder: Path, name: str, address: str) -> None:
    """Our loop, with an answer of 1 KB."""
    files = folder / "nodes" / name / "connection"
    link = SuperLinkAddress(address, (files / "ca.pem").read_bytes(), read_curve(files / "node.pem"), files / "node_id")
    node = FleetNode(link, lambda raw: bytes(1000))
    signal.signal(signal.SIGTERM, lambda *_: node.stop.set())
    node.run()


if __name__ == "__main__":
    _node(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
