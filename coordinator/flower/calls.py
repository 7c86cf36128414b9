"""How the coordinator calls its SuperLink over HTTP: again and again until it is there, and with the gate's secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from trust.errors import Fault

__all__ = ["RETRY_SECONDS", "Bearer", "Retry", "of_certificate"]

RETRY_SECONDS = 30.0
"""Seconds for which a SuperLink that does not answer is asked again."""

T = TypeVar("T")


def of_certificate(wrong: httpx.HTTPError) -> bool:
    """Whether a connection failed because of the server's certificate: asking again does not fix it."""
    return "certificate" in str(wrong).lower()


class Retry:
    """Calls until the SuperLink is there; Flower's own sends SIGINT to its process on a 401 and sleeps for seconds."""

    max_tries = None

    def __init__(self, stop: threading.Event | None = None) -> None:
        """Args: stop: nothing is asked again once it is set."""
        self._stop = stop or threading.Event()

    def invoke(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        wait, end = 0.1, time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return function(*arguments, **keywords)
            except httpx.HTTPStatusError as wrong:
                if wrong.response.status_code not in (502, 503, 504) or time.monotonic() > end:
                    raise
            except httpx.TransportError as wrong:
                if time.monotonic() > end or of_certificate(wrong):
                    raise
            if self._stop.wait(wait):
                raise Fault("the SuperLink is not asked any more: this process was told to stop")
            wait = min(2 * wait, 2.0)


class Bearer:
    """Adds the secret that the gate asks for on the Control API."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret.decode("ascii")

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        context.request.headers["authorization"] = f"Bearer {self._secret}"
        return call_next(context)
