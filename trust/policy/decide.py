"""May this study be computed?  Judged on its declaration, before any row: policies, floors, dates, sizes.

The same call in the client, the coordinator and every node.  Cedar decides who, why, which columns, which analyses and
when; thresholds are one loop over the floors.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trust.analyses.base import Scope, Sum
from trust.charters.cedar import PolicyAnswer, PolicyEngine, Request
from trust.charters.charter import AT_MOST, Charter, Floor, strictest
from trust.charters.partner_policy import PartnerPolicy, floor_of
from trust.decision import Decision, Decisions
from trust.documents.study import Study
from trust.errors import DataTrustError
from trust.policy.declaration import Asker, Declaration, asker_of
from trust.privacy.protections import Protections
from trust.times import read_time
from trust.words.speech import among, phrase

__all__ = ["Asker", "DecisionContext", "asker_of", "decide", "judge", "local_only"]


@dataclass(frozen=True)
class DecisionContext:
    """Before whom a declaration comes: the charter, the partner that judges and its policy, who asks, and when."""

    charter: Charter
    asker: Asker
    now: datetime
    partner: str = ""
    policy: PartnerPolicy | None = None

    @property
    def floor(self) -> Floor:
        """The strictest of charter and partner's policy."""
        return floor_of(self.charter, self.policy)

    def engine(self) -> PolicyEngine:
        """Policies of both.  Raises: CharterInvalid where they do not fit together."""
        return self.charter.engine(*(self.policy.policies if self.policy else ()))


def decide(
    study: Study,
    charter: Charter,
    scope: Scope,
    plans: Mapping[str, Mapping[str, Sum]],
    *,
    now: datetime,
    asker: Asker,
    partner: str = "",
    policy: PartnerPolicy | None = None,
) -> Decisions:
    """Every decision on the study's declaration, in order; nothing is skipped.

    Args:
        plans: of the study's analyses, from `trust.study.plan`.
        asker: the researcher, from `asker_of`.
        partner: who judges; empty for a client, which is none.
        policy: that partner's own.
    """
    return judge(Declaration.of(study, scope, plans), DecisionContext(charter, asker, now, partner, policy))


def judge(declaration: Declaration, bench: DecisionContext, lang: str = "en") -> Decisions:
    """The same on the declaration alone, in English or French."""
    floor = bench.floor
    return Decisions(
        [
            _say("dataset", declaration.dataset_named, "dataset", "dataset_remedy", lang),
            *_policies(declaration, bench, lang),
            *_floors(declaration, bench, lang),
            _dates(declaration, floor, bench.now, lang),
            _partners(declaration, lang),
            _partner_shown(declaration, bench.charter, lang),
            _size("sums", declaration.sums, floor.sums_at_most, lang),
            _size("bytes", declaration.bytes, floor.bytes_at_most, lang),
        ]
    )


def local_only(charter: Charter, trust: str) -> Decision:
    """Whether a trust root of this name may have the charter: one without protections is for `dt.local` alone."""
    ok = not charter.local_only or trust == "local"
    text = "local_only_not" if ok else "local_only"
    return _say("charter-local-only", ok, text, "local_only_remedy", charter=charter.name)


def _say(rule: str, ok: bool, text: str, remedy: str = "", lang: str = "en", **values: Any) -> Decision:
    remedy_text = phrase(remedy, lang, **values) if remedy else ""
    return Decision(rule, ok, phrase(text, lang, **values), remedy_text)


# ---- policies


def _policies(declaration: Declaration, bench: DecisionContext, lang: str) -> list[Decision]:
    """Whether something permits, each forbid that fires, and whether one could not be evaluated."""
    try:
        engine = bench.engine()
        request = declaration.request(bench.asker, bench.partner, bench.now)
    except (DataTrustError, AttributeError, TypeError, ValueError):
        return [_say("policy-error", False, "policy_error", "policy_error_remedy", lang)]
    answer = engine.ask(request)
    if not declaration.readable:
        answer = PolicyAnswer(answer.permitted, answer.fired, (*answer.failed, ""))
    decisions = []
    permitted = answer.permitted and declaration.purpose in bench.charter.purposes
    if permitted or not answer.failed:
        decisions.append(_permit(declaration, bench.charter, permitted, engine, request, lang))
    if answer.failed:
        policies = ", ".join(filter(None, answer.failed))
        text = "policy_error_in" if policies else "policy_error"
        decisions.append(_say("policy-error", False, text, "policy_error_remedy", lang, policies=policies))
    decisions += [Decision(p.id, False, p.words[lang], p.remedies[lang]) for p in answer.fired]
    return decisions


def _permit(
    declaration: Declaration, charter: Charter, ok: bool, engine: PolicyEngine, request: Request, lang: str
) -> Decision:
    values = {"charter": charter.name, "purpose": declaration.purpose}
    if ok:
        return _say("no-permit", True, "permits", lang=lang, **values)
    permitted = permitted_purposes(charter, engine, request)
    if not permitted:
        return _say("no-permit", False, "permits_none", "permits_none_remedy", lang, **values)
    return _say(
        "no-permit",
        False,
        "permits_not",
        "permits_remedy",
        lang,
        known=among(declaration.purpose, permitted, lang),
        **values,
    )


def permitted_purposes(charter: Charter, engine: PolicyEngine, request: Request) -> list[str]:
    """The purposes that the charter would permit in the place of the study's own."""
    changes = [{"purpose": {"type": "Trust::Purpose", "id": name}} for name in charter.purposes]
    yes = engine.permits(request, changes)
    return [name for name, ok in zip(charter.purposes, yes, strict=False) if ok]


# ---- floors


def _floors(declaration: Declaration, bench: DecisionContext, lang: str) -> tuple[Decision, ...]:
    policy = bench.policy
    return _floors_of(
        declaration.protections, bench.charter.floor, policy and policy.floor, policy.name if policy else "", lang
    )


@functools.lru_cache(maxsize=1024)
def _floors_of(
    protections: Protections, charter: Floor, partner_floor: Floor | None, policy: str, lang: str
) -> tuple[Decision, ...]:
    """Each threshold of the declaration against the strictest floor, by one loop."""
    declared, of_charter = dict(protections), dict(charter)
    decisions = []
    for name, least in strictest([charter, partner_floor] if partner_floor else [charter]):
        if name not in declared:
            continue
        rule, value = f"floor/{name}", declared[name]
        if least == ():
            decisions.append(_say(rule, False, "floor_conflict", "floor_conflict_remedy", lang, name=name))
            continue
        values = {"wanted": _demand(name, least, lang), "declared": _in_words(value), "value": _nearest(least)}
        text = "floor_of" if least != of_charter[name] else "floor"
        ok = meets(name, value, least)
        decisions.append(_say(rule, ok, text, "floor_remedy", lang, name=name, policy=policy, **values))
    return tuple(decisions)


def meets(name: str, value: Any, least: Any) -> bool:
    """Whether a declared threshold is at least as strict as a floor."""
    if isinstance(least, tuple):
        return value in least
    if isinstance(least, bool):
        return bool(value or not least)
    return bool(value <= least if name in AT_MOST else value >= least)


def _demand(name: str, least: Any, lang: str) -> str:
    if isinstance(least, tuple):
        return phrase("or", lang).join(least)
    if isinstance(least, bool):
        return _in_words(least)
    return phrase("or_less" if name in AT_MOST else "or_more", lang, value=least)


def _nearest(least: Any) -> str:
    """The value to set: the floor itself."""
    return str(least[0]) if isinstance(least, tuple) else _in_words(least)


def _in_words(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- dates, partners, sizes


_time = functools.lru_cache(maxsize=1024)(read_time)


def _dates(declaration: Declaration, floor: Floor, now: datetime, lang: str) -> Decision:
    begins, ends, longest = _time(declaration.not_before), _time(declaration.expires), floor.longest_days
    if ends - begins > timedelta(days=longest):
        return _say("dates", False, "dates_long", "dates_long_remedy", lang, days=longest)
    if now >= ends:
        return _say("dates", False, "dates_expired", "dates_expired_remedy", lang)
    if now < begins:
        return _say("dates", False, "dates_early", "dates_early_remedy", lang, not_before=declaration.not_before)
    return _say("dates", True, "dates", lang=lang, expires=declaration.expires)


def _partners(declaration: Declaration, lang: str) -> Decision:
    partner_count = len(declaration.partners)
    fewest = declaration.protections.fewest(max(partner_count, 3))
    ok = 3 <= partner_count <= 1000 and fewest <= partner_count
    return _say("organisations", ok, "partners", "partners_remedy", lang, fewest=fewest)


def _partner_shown(declaration: Declaration, charter: Charter, lang: str) -> Decision:
    ok = not declaration.by_partner or charter.partner_may_be_shown
    return _say("organisations", ok, "shown" if declaration.by_partner else "shown_not_asked", "shown_remedy", lang)


def _size(name: str, value: int, most: int, lang: str) -> Decision:
    return _say(f"floor/{name}_at_most", value <= most, f"size_{name}", "size_remedy", lang, value=value, most=most)
