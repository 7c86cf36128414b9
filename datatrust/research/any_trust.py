"""A trust that can be asked: how a study is written, checked before it is sent, and read back from its file.

The same for a trust in this process and for one behind an address; what differs is who carries a study out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datatrust.person.pins import read_pin_file
from datatrust.research.job import Job
from datatrust.research.questions import AnalysisText
from datatrust.research.result import Result, StudyHandle
from trust.analyses.base import Analysis, Scope
from trust.canonical import read_model
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import Column, Dataset
from trust.decision import Decision, Decisions
from trust.documents.root import Root
from trust.documents.study import Study, new_id, plan
from trust.errors import StudyInvalid
from trust.policy.decide import asker_of, decide
from trust.policy.explain import Explanation, explain
from trust.privacy.protections import Protections
from trust.times import now, write_time

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AnyTrust", "check_type"]


class AnyTrust(ABC):
    """What a researcher does with a trust.

    Attributes:
        dataset: the shared description.
        charter: who may ask for what, and the thresholds.
    """

    dataset: Dataset
    charter: Charter

    @property
    @abstractmethod
    def partners(self) -> tuple[str, ...]:
        """Their names, in order."""

    @property
    @abstractmethod
    def _root(self) -> Root:
        """The trust root in force."""

    @property
    @abstractmethod
    def _researcher(self) -> str:
        """Who asks, as the root names her.  Raises: InvalidInput where nobody's key is here."""

    @property
    @abstractmethod
    def _policies(self) -> Mapping[str, PartnerPolicy | None]:
        """Partner -> its own policy, where it has one that is known here."""

    @abstractmethod
    def _used(self, study: str) -> bool:
        """Whether a study of this id is known already."""

    @abstractmethod
    def submit(self, study: Study) -> Job:
        """File a study.  Raises: Refused, where the charter says no."""

    @abstractmethod
    def run(self, study: Study) -> Result:
        """File it and wait for its answer."""

    # ---- what can be asked about

    def catalogue(self) -> pd.DataFrame:
        """The dataset's columns as a table: name, type, unit, levels or bounds, label, and which says whose a row is.

        `levels` are those of a category, `minimum` and `maximum` the bounds of a number; `person` is true for the
        column that says whose a row is.
        """
        import pandas as pd

        rows = [_described(column, self.dataset) for column in self.dataset.columns]
        return pd.DataFrame(rows, columns=list(_CATALOGUE)).astype(_CATALOGUE).set_index("name")

    # ---- writing a study

    def study(
        self,
        title: str,
        *,
        purpose: str,
        analyses: Mapping[str, AnalysisText | Analysis],
        cohort: str = "",
        summary: str | Mapping[str, str] | None = None,
        protections: Mapping[str, Any] | None = None,
        not_before: datetime | None = None,
        expires: datetime | None = None,
    ) -> StudyHandle:
        """Write a study.  Protections that are not given are the charter's floors.

        Raises: StudyInvalid, FormulaInvalid, CohortInvalid: what cannot be a study, before anything is asked.
        """
        check_type("analyses", analyses, Mapping, "such as {'table': dt.Describe(['age'])}")
        check_type("protections", protections or {}, Mapping, "such as {'persons': 20}")
        check_type("cohort", cohort, str, 'a text, such as "age >= 40"')
        for name, time in (("not_before", not_before), ("expires", expires)):
            check_type(name, time, datetime | None, "a datetime, such as datetime(2027, 2, 22, tzinfo=UTC)")
        begins = not_before or now()
        ends = expires or begins + timedelta(days=self.charter.floor.longest_days)
        if (expiry := write_time(ends)) <= write_time(now()):  # the order of these texts is that of the times
            raise StudyInvalid(f"an expiry in the past, {expiry}", expected="a time to come")
        words = {"en": summary if isinstance(summary, str) else title}
        declared = {**self.charter.defaults().model_dump(), **(protections or {})}
        if cohort:
            cohort = Cohort.parse(cohort, self.dataset).text
        fields = {
            "id": self._new_id(str(title)),
            "title": title,
            "summary": dict(summary) if isinstance(summary, Mapping) else words,
            "purpose": purpose,
            "researcher": self._researcher,
            "dataset": self.dataset.id,
            "dataset_digest": self.dataset.digest(),
            "cohort": cohort,
            "analyses": {
                name: self._resolve(name, analysis_asked).document() for name, analysis_asked in analyses.items()
            },
            "protections": read_model(Protections, declared, StudyInvalid, "the protections"),
            "not_before": write_time(begins),
            "expires": write_time(ends),
        }
        study = read_model(Study, fields, StudyInvalid, "the study")
        plan(study, self._scope(study))
        return StudyHandle(study, self)

    def read(self, path: str | Path) -> StudyHandle:
        """The study of a file that `StudyHandle.save` has written.

        Raises: InvalidInput for a file that cannot be read; MessageInvalid, StudyInvalid for one that is not a study,
        or one that does not fit this trust's dataset.
        """
        study = Study.read(read_pin_file(Path(path)).strip())
        if (study.dataset, study.dataset_digest) != (self.dataset.id, self.dataset.digest()):
            raise StudyInvalid(
                f"{str(path)!r} is a study of the dataset {study.dataset!r}, {study.dataset_digest[:19]}…",
                expected=f"one of {self.dataset.id!r}, {self.dataset.digest()[:19]}…",
                remedy="write the study again for this dataset",
            )
        plan(study, self._scope(study))
        return StudyHandle(study, self)

    def _new_id(self, title: str) -> str:
        """An id that no other study of this trust has: four random letters alone would repeat after a thousand."""
        return next(name for name in iter(lambda: new_id(title), "") if not self._used(name))

    def _resolve(self, name: str, analysis_asked: Any) -> Analysis:
        if isinstance(analysis_asked, AnalysisText):
            return analysis_asked.resolve(self.dataset)
        if isinstance(analysis_asked, Analysis):
            return analysis_asked
        raise StudyInvalid(
            f"analysis {name!r} is a {type(analysis_asked).__name__}", expected="such as dt.Describe([…])"
        )

    def _scope(self, study: Study) -> Scope:
        return study.scope(self.dataset, self.partners, self.charter)

    # ---- what would be decided, before any row

    def check(self, study: Study) -> Decisions:
        """What the charter and every known policy of a partner say of a study: instant, no row is touched."""
        scope = self._scope(study)
        plans = plan(study, scope)
        asker = asker_of(self._root, study.researcher)
        decisions: list[Decision] = []
        for name, policy in self._policies.items():
            own_decisions = decide(
                study, self.charter, scope, plans, now=now(), asker=asker, partner=name, policy=policy
            )
            if not decisions:
                decisions += own_decisions
            for no in own_decisions.refusals:
                if no not in decisions:  # a partner that refuses alone
                    decisions = [*(d for d in decisions if not (d.ok and d.rule == no.rule)), no]
        return Decisions(decisions)

    def explain(self, study: Study, lang: str = "en") -> Explanation:
        """Why the charter, or else a partner's own policy, refuses a study, and the smallest change that would pass."""
        scope = self._scope(study)
        plans = plan(study, scope)
        asker = asker_of(self._root, study.researcher)
        explanation = explain(study, self.charter, scope, plans, now=now(), asker=asker, lang=lang)
        for name, policy in self._policies.items():
            if policy is not None:  # with the charter: the change must pass both
                own_explanation = explain(
                    study, self.charter, scope, plans, now=now(), asker=asker, partner=name, policy=policy, lang=lang
                )
                explanation = (
                    own_explanation
                    if len(own_explanation.reasons) > len(explanation.reasons) or not own_explanation.ok
                    else explanation
                )
        return explanation


_CATALOGUE = {
    "name": "str",
    "type": "str",
    "unit": "str",
    "levels": "str",
    "minimum": "Float64",
    "maximum": "Float64",
    "label": "str",
    "person": "bool",
}


def _described(column: Column, dataset: Dataset) -> dict[str, Any]:
    """One row of the catalogue."""
    levels = [str(v.value) + (f" = {v.label}" if v.label else "") for v in column.levels]
    return {
        "name": column.name,
        "type": column.type,
        "unit": column.unit,
        "levels": ", ".join(levels),
        "minimum": column.minimum,
        "maximum": column.maximum,
        "label": column.label,
        "person": column.name == dataset.person,
    }


def check_type(name: str, value: Any, kind: Any, example: str) -> None:
    """Raises: StudyInvalid for an argument of another type."""
    if not isinstance(value, kind):
        raise StudyInvalid(f"{name} is a {type(value).__name__}", expected=example)
