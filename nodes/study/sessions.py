"""All studies of one node: each message goes to the session of its mandate, and ended sessions are dropped.

While a source does not answer, as a database that starts again, a message is not answered either: the coordinator sends
it again.

What names the mandate is not verified here: the session verifies every signature, and only one that has approved is
kept.  The same bytes again get the same answer, so that a coordinator may repeat what was lost on the way; a copy that
comes late, when the study has gone on, changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from nodes.events import AnswerSent, LateCopy, ResumeFailed, SourceUnreachable, StudyGivenUp, StudyResumed, Tell, ignore
from nodes.node import Node
from nodes.rows.from_database import SourceAway
from nodes.study.egress import Egress
from nodes.study.session import Session
from trust.errors import DataTrustError
from trust.protocol.messages import DOWN, RefusalMessage, unpack
from trust.secure_sum import close_study
from trust.secure_sum.errors import StoreUnavailable
from trust.signing.envelope import Envelope, sha256
from trust.times import write_time

__all__ = ["Sessions"]

_MOST_STUDIES = 16
"""Studies at once; each holds its rows in memory."""
_MOST_COPIES = 20_000
"""Messages of a study that are known again when a copy of them comes late."""
_IDLE_SECONDS = 3600.0
"""Seconds without a message after which a study is given up: its rows and keys go."""


@dataclass
class _StudyHolder:
    session: Session
    heard: float
    last: bytes = b""
    answer: bytes = b""
    before: set[bytes] = field(default_factory=set)
    """Digests of the messages before the last."""
    over: bool = False
    """Its source was waited for, and the coordinator has closed it: a late copy of the mandate finds it closed."""


class Sessions:
    """The studies that a node takes part in, one after another and at the same time; in one thread."""

    def __init__(
        self,
        node: Node,
        *,
        most: int = _MOST_STUDIES,
        idle: float = _IDLE_SECONDS,
        away: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        tell: Tell = ignore,
    ) -> None:
        """Over one node.

        Args:
            away: seconds from the first message of a study on for which its source may be away; then it is refused.
            tell: is given each event: a message and how it was answered, a study that goes on or is given up.
        """
        self._node, self._most, self._idle, self._clock, self._tell = node, most, idle, clock, tell
        self._holders: dict[str, _StudyHolder] = {}
        self._away, self._waiting = away, dict[str, _StudyHolder]()
        self._mandates_over: set[str] = set()
        self._began_at = clock()

    def __len__(self) -> int:
        return len(self._holders)

    def handle(self, raw: bytes) -> bytes:
        """Answer one message.  Raises: SourceAway where it is to come again."""
        self._give_up()
        kind, mandate = _read(raw)
        try:
            return self._handle(raw, kind, mandate)
        except SourceAway:
            self._tell(SourceUnreachable(mandate, kind))
            raise

    def _handle(self, raw: bytes, kind: str, mandate: str) -> bytes:
        holder = self._holders.get(mandate)
        if holder is None:
            if len(self._holders) >= self._most:
                return self._busy()
            holder = self._waiting.get(mandate) or _StudyHolder(self._session(mandate, kind), self._clock())
        mark = hashlib.sha256(raw).digest()
        if mark in holder.before:
            return self._late(kind, mandate)
        if mark != holder.last:
            was_open = holder.session.open
            holder.answer = self._answer(holder, raw, mandate)
            holder.before |= {holder.last} if holder.last else set()
            if len(holder.before) > _MOST_COPIES:  # no study has so many: its coordinator fills this node's memory
                holder.before.clear()
                del holder.session.egress.sent[:-_MOST_COPIES]
            holder.last = mark
            if was_open and not holder.session.open:
                self._mandates_over.add(mandate)
            self._say(kind, mandate, holder.session)
        if mandate in self._waiting:
            if not holder.session.genuine:
                return holder.answer  # anybody's message: the session goes on waiting
            holder.over |= kind == "close"
            if not holder.over:
                del self._waiting[mandate]
        holder.heard = self._clock()
        if mandate and holder.session.open:
            self._holders[mandate] = holder
        else:
            self._holders.pop(mandate, None)
        return holder.answer

    def _answer(self, holder: _StudyHolder, raw: bytes, mandate: str) -> bytes:
        """Raises: SourceAway; its next message comes to the same session."""
        try:
            return holder.session.handle(raw, wait=self._clock() - holder.heard < self._away)
        except SourceAway:
            self._waiting[mandate] = holder
            raise

    def _session(self, mandate: str, kind: str) -> Session:
        """A new one, or that of a study which was open when this node's last process ended.

        One that has ended here stays so, where the store could not write that it was closed: it is closed now.  A
        source that is away is waited for as long as the coordinator asks; a close needs none.
        """
        has_ended = mandate in self._mandates_over
        try:
            study = self._node.store.of_mandate(bytes.fromhex(mandate))
            if study is None:
                return Session(self._node, keep=True)
            session = Session.again(self._node, study, wait=self._away > 0 and kind != "close" and not has_ended)
        except StoreUnavailable:
            return Session(self._node, keep=True)  # which says so
        if has_ended:
            with suppress(DataTrustError):
                session.abandon()
            return session
        trouble = session.trouble
        self._tell(StudyResumed(mandate) if trouble is None else ResumeFailed(mandate, trouble.rule, str(trouble)))
        return session

    def _give_up(self) -> None:
        oldest = self._clock() - self._idle
        if self._began_at < oldest:
            self._began_at = self._clock()
            self._close_unheard()
        self._waiting = {mandate: holder for mandate, holder in self._waiting.items() if holder.heard >= oldest}
        for mandate in [name for name, holder in self._holders.items() if holder.heard < oldest]:
            with suppress(DataTrustError):  # a store that cannot write: rows and keys are forgotten all the same
                self._mandates_over.add(mandate)
                self._holders.pop(mandate).session.abandon()
            self._tell(StudyGivenUp(mandate))

    def _close_unheard(self) -> None:
        """Studies that nobody has gone on with since a process ended, or could not write that they were closed."""
        with suppress(DataTrustError):
            open_mandates = {self._node.store.of_mandate(bytes.fromhex(mandate)) for mandate in self._holders}
            for study in set(self._node.store.open_studies()) - open_mandates:
                close_study(self._node.store, study, "abandoned", time=write_time(self._node.clock()))

    def _late(self, kind: str, mandate: str) -> bytes:
        """A copy that was on its way while the study has gone on: what it asks was answered."""
        self._tell(LateCopy(mandate, kind))
        text = "this message was answered, and the study has gone on since"
        return self._refusal("message-order", text, "send the next message")

    def _busy(self) -> bytes:
        return self._refusal("busy", "this partner takes part in as many studies as it can", "ask later")

    def _refusal(self, rule: str, text: str, remedy: str) -> bytes:
        message = RefusalMessage(name=self._node.name, rule=rule, text=text, remedy=remedy)
        return Egress(self._node.identity).send(message)

    def _say(self, kind: str, mandate: str, session: Session) -> None:
        sent = session.egress.sent[-1]
        trouble = str(session.trouble) if sent.kind == "refusal" and session.trouble else ""
        self._tell(AnswerSent(mandate, kind, sent.kind, trouble))


def _read(raw: bytes) -> tuple[str, str]:
    """Kind, and digest of the mandate in hex, as the message says; empty where it says none."""
    try:
        message = unpack(raw, DOWN)
        mandate = message.header.get("mandate")
        if message.kind == "mandate":
            return "mandate", sha256(Envelope.read(mandate).unverified_payload).removeprefix("sha256:")
    except DataTrustError:
        return "", ""
    return message.kind, mandate if isinstance(mandate, str) and re.fullmatch("[0-9a-f]{64}", mandate) else ""
