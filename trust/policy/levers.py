"""Which fields of a declaration could turn a refusal, and the values of a field that are worth trying."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from trust.charters.cedar_text import PolicyText
from trust.charters.charter import AT_MOST
from trust.decision import Decision
from trust.policy.decide import DecisionContext, meets
from trust.policy.declaration import Declaration
from trust.privacy.protections import Protections
from trust.times import read_time, write_time

__all__ = ["levers_of", "values_of"]

_ANALYSES = frozenset({"analyses"})
_LEVERS = {
    **{name: frozenset({name}) for name in Protections.model_fields if name != "noise"},
    **{name: frozenset({name}) for name in ("purpose", "columns", "cohort_columns", "not_before", "expires")},
    **dict.fromkeys(("analyses", "sums", "parameters", "open_ended"), _ANALYSES),
}
"""Field of a request's context -> what a researcher would change; the rest, such as who asks, nobody can choose."""
_DURATION = re.compile(r"(\d+)(ms|d|h|m|s)")
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SECOND = timedelta(seconds=1)


def levers_of(refusal: Decision, declaration: Declaration, bench: DecisionContext) -> frozenset[str]:
    """The fields of which at least one must change for this refusal to go.  Empty: none can make it go."""
    rule = refusal.rule
    if rule in ("floor/sums_at_most", "floor/bytes_at_most"):
        return _ANALYSES
    if rule.startswith("floor/"):
        return frozenset({rule.removeprefix("floor/")})
    if rule == "dates":
        return frozenset({"expires", "not_before"})
    if rule == "organisations":
        partner_shown = declaration.by_partner and not bench.charter.partner_may_be_shown
        return frozenset({"groups"} if partner_shown else {"organisations", "colluders"})
    if rule == "dataset" or not declaration.readable:
        return frozenset()
    policies = bench.engine().policies
    if rule == "no-permit" and declaration.purpose not in bench.charter.purposes:
        return frozenset({"purpose"})
    if rule == "no-permit":
        return _policy_names(p for p in policies.values() if p.effect == "permit")
    if rule == "policy-error":
        return _policy_names(policies.values())
    return _policy_names([policies[rule]])


def _policy_names(policies: Any) -> frozenset[str]:
    return frozenset().union(*(_LEVERS.get(name, frozenset()) for policy in policies for name in policy.reads))


def values_of(field: str, declaration: Declaration, bench: DecisionContext) -> list[Any]:
    """For a threshold or a date: what floors and policies speak of, the nearest to what is declared first."""
    policies = [p for p in bench.engine().policies.values() if field in p.reads]
    if field in ("expires", "not_before"):
        declared_at = read_time(getattr(declaration, field))
        times = sorted(_times(field, declaration, bench), key=lambda moment: (abs(moment - declared_at), moment))
        return [write_time(moment) for moment in dict.fromkeys(times) if moment != declared_at]
    declared, floor = getattr(declaration.protections, field), getattr(bench.floor, field, None)
    if isinstance(declared, bool):
        tried: list[Any] = [not declared]
    elif isinstance(declared, str):
        tried = ["joined", "all"]
    else:
        tried = [*_numbers(policies), *([] if floor is None else [floor])]
        if field == "colluders":
            tried += _colluders(declaration)
        tried.sort(key=lambda value: (abs(value - declared), value))
    return [v for v in dict.fromkeys(tried) if v != declared and _valid(field, v, floor)]


def _valid(field: str, value: Any, floor: Any) -> bool:
    """Strict enough, and a value that a study may declare."""
    if floor is not None and not meets(field, value, floor):
        return False
    if isinstance(value, bool | str):
        return True
    if field in AT_MOST:
        return bool(0 < value <= (1 if field == "glm_parameters_per_person" else 100))
    return bool((3 if field == "organisations" else 1) <= value <= (1_000 if field == "organisations" else 998))


def _numbers(policies: list[PolicyText]) -> Iterator[int]:
    """Each number that policies compare with, and its neighbours: on which side the limit is, they need not say."""
    for number in sorted({n for policy in policies for n in policy.literals.numbers}):
        yield from (number - 1, number, number + 1)


def _colluders(declaration: Declaration) -> list[int]:
    """The most colluders with which the partners named are enough."""
    partner_count = len(declaration.partners)
    for colluders in range(declaration.protections.colluders - 1, 0, -1):
        if declaration.protections.model_copy(update={"colluders": colluders}).fewest(partner_count) <= partner_count:
            return [colluders]
    return []


def _times(field: str, declaration: Declaration, bench: DecisionContext) -> Iterator[datetime]:
    """From now, from the longest duration of the floors, and from what policies compare with."""
    begins, now = read_time(declaration.not_before), bench.now
    longest = timedelta(days=bench.floor.longest_days)
    tried: list[datetime] = []
    if field == "not_before":
        tried.append(now)
    else:
        tried.append(begins + longest)
    for policy in bench.engine().policies.values():
        if field not in policy.reads:
            continue
        for text in sorted(policy.literals.durations):
            span = _span(text)
            for start in (begins, now):
                tried += [start + span, start + span - _SECOND]
        for text in sorted(policy.literals.times):
            moment = _moment(text)
            tried += [] if moment is None else [moment - _SECOND, moment, moment + _SECOND]
    for moment in tried:
        if (field == "not_before" and moment <= now) or (field == "expires" and moment > max(begins, now)):
            yield moment.replace(microsecond=0)


def _span(text: str) -> timedelta:
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in _DURATION.findall(text)))


def _moment(text: str) -> datetime | None:
    """A time of Cedar's, where it is written as one of ours or as a day."""
    try:
        return read_time(text if "T" in text else f"{text}T00:00:00Z")
    except Exception:
        return None
