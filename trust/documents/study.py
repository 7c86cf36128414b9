"""A study: a researcher's request, closed and canonical, so that its digest says exactly what may be computed."""

from __future__ import annotations

import base64
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from trust.analyses import AnyAnalysis
from trust.analyses.base import Scope, Sum
from trust.canonical import Model, digest, read_document
from trust.charters.charter import Charter
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER, Dataset
from trust.dataset.expressions import expressions_in
from trust.documents.root import Root
from trust.errors import Refused, StudyInvalid
from trust.privacy.protections import Protections
from trust.signing.envelope import Envelope, verified
from trust.times import Time, read_time

__all__ = ["PlannedStudy", "Study", "new_id", "plan", "plan_document_digest", "plan_documents", "signed_study"]


class Study(Model):
    """What a researcher signs."""

    schema_: Literal["datatrust/study/1"] = Field(default="datatrust/study/1", alias="schema")
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str = Field(min_length=1, max_length=200)
    summary: dict[Literal["en", "fr"], str]
    purpose: str
    researcher: str
    dataset: str
    dataset_digest: str
    cohort: str = ""
    analyses: dict[str, AnyAnalysis] = Field(min_length=1, max_length=50)
    protections: Protections
    not_before: Time
    expires: Time

    @field_validator("analyses")
    @classmethod
    def _names(cls, analyses: dict[str, Any]) -> dict[str, Any]:
        for name in analyses:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
                raise ValueError(f"an analysis' name is small letters, digits, - and _; got {name!r}")
        return analyses

    @model_validator(mode="after")
    def _different(self) -> Study:
        names = list(self.analyses)
        for index, name in enumerate(names):
            for earlier_name in names[:index]:
                if self.analyses[name] == self.analyses[earlier_name]:
                    raise ValueError(f"analyses {earlier_name!r} and {name!r} are the same; ask once")
        return self

    @model_validator(mode="after")
    def _dates(self) -> Study:
        if read_time(self.not_before) >= read_time(self.expires):
            raise ValueError("a study that expires before it begins")
        return self

    @classmethod
    def read(cls, raw: bytes) -> Study:
        """From canonical bytes.  Raises: MessageInvalid, StudyInvalid."""
        return read_document(cls, raw, StudyInvalid, "the study")

    def scope(self, dataset: Dataset, partners: Sequence[str], charter: Charter) -> Scope:
        """What the study is about: this dataset at these partners, under its own protections and this charter."""
        return Scope(dataset, tuple(partners), self.protections, charter.partner_may_be_shown)


@dataclass(frozen=True, kw_only=True)
class PlannedStudy:
    """A study over a scope, and its plan, which is made once and travels with it.

    A place that verifies a study makes a planned study of what was verified, and hands that on.
    """

    study: Study
    scope: Scope

    @cached_property
    def plans(self) -> dict[str, dict[str, Sum]]:
        """Every sum that the study may ask for.  Raises: StudyInvalid where an analysis does not fit the dataset."""
        return plan(self.study, self.scope)


def signed_study(envelope: Envelope, root: Root) -> Study:
    """The study that an accredited researcher of the root has signed.

    Raises: Refused (`researcher`, `signature`), MessageInvalid, StudyInvalid.
    """
    claimed = Study.read(envelope.unverified_payload)
    person = root.researchers.get(claimed.researcher)
    if person is None:
        raise Refused(
            "researcher", "the study's researcher is not in the trust root", remedy="have the researcher accredited"
        )
    verified("study", envelope, {person.key: bytes.fromhex(root.keys[person.key])})
    return claimed


def plan(study: Study, scope: Scope) -> dict[str, dict[str, Sum]]:
    """Every sum that the study may ask for: `{analysis: {sum: Sum}}`, before any row.

    Raises: StudyInvalid where an analysis does not fit the dataset, FormulaInvalid where a value may not be finite.
    """
    for analysis in study.analyses.values():
        for expression in expressions_in(analysis):
            if expression.columns != (PARTNER,):
                expression.interval(scope.dataset)
    return {name: analysis.plan(scope) for name, analysis in sorted(study.analyses.items())}


def plan_documents(study: Study, scope: Scope, plans: dict[str, dict[str, Sum]]) -> dict[str, dict[str, Any]]:
    """What is digested of a plan: for each analysis and sum, dataset, cohort, analysis and the blocks.

    Source: docs/formats.md, 6.
    """
    cohort = Cohort.parse(study.cohort, scope.dataset).text if study.cohort else ""
    return {
        name: {
            sum_name: {
                "dataset": study.dataset_digest,
                "cohort": cohort,
                "analysis": study.analyses[name].document(),
                "sum": sum_name,
                **planned_sum.document(),
            }
            for sum_name, planned_sum in sums.items()
        }
        for name, sums in plans.items()
    }


def plan_document_digest(study: Study, scope: Scope, plans: dict[str, dict[str, Sum]]) -> str:
    """`sha256:<hex>` of the canonical plan: what coordinator and every node must agree on."""
    return digest(plan_documents(study, scope, plans))


def sums_at_most(plans: dict[str, dict[str, Sum]]) -> int:
    """How many sums a study may open: analyses share a sum, so the longest one counts."""
    return max(sum(planned_sum.at_most for planned_sum in sums.values()) for sums in plans.values())


def new_id(title: str) -> str:
    """A slug of the title and four random letters, such as `age-and-disease-7k3f`."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:50].strip("-") or "study"
    return f"{slug}-{base64.b32encode(secrets.token_bytes(3)).decode().lower()[:4]}"


def days(study: Study) -> float:
    """How long a study is valid, in days."""
    return (read_time(study.expires) - read_time(study.not_before)) / timedelta(days=1)
