"""A study that should be refused, run for real, and what left the hospitals meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import datatrust as dt
from datatrust.in_process.local_trust import LocalTrust
from datatrust.research.result import StudyHandle

__all__ = ["RefusedStudy", "run_refused"]


@dataclass(frozen=True)
class RefusedStudy:
    """How such a study ended.

    Attributes:
        refused: what the researcher is told; a rule without a name where the study was answered instead.
        by: partners whose own rule said no.
        sums: sums that any partner sent.
    """

    refused: dt.Refused
    by: tuple[str, ...]
    sums: int

    @property
    def held(self) -> bool:
        """The study was refused, and no hospital sent a sum."""
        return bool(self.refused.rule) and not self.sums


def run_refused(trust: LocalTrust, study: StudyHandle) -> RefusedStudy:
    """Run it; whether it is refused is for the caller to judge."""
    try:
        study.run()
        refusal = dt.Refused("", "the study was answered")
    except dt.Refused as no:
        refusal = no
    kinds = {name: [message.kind for message in sent] for name, sent in trust.exchanged.items()}
    refusing = tuple(sorted(name for name, sent in kinds.items() if "refusal" in sent))
    return RefusedStudy(refusal, refusing, sum(sent.count("upload") for sent in kinds.values()))
