"""The coordinator's side of Flower: a channel over any Grid; a Grid in this process; and one run on a SuperLink.

One of the files that touch Flower, whose internal names are those of flwr 1.42.  On a SuperLink the coordinator is the
executor of its own ServerApp task: its run has an empty bundle, and no code travels.
"""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import httpx
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode, SubStatus
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest, UnregisterNodeRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.serverapp import Grid
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    pull_objects,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import http_grid

from coordinator.flower.calls import RETRY_SECONDS, Bearer, Retry, of_certificate
from trust.errors import Fault
from trust.protocol.records import from_records, to_records

__all__ = ["FlowerChannel", "FlowerRun", "InMemoryGrid", "Secrets"]


def flower_content(raw: bytes) -> RecordDict:
    """A message's bytes as Flower carries them; as at the nodes."""
    return RecordDict({name: ConfigRecord({**fields}) for name, fields in to_records(raw).items()})


class FlowerChannel:
    """Messages to partners over a Grid: one bytes field each way."""

    def __init__(self, grid: Grid, nodes: Mapping[str, int]) -> None:
        """Args: nodes: partner -> its node id in the Grid."""
        self._grid, self._nodes = grid, dict(nodes)
        self._names = {node: name for name, node in nodes.items()}

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        """Answers by partner; a partner that failed or is silent is absent."""
        outgoing = [
            Message(flower_content(raw), self._nodes[name], "query")
            for name, raw in messages.items()
            if name in self._nodes
        ]
        answers = {}
        for reply in self._grid.send_and_receive(outgoing, timeout=deadline):
            name = self._names.get(reply.metadata.src_node_id)
            raw = b"" if reply.has_error() else from_records(reply.content.config_records)
            if name is not None and raw:
                answers[name] = raw
        return answers


class InMemoryGrid(Grid):
    """The same ClientApps as deployed, without a server, a thread or a port."""

    def __init__(self, apps: Mapping[int, ClientApp], run_id: int = 1) -> None:
        """Args: apps: node id -> the node's ClientApp."""
        self._apps = dict(apps)
        self._states = {node: RecordDict() for node in apps}
        self._replies: dict[str, Message] = {}
        self.set_run(Run.create_empty(run_id))

    def set_run(self, run: Run) -> None:
        """Flower keeps the identity that `Message` reads for the whole process: one run at a time in it."""
        self._run = run
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run.run_id, 1, SUPERLINK_NODE_ID

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All node ids."""
        return list(self._apps)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All nodes."""
        return [NodeInfo(node_id=node, status="online") for node in self._apps]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer each message at once; ids to pull the replies with."""
        ids = []
        for message in messages:
            identity = self._identity(message)
            message.metadata.__dict__["_message_id"] = identity
            self._replies[identity] = self._serve(message)
            ids.append(identity)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there; each is given once."""
        return [self._replies.pop(identity) for identity in list(message_ids) if identity in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then pull."""
        return self.pull_messages(self.push_messages(list(messages)))

    def _identity(self, message: Message) -> str:
        """A message's id: on the wire the hash of its content, here any id that is new."""
        return uuid.uuid4().hex

    def _serve(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        context = Context(
            run_id=self._run.run_id, node_id=node, node_config={}, state=self._states[node], run_config={}
        )
        try:
            reply = self._apps[node](message=message, context=context)
            self._states[node] = context.state
        except Exception as wrong:
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(wrong).__name__), reply_to=message)
        reply.metadata.__dict__["_message_id"] = self._identity(reply)
        return reply


# ---- on a SuperLink

_POLL_SECONDS, _LONGEST_POLL_SECONDS, _PULL_SECONDS = 0.02, 1.0, 5.0
"""Seconds between two looks for answers: a twentieth of the wait so far, within these; for content of one announced."""
_HEARTBEAT_SECONDS = 15.0
"""Seconds between signs of life; without one for 60 s the SuperLink ends the run."""
_NO_CODE = {
    "pyproject.toml": b"""[project]\nname = "datatrust"\nversion = "1.0.0"\ndescription = ""\nlicense = "Apache-2.0"
dependencies = []\n[tool.flwr.app]\npublisher = "datatrust"
[tool.flwr.app.components]\nserverapp = "none:app"\nclientapp = "none:app"\n""",
    "none.py": b"app = None\n",
    "README.md": b"No code travels.\n",
}
"""The bundle that a run must have; nobody asks for it."""


@dataclass(frozen=True)
class Secrets:
    """`control` opens our gate, `executor` Flower's check; `authority` (PEM) has signed the SuperLink's certificate."""

    authority: bytes
    control: bytes = field(repr=False)
    executor: bytes = field(repr=False)


class _RunGrid(http_grid.HttpGrid):
    """Flower's Grid over HTTP with a polling of our own, which any number of threads may share.

    What is lost on the way is sent once more at half of the time, and at once where an answer was announced and its
    content did not come, as of a node that was killed in between; a node gives the same bytes the same answer.
    """

    def __init__(self, address: str, authority: bytes, token: str) -> None:
        # its first wait for an object that is still on its way up is a whole second, its last one five minutes long
        vars(http_grid)["pull_objects"] = partial(
            pull_objects, initial_backoff=0.01, backoff_cap=0.25, max_time=_PULL_SECONDS
        )
        super().__init__(address, False, authority, token=token)
        self._retry_invoker = cast(Any, Retry())
        self._lock = threading.Lock()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The answers that came within `timeout` seconds; a node that is away answers nothing.

        Raises: Fault where the SuperLink is away, or does not know this run any more.
        """
        with _answering("does not carry messages"):
            return self._exchange(messages, timeout)

    def _exchange(self, messages: Iterable[Message], timeout: float | None) -> list[Message]:
        waiting = {message.metadata.dst_node_id: message for message in messages}
        started_at, limit = time.monotonic(), 60.0 if timeout is None else timeout
        ids, replies, twice = self._send(waiting.values()), list[Message](), set[int]()
        while waiting and (waited := time.monotonic() - started_at) < limit:
            lost = set(waiting) if waited > limit / 2 else set[int]()
            for reply in self._receive(ids):
                node = ids.pop(reply.metadata.reply_to_message_id, None)
                if node is None or node not in waiting:
                    continue
                if reply.has_error():
                    lost |= {node} if reply.error.code == ErrorCode.MESSAGE_UNAVAILABLE else set()
                elif reply.metadata.src_node_id == node:
                    replies.append(reply)
                    del waiting[node]
            if not waiting:
                break
            lost = (lost & waiting.keys()) - twice
            ids |= self._send(Message(waiting[node].content, node, "query") for node in lost)
            twice |= lost
            time.sleep(min(max(_POLL_SECONDS, waited / 20), _LONGEST_POLL_SECONDS))
        return replies

    def _send(self, messages: Iterable[Message]) -> dict[str, int]:
        """Message id -> node, for what the SuperLink took."""
        sent = list(messages)
        if not sent:
            return {}
        with self._lock:
            ids = list(self.push_messages(sent))
        return {id_: m.metadata.dst_node_id for id_, m in zip(ids, sent, strict=False) if id_}

    def _receive(self, ids: Mapping[str, int]) -> list[Message]:
        """An id is asked for until it is answered: afterwards it only gives errors."""
        with self._lock:
            return list(self.pull_messages(list(ids))) if ids else []


class FlowerRun:
    """A coordinator's run on a SuperLink, for as many studies as there are; `gone` is set when the run is over."""

    def __init__(self, address: str, secrets: Secrets, stop: threading.Event | None = None) -> None:
        """Args: stop: once it is set, a SuperLink that is away is not waited for."""
        self._address, self._secrets = address, secrets
        self._retry = Retry(stop)
        version = RuntimeVersionHttpInterceptor
        acquire = frozenset({"/flwr.proto.Runtime/AcquireTask"})
        self._control = ControlHttpClient.from_server_address(
            address,
            False,
            secrets.authority,
            interceptors=[version(component_name="flwr-cli"), Bearer(secrets.control)],
        )
        self._executor = RuntimeHttpClient.from_server_address(
            address,
            False,
            secrets.authority,
            interceptors=[
                version(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=secrets.executor, protected_methods=acquire),
            ],
        )
        self.gone = threading.Event()
        self._grid: _RunGrid | None = None
        self._enrolled: set[bytes] = set()

    def enrol(self, partners: Mapping[str, bytes]) -> None:
        """Let nodes in: partner -> public key in PEM (SubjectPublicKeyInfo, P-256 or P-384); former partners
        go.  Raises: Fault.
        """
        with _answering("cannot enrol the partners' nodes"):
            node_ids = {bytes(node.public_key): node.node_id for node in self._nodes() if node.status != "unregistered"}
            for key in self._enrolled - set(partners.values()):
                if key in node_ids:
                    self._ask(self._control.UnregisterNode, UnregisterNodeRequest(node_id=node_ids[key]))
            for name, key in partners.items():
                if key not in node_ids:
                    self._ask(self._control.RegisterNode, RegisterNodeRequest(public_key=key, name=name))
            self._enrolled = set(partners.values())

    def online(self, partners: Mapping[str, bytes]) -> dict[str, int]:
        """Those of these partners whose nodes are connected, and their ids there.  Raises: Fault."""
        with _answering("cannot list the nodes"):
            ids = {bytes(node.public_key): node.node_id for node in self._nodes() if node.status == "online"}
        return {name: ids[key] for name, key in partners.items() if key in ids}

    def open(self) -> None:
        """Start the run, take its task, and show signs of life from here on.  Raises: Fault."""
        bundle, _ = build_fab_from_files(dict(_NO_CODE))
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        with _answering("does not start a run"):
            run = self._ask(self._control.StartRun, StartRunRequest(fab=fab_to_proto(fab))).run_id
            token, task = self._task(run)
            grid = _RunGrid(self._address, self._secrets.authority, token)
            grid.set_run(Run.create_empty(run))
            TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run, task, SUPERLINK_NODE_ID
            grid._runtime_client.PullTaskInput(PullTaskInputRequest())  # once only: the run begins with it
        if self._grid is not None:
            self._grid.close()
        self.gone.set()  # the last run's signs of life end
        self._grid, self.gone = grid, threading.Event()
        threading.Thread(target=self._beats, args=(grid, self.gone), daemon=True).start()

    def channel(self, nodes: Mapping[str, int]) -> FlowerChannel:
        """Messages to these nodes, for one study; each thread has its own."""
        if self._grid is None:
            raise Fault("no run is open at the SuperLink", remedy="wait until there is one")
        return FlowerChannel(self._grid, nodes)

    def close(self) -> None:
        """End the run; a SuperLink that does not answer ends it by itself."""
        self.gone.set()
        with suppress(httpx.HTTPError):
            if self._grid is not None:
                output = PushTaskOutputRequest(sub_status=SubStatus.COMPLETED, details="")
                self._grid._runtime_client.PushTaskOutput(output)
        for client in (self._grid, self._control, self._executor):
            if client is not None:
                client.close()

    def _task(self, run: int) -> tuple[str, int]:
        """The task of our own run: its token and its id."""
        end = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < end:
            reply = self._ask(
                self._executor.AcquireTask, AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
            )
            if reply.HasField("task") and reply.token and reply.task.run_id == run:
                return reply.token, reply.task.task_id
            time.sleep(_POLL_SECONDS)
        raise Fault("the SuperLink does not give out the run's task", remedy="see its log")

    def _ask(self, function: Callable[[Any], Any], request: Any) -> Any:
        return self._retry.invoke(function, request)

    def _nodes(self) -> list[NodeInfo]:
        return list(self._ask(self._control.ListNodes, ListNodesRequest()).nodes_info)

    def _beats(self, grid: _RunGrid, gone: threading.Event) -> None:
        while not gone.wait(_HEARTBEAT_SECONDS):
            try:
                if not grid._runtime_client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success:
                    gone.set()
            except httpx.HTTPStatusError:  # the run is over, or forgotten
                gone.set()
            except httpx.HTTPError:
                pass


@contextmanager
def _answering(action: str) -> Iterator[None]:
    """Raises: Fault in place of what the network says."""
    try:
        yield
    except (ObjectPullError, ObjectPushError) as wrong:
        raise Fault(f"the SuperLink {action} ({type(wrong).__name__})") from None
    except httpx.HTTPStatusError as wrong:
        raise Fault(f"the SuperLink {action} (status {wrong.response.status_code})") from None
    except httpx.HTTPError as wrong:
        if of_certificate(wrong):
            why = "has expired" if "expired" in str(wrong) else "is not of this coordinator's authority"
            text = f"the SuperLink {action}: its certificate {why}"
            raise Fault(text, remedy="datatrust coordinator certify, and start it again") from None
        raise Fault(f"the SuperLink {action} ({type(wrong).__name__})", remedy="see whether it runs") from None
