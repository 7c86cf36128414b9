"""What happens in the demo: the worked example, a study answered, three refused, one of them mended, and a proof."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

import datatrust as dt
from datatrust.demo import pooled
from datatrust.demo.attack import Attack, attack
from datatrust.demo.checks import Checks
from datatrust.demo.hospitals import COHORT, Written, write
from datatrust.demo.masked import randomness
from datatrust.demo.mended import Mended, mend
from datatrust.demo.proof import Proof, prove
from datatrust.demo.question import CHARTER, PURPOSE, TITLE, WOMEN, analyses
from datatrust.demo.refusal import RefusedStudy, run_refused
from datatrust.demo.seed import SeedCase, run_cases
from datatrust.in_process.local_trust import LocalTrust
from datatrust.research.result import Result
from datatrust.research.results.glm import GlmResult
from datatrust.research.results.tables import HistogramResult
from trust.decision import Decisions

__all__ = ["COEFFICIENTS", "Answered", "Masked", "Story", "Traffic", "histogram_counts", "tell_story"]

COEFFICIENTS = {
    "Intercept": "",
    "I(age / 10)": "factor_age",
    "sex[T.M]": "factor_sex",
    "C(chest_pain)[T.other]": "factor_other",
    "C(chest_pain)[T.atypical]": "factor_atypical",
    "C(chest_pain)[T.typical]": "factor_typical",
    "I(systolic / 10)": "factor_systolic",
    "smoker[T.True]": "factor_smoker",
}
"""The model's coefficients in the order of the pooled fit, and the words for them."""


@dataclass(frozen=True)
class Traffic:
    """What one hospital sent for the study: messages, how many of them sums, bytes; and the rows that it kept."""

    partner: str
    rows: int
    messages: int
    sums: int
    bytes: int


@dataclass(frozen=True)
class Masked:
    """The masked words of the study: how many bytes, and the p-value that they are random."""

    bytes: int
    pvalue: float


class Answered:
    """The study that was answered, and the checks on it, however it was computed."""

    result: Result
    checks: Checks

    @property
    def table(self) -> pd.DataFrame:
        """Each measurement by sex."""
        return self.result["table"].to_frame()

    @property
    def pain(self) -> pd.DataFrame:
        """Age by chest pain and sex."""
        return self.result["pain"].to_frame()

    @property
    def ages(self) -> HistogramResult:
        """The histogram of age."""
        return cast(HistogramResult, self.result["ages"])

    @property
    def bins(self) -> list[int | None]:
        """The histogram's counts, None where hidden."""
        return histogram_counts(self.result)

    @property
    def fit(self) -> GlmResult:
        """The logistic regression."""
        return cast(GlmResult, self.result["risk"])

    @property
    def persons(self) -> int:
        """k: the smallest group."""
        return self.result.study.protections.persons


@dataclass(frozen=True)
class Story(Answered):
    """All that the screen, the report and the JSON are made from.

    Attributes:
        cohort: the first study's rows of all hospitals, which only the demo has.
        women: how the study of women alone ended.
        mended: the study for a forbidden purpose.
        attack: the first study again, without one patient.
    """

    cases: list[SeedCase]
    written: Written
    cohort: pd.DataFrame
    trust: LocalTrust
    decisions: Decisions
    result: Result
    traffic: list[Traffic]
    masked: Masked
    women: RefusedStudy
    mended: Mended
    attack: Attack
    proof: Proof
    checks: Checks

    @property
    def fewest(self) -> int:
        """m: the fewest partners in a sum."""
        return self.result.study.protections.fewest(len(self.trust.partners))

    @property
    def outcomes(self) -> list[tuple[str, ...]]:
        """For each study on the four hospitals, in order, the rules that refused it; none where it was answered."""
        women, answered_study, mended = self.women.refused, self.mended, self.mended.result
        rules = [
            (),
            (women.rule,),
            answered_study.rules,
            () if mended else answered_study.rules,
            (self.attack.refusal.refused.rule,),
        ]
        return [tuple(filter(None, refusing)) for refusing in rules]

    @property
    def largest_difference(self) -> float:
        """Between the released figures and the pooled rows'; relative where above 1."""
        return self.checks.largest("check_table", "check_ages", "check_risk", "check_mended") or 0.0


def tell_story(out: Path, lang: str) -> Story:
    """Run it all; the data, the signed result and what it is verified with are written into `out`.

    Nothing has been compared yet: `compared.compare` does.
    Raises: OSError, DataTrustError.
    """
    cases = run_cases()
    hospitals = write(out / "data")
    rows = pooled.pool(hospitals.files)
    cohort = rows[rows["age"] >= 40]
    trust = dt.local(sources=hospitals.sources(), dataset=hospitals.dataset, charter=CHARTER)
    study = trust.study(TITLE, purpose=PURPOSE, cohort=COHORT, analyses=analyses())
    decisions = study.check()
    result = study.run()
    traffic = [_traffic(name, hospitals.rows[name], sent) for name, sent in sorted(trust.exchanged.items())]
    uploads = [words for upload in trust.uploads for words in upload.values()]
    masked = Masked(sum(map(len, uploads)), randomness(uploads))
    of_women = trust.study(f"{TITLE}: women", purpose=PURPOSE, cohort=WOMEN, analyses=analyses())
    women, mended = run_refused(trust, of_women), mend(trust, lang)
    attacked = attack(trust, result, cohort)
    proof = prove(trust, result, histogram_counts(result), out)
    return Story(
        cases, hospitals, cohort, trust, decisions, result, traffic, masked, women, mended, attacked, proof, Checks()
    )


def histogram_counts(result: Result) -> list[int | None]:
    """Those of the histogram, None where hidden."""
    ages = cast(HistogramResult, result["ages"])
    return [None if pd.isna(count) else int(count) for count in ages.counts]


def _traffic(name: str, rows: int, sent: list[Any]) -> Traffic:
    sums = [message for message in sent if message.kind == "upload"]
    return Traffic(name, rows, len(sent), len(sums), sum(message.bytes for message in sent))
