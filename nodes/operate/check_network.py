"""Checks of what a node reaches: the coordinator's public interface and the SuperLink.  Nothing is sent but a hello."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509

from nodes.interface import CoordinatorReader, tls_context, why
from nodes.operate.findings import Finding, failure, ok, warning
from nodes.settings import NodeSettings
from trust.errors import Fault, InvalidInput

__all__ = [
    "certificate_days",
    "check_clock",
    "check_interface",
    "check_name",
    "check_superlink",
    "check_tls",
    "interface",
]

_CONNECT_SECONDS = 5.0
_RENEW_DAYS = 30
_LARGEST_OFFSET_SECONDS = 5.0
"""Seconds by which the clocks may differ: `Node.on_time` allows as many."""
_ASK = "ask who runs the coordinator, and look at the firewall for outgoing connections"


def interface(settings: NodeSettings, patience: float = _CONNECT_SECONDS) -> CoordinatorReader:
    """The coordinator's, as this node reaches it.  Raises: InvalidInput before the node is enrolled."""
    toml = settings.toml
    if toml is None or not toml.coordinator:
        raise InvalidInput("a node that is not enrolled", remedy="datatrust node enrol invitation.json")
    return CoordinatorReader(toml.coordinator, settings.authority(), toml.proxy, patience)


def place_of(address: str) -> tuple[str, int]:
    """Host and port of `https://host:port` or `host:port`."""
    parts = urlsplit(address if "://" in address else f"https://{address}")
    return parts.hostname or "", parts.port or 443


def check_name(settings: NodeSettings) -> Finding:
    """The coordinator's name is known here."""
    host, _ = place_of(interface(settings).url)
    if settings.toml and settings.toml.proxy:
        return ok("dns", f"{host}: the proxy asks for it")
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return failure(
            "dns", f"{host} is not known here", "correct coordinator in node.toml, or ask for the name's address"
        )
    return ok("dns", f"{host} is {addresses[0][4][0]}")


def check_tls(settings: NodeSettings) -> Finding:
    """The coordinator answers, with a certificate of the trust's authority that lasts."""
    return _server("coordinator", settings, interface(settings).url)


def check_superlink(settings: NodeSettings) -> Finding:
    """The SuperLink answers, with a certificate of the trust's authority that lasts."""
    return _server("superlink", settings, settings.superlink)


def check_interface(settings: NodeSettings) -> Finding:
    """The coordinator's interface gives its roots."""
    versions = len(interface(settings).roots())
    own_version = len(settings.roots())
    if versions > own_version:
        text = f"the coordinator has version {versions} of the trust root, and this home version {own_version}"
        return warning("interface", text, "enrol again with a new invitation, or let `node run` follow by itself")
    return ok("interface", f"it answers; {versions} versions of the trust root")


def check_clock(settings: NodeSettings) -> Finding:
    """This machine's clock goes as the coordinator's does, to 5 s; an answer's date is cut to the second."""
    earliest = datetime.now(UTC)
    server_time = interface(settings).date()
    latest = datetime.now(UTC)
    offset = max((server_time - latest).total_seconds(), (earliest - server_time).total_seconds() - 1.0, 0.0)
    if offset >= _LARGEST_OFFSET_SECONDS:
        text = f"this machine's clock and the coordinator's differ by {offset:.0f} s"
        return failure("clock", text, "synchronise this clock (chrony, systemd-timesyncd); if it is right, tell them")
    return ok("clock", f"within {_LARGEST_OFFSET_SECONDS:.0f} s of the coordinator's")


def certificate_days(settings: NodeSettings, address: str, patience: float = _CONNECT_SECONDS) -> int:
    """Days that a server's certificate lasts; a verified handshake.  Raises: Fault where there is none."""
    host, port = place_of(address)
    try:
        with (
            socket.create_connection((host, port), timeout=patience) as plain,
            tls_context(settings.authority()).wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            raw = wrapped.getpeercert(binary_form=True)
    except ssl.SSLError as wrong:
        raise Fault(f"{host}:{port}: {why(wrong)}", remedy=_ASK) from None
    except OSError as wrong:
        raise Fault(f"{host}:{port} cannot be reached ({why(wrong)})", remedy=_ASK) from None
    certificate = x509.load_der_x509_certificate(raw or b"")
    return (certificate.not_valid_after_utc - datetime.now(UTC)) // timedelta(days=1)


def _server(check: str, settings: NodeSettings, address: str) -> Finding:
    if settings.toml and settings.toml.proxy:
        return ok(check, f"{address}: reached through {settings.toml.proxy}; see `interface`")
    days = certificate_days(settings, address)
    text = f"{address} answers over TLS; its certificate lasts {days} days"
    if days < _RENEW_DAYS:
        return warning(check, text, "ask who runs the coordinator to renew it")
    return ok(check, text)
