"""Who may do what: every address and every role, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.coordinator_at_work import ROLES, CoordinatorAtWork, opened, raw

Ask = Callable[[CoordinatorAtWork, str], tuple[str, bytes]]
"""Takes the world and the role; returns the path and the body that this role sends."""


def at(path: str) -> Ask:
    return lambda world, role: (path, b"")


def on(state: str, path: str, body: Callable[[CoordinatorAtWork, str], bytes] = lambda world, name: b"") -> Ask:
    """On a new study of the researcher's in this state."""

    def ask(world: CoordinatorAtWork, role: str) -> tuple[str, bytes]:
        name = world.filed(state)
        return path.format(study=name), body(world, name)

    return ask


def row(public: int, *codes: int) -> dict[str, int]:
    """Codes in the order of `ROLES`."""
    return dict(zip(ROLES, (public, *codes), strict=True))


EVERYBODY = row(200, 200, 200, 200, 200, 200, 200, 200, 200)
#                    public  researcher  other  member  partner  operator  auditor  revoked  expired
TABLE: dict[tuple[str, str], tuple[Ask, dict[str, int]]] = {
    ("GET", "/v1/trust"): (at("/v1/trust"), EVERYBODY),
    ("GET", "/v1/roots"): (at("/v1/roots"), EVERYBODY),
    ("GET", "/v1/dataset"): (at("/v1/dataset"), EVERYBODY),
    ("GET", "/v1/charter"): (at("/v1/charter"), EVERYBODY),
    ("GET", "/v1/register/checkpoint"): (at("/v1/register/checkpoint"), EVERYBODY),
    ("GET", "/v1/register/entries"): (at("/v1/register/entries?start=0&limit=2"), EVERYBODY),
    ("GET", "/v1/register/inclusion"): (at("/v1/register/inclusion?index=0"), EVERYBODY),
    ("GET", "/v1/register/consistency"): (at("/v1/register/consistency?old=1"), EVERYBODY),
    ("GET", "/livez"): (at("/livez"), EVERYBODY),
    ("GET", "/readyz"): (at("/readyz"), EVERYBODY),
    ("GET", "/errors/{code}"): (at("/errors/refused"), EVERYBODY),
    ("GET", "/v1/openapi.json"): (at("/v1/openapi.json"), EVERYBODY),
    ("POST", "/v1/studies"): (
        lambda world, role: ("/v1/studies", raw(world.study())),
        row(401, 201, 403, 403, 403, 403, 403, 403, 403),
    ),
    ("GET", "/v1/studies"): (at("/v1/studies"), row(401, 200, 200, 200, 200, 200, 200, 403, 403)),
    ("GET", "/v1/studies/{study}"): (
        on("filed", "/v1/studies/{study}"),
        row(401, 200, 403, 200, 200, 200, 200, 403, 403),
    ),
    ("GET", "/v1/studies/{study}/result"): (
        on("released", "/v1/studies/{study}/result"),
        row(401, 200, 403, 200, 200, 200, 200, 403, 403),
    ),
    ("POST", "/v1/studies/{study}/cancel"): (
        on("filed", "/v1/studies/{study}/cancel"),
        row(401, 200, 403, 403, 403, 200, 403, 403, 403),
    ),
    ("POST", "/v1/studies/{study}/signatures"): (
        on("filed", "/v1/studies/{study}/signatures", lambda world, name: raw(world.signature(name))),
        row(401, 403, 403, 200, 403, 403, 403, 403, 403),
    ),
    ("POST", "/v1/votes"): (
        on("filed", "/v1/votes", lambda world, name: raw(world.vote(name))),
        row(401, 403, 403, 200, 403, 403, 403, 403, 403),
    ),
    ("POST", "/v1/revocations"): (
        on("mandated", "/v1/revocations", lambda world, name: raw(world.revocation(name))),
        row(401, 403, 403, 200, 403, 403, 403, 403, 403),
    ),
    ("POST", "/v1/roots"): (
        lambda world, role: ("/v1/roots", raw(next_root(world))),
        row(401, 403, 403, 201, 403, 201, 403, 403, 403),
    ),
    ("GET", "/v1/status"): (at("/v1/status"), row(401, 403, 403, 200, 200, 200, 403, 403, 403)),
}
"""Address -> what is sent there, and the status for each role."""


def next_root(world: CoordinatorAtWork) -> Any:
    """That follows what the docket has: one that was refused is offered again."""
    return world.next_root() if len(world.docket.trust.roots) == len(world.versions) else world.versions[-1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorAtWork]:
    with opened(tmp_path_factory.mktemp("home") / "coordinator") as made:
        yield made


@pytest.mark.parametrize("address", TABLE, ids=" ".join)
def test_each_address_lets_in_whom_it_is_for(world: CoordinatorAtWork, address: tuple[str, str]) -> None:
    ask, expected = TABLE[address]
    found = {}
    for role in ROLES:
        path, body = ask(world, role)
        answer = world.ask(address[0], path, body, by=role)
        found[role] = answer.status_code
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["rule"] in ("request-signature", "request-role")
        assert answer.headers["cache-control"] == "no-store"
    assert found == expected


def test_the_table_has_every_address_of_the_application_and_no_other(world: CoordinatorAtWork) -> None:
    routes = {(method, route.path) for route in _routes(world.app.routes) for method in route.methods - {"HEAD"}}
    assert routes == set(TABLE)


def _routes(routes: Any) -> Iterator[Any]:
    """Those of included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes)
        else:
            yield route


def test_the_description_for_machines_has_every_address(world: CoordinatorAtWork) -> None:
    document = world.send("GET", "/v1/openapi.json").json()
    described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert described == set(TABLE) - {("GET", "/v1/openapi.json")}
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert all(one["summary"] and one["operationId"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all("application/problem+json" in one["responses"]["4XX"]["content"] for one in operations)
    assert not any("422" in one["responses"] for one in operations)
    signed = {operation["operationId"] for operation in operations if operation.get("security") == [{"signature": []}]}
    closed = {address for address, (_, codes) in TABLE.items() if codes["public"] == 401}
    assert signed == {document["paths"][path][method.lower()]["operationId"] for method, path in closed}
    for path in ("/docs", "/redoc"):
        assert world.send("GET", path).status_code == 404
