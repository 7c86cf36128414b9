"""Every address with whatever a client may send: an answer of ours, never an error that we did not foresee."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.coordinator.api.test_access import TABLE
from tests.coordinator.api.world import ROLES, World, raw
from tests.strategies import json_values, mutated

SIGNED = [role for role in ROLES if role not in ("revoked", "expired")]
parts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(["age-1", "2026-0001", "..", "%", "a" * 70, "\x00"]),
)
numbers = st.one_of(st.integers(-5, 10**20).map(str), st.text(max_size=5).map(lambda text: quote(text)))


@st.composite
def bodies(draw: st.DrawFn, world: World) -> bytes:
    match draw(st.integers(0, 4)):
        case 0:
            return draw(st.binary(max_size=200))
        case 1:
            return json.dumps(draw(json_values)).encode()
        case 2:
            document: dict[str, Any] = json.loads(raw(world.study()))
            document[draw(st.sampled_from(sorted(document)))] = draw(json_values)
            return json.dumps(document).encode()
        case 3:
            return draw(mutated(st.just(raw(world.study()))))
        case _:
            return b""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("address", TABLE, ids=" ".join)
def test_no_request_is_more_than_the_application_can_answer(
    shared_world: World, address: tuple[str, str], data: st.DataObject
) -> None:
    method, template = address
    path = template
    for name in ("study", "code"):
        path = path.replace(f"{{{name}}}", quote(data.draw(parts), safe=""))
    names = st.sampled_from(["start", "limit", "index", "old", "x"])
    query = data.draw(st.lists(st.tuples(names, numbers), max_size=3))
    if query:
        path += "?" + "&".join(f"{name}={value}" for name, value in query)
    body = data.draw(bodies(shared_world)) if method == "POST" else b""
    kind = data.draw(st.sampled_from(["application/json", "text/plain", "text/\x7f"]))
    by = data.draw(st.sampled_from(SIGNED))
    answer = shared_world.ask(method, path, body, by=by, Content_Type=kind)
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["Signature", "Signature-Input", "Content-Digest", "Host", "Content-Type", "Content-Length"]),
    value=st.binary(max_size=60).filter(lambda raw: not set(raw) & set(b"\r\n\x00")),
)
def test_no_header_field_is_more_than_the_application_can_answer(shared_world: World, name: str, value: bytes) -> None:
    fields = [(k.encode(), v.encode()) for k, v in shared_world.signed("GET", "/v1/studies").items()]
    sent = [(k, v) for k, v in fields if k.lower() != name.lower().encode()]
    answer = shared_world.send("GET", "/v1/studies", headers=[*sent, (name.encode(), value)])
    assert answer.status_code in (200, 400, 401, 413, 422), answer.text
