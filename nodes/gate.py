"""The gate: a node's numbered checks.  The first that fails refuses; nothing is skipped.

Before rows     1 the trust root that I pinned is in force, and its charter is mine
                2 the mandate: in force, signed as my charter asks, for this study, this dataset, these partners
                3 the plan that I compute is the plan that was signed, and so are the bounds
                4 the researcher is accredited; charter: purpose, floors, dates, partners, sizes
After rows      5 enough persons in my cohort
                6 no person dominates a magnitude
Each sum        7 root and mandate are still in force, and I have not given more than the mandate allows
                8 the sums that my own replay asks next, and not more often than the plan says
                9 rules on my own part
Order, repetition, partner set and values of a question are checked by the secure sum (`trust/secure_sum/party.py`).
What the gate does not do: it neither reads rows nor sends anything; `session.py` calls it in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nodes.edition import Edition
from trust.analyses.base import Arrays, Ask, Scope, Sum
from trust.charter import Charter
from trust.dataset import PARTNER
from trust.decision import Decision, Decisions
from trust.errors import Refused
from trust.mandate import Mandate, SignedMandate, draft
from trust.policy import decide
from trust.privacy.rules import dominance, persons
from trust.root import Root, TrustRoot
from trust.study import Study, plan
from trust.sums import same_sums
from trust.times import read_time

__all__ = ["after_rows", "before_rows", "before_sum", "own_part"]

_COORDINATOR = "the coordinator is at fault"


def before_rows(
    root: TrustRoot,
    mandate: SignedMandate,
    study: Study,
    study_digest: str,
    charter: Charter,
    scope: Scope,
    *,
    now: datetime,
) -> Decisions:
    """Steps 1 to 4.  The signatures on root, mandate and study have been verified where they were read."""
    signed = mandate.mandate
    mine = draft(study_digest, study, scope, charter.folder_digest, root.root, signed.id)
    return Decisions(
        [
            # 1 root
            _in_force("root", root, now),
            Decision(
                "charter",
                root.root.charter == charter.folder_digest,
                "my charter is the trust root's",
                "use the charter that the root names",
            ),
            # 2 mandate
            _in_force("mandate", mandate, now),
            _quorum(root.root, mandate, charter),
            _same("mandate-study", signed, mine, ("study", "dataset", "charter", "not_before", "expires")),
            _same("mandate-partners", signed, mine, ("partners", "participation", "m", "c")),
            # 3 plan
            _same("plan", signed, mine, ("plan", "sums", "bytes", "root", "audit", "conditions")),
            # 4 researcher and policy
            Decision(
                "researcher",
                now < read_time(root.root.researchers[study.researcher].accredited_until),
                "the study's researcher is accredited today",
                "have the researcher accredited",
            ),
            *decide(study, charter, scope, plan(study, scope), now=now),
        ]
    )


def _in_force(rule: str, document: TrustRoot | SignedMandate, now: datetime) -> Decision:
    try:
        document.in_force(now)
    except Refused as refused:
        return Decision(refused.rule, False, refused.text, refused.remedy)
    return Decision(f"{rule}-expired", True, f"the {rule} is in force")


def _quorum(root: Root, mandate: SignedMandate, charter: Charter) -> Decision:
    """Members that the charter's `[committee]` asks for, roles included: the root's threshold may be lower."""
    asked = charter.committee
    ok = len(mandate.signers) >= asked.quorum and all(
        role in root.roles and len(mandate.signers & set(root.roles[role].keys)) >= least
        for role, least in asked.roles.items()
    )
    roles = "".join(f", {least} of role {role!r} among them" for role, least in sorted(asked.roles.items()))
    text = f"the mandate is signed by {asked.quorum} members{roles}"
    return Decision("signature", ok, text, "have it signed by those who may")


def _same(rule: str, signed: Mandate, mine: Mandate, fields: tuple[str, ...]) -> Decision:
    """The signed fields are those that I compute from the study."""
    other = [name for name in fields if getattr(signed, name) != getattr(mine, name)]
    text = f"the mandate's {', '.join(fields)} are those that follow from the study"
    if other:
        text = f"the mandate's {', '.join(other)} is not what follows from the study"
    return Decision(rule, not other, text, "the study must be signed again, with the same version at all actors")


def after_rows(study: Study, scope: Scope, edition: Edition) -> Decisions:
    """Steps 5 and 6."""
    decisions = [persons(edition.persons, study.protections)]
    for name in sorted({c for a in study.analyses.values() for c in a.reads() if c != PARTNER}):
        column = scope.dataset.column(name)
        if column.magnitude:
            decisions.append(dominance(edition.rows, name, study.protections))
    return Decisions(decisions)


def before_sum(
    root: TrustRoot,
    mandate: SignedMandate,
    asks: Mapping[str, Ask],
    expected: Mapping[str, Ask] | None,
    plans: Mapping[str, Mapping[str, Sum]],
    asked: Mapping[tuple[str, str], int],
    *,
    given: int,
    now: datetime,
) -> Decisions:
    """Steps 7 and 8.

    Args:
        expected: what my own replay of the analyses asks next; None before the totals that it needs were shown.
        asked: how often each sum of each analysis was answered before.
        given: bytes of my uploads, this one included.
    """
    often = all(asked.get((name, ask.sum), 0) < plans[name][ask.sum].at_most for name, ask in asks.items())
    return Decisions(
        [
            # 7 still allowed
            _in_force("root", root, now),
            _in_force("mandate", mandate, now),
            Decision(
                "sum-budget", given <= mandate.mandate.bytes, "no more bytes than the mandate allows", _COORDINATOR
            ),
            # 8 the next question
            Decision(
                "state-not-derived",
                same_sums(asks, expected),
                "the analyses and sums asked are those that follow from the totals",
                _COORDINATOR,
            ),
            Decision("sum-budget", often, "no sum is asked more often than the plan says", _COORDINATOR),
        ]
    )


def own_part(planned: Sum, kept: Arrays, scope: Scope) -> Decisions:
    """Step 9, on arrays that never leave."""
    fewest = scope.protections.fewest(len(scope.partners))
    judged: list[Any] = [rule.judge(kept, scope.protections, fewest) for rule in planned.rules if rule.where == "node"]
    return Decisions(judged or [Decision("node-rules", True, "this sum has no rule on a partner's own part")])
