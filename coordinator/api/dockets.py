"""The dockets that requests are answered with: opened once, lent to one request at a time.

Opening one reads the whole register again, which is too slow to be done for each request.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool

from coordinator.docket.docket import Docket
from trust.errors import Fault, InvalidInput

__all__ = ["Dockets", "Writing"]

_POLL_SECONDS = 0.01
_PROOF_SECONDS, _STALE_SECONDS = 5.0, 15.0
"""Seconds between two proofs that docket and register can be written, and for how long one counts."""


class Dockets:
    """At most `most` open dockets.  A request that gets none within `patience` seconds is refused.

    Those that wait do so without a thread: each docket in use needs one to come back.
    """

    def __init__(self, open_one: Callable[[], Docket], most: int = 4, patience: float = 20.0) -> None:
        self._open_one, self._most, self._patience = open_one, most, patience
        self._free: queue.LifoQueue[Docket] = queue.LifoQueue()
        self._dockets: list[Docket] = []
        self._lock = threading.Lock()
        self._count = 0

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Docket]:
        """A docket that nobody else uses meanwhile.

        Raises: Fault where none becomes free, or where the trust root names another charter than this process has;
        what opening one raises.
        """
        deadline = time.monotonic() + self._patience
        while (docket := await run_in_threadpool(self.take)) is None:
            if time.monotonic() > deadline:
                raise Fault("all dockets are in use; the coordinator is too busy")
            await asyncio.sleep(_POLL_SECONDS)
        try:
            await run_in_threadpool(_usable, docket)
            yield docket
        finally:
            self.give(docket)

    def take(self) -> Docket | None:
        """A free one, or a new one; None where all are in use.  It is the caller's to give back."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if self._count == self._most:
                return None
            self._count += 1
        try:
            docket = self._open_one()
        except BaseException:
            with self._lock:
                self._count -= 1
            raise
        self._dockets.append(docket)
        return docket

    def give(self, docket: Docket) -> None:
        """It is free again."""
        self._free.put(docket)

    def close(self) -> None:
        """Close them all; no request is running any more."""
        for docket in self._dockets:
            docket.close()


class Writing:
    """Whether docket and register can be written: proved once in a while, by one request at a time."""

    def __init__(self) -> None:
        self._proved, self._proof_lock = -_STALE_SECONDS, threading.Lock()

    def works(self, docket: Docket) -> bool:
        """Whether it could be written just now; while somebody tries, what the last one has found."""
        if time.monotonic() - self._proved > _PROOF_SECONDS and self._proof_lock.acquire(blocking=False):
            try:
                docket.check_writable()
                self._proved = time.monotonic()
            except Fault:
                return False
            finally:
                self._proof_lock.release()
        return time.monotonic() - self._proved < _STALE_SECONDS


def _usable(docket: Docket) -> None:
    try:
        docket.trust  # noqa: B018 - reads the newest root
    except InvalidInput as wrong:  # nothing that a client could fix
        raise Fault(str(wrong)) from None
