"""Condition: sovereignty.  Each partner's own policy binds its node, whatever the coordinator says was approved.

The strictest of charter and partner wins.  Of the mandate a coordinator can change no field, and a whole committee none
that the node can compute itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from nodes.study.session import Session
from tests.support.outside_view import rule_of, watched
from tests.support.small_trusts import dataset, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.documents.mandate import Mandate
from trust.errors import CharterInvalid
from trust.protocol.messages import UP, pack_signed, unpack
from trust.signing.envelope import sign

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abcd", 2)}
FORBIDDING = """
@id("d/no-income") @article("1")
@text("Column z is never used.") @text_fr("La colonne z n'est jamais utilisée.")
@remedy("Leave it out.") @remedy_fr("Retirez-la.")
forbid (principal, action == Trust::Action::"compute", resource)
when { context.columns.contains("z") };
"""
FLOORS = 'name = "d"\nversion = 1\npublished = true\n\n[floor]\npersons = 20\nlongest_days = 30\n'


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy of partner d: at least 20 persons, 30 days at most, and column z never."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "partner.toml").write_text(FLOORS)
    (folder / "own.cedar").write_text(FORBIDDING)
    return folder


@pytest.fixture
def of(own: Path) -> TrustParts:
    return TrustParts(dt.local(dict(FRAMES), dataset(), policies={"d": own}))


def with_20(of: Any, column: str, **more: Any) -> Any:
    """A study that d's floors allow."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=more.pop("days", 20))
    protections = {"persons": more.pop("persons", 20)}
    return study(of, dt.Describe([column]), protections=protections, expires=ends)


def test_a_study_that_the_partners_policy_allows_is_answered_by_all(of: TrustParts) -> None:
    """The positive control."""
    conducted = of.run(with_20(of.trust, "x").study)
    assert conducted.partners == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("change", "rule"),
    [({"column": "z"}, "d/no-income"), ({"persons": 19}, "floor/persons"), ({"days": 31}, "dates")],
    ids=["a column that it forbids", "fewer persons than its floor", "longer than its floor"],
)
def test_a_partner_refuses_for_itself_though_charter_and_committee_said_yes(
    of: TrustParts, change: dict[str, Any], rule: str
) -> None:
    """The coordinator conducts it all the same: the others answer, and this one gives nothing."""
    asked = with_20(of.trust, change.pop("column", "x"), **change)
    conducted = of.run(asked.study)
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"d": rule}
    assert [sent.kind for sent in of.sessions["d"].egress.sent] == ["refusal"]
    assert rule in [no.rule for no in asked.check().refusals]


def test_a_partners_policy_can_forbid_and_never_allow(tmp_path: Path) -> None:
    (tmp_path / "partner.toml").write_text('name = "d"\nversion = 1\npublished = true\n\n[floor]\npersons = 5\n')
    loose = dt.local(dict(FRAMES), dataset(), policies={"d": tmp_path})
    assert rule_of(study(loose, dt.Describe(["x"]), protections={"persons": 10}).run) == "floor/persons"
    (tmp_path / "own.cedar").write_text(FORBIDDING.replace("forbid", "permit"))
    with pytest.raises(CharterInvalid, match="permit"):
        dt.local(dict(FRAMES), dataset(), policies={"d": tmp_path})


# ---- a coordinator that claims an approval


NONE = "sha256:" + 64 * "0"
CLAIMED: dict[str, tuple[Any, str]] = {
    "schema_": ("datatrust/mandate/2", "message-invalid"),
    "id": ("Not A Name", "message-invalid"),
    "study": (NONE, "mandate-study"),
    "plan": (NONE, "plan"),
    "dataset": (NONE, "mandate-study"),
    "charter": (NONE, "mandate-study"),
    "root": (2, "root-version"),
    "partners": (("a", "b", "c", "d", "e"), "partners-invalid"),
    "participation": ("all", "mandate-partners"),
    "m": (4, "mandate-partners"),
    "c": (2, "mandate-partners"),
    "sums": (1000, "plan"),
    "bytes": (10**9, "plan"),
    "audit": ("nobody", "message-invalid"),
    "conditions": (("anything",), "plan"),
    "not_before": ("2026-01-01T00:00:00Z", "mandate-study"),
    "expires": ("2036-01-01T00:00:00Z", "mandate-study"),
}
"""For each field of the mandate another value, and the rule that refuses it where a whole committee has signed it."""


@pytest.fixture(scope="module")
def plain() -> TrustParts:
    return TrustParts(trust(FRAMES))


def test_every_field_of_the_mandate_is_tried() -> None:
    assert set(CLAIMED) == set(Mandate.model_fields)


@pytest.mark.parametrize("field", Mandate.model_fields)
def test_a_coordinator_that_changes_a_field_of_an_approved_mandate_is_refused(plain: TrustParts, field: str) -> None:
    """It has the committee's signatures, and puts them under other words."""
    asked = study(plain.trust, dt.Describe(["x"])).study
    signed = plain.keys.study(asked)
    approved = plain.keys.mandate(plain.mandate_of(asked, signed))
    name = "schema" if field == "schema_" else field
    value = CLAIMED[field][0] if field != "id" else "2026-0002"
    document = plain.mandate_of(asked, signed).document() | {name: list(value) if isinstance(value, tuple) else value}
    claimed = sign("mandate", document).model_copy(update={"signatures": approved.signatures})
    message = {"kind": "mandate", "mandate": claimed.document(), "study": signed.document()}
    for node in plain.nodes.values():
        answer, _ = unpack(Session(node).handle(pack_signed(message, plain.keys.coordinator)), UP)
        assert (answer["kind"], answer["rule"]) == ("refusal", "signature")


@pytest.mark.parametrize("field", Mandate.model_fields)
def test_a_field_that_does_not_follow_from_the_study_is_refused_whoever_signed(plain: TrustParts, field: str) -> None:
    """A committee that was misled, or that sides with the coordinator, gets no more out of a node."""
    value, rule = CLAIMED[field]
    asked = study(plain.trust, dt.Describe(["x"])).study
    answers = plain.mandate_answers(asked, lambda drafted: drafted.model_copy(update={field: value}))
    assert {(answer["kind"], answer["rule"]) for answer in answers} == {("refusal", rule)}


@pytest.mark.parametrize("number", ["2026-0001", "2027-0999"])
def test_the_honest_mandate_is_approved_under_any_number(plain: TrustParts, number: str) -> None:
    """The positive control; a mandate's number is a name, and nothing follows from it."""
    asked = study(plain.trust, dt.Describe(["x"])).study
    answers = plain.mandate_answers(asked, lambda drafted: drafted.model_copy(update={"id": number}))
    assert {answer["kind"] for answer in answers} == {"approval"}


def test_the_register_does_not_say_which_partner_refused(own: Path) -> None:
    of = dt.local(dict(FRAMES), dataset(), policies={"d": own})
    with watched():
        assert rule_of(study(of, dt.Describe(["z"])).run) != "answered"
    refusals = [entry.body for entry in of.docket.register.entries() if entry.kind == "refusal"]
    assert refusals
    assert all(body["partner"] == "" for body in refusals)
