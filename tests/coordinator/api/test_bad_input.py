"""Requests that are wrong: refused as problems, never an error of ours, never what was handed in."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from coordinator.api import Limits
from tests.support.coordinator_at_work import PLENTY, CoordinatorAtWork, opened, problem, raw
from trust.signing.envelope import Signer
from trust.signing.http_signatures import sign_request
from trust.times import now


def test_a_changed_body_is_refused(world: CoordinatorAtWork) -> None:
    good, other = raw(world.study()), raw(world.study())
    signed = world.signed("POST", "/v1/studies", good)
    headers = signed | {"Content-Type": "application/json"}
    problem(world.send("POST", "/v1/studies", other, headers), 401, "request-signature")
    assert not world.docket.studies()
    assert world.send("POST", "/v1/studies", good, headers).status_code == 201


def test_a_request_signed_for_another_address_or_host_is_refused(world: CoordinatorAtWork) -> None:
    signed = world.signed("GET", "/v1/studies")
    problem(world.send("GET", "/v1/studies/x", headers=signed), 401, "request-signature")
    assert world.app
    elsewhere = sign_request(world.keys.researcher, "GET", "https://evil.example/v1/studies", b"", now())
    answer = world.send("GET", "/v1/studies", headers=elsewhere | {"Host": "evil.example"})
    problem(answer, 401, "request-signature")


def test_an_old_signature_one_of_a_time_to_come_and_one_of_before_the_start_are_refused(
    world: CoordinatorAtWork,
) -> None:
    assert world.ask("GET", "/v1/studies", by="member").status_code == 200
    for minutes in (-5, 5):
        answer = world.ask("GET", "/v1/studies", by="member", at=now() + timedelta(minutes=minutes))
        problem(answer, 401, "request-expired")
    answer = world.ask("GET", "/v1/studies", by="member", at=world.clock() - timedelta(seconds=20))
    assert "before the coordinator started" in problem(answer, 401, "request-expired")["detail"]


def test_a_request_is_answered_once(world: CoordinatorAtWork) -> None:
    headers = world.signed("GET", "/v1/studies")
    assert world.send("GET", "/v1/studies", headers=headers).status_code == 200
    problem(world.send("GET", "/v1/studies", headers=headers), 401, "request-replayed")


def test_a_key_that_nobody_knows_is_refused(world: CoordinatorAtWork) -> None:
    problem(world.ask("GET", "/v1/studies", by=Signer()), 403, "request-key")


def test_a_signature_field_that_stands_twice_is_refused(world: CoordinatorAtWork) -> None:
    signed = world.signed("GET", "/v1/studies")
    problem(world.send("GET", "/v1/studies", headers=[*signed.items(), ("Signature", "x")]), 401, "request-signature")


def test_a_study_of_50_megabytes_is_refused_without_being_read(world: CoordinatorAtWork) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(800):
            taken += 1 << 16
            yield b"x" * (1 << 16)

    said = {"Content-Type": "application/json", "Content-Length": str(50 << 20)}
    problem(world.send("POST", "/v1/studies", endless(), said), 413)
    counted = {"Content-Type": "application/json"}  # in chunks, without a length
    taken = 0
    problem(world.send("POST", "/v1/studies", endless(), counted), 413)
    assert taken <= PLENTY.large + (2 << 16)


@pytest.mark.parametrize("length", ["-1", "x", "1" * 30])
def test_a_length_that_is_none_is_refused(world: CoordinatorAtWork, length: str) -> None:
    problem(world.send("GET", "/v1/trust", headers={"Content-Length": length}), 422)


def test_elsewhere_a_body_is_small(world: CoordinatorAtWork) -> None:
    problem(world.send("POST", "/v1/studies/x/cancel", b"x" * 5000), 413)
    problem(world.send("GET", "/livez", b"x" * 5000), 413)


def test_a_body_that_comes_too_slowly_is_refused(tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        import asyncio

        yield b"{"
        await asyncio.sleep(5)

    with opened(tmp_path / "coordinator", limits=Limits(seconds=0.2)) as world:
        problem(world.send("POST", "/v1/studies", slow()), 408)


def test_a_thousand_requests_in_a_burst_are_too_many_but_not_for_others(tmp_path: Path) -> None:
    with opened(tmp_path / "coordinator", limits=Limits()) as world:
        began = perf_counter()
        answers = [world.send("GET", "/livez") for _ in range(1000)]
        seconds = perf_counter() - began
        few = [answer for answer in answers if answer.status_code == 200]
        assert Limits().address_burst <= len(few) <= Limits().address_burst + Limits().address_per_second * seconds + 1
        last = next(answer for answer in reversed(answers) if answer not in few)
        problem(last, 429)
        assert int(last.headers["retry-after"]) >= 1
        assert world.send("GET", "/livez", client="192.0.2.2").status_code == 200


def test_one_key_is_too_many_from_many_addresses_too(tmp_path: Path) -> None:
    with opened(tmp_path / "coordinator", limits=Limits(key_burst=5, key_per_second=0.01)) as world:
        codes = []
        for at in range(8):
            headers = world.signed("GET", "/v1/studies")
            codes.append(world.send("GET", "/v1/studies", headers=headers, client=f"192.0.2.{at}"))
        assert [answer.status_code for answer in codes] == [200] * 5 + [429] * 3
        assert "retry-after" in codes[-1].headers


def test_addresses_of_one_ipv6_network_are_one_client(tmp_path: Path) -> None:
    with opened(tmp_path / "coordinator", limits=Limits(address_burst=3, address_per_second=0.01)) as world:
        answers = [world.send("GET", "/livez", client=f"2001:db8::{at}") for at in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2


BODIES: dict[str, bytes] = {
    "pickle": pickle.dumps({"a": 1}),
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "bad UTF-8": b'{"payload":"\xff\xfe"}',
    "no JSON": b"<xml/>",
    "a list": b"[]",
    "null": b"null",
    "NaN": b'{"payload":NaN}',
    "twice": b'{"payload":"","payload":""}',
    "a number": b"1" * 5000,
    "empty object": b"{}",
    "unknown": b'{"payload":"e30=","payloadType":"x","signatures":[],"more":"s3cret"}',
    "no base64": b'{"payload":"s3cret!","payloadType":"x","signatures":[]}',
    "no document": b'{"payload":"e30=","payloadType":"application/vnd.datatrust.study+json","signatures":[]}',
    "lone surrogate": b'{"payload":"\\ud800","payloadType":"x","signatures":[]}',
    "zero": b'{"payload":"\\u0000","payloadType":"x","signatures":[]}',
}
ADDRESSES = {
    "/v1/studies": "researcher",
    "/v1/votes": "member",
    "/v1/revocations": "member",
    "/v1/roots": "operator",
    "/v1/studies/age-x/signatures": "member",
}


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_no_document_is_refused(shared_world: CoordinatorAtWork, kind: str, path: str) -> None:
    answer = shared_world.ask("POST", path, BODIES[kind], by=ADDRESSES[path])
    assert answer.status_code in (404, 422) or (path == "/v1/studies" and answer.status_code == 403), answer.text
    problem(answer, answer.status_code)
    assert "s3cret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("kind", ["application/x-pickle", "text/plain", "multipart/form-data", ""])
def test_a_body_of_another_type_is_refused(world: CoordinatorAtWork, kind: str) -> None:
    answer = world.ask("POST", "/v1/studies", raw(world.study()), by="researcher", Content_Type=kind)
    problem(answer, 415)
    assert not world.docket.studies()


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/trust?debug=1", "no parameter"),
        ("/v1/register/entries?start=0&start=1", "limit, start"),
        ("/v1/register/entries?end=3", "limit, start"),
        ("/v1/register/entries?start=-1", ""),
        ("/v1/register/entries?limit=100000", ""),
        ("/v1/register/inclusion?index=s3cret", ""),
        ("/v1/register/inclusion", ""),
        ("/v1/register/consistency?old=1e3", ""),
        ("/v1/register/entries?start=" + "9" * 5000, ""),
    ],
)
def test_a_wrong_parameter_is_refused(shared_world: CoordinatorAtWork, path: str, known: str) -> None:
    document = problem(shared_world.send("GET", path), 422)
    assert known in document.get("expected", "")
    assert "s3cret" not in json.dumps(document)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/trust/", 404),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/errors/nothing", 404),
        ("GET", "/v1/register/inclusion?index=99999", 404),
        ("GET", "/v1/register/consistency?old=99999", 404),
        ("GET", "/errors/%2e%2e%2f", 404),
        ("DELETE", "/v1/trust", 405),
        ("PUT", "/v1/studies", 405),
        ("POST", "/livez", 405),
    ],
)
def test_what_is_not_there_is_a_problem_too(
    shared_world: CoordinatorAtWork, method: str, path: str, status: int
) -> None:
    problem(shared_world.send(method, path), status)


@pytest.mark.parametrize(("path", "allowed"), [("/v1/studies", {"GET", "POST"}), ("/v1/openapi.json", {"GET", "HEAD"})])
def test_an_address_says_in_which_ways_it_is_asked(
    shared_world: CoordinatorAtWork, path: str, allowed: set[str]
) -> None:
    answer = shared_world.send("DELETE", path)
    problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("name", ["..%2f..%2fkeys", "AGE", "a" * 64, "x%00", "é", "none-such"])
def test_a_study_that_is_not_there_names_no_other(world: CoordinatorAtWork, name: str) -> None:
    filed = world.filed()
    for path in (f"/v1/studies/{name}", f"/v1/studies/{name}/result"):
        sent = path.replace("é", "%C3%A9")
        answer = world.ask("GET", sent, by="other researcher")
        assert answer.status_code in (404, 422)
        problem(answer, answer.status_code)
        assert filed not in answer.text


def test_what_nobody_foresaw_is_a_fault_whose_text_stays_with_us(
    world: CoordinatorAtWork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is taken away under the running process."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("s3cret")

    monkeypatch.setattr("coordinator.docket.docket.Docket.after", broken)
    with caplog.at_level(logging.ERROR):
        answer = world.ask("GET", "/v1/studies", by="member")
    assert problem(answer, 503)["type"] == "/errors/fault"
    assert "s3cret" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_every_answer_has_the_fields_that_keep_browsers_in_bounds(shared_world: CoordinatorAtWork) -> None:
    for path in ("/v1/trust", "/nothing", "/v1/studies"):
        headers = shared_world.send("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
