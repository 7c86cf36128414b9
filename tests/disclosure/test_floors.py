"""A study that promises less than the charter demands, or has another purpose, is refused everywhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from tests.support.small_trusts import outcome, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.charters.charter import Charter, Floor
from trust.errors import Refused


def others(n: int = 60) -> dict[str, pd.DataFrame]:
    """Three partners with enough of everything."""
    return {name: rows(n, seed) for seed, name in enumerate("abc", 2)}


# ---- floors


def strict_charter() -> Charter:
    """The research charter with floors that can be undercut in every field."""
    research = Charter.load("research")
    floor = research.floor.model_copy(update={"organisations": 4, "participation": ("all",)})
    return research.model_copy(update={"floor": floor})


def five() -> dict[str, pd.DataFrame]:
    return {name: rows(30, seed) for seed, name in enumerate("abcde")}


FLOORS: dict[str, tuple[Any, Any]] = {
    "persons": (10, 12),
    "organisations": (3, 5),
    "dominance_percent": (86, 84),
    "glm_parameters_per_person": (0.34, 0.32),
    "residual_df": (9, 11),
    "zero_is_small": (False, True),
    "participation": ("joined", "all"),
}
"""field -> (laxer than the charter, stricter or equal)."""
LIMITS = {"longest_days", "sums_at_most", "bytes_at_most"}
"""Fields of the floor that are no protection of a study's; tested below."""


def test_every_field_of_the_floor_is_tried() -> None:
    assert set(Floor.model_fields) == FLOORS.keys() | LIMITS


@pytest.mark.parametrize("field", FLOORS)
def test_a_study_laxer_than_the_charter_is_refused(field: str) -> None:
    lax, strict = FLOORS[field]
    of = TrustParts(trust(five(), strict_charter()))
    decisions = study(of.trust, dt.Describe(["x"]), protections={field: lax}).check()
    assert [d.rule for d in decisions if not d.ok] == [f"floor/{field}"]
    assert all(d.ok for d in study(of.trust, dt.Describe(["x"]), protections={field: strict}).check())


@pytest.mark.parametrize("field", FLOORS)
def test_each_node_refuses_a_laxer_study_for_itself(field: str) -> None:
    """The coordinator conducts it all the same, under a mandate that the whole committee signed."""
    lax, strict = FLOORS[field]
    of = TrustParts(trust(five(), strict_charter()))
    with pytest.raises(Refused) as error:
        of.run(study(of.trust, dt.Describe(["x"]), protections={field: lax}).study)
    assert error.value.rule == f"floor/{field}"
    assert all([s.kind for s in session.egress.sent] == ["refusal"] for session in of.sessions.values())
    of.run(study(of.trust, dt.Describe(["x"]), protections={field: strict}).study)


@pytest.mark.parametrize(
    ("limit", "rule"),
    [({"sums_at_most": 1}, "floor/sums_at_most"), ({"bytes_at_most": 100}, "floor/bytes_at_most")],
)
def test_a_plan_larger_than_the_charter_allows_is_refused(limit: dict[str, int], rule: str) -> None:
    research = Charter.load("research")
    charter = research.model_copy(update={"floor": research.floor.model_copy(update=limit)})
    assert outcome(trust(others(), charter), dt.Describe(["x"])) == rule


def test_a_study_longer_than_the_charter_allows_is_refused() -> None:
    of = trust(others())
    written = study(of, dt.Describe(["x"])).study
    ends = pd.Timestamp(written.not_before) + timedelta(days=91)
    assert outcome(of, dt.Describe(["x"]), expires=ends.to_pydatetime()) == "dates"


# ---- purposes


@pytest.mark.parametrize("purpose", ["Marketing", "academicresearch", "AcademicResearch ", ""])
def test_a_purpose_that_the_charter_does_not_know_has_no_permit(purpose: str) -> None:
    of = TrustParts(trust(others()))
    assert outcome(of.trust, dt.Describe(["x"]), purpose=purpose) == "no-permit"
    with pytest.raises(Refused) as error:
        of.run(study(of.trust, dt.Describe(["x"]), purpose=purpose).study)
    assert error.value.rule == "no-permit"
