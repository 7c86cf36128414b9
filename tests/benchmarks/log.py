"""The Merkle log: one entry appended to a journal, without and with its commit, and a register read again."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from coordinator.docket.database import open_database
from coordinator.docket.register import Register
from nodes.state.store import SqliteStore
from tests.benchmarks.study import line
from trust.logs.checkpoint import register_origin
from trust.signing.envelope import Signer

AT = "2026-11-24T12:00:01Z"
BODY = {"asked": "risk/step", "bytes": 1234, "ctx": "62" * 32, "r": 3, "sha256": "ab" * 32}
BEFORE = 10_000
"""Entries that the log has already: a root is over them all."""


def microseconds(
    call: Callable[[], object], times: int, *, clock: Callable[[], float] = time.perf_counter, runs: int = 9
) -> float:
    """Median over the runs of the mean time of a call."""
    took = []
    for _ in range(runs):
        start = clock()
        for _ in range(times):
            call()
        took.append((clock() - start) / times * 1e6)
    return statistics.median(took)


def log(*, full: bool) -> Iterator[str]:
    """us an entry, CPU: encoded, hashed, into tree and table.  With its commit and fsyncs: wall clock."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "node")

        def append() -> None:
            store.journal("sum-contributed", "age-and-disease-7k3f", AT, BODY)

        with store.transaction():
            for _ in range(BEFORE):
                append()
            alone = microseconds(append, 1000, clock=time.process_time)
        committed = microseconds(append, 20)
        size, _ = store.head()
        read = microseconds(store._journal.verify, 1, clock=time.process_time, runs=3) / size
        store.close()
        yield line("log append", f"{alone:.1f} us")
        yield line("log append with commit", f"{committed:.0f} us")
        yield line(f"log read again and verified, {size} entries, an entry", f"{read:.1f} us")
        yield from register(Path(folder) / "coordinator")


def register(folder: Path) -> Iterator[str]:
    """us of an entry of the register with its new signed checkpoint and its proof, committed."""
    db = open_database(folder)
    made = Register(db, register_origin("bench"), Signer())

    def append() -> None:
        with db.transaction():
            made.inclusion(made.append("release", "age-and-disease-7k3f", AT, BODY))

    proved = microseconds(append, 100)
    db.close()
    yield line("register append, proved, signed and committed", f"{proved:.0f} us")
