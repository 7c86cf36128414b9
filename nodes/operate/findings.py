"""What a check of a node's machine found: ok, a warning or a failure, and how to fix it; never a value of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trust.errors import DataTrustError

__all__ = ["Check", "Finding", "State", "failure", "finding_of", "ok", "warning"]

State: TypeAlias = Literal["ok", "warning", "failure"]
Check: TypeAlias = "Callable[[], Finding]"


@dataclass(frozen=True)
class Finding:
    """One check.  `text` says what is so, `remedy` what to do where that is not well."""

    check: str
    state: State
    text: str
    remedy: str = ""

    def document(self) -> dict[str, str]:
        """For programs."""
        fields = {"check": self.check, "state": self.state, "text": self.text, "remedy": self.remedy}
        return {name: value for name, value in fields.items() if value}


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """It works, and should be fixed."""
    return Finding(check, "warning", text, remedy)


def failure(check: str, text: str, remedy: str) -> Finding:
    """The node cannot serve like this."""
    return Finding(check, "failure", text, remedy)


def finding_of(check: str, ask: Check) -> Finding:
    """What `ask` found; whatever goes wrong is a failure, in our own words or as its class alone."""
    try:
        return ask()
    except DataTrustError as wrong:
        return failure(check, wrong.public["text"], wrong.remedy or "correct what is said, and ask again")
    except Exception as wrong:  # a check that fails says so, and the others are asked all the same
        return failure(check, f"an unexpected failure ({type(wrong).__name__})", "run with DATATRUST_DEBUG=1 to see it")
