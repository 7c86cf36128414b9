"""A study that survives its process: each message, answer and entry is kept before it counts, and is never made twice.

The conductor (`conductor.py`) follows from the answers alone.  So the process that takes a study up conducts it again
from the start, and what the last process had already asked is answered from what it has kept: nodes see nothing of it.
The message under way is sent once more with the same bytes, to which a node gives the same answer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from coordinator.docket.docket import Docket
from coordinator.study.channel import Channel
from trust.canonical import digest
from trust.errors import Fault, Refused
from trust.signing.envelope import Envelope

__all__ = ["LeaveForAnother", "Replay", "answers_kept"]

T = TypeVar("T")
_MOST_ANSWER_BYTES = 3 << 28
"""Bytes of all answers to one message, in equal shares: SQLite keeps less than 10^9 in one place."""


class LeaveForAnother(BaseException):
    """The study is left as it stands, for another process to go on with; no handler of errors ends it."""


class Replay:
    """One study's channel and book, over a docket.  In one thread."""

    def __init__(self, docket: Docket, study: str, channel: Channel, stop: threading.Event) -> None:
        """Args: stop: once it is set nothing is sent or kept any more, and everything here raises LeaveForAnother."""
        self._docket, self._study, self._channel, self._stop = docket, study, channel, stop
        self._step = 0

    @property
    def begun(self) -> bool:
        """Whether the study is conducted by now: however that ends, its nodes are told."""
        return self._step > 0

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> Mapping[str, bytes]:
        """As a channel; what was answered before is not asked again."""
        step, self._step = self._step, self._step + 1
        kept = self._durably(lambda: self._docket.messages.read(self._study, f"answers {step}"))
        if kept is None:
            sent = _read(self._keep(f"messages {step}", _write(messages)))
            share = _MOST_ANSWER_BYTES // max(1, len(sent))
            answers = self._channel.exchange(sent, deadline=deadline)
            # what could not be kept would be asked again for ever; no bytes are not a message, and that ends the study
            short = {name: raw if len(raw) <= share else b"" for name, raw in answers.items()}
            kept = self._keep(f"answers {step}", _write(short))
        return _read(kept)

    def salt(self, r: int) -> bytes:
        """Of the record of sum `r`: the same one again after a restart."""
        return self._keep(f"salt {r}", os.urandom(32))

    def require_not_withdrawn(self) -> None:
        """Raises: Refused (`cancelled`) where the study was withdrawn meanwhile."""
        if self._durably(lambda: self._docket.find(self._study)).state == "cancelled":
            raise Refused("cancelled", "the study was withdrawn", remedy="file it again if it is wanted after all")

    # ---- the book

    def publish(self, kind: str, study: str, body: Mapping[str, Any]) -> int:
        """An entry of the register, once."""
        key = f"{kind} {digest(dict(body))}"
        return self._durably(lambda: self._docket.publish_once(key, kind, study, body))

    def journal_head(self, partner: str) -> str:
        """The last checkpoint of a partner's journal."""
        return self._durably(lambda: self._docket.journal_head(partner))

    def revocations(self, mandate: str) -> Sequence[Envelope]:
        """Those of a mandate."""
        return self._durably(lambda: self._docket.revocations(mandate))

    def _keep(self, key: str, raw: bytes) -> bytes:
        return self._durably(lambda: self._docket.messages.keep(self._study, key, raw))

    def _durably(self, do: Callable[[], T]) -> T:
        """A database that fails ends this process, not the study: it is tried again later.  Raises: LeaveForAnother."""
        if self._stop.is_set():
            raise LeaveForAnother
        try:
            return do()
        except Fault as wrong:
            self._stop.set()
            raise LeaveForAnother from wrong


def answers_kept(docket: Docket, study: str, step: int) -> dict[str, bytes]:
    """What was kept of the answers to a study's message, by partner; nothing where there were none yet.

    Raises: Fault.
    """
    return _read(docket.messages.read(study, f"answers {step}") or b"")


def _write(parts: Mapping[str, bytes]) -> bytes:
    """Names and bytes, each with its length before it (u64 big-endian)."""
    pairs = [part for name, raw in sorted(parts.items()) for part in (name.encode("ascii"), raw)]
    return b"".join(len(part).to_bytes(8, "big") + part for part in pairs)


def _read(raw: bytes) -> dict[str, bytes]:
    """The inverse of `_write`.  Raises: Fault."""
    parts, offset = list[bytes](), 0
    while offset < len(raw):
        length = int.from_bytes(raw[offset : offset + 8], "big")
        parts.append(raw[offset + 8 : offset + 8 + length])
        offset += 8 + length
    if offset != len(raw) or len(parts) % 2:
        raise Fault("what was kept of a study cannot be read", remedy="put the database back, or cancel the study")
    return {name.decode("ascii"): part for name, part in zip(parts[::2], parts[1::2], strict=True)}
