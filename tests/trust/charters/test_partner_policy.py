"""A partner's own policy: it can refuse more than the charter and never allow more; the strictest wins, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

import datatrust as dt
from tests.support.charters import (
    FLOORS,
    PERMIT,
    analyses,
    charter,
    decided,
    forbid,
    refusals,
    strict,
    study,
    with_floor,
)
from trust.charters.partner_policy import PartnerPolicy
from trust.errors import CharterInvalid


def partner(folder: Path, cedar: str | None = None, floor: str = "", name: str = "east-own") -> PartnerPolicy:
    folder.mkdir(exist_ok=True)
    (folder / "partner.toml").write_text(f'name = "{name}"\nversion = 1\npublished = true\n{floor}')
    if cedar is not None:
        (folder / "own.cedar").write_text(cedar)
    return PartnerPolicy.load(folder)


def test_a_partner_s_floor_wins_where_it_is_stricter_and_only_there(tmp_path: Path) -> None:
    mine = charter(tmp_path / "c")
    own = partner(tmp_path / "p", floor="[floor]\npersons = 20\ndominance_percent = 99\nlongest_days = 30\n")
    asked = study({"persons": 19}, days=30)
    (refused,) = decided(asked, mine, policy=own).refusals
    assert refused.rule == "floor/persons"
    assert refused.text == "persons must be 20 or more under the partner's policy “east-own”; the study declares 19"
    assert decided(study({"persons": 20}, days=30), mine, policy=own).ok
    assert refusals(study({"persons": 20, "dominance_percent": 86}, days=30), mine, policy=own) == [
        "floor/dominance_percent"
    ]
    assert refusals(study({"persons": 20}, days=31), mine, policy=own) == ["dates"]
    assert decided(study({"persons": 19}), mine).ok


@pytest.mark.parametrize("field", FLOORS)
def test_the_charter_s_floor_holds_where_the_partner_s_is_laxer(tmp_path: Path, field: str) -> None:
    below, equal, _ = FLOORS[field]
    written = ["all", "joined"] if field == "participation" else below
    text = str(written).lower().replace("'", '"') if field != "glm_parameters_per_person" else f'"{written}"'
    own = partner(tmp_path / "p", floor=f"[floor]\n{field} = {text}\n")
    declared = {"organisations": 4, "participation": "all"}
    assert refusals(study({**declared, field: below}), strict(tmp_path / "c"), policy=own) == [f"floor/{field}"]
    assert decided(study({**declared, field: equal}), strict(tmp_path / "c"), policy=own).ok


def test_participation_that_both_allow_or_none(tmp_path: Path) -> None:
    own = partner(tmp_path / "p", floor='[floor]\nparticipation = ["joined"]\n')
    mine = charter(tmp_path / "c")
    assert refusals(study({"participation": "all"}), mine, policy=own) == ["floor/participation"]
    (refused,) = decided(study(), with_floor(mine, participation=("all",)), policy=own).refusals
    assert refused.text == "the charter and the partner's policy allow no common value of participation"


def test_a_partner_s_sizes_are_the_strictest(tmp_path: Path) -> None:
    own = partner(tmp_path / "p", floor="[floor]\nsums_at_most = 1\nbytes_at_most = 1\n")
    assert refusals(study(), charter(tmp_path / "c"), policy=own) == ["floor/sums_at_most", "floor/bytes_at_most"]


def test_a_partner_s_forbid_refuses_beside_the_charter_s(tmp_path: Path) -> None:
    mine = charter(tmp_path / "c", PERMIT + forbid('context.columns.contains("age")'))
    own = partner(tmp_path / "p", forbid('!context.columns.contains("sex")', "sex", "east-own"))
    assert refusals(study(), mine, policy=own) == ["mine/rule", "east-own/sex"]
    asked = study(analyses=analyses(t=dt.Crosstab("sex", "town")))
    assert decided(asked, mine, policy=own).ok


def test_a_partner_s_policy_cannot_permit(tmp_path: Path) -> None:
    cedar = forbid("true", "a", "east-own") + "\n\n" + PERMIT
    with pytest.raises(CharterInvalid, match=r"own.cedar, line 5: policy 'mine/permit' is a permit; expected forbid"):
        partner(tmp_path, cedar)


def test_a_partner_s_policy_beside_a_charter_with_the_same_id(tmp_path: Path) -> None:
    mine, own = charter(tmp_path / "c"), partner(tmp_path / "p", forbid("false", "permit"))
    with pytest.raises(
        CharterInvalid,
        match=r"own.cedar, line 1: the id 'mine/permit' stands twice; expected another one, since policies.cedar",
    ):
        own.check_fits(mine)
    assert refusals(study(), mine, policy=own) == ["policy-error"]
    partner(tmp_path / "q", forbid("false")).check_fits(mine)


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("", "partner.toml has no field"),
        ('name = "x"\nversion = 1\n', "partner.toml has no field 'published'"),
        ('name = "x"\nversion = 1\npublished = 1\n', "field 'published'"),
        ('name = "X Y"\nversion = 1\npublished = true\n', "field 'name'"),
        ('name = "x"\nversion = 1\npublished = true\npublish = 1\n', "unknown field 'publish'"),
        ('name = "x"\nversion = 1\npublished = true\n[floor]\nperson = 3\n', "'floor.person'; expected 'persons'"),
        ('name = "x"\nversion = 1\npublished = true\n[floor]\npersons = 0\n', "'floor.persons'"),
        ('name = "x"\nversion = 1\npublished = true\nfloor = 3\n', "field 'floor'"),
        ('name = "x"\nversion = 1\npublished = true\npolicies = []\n', "unknown field 'policies'"),
        ("name = ", "partner.toml is not valid TOML"),
    ],
)
def test_a_faulty_partner_toml(tmp_path: Path, toml: str, expected: str) -> None:
    (tmp_path / "partner.toml").write_text(toml)
    with pytest.raises(CharterInvalid) as caught:
        PartnerPolicy.load(tmp_path)
    assert expected in str(caught.value)


def test_a_partner_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CharterInvalid, match=r"has no readable partner\.toml"):
        PartnerPolicy.load(tmp_path / "none")


def test_the_digest_of_a_partner_s_policy_changes_with_each_file(tmp_path: Path) -> None:
    digests = {partner(tmp_path).folder_digest, partner(tmp_path, floor="[floor]\npersons = 12\n").folder_digest}
    digests |= {partner(tmp_path, forbid("false", n, "east-own")).folder_digest for n in "ab"}
    assert len(digests) == 4
