"""What is decided on a declaration: purposes, policies, floors from below and above, dates; unknown is a no."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cedarpy
import pytest

import datatrust as dt
from tests.support.charters import (
    ASKER,
    DATASET,
    FLOORS,
    NOW,
    PERMIT,
    analyses,
    asker,
    charter,
    decided,
    forbid,
    permit,
    refusals,
    scope_of,
    strict,
    study,
    with_floor,
)
from trust.charters.charter import Charter, Floor
from trust.documents.root import Root
from trust.documents.study import plan
from trust.errors import nearest
from trust.policy.decide import Asker, DecisionContext, asker_of, decide, local_only
from trust.policy.declaration import Declaration
from trust.times import write_time

RESEARCH = permit('context.purpose in Trust::Purpose::"Research"')


# ---- purposes


@pytest.mark.parametrize(
    ("purpose", "ok"),
    [
        pytest.param("Research", True, id="the purpose itself"),
        pytest.param("Academic", True, id="a child"),
        pytest.param("Clinical", True, id="another child"),
        pytest.param("Marketing", False, id="a sibling"),
        pytest.param("Purpose", False, id="the parent"),
        pytest.param("Curiosity", False, id="unknown"),
        pytest.param("academic", False, id="other letters"),
        pytest.param("", False, id="missing"),
        pytest.param('x"\n\x00', False, id="odd letters"),
    ],
)
def test_a_purpose_is_permitted_with_its_children(tmp_path: Path, purpose: str, ok: bool) -> None:
    decisions = decided(study(purpose=purpose), charter(tmp_path, RESEARCH))
    assert decisions.ok is ok
    assert [d.rule for d in decisions.refusals] == ([] if ok else ["no-permit"])


def test_the_remedy_names_a_purpose_that_would_be_permitted(tmp_path: Path) -> None:
    mine = charter(tmp_path, RESEARCH)
    (refused,) = decided(study(purpose="Academik"), mine).refusals
    assert refused.text == "the charter “mine” does not permit the purpose “Academik”"
    assert refused.remedy == "choose a purpose that the charter knows: 'Academic', perhaps"
    (refused,) = decided(study(purpose="Marketing"), mine).refusals
    assert refused.remedy.endswith(nearest("Marketing", ["Academic", "Clinical", "Research"]))


def test_a_permit_that_asks_for_more_than_a_purpose_says_so(tmp_path: Path) -> None:
    mine = charter(tmp_path, permit('principal.organisation.kind == "hospital"'))
    (refused,) = decided(study(), mine).refusals
    assert refused.rule == "no-permit"
    assert refused.text == "no policy of the charter “mine” permits this study, whatever its purpose"
    assert decided(study(), mine, asker=asker(kind="hospital")).ok


def test_an_unknown_purpose_is_a_no_though_a_policy_permits_everything(tmp_path: Path) -> None:
    assert refusals(study(purpose="Curiosity"), charter(tmp_path)) == ["no-permit"]


def test_without_a_policy_nothing_is_permitted(tmp_path: Path) -> None:
    assert refusals(study(), charter(tmp_path, None)) == ["no-permit"]


def test_a_forbid_beats_a_permit_and_says_why(tmp_path: Path) -> None:
    mine = charter(tmp_path, PERMIT + forbid('context.columns.contains("age")'))
    (refused,) = decided(study(), mine).refusals
    assert (refused.rule, refused.text, refused.remedy) == ("mine/rule", "A text.", "A remedy.")


def test_every_forbid_that_fires_is_told_in_the_order_of_the_file_beside_no_permit(tmp_path: Path) -> None:
    cedar = RESEARCH + forbid("true", "b") + forbid("false", "c") + forbid("context.sums > 0", "a")
    mine = charter(tmp_path, cedar)
    assert refusals(study(purpose="Marketing"), mine) == ["no-permit", "mine/b", "mine/a"]
    assert refusals(study(), mine) == ["mine/b", "mine/a"]


# ---- every fact of the request


def facts() -> dict[str, tuple[str, dict[str, Any]]]:
    glm = analyses(risk=dt.Glm("chol ~ age + sex"), table=dt.Describe(["age"]))
    return {
        "purpose": ('context.purpose == Trust::Purpose::"Academic"', {}),
        "analyses": ('context.analyses == ["glm", "describe"]', {"analyses": glm}),
        "columns": ('context.columns == ["age", "sex", "chol"]', {"analyses": glm}),
        "derived columns": ('context.columns == ["ill", "num"]', {"analyses": analyses(t=dt.Describe(["ill"]))}),
        "partner is not a column": (
            'context.columns == ["age"]',
            {"analyses": analyses(t=dt.Describe(["age"], by=["partner"]))},
        ),
        "cohort_columns": ('context.cohort_columns == ["sex", "num", "ill"]', {"cohort": "ill and sex = 'F'"}),
        "no cohort": ("context.cohort_columns.isEmpty()", {}),
        "now": ('context.now == datetime("2026-11-24T12:00:00Z")', {}),
        "not_before": ('context.not_before == datetime("2026-11-24T12:00:00Z")', {}),
        "expires": ('context.expires.durationSince(context.not_before) == duration("90d")', {}),
        "sums": ("context.sums == 3", {}),
        "parameters": ("context.parameters == 3", {"analyses": glm}),
        "no model": ("context.parameters == 0", {}),
        "open_ended": ("!context.open_ended", {}),
        "persons": ("context.persons == 13", {"protections": {"persons": 13}}),
        "organisations": ("context.organisations == 4", {"protections": {"organisations": 4}}),
        "dominance_percent": ("context.dominance_percent == 80", {"protections": {"dominance_percent": 80}}),
        "booleans": ("context.zero_is_small && !context.noise", {}),
        "participation": ('context.participation == "all"', {"protections": {"participation": "all"}}),
        "colluders": ("context.colluders == 2", {"protections": {"colluders": 2}}),
        "nothing spent": ("context.rho_micro == 0 && context.spent_after_micro == 0", {}),
        "partners": ('context.partners.contains(Trust::Partner::"west")', {}),
        "partner": ('context.partner == Trust::Partner::"east"', {}),
        "researcher": ('principal == Trust::Researcher::"ada"', {}),
        "organisation": ('principal.organisation == Trust::Organisation::"lab"', {}),
        "country": ('principal.organisation.country == "FR"', {}),
        "kind": ('principal.organisation.kind == "university"', {}),
        "accreditation": ('principal.accredited_until == datetime("2027-03-04T12:00:00Z")', {}),
        "dataset": ('resource == Trust::Dataset::"people" && resource.version == "1.0.0"', {}),
    }


@pytest.mark.parametrize("fact", facts())
def test_a_policy_sees(tmp_path: Path, fact: str) -> None:
    condition, fields = facts()[fact]
    mine = charter(tmp_path, PERMIT + forbid(condition)).model_copy(update={"partner_may_be_shown": True})
    assert refusals(study(**fields), mine, partner="east") == ["mine/rule"]
    mine = charter(tmp_path, PERMIT + forbid(f"!({condition})"))
    assert "mine/rule" not in refusals(study(**fields), mine, partner="east")


def test_a_permit_may_ask_for_all_of_it_at_once(tmp_path: Path) -> None:
    condition = 'context.purpose in Trust::Purpose::"Research" && principal.accredited_until > context.now'
    mine = charter(tmp_path, permit(condition))
    assert decided(study(), mine).ok
    assert refusals(study(), mine, asker=asker(accredited_until=NOW)) == ["no-permit"]


# ---- what cannot be evaluated is a no


@pytest.mark.parametrize(
    "condition",
    ["context.sums * 9223372036854775807 * 2 == 0", "context.persons + 9223372036854775807 > 0"],
)
def test_a_forbid_that_cannot_be_evaluated_refuses_and_says_no_value(tmp_path: Path, condition: str) -> None:
    asked = study({"persons": 4321})
    (refused,) = decided(asked, charter(tmp_path, PERMIT + forbid(condition))).refusals
    assert refused.rule == "policy-error"
    assert refused.text == "the policy mine/rule could not be evaluated, and what cannot be evaluated is refused"
    assert "4321" not in str(refused)


def test_a_permit_that_cannot_be_evaluated_refuses_though_another_permits(tmp_path: Path) -> None:
    mine = charter(tmp_path, PERMIT + permit("context.persons + 9223372036854775807 > 0", "other"))
    assert refusals(study(), mine) == ["policy-error"]


def test_a_permit_that_cannot_be_evaluated_alone_is_an_error_and_not_a_missing_permit(tmp_path: Path) -> None:
    mine = charter(tmp_path, permit("context.persons + 9223372036854775807 > 0"))
    assert refusals(study(), mine) == ["policy-error"]


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(replace(ASKER, accredited_until="tomorrow"), id="a date that is none"),
        pytest.param(replace(ASKER, accredited_until=NOW.replace(tzinfo=None)), id="a date without a zone"),
        pytest.param(replace(ASKER, country=7), id="a number where a text is needed"),
        pytest.param(replace(ASKER, organisation=None), id="nothing where a text is needed"),
        pytest.param(replace(ASKER, name="\ud800"), id="a text that is not Unicode"),
    ],
)
def test_an_asker_of_the_wrong_type_is_refused_without_an_exception(tmp_path: Path, who: Asker) -> None:
    decisions = decided(study(), charter(tmp_path), asker=who)
    assert [d.rule for d in decisions.refusals] == ["policy-error"]
    assert "could not be evaluated" in str(decisions)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"not_before": "2026-02-30T00:00:00Z"}, id="a bad date"),
        pytest.param({"sums": "2"}, id="a text for a number"),
        pytest.param({"parameters": 2**70}, id="a number too large"),
        pytest.param({"columns": frozenset({1})}, id="a number for a column"),
        pytest.param({"open_ended": None}, id="nothing"),
        pytest.param({"columns": frozenset({b"x"})}, id="bytes"),
    ],
)
def test_a_request_against_the_schema_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    bench = DecisionContext(charter(tmp_path), ASKER, NOW)
    asked = study()
    said = Declaration.of(asked, scope_of(asked), plan(asked, scope_of(asked)))
    answer = bench.engine().ask(replace(said, **change).request(ASKER, "", NOW))
    assert (answer.yes, answer.failed) == (False, ("",))


def test_an_attribute_that_the_schema_does_not_have_is_refused(tmp_path: Path) -> None:
    bench, asked = DecisionContext(charter(tmp_path), ASKER, NOW), study()
    request = Declaration.of(asked, scope_of(asked), {}).request(ASKER, "", NOW)
    assert bench.engine().ask(request).yes
    more = replace(request, context={**request.context, "rows": 7})
    assert bench.engine().ask(more).failed == ("",)
    less = replace(request, context={k: v for k, v in request.context.items() if k != "noise"})
    assert bench.engine().ask(less).failed == ("",)
    assert bench.engine().permits(less, [{}]) == [False]
    assert bench.engine().permits(replace(request, entities="["), [{}]) == []


def test_a_cohort_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    scope = scope_of(study())
    decisions = decide(
        study(cohort="nowhere > 3"), charter(tmp_path), scope, plan(study(), scope), now=NOW, asker=ASKER
    )
    assert [d.rule for d in decisions.refusals] == ["policy-error"]


class PanicException(BaseException):
    """As a crash inside Cedar arrives."""


def test_a_crash_of_cedar_is_a_no_and_a_stop_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = charter(tmp_path)

    def crash(*_: Any) -> Any:
        raise PanicException

    monkeypatch.setattr(cedarpy, "is_authorized_batch", crash)
    assert refusals(study(), mine) == ["policy-error"]

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(cedarpy, "is_authorized_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        refusals(study(), mine)


def test_an_error_that_names_no_policy_of_ours_is_one_all_the_same(tmp_path: Path) -> None:
    engine = charter(tmp_path).engine()
    result = cedarpy.AuthzResult({"decision": "Allow", "diagnostics": {"reason": ["mine/permit"], "errors": ["odd"]}})
    assert engine._answer(result, {}, engine._purposes).failed == ("",)


# ---- floors

OTHERS = {"longest_days", "sums_at_most", "bytes_at_most"}


def test_every_floor_is_tried() -> None:
    assert set(Floor.model_fields) == FLOORS.keys() | OTHERS


@pytest.mark.parametrize("field", FLOORS)
def test_a_threshold_below_equal_to_and_above_its_floor(tmp_path: Path, field: str) -> None:
    below, equal, above = FLOORS[field]
    declared = {"organisations": 4, "participation": "all"}
    assert refusals(study({**declared, field: below}), strict(tmp_path)) == [f"floor/{field}"]
    assert decided(study({**declared, field: equal}), strict(tmp_path)).ok
    assert decided(study({**declared, field: above}), strict(tmp_path)).ok


@pytest.mark.parametrize(
    ("field", "text", "remedy"),
    [
        ("persons", "persons must be 11 or more; the study declares 10", "set persons to 11"),
        (
            "dominance_percent",
            "dominance_percent must be 85 or less; the study declares 86",
            "set dominance_percent to 85",
        ),
        (
            "glm_parameters_per_person",
            "glm_parameters_per_person must be 0.33 or less; the study declares 0.34",
            "set glm_parameters_per_person to 0.33",
        ),
        ("zero_is_small", "zero_is_small must be true; the study declares false", "set zero_is_small to true"),
        ("participation", "participation must be all; the study declares joined", "set participation to all"),
    ],
)
def test_a_floor_says_what_to_set(tmp_path: Path, field: str, text: str, remedy: str) -> None:
    declared = {"organisations": 4, "participation": "all", field: FLOORS[field][0]}
    (refused,) = decided(study(declared), strict(tmp_path)).refusals
    assert (refused.text, refused.remedy) == (text, remedy)


@pytest.mark.parametrize(("least", "ok"), [(2, False), (3, True), (4, True)])
def test_the_number_of_sums(tmp_path: Path, least: int, ok: bool) -> None:
    mine = with_floor(charter(tmp_path), sums_at_most=least)
    assert refusals(study(), mine) == ([] if ok else ["floor/sums_at_most"])


def test_the_number_of_bytes(tmp_path: Path) -> None:
    asked, mine = study(), charter(tmp_path)
    needed = Declaration.of(asked, scope_of(asked), plan(asked, scope_of(asked))).bytes
    assert refusals(asked, with_floor(mine, bytes_at_most=needed - 1)) == ["floor/bytes_at_most"]
    assert decided(asked, with_floor(mine, bytes_at_most=needed)).ok


# ---- dates, partners, the dataset


@pytest.mark.parametrize(
    ("fields", "now", "text"),
    [
        ({"days": 90}, NOW, ""),
        ({"days": 91}, NOW, "a study lasts at most 90 days"),
        ({"days": 1}, NOW + timedelta(hours=24), "the study has expired"),
        ({"days": 1}, NOW + timedelta(hours=23, minutes=59, seconds=59), ""),
        ({}, NOW - timedelta(seconds=1), f"the study begins on {write_time(NOW)}"),
    ],
)
def test_dates(tmp_path: Path, fields: dict[str, Any], now: Any, text: str) -> None:
    refused = decided(study(**fields), charter(tmp_path), now=now).refusals
    assert [d.text for d in refused] == ([text] if text else [])


@pytest.mark.parametrize(
    ("named", "protections", "ok"),
    [(2, {}, False), (3, {}, True), (3, {"organisations": 4}, False), (3, {"colluders": 2}, False), (1001, {}, False)],
)
def test_partners(tmp_path: Path, named: int, protections: dict[str, int], ok: bool) -> None:
    partners = tuple(f"p{n}" for n in range(named))
    assert refusals(study(protections), charter(tmp_path), partners=partners) == ([] if ok else ["organisations"])


def test_a_group_by_partner_needs_the_charter_s_leave(tmp_path: Path) -> None:
    asked, mine = study(analyses=analyses(t=dt.Describe(["age"], by=["partner"]))), charter(tmp_path)
    assert refusals(asked, mine) == ["organisations"]
    assert decided(asked, mine.model_copy(update={"partner_may_be_shown": True})).ok


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"dataset_digest": "sha256:" + 64 * "0"}])
def test_another_dataset(tmp_path: Path, change: dict[str, str]) -> None:
    assert refusals(study(**change), charter(tmp_path)) == ["dataset"]


def test_two_datasets_with_the_same_cohort_are_told_apart(tmp_path: Path) -> None:
    """What is known of a dataset is kept by the very object: another of the same id is read anew."""
    other = DATASET.model_copy(update={"columns": DATASET.columns[:3]})
    asked = study(cohort="ill")
    scope = scope_of(asked)
    assert Declaration.of(asked, scope, {}).cohort_columns == {"ill", "num"}
    assert not Declaration.of(asked, replace(scope, dataset=other), {}).readable
    assert not Declaration.of(asked, replace(scope, dataset=other), {}).dataset_named


# ---- who asks, and where a charter may be used


def test_the_asker_is_the_root_s_researcher_and_nobody_else() -> None:
    until = "2027-01-01T00:00:00Z"
    key = {"key": "0" * 64, "organisation": "lab", "accredited_until": until}
    root = Root.model_construct(researchers={"ada": type("R", (), key)})
    found = asker_of(root, "ada", country="FR", kind="university")
    assert (found.organisation, found.country, found.kind) == ("lab", "FR", "university")
    assert write_time(found.accredited_until) == until
    assert asker_of(root, "eve").accredited_until < NOW


@pytest.mark.parametrize(
    ("name", "trust", "ok"),
    [("sandbox", "local", True), ("sandbox", "hospitals", False), ("research", "hospitals", True)],
)
def test_a_sandbox_is_for_one_process(name: str, trust: str, ok: bool) -> None:
    said = local_only(Charter.load(name), trust)
    assert (said.rule, said.ok) == ("charter-local-only", ok)


def test_nothing_is_skipped_and_the_order_is_fixed(tmp_path: Path) -> None:
    assert [d.rule for d in decided(study(), charter(tmp_path))] == [
        "dataset",
        "no-permit",
        *(f"floor/{name}" for name in FLOORS),
        "dates",
        "organisations",
        "organisations",
        "floor/sums_at_most",
        "floor/bytes_at_most",
    ]
