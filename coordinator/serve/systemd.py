"""What systemd is told about the service: that it is ready, and that it is alive.  Nothing where nobody has asked."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

__all__ = ["Watchdog", "notify"]

_PATIENCE_SECONDS = 1.0
"""Seconds for a service manager whose queue is full."""


def notify(*lines: str) -> None:
    """Send lines such as `READY=1` to the socket that NOTIFY_SOCKET names: a path, or after `@` an abstract name.

    They are lost where nobody listens: that is the service manager's trouble and no error of the process.
    `nodes/serve/systemd.py` has the same function, since neither package imports the other and `trust` opens no
    socket; one test holds both.  Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.settimeout(_PATIENCE_SECONDS)
        manager.sendto("\n".join(lines).encode(), place)


class Watchdog:
    """A process's signs of life, with the period that its environment names.  Source: sd_watchdog_enabled(3)."""

    def __init__(self) -> None:
        period = os.environ.get("WATCHDOG_USEC", "")
        is_for_us = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._period_seconds = int(period) / 2e6 if period.isdigit() and is_for_us else 0.0
        self._next = 0.0

    def keep_alive(self) -> None:
        """Send a sign of life at half of the watchdog's period; to be called more often than that."""
        if self._period_seconds and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period_seconds
            notify("WATCHDOG=1")
