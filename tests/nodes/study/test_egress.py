"""The one door of a node: what leaves is recorded before it goes, and nothing else builds a message."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes.study.egress import Egress
from trust.protocol.messages import (
    UP,
    ApprovalMessage,
    CloseMessage,
    ReadyMessage,
    RefusalMessage,
    check_signature,
    pack,
    pack_signed,
    unpack,
)
from trust.secure_sum import Approval, Upload
from trust.signing.envelope import Signer

NODES = Path(__file__).parents[3] / "nodes"
PACKING = {"pack", "pack_signed"}
TRANSPORTS = {
    "socket",
    "http",
    "urllib",
    "requests",
    "httpx",
    "flwr",
    "ssl",
    "smtplib",
    "ftplib",
    "asyncio",
}
IDENTITY = Signer()
UPLOAD = Upload(bytes(32), 3, bytes([1]) * 32, "a", bytes(64), memoryview(b"masked words"))
APPROVAL = Approval("a", bytes(32), bytes(64))
READY = ReadyMessage(name="a", T="00" * 32)
REFUSAL = RefusalMessage(name="a", rule="persons", text="too few", remedy="ask for more")


def imported(source: str) -> set[str]:
    """Every module and name that a file imports, each part of a dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names} | set((node.module or "").split("."))
    return found


def attributes(source: str) -> set[str]:
    """Every name that a file reads of something, as `message.pack`."""
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def others() -> list[Path]:
    return sorted(path for path in NODES.rglob("*.py") if path.name != "egress.py")


def test_egress_is_the_only_file_of_a_node_that_packs_messages() -> None:
    packing = {path.name for path in NODES.rglob("*.py") if imported(path.read_text("utf-8")) & PACKING}
    assert packing == {"egress.py"}
    asking = {path.name for path in NODES.rglob("*.py") if attributes(path.read_text("utf-8")) & PACKING}
    assert asking == {"egress.py"}
    assert len(others()) > 5


def test_no_file_of_a_node_takes_the_whole_module_that_packs() -> None:
    """`import trust.wire` or `from trust import wire` would hide a call of `wire.pack`."""
    for path in others():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name == "trust.protocol.messages" for alias in node.names), path.name
            if isinstance(node, ast.ImportFrom) and node.module == "trust":
                assert not any(alias.name == "wire" for alias in node.names), path.name
            if isinstance(node, ast.Attribute):
                assert node.attr not in PACKING, path.name


def test_the_check_finds_what_it_looks_for() -> None:
    assert imported("from trust.protocol.messages import pack_signed as p") & PACKING
    assert not imported("from trust.protocol.messages import unpack") & PACKING


OPENS = {
    "flower.py": "the SuperLink: what egress has packed",
    "interface.py": "asks the coordinator's interface for public documents, and sends none",
    "enrolment.py": "what interface.py may raise",
    "check_network.py": "whether coordinator and SuperLink are there",
    "health.py": "is asked, on loopback only",
    "systemd.py": "tells the service manager, on a socket of this machine",
    "read_only.py": "quotes a path",
}


def test_only_these_files_of_a_node_open_a_transport() -> None:
    assert {path.name for path in others() if imported(path.read_text("utf-8")) & TRANSPORTS} == set(OPENS)


def test_only_the_flower_file_sends_a_body() -> None:
    sends = {"post", "put", "patch", "send", "request", "sendall", "sendto"}
    called = {
        path.name: {n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)}
        & sends
        for path in others()
        if path.name in OPENS
    }
    assert {name for name, found in called.items() if found} <= {"flower.py", "systemd.py", "health.py"}, called


@pytest.mark.parametrize("message", [READY, REFUSAL], ids=lambda message: message.kind)
def test_a_plain_message_is_signed_by_the_node(message: ReadyMessage | RefusalMessage) -> None:
    raw = Egress(IDENTITY).send(message)
    header, body = unpack(raw, UP)
    assert body == b""
    check_signature(header, body, [IDENTITY.public])


@pytest.mark.parametrize(
    "message",
    [
        UPLOAD,
        ApprovalMessage(name="a", E="00", sig="00"),
        CloseMessage(mandate="0" * 64),
        {"kind": "rows", "name": "a"},
        {"kind": "ready", "name": "a", "T": ""},
    ],
    ids=["upload", "approval", "close", "rows", "a dictionary"],
)
def test_nothing_else_is_a_plain_message(message: Any) -> None:
    egress = Egress(IDENTITY)
    with pytest.raises(AssertionError, match="ready or a refusal"):
        egress.send(message)
    assert egress.sent == []


def test_each_message_is_recorded_with_its_length_and_digest() -> None:
    egress = Egress(IDENTITY)
    approval = egress.send_approval(APPROVAL, "head")
    left = [approval, egress.send(READY), egress.send_upload(UPLOAD)]
    assert [(s.kind, s.r) for s in egress.sent] == [("approval", -1), ("ready", -1), ("upload", 3)]
    assert [s.bytes for s in egress.sent] == [len(raw) for raw in left]
    assert [s.sha256 for s in egress.sent] == [hashlib.sha256(raw).hexdigest() for raw in left]
    assert unpack(left[2], UP)[1] == b"masked words"


def test_what_cannot_be_recorded_does_not_leave() -> None:
    class Full(list[Any]):
        def append(self, entry: Any) -> None:
            raise OSError("no room in the record")

    egress = Egress(IDENTITY, Full())
    sending: list[Callable[[], bytes]] = [lambda: egress.send(READY), lambda: egress.send_upload(UPLOAD)]
    for send in sending:
        with pytest.raises(OSError, match="no room"):
            send()


def test_an_approval_and_an_upload_leave_with_the_fields_of_the_format_and_no_more() -> None:
    egress = Egress(IDENTITY)
    assert set(unpack(egress.send_approval(APPROVAL, "head"), UP)[0]) == {"kind", "v", "name", "E", "head", "sig"}
    assert set(unpack(egress.send_upload(UPLOAD), UP)[0]) == {"kind", "v", "T", "r", "ctx", "name", "sig"}
    assert pack({"kind": "ready"}) != pack_signed({"kind": "ready"}, IDENTITY)
