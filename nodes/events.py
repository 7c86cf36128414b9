"""What happens at a running node, as values of a closed set: what the log and the demo say is made from these.

Code that finds something out calls `tell(event)`.  The log takes `name`, `level` and `fields`, which hold names and
codes only; `str(event)` is a line for the node's own operator and may say why in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, get_args

__all__ = [
    "NAMES", "AnswerSent", "Connected", "JoiningAgain", "LateCopy", "MessageLeftOut", "NodeEvent", "NotAdmitted",
    "ResumeFailed", "SourceUnreachable", "StudyGivenUp", "StudyResumed", "Tell", "ignore",
]  # fmt: skip


class _Event:
    """An event: `name` in the log, empty for one that the log has already as a `message`; its level; and the operator's
    line, in which a field's name in braces stands for what the field holds.
    """

    name: ClassVar[str] = ""
    level: ClassVar[str] = "warning"
    line: ClassVar[str] = ""

    @property
    def fields(self) -> dict[str, str]:
        """Of the log's line: names and codes, never a value."""
        return {}

    def __str__(self) -> str:
        return self.line.format(**vars(self))


@dataclass(frozen=True)
class Connected(_Event):
    """The SuperLink has let this node in."""

    name, level, line = "connected", "info", "connected"


@dataclass(frozen=True)
class NotAdmitted(_Event):
    """The SuperLink does not let this node in yet."""

    name, line = "not-admitted", "not admitted yet; trying again"


@dataclass(frozen=True)
class JoiningAgain(_Event):
    """The SuperLink has forgotten this node."""

    name, line = "joining-again", "the SuperLink no longer knows this node; joining again"


@dataclass(frozen=True)
class MessageLeftOut(_Event):
    """A message that could not be fetched or answered; `code` says why in one word."""

    code: str
    name, line = "message-left-out", "a message was left out ({code})"

    @property
    def fields(self) -> dict[str, str]:
        return {"code": self.code}


@dataclass(frozen=True)
class _StudyEvent(_Event):
    """Of one study, named by the digest of its mandate in hex; empty where a message names none."""

    mandate: str

    @property
    def fields(self) -> dict[str, str]:
        return {"mandate": self.mandate[:8]}

    def __str__(self) -> str:
        return f"{self._subject()}: {super().__str__()}"

    def _subject(self) -> str:
        return f"mandate {self.mandate[:8]}" if self.mandate else "no mandate"


@dataclass(frozen=True)
class SourceUnreachable(_StudyEvent):
    """A message of this kind waits until the partner's database answers again."""

    kind: str
    name, line = "source-away", "{kind}, not answered yet, since the source is away"


@dataclass(frozen=True)
class StudyResumed(_StudyEvent):
    """A study goes on after this node's process was started again."""

    name, level, line = "goes-on", "info", "goes on after a restart"


@dataclass(frozen=True)
class ResumeFailed(_StudyEvent):
    """A study that was open when the last process ended cannot go on; it is closed here."""

    rule: str
    trouble: str
    name, line = "cannot-go-on", "cannot go on, because: {trouble}"

    @property
    def fields(self) -> dict[str, str]:
        return {**super().fields, "rule": self.rule}


@dataclass(frozen=True)
class StudyGivenUp(_StudyEvent):
    """Nobody has sent a message of this study for too long; its rows and keys are gone."""

    name, line = "given-up", "given up, no message came for too long"


@dataclass(frozen=True)
class LateCopy(_StudyEvent):
    """A copy of a message that was answered before."""

    kind: str
    line = "{kind} again, left out since the study has gone on"


@dataclass(frozen=True)
class AnswerSent(_StudyEvent):
    """A message was answered; `trouble` says in full why it was refused."""

    kind: str
    answer: str
    trouble: str = ""

    def __str__(self) -> str:
        reason = f", because: {self.trouble}" if self.trouble else ""
        return f"{self._subject()}: {self.kind or 'not a message of ours'}, answered with {self.answer}{reason}"


NodeEvent: TypeAlias = (
    Connected
    | NotAdmitted
    | JoiningAgain
    | MessageLeftOut
    | SourceUnreachable
    | StudyResumed
    | ResumeFailed
    | StudyGivenUp
    | LateCopy
    | AnswerSent
)
Tell: TypeAlias = Callable[[NodeEvent], None]
NAMES = frozenset(kind.name for kind in get_args(NodeEvent) if kind.name)
"""Those of the log."""


def ignore(_: NodeEvent) -> None:
    """Where nobody listens."""
