"""A coordinator's interface over TLS on a port of this machine, over a copy of a kept trust; and servers that lie."""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import ipaddress
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from coordinator.api import Limits, create_app
from coordinator.settings import CoordinatorSettings
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.local_trust import LocalTrust
from tests.support.trust_copies import close, copy, key, member, opened
from trust.canonical import canonical
from trust.documents.invitation import Invitation

__all__ = ["Liar", "Raw", "Served", "authority", "free_port", "invite", "listening", "served"]

WIDE = Limits(address_burst=100_000, key_burst=100_000)


@dataclass
class Served:
    """A coordinator that listens.

    Attributes:
        folder: its home, which is also that of a trust in one process.
        invitation: the file.
    """

    folder: Path
    url: str
    invitation: Path

    @property
    def researcher(self) -> Path:
        """The researcher's private key's file."""
        return self.folder / "keys" / "researcher.pem"

    def member(self, number: int) -> Path:
        """A member's private key's file; the first is lay."""
        return key(self.folder, number)

    def sign(self, study: str, *members: int) -> None:
        """Members sign a mandate, at the coordinator's."""
        docket = TrustFolder(self.folder).docket()
        envelope = docket.find(study).mandate
        for number in members:
            envelope = envelope.with_signature(member(self.folder, number))
        docket.sign(docket.find(study).id, envelope)
        docket.close()

    def local(self) -> LocalTrust:
        """The same trust in one process: it carries studies out, as a worker would."""
        return opened(self.folder)

    def carry_out(self, study: str) -> None:
        """What a worker does."""
        trust = self.local()
        try:
            trust.answer(study)
        finally:
            close(trust)
            del trust
            gc.collect()  # in the thread that has opened its files


@contextmanager
def served(folder: Path, make: Callable[[CoordinatorSettings], Any] | None = None) -> Iterator[Served]:
    """The interface over a copy of the kept trust with one study that nobody has signed, made in `folder`."""
    home = copy(folder / "home")
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    (home / "coordinator.toml").write_text(f'api = "127.0.0.1:{port}"\nurl = "{url}"\nnodes = "127.0.0.1:9443"\n')
    invitation = invite(folder / "invitation.json", url, home)
    settings = CoordinatorSettings(home)
    app = make(settings) if make else create_app(settings, limits=WIDE)
    with listening(app, port):
        yield Served(home, url, invitation)


def invite(file: Path, url: str, home: Path, **change: Any) -> Path:
    """An invitation to a trust's folder at an address."""
    document = {
        "schema": "datatrust/invitation/1",
        "trust": "local",
        "url": url,
        "nodes": "127.0.0.1:9443",
        "authority": authority()[0],
        "roots": [envelope.document() for envelope in TrustFolder(home).roots],
    } | change
    file.write_bytes(Invitation.read(canonical(document)).file())
    return file


@contextmanager
def listening(app: Any, port: int, tls: tuple[Path, Path] | None = None) -> Iterator[None]:
    """An ASGI application over TLS at a port of this machine, in a thread of its own."""
    certificate, private = tls or authority()[1:]
    config = uvicorn.Config(
        app,
        "127.0.0.1",
        port,
        log_level="error",
        ws="none",
        lifespan="off",
        ssl_certfile=str(certificate),
        ssl_keyfile=str(private),
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined, method-assign, unused-ignore]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the interface has not started"
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- certificates


@functools.cache
def authority(name: str = "127.0.0.1") -> tuple[str, Path, Path]:
    """An authority in PEM, and files of a server's certificate and key that it has signed for `name`."""
    folder = Path(tempfile.mkdtemp(prefix="datatrust-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own, server = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    ca = (
        _certificate("test authority", own, None)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .sign(own, SHA256())
    )
    host = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    signed = (
        _certificate(name, server, ca.subject)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), critical=False)
        .sign(own, SHA256())
    )
    (folder / "server.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    private = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.key").write_bytes(private)
    return ca.public_bytes(Encoding.PEM).decode(), folder / "server.pem", folder / "server.key"


def _certificate(name: str, key: EllipticCurvePrivateKey, issuer: x509.Name | None) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
    )


# ---- servers that lie


class Liar:
    """An honest application, but for the addresses at which it lies.

    Attributes:
        lies: path -> a function that changes the honest JSON value, or a `Raw` that is sent instead.
        asked: paths, as they came.
    """

    def __init__(self, app: Any) -> None:
        self.app, self.lies, self.asked = app, dict[str, Any](), list[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.asked.append(scope["path"])
        lie = self.lies.get(scope["path"])
        if isinstance(lie, Raw):
            await lie(send)
        elif lie is None:
            await self.app(scope, receive, send)
        else:
            head: dict[str, Any] = {}
            body = b""

            async def catch(message: Any) -> None:
                nonlocal body
                if message["type"] == "http.response.start":
                    head.update(message)
                else:
                    body += message.get("body", b"")

            await self.app(scope, receive, catch)
            made = lie(body) if head["headers"] and _is_text(head) else json.dumps(lie(json.loads(body))).encode()
            headers = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            await send({**head, "headers": headers})
            await send({"type": "http.response.body", "body": made})


def _is_text(head: dict[str, Any]) -> bool:
    return not dict(head["headers"]).get(b"content-type", b"").startswith(b"application/json")


@dataclass
class Raw:
    """What is sent, whatever was asked; `pieces` may be endless, with a pause before each."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    pieces: Iterable[bytes] = ()
    pause: float = 0.0

    async def __call__(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for piece in self.pieces:
            await asyncio.sleep(self.pause)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
