"""May this study be computed?  Judged on its declaration, before any row: purpose, floors, dates, sizes.

The same call in the client, the coordinator and every node.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trust.analyses.base import Scope, Sum
from trust.charter import Charter
from trust.dataset import PARTNER
from trust.decision import Decision, Decisions
from trust.errors import nearest
from trust.study import Study, days, sums_at_most
from trust.sums import upload_bytes
from trust.times import read_time

__all__ = ["decide"]

_AT_MOST = {"dominance_percent", "glm_parameters_per_person"}
"""Thresholds where less is stricter; elsewhere more is."""


def decide(
    study: Study, charter: Charter, scope: Scope, plans: dict[str, dict[str, Sum]], *, now: datetime
) -> Decisions:
    """Every decision on the study's declaration, in order; nothing is skipped."""
    return Decisions(
        [
            _dataset(study, scope),
            _purpose(study, charter),
            *_floors(study, charter),
            _dates(study, charter, now),
            _partners(study, scope),
            _shown(study, charter),
            _size("sums", sums_at_most(plans), charter.floor.sums_at_most),
            _size("bytes", upload_bytes(plans), charter.floor.bytes_at_most),
        ]
    )


def _dataset(study: Study, scope: Scope) -> Decision:
    same = study.dataset == scope.dataset.id and study.dataset_digest == scope.dataset.digest()
    return Decision("dataset", same, "the study names the dataset as it is described now", "write the study again")


def _purpose(study: Study, charter: Charter) -> Decision:
    known = study.purpose in charter.purposes
    verb = "permits" if known else "does not permit"
    text = f"the charter {charter.name!r} {verb} the purpose {study.purpose!r}"
    return Decision("no-permit", known, text, _purpose_remedy(study, charter))


def _purpose_remedy(study: Study, charter: Charter) -> str:
    return f"choose a purpose that the charter knows: {nearest(study.purpose, charter.purposes)}"


def _floors(study: Study, charter: Charter) -> list[Decision]:
    """Each threshold of the declaration against the charter's, by one loop."""
    declared = study.protections.model_dump()
    decisions = []
    for name, least in charter.floor.model_dump().items():
        if name not in declared:
            continue
        value: Any = declared[name]
        if isinstance(least, tuple):
            ok, wanted = value in least, " or ".join(least)
        elif isinstance(least, bool):
            ok, wanted = value or not least, str(least).lower()
        elif name in _AT_MOST:
            ok, wanted = value <= least, f"{least} or less"
        else:
            ok, wanted = value >= least, f"{least} or more"
        text = f"{name} is {wanted}; the study declares {str(value).lower() if isinstance(value, bool) else value}"
        remedy = f"set {name} to {str(least).lower() if isinstance(least, bool) else wanted.split(' or ')[0]}"
        decisions.append(Decision(f"floor/{name}", bool(ok), text, remedy))
    return decisions


def _dates(study: Study, charter: Charter, now: datetime) -> Decision:
    longest = charter.floor.longest_days
    if days(study) > longest:
        return Decision("dates", False, f"a study lasts at most {longest} days", "choose an earlier expiry")
    if now >= read_time(study.expires):
        return Decision("dates", False, "the study has expired", "write it again with a later expiry")
    if now < read_time(study.not_before):
        return Decision("dates", False, f"the study begins on {study.not_before}", "wait, or write it again")
    return Decision("dates", True, f"the study is valid until {study.expires}")


def _partners(study: Study, scope: Scope) -> Decision:
    named = len(scope.partners)
    fewest = study.protections.fewest(max(named, 3))
    ok = 3 <= named <= 1000 and fewest <= named
    return Decision(
        "organisations", ok, f"a study names at least {fewest} partners, at most 1,000", "name more partners"
    )


def _shown(study: Study, charter: Charter) -> Decision:
    asked = any(PARTNER in analysis.groups() for analysis in study.analyses.values())
    text = (
        "no total speaks of one partner alone" if not asked else "groups by partner are shown where the charter says so"
    )
    remedy = "leave 'partner' out of groups and factors: a total with one contributor is that partner's vector"
    return Decision("organisations", not asked or charter.partner_may_be_shown, text, remedy)


def _size(name: str, value: int, most: int) -> Decision:
    text = f"the study needs at most {value} {name}; the charter allows {most}"
    return Decision(f"floor/{name}_at_most", value <= most, text, "ask for fewer analyses, levels or columns")
