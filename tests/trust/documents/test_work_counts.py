"""A study's bytes are parsed, and its plan is made, once in each place that verifies it."""

from __future__ import annotations

from collections import Counter

import pytest

import datatrust as dt
from tests.support.example import hospital, small_trust
from trust.analyses import Describe
from trust.analyses.base import Scope, Sum
from trust.documents.study import Study


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often bytes were parsed into a study, and how often its one analysis was planned."""
    counted: Counter[str] = Counter()
    read, plan = Study.read, Describe.plan

    def counted_read(_: type[Study], raw: bytes) -> Study:
        counted["parsed"] += 1
        return read(raw)

    def counted_plan(self: Describe, scope: Scope) -> dict[str, Sum]:
        counted["planned"] += 1
        return plan(self, scope)

    monkeypatch.setattr(Study, "read", classmethod(counted_read))
    monkeypatch.setattr(Describe, "plan", counted_plan)
    return counted


@pytest.mark.parametrize("partners", [3, 5])
def test_one_study_in_process(partners: int, counts: Counter[str]) -> None:
    trust = small_trust({f"north-{n}": hospital(n, 20, 20) for n in range(partners)})
    study = trust.study("Ages", purpose="AcademicResearch", analyses={"age": dt.Describe(["age"])})
    assert counts == {"planned": 1}, "the researcher's own check of what was written"
    result = study.run()
    filing, gates, conducting, researcher = 1, partners, 1, 2
    assert counts["parsed"] == filing + gates + conducting
    assert counts["planned"] == filing + gates + conducting + researcher
    counts.clear()
    assert result.verify().ok
    assert counts == {"parsed": 1}
