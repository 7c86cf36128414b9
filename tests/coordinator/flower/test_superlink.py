"""The gate before the SuperLink: what passes, and that nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata
from flwr.proto.node_pb2 import Node

from coordinator.flower.superlink import FLEET, LONGEST_BYTES, Gate, main

SECRET = b"a secret of the coordinator"
BEARER = (b"authorization", b"Bearer " + SECRET)
PUSH = "/v1/fleet/push-messages"


def ask(
    path: str,
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    client: tuple[str, int] | None = ("192.0.2.7", 5000),
    body: bytes = b"",
    secret: bytes = SECRET,
    kind: str = "http",
) -> tuple[int, bytes]:
    """Status (0 where there is none) and, of a request that passed, the body that the app behind has read."""
    seen: list[bytes] = []
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    scope = {"type": kind, "path": path, "headers": list(headers), "method": method, "client": client}
    asyncio.run(Gate(app, secret)(scope, receive, send))
    status = next((event["status"] for event in sent if event["type"] == "http.response.start"), 0)
    return status, seen[0] if seen else b""


def push(source: int, node: int, messages: int = 1) -> bytes:
    listed = [Message(metadata=Metadata(src_node_id=source))] * messages
    return PushMessagesRequest(node=Node(node_id=node), messages_list=listed).SerializeToString()


@pytest.mark.parametrize("path", sorted(FLEET - {PUSH}))
def test_what_a_node_needs_passes(path: str) -> None:
    assert ask(path, body=b"x") == (200, b"x")


def test_there_are_eight_such_paths() -> None:
    assert len(FLEET) == 8


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/get-run",
        "/v1/fleet/get-fab",
        "/v1/fleet/",
        "/v1/fleet/pull-messages/",
        "/V1/fleet/pull-messages",
        "//v1/fleet/pull-messages",
        "/v1/control",
        "/docs",
        "/openapi.json",
        "/",
        "",
    ],
)
def test_everything_else_is_not_there_with_or_without_the_secret(path: str) -> None:
    assert ask(path)[0] == ask(path, BEARER, client=("127.0.0.1", 1))[0] == 404


def test_a_node_only_posts() -> None:
    assert ask("/v1/fleet/pull-messages", method="GET")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b""),),
        ((b"authorization", b"Bearer "),),
        ((b"authorization", SECRET),),
        ((b"authorization", b"Bearer another"),),
        (BEARER, (b"authorization", b"Bearer another")),
    ],
)
def test_control_is_the_coordinators_alone(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    for call in ("register-node", "list-nodes", "start-run", "stop-run"):
        assert ask(f"/v1/control/{call}", *headers, client=("127.0.0.1", 1))[0] == 404
    assert ask("/v1/control/list-nodes", BEARER)[0] == 200


def test_an_empty_secret_opens_nothing() -> None:
    assert ask("/v1/control/list-nodes", (b"authorization", b"Bearer "), secret=b"")[0] == 404


@pytest.mark.parametrize(
    ("client", "status"),
    [(("127.0.0.1", 1), 200), (("::1", 1), 200), (("192.0.2.7", 1), 404), (("127.0.0.2", 1), 404), (None, 404)],
)
def test_runtime_is_for_this_machine(client: tuple[str, int] | None, status: int) -> None:
    assert ask("/v1/runtime/acquire-task", BEARER, client=client)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (((b"content-length", str(LONGEST_BYTES).encode()),), 200),
        (((b"content-length", str(LONGEST_BYTES + 1).encode()),), 404),
        (((b"content-length", b"-1"),), 404),
        (((b"content-length", b"1e3"),), 404),
        (((b"content-length", b"9" * 5000),), 404),
        (((b"content-length", b"1"), (b"content-length", b"2")), 404),
        (((b"transfer-encoding", b"chunked"),), 404),
    ],
)
def test_a_body_has_a_length_and_a_limit(headers: tuple[tuple[bytes, bytes], ...], status: int) -> None:
    assert ask("/v1/fleet/push-object", *headers)[0] == status
    assert ask("/v1/control/start-run", BEARER, *headers)[0] == status


def test_a_node_answers_for_itself() -> None:
    own = push(7, 7)
    assert ask(PUSH, body=own) == (200, own)


@pytest.mark.parametrize(
    "body",
    [push(8, 7), push(7, 7, messages=2), push(7, 7, messages=0), b"\xff" * 9, bytes(LONGEST_BYTES + 1)],
    ids=["for another", "two at once", "none", "no protobuf", "longer than it says"],
)
def test_no_node_answers_for_another(body: bytes) -> None:
    assert ask(PUSH, body=body)[0] == 404


def test_no_websocket_is_opened() -> None:
    assert ask("/v1/fleet/pull-messages", kind="websocket") == (0, b"")


def test_the_start_of_the_app_behind_passes() -> None:
    assert ask("", kind="lifespan")[0] == 200


def test_secrets_that_others_may_read_are_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "127.0.0.1", "1"]) == 2
    (tmp_path / "control").write_bytes(SECRET)
    (tmp_path / "control").chmod(0o644)
    assert main([str(tmp_path), "127.0.0.1", "1"]) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert main([]) == 2
