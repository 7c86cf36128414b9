"""One tree of errors, each with a public code and a page under docs/errors.

DataTrustError
├── InvalidInput             exit 2: what was given cannot be used
│   ├── DatasetInvalid       dataset-invalid
│   ├── SourceInvalid        source-invalid
│   ├── CohortInvalid        cohort-invalid
│   ├── FormulaInvalid       formula-invalid
│   ├── StudyInvalid         study-invalid
│   ├── CharterInvalid       charter-invalid
│   └── MessageInvalid       message-invalid
├── Refused                  exit 1: refused; a rule said no, and says which
├── AnalysisFailed           exit 1: allowed, but the data do not determine an answer
│   ├── NotConverged         not-converged
│   └── Collinear            collinear
├── Cancelled                exit 1: cancelled; the study was withdrawn
├── TimedOut                 exit 3: timed-out; nothing has gone wrong, but the time to wait is over
└── Fault                    exit 3: fault; the machine or the software, not the question
    └── Unreachable          unreachable

All have one shape: a text that says what is wrong and, where there is one, what was expected and how to fix it.
No text holds a value of a row: a column's name, a rule, a count class, never more.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from concurrent.futures import CancelledError
from typing import ClassVar

__all__ = [
    "AnalysisFailed",
    "Cancelled",
    "CharterInvalid",
    "CohortInvalid",
    "Collinear",
    "DataTrustError",
    "DatasetInvalid",
    "Fault",
    "FormulaInvalid",
    "InvalidInput",
    "MessageInvalid",
    "NotConverged",
    "Refused",
    "SourceInvalid",
    "StudyInvalid",
    "TimedOut",
    "Unreachable",
    "nearest",
    "sentence",
]


class DataTrustError(Exception):
    """Base of every error that this project raises on purpose.

    text: what is wrong.
    expected: what would have been right, or "".
    remedy: how to fix it, or ""; a class can have one for all its errors.
    rule: the rule that said no; the error's code where no rule did.
    """

    code: ClassVar[str] = "fault"
    exit_code: ClassVar[int] = 3
    remedy: str = ""

    def __init__(self, text: str, *, expected: str = "", remedy: str = "") -> None:
        super().__init__(text)
        self.text, self.expected, self.rule = text, expected, self.code
        self.remedy = remedy or self.remedy

    @property
    def public(self) -> dict[str, str]:
        """Its `rule`, `text` (with what was expected) and `remedy`, as they stand in a message or a record."""
        text = sentence(self.text, self.expected) if self.expected else self.text
        return {"rule": self.rule, "text": text, "remedy": self.remedy}

    def __str__(self) -> str:
        return sentence(self.text, self.expected, self.remedy)


class InvalidInput(DataTrustError):
    """What was given cannot be used."""

    code = "invalid-input"
    exit_code = 2


class DatasetInvalid(InvalidInput):
    """A dataset description that is not a valid, closed ODCS document."""

    code = "dataset-invalid"


class SourceInvalid(InvalidInput):
    """A partner's table that does not fulfil the dataset."""

    code = "source-invalid"


class CohortInvalid(InvalidInput):
    """A cohort text outside the small language that is allowed."""

    code = "cohort-invalid"


class FormulaInvalid(InvalidInput):
    """A formula or an expression outside the closed tree."""

    code = "formula-invalid"


class StudyInvalid(InvalidInput):
    """A study whose fields do not fit together or do not fit the dataset."""

    code = "study-invalid"


class CharterInvalid(InvalidInput):
    """A charter folder that cannot be read as one."""

    code = "charter-invalid"


class MessageInvalid(InvalidInput):
    """Bytes on the wire that are not the typed message that was expected."""

    code = "message-invalid"


class Refused(DataTrustError):
    """A rule said no: its id, its public text and what would fix it; never a value."""

    code = "refused"
    exit_code = 1

    def __init__(self, rule: str, text: str, *, expected: str = "", remedy: str = "") -> None:
        super().__init__(text, expected=expected, remedy=remedy)
        self.rule = rule

    def __str__(self) -> str:
        return f"refused by {self.rule}: {super().__str__()}"


class AnalysisFailed(DataTrustError):
    """The question was allowed, but these data do not determine an answer."""

    code = "analysis-failed"
    exit_code = 1


class NotConverged(AnalysisFailed):
    """An iterated fit that did not settle."""

    code = "not-converged"


class Collinear(AnalysisFailed):
    """Columns of a design that are linear combinations of others."""

    code = "collinear"


class Cancelled(DataTrustError, CancelledError):
    """A study that was withdrawn before it was answered; also a `concurrent.futures.CancelledError`."""

    code = "cancelled"
    exit_code = 1


class TimedOut(DataTrustError, TimeoutError):
    """The time to wait is over, and the study goes on; also a `TimeoutError`.  Says what is waited for."""

    code = "timed-out"
    exit_code = 3


class Fault(DataTrustError):
    """The machine or the software failed, not the question."""


class Unreachable(Fault):
    """Another machine that does not answer; asked again later, it may."""

    code = "unreachable"


def sentence(text: str, expected: str = "", remedy: str = "") -> str:
    """An error as one text: what is wrong, what was expected, how to fix it."""
    parts = [text.rstrip(".")]
    if expected:
        parts.append(f"expected {expected.rstrip('.')}")
    if remedy:
        parts.append(f"to fix it: {remedy.rstrip('.')}")
    return "; ".join(parts)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`'minimum', perhaps`, or the names that are known: what was expected in place of an unknown name."""
    names = sorted(set(candidates))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"{close[0]!r}, perhaps"
    listing = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"one of: {listing}" if names else "none is known"
