"""What every address needs: the coordinator's settings, a docket for the length of a request, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, TypeAlias, cast

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from coordinator.api.access import Door, Requester, require_json
from coordinator.api.dockets import Dockets, Writing
from coordinator.api.policies import Published
from coordinator.api.problems import Http
from coordinator.docket.docket import Docket
from coordinator.settings import CoordinatorSettings
from trust.signing.envelope import Envelope
from trust.signing.json_text import read_json

__all__ = ["ApiContext", "Asking", "Body", "Lent", "Now", "Office", "known_query", "read_body"]


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """What the handlers of one application share."""

    settings: CoordinatorSettings
    dockets: Dockets
    door: Door
    published: Published
    clock: Callable[[], datetime]
    largest: int
    writing: Writing = field(default_factory=Writing)


def api_context(request: Request) -> ApiContext:
    """The context of the application that a request came to."""
    return cast(ApiContext, request.app.state.context)


Office: TypeAlias = Annotated[ApiContext, Depends(api_context)]


async def _lent(office: Office) -> AsyncIterator[Docket]:
    async with office.dockets.lent() as docket:
        yield docket


async def read_body(request: Request) -> bytes:
    """The body, which `limits.Bodies` has read."""
    return await request.body()


def _now(office: Office) -> datetime:
    return office.clock()


Lent: TypeAlias = Annotated[Docket, Depends(_lent, scope="function")]
"""A docket that is given back before the answer is sent: a client that reads slowly holds up nobody."""
Now: TypeAlias = Annotated[datetime, Depends(_now)]
Raw: TypeAlias = Annotated[bytes, Depends(read_body)]


_SIGNATURE = APIKeyHeader(
    name="Signature",
    scheme_name="signature",
    description="RFC 9421, with `Signature-Input` and `Content-Digest`; what it covers is said above",
    auto_error=False,  # the door judges it
)


def _asker(
    request: Request, office: Office, docket: Lent, raw: Raw, now: Now, _: Annotated[str | None, Security(_SIGNATURE)]
) -> Requester:
    return office.door.let_in(request, raw, docket.trust, now)


Asking: TypeAlias = Annotated[Requester, Depends(_asker)]
"""Who asks.  What the asker may do is for the address to say, with `access.only`."""


def _envelope(request: Request, office: Office, raw: Raw, asker: Asking) -> Envelope:
    require_json(request)
    return Envelope.read(read_json(raw, largest=office.largest))


Body: TypeAlias = Annotated[Envelope, Depends(_envelope)]
"""The signed document that was handed in; nothing in it is verified.  It is read after its sender was let in."""


async def known_query(request: Request) -> None:
    """Raises: Http (`request`) for a parameter that the address does not know, or that stands twice."""
    route = request.scope.get("route")
    assert isinstance(route, APIRoute)  # noqa: S101 - the only kind that depends on this
    known_parameters = {field.alias for field in route.dependant.query_params}
    given_parameters = [name for name, _ in request.query_params.multi_items()]
    if len(given_parameters) != len(set(given_parameters)) or not set(given_parameters) <= known_parameters:
        listing = ", ".join(sorted(known_parameters)) or "no parameter"
        raise Http("request", "a parameter that this address does not know, or one twice", expected=listing)
