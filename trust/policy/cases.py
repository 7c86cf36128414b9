"""A charter's own tests: tests.toml, cases that a committee can read and write.  Format: docs/governance.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from trust.canonical import Model, read_model
from trust.charters.charter import Charter, folder_of, read, toml
from trust.decision import Decisions
from trust.errors import CharterInvalid, nearest
from trust.policy.decide import DecisionContext, judge
from trust.policy.declaration import Asker, Declaration
from trust.privacy.protections import Protections
from trust.times import Time, read_time, write_time

__all__ = ["TESTS", "Case", "Outcome", "load_cases", "run_case"]

TESTS = "tests.toml"
_BUILT_IN = (
    "charter-local-only", "dataset", "dates", "no-permit", "organisations", "policy-error",
    "floor/sums_at_most", "floor/bytes_at_most",
)  # fmt: skip
_NOW = "2026-01-01T00:00:00Z"


class Situation(Model):
    """A declaration and who asks, written down flat; the defaults are the base of the cases that give none."""

    purpose: str = "AcademicResearch"
    analyses: tuple[str, ...] = ("describe",)
    columns: tuple[str, ...] = ("age", "sex")
    cohort_columns: tuple[str, ...] = ()
    sums: StrictInt = Field(default=1, ge=0)
    bytes: StrictInt = Field(default=1_000, ge=0)
    parameters: StrictInt = Field(default=0, ge=0)
    open_ended: StrictBool = False
    by_partner: StrictBool = False
    partners: tuple[str, ...] = ("partner-1", "partner-2", "partner-3", "partner-4")
    partner: str = "partner-1"
    dataset: str = "dataset"
    version: str = "1.0.0"
    organisation: str = "organisation"
    country: str = ""
    kind: str = ""
    accredited_until: Time = "2027-01-01T00:00:00Z"
    now: Time = _NOW
    not_before: Time = _NOW
    days: StrictInt | None = Field(default=None, ge=1)


class Case(Model):
    """One case: what differs from the base, what is expected, and which rule is to refuse."""

    name: str
    change: dict[str, Any] = Field(default_factory=dict)
    expect: Literal["yes", "no"]
    rule: str = ""
    base: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a case came out."""

    case: Case
    ok: bool
    decisions: Decisions

    def __str__(self) -> str:
        rules = ", ".join(dict.fromkeys(d.rule for d in self.decisions.refusals))
        if self.ok:
            return f"ok    {self.case.name}" + (f" ({rules})" if rules else "")
        expectation = self.case.expect + (f" by {self.case.rule}" if self.case.rule else "")
        return f"FAIL  {self.case.name}: expected {expectation}; got {f'no by {rules}' if rules else 'yes'}"


def load_cases(charter: Charter, tests_folder: str | Path) -> tuple[Case, ...]:
    """The cases of a charter's folder; none where it has no tests.toml.  Raises: CharterInvalid, naming the case."""
    folder = folder_of(tests_folder)
    if not (folder / TESTS).is_file():
        return ()
    fields = toml(read(folder, TESTS, f"charter {str(tests_folder)!r}"), TESTS)
    for key in fields:
        if key not in ("base", "case"):
            raise CharterInvalid(f"{TESTS} has an unknown table {key!r}", expected=nearest(key, ("base", "case")))
    base, entries = fields.get("base", {}), fields.get("case", [])
    if not isinstance(base, dict) or not isinstance(entries, list):
        raise CharterInvalid(f"{TESTS} is not one [base] and a list of cases", expected="[base] and [[case]]")
    cases = []
    for number, entry in enumerate(entries, 1):
        subject = f"{TESTS}, case {number}"
        merged = {**entry, "base": base} if isinstance(entry, dict) and "base" not in entry else entry
        case = read_model(Case, merged, CharterInvalid, subject)
        subject = f"{subject} ({case.name!r})"
        if case.expect == "yes" and case.rule:
            raise CharterInvalid(f"{subject} expects yes and names a rule", expected='a rule with expect = "no" only')
        rules = {*_BUILT_IN, *(f"floor/{n}" for n in Protections.model_fields), *(p.id for p in charter.rules)}
        if case.rule and case.rule not in rules:
            raise CharterInvalid(f"{subject} names the unknown rule {case.rule!r}", expected=nearest(case.rule, rules))
        _situation(charter, case, subject)
        cases.append(case)
    return tuple(cases)


def run_case(charter: Charter, case: Case) -> Outcome:
    """Judge one case as a node would."""
    situation, protections = _situation(charter, case, f"{TESTS} ({case.name!r})")
    begins = read_time(situation.not_before)
    lasts = timedelta(days=situation.days or charter.floor.longest_days)
    declaration = Declaration(
        purpose=situation.purpose,
        dataset=situation.dataset,
        version=situation.version,
        dataset_named=True,
        analyses=situation.analyses,
        columns=frozenset(situation.columns),
        cohort_columns=frozenset(situation.cohort_columns),
        protections=protections,
        not_before=situation.not_before,
        expires=write_time(begins + lasts),
        sums=situation.sums,
        bytes=situation.bytes,
        parameters=situation.parameters,
        partners=situation.partners,
        open_ended=situation.open_ended,
        by_partner=situation.by_partner,
    )
    deadline = read_time(situation.accredited_until)
    asker = Asker("researcher", situation.organisation, situation.country, situation.kind, deadline)
    decisions = judge(declaration, DecisionContext(charter, asker, read_time(situation.now), situation.partner))
    rule_matches = not case.rule or case.rule in {d.rule for d in decisions.refusals}
    return Outcome(case, decisions.ok == (case.expect == "yes") and rule_matches, decisions)


def _situation(charter: Charter, case: Case, subject: str) -> tuple[Situation, Protections]:
    """Base and change together.  Raises: CharterInvalid, with the nearest name for an unknown one."""
    fields = {*Situation.model_fields, *Protections.model_fields}
    merged = {**case.base, **case.change}
    for key in merged:
        if key not in fields:
            section = "change" if key in case.change else "base"
            raise CharterInvalid(
                f"{subject}: {section} has an unknown field {key!r}",
                expected=nearest(key, fields),
                remedy="correct the name",
            )
    situation_fields = {key: value for key, value in merged.items() if key in Situation.model_fields}
    declared = {key: value for key, value in merged.items() if key in Protections.model_fields}
    protections = {**dict(charter.defaults()), **declared}
    return (
        read_model(Situation, situation_fields, CharterInvalid, subject),
        read_model(Protections, protections, CharterInvalid, subject),
    )
