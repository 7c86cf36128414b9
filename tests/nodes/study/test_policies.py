"""A partner's own policy, and the charter, are judged at the node: whatever anybody else has said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import datatrust as dt
from tests.nodes.study.test_session import DATASET, frame, world, written
from tests.support.example import small_trust
from tests.support.trust_parts import TrustParts
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.errors import CharterInvalid, Refused, StudyInvalid

POLICY = """
@id("{name}/never-y") @article("1")
@text("Column y is not for others.") @text_fr("La colonne y n'est pas pour d'autres.")
@remedy("Leave y out.") @remedy_fr("Retirez y.")
forbid (principal, action == Trust::Action::"compute", resource)
when {{ context.columns.contains("y") && context.partner == Trust::Partner::"{name}" }};
"""


def policy(folder: Path, name: str = "b", cedar: str = POLICY, floor: str = "") -> PartnerPolicy:
    home = folder / name
    home.mkdir()
    (home / "partner.toml").write_text(f'name = "{name}"\nversion = 1\npublished = false\n{floor}')
    if cedar:
        (home / "own.cedar").write_text(cedar.format(name=name))
    return PartnerPolicy.load(home)


def test_a_partner_refuses_what_its_own_policy_forbids_though_all_have_signed(tmp_path: Path) -> None:
    of = world()
    of.nodes["b"] = replace(of.nodes["b"], policy=policy(tmp_path))
    answers = of.mandate_answers(written(of), lambda drafted: drafted)
    assert [(a["kind"], a.get("rule")) for a in answers] == [
        ("approval", None),
        ("refusal", "b/never-y"),
        ("approval", None),
    ]
    assert answers[1]["text"] == "Column y is not for others."
    assert answers[1]["remedy"] == "Leave y out."


def test_a_policy_of_another_partner_binds_that_one_alone(tmp_path: Path) -> None:
    of = world()
    of.nodes["a"] = replace(of.nodes["a"], policy=policy(tmp_path, cedar=POLICY))  # it speaks of b
    answers = of.mandate_answers(written(of), lambda drafted: drafted)
    assert {a["kind"] for a in answers} == {"approval"}


@pytest.mark.parametrize(("persons", "ok"), [(10, True), (11, True), (12, False)])
def test_the_stricter_of_two_floors_counts(tmp_path: Path, persons: int, ok: bool) -> None:
    """The charter asks for 11; a partner that asks for less changes nothing."""
    of = world()
    own = policy(tmp_path, cedar="", floor=f"[floor]\npersons = {persons}\n")
    of.nodes["b"] = replace(of.nodes["b"], policy=own)
    answer = of.mandate_answers(written(of), lambda drafted: drafted)[1]
    assert (answer["kind"], answer.get("rule")) == (("approval", None) if ok else ("refusal", "floor/persons"))


def test_check_knows_every_partners_policy_and_says_what_would_pass(tmp_path: Path) -> None:
    own = policy(tmp_path, floor="[floor]\npersons = 20\n")
    frames = {name: frame(seed) for seed, name in enumerate("abc")}
    trust = small_trust(frames, DATASET, policies={"B": own})
    study = trust.study("x", purpose="AcademicResearch", analyses={"d": dt.Describe(["x", "y"])})
    said = study.check()
    assert [d.rule for d in said.refusals] == ["b/never-y", "floor/persons"]
    assert sum(d.rule == "floor/persons" for d in said) == 1
    found = study.explain("fr")
    assert {reason.rule for reason in found.reasons} == {"b/never-y", "floor/persons"}
    assert "La colonne y n'est pas pour d'autres" in str(found)
    with pytest.raises(Refused) as refused:
        study.run()
    assert refused.value.rule == "b/never-y"
    good = trust.study("x", purpose="AcademicResearch", analyses={"d": dt.Describe(["x"])}, protections={"persons": 20})
    assert good.check().ok
    assert good.run()["d"].nobs > 0


def test_policies_may_be_folders_and_are_of_partners_that_there_are(tmp_path: Path) -> None:
    policy(tmp_path)
    frames = {name: frame(seed) for seed, name in enumerate("abc")}
    trust = small_trust(frames, DATASET, policies={"b": tmp_path / "b"})
    assert not trust.study("x", purpose="AcademicResearch", analyses={"d": dt.Describe(["y"])}).check().ok
    with pytest.raises(StudyInvalid, match="no source"):
        small_trust(frames, DATASET, policies={"z": tmp_path / "b"})
    with pytest.raises(CharterInvalid):
        small_trust(frames, DATASET, policies={"b": tmp_path / "none"})


def test_a_sandbox_is_no_charter_of_a_trust_that_is_not_in_one_process() -> None:
    frames = {name: frame(seed) for seed, name in enumerate("abc")}
    of = TrustParts(small_trust(frames, DATASET, charter="sandbox"))
    study = written(of)
    assert {a["kind"] for a in of.mandate_answers(study, lambda drafted: drafted)} == {"approval"}
    of.found({**of.keys.root.root.document(), "trust": "region"})
    answers = of.mandate_answers(written(of), lambda drafted: drafted)
    assert {a["rule"] for a in answers} == {"charter-local-only"}


def test_another_charter_than_the_roots_is_refused(tmp_path: Path) -> None:
    of = world()
    answers = of.mandate_answers(written(of), lambda drafted: drafted, charter=Charter.load("sandbox"))
    assert {a["rule"] for a in answers} == {"charter"}
