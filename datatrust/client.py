"""A study in a researcher's hands, and its result."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from datatrust.results import Released, released
from trust.analyses.base import Scope, Values
from trust.decision import Decisions
from trust.study import Study

__all__ = ["Result", "StudyHandle"]


class _Trust(Protocol):
    def check(self, study: Study) -> Decisions: ...
    def run(self, study: Study) -> Result: ...


class StudyHandle:
    """A written study: `check()` it, then `run()` it."""

    def __init__(self, study: Study, trust: _Trust) -> None:
        self.study, self._trust = study, trust

    def check(self) -> Decisions:
        """What the charter says of it: instant, no row is touched."""
        return self._trust.check(self.study)

    def run(self) -> Result:
        """Carry it out: a Result, or `Refused(rule, text, remedy)`."""
        return self._trust.run(self.study)

    def __repr__(self) -> str:
        return f"<study {self.study.id}: {self.study.title}; {', '.join(self.study.analyses)}>"


class Result(Mapping[str, Released]):
    """The released results of a study, by the names that its analyses were given.

    Attributes:
        study: what was asked.
        decisions: what was decided on totals and results.
        provenance: where the numbers come from.
    """

    def __init__(
        self,
        study: Study,
        scope: Scope,
        values: Mapping[str, Values],
        decisions: Decisions,
        provenance: Mapping[str, Any],
    ) -> None:
        self.study, self.decisions, self.provenance = study, decisions, dict(provenance)
        self._released = {n: released(study.analyses[n], v, scope, self.provenance) for n, v in values.items()}

    def __getitem__(self, name: str) -> Released:
        if name not in self._released:
            raise KeyError(f"no analysis {name!r}; this study has: {', '.join(self._released)}")
        return self._released[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._released)

    def __len__(self) -> int:
        return len(self._released)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and versioned."""
        return {
            "schema": "datatrust/results/1",
            "study": self.study.document(),
            "provenance": self.provenance,
            "decisions": [vars(d) for d in self.decisions],
            "results": {name: result.to_dict() for name, result in self._released.items()},
        }

    def __str__(self) -> str:
        partners = ", ".join(self.provenance["partners"])
        lines = [
            f"{self.study.title}: {len(self)} analyses over {partners}",
            *(f"  {n}: {r.title()}" for n, r in self.items()),
        ]
        lines += [f"  {n} took no part, because of: {rule}" for n, rule in self.provenance["absent"].items()]
        return "\n".join(lines[:25])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(n)}</h4>{r._repr_html_()}" for n, r in self.items()]
        return f"<h3>{html.escape(self.study.title)}</h3>" + "".join(parts)
