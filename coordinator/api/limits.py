"""What one client may ask for before anything is looked at: how often, how much, how slowly.

Two ASGI layers.  `Bursts` counts requests of an address, those for public things too; `Bodies` reads a body within its
size and time, and hands on only one that is whole.  The size of header fields is the HTTP server's to bound.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.api.problems import Http, respond

__all__ = ["Bodies", "Bursts", "Limits", "TokenBuckets"]

_LARGE = re.compile(r"/v1/(?:studies|studies/[^/]+/signatures|votes|revocations|roots)")
_MOST_BUCKETS = 20_000


@dataclass(frozen=True)
class Limits:
    """What the interface takes.

    Attributes:
        address_burst, address_per_second: requests of one address at once, and in the long run.
        key_burst, key_per_second: the same of one key.
        large, small: bytes of a body: of a signed document, and of anything else.
        seconds: in which a body must have arrived.
    """

    address_burst: int = 300
    address_per_second: float = 20.0
    key_burst: int = 300
    key_per_second: float = 20.0
    large: int = 2 << 20
    small: int = 1 << 12
    seconds: float = 30.0

    def body(self, method: str, path: str) -> int:
        """Bytes that a body for this address may have."""
        return self.large if method == "POST" and _LARGE.fullmatch(path) else self.small


class TokenBuckets:
    """One bucket for each name: it holds `burst` tokens, and `per_second` flow back.

    Of more names than can be remembered, the one that was not seen for longest is forgotten.
    """

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._clock = burst, per_second, clock
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> int:
        """Take a token: 0 where there was one, else the seconds until there is."""
        with self._lock:
            now = self._clock()
            tokens_left, updated_at = self._tokens.pop(name, (float(self._burst), now))
            tokens_left = min(float(self._burst), tokens_left + (now - updated_at) * self._rate)
            allowed_now = tokens_left >= 1
            self._tokens[name] = (tokens_left - 1 if allowed_now else tokens_left, now)
            if len(self._tokens) > _MOST_BUCKETS:
                self._tokens.popitem(last=False)
            return 0 if allowed_now else max(1, math.ceil((1 - tokens_left) / self._rate))


def too_many(seconds: int) -> Http:
    """`too-many`, and when to ask again."""
    remedy = f"try again in {seconds} second{'' if seconds == 1 else 's'}"
    return Http("too-many", "too many requests in a short time", remedy=remedy, retry_after=seconds)


class Bursts:
    """The first layer."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._buckets = TokenBuckets(limits.address_burst, limits.address_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (seconds := self._buckets.take(_network(scope))):
            await respond(too_many(seconds))(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _network(scope: Scope) -> str:
    """The client's address; of IPv6 the /64, which one client has for itself (RFC 6177)."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


class Bodies:
    """The second layer: a body is read here, counted as it comes, and never beyond its limit."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await _whole(scope, receive, self._limits.body(scope["method"], scope["path"]))
        except TimeoutError:
            slow = Http("timeout", f"the body did not arrive in {self._limits.seconds:g} seconds", remedy="try again")
            await respond(slow, {"Connection": "close"})(scope, receive, send)
            return
        except Http as wrong:  # what is left of the body is not read: the connection ends
            await respond(wrong, {"Connection": "close"})(scope, receive, send)
            return
        if body is None:
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def whole() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, whole, send)


async def _whole(scope: Scope, receive: Receive, largest: int) -> bytes | None:
    """The body, None where the client has gone.  Raises: Http (`too-large`, `request`)."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", value) for value in lengths):
        raise Http("request", "a field Content-Length that is not a number")
    if lengths and int(lengths[0]) > largest:
        raise _too_large(largest)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > largest:
            raise _too_large(largest)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(largest: int) -> Http:
    return Http("too-large", "the body is too large", expected=f"at most {largest} bytes at this address")
