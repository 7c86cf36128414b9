"""One tree of errors, each with a public code and a page under docs/errors.

DataTrustError
├── InvalidInput             exit 2: what was given cannot be used; says got, expected, remedy
│   ├── DatasetInvalid       dataset-invalid
│   ├── SourceInvalid        source-invalid
│   ├── CohortInvalid        cohort-invalid
│   ├── FormulaInvalid       formula-invalid
│   ├── StudyInvalid         study-invalid
│   ├── CharterInvalid       charter-invalid
│   └── MessageInvalid       message-invalid
├── Refused                  exit 1: refused; a rule said no, with its public text and remedy
├── AnalysisFailed           exit 1: allowed, but the data do not determine an answer
│   ├── NotConverged         not-converged
│   └── Collinear            collinear
├── Cancelled                exit 1: cancelled; the study was withdrawn
├── TimedOut                 exit 3: timed-out; nothing has gone wrong, but the time to wait is over
└── Fault                    exit 3: fault; the machine or the software, not the question
    └── Unreachable          unreachable

No message holds a value of a row: a column's name, a rule, a count class, never more.
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
    """Base of every error that this project raises on purpose."""

    code: ClassVar[str] = "fault"
    exit_code: ClassVar[int] = 3


class InvalidInput(DataTrustError):
    """What was given cannot be used: says what was got, what was expected and how to mend it."""

    code = "invalid-input"
    exit_code = 2

    def __init__(self, got: str, *, expected: str = "", remedy: str = "") -> None:
        self.got, self.expected, self.remedy = got, expected, remedy
        super().__init__(sentence(got, expected, remedy))


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
    """A rule said no.  Carries the rule's id, its public text and what would mend it; never a value."""

    code = "refused"
    exit_code = 1

    def __init__(self, rule: str, text: str, remedy: str = "") -> None:
        self.rule, self.text, self.remedy = rule, text, remedy
        super().__init__(f"refused by {rule}: " + sentence(text, "", remedy))


class AnalysisFailed(DataTrustError):
    """The question was allowed, but these data do not determine an answer."""

    code = "analysis-failed"
    exit_code = 1

    def __init__(self, text: str, remedy: str = "") -> None:
        self.text, self.remedy = text, remedy
        super().__init__(sentence(text, "", remedy))


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

    def __init__(self, text: str, remedy: str = "") -> None:
        self.text, self.remedy = text, remedy
        super().__init__(sentence(text, "", remedy))


class TimedOut(DataTrustError, TimeoutError):
    """The time to wait is over, and the study goes on; also a `TimeoutError`.  Says what is waited for."""

    code = "timed-out"
    exit_code = 3

    def __init__(self, text: str, remedy: str = "") -> None:
        self.text, self.remedy = text, remedy
        super().__init__(sentence(text, "", remedy))


class Fault(DataTrustError):
    """The machine or the software failed, not the question."""


class Unreachable(Fault):
    """Another machine that does not answer; asked again later, it may."""

    code = "unreachable"


def sentence(got: str, expected: str, remedy: str) -> str:
    """One line: got, expected, how to mend it."""
    parts = [got.rstrip(".")]
    if expected:
        parts.append(f"expected {expected.rstrip('.')}")
    if remedy:
        parts.append(f"to mend it: {remedy.rstrip('.')}")
    return "; ".join(parts)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`'minimum', perhaps`, or the names that are known: what was expected in place of an unknown name."""
    names = sorted(set(candidates))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"{close[0]!r}, perhaps"
    listing = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"one of: {listing}" if names else "none is known"
