"""A coordinator's register, fetched and put together again here, so that it is read and checked as one in a folder is.

The copy's head is computed from its entries; it must be the one that the coordinator has signed, with a key that
follows from the pinned root.  The last checkpoint that was seen is kept, so that a register that was shortened or
rewritten since is found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from datatrust.person import pins
from datatrust.remote.verified_trust import VerifiedTrust
from trust.canonical import read_model
from trust.errors import Fault, MessageInvalid, Refused
from trust.files import writing
from trust.logs.checkpoint import Checkpoint, read_checkpoint, register_origin
from trust.logs.kinds import REGISTER as KINDS
from trust.logs.logbook import Logbook, prepare
from trust.logs.merkle import Entry

__all__ = ["copied", "keep_checkpoint", "kept_checkpoint", "page"]

_PAGE_ENTRIES, _LARGEST_PAGE_BYTES = 1000, 1 << 24
_MOST_ENTRIES = 10_000_000
_ASK = "ask who runs the trust, and tell its auditor"


@contextmanager
def copied(verified: VerifiedTrust) -> Iterator[sqlite3.Connection]:
    """The whole register in memory, in the tables of a coordinator's database.

    Raises: MessageInvalid; Refused (`checkpoint-signature`, `log-corrupt`) where the entries do not lead to the
    checkpoint that the coordinator has signed.
    """
    note = verified.link.text("/v1/register/checkpoint")
    checkpoint = _read_signed(note, verified)
    if checkpoint.size > _MOST_ENTRIES:
        raise Fault(f"a register of {checkpoint.size} entries; at most {_MOST_ENTRIES} are fetched")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        prepare(db)
        db.execute("CREATE TABLE checkpoint (one INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT")
        db.execute("INSERT INTO checkpoint VALUES (0, ?)", (note,))
        log = Logbook(db, "register", KINDS)
        db.execute("BEGIN")
        for start in range(0, checkpoint.size, _PAGE_ENTRIES):
            for entry in page(verified, start, min(start + _PAGE_ENTRIES, checkpoint.size)):
                _append(log, entry)
        db.execute("COMMIT")
        if log.head() != (checkpoint.size, checkpoint.root):
            text = f"the entries that the coordinator shows are not the {checkpoint.size} that it has signed"
            raise Refused("log-corrupt", text, remedy=_ASK)
        yield db


def page(verified: VerifiedTrust, start: int, end: int) -> list[Entry]:
    """Entries from `start` to before `end`, as the coordinator shows them.  Raises: MessageInvalid."""
    page_entries: list[Entry] = []
    while (first_missing := start + len(page_entries)) < end:
        document: Any = verified.link.json(
            f"/v1/register/entries?start={first_missing}&limit={end - first_missing}", most=_LARGEST_PAGE_BYTES
        )
        entries = document.get("entries") if isinstance(document, dict) else None
        if not isinstance(entries, list) or not 0 < len(entries) <= end - first_missing:
            raise MessageInvalid(
                "the coordinator shows no entries of the register", expected=f"those from {first_missing} on"
            )
        page_entries += [
            read_model(Entry, entry_document, MessageInvalid, "an entry of the register") for entry_document in entries
        ]
    if [entry.seq for entry in page_entries] != list(range(start, end)):
        raise MessageInvalid("the coordinator shows other entries of the register", expected=f"{start} to {end - 1}")
    return page_entries


def kept_checkpoint(verified: VerifiedTrust) -> str | None:
    """The last checkpoint of this trust's register that was verified here, None where there is none."""
    file = _file(verified)
    return pins.read_pin_file(file).decode("utf-8", "replace") if file.exists() else None


def keep_checkpoint(verified: VerifiedTrust, note: str) -> None:
    """For the next time.  Raises: InvalidInput."""
    with writing(_file(verified), "make its folder writable"):
        pins.keep(_file(verified), note.encode("utf-8"))


def _file(verified: VerifiedTrust) -> Path:
    return pins.folder(verified.home) / "checkpoints" / f"{verified.anchor.root.trust}.txt"


def _read_signed(note: str, verified: VerifiedTrust) -> Checkpoint:
    """The checkpoint, signed with a key of a version that follows from the pinned root."""
    newest_first = [verified.versions[number] for number in sorted(verified.versions, reverse=True)]
    keys = [key for version in newest_first for key in version.root.keys_of("coordinator").values()]
    return read_checkpoint(note, register_origin(verified.anchor.root.trust), keys)


def _append(log: Logbook, entry: Entry) -> None:
    try:
        log.append(entry.kind, entry.study, entry.at, entry.body)
    except ValueError:
        raise MessageInvalid(
            f"entry {entry.seq} of the register is none that a register has", expected="a kind and a body it knows"
        ) from None
