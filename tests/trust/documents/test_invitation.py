"""An invitation: what is read of it, and what its roots must be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.support.committee import KEYS, rotated
from tests.support.strategies import json_values
from trust.documents.invitation import LARGEST_BYTES, Invitation
from trust.errors import DataTrustError, InvalidInput, Refused

FIELDS: dict[str, Any] = {
    "schema": "datatrust/invitation/1",
    "trust": "local",
    "url": "https://trust.example:8443",
    "nodes": "trust.example:9443",
    "authority": "",
    "roots": [KEYS.envelope.document()],
}


def read(**changes: Any) -> Invitation:
    return Invitation.read(json.dumps(FIELDS | changes).encode())


def test_what_was_written_is_read() -> None:
    invitation = read(roots=[e.document() for e in rotated()])
    assert Invitation.read(invitation.file()) == invitation
    assert invitation.root().root.version == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "datatrust/invitation/2"},
        {"more": 1},
        {"url": "http://trust.example"},
        {"url": "https://me:word@trust.example"},
        {"url": "https://trust.example/path"},
        {"url": "https://trust.example\n"},
        {"url": 1},
        {"nodes": "trust.example"},
        {"nodes": "https://trust.example:9443"},
        {"authority": "no certificate"},
        {"authority": "é"},
        {"trust": "A trust"},
        {"roots": []},
        {"roots": "x"},
        {"roots": [{}]},
    ],
    ids=str,
)
def test_what_is_no_invitation_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read(**changes)


def test_a_missing_field_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'url'"):
        Invitation.read(json.dumps({k: v for k, v in FIELDS.items() if k != "url"}).encode())
    with pytest.raises(InvalidInput):
        Invitation.read(json.dumps({k: v for k, v in FIELDS.items() if k != "schema"}).encode())
    with pytest.raises(InvalidInput, match="at most"):
        Invitation.read(b" " * (LARGEST_BYTES + 1))


def test_roots_of_another_trust_or_out_of_order_are_refused() -> None:
    with pytest.raises(Refused, match="root-trust"):
        read(trust="other").root()
    with pytest.raises(Refused):
        read(roots=[e.document() for e in (KEYS.envelope, KEYS.envelope)]).root()


@given(json_values)
def test_no_json_breaks_the_reader(value: Any) -> None:
    for raw in (json.dumps(value).encode(), json.dumps(FIELDS | {"roots": value}).encode()):
        with pytest.raises(DataTrustError):
            Invitation.read(raw)
