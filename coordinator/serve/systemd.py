"""What the service manager is told: that all is ready, and that we are alive.  Nothing where there is none.

Source: sd_notify(3), the protocol in its last section: datagrams to the Unix socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

__all__ = ["Notifier"]


class Notifier:
    """One service's socket, from the environment at the time when it is made."""

    def __init__(self) -> None:
        self._place = os.environ.get("NOTIFY_SOCKET", "")
        period = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._period = int(period) / 2e6 if period.isdigit() and ours else 0.0
        self._next = 0.0

    def tell(self, *lines: str) -> None:
        """Such as `READY=1`; lost where nobody listens."""
        if not self._place:
            return
        place = "\0" + self._place[1:] if self._place.startswith("@") else self._place
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.sendto("\n".join(lines).encode(), place)

    def alive(self) -> None:
        """To be called often: a sign of life at half of the time after which the manager would end us."""
        if self._period and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period
            self.tell("WATCHDOG=1")
