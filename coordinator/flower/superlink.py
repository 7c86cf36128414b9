"""Flower's SuperLink behind a gate, in one process: `python -m coordinator.flower.superlink FOLDER HOST PORT`.

Stock 1.42 serves nodes (Fleet), those who start runs (Control) and executors (Runtime) on one port, and Control asks
for nothing: anybody who reaches the port may enrol a key or stop a run.  Here the stock command builds its app, and
what is served is the gate around it:

/v1/fleet/…     the eight paths that a node needs, for anyone: Flower checks the node's key; never a bundle or a run
/v1/control/…   with the coordinator's secret only
/v1/runtime/…   from this machine only; Flower's own secret and token come on top
anything else   404, and so is everything that is refused

FOLDER has server.pem, server.key, ca.pem and the secrets `control` and `executor` (mode 0600).  State is in memory:
what messages held is not left in a file, and nodes are enrolled again after a restart.
"""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import hmac
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.superlink.cli.flower_superlink import flower_superlink
from google.protobuf.message import DecodeError

from trust.errors import DataTrustError
from trust.files import read_secret

__all__ = ["FLEET", "LONGEST_BYTES", "Gate", "main"]

FLEET = frozenset(
    f"/v1/fleet/{call}"
    for call in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)
"""What a node asks for."""
LONGEST_BYTES = 16 * 2**20
"""Bytes of a request; our longest part of a message has 8 MiB."""
_PUSH = "/v1/fleet/push-messages"
_LOOPBACK = ("127.0.0.1", "::1")
_END_SECONDS = 2
"""Seconds from SIGTERM for requests that are under way."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """An ASGI app that lets through to another what the table above allows."""

    def __init__(self, app: App, control: bytes) -> None:
        """Args: control: the coordinator's secret; an empty one opens nothing."""
        self._app, self._authorization = app, b"Bearer " + control if control else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets
            return
        if self.allows(scope):
            if scope["path"] != _PUSH:
                await self._app(scope, receive, send)
                return
            body = await _whole(receive)
            if body is not None and own_reply(body):
                await self._app(scope, _again(body, receive), send)
                return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def allows(self, scope: Scope) -> bool:
        """Whether a request may pass, by what stands before its body."""
        headers = list(scope["headers"])
        path = scope["path"]
        if any(name == b"transfer-encoding" for name, _ in headers) or not _short(headers):
            return False
        if path.startswith("/v1/control/"):
            values = [value for name, value in headers if name == b"authorization"]
            return (
                self._authorization is not None
                and len(values) == 1
                and hmac.compare_digest(values[0], self._authorization)
            )
        if path.startswith("/v1/runtime/"):
            return bool(scope["client"]) and scope["client"][0] in _LOOPBACK
        return path in FLEET and scope["method"] == "POST"


def own_reply(body: bytes) -> bool:
    """Whether a node answers for itself: Flower checks that the request is signed by its node, and not whose the reply
    in it says that it is.
    """
    try:
        request = PushMessagesRequest.FromString(body)
    except DecodeError:
        return False
    messages = request.messages_list
    return len(messages) == 1 and messages[0].metadata.src_node_id == request.node.node_id


def _short(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a body has a length that is said, once, and not too long; a request without one has no body."""
    values = [value for name, value in headers if name == b"content-length"]
    return len(values) < 2 and all(
        value.isdigit() and len(value) < 12 and int(value) <= LONGEST_BYTES for value in values
    )


async def _whole(receive: Receive) -> bytes | None:
    """A request's body; None where it is too long, or its sender has gone."""
    parts: list[bytes] = []
    more_body = True
    while more_body:
        event = await receive()
        if event["type"] != "http.request":
            return None
        parts.append(event.get("body", b""))
        more_body = bool(event.get("more_body", False))
        if sum(map(len, parts)) > LONGEST_BYTES:
            return None
    return b"".join(parts)


def _again(body: bytes, rest: Receive) -> Receive:
    """Give a body that was read to the next reader."""
    first: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        return first.pop() if first else await rest()

    return receive


def main(arguments: Sequence[str]) -> int:
    """Run until it is told to stop; the exit code for what cannot be used is 2."""
    if len(arguments) != 3:
        print("usage: python -m coordinator.flower.superlink FOLDER HOST PORT", file=sys.stderr)
        return 2
    folder, host, port = Path(arguments[0]), arguments[1], arguments[2]
    try:
        control = read_secret(folder / "control")
        for name in ("executor", "server.key"):
            read_secret(folder / name)
    except DataTrustError as wrong:
        print(f"superlink: {wrong}", file=sys.stderr)
        return wrong.exit_code
    os.environ["FLWR_HOME"] = str(folder / "flwr")
    uvicorn.run = partial(_serve, uvicorn.run, control)
    sys.argv = ["flower-superlink", *_options(folder, host, port)]
    flower_superlink()
    return 0


def _serve(run: Callable[..., None], control: bytes, app: App, **options: Any) -> None:
    """In place of `uvicorn.run`: the same app behind the gate; what a proxy says of an address is not believed."""
    uvicorn_options = {
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "timeout_graceful_shutdown": _END_SECONDS,
    }
    run(Gate(app, control), **{**options, **uvicorn_options})


def _options(folder: Path, host: str, port: str) -> list[str]:
    return [
        *("--host", host, "--port", port),
        *("--ssl-certfile", str(folder / "server.pem"), "--ssl-keyfile", str(folder / "server.key")),
        *("--ssl-ca-certfile", str(folder / "ca.pem"), "--enable-supernode-auth"),
        *("--isolation", "process", "--superexec-auth-secret-file", str(folder / "executor")),
        "--disable-runtime-dependency-installation",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
