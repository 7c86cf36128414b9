"""Numbered writes: every statement that SQLite is given, every sync, rename and link of a file; and a real SIGKILL at
one of them.  A warm process is forked for each, so that a point costs what the study costs.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["count", "killed_at"]

_WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT")


class _Counter:
    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def point(self, *_: Any) -> None:
        self.seen += 1
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def statement(self, sql: str) -> None:
        if sql.lstrip().upper().startswith(_WRITES):
            self.point()

    def install(self) -> None:
        connect = sqlite3.connect

        def traced(*arguments: Any, **named: Any) -> sqlite3.Connection:
            db = connect(*arguments, **named)
            db.set_trace_callback(self.statement)
            return db

        for module in (sqlite3, sqlite3.dbapi2):
            module.connect = traced  # type: ignore[attr-defined]
        for name in ("fsync", "replace", "link"):
            real = getattr(os, name)

            def before(*arguments: Any, real: Callable[..., Any] = real, **named: Any) -> Any:
                self.point()
                return real(*arguments, **named)

            setattr(os, name, before)


def killed_at(at: int, run: Callable[[], None]) -> tuple[int, int]:
    """Run in a forked process that is killed at its write number `at`; never where `at` is 0.

    Returns the signal that ended it (0: none) and how many writes there were, where it ended by itself; an exit code
    other than 0 comes as minus that code.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            counter = _Counter(at)
            counter.install()
            run()
            os.write(writer, counter.seen.to_bytes(8, "big"))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    raw = b""
    while part := os.read(reader, 8):
        raw += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    return ended, int.from_bytes(raw, "big")


def count(run: Callable[[], None]) -> int:
    """How many writes there are."""
    ended, seen = killed_at(0, run)
    assert ended == 0
    return seen
