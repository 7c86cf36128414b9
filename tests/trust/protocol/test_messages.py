"""The eight messages: the bytes of each on the wire, and what is not one."""

from __future__ import annotations

from typing import Any

import pytest

from trust.errors import MessageInvalid
from trust.protocol.messages import (
    DOWN,
    UP,
    ApprovalMessage,
    AskMessage,
    CloseMessage,
    MandateMessage,
    Message,
    RawMessage,
    ReadyMessage,
    RefusalMessage,
    StartMessage,
    pack,
    unpack,
)
from trust.secure_sum import Approval, Upload
from trust.signing.envelope import Envelope

ENVELOPE = Envelope(payload="e30=", payloadType="application/vnd.datatrust.study+json", signatures=())
E = '{"payload":"e30=","payloadType":"application/vnd.datatrust.study+json","signatures":[]}'
M = "ab" * 32
APPROVAL = Approval("a", bytes(32), bytes(64))
UPLOAD = Upload(bytes(32), 3, bytes([1]) * 32, "a", bytes(64), memoryview(b"masked words"))
A = f'"E":"{"00" * 32}",%s"name":"a","sig":"{"00" * 64}"'

WIRE: list[tuple[Message, str]] = [
    (MandateMessage(mandate=ENVELOPE, study=ENVELOPE), f'{{"kind":"mandate","mandate":{E},"study":{E},"v":1}}'),
    (
        MandateMessage(mandate=ENVELOPE, study=ENVELOPE, head="h", roots=(ENVELOPE,), revocations=(ENVELOPE,)),
        f'{{"head":"h","kind":"mandate","mandate":{E},"revocations":[{E}],"roots":[{E}],"study":{E},"v":1}}',
    ),
    (
        StartMessage(mandate=M, approvals=(APPROVAL,)),
        f'{{"approvals":[{{{A % ""}}}],"kind":"start","mandate":"{M}","v":1}}',
    ),
    (
        AskMessage(mandate=M, r=0, asks={"t": "counts"}, partners=("a", "b")),
        f'{{"asks":{{"t":"counts"}},"kind":"ask","mandate":"{M}","partners":["a","b"],"r":0,"v":1}}',
    ),
    (
        AskMessage(mandate=M, r=1, asks={"t": "counts"}, partners=("a", "b"), record={"r": 0}, to="a"),
        f'{{"asks":{{"t":"counts"}},"kind":"ask","mandate":"{M}","partners":["a","b"],"r":1,"record":{{"r":0}},'
        '"to":"a","v":1}',
    ),
    (CloseMessage(mandate=M), f'{{"kind":"close","mandate":"{M}","v":1}}'),
    (
        ApprovalMessage(name="a", E="00" * 32, sig="00" * 64, head="h"),
        "{" + A % '"head":"h","kind":"approval",' + ',"v":1}',
    ),
    (ReadyMessage(name="a", T=M), f'{{"T":"{M}","kind":"ready","name":"a","v":1}}'),
    (ReadyMessage(name="a", T="", head="h"), '{"T":"","head":"h","kind":"ready","name":"a","v":1}'),
    (
        RefusalMessage(name="a", rule="persons", text="too few", remedy=""),
        '{"kind":"refusal","name":"a","remedy":"","rule":"persons","text":"too few","v":1}',
    ),
]


def framed(header: str, body: bytes = b"") -> bytes:
    raw = header.encode("ascii")
    return len(raw).to_bytes(4, "big") + raw + body


@pytest.mark.parametrize(("message", "header"), WIRE, ids=lambda value: getattr(value, "kind", ""))
def test_each_message_has_these_bytes_and_is_read_back(message: Message, header: str) -> None:
    body = b"values" if message.has_body else b""
    raw = message.pack(body)
    assert raw == framed(header, body)
    received = unpack(raw, DOWN | UP)
    assert (received.kind, received.body) == (message.kind, body)
    assert received.read(type(message)) == message


def test_an_upload_has_these_bytes() -> None:
    header = f'{{"T":"{"00" * 32}","ctx":"{"01" * 32}","kind":"upload","name":"a","r":3,"sig":"{"00" * 64}","v":1}}'
    assert pack(UPLOAD.header(), bytes(UPLOAD.body)) == framed(header, b"masked words")


@pytest.mark.parametrize("message", [message for message, _ in WIRE], ids=lambda message: message.kind)
def test_a_message_is_closed(message: Message) -> None:
    header = message.document()
    changed: list[RawMessage] = [RawMessage({**header, "extra": 1}, b"")]
    needed = {name for name, field in type(message).model_fields.items() if field.is_required()}
    changed += [RawMessage({name: value for name, value in header.items() if name != gone}, b"") for gone in needed]
    changed += [RawMessage({**header, name: 5 if name != "r" else "5"}, b"") for name in needed]
    if not message.has_body:
        changed.append(RawMessage(header, b"x"))
    for received in changed:
        with pytest.raises(MessageInvalid):
            received.read(type(message))


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (AskMessage, "r", True),
        (AskMessage, "r", -1),
        (AskMessage, "r", 2**32),
        (AskMessage, "partners", ["b", "a"]),
        (AskMessage, "partners", ["a", "a"]),
        (AskMessage, "record", {"r": 0}),
        (AskMessage, "to", "a"),
        (AskMessage, "mandate", "AB" * 32),
        (StartMessage, "approvals", [{"name": "a", "E": "00"}]),
        (StartMessage, "approvals", [{"name": "a", "E": "0x", "sig": "00"}]),
        (StartMessage, "approvals", [APPROVAL.document()] * 1001),
        (CloseMessage, "roots", [ENVELOPE.document()] * 101),
    ],
)
def test_a_field_holds_what_it_may(model: type[Message], field: str, value: Any) -> None:
    message = next(message for message, _ in WIRE if type(message) is model)
    with pytest.raises(MessageInvalid):
        RawMessage({**message.document(), field: value}, b"").read(model)


def test_the_signature_of_a_signed_message_is_no_field_and_that_of_an_approval_is_one() -> None:
    close, approval = CloseMessage(mandate=M), ApprovalMessage(name="a", E="00", sig="11", head="")
    assert RawMessage({**close.document(), "sig": "00" * 64}, b"").read(CloseMessage) == close
    assert RawMessage(approval.document(), b"").read(ApprovalMessage).sig == "11"
