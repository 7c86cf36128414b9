"""The gate: a node's numbered checks.  The first that fails refuses; nothing is skipped.

Before rows     1 the plan that I compute is the plan that was sent
                2 charter: purpose, floors, dates, partners, sizes
After rows      3 enough persons in my cohort
                4 no person dominates a magnitude
Each sum        5 asked for in the plan, in order, and not too often
                6 right shapes, finite
                7 rules on my own part
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
from trust.policy import decide
from trust.privacy.rules import dominance, persons
from trust.study import Study, plan_digest, sums_at_most

__all__ = ["Plans", "after_rows", "before_rows", "before_sum", "own_part"]

Plans = Mapping[str, Mapping[str, Sum]]


def before_rows(study: Study, charter: Charter, scope: Scope, plans: Any, sent_digest: str, now: datetime) -> Decisions:
    """Steps 1 and 2."""
    same = plan_digest(study, scope, plans) == sent_digest
    mine = Decision("plan", same, "the plan that I compute is the plan that was sent", "use the same version at all actors")
    return Decisions([mine, *decide(study, charter, scope, plans, now=now)])


def after_rows(study: Study, scope: Scope, edition: Edition) -> Decisions:
    """Steps 3 and 4."""
    decisions = [persons(edition.persons, study.protections)]
    for name in sorted({c for a in study.analyses.values() for c in a.reads() if c != PARTNER}):
        column = scope.dataset.column(name)
        if column.magnitude:
            decisions.append(dominance(edition.rows, name, study.protections))
    return Decisions(decisions)


def before_sum(r: int, next_r: int, asks: Mapping[str, Ask], plans: Any, asked: Mapping[tuple[str, str], int]) -> Decisions:
    """Step 5.  `asked` counts how often each sum of each analysis was answered before."""
    order = Decision("sum-order", r == next_r, "sums are asked in order, each once", "the coordinator is at fault")
    budget = Decision("sum-budget", r < sums_at_most(plans), "no more sums than the plan has", "the coordinator is at fault")
    often = all(asked.get((name, ask.sum), 0) < plans[name][ask.sum].at_most for name, ask in asks.items())
    text = "no sum is asked more often than the plan says"
    return Decisions([order, budget, Decision("sum-budget", often, text, "the coordinator is at fault")])


def own_part(planned: Sum, kept: Arrays, scope: Scope) -> Decisions:
    """Step 7, on arrays that never leave; step 6 is `fits`, where they are read and written."""
    fewest = scope.protections.fewest(len(scope.partners))
    judged = [rule.judge(kept, scope.protections, fewest) for rule in planned.rules if rule.where == "node"]
    return Decisions(judged or [Decision("node-rules", True, "this sum has no rule on a partner's own part")])
