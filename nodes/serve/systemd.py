"""What systemd is told about a node: a datagram, as sd_notify(3) has it.  Nothing where nobody has asked."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

__all__ = ["notify"]

_PATIENCE_SECONDS = 1.0
"""Seconds for a service manager whose queue is full."""


def notify(*lines: str) -> None:
    """Send lines such as `READY=1` to the socket that NOTIFY_SOCKET names: a path, or after `@` an abstract name.

    They are lost where nobody listens: that is the service manager's trouble and no error of the process.
    `coordinator/serve/systemd.py` has the same function, since neither package imports the other and `trust` opens no
    socket; one test holds both.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.settimeout(_PATIENCE_SECONDS)
        manager.sendto("\n".join(lines).encode(), place)
