"""A deployment on loopback: a real SuperLink with TLS behind the gate, a coordinator and four nodes, each a process."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest, StopRunRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, RegisterNodeFleetRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.inflatable.inflatable_utils import push_objects
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

import coordinator.flower.grid
import datatrust as dt
import nodes.serve.flower
from coordinator.flower.grid import FlowerRun
from coordinator.settings import CoordinatorSettings
from datatrust.demo.deployment import DeployedTrust, Processes
from datatrust.demo.hospitals import COHORT, EDGES, Written, write
from datatrust.demo.question import CHARTER, PURPOSE, WOMEN
from datatrust.research.result import StudyHandle
from nodes.serve.flower import FleetNode, SuperLinkAddress
from nodes.settings import NodeSettings
from tests.conftest import missing
from trust.charters.charter import Charter
from trust.dataset.dataset import Dataset
from trust.errors import InvalidInput
from trust.protocol.messages import UP, unpack
from trust.protocol.records import FIELD, RECORD, from_records

pytestmark = pytest.mark.slow

VERSION = RuntimeVersionHttpInterceptor(component_name="test")
DEMO = [sys.executable, "-c", "from datatrust.cli.main import main; main()", "demo", "--engine", "flower"]


@dataclass
class Live:
    folder: Path
    written: Written
    trust: DeployedTrust
    processes: Processes
    clients: list[Any]

    def study(self, cohort: str = COHORT) -> StudyHandle:
        asked = {"ages": dt.Histogram("age", edges=list(EDGES)), "table": dt.Describe(["age"], by=["sex"])}
        return self.trust.study("Ages", purpose=PURPOSE, cohort=cohort, analyses=asked)

    def restart(self, name: str) -> None:
        """A node that was ended; until it is connected."""
        log = self.processes._log(f"node {name}")
        before, end = log.read_text().count("connected"), time.monotonic() + 40
        self.processes._start(f"node {name}", "nodes.serve.loop", str(self.folder), name, self.processes.address)
        while log.read_text().count("connected") == before:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def settings(self) -> CoordinatorSettings:
        return CoordinatorSettings(self.folder)

    def client(self, kind: Any, *interceptors: Any) -> Any:
        authority = self.settings().secrets().authority
        made = kind.from_server_address(self.processes.address, False, authority, interceptors=[VERSION, *interceptors])
        self.clients.append(made)
        return made


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("engine")
    written = write(home / "data")
    trust = DeployedTrust.founded(
        home / "trust", Dataset.load(written.dataset), Charter.load(CHARTER), written.sources()
    )
    with Processes(home / "trust", trust.partners, home / "logs", lambda event: None) as processes:
        yield Live(home / "trust", written, trust, processes, clients := [])
        for client in clients:
            client.close()
        pids = list(processes.pids.values())
    trust.docket.close()
    assert len(pids) == 6
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


# ---- studies


def test_a_study_has_the_answer_of_one_process_and_of_the_pooled_rows(live: Live) -> None:
    result = live.study().run()
    here = dt.local(sources=live.written.sources(), dataset=live.written.dataset, charter=CHARTER)
    asked = {"ages": dt.Histogram("age", edges=list(EDGES)), "table": dt.Describe(["age"], by=["sex"])}
    local = here.study("Ages", purpose=PURPOSE, cohort=COHORT, analyses=asked).run()
    np.testing.assert_array_equal(result["ages"].counts, local["ages"].counts)
    pd.testing.assert_frame_equal(result["table"].to_frame(), local["table"].to_frame(), rtol=1e-12)
    ages = pd.concat(pd.read_csv(path)["age"] for path in live.written.files.values())
    counts, _ = np.histogram(ages[ages >= 40], EDGES)
    for ours, pooled in zip(result["ages"].counts, counts, strict=True):
        assert pd.isna(ours) or ours == pooled
    assert result.provenance["partners"] == list(live.trust.partners)


def test_a_study_of_too_few_is_refused_by_the_partners_nodes(live: Live) -> None:
    with pytest.raises(dt.Refused, match="2 of 4 do") as refused:
        live.study(WOMEN).run()
    assert refused.value.rule == "organisations"


def test_two_studies_at_the_same_time(live: Live) -> None:
    jobs = [live.study().submit() for _ in range(2)]
    for job in jobs:
        live.trust.docket.sign(job.id, live.trust._keys.signed(live.trust.docket.find(job.id).mandate))
    first, second = (job.result() for job in jobs)
    assert list(first["ages"].counts) == list(second["ages"].counts)


def test_the_result_file_is_verified_offline(live: Live) -> None:
    result = live.study().run()
    assert result.verify(live.trust.docket.trust.root).ok


# ---- strangers


def refused(call: Callable[[], object]) -> int:
    with pytest.raises(httpx.HTTPStatusError) as wrong:
        call()
    return wrong.value.response.status_code


def test_a_stranger_can_neither_list_enrol_start_nor_stop(live: Live) -> None:
    stranger, key = live.client(ControlHttpClient), generate_private_key(SECP256R1()).public_key()
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert refused(lambda: stranger.ListNodes(ListNodesRequest())) == 404
    assert refused(lambda: stranger.RegisterNode(RegisterNodeRequest(public_key=public, name="mallory"))) == 404
    assert refused(lambda: stranger.StopRun(StopRunRequest(run_id=1))) == 404
    assert refused(lambda: stranger.StartRun(StartRunRequest())) == 404
    wrong = coordinator.flower.grid.Bearer(b"another")
    assert refused(lambda: live.client(ControlHttpClient, wrong).ListNodes(ListNodesRequest())) == 404


def test_a_key_that_is_not_enrolled_is_not_let_in(live: Live) -> None:
    key = generate_private_key(SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    node = live.client(FleetHttpClient, NodeAuthHttpInterceptor(key, key.public_key()))
    assert refused(lambda: node.RegisterNode(RegisterNodeFleetRequest(public_key=public))) == 404
    assert refused(lambda: node.ActivateNode(ActivateNodeRequest(public_key=public, heartbeat_interval=10))) in (
        401,
        403,
        412,
    )


def test_no_task_without_the_executors_secret(live: Live) -> None:
    request = AcquireTaskRequest(supported_task_types=["flwr-serverapp"])
    assert refused(lambda: live.client(RuntimeHttpClient).AcquireTask(request)) in (401, 403)


def test_no_pages_and_nothing_without_tls(live: Live) -> None:
    authority = live.folder / "coordinator" / "engine" / "ca.pem"
    trusted = ssl.create_default_context(cafile=str(authority))
    for path in ("/docs", "/openapi.json", "/v1/fleet/get-fab"):
        assert httpx.get(f"https://{live.processes.address}{path}", verify=trusted).status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://{live.processes.address}/docs")  # a certificate of nobody that this machine knows
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{live.processes.address}/docs")


# ---- code


class Marking:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.filterwarnings(
    "ignore:GitWildMatchPattern:DeprecationWarning"
)  # of a library, when Flower builds a bundle
def test_no_node_runs_what_it_is_sent(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle with a ClientApp, and pickled bytes in every place that a message has."""
    mark = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\napp = None\n".encode()
    monkeypatch.setattr(coordinator.flower.grid, "_NO_CODE", {**coordinator.flower.grid._NO_CODE, "none.py": code})
    settings = live.settings()
    engine = FlowerRun(live.processes.address, settings.secrets())
    engine.open()
    try:
        nodes = engine.online(settings.nodes())
        assert len(nodes) == 4
        loaded = pickle.dumps(Marking(mark))
        answers = engine.channel(nodes).exchange(dict.fromkeys(nodes, loaded), deadline=20)
        assert {unpack(raw, UP)[0]["rule"] for raw in answers.values()} == {"message-invalid"}
        assert sorted(answers) == sorted(nodes)
        array = Array(dtype="object", shape=(1,), stype="pickle", data=loaded)
        content = RecordDict({RECORD: ConfigRecord({FIELD: loaded}), "arrays": ArrayRecord({"x": array})})
        messages = [Message(content, node, "query") for node in nodes.values()]
        replies = list(engine._grid.send_and_receive(messages, timeout=20))
        assert len(replies) == 4
        for reply in replies:
            raw = from_records(reply.content.config_records)
            assert raw is not None
            assert unpack(raw, UP)[0]["kind"] == "refusal"
    finally:
        engine.close()
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_a_message_whose_content_never_comes_holds_up_no_study(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a study's process is killed between the two; its run counts as alive for a minute."""
    settings = live.settings()
    engine = FlowerRun(live.processes.address, settings.secrets())
    engine.open()
    try:
        there = engine.online(settings.nodes())
        with monkeypatch.context() as patched:
            patched.setattr(coordinator.flower.grid.http_grid, "push_objects", lambda *_, **__: None)
            assert engine.channel(there).exchange(dict.fromkeys(there, b"x" * 1000), deadline=1) == {}
        begun = time.monotonic()
        live.study().run()
        assert time.monotonic() - begun < 30
        answers = engine.channel(there).exchange(dict.fromkeys(there, b"y" * 1000), deadline=20)
        assert sorted(answers) == sorted(there), "the control: in that run, too, nodes answer what is whole"
    finally:
        engine.close()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_an_answer_whose_content_never_comes_is_asked_for_again(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a node is killed between the two."""
    process = live.processes._processes.pop("node west")
    process.terminate()
    process.wait(30)
    settings, west = live.settings(), NodeSettings(live.folder, "west")
    link = SuperLinkAddress(
        live.processes.address, west.authority(), west.connection_key(), west.connection / "node_id"
    )
    node, pushed = FleetNode(link, lambda raw: raw.upper()), list[int]()

    def push(*arguments: Any, **named: Any) -> None:
        pushed.append(1)
        if len(pushed) > 1:
            push_objects(*arguments, **named)

    monkeypatch.setattr(nodes.serve.flower, "push_objects", push)
    thread = threading.Thread(target=node.run, daemon=True)
    thread.start()
    engine = FlowerRun(live.processes.address, settings.secrets())
    engine.open()
    try:
        end, there = time.monotonic() + 30, {}
        while not there and time.monotonic() < end:
            there = engine.online({"west": settings.nodes()["west"]})
        begun = time.monotonic()
        assert engine.channel(there).exchange({"west": b"what?"}, deadline=20) == {"west": b"WHAT?"}
        assert time.monotonic() - begun < 9, "not at half of the time only"
        assert len(pushed) == 2
    finally:
        engine.close()
        node.stop.set()
        thread.join(30)
        live.restart("west")


# ---- a node alone


def test_a_node_reads_only_what_is_shared_and_its_own(live: Live, tmp_path: Path) -> None:
    for name in ("dataset.yaml", "roots/1.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(live.folder / name, tmp_path / name)
    shutil.copytree(live.folder / "charter", tmp_path / "charter")
    for name in ("keys/sign.pem", "keys/seal.pem", "connection/node.pem", "connection/ca.pem", "source.toml"):
        (tmp_path / "nodes" / "west" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(live.folder / "nodes" / "west" / name, tmp_path / "nodes" / "west" / name)
        (tmp_path / "nodes" / "west" / name).chmod(0o600)
    settings = NodeSettings(tmp_path, "west")
    node = settings.node()
    assert node.source.columns["cholesterol"] == "chol"
    assert settings.connection_key().curve.name == "secp256r1"
    node.store.close()
    (tmp_path / "nodes" / "west" / "keys" / "sign.pem").chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        settings.node()


@pytest.mark.parametrize("name", ["east", "../west", "", "west/keys"])
def test_a_name_does_not_lead_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "nodes" / "west" / "keys").mkdir(parents=True)
    with pytest.raises(InvalidInput):
        NodeSettings(tmp_path, name)


def test_a_node_that_was_killed_comes_back(live: Live) -> None:
    os.kill(live.processes.pids["node east"], signal.SIGKILL)
    live.processes._processes.pop("node east").wait()
    live.restart("east")
    assert live.study().run().provenance["partners"] == list(live.trust.partners)


# ---- the command


def test_the_demo_stays_until_ctrl_c_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [*DEMO, "--keep", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line.rstrip())
            if line.startswith("running until Ctrl-C"):
                break
        state = Path(lines[-1].rpartition(" ")[2])
        assert state.is_dir()
        children = [
            pid for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()) if of(pid, state)
        ]
        assert len(children) == 6
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 0, rest
    assert any(line.startswith("node east: ") for line in lines)
    (checked,) = (line.split() for line in lines if line.startswith("checked: "))
    assert checked[1] == checked[3]
    assert int(checked[1]) > 100
    assert not any(alive(pid) for pid in children)
    assert not state.exists()


def of(pid: int, state: Path) -> bool:
    """Whether a process was started for this folder."""
    try:
        return str(state).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    command = [*DEMO, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("started: ")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
    assert demo.returncode == 130


def test_it_runs_without_a_route(tmp_path: Path) -> None:
    """In a network namespace that has loopback alone: no telemetry, no look for updates, no download is waited for."""
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("unshare") or not shutil.which("ip"):
        missing("root, with unshare and ip,")
    quoted = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
    ran = subprocess.run(
        [*quoted, *DEMO, "--json", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert found["checked"][0] == found["checked"][1] > 100
    assert found["refused"] == ["organisations", "no-permit", "floor/persons", "differencing"]
    assert found["mended"]
    assert found["proof"] == {"verified": True, "register": True}
