"""A study for a purpose that the charter forbids: refused before any row, explained, mended as proposed, answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

import datatrust as dt
from datatrust.demo.hospitals import COHORT
from datatrust.demo.question import FORBIDDEN, SMALL, SMOKERS, smoking
from datatrust.in_process.local_trust import LocalTrust
from datatrust.research.result import Result, StudyHandle
from trust.documents.study import Study
from trust.policy.explain import Change, Explanation, changed

__all__ = ["Mended", "mend"]


@dataclass(frozen=True)
class Mended:
    """What became of it.

    Attributes:
        study: as it was asked.
        refused: what its researcher was told.
        kept: kinds of the register's entries about it; no mandate is among them, nor a node's journal.
        explanation: in the demo's language.
        result: of the study with the first change that was proposed; None where none was, or where it did not pass.
    """

    study: Study
    refused: dt.Refused
    kept: tuple[str, ...]
    explanation: Explanation
    result: Result | None

    @property
    def change(self) -> Change:
        """The first that was proposed: of the fewest fields."""
        return self.explanation.changes[0] if self.explanation.changes else {}

    @property
    def rules(self) -> tuple[str, ...]:
        """Those that refused."""
        return tuple(reason.rule for reason in self.explanation.reasons)

    @property
    def table(self) -> pd.DataFrame:
        """Age by smoking; empty where there was no answer."""
        return pd.DataFrame() if self.result is None else self.result["smokers"].to_frame()

    def asked(self, field: str) -> Any:
        """What the study said in a field that the change names."""
        protections = self.study.protections
        return getattr(protections, field) if hasattr(protections, field) else getattr(self.study, field)


def mend(trust: LocalTrust, lang: str) -> Mended:
    """Ask it, have the refusal explained in this language, and ask again with the change that was proposed."""
    handle = trust.study(SMOKERS, purpose=FORBIDDEN, cohort=COHORT, analyses=smoking(), protections={"persons": SMALL})
    try:
        handle.submit()
        refusal = dt.Refused("", "the study was filed")
    except dt.Refused as no:
        refusal = no
    register_kinds = tuple(e.kind for e in trust.docket.register.entries() if e.study == handle.study.id)
    explanation = handle.explain(lang)
    mended = changed(handle.study, explanation.changes[0]) if explanation.changes else None
    result = None if mended is None else _result_or_none(StudyHandle(mended, trust))
    return Mended(handle.study, refusal, register_kinds, explanation, result)


def _result_or_none(study: StudyHandle) -> Result | None:
    try:
        return study.run()
    except dt.Refused:
        return None
