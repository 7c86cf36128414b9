"""The interface and its description for machines: schemathesis asks every address, and judges by all its checks.

Requests are signed where the description says so, by a role that the address is for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis import hooks
from schemathesis.engine import events, from_schema
from starlette.types import Message, Receive, Scope, Send

from tests.coordinator.api.test_access import TABLE
from tests.support.coordinator_at_work import CoordinatorAtWork, opened
from tests.support.sizes import FULL
from trust.signing.http_signatures import sign_request

ROLE = {
    (method, path): next(role for role, status in codes.items() if status < 300)
    for (method, path), (_, codes) in TABLE.items()
}
"""For each address one that may use it."""
ACCEPTED = ["2xx", "401", "403", "404", "409"]
"""What may be answered to a request that fits the description; to a document 422 as well, since an envelope that fits
may hold anything, and 429 for the studies that wait."""
DOCUMENTS = ["file_study", "sign_mandate", "vote_against", "revoke_mandate", "accept_root"]


class Signing:
    """The application; where the field Signature says `by ROLE`, a signature over what is sent takes its place.

    Attributes:
        seen: method, address and status of what was answered.
    """

    def __init__(self, world: CoordinatorAtWork) -> None:
        self.world, self.seen = world, set[tuple[str, str, int]]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.world.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = dict(scope["headers"]) | {b"host": self.world.url.removeprefix("https://").encode()}
        by, _, role = headers.get(b"signature", b"").decode("latin-1").partition(" ")
        if by == "by" and (signer := self.world.signer(role)):
            query = scope["query_string"].decode("latin-1")
            url = self.world.url + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
            signed = sign_request(signer, scope["method"], url, body, self.world.clock())
            headers |= {name.lower().encode(): value.encode() for name, value in signed.items()}
        asked = dict(scope) | {"headers": list(headers.items())}
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def whole() -> Message:
            return waiting.pop() if waiting else await receive()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and "route" in asked:
                self.seen.add((asked["method"], asked["route"].path, message["status"]))
            await send(message)

        await self.world.app(asked, whole, noted)


@pytest.fixture
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    with opened(tmp_path_factory.mktemp("home") / "coordinator") as made:
        yield Signing(made)


def wrong(signing: Signing, examples: int, *, followed: bool) -> list[str]:
    """What the checks object to.

    Args:
        examples: random requests for each address, or random walks along the links where it is `followed`.
    """
    of_documents = {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422", "429"]}}
    config = {
        "seed": None if FULL else 1,
        "generation": {"max-examples": examples, "deterministic": not FULL},
        "phases": {"coverage": {"enabled": not followed}, "fuzzing": {"enabled": not followed}}
        | {"stateful": {"enabled": followed}},
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
        "operations": [{"include-operation-id": DOCUMENTS, "checks": of_documents}],
    }
    chosen = schemathesis.Config.from_dict({name: value for name, value in config.items() if value is not None})
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", signing, config=chosen)

    @schema.auth(refresh_interval=None)  # asked for each request: who signs depends on the address
    class Signature:
        def get(self, case: schemathesis.Case, context: Any) -> str:
            return ROLE[case.operation.method.upper(), case.operation.path]

        def set(self, case: schemathesis.Case, role: str, context: Any) -> None:
            case.headers["Signature"] = f"by {role}"

    asked: Counter[tuple[str, str]] = Counter()

    def before_call(context: Any, case: schemathesis.Case, kwargs: Any) -> None:
        with_real_ones(case, signing.world, asked)

    schemathesis.hook(before_call)
    try:
        return [line for event in from_schema(schema).execute() for line in objections(event)]
    finally:
        hooks.unregister(before_call)


def with_real_ones(case: schemathesis.Case, world: CoordinatorAtWork, asked: Counter[tuple[str, str]]) -> None:
    """Of an address' cases that fit the description, every second names what is there and hands in what is signed."""
    address = case.operation.method.upper(), case.operation.path
    fits = case.meta and case.meta.generation.mode.is_positive and case.method.upper() == address[0]
    if not fits:
        return
    asked[address] += 1
    if asked[address] % 2 == 0:
        return
    path, body = TABLE[address][0](world, ROLE[address])
    places = dict(zip(address[1].split("/"), path.split("/"), strict=True))
    for name in case.path_parameters:
        case.path_parameters[name] = places[f"{{{name}}}"]
    if body:
        case.body = json.loads(body)


def objections(event: events.EngineEvent) -> Iterator[str]:
    if isinstance(event, events.NonFatalError):
        yield f"{event.label}: {event.value!r}"
    if isinstance(event, events.FatalError):
        raise event.exception
    if not isinstance(event, events.ScenarioFinished):
        return
    for case, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                asked = event.recorder.interactions[case]
                got = asked.response and (asked.response.status_code, asked.response.text[:500])
                yield f"{check.name}: {check.failure_info.failure}\n{asked.request.method} {asked.request.uri}: {got}"


def test_every_address_does_what_its_description_says(signing: Signing) -> None:
    found = wrong(signing, 1000 if FULL else 12, followed=False)
    assert not found, "\n\n".join(found)
    best = {(*address, min(codes.values())) for address, (_, codes) in TABLE.items()}
    assert best - signing.seen == {("GET", "/v1/openapi.json", 200)}


@pytest.mark.slow
def test_a_study_is_followed_along_the_links_of_the_description(signing: Signing) -> None:
    found = wrong(signing, 200 if FULL else 20, followed=True)
    assert not found, "\n\n".join(found)
