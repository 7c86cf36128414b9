"""What systemd is told about the service: that it is ready, and that it is alive.  Does nothing under anything else."""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier

__all__ = ["ServiceNotifier"]


class ServiceNotifier:
    """A process's notifications, with the socket and the watchdog's period that its environment names.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self) -> None:
        self._notifier = SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        period = os.environ.get("WATCHDOG_USEC", "")
        is_for_us = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._period_seconds = int(period) / 2e6 if period.isdigit() and is_for_us else 0.0
        self._next = 0.0

    def notify(self, *lines: str) -> None:
        """Send lines such as `READY=1`; they are lost where nobody listens."""
        if self._notifier:
            self._notifier.notify("\n".join(lines))

    def keep_alive(self) -> None:
        """Send a sign of life at half of the watchdog's period; to be called more often than that."""
        if self._period_seconds and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period_seconds
            self.notify("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        if self._notifier and self._notifier.socket:
            self._notifier.socket.close()
