"""Bytes that no description for machines would make: an answer of ours, never an error that we did not foresee.

What a description can say is asked in `test_openapi.py`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.coordinator.api.test_access import TABLE
from tests.support.coordinator_at_work import CoordinatorAtWork
from tests.support.strategies import mutated

DOCUMENTS = {
    ("POST", "/v1/studies"): "researcher",
    ("POST", "/v1/studies/{study}/signatures"): "member",
    ("POST", "/v1/votes"): "member",
    ("POST", "/v1/revocations"): "member",
    ("POST", "/v1/roots"): "operator",
}
"""Where one is handed in, and by whom."""


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("address", DOCUMENTS, ids=" ".join)
def test_no_bytes_of_a_document_are_more_than_the_application_can_answer(
    shared_world: CoordinatorAtWork, address: tuple[str, str], data: st.DataObject
) -> None:
    by = DOCUMENTS[address]
    path, document = TABLE[address][0](shared_world, by)
    body = data.draw(st.one_of(st.binary(max_size=200), mutated(st.just(document))))
    answer = shared_world.ask("POST", path, body, by=by, Content_Type="application/json")
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["Signature", "Signature-Input", "Content-Digest", "Host", "Content-Type", "Content-Length"]),
    value=st.binary(max_size=60).filter(lambda raw: not set(raw) & set(b"\r\n\x00")),
)
def test_no_header_field_is_more_than_the_application_can_answer(
    shared_world: CoordinatorAtWork, name: str, value: bytes
) -> None:
    fields = [(k.encode(), v.encode()) for k, v in shared_world.signed("GET", "/v1/studies").items()]
    sent = [(k, v) for k, v in fields if k.lower() != name.lower().encode()]
    answer = shared_world.send("GET", "/v1/studies", headers=[*sent, (name.encode(), value)])
    assert answer.status_code in (200, 400, 401, 413, 422), answer.text
