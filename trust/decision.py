"""One type for every yes and no: gate, policy, rules, output check and, later, the lab."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trust.errors import Refused, sentence

__all__ = ["Decision", "Decisions", "require"]


@dataclass(frozen=True)
class Decision:
    """What a rule said, in public words.  `text` and `remedy` never hold a value computed from rows."""

    rule: str
    ok: bool
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        text = self.text if self.ok else sentence(self.text, remedy=self.remedy)
        return f"{'yes' if self.ok else 'no '}  {self.rule}: {text}"


class Decisions(tuple[Decision, ...]):
    """Decisions in the order in which they were taken; `ok` when there is at least one and all are yes."""

    __slots__ = ()

    @property
    def ok(self) -> bool:
        """No decision at all is a no."""
        return len(self) > 0 and all(d.ok for d in self)

    @property
    def refusals(self) -> tuple[Decision, ...]:
        """Those that said no."""
        return tuple(d for d in self if not d.ok)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def require(decisions: Iterable[Decision]) -> Decisions:
    """The same decisions, or `Refused` for the first that said no.  An empty list refuses."""
    judged = Decisions(decisions)
    for decision in judged:
        if not decision.ok:
            raise Refused(decision.rule, decision.text, remedy=decision.remedy)
    if not judged:
        raise Refused("no-decision", "no rule was asked, and what no rule allows is refused")
    return judged
