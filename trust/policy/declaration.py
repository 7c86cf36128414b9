"""What policies judge: the facts that a study declares.  None of them is computed from a row."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trust.analyses.base import Scope, Sum
from trust.analyses.glm import Glm
from trust.charters.cedar import Request
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER, Dataset
from trust.documents.root import Root
from trust.documents.study import Study, sums_at_most
from trust.errors import DataTrustError
from trust.privacy.protections import Protections
from trust.privacy.rules import ParametersPerRecord
from trust.protocol.asks import upload_bytes
from trust.times import read_time, write_time

__all__ = ["Asker", "Declaration", "asker_of", "reads_of"]

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asker:
    """Who asks.  Country and kind of the organisation are empty where nobody has said them."""

    name: str
    organisation: str = ""
    country: str = ""
    kind: str = ""
    accredited_until: datetime = _NEVER


def asker_of(root: Root, researcher: str, *, country: str = "", kind: str = "") -> Asker:
    """A researcher of a trust root; one that it does not know was never accredited."""
    person = root.researchers.get(researcher)
    if person is None:
        return Asker(researcher)
    return Asker(researcher, person.organisation, country, kind, read_time(person.accredited_until))


@dataclass(frozen=True)
class Declaration:
    """The facts.

    Attributes:
        dataset, version: the dataset in use; `dataset_named` where the study names exactly this one.
        analyses: kind of each analysis.
        columns: what analyses read, what derived columns follow from included; `cohort_columns` likewise.
        sums, bytes: the most that the plan asks for; `parameters`: coefficients of the largest model.
        open_ended: whether an analysis asks questions that do not follow from totals.
        by_partner: whether a group or a factor is the partner.
        readable: whether the cohort could be read against this dataset.
    """

    purpose: str
    dataset: str
    version: str
    dataset_named: bool
    analyses: tuple[str, ...]
    columns: frozenset[str]
    cohort_columns: frozenset[str]
    protections: Protections
    not_before: str
    expires: str
    sums: int
    bytes: int
    parameters: int
    partners: tuple[str, ...]
    open_ended: bool = False
    by_partner: bool = False
    readable: bool = True

    @classmethod
    def of(cls, study: Study, scope: Scope, plans: Mapping[str, Mapping[str, Sum]]) -> Declaration:
        """What a study declares over a dataset; `plans` are those of its analyses."""
        data = _SameForAll(scope.dataset)
        analyses = study.analyses.values()
        cohort = _cohort(study.cohort, data)
        plan = {name: dict(sums) for name, sums in plans.items()}
        return cls(
            purpose=study.purpose,
            dataset=scope.dataset.id,
            version=scope.dataset.version,
            dataset_named=study.dataset == scope.dataset.id and study.dataset_digest == _digest(data),
            analyses=tuple(analysis.kind for analysis in analyses),
            columns=reads_of(scope.dataset, (name for analysis in analyses for name in analysis.reads())),
            cohort_columns=cohort or frozenset(),
            protections=study.protections,
            not_before=study.not_before,
            expires=study.expires,
            sums=sums_at_most(plan) if plan else 0,
            bytes=upload_bytes(plan),
            parameters=max((_parameters(study, name, sums) for name, sums in plans.items()), default=0),
            partners=tuple(scope.partners),
            open_ended=any(getattr(analysis, "open_ended", False) for analysis in analyses),
            by_partner=any(PARTNER in analysis.groups() for analysis in analyses),
            readable=cohort is not None,
        )

    def request(self, asker: Asker, partner: str, now: datetime) -> Request:
        """What Cedar is asked.  Facts that do not exist yet: no noise, nothing spent."""
        declared = self.protections
        context = {
            "purpose": _uid("Purpose", self.purpose),
            "analyses": sorted(set(self.analyses)),
            "columns": sorted(self.columns),
            "cohort_columns": sorted(self.cohort_columns),
            "now": write_time(now),
            "not_before": self.not_before,
            "expires": self.expires,
            "sums": self.sums,
            "parameters": self.parameters,
            "open_ended": self.open_ended,
            "persons": declared.persons,
            "organisations": declared.organisations,
            "dominance_percent": declared.dominance_percent,
            "zero_is_small": declared.zero_is_small,
            "participation": declared.participation,
            "colluders": declared.colluders,
            "noise": declared.noise,
            "rho_micro": 0,
            "partners": [_uid("Partner", name) for name in self.partners],
            "partner": _uid("Partner", partner),
            "spent_after_micro": 0,
        }
        return Request(_entities(asker, self.dataset, self.version), asker.name, self.dataset, context)


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": f"Trust::{kind}", "id": name}


@functools.lru_cache(maxsize=256)
def _entities(asker: Asker, dataset: str, version: str) -> str:
    accreditation_end = {"__extn": {"fn": "datetime", "arg": write_time(asker.accredited_until)}}
    organisation = _uid("Organisation", asker.organisation)
    attrs: dict[str, dict[str, Any]] = {
        "Researcher": {"organisation": {"__entity": organisation}, "accredited_until": accreditation_end},
        "Organisation": {"country": asker.country, "kind": asker.kind},
        "Dataset": {"version": version},
    }
    ids = {"Researcher": asker.name, "Organisation": asker.organisation, "Dataset": dataset}
    return json.dumps([{"uid": _uid(kind, ids[kind]), "attrs": attrs[kind], "parents": []} for kind in attrs])


def _parameters(study: Study, name: str, sums: Mapping[str, Sum]) -> int:
    """Coefficients of a model, by the rule that bounds them; 0 for another analysis."""
    if not isinstance(study.analyses[name], Glm):
        return 0
    return max((r.parameters for s in sums.values() for r in s.rules if isinstance(r, ParametersPerRecord)), default=0)


# ---- columns


class _SameForAll:
    """A dataset as a key that is itself and no other: it is frozen, and its digest is dear."""

    __slots__ = ("dataset",)

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __hash__(self) -> int:
        return id(self.dataset)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameForAll) and other.dataset is self.dataset


@functools.lru_cache(maxsize=64)
def _digest(data: _SameForAll) -> str:
    return data.dataset.digest()


@functools.lru_cache(maxsize=64)
def _behind(data: _SameForAll) -> Mapping[str, frozenset[str]]:
    """For each derived column, the columns that it follows from."""
    derived = [column.name for column in data.dataset.columns if column.derived]
    return {name: frozenset(data.dataset.derivation(name).columns) for name in derived}


@functools.lru_cache(maxsize=1024)
def _cohort(text: str, data: _SameForAll) -> frozenset[str] | None:
    """The columns that a cohort reads, or None where it is not a cohort over this dataset."""
    try:
        names = Cohort.parse(text, data.dataset).columns if text else ()
    except DataTrustError:
        return None
    return reads_of(data.dataset, names)


def reads_of(dataset: Dataset, names: Iterable[str]) -> frozenset[str]:
    """Those columns and what derived ones among them follow from, without the reserved `partner`."""
    behind = _behind(_SameForAll(dataset))
    read = {name for name in names if name != PARTNER}
    return frozenset(read.union(*(behind.get(name, frozenset()) for name in read)))
