"""Release: the rules on a result, before anyone but the coordinator sees it."""

from __future__ import annotations

from coordinator.conductor import Conducted, Plans
from trust.analyses.base import Scope, Values
from trust.decision import Decision, Decisions
from trust.privacy.rules import SuppressCells

__all__ = ["release"]


def release(conducted: Conducted, scope: Scope, plans: Plans) -> tuple[dict[str, Values], Decisions]:
    """Results with small cells hidden, and what was decided on them.

    The arrays that a rule judges by (persons and partners in each cell) are dropped once it has judged.
    """
    fewest = scope.protections.fewest(len(scope.partners))
    released: dict[str, Values] = {}
    decisions: list[Decision] = []
    for name, found in conducted.values.items():
        values = dict(found)
        rules = [r for planned in plans[name].values() for r in planned.rules if isinstance(r, SuppressCells)]
        for rule in rules:
            rule.apply(values, scope.protections, fewest)
            decisions.append(rule.judge(values, scope.protections, fewest))
        shown = {hidden for rule in rules for hidden in rule.hides}
        for rule in rules:
            for internal in {rule.of, rule.organisations} - shown:
                values.pop(internal, None)
        released[name] = values
    return released, Decisions([*conducted.decisions, *decisions])
