"""The application: its addresses, and around them the layers that every request passes, from the outside in.

Guard     security fields on every answer; an error that nobody foresaw becomes `fault`, its text stays in our log
Bursts    so many requests of one address
Bodies    so many bytes in so much time
routes    who asks, the document that is handed in, what may be done with it
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.api import governance as trustees
from coordinator.api import health, public, studies
from coordinator.api.access import Door
from coordinator.api.context import ApiContext, known_query
from coordinator.api.dockets import Dockets
from coordinator.api.limits import Bodies, Bursts, Limits
from coordinator.api.policies import Published
from coordinator.api.problems import DESCRIPTION, Http, respond, status_of
from coordinator.settings import CoordinatorSettings
from trust.errors import DataTrustError, Fault
from trust.signing.http_signatures import authority_of
from trust.times import now

__all__ = ["create_app"]

_LOG = logging.getLogger(__name__)
_ABOUT = """What is public of a trust, and what its people hand in and fetch.

Addresses other than the public ones take signed requests: RFC 9421 with Ed25519 over `@method`, `@authority`, `@path`,
`@query` and `content-digest`, label and tag `datatrust`, for 60 seconds, as `trust.http_signatures.sign_request` writes
them.  Documents are DSSE envelopes; what is handed in twice is answered as it was the first time."""
_FIELDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer.  Source: OWASP, REST Security Cheat Sheet, security headers."""


def create_app(
    settings: CoordinatorSettings, *, limits: Limits | None = None, clock: Callable[[], datetime] = now
) -> FastAPI:
    """The interface of one coordinator.

    Raises: DataTrustError of whatever in its folder cannot be used: docket, register and charter are opened here.
    """
    bounds = limits or Limits()
    dockets = Dockets(settings.docket)
    docket = dockets.take()
    assert docket is not None  # noqa: S101 - the first one
    try:
        published = Published(settings.folder, docket.trust)
    except BaseException:
        dockets.close()
        raise
    dockets.give(docket)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        dockets.close()

    app = FastAPI(
        title="datatrust coordinator",
        version="1",
        description=_ABOUT,
        responses=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        dependencies=[Depends(known_query)],
    )
    door = Door(authority_of(settings.url or f"https://{settings.api_here}"), bounds, clock())
    app.state.context = ApiContext(
        settings=settings, dockets=dockets, door=door, published=published, clock=clock, largest=bounds.large
    )
    for module in (public, studies, trustees, health):
        app.include_router(module.router)
    app.add_exception_handler(DataTrustError, _ours)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_middleware(Bodies, limits=bounds)  # the last one added is the outermost
    app.add_middleware(Bursts, limits=bounds)
    app.add_middleware(Guard)
    return app


class Guard:
    """The outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response_begun = False

        async def guarded(message: Message) -> None:
            nonlocal response_begun
            if message["type"] == "http.response.start":
                response_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _FIELDS.items():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as wrong:
            _log(wrong)
            if not response_begun:
                await respond(Fault("unforeseen"))(scope, receive, guarded)


def _log(wrong: BaseException) -> None:
    """Its kind and place; never its text, which may hold what was handed in."""
    trace = wrong.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    _LOG.error("unforeseen %s at %s", type(wrong).__name__, place)


def _ours(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, DataTrustError)  # noqa: S101 - what the handler is registered for
    if status_of(wrong) == 503:
        _LOG.error("%s", wrong)
    return respond(wrong)


def _of_http(request: Request, wrong: Exception) -> Response:
    """No such address, or no such method there."""
    assert isinstance(wrong, HTTPException)  # noqa: S101 - what the handler is registered for
    if wrong.status_code == 405:
        return respond(
            Http("method", "this address is not asked in this way"), {"Allow": _allow_header(request, wrong)}
        )
    if wrong.status_code == 404:
        return respond(Http("not-found", "there is nothing at this address", expected="one of /v1/openapi.json"))
    return respond(Http("request", "the request is not one that this address takes"))


def _allow_header(request: Request, wrong: HTTPException) -> str:
    """Every method of the address (RFC 9110, section 15.5.6); Starlette names those of one of its routes only."""
    route = request.scope.get("route")  # of what is described; the description itself has none
    described = request.app.openapi()["paths"][route.path] if route else ()
    return ", ".join(method.upper() for method in described) or (wrong.headers or {}).get("Allow", "")


def _of_request(request: Request, wrong: Exception) -> Response:
    """The first parameter that is wrong, without its value."""
    assert isinstance(wrong, RequestValidationError)  # noqa: S101 - what the handler is registered for
    first = wrong.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    return respond(Http("request", f"the parameter {path!r} is not usable", expected=str(first["msg"])))
