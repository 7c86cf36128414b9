"""The signed result, verified from the trust root to the register; and the same with one byte changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datatrust.in_process.local_trust import LocalTrust
from datatrust.person.pins import read_root
from datatrust.research.result import Result
from trust.documents.result import write_envelope
from trust.documents.verification import Verified, verify
from trust.errors import Refused

__all__ = ["Proof", "change_one_byte", "prove"]


@dataclass(frozen=True)
class Proof:
    """What was verified, and in which files.

    Attributes:
        result, changed, root: the released file, the one with a byte changed, and the trust root to hold them to.
        checkpoint: the register's signed head, a note.
        bytes_changed: in how many bytes the two files differ.
        count: which count of the histogram was changed, from what to what.
        entries: how many the register has.
        register_ok: all of them were read again, and are what its head says.
    """

    result: Path
    changed: Path
    root: Path
    checkpoint: str
    verified: Verified
    verified_changed: Verified
    bytes_changed: int
    count: tuple[int, int, int]
    entries: int
    register_ok: bool

    @property
    def found_at(self) -> tuple[int, str]:
        """Number and name of the step that found the change; 0 where none did."""
        for number, decision in enumerate(self.verified_changed.decisions, 1):
            if not decision.ok:
                return number, decision.rule
        return 0, ""


def prove(trust: LocalTrust, result: Result, counts: Sequence[int | None], out: Path) -> Proof:
    """Save the result, verify it, change one byte, verify again, and read the register.

    Args:
        counts: of the histogram, None where hidden.

    Raises: OSError, InvalidInput where the files cannot be written.
    """
    result_file = result.save(out / "result.json")
    root, changed, checkpoint = out / "root.json", out / "result-changed.json", out / "checkpoint.txt"
    root.write_bytes(write_envelope(trust.docket.trust.roots[-1]))
    raw = result_file.read_bytes()
    changed_raw, count = change_one_byte(raw, counts)
    changed.write_bytes(changed_raw)
    register = trust.docket.register
    note = register.checkpoint()
    checkpoint.write_text(note, "utf-8")
    return Proof(
        result_file,
        changed,
        root,
        note,
        _verified(result_file, root),
        _verified(changed, root),
        sum(a != b for a, b in zip(raw, changed_raw, strict=True)),
        count,
        register.head()[0],
        _reads(trust),
    )


def change_one_byte(raw: bytes, counts: Sequence[int | None]) -> tuple[bytes, tuple[int, int, int]]:
    """A result file in which the first shown of these counts ends in another digit, and nothing else is different.

    Also says which count, what it was and what it is.  A digit and the next differ in one bit, which stands in one
    character of the payload's base64.
    """
    payload = json.loads(raw)["payload"]
    document = base64.b64decode(payload)
    texts = ['""' if n is None else str(n) for n in counts]
    place = next(index for index, n in enumerate(counts) if n is not None)
    prefix = f"[{','.join(texts[: place + 1])}"
    index = document.index(f"[{','.join(texts)}".encode()) + len(prefix) - 1
    changed = document[:index] + bytes([document[index] ^ 1]) + document[index + 1 :]
    was = int(texts[place])
    return raw.replace(payload.encode(), base64.b64encode(changed)), (place, was, was ^ 1)


def _verified(file: Path, root: Path) -> Verified:
    return verify(file.read_bytes(), pinned=read_root(root), now=datetime.now(UTC))


def _reads(trust: LocalTrust) -> bool:
    try:
        trust.docket.register.verify()
    except Refused:
        return False
    return True
