"""Why a study is refused, and the smallest changes with which the whole of it would pass.

A change that fixes everything must change a field that the first refusal looks at, so the search branches on those
alone, level by level: one field, two, three.  Every state is really judged, and what is proposed is decided once more
on the study as it would then be written.
Source: hitting sets by conflicts, Reiter, A Theory of Diagnosis from First Principles, 1987.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from trust.analyses.base import Scope, Sum
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.dataset.cohort import Cohort
from trust.dataset.dataset import PARTNER
from trust.decision import Decision, Decisions
from trust.documents.study import Study, plan
from trust.errors import DataTrustError
from trust.policy.decide import DecisionContext, decide, judge
from trust.policy.declaration import Asker, Declaration, reads_of
from trust.policy.levers import levers_of, values_of
from trust.privacy.protections import Protections
from trust.words.language import check_language
from trust.words.speech import phrase

__all__ = ["Change", "Explanation", "Reason", "Without", "changed", "explain"]

_MOST_FIELDS, _MOST_TRIES = 3, 150


@dataclass(frozen=True)
class Without:
    """A value that leaves names out: columns, analyses, groups."""

    names: tuple[str, ...]

    def said(self, lang: str) -> str:
        """`without postcode, birth_date`."""
        return phrase("without", lang, names=", ".join(self.names))

    def __str__(self) -> str:
        return self.said("en")


Change: TypeAlias = Mapping[str, Any]
"""Field -> the value that it would have, or a `Without`."""


@dataclass(frozen=True)
class Reason:
    """One refusal, in the language that was asked for."""

    rule: str
    article: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Explanation:
    """What refuses, and what would fix all of it.

    Attributes:
        changes: the fewest fields first; no change has all the fields of another.
        complete: whether every change of up to three fields, among the values that policies and floors speak of, was
            looked at; if not, there may be more.
    """

    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...]
    tried: int
    complete: bool
    lang: str = "en"

    @property
    def ok(self) -> bool:
        """Nothing refuses."""
        return not self.reasons

    def __str__(self) -> str:
        lang = self.lang
        if self.ok:
            return phrase("explain_ok", lang)
        lines = [phrase("explain_refused", lang, count=len(self.reasons))]
        for reason in self.reasons:
            article = f" ({phrase('explain_article', lang, article=reason.article)})" if reason.article else ""
            lines += [f"  {reason.rule}{article}: {reason.text}"]
            lines += [f"    {phrase('explain_remedy', lang, remedy=reason.remedy)}"] if reason.remedy else []
        lines.append(phrase("explain_changes" if self.changes else "explain_none", lang))
        for change in self.changes:
            lines.append("  " + "; ".join(f"{name} = {_in_words(value, lang)}" for name, value in change.items()))
        if not self.complete:
            lines.append(phrase("explain_cut", lang, n=self.tried))
        return "\n".join(lines)


def _in_words(value: Any, lang: str) -> str:
    if isinstance(value, Without):
        return value.said(lang)
    return str(value).lower() if isinstance(value, bool) else str(value)


def explain(
    study: Study,
    charter: Charter,
    scope: Scope,
    plans: Mapping[str, Mapping[str, Sum]] | None = None,
    *,
    now: datetime,
    asker: Asker,
    partner: str = "",
    policy: PartnerPolicy | None = None,
    lang: str = "en",
) -> Explanation:
    """Why, and the smallest changes; the arguments are those of `trust.policy.decide`.

    Args:
        plans: made where they are not given; empty where sizes are not to be judged.
        lang: `en` or `fr`.

    Raises: InvalidInput for another language.
    """
    bench = DecisionContext(charter, asker, now, partner, policy)
    search = _Search(study, scope, plan(study, scope) if plans is None else plans, bench)
    refusals = judge(search.base, bench, check_language(lang)).refusals
    changes: tuple[Change, ...] = ()
    complete = True
    try:
        articles = {name: rule.article for name, rule in bench.engine().policies.items()}
    except DataTrustError:  # charter and partner's policy do not fit together: nothing in the study fixes that
        articles = {}
    else:
        if refusals:
            changes, complete = search.changes()
    reasons = tuple(Reason(d.rule, articles.get(d.rule, ""), d.text, d.remedy) for d in refusals)
    return Explanation(reasons, changes, search.tried, complete, lang)


def changed(study: Study, change: Change) -> Study | None:
    """The study with that change, or None where a person must choose how to write it: columns, cohort, groups."""
    update: dict[str, Any] = {}
    protections = {}
    for name, value in change.items():
        if name in Protections.model_fields:
            protections[name] = value
        elif name == "analyses":
            update["analyses"] = {n: a for n, a in study.analyses.items() if n not in value.names}
        elif isinstance(value, Without):
            return None
        else:
            update[name] = value
    if protections:
        update["protections"] = study.protections.model_copy(update=protections)
    return study.model_copy(update=update)


def _size(fields: frozenset[str]) -> tuple[int, list[str]]:
    return len(fields), sorted(fields)


class _Search:
    """The changes of one study before one bench."""

    def __init__(
        self, study: Study, scope: Scope, plans: Mapping[str, Mapping[str, Sum]], bench: DecisionContext
    ) -> None:
        self._study, self._scope, self._plans, self._bench = study, scope, plans, bench
        self.base = Declaration.of(study, scope, plans)
        self.tried = 0

    def changes(self) -> tuple[tuple[Change, ...], bool]:
        """The smallest, and whether all were looked at."""
        changes_found: list[Change] = []
        level: list[Change] = [{}]
        for size in range(_MOST_FIELDS + 1):
            following: dict[tuple[Any, ...], Change] = {}
            for change in level:
                if any(earlier.keys() <= change.keys() for earlier in changes_found):
                    continue
                if self.tried >= _MOST_TRIES:
                    return self._ordered(changes_found), False
                declaration = self._declaration_with(change)
                refusals = self._decisions_on(declaration).refusals
                if not refusals:
                    smallest = self._shrunk(change)
                    changes_found += [smallest] if self._holds(smallest) else []
                elif size < _MOST_FIELDS:
                    for field, value in self._next(declaration, refusals, change, _MOST_FIELDS - size):
                        larger = {**change, field: value}
                        following.setdefault(tuple(sorted((n, repr(v)) for n, v in larger.items())), larger)
            level = list(following.values())
        return self._ordered(changes_found), True

    def _ordered(self, changes: list[Change]) -> tuple[Change, ...]:
        return tuple(sorted((dict(sorted(c.items())) for c in changes), key=lambda change: (len(change), *change)))

    def _decisions_on(self, declaration: Declaration) -> Decisions:
        self.tried += 1
        return judge(declaration, self._bench)

    def _next(
        self, declaration: Declaration, refusals: tuple[Decision, ...], change: Change, steps_left: int
    ) -> Iterator[tuple[str, Any]]:
        """Fields and values to try next: those of the refusal that leaves the least choice."""
        open_: list[frozenset[str]] = [levers_of(r, declaration, self._bench) - change.keys() for r in refusals]
        apart: list[frozenset[str]] = []
        for fields in sorted(open_, key=_size):
            if all(fields.isdisjoint(group) for group in apart):
                apart.append(fields)
        if len(apart) > steps_left or not all(open_):
            return
        fewest = min(open_, key=_size)
        for field in sorted(fewest):
            for value in self._values(field, declaration, change):
                yield field, value

    # ---- values

    def _values(self, field: str, declaration: Declaration, change: Change) -> Iterator[Any]:
        if field == "purpose":
            purposes = [p for p in self._bench.charter.purposes if p != self._study.purpose]
            near = difflib.get_close_matches(self._study.purpose, purposes, n=len(purposes) or 1, cutoff=0.6)
            yield from dict.fromkeys([*near, *purposes])
        elif field == "groups":
            yield Without((PARTNER,))
        elif field == "analyses":
            yield from map(Without, self._subsets())
        elif field in ("columns", "cohort_columns"):
            yield from map(Without, self._left_out(field, change))
        else:
            yield from values_of(field, declaration, self._bench)

    def _subsets(self) -> Iterator[tuple[str, ...]]:
        """Each analysis alone, all of a kind, all that alone are too large; never everything."""
        analyses = self._study.analyses
        kinds = {a.kind for a in analyses.values()}
        sets = [(name,) for name in analyses] + [
            tuple(n for n, a in analyses.items() if a.kind == k) for k in sorted(kinds)
        ]
        floor = self._bench.floor
        alone = {
            name: self._declaration_with({"analyses": Without(tuple(n for n in analyses if n != name))})
            for name in analyses
        }
        large = (n for n, d in alone.items() if d.sums > floor.sums_at_most or d.bytes > floor.bytes_at_most)
        yield from (names for names in dict.fromkeys([*sets, tuple(large)]) if names and len(names) < len(analyses))

    def _left_out(self, field: str, change: Change) -> Iterator[tuple[str, ...]]:
        """Columns that policies name, and columns that they do not; never all that analyses read."""
        direct = self._columns(field, change)
        behind = {name: reads_of(self._scope.dataset, [name]) for name in direct}
        sets: list[tuple[str, ...]] = []
        hits: set[str] = set()
        for policy in self._bench.engine().policies.values():
            if field in policy.reads:
                reading_them = {n for n, read in behind.items() if read & policy.literals.texts}
                reading_none = {n for n, read in behind.items() if not read <= policy.literals.texts}
                hits |= reading_them if policy.effect == "forbid" else set()
                sets += (tuple(sorted(reading_them)), tuple(sorted(reading_none)))
        for names in dict.fromkeys([*sets, tuple(sorted(hits))]):
            if names and (len(names) < len(direct) or field == "cohort_columns"):
                yield names

    def _columns(self, field: str, change: Change) -> set[str]:
        """The columns that analyses or cohort name themselves."""
        if field == "cohort_columns":
            cohort = self._study.cohort
            return set(Cohort.parse(cohort, self._scope.dataset).columns) if cohort else set()
        left_out = change["analyses"].names if "analyses" in change else ()
        analyses = [a for n, a in self._study.analyses.items() if n not in left_out]
        return {name for analysis in analyses for name in analysis.reads() if name != PARTNER}

    # ---- states

    def _declaration_with(self, change: Change) -> Declaration:
        """The declaration with these fields changed."""
        declaration = self.base
        if "analyses" in change:
            remaining = {n: a for n, a in self._study.analyses.items() if n not in change["analyses"].names}
            study = self._study.model_copy(update={"analyses": remaining})
            declaration = Declaration.of(study, self._scope, {n: self._plans[n] for n in remaining if n in self._plans})
        update: dict[str, Any] = {}
        protections = {}
        for field, value in change.items():
            if field in Protections.model_fields:
                protections[field] = value
            elif field in ("columns", "cohort_columns"):
                columns_left = self._columns(field, change) - set(value.names)
                update[field] = reads_of(self._scope.dataset, columns_left)
            elif field == "groups":
                update["by_partner"] = False
            elif field != "analyses":
                update[field] = value
        if protections:
            update["protections"] = declaration.protections.model_copy(update=protections)
        return replace(declaration, **update) if update else declaration

    def _shrunk(self, change: Change) -> Change:
        """The same with as few names left out as pass."""
        for field, value in change.items():
            for name in value.names if isinstance(value, Without) else ():
                fewer = tuple(n for n in change[field].names if n != name)
                smaller = {**change, field: Without(fewer)}
                if fewer and self._decisions_on(self._declaration_with(smaller)).ok:
                    change = smaller
        return change

    def _holds(self, change: Change) -> bool:
        """Decided once more, on the study as it would be written and planned then."""
        study = changed(self._study, change)
        if study is None:
            return True
        scope = replace(self._scope, protections=study.protections)
        bench = self._bench
        try:
            decisions = decide(
                Study.model_validate(study.model_dump(by_alias=True)),
                bench.charter,
                scope,
                plan(study, scope) if self._plans else {},
                now=bench.now,
                asker=bench.asker,
                partner=bench.partner,
                policy=bench.policy,
            )
        except (DataTrustError, ValueError):
            return False
        return decisions.ok
