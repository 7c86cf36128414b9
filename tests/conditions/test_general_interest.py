"""Condition: general interest.  A study has a purpose that the charter permits, or a kind of it; unknown is no.

The charter for research permits research and development, and public benefit, with all that is under them.
"""

from __future__ import annotations

from typing import Any

import pytest

import datatrust as dt
from nodes.study.session import Session
from tests.support.outside_view import rule_of
from tests.support.small_trusts import rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.canonical import canonical
from trust.documents.study import Study
from trust.errors import DataTrustError, StudyInvalid
from trust.protocol.messages import UP, pack_signed, unpack
from trust.signing.envelope import sign

PERMITTED = {
    "the purpose itself": "ResearchAndDevelopment",
    "a child": "AcademicResearch",
    "another child": "NonCommercialResearch",
    "a child of another": "ImproveHealthcare",
}
REFUSED = {
    "a sibling": "Marketing",
    "the parent, which is wider": "Purpose",
    "unknown": "Curiosity",
    "in other letters": "academicresearch",
    "with a space": "AcademicResearch ",
    "in a language of its own": "Recherche",
    "missing": "",
}


@pytest.fixture(scope="module")
def of() -> TrustParts:
    return TrustParts(trust({name: rows(60, seed) for seed, name in enumerate("abc", 2)}))


@pytest.mark.parametrize("purpose", PERMITTED.values(), ids=PERMITTED)
def test_a_purpose_under_a_permitted_one_is_answered(of: TrustParts, purpose: str) -> None:
    assert rule_of(study(of.trust, dt.Describe(["x"]), purpose=purpose).run) == "answered"


@pytest.mark.parametrize("purpose", REFUSED.values(), ids=REFUSED)
def test_any_other_purpose_is_refused_before_a_committee_sees_it(of: TrustParts, purpose: str) -> None:
    asked = study(of.trust, dt.Describe(["x"]), purpose=purpose)
    assert rule_of(asked.run) == "no-permit"
    assert "no-permit" in [no.rule for no in asked.check().refusals]


@pytest.mark.parametrize("purpose", REFUSED.values(), ids=REFUSED)
def test_every_node_refuses_it_though_a_committee_has_signed_it(of: TrustParts, purpose: str) -> None:
    """The coordinator conducts it all the same."""
    asked = study(of.trust, dt.Describe(["x"]), purpose=purpose).study
    assert rule_of(lambda: of.run(asked)) == "no-permit"
    assert all([sent.kind for sent in session.egress.sent] == ["refusal"] for session in of.sessions.values())


def test_a_study_without_the_field_is_no_study(of: TrustParts) -> None:
    whole = study(of.trust, dt.Describe(["x"])).study
    document = {name: value for name, value in whole.document().items() if name != "purpose"}
    with pytest.raises(StudyInvalid):
        Study.read(canonical(document))
    signed = sign("study", document, of.keys.researcher)
    mandate = of.keys.mandate(of.mandate_of(whole, signed))
    message: dict[str, Any] = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}
    for node in of.nodes.values():
        answer, _ = unpack(Session(node).handle(pack_signed(message, of.keys.coordinator)), UP)
        assert (answer["kind"], answer["rule"]) == ("refusal", "study-invalid")


def test_a_charter_without_a_permit_permits_nothing(of: TrustParts) -> None:
    """Nothing written down is a no: it takes a permit, and an unknown purpose has none."""
    silent = of.trust.charter.model_copy(update={"policies": ()})
    asked = study(trust({name: rows(60, seed) for seed, name in enumerate("abc", 2)}, silent), dt.Describe(["x"]))
    with pytest.raises(DataTrustError):
        asked.run()
    assert [no.rule for no in asked.check().refusals][:1] == ["no-permit"]
