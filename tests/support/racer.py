"""Another process at a coordinator's state: `python -m tests.support.racer PLACE WHAT NAME`, which prints JSON.

It says `ready`, waits for a line, and then does what it was told; without a trust, so that it starts soon.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.docket.database import Database, open_database
from coordinator.docket.register import Register
from coordinator.docket.study_state import KeptMessages, Leases
from trust.logs.checkpoint import register_origin
from trust.signing.envelope import Signer
from trust.times import now

AT = "2026-11-24T12:00:01Z"
COUNT = 25


@dataclass
class RunState:
    """What a worker uses of a docket, with a key of its own."""

    db: Database
    register: Register
    messages: KeptMessages
    leases: Leases

    def close(self) -> None:
        self.db.close()


def running(place: Path | str) -> RunState:
    """Open a place."""
    db = open_database(place, durable=False)
    return RunState(db, Register(db, register_origin("race"), Signer()), KeptMessages(db), Leases(db, now))


def append(on: RunState, name: str) -> list[int]:
    """The numbers of the entries that were given to this one."""
    return [on.register.publish("refusal", name, AT, {"rule": "x", "text": str(number)}) for number in range(COUNT)]


def once(on: RunState, name: str) -> list[int]:
    """Each key of one study, which the others publish too."""
    return [on.register.publish_once(f"sum {number}", "refusal", "s", AT, {"by": name}) for number in range(COUNT)]


def lease(on: RunState, name: str) -> list[bool]:
    """Whether each of some studies is this one's."""
    return [on.leases.acquire(f"study-{number}", name, 60) for number in range(COUNT)]


def keep(on: RunState, name: str) -> list[str]:
    """What is kept under each key."""
    return [on.messages.keep("s", f"k{number}", name.encode()).decode() for number in range(COUNT)]


def hang(on: RunState, name: str) -> None:
    """An entry, kept bytes and a lease in a transaction that is never committed."""
    with on.db.transaction():
        on.register.append("refusal", name, AT, {"rule": "x"})
        on.db.execute("INSERT INTO kept (study, name, raw) VALUES (?, ?, ?)", (name, "k", b"x"))
        on.db.execute("INSERT INTO lease (study, holder, until) VALUES (?, ?, ?)", (name, "a", 1))
        on.register.checkpoint()
        print("written", flush=True)
        sys.stdin.readline()


WHAT: dict[str, Any] = {act.__name__: act for act in (append, once, lease, keep, hang)}


def main(place: str, what: str, name: str) -> None:
    """Connected before the start, so that all begin at once; `open`: not even that."""
    at = place if "://" in place else Path(place)
    on = None if what == "open" else running(at)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(append(running(at), name) if on is None else WHAT[what](on, name)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
