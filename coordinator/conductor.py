"""The coordinator's half of a study: ask, open the total, judge it, and let the analysis ask again.

It holds nothing but totals: with the stored totals a study is replayed to where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trust.analyses.base import Ask, Scope, Sum, Values, together
from trust.decision import Decision, Decisions, require
from trust.errors import Fault, MessageInvalid, Refused
from trust.plain_sum import open_sum
from trust.study import Study, plan_digest
from trust.wire import UP, pack, pack_asks, unpack

__all__ = ["Channel", "Conducted", "conduct"]

Plans = dict[str, dict[str, Sum]]


class Channel(Protocol):
    """How messages reach nodes: in process a dict of sessions, deployed Flower."""

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> Mapping[str, bytes]:
        """Send each partner its message; the answers that came within `deadline` seconds."""


@dataclass(frozen=True)
class Conducted:
    """What came of a study: a result for each analysis before its release, and how it went.

    Attributes:
        values: analysis -> named arrays.
        partners: who took part.
        absent: who did not, and the rule that it named.
        decisions: what was decided on totals.
        sums: how many sums were opened.
    """

    values: dict[str, Values]
    partners: tuple[str, ...]
    absent: dict[str, Refused]
    decisions: Decisions
    sums: int


@dataclass
class _Study:
    study: Study
    scope: Scope
    plans: Plans
    channel: Channel
    deadline: float
    tell: Callable[[str], None]
    decisions: list[Decision] = field(default_factory=list)

    def exchange(self, partners: tuple[str, ...], message: bytes) -> dict[str, tuple[dict[str, Any], bytes]]:
        answers = self.channel.exchange(dict.fromkeys(partners, message), deadline=self.deadline)
        return {name: unpack(raw, UP) for name, raw in answers.items() if name in partners}


def conduct(
    study: Study,
    scope: Scope,
    plans: Plans,
    channel: Channel,
    *,
    deadline: float = 60.0,
    tell: Callable[[str], None] = lambda words: None,
) -> Conducted:
    """Carry a study from the mandate to its results before release.

    Args:
        deadline: seconds that an answer may take.
        tell: is told the state in words, for a person who waits.

    Raises: Refused with the rule's id; AnalysisFailed where the data give no answer; Fault where a partner is silent.
    """
    conducted = _Study(study, scope, plans, channel, deadline, tell)
    joined, absent = _roll_call(conducted)
    try:
        values, sums = _sums(conducted, joined)
    finally:
        channel.exchange(dict.fromkeys(joined, pack({"kind": "close", "study": study.id})), deadline=deadline)
    return Conducted(values, joined, absent, Decisions(conducted.decisions), sums)


def _roll_call(on: _Study) -> tuple[tuple[str, ...], dict[str, Refused]]:
    """Who joins: the partners whose approvals are in, at least m of them."""
    named = on.scope.partners
    on.tell(f"asking {len(named)} partners")
    digest = plan_digest(on.study, on.scope, on.plans)
    mandate = pack({"kind": "mandate", "study": on.study.document(), "partners": list(named), "plan": digest})
    answers = on.exchange(named, mandate)
    joined = tuple(name for name in named if name in answers and answers[name][0]["kind"] == "approval")
    absent = {name: _refusal(answers[name][0]) for name in named if name in answers and name not in joined}
    absent |= {name: Refused("silent", "the partner did not answer in time") for name in named if name not in answers}
    fewest = on.scope.protections.fewest(len(named))
    if absent and on.scope.protections.participation == "all":
        raise next(iter(absent.values()))
    rules = sorted({refused.rule for refused in absent.values()})
    if not joined and len(rules) == 1:
        raise next(iter(absent.values()))
    remedies = sorted({refused.remedy for refused in absent.values() if refused.remedy})
    why = f"; those that do not, because of: {', '.join(rules)}" if rules else ""
    decision = Decision(
        "organisations",
        len(joined) >= fewest,
        f"at least {fewest} partners take part; {len(joined)} of {len(named)} do{why}",
        "; ".join(remedies) or "name more partners",
    )
    require([decision])
    on.decisions.append(decision)
    start = pack({"kind": "start", "study": on.study.id, "partners": list(joined)})
    _all_answered(joined, on.exchange(joined, start), "ready")
    return joined, absent


def _sums(on: _Study, joined: tuple[str, ...]) -> tuple[dict[str, Values], int]:
    """Totals in, questions out, until every analysis has its result."""
    run = together({name: analysis.run(on.scope) for name, analysis in sorted(on.study.analyses.items())})
    total: Any = None
    r = 0
    try:
        while True:
            asks: dict[str, Ask] = run.send(total)
            on.tell(f"sum {r + 1}")
            sums, body = pack_asks(asks, on.plans)
            message = pack({"kind": "ask", "study": on.study.id, "r": r, "asks": sums}, body)
            answers = _all_answered(joined, on.exchange(joined, message), "upload")
            total = open_sum(asks, on.plans, {name: upload for name, (_, upload) in answers.items()})
            on.decisions += _judge(on, asks, total)
            r += 1
    except StopIteration as end:
        return end.value, r


def _judge(on: _Study, asks: Mapping[str, Ask], total: Mapping[str, Mapping[str, Any]]) -> list[Decision]:
    """The rules on totals; the first that says no ends the study."""
    fewest = on.scope.protections.fewest(len(on.scope.partners))
    judged = [
        rule.judge(total[name], on.scope.protections, fewest)
        for name, ask in sorted(asks.items())
        for rule in on.plans[name][ask.sum].rules
        if rule.where == "total"
    ]
    return list(require(judged)) if judged else []


def _all_answered(
    joined: tuple[str, ...], answers: Mapping[str, tuple[dict[str, Any], bytes]], kind: str
) -> Mapping[str, tuple[dict[str, Any], bytes]]:
    """Everybody's answer of this kind, or why not: after the start a refusal ends the study."""
    for name in joined:
        if name not in answers:
            raise Fault(f"partner {name!r} did not answer in time; the study must be run again")
        if answers[name][0]["kind"] == "refusal":
            raise _refusal(answers[name][0])
        if answers[name][0]["kind"] != kind:
            raise MessageInvalid(f"partner {name!r} answered with {answers[name][0]['kind']!r}", expected=kind)
    return answers


def _refusal(header: Mapping[str, Any]) -> Refused:
    words = [str(header.get(key, ""))[:500] for key in ("rule", "text", "remedy")]
    return Refused(words[0] or "refused", words[1], words[2])
