"""The coordinator's side of Flower: a channel over any Grid, and a Grid in this process for tests and trials.

One of the files that touch Flower, whose internal names are those of flwr 1.42.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import cast

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["FlowerChannel", "InMemoryGrid"]

RECORD, FIELD = "datatrust", "message"
"""Where the bytes are in a Flower message; as at the nodes."""


class FlowerChannel:
    """Messages to partners over a Grid: one bytes field each way."""

    def __init__(self, grid: Grid, nodes: Mapping[str, int]) -> None:
        """Args: nodes: partner -> its node id in the Grid."""
        self._grid, self._nodes = grid, dict(nodes)
        self._names = {node: name for name, node in nodes.items()}

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        """Answers by partner; whoever failed or is silent is absent."""
        outgoing = [
            Message(RecordDict({RECORD: ConfigRecord({FIELD: raw})}), self._nodes[name], "query")
            for name, raw in messages.items()
        ]
        answers = {}
        for reply in self._grid.send_and_receive(outgoing, timeout=deadline):
            name = self._names.get(reply.metadata.src_node_id)
            record = None if reply.has_error() else reply.content.config_records.get(RECORD)
            raw = record.get(FIELD) if record is not None else None
            if name is not None and isinstance(raw, bytes):
                answers[name] = raw
        return answers


class InMemoryGrid(Grid):
    """The same ClientApps as deployed, without a server, a thread or a port."""

    def __init__(self, apps: Mapping[int, ClientApp], run_id: int = 1, *, through_wire: bool = False) -> None:
        """A grid over these apps.

        Args:
            apps: node id -> the node's ClientApp.
            through_wire: send every message through Flower's wire form, so that what does not survive it fails here
                too; our messages are one immutable bytes field, for which it only costs time.
        """
        self._through_wire = through_wire
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
        return message.object_id if self._through_wire else uuid.uuid4().hex

    def _serve(self, sent: Message) -> Message:
        node = sent.metadata.dst_node_id
        message = _through_wire(sent) if self._through_wire else sent
        context = Context(
            run_id=self._run.run_id, node_id=node, node_config={}, state=self._states[node], run_config={}
        )
        try:
            reply = self._apps[node](message=message, context=context)
            self._states[node] = context.state
        except Exception as wrong:
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(wrong).__name__), reply_to=message)
        reply.metadata.__dict__["_message_id"] = self._identity(reply)
        return _through_wire(reply) if self._through_wire and not reply.has_error() else reply


def _through_wire(message: Message) -> Message:
    """As Flower sends it: what does not survive the wire fails here too, and no object is shared."""
    identity = message.metadata.message_id
    parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    copy = cast(Message, inflate_object_from_contents(message.object_id, parts))
    copy.metadata.__dict__["_message_id"] = identity
    return copy
