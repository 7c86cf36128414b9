"""What a charter, or a partner's policy, says that its authors hardly mean.  Faults in form are found on loading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trust.charters.cedar_text import PolicyText, never_fires
from trust.charters.charter import Charter, Floor, folder_of
from trust.charters.partner_policy import PartnerPolicy
from trust.policy.cases import TESTS, load_cases

__all__ = ["LintFinding", "lint"]

_FLOOR_FIELDS = {**{name: name for name in Floor.model_fields}, "sums": "sums_at_most"}
"""Field of a request's context -> the floor that holds its threshold."""
_FILES = {"charter.toml", "purposes.toml", TESTS, "partner.toml"}
_DOCUMENTS = (".md", ".txt")


@dataclass(frozen=True)
class LintFinding:
    """One thing found: a fault, which should be fixed, or a warning."""

    fault: bool
    place: str
    text: str

    def __str__(self) -> str:
        return f"{'fault  ' if self.fault else 'warning'}  {self.place}: {self.text}"


def lint(folder_path: str | Path) -> tuple[Charter | PartnerPolicy, tuple[LintFinding, ...]]:
    """Load and look.  A folder with partner.toml and no charter.toml is a partner's policy.

    Raises: CharterInvalid where it cannot be loaded.
    """
    folder = folder_of(folder_path)
    if (folder / "partner.toml").is_file() and not (folder / "charter.toml").is_file():
        policy = PartnerPolicy.load(folder)
        return policy, (*_rules(policy.rules), *_files(folder))
    charter = Charter.load(folder_path)
    return charter, (*_charter(charter), *_rules(charter.rules), *_tests(charter, folder_path), *_files(folder))


def _charter(charter: Charter) -> Iterator[LintFinding]:
    if not any(policy.effect == "permit" for policy in charter.rules):
        yield LintFinding(True, "*.cedar", "no policy permits anything, so every study is refused (no-permit)")
    for name in ("title", "rights"):
        for lang in charter.languages:
            if not getattr(charter, name).get(lang, "").strip():
                yield LintFinding(False, "charter.toml", f"{name} has no text in {lang!r}, one of its languages")


def _rules(policies: tuple[PolicyText, ...]) -> Iterator[LintFinding]:
    for policy in policies:
        place = f"{policy.place}, {policy.id}"
        if never_fires(policy):
            yield LintFinding(True, place, "its conditions can never be met, so it does nothing")
        if _unconditional(policy):
            effect = "refuses every study" if policy.effect == "forbid" else "permits every study with a known purpose"
            yield LintFinding(policy.effect == "forbid", place, f"without a condition it {effect}")
        for facts in sorted({_FLOOR_FIELDS[name] for name in policy.reads & _FLOOR_FIELDS.keys()} | _days(policy)):
            text = (
                f"holds a threshold that [floor] holds: {facts}; there, a partner's can be stricter and remedies follow"
            )
            yield LintFinding(True, place, text)


def _unconditional(policy: PolicyText) -> bool:
    return '"conditions": []' in policy.tree and not policy.reads & {"principal", "resource"}


def _days(policy: PolicyText) -> set[str]:
    """A policy on how long a study lasts."""
    return {"longest_days"} if {"not_before", "expires"} <= policy.reads and policy.literals.durations else set()


def _tests(charter: Charter, folder: str | Path) -> Iterator[LintFinding]:
    cases = load_cases(charter, folder)
    if not cases:
        yield LintFinding(False, TESTS, "missing or without a case; `datatrust charter test` has nothing to run")
        return
    rules_tested = {case.rule for case in cases}
    for policy in charter.rules:
        if policy.effect == "forbid" and policy.id not in rules_tested:
            yield LintFinding(False, TESTS, f"no case names {policy.id}")


def _files(folder: Any) -> Iterator[LintFinding]:
    for name in sorted(entry.name for entry in folder.iterdir()):
        if name not in _FILES and not name.endswith((".cedar", *_DOCUMENTS)) and not name.startswith("."):
            yield LintFinding(False, name, "is not part of a charter and is not read")
