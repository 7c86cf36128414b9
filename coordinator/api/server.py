"""The interface as a process: uvicorn with TLS, limits on what a connection may cost, and an orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordinator.api.app import create_app
from coordinator.settings import CoordinatorSettings
from trust.errors import InvalidInput
from trust.files import check_closed_to_others, read_file

__all__ = ["ApiServer"]

_MOST_CONNECTIONS = 256
_LARGEST_HEAD_BYTES = 1 << 14
"""Bytes of a request's first line and header fields."""
_HEAD_SECONDS, _IDLE_SECONDS, _SLOW_SECONDS, _END_SECONDS = 15, 10, 30, 6
"""Seconds for a request's head to arrive; between two requests; for the last answer of a connection to be taken; for
requests to end once we are told to stop.
"""


class _Timely(H11Protocol):
    """A connection that costs a bounded time: uvicorn bounds only the pause between two requests.

    It is closed when the head of a request does not arrive; once it is being closed it is cut off after a moment, where
    asyncio would wait half a minute for the other side's end of TLS.
    """

    _overdue: asyncio.TimerHandle | None = None
    _lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Bytes arrive; the time runs while they are the head of a request."""
        super().data_received(data)
        if getattr(self.cycle, "response_complete", True) is False:
            self._disarm()
        elif self._overdue is None:
            self._arm()

    def on_response_complete(self) -> None:
        """An answer is sent; the pause until the next head is uvicorn's to bound."""
        self._disarm()
        super().on_response_complete()
        if self.transport.is_closing():
            self._cut_off()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        super().send_400_response(msg)
        self._cut_off()

    def shutdown(self) -> None:
        """The server ends; a request that is being answered is still answered."""
        super().shutdown()
        if self.transport.is_closing():
            self._cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection ends."""
        self._disarm()
        self._lost = True
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._overdue = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _disarm(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _cut_off(self, tries: int = _SLOW_SECONDS) -> None:
        """Once everything was sent, or after `_SLOW_SECONDS`."""

        def look() -> None:
            if self._lost:
                return
            if tries and self.transport.get_write_buffer_size():
                self._cut_off(tries - 1)
            else:
                self.transport.abort()

        self.loop.call_later(1, look)


class ApiServer(uvicorn.Server):
    """The server of one coordinator; `run` until it is told to stop (`should_exit`, SIGTERM, SIGINT).

    Raises: DataTrustError of whatever in the folder cannot be used; InvalidInput where it cannot listen.
    """

    def __init__(self, settings: CoordinatorSettings) -> None:
        context = _context(settings.engine / "server.pem", settings.engine / "server.key")
        self._socket = _listening(settings.api)
        try:
            app = create_app(settings)
        except BaseException:
            self._socket.close()
            raise
        config = uvicorn.Config(
            app,
            http=_Timely,
            ws="none",
            loop="asyncio",
            lifespan="on",
            ssl_context_factory=lambda config, default: context,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_LARGEST_HEAD_BYTES,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is told to stop; what is being answered is answered, for some seconds."""
        with self._socket, _no_sudden_end():
            super().run(sockets or [self._socket])


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer.  Raises: InvalidInput."""
    read_file(certificate)
    read_file(key)
    check_closed_to_others(key, key.stat().st_mode)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # nobody is asked for a passphrase
    except (ssl.SSLError, ValueError):
        raise InvalidInput(
            f"{str(certificate)!r} and its key cannot be used",
            expected="a certificate in PEM, and the key that it is for, not encrypted",
            remedy="renew the coordinator's certificate",
        ) from None
    return context


def _listening(listen: str) -> socket.socket:
    """Raises: InvalidInput."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=256)
    except (OSError, ValueError, OverflowError) as wrong:
        why = getattr(wrong, "strerror", None) or "no address:port"
        raise InvalidInput(
            f"nothing can listen at {listen} ({why})", expected="a free port of this machine", remedy="change `api`"
        ) from None


@contextmanager
def _no_sudden_end() -> Iterator[None]:
    """uvicorn sends itself the signal again that it was ended by; here the end has come about by then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers_before = {name: signal.signal(name, lambda *_: None) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in handlers_before.items():
            signal.signal(name, handler)
