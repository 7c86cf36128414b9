"""Policies before rows: one decision under 60 policies, and the search for the smallest change that would pass."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import datatrust as dt
from tests.benchmarks.study import line, median_time
from tests.support.charters import ASKER, NOW, analyses, forbid, permit, scope_of, study, write
from trust.charters.charter import Charter
from trust.documents.study import plan
from trust.policy.decide import DecisionContext, decide, judge
from trust.policy.declaration import Declaration
from trust.policy.explain import explain

POLICIES = 60


def charter(folder: Path) -> Charter:
    """One permit and 59 forbids of the usual kinds: columns, purposes, who asks, when."""
    kinds = (
        'context.columns.containsAny(["c{n}", "d{n}"]) || context.cohort_columns.contains("c{n}")',
        'context.analyses.contains("a{n}") && context.purpose in Trust::Purpose::"Clinical"',
        'principal.organisation.kind == "k{n}" && context.parameters > {n}',
        'principal.accredited_until < context.now && context.partner == Trust::Partner::"p{n}"',
    )
    cedar = permit('context.purpose in Trust::Purpose::"Research"')
    cedar += "".join(forbid(kinds[n % 4].format(n=n), f"p{n}") for n in range(POLICIES - 1))
    return Charter.load(write(folder, cedar))


def policy(*, full: bool) -> Iterator[str]:
    """Decide and explain: request, floors and every text included; charter and plan made before."""
    with tempfile.TemporaryDirectory() as folder:
        mine = charter(Path(folder))
    asked = analyses(table=dt.Describe(["age", "chol"], by=["sex"]), risk=dt.Glm("ill ~ age + sex", family="binomial"))
    good = study(analyses=asked, cohort="age >= 40")
    wrong = study({"persons": 5}, analyses=asked, cohort="age >= 40", purpose="Marketing", days=100)
    scope = scope_of(good)
    plans = plan(good, scope)
    said, bench = Declaration.of(good, scope, plans), DecisionContext(mine, ASKER, NOW)
    taken = median_time(lambda: judge(said, bench), 2_000)
    yield line(f"policy decision, {POLICIES} policies", f"{1e6 * taken:.0f} us")
    taken = median_time(lambda: decide(good, mine, scope, plans, now=NOW, asker=ASKER), 2_000)
    yield line("policy decision, the study's facts gathered too", f"{1e6 * taken:.0f} us")
    explained = median_time(lambda: explain(wrong, mine, scope_of(wrong), plans, now=NOW, asker=ASKER), 50)
    yield line(f"policy explain, three fields, {POLICIES} policies", f"{1e3 * explained:.1f} ms")
