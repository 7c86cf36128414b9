"""A node's side of Flower: a ClientApp that hands a message's bytes to the node, and the loop that fetches messages.

Nothing of a message is executed: bytes fields of ConfigRecords in and out.  The loop speaks to the Fleet API itself
and asks for neither a run nor its bundle, so that no code comes from the SuperLink.  Files that touch Flower: this,
`coordinator/flower/grid.py` and `coordinator/flower/superlink.py`; the internal names are those of flwr 1.42.
"""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    pull_and_inflate_object_from_tree,
    push_objects,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from nodes.events import Connected, JoiningAgain, MessageLeftOut, NotAdmitted, Tell, ignore
from trust.errors import Fault
from trust.protocol.records import from_records, to_records

__all__ = ["FleetNode", "SuperLinkAddress", "client_app", "flower_content"]

_HEARTBEAT_SECONDS = 10.0
"""Seconds between signs of life: the least that Flower takes; it calls a node dead after two."""
_MOST_OBJECTS = 1024
"""A message may not make the node fetch more."""
_PULL_SECONDS, _PULL_AGAIN_SECONDS, _INCOMPLETE_SECONDS = 3.0, 0.5, 180.0
"""Seconds for which content that is not there yet is waited for: at first; each time later; in all."""
_MOST_ASIDE = 64
"""Messages whose content is waited for."""
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 1.0
"""Seconds between two looks for a message: a tenth of the silence so far, within these."""

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def flower_content(raw: bytes) -> RecordDict:
    """A message's bytes as Flower carries them."""
    return RecordDict({name: ConfigRecord({**fields}) for name, fields in to_records(raw).items()})


def client_app(handle: Callable[[bytes], bytes]) -> ClientApp:
    """The ClientApp of one node; `handle` answers every message, or raises where it is to be sent again."""
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(flower_content(handle(from_records(message.content.config_records))), reply_to=message)

    return app


@dataclass(frozen=True)
class SuperLinkAddress:
    """How a node reaches its SuperLink.

    Attributes:
        address: host:port.
        authority: the certificate, in PEM, that the SuperLink's must be signed by.
        key: whom Flower takes the node for; enrolled at the coordinator.
        id_file: keeps the id that the SuperLink has given, with which a node that was killed is admitted at once.
    """

    address: str
    authority: bytes
    key: EllipticCurvePrivateKey = field(repr=False)
    id_file: Path


@dataclass(frozen=True)
class _Pulled:
    """A message whose content is still to be fetched.  It may be on its way to the SuperLink, or never come, where the
    process that sent it was killed: what others ask is not to wait for it.
    """

    head: ProtoMessage
    tree: ObjectTree
    since: float = field(default_factory=time.monotonic)


class _Unknown(Exception):
    """The SuperLink does not know this node any more: join again."""


class _ShouldStop(Exception):
    """The node was told to stop while it waited for the network."""


class FleetNode:
    """Dials out, fetches messages and answers each with the locally installed ClientApp.

    Attributes:
        stop: set it, and `run` returns.
    """

    def __init__(
        self,
        link: SuperLinkAddress,
        handle: Callable[[bytes], bytes],
        *,
        tell: Tell = ignore,
    ) -> None:
        self._link, self._app, self._tell = link, client_app(handle), tell
        public = link.key.public_key()
        self._public = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._client = FleetHttpClient.from_server_address(
            link.address,
            False,
            link.authority,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(link.key, public),
            ],
        )
        self.stop = threading.Event()

    def run(self) -> None:
        """Join, serve, and join again where the SuperLink has forgotten this node; until `stop`.

        Raises: Fault where the SuperLink's certificate is not signed by the authority.
        """
        while not self.stop.is_set():
            leaving = threading.Event()
            try:
                node = self._join()
                self._tell(Connected())
                threading.Thread(target=self._beats, args=(node, leaving), daemon=True).start()
                self._serve(node)
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))
            except _Unknown:
                self._tell(JoiningAgain())
                self._forget_id()
            except (_ShouldStop, httpx.HTTPError):
                pass
            finally:
                leaving.set()
        self._client.close()

    def _call(self, function: Callable[[Asked], Answered], request: Asked) -> Answered:
        """The network and a SuperLink that starts again are waited for; a refusal is not."""
        wait = 0.1
        while not self.stop.is_set():
            try:
                return function(request)
            except httpx.HTTPStatusError as wrong:
                if wrong.response.status_code == 401:
                    raise _Unknown from wrong
                if wrong.response.status_code not in (502, 503, 504):
                    raise
            except httpx.TransportError as wrong:
                if "certificate" in str(wrong).lower():
                    why = "has expired" if "expired" in str(wrong) else "is not the trust's"
                    raise Fault(f"the SuperLink's certificate {why}", remedy="ask the coordinator") from None
            self.stop.wait(wait)
            wait = min(2 * wait, 5.0)
        raise _ShouldStop

    def _join(self) -> Node:
        """After a kill the node still counts as online, and a second activation is refused; a sign of life is not."""
        while not self.stop.is_set():
            node_id = self._kept_id()
            if node_id and self._beat(node := Node(node_id=node_id)):
                return node
            try:
                request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=_HEARTBEAT_SECONDS)
                node = Node(node_id=self._call(self._client.ActivateNode, request).node_id)
                self._keep_id(node)
                return node
            except (httpx.HTTPStatusError, _Unknown):
                self._tell(NotAdmitted())
                self.stop.wait(1.0)
        raise _ShouldStop

    def _keep_id(self, node: Node) -> None:
        """Where it cannot be written, a node that was killed only waits until it counts as gone."""
        with suppress(OSError):
            self._link.id_file.write_text(f"{node.node_id}\n", "ascii")

    def _forget_id(self) -> None:
        with suppress(OSError):
            self._link.id_file.unlink(missing_ok=True)

    def _kept_id(self) -> int:
        """The id of last time, 0 where there is none."""
        try:
            return int(self._link.id_file.read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def _beat(self, node: Node) -> bool:
        try:
            return bool(
                self._client.SendNodeHeartbeat(
                    SendNodeHeartbeatRequest(node=node, heartbeat_interval=_HEARTBEAT_SECONDS)
                ).success
            )
        except httpx.HTTPError:
            return False

    def _beats(self, node: Node, leaving: threading.Event) -> None:
        while not leaving.wait(_HEARTBEAT_SECONDS * 0.8):
            self._beat(node)

    def _serve(self, node: Node) -> None:
        last, aside = time.monotonic(), deque[_Pulled]()
        while not self.stop.is_set():
            reply = self._call(self._client.PullMessages, PullMessagesRequest(node=node))
            if reply.messages_list:
                pulled, wait = _Pulled(reply.messages_list[0], reply.message_object_trees[0]), _PULL_SECONDS
            elif aside:
                pulled, wait = aside.popleft(), _PULL_AGAIN_SECONDS
            else:
                self.stop.wait(min(max(_POLL_SECONDS, (time.monotonic() - last) / 10), _LONGEST_POLL_SECONDS))
                continue
            started_at = time.monotonic()
            try:
                self._answer(node, message_from_proto(pulled.head), pulled.tree, wait)
            except ObjectPullError:  # at once where the SuperLink does not have it any more
                waited, seconds_known = time.monotonic() - started_at, time.monotonic() - pulled.since
                if waited >= wait and seconds_known < _INCOMPLETE_SECONDS and len(aside) < _MOST_ASIDE:
                    aside.append(pulled)
                else:
                    self._tell(MessageLeftOut("incomplete"))
            except (ObjectPushError, httpx.HTTPStatusError, ValueError, TypeError) as wrong:
                self._tell(MessageLeftOut(type(wrong).__name__))  # malformed, or its run has ended
            last = time.monotonic()

    def _answer(self, node: Node, head: Message, tree: ObjectTree, wait: float) -> None:
        run = head.metadata.run_id
        if head.metadata.src_node_id != SUPERLINK_NODE_ID or _count(tree) > _MOST_OBJECTS:
            raise ValueError("not a coordinator's message, or too many objects")
        pull = make_pull_object_fn_protobuf(
            lambda pulled_request: self._call(self._client.PullObject, pulled_request), node, run
        )
        confirm = make_confirm_message_received_fn_protobuf(
            lambda pulled_request: self._call(self._client.ConfirmMessageReceived, pulled_request), node, run
        )
        message = pull_and_inflate_object_from_tree(
            tree, pull, confirm, return_type=Message, initial_backoff=0.01, backoff_cap=0.25, max_time=wait
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        started_at = time.monotonic()
        context = Context(run_id=run, node_id=node.node_id, node_config={}, state=RecordDict(), run_config={})
        try:
            reply = self._app(message=message, context=context)
        except Exception as wrong:  # its class only: the text may hold data
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(wrong).__name__), reply_to=message)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            request = PushMessagesRequest(
                node=node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[get_object_tree(reply)],
                clientapp_runtime_list=[time.monotonic() - started_at],
            )
            push_reply = self._call(self._client.PushMessages, request)
            push = make_push_object_fn_protobuf(
                lambda pulled_request: self._call(self._client.PushObject, pulled_request),
                node,
                run,
                push_reply.session_id,
            )
            push_objects(get_all_nested_objects(reply), push, object_ids_to_push=set(push_reply.objects_to_push))


def _count(tree: ObjectTree) -> int:
    return 1 + sum(_count(child) for child in tree.children)
