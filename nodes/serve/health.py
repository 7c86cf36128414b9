"""How a running node is, for this machine alone: GET /livez, /readyz and, where switched on, /metrics.

A thread asks the checks in turn and keeps what they found, so that a question costs nothing and cannot be used to keep
the node busy.  Ready means: root in force, journal written to just now, source reached, clock and disk well, the
SuperLink's certificate valid, connected; and asked within a minute.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nodes.operate import check_machine as checks
from nodes.operate import check_network as checks_network
from nodes.operate import check_source as checks_source
from nodes.operate.findings import Check, Finding, failure, finding_of, ok, warning
from nodes.serve.metrics import Metrics
from nodes.settings import NodeSettings
from nodes.state.store import SqliteStore
from trust.errors import Fault
from trust.times import now, read_time

__all__ = ["Health", "Watch"]

_CHECK_SECONDS, _REMOTE_CHECK_SECONDS = 10.0, 60.0
"""Seconds between two rounds, and between two looks at what is far away."""
_STALE_SECONDS = 60.0
_RENEW_DAYS = 30
_MOST_REQUESTS, _REQUEST_SECONDS = 16, 5.0
"""Questions at once, and the seconds that one may take."""


class Watch:
    """Asks the checks of one home, in a thread of its own, until `end`.

    Attributes:
        connected: whether the SuperLink has let this node in; set by the process that serves.
    """

    def __init__(
        self, settings: NodeSettings, on_change: Callable[[Watch], None], *, every: float = _CHECK_SECONDS
    ) -> None:
        """Args: told: is called after each round, in the thread of the checks."""
        self._settings, self._on_change, self._every = settings, on_change, every
        self._findings: dict[str, Finding] = {}
        self._round, self._far = 0.0, 0.0
        self._store: SqliteStore | None = None
        self._stop, self._now = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)
        self.connected = False
        self.days: dict[str, int] = {}

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop it; a check that waits for the network ends by itself."""
        self._stop.set()
        self._now.set()
        self._thread.join(1.0)

    def hurry(self) -> None:
        """Something has changed: ask again now."""
        self._now.set()

    def findings(self) -> dict[str, Finding]:
        """What the last round has found, and whether the node is connected."""
        findings_now = dict(self._findings)
        if not self._round or time.monotonic() - self._round > _STALE_SECONDS:
            findings_now["checks"] = failure(
                "checks", "the checks have not been asked within a minute", "restart the node"
            )
        findings_now["connected"] = (
            ok("connected", "the SuperLink has let this node in")
            if self.connected
            else failure("connected", "the SuperLink has not let this node in", "see `superlink`; is this partner's "
                         "key in the trust root that the coordinator has?")
        )  # fmt: skip
        return findings_now

    def roots_after(self, version: int) -> list[bytes]:
        """The signed roots that messages have brought; for the thread of the checks.  Raises: StoreUnavailable."""
        return [] if self._store is None else self._store.roots(after_version=version)

    @property
    def ready(self) -> bool:
        """Every check holds."""
        return all(finding.state != "failure" for finding in self.findings().values())

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._ask()
                self._round = time.monotonic()
                self._on_change(self)
                self._now.wait(self._every)
                self._now.clear()
        finally:
            if self._store is not None:
                self._store.close()

    def _ask(self) -> None:
        near: dict[str, Check] = {
            "root": self._root,
            "journal": self._journal,
            "disk": lambda: checks.check_disk(self._settings.own),
        }
        far: dict[str, Check] = {
            "superlink": self._superlink,
            "source": lambda: checks_source.check_reached(self._settings),
            "clock": self._clock,
        }
        findings = dict(self._findings)
        well = all(self._findings.get(name, failure(name, "", "")).state != "failure" for name in far)
        if not well or time.monotonic() - self._far > _REMOTE_CHECK_SECONDS:
            near |= far
            self._far = time.monotonic()
        for name, check in near.items():
            findings[name] = finding_of(name, check)
        self._findings = findings

    def _root(self) -> Finding:
        root = self._settings.root()
        self.days["root"] = (read_time(root.root.expires) - now()) // timedelta(days=1)
        return checks.check_root(root, now())

    def _journal(self) -> Finding:
        if self._store is None:
            self._store = SqliteStore(self._settings.own)
        self._store.writable()
        return ok("journal", "it can be written")

    def _superlink(self) -> Finding:
        if self._settings.toml and self._settings.toml.proxy:
            return ok("superlink", "reached through the proxy")
        days = checks_network.certificate_days(self._settings, self._settings.superlink)
        self.days["certificate"] = days
        if days < _RENEW_DAYS:
            return warning("superlink", f"its certificate lasts {days} days", "ask the coordinator to renew it")
        return ok("superlink", f"its certificate lasts {days} days")

    def _clock(self) -> Finding:
        """A coordinator whose interface is away keeps no study from being answered."""
        try:
            return checks_network.check_clock(self._settings)
        except Fault as wrong:
            return warning("clock", f"not compared: {wrong.text}", "ask who runs the coordinator")


class Health:
    """The server, on a loopback address alone; `figures` None: no /metrics."""

    def __init__(self, address: str, watch: Watch, figures: Metrics | None) -> None:
        """Raises: Fault where the address is taken."""
        host, _, port = address.rpartition(":")
        answer = _handler(watch, figures)
        try:
            self._server = _Server((host.strip("[]"), int(port)), answer)
        except OSError as wrong:
            remedy = "name another `health` in node.toml"
            raise Fault(f"{address} cannot be used ({wrong.strerror})", remedy=remedy) from None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """So many connections at once, each for so long: another user of this machine must not fill it with threads."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_MOST_REQUESTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, where there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As `ThreadingMixIn` does; a request that comes too slowly is cut off."""
        end = threading.Timer(_REQUEST_SECONDS, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that went away is not an event."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _handler(watch: Watch, figures: Metrics | None) -> type[BaseHTTPRequestHandler]:
    def livez() -> tuple[int, str, bytes]:
        return 200, "application/json", b'{"alive":true}\n'

    def readyz() -> tuple[int, str, bytes]:
        findings = watch.findings()
        ready = all(finding.state != "failure" for finding in findings.values())
        document = {"ready": ready, "checks": [findings[name].document() for name in sorted(findings)]}
        return 200 if ready else 503, "application/json", json.dumps(document).encode() + b"\n"

    paths: dict[str, Callable[[], tuple[int, str, bytes]]] = {"/livez": livez, "/readyz": readyz}
    if figures is not None:
        paths["/metrics"] = lambda: (200, "text/plain; version=0.0.4; charset=utf-8", figures.text())
    return type("Handler", (_Handler,), {"paths": paths})


class _Handler(BaseHTTPRequestHandler):
    paths: Mapping[str, Callable[[], tuple[int, str, bytes]]] = {}
    timeout = 5
    server_version, sys_version = "datatrust", ""

    def do_GET(self) -> None:
        """Answer one of the paths; a name of another machine in Host is a page of somebody else's asking."""
        host = self.headers.get("Host", "").rpartition(":")[0].strip("[]") or self.headers.get("Host", "")
        if host not in ("localhost", "127.0.0.1", "::1"):
            return self._send(421, "text/plain", b"this machine alone\n")
        give = self.paths.get(self.path)
        return self._send(*(give() if give else (404, "text/plain", b"/livez, /readyz\n")))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: who asks is this machine."""
