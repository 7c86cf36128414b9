"""A charter's folder is closed: a missing file, a misspelt key or a lax number never becomes a weaker charter."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.charters import MENDED, PERMIT, PURPOSES, TOML, forbid, write
from trust.charters.cedar_text import policies_of
from trust.charters.charter import Charter
from trust.errors import CharterInvalid, InvalidInput
from trust.plain.charter import charter_text

READY = files("trust") / "charters" / "research"
FILES = ("charter.toml", "purposes.toml", "policies.cedar")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes((READY / name).read_bytes())
    return tmp_path


def fault(folder: Path) -> str:
    with pytest.raises(CharterInvalid) as caught:
        Charter.load(folder)
    return str(caught.value)


def test_a_copy_of_the_ready_charter_is_that_charter(folder: Path) -> None:
    assert Charter.load(folder) == Charter.load("research")


def test_a_copy_is_made_from_the_files_that_a_charter_keeps(tmp_path: Path) -> None:
    for name, raw in Charter.load("research").files.items():
        (tmp_path / name).write_bytes(raw)
    assert Charter.load(tmp_path) == Charter.load("research")


# ---- the digest


@pytest.mark.parametrize("name", FILES)
def test_one_byte_changed_in_any_file_is_another_charter(folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write("\n")
    assert Charter.load(folder).folder_digest != Charter.load("research").folder_digest


def test_a_file_of_policies_added_renamed_or_taken_away_is_another_charter(folder: Path) -> None:
    before = Charter.load(folder).folder_digest
    (folder / "policies.cedar").rename(folder / "rules.cedar")
    renamed = Charter.load(folder).folder_digest
    (folder / "more.cedar").write_text(forbid("false", whose="research"))
    added = Charter.load(folder).folder_digest
    (folder / "rules.cedar").unlink()
    assert len({before, renamed, added, Charter.load(folder).folder_digest}) == 4


def test_tests_and_notes_are_no_part_of_the_digest(folder: Path) -> None:
    before = Charter.load(folder).folder_digest
    (folder / "tests.toml").write_text("[[case]]\n")
    (folder / "README.md").write_text("read me")
    assert Charter.load(folder).folder_digest == before


# ---- files


@pytest.mark.parametrize("name", ["charter.toml", "purposes.toml"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"has no readable {name}; expected the file" in fault(folder)


def test_an_empty_folder_is_no_charter(tmp_path: Path) -> None:
    assert "has no readable charter.toml; expected the file" in fault(tmp_path)


@pytest.mark.parametrize("text", ["", "\n  \n", "// nothing yet\n"])
def test_a_file_without_a_policy_is_refused(folder: Path, text: str) -> None:
    (folder / "b.cedar").write_text(text)
    assert fault(folder).startswith("b.cedar holds no policy; expected policies in Cedar")


def test_a_folder_in_the_place_of_policies(folder: Path) -> None:
    (folder / "b.cedar").mkdir()
    assert "has no readable b.cedar" in fault(folder)


def test_an_ending_in_capitals_is_not_left_unread(folder: Path) -> None:
    (folder / "b.CEDAR").write_text(forbid("true"))
    assert "has a file 'b.CEDAR'; expected the ending .cedar in small letters" in fault(folder)


def test_policies_that_are_no_utf_8(folder: Path) -> None:
    (folder / "b.cedar").write_bytes(b"// \xe9\n")
    assert fault(folder) == "b.cedar is not UTF-8 text; to fix it: save it as UTF-8"


def test_a_charter_without_policies_loads_and_permits_nothing(folder: Path) -> None:
    (folder / "policies.cedar").unlink()
    assert Charter.load(folder).rules == ()


# ---- charter.toml


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("persons = 11", "persons = ", "charter.toml is not valid TOML: Invalid value (at line 15, column 11)"),
        (
            "persons = 11",
            "persons = 11\npersons = 1",
            "charter.toml is not valid TOML: Cannot overwrite a value (at line 16, column 12)",
        ),
        (
            "persons = 11",
            "person = 11",
            "charter.toml has an unknown field 'floor.person'; expected 'persons', perhaps",
        ),
        ("persons = 11", "", "charter.toml has no field 'floor.persons'; expected it to be given"),
        (
            "persons = 11",
            "persons = 0",
            "charter.toml, field 'floor.persons': Input should be greater than or equal to 1",
        ),
        ("persons = 11", "persons = true", "charter.toml, field 'floor.persons': Input should be a valid integer"),
        ("persons = 11", 'persons = "11"', "charter.toml, field 'floor.persons': Input should be a valid integer"),
        ("persons = 11", "persons = 11.0", "charter.toml, field 'floor.persons': Input should be a valid integer"),
        (
            "organisations = 3",
            "organisations = 2",
            "field 'floor.organisations': Input should be greater than or equal to 3",
        ),
        (
            "zero_is_small = true",
            'zero_is_small = "no"',
            "field 'floor.zero_is_small': Input should be a valid boolean",
        ),
        ("zero_is_small = true", "zero_is_small = 0", "field 'floor.zero_is_small': Input should be a valid boolean"),
        (
            "longest_days = 90",
            "longest_days = 91",
            "field 'floor.longest_days': Input should be less than or equal to 90",
        ),
        ('"0.33"', '"a third"', "field 'floor.glm_parameters_per_person': a real number is needed"),
        ('["all", "joined"]', "[]", "field 'floor.participation'"),
        ('["all", "joined"]', '["some"]', "field 'floor.participation.0': Input should be 'all' or 'joined'"),
        ("quorum = 2", "quorum = 0", "field 'committee.quorum'"),
        ("[floor]", "[flor]", "charter.toml has an unknown field 'flor'; expected 'floor', perhaps"),
        ("partner_may_be_shown = false", "purposes = {}", "charter.toml has an unknown field 'purposes'"),
        ("partner_may_be_shown = false", "policies = []", "charter.toml has an unknown field 'policies'"),
        (
            "partner_may_be_shown = false",
            "partner_may_be_shown = false\nlocal_only = 1",
            "field 'local_only': Input should be a valid boolean",
        ),
    ],
)
def test_a_faulty_charter_toml(folder: Path, old: str, new: str, expected: str) -> None:
    text = (folder / "charter.toml").read_text()
    assert old in text
    (folder / "charter.toml").write_text(text.replace(old, new))
    assert expected in fault(folder)


# ---- purposes.toml


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('A = ["B"]\n', "purposes.toml: 'A' has the unknown parent 'B'; expected one of: A"),
        (
            'AcademicResearch = ["Reserch"]\nResearch = []\n',
            "has the unknown parent 'Reserch'; expected 'Research', perhaps",
        ),
        ("A = 3\n", "purposes.toml: 'A' is not a list of parents; expected A = [\"Parent\"]"),
        ("A = [[1]]\n", "purposes.toml: 'A' is not a list of parents"),
        ("A = [{x = 1}]\n", "purposes.toml: 'A' is not a list of parents"),
        ("A = [\n", "purposes.toml is not valid TOML"),
        (b"A = '\xe9'\n", "purposes.toml is not UTF-8 text; to fix it: save it as UTF-8"),
        ('A = ["A"]\n', "purposes.toml: 'A' is among its own ancestors"),
        ('A = ["B"]\nB = ["C"]\nC = ["A"]\nD = ["A"]\n', "purposes.toml: 'A' is among its own ancestors"),
        ("".join(f"A{n} = []\n" for n in range(1001)), "purposes.toml has 1001 purposes; expected at most 1,000"),
    ],
)
def test_a_faulty_purposes_toml(folder: Path, content: str | bytes, expected: str) -> None:
    (folder / "purposes.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert expected in fault(folder)


def test_a_policy_on_a_purpose_that_nobody_knows_would_never_fire(folder: Path) -> None:
    text = (folder / "policies.cedar").read_text()
    (folder / "policies.cedar").write_text(text.replace('"PublicBenefit"', '"PublicBenefits"'))
    assert fault(folder) == (
        "policies.cedar, line 9: policy 'research/public-benefit' names the unknown purpose 'PublicBenefits'; "
        "expected 'PublicBenefit', perhaps; to fix it: correct the name, or add it to purposes.toml"
    )


def test_a_charter_that_is_not_there() -> None:
    with pytest.raises(CharterInvalid, match="no charter 'reserch'; expected 'research', perhaps, or a folder"):
        Charter.load("reserch")


# ---- defaults and words


def test_a_study_that_says_nothing_declares_the_floors() -> None:
    defaults, floor = Charter.load("research").defaults(), Charter.load("research").floor
    assert (defaults.persons, defaults.organisations, defaults.dominance_percent) == (11, 3, 85)
    assert defaults.glm_parameters_per_person == floor.glm_parameters_per_person


@pytest.mark.parametrize("name", ["research", "sandbox"])
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_charter_in_words_has_every_policy_with_its_article(name: str, lang: str) -> None:
    charter = Charter.load(name)
    shown = charter_text(charter, lang)
    for policy in charter.rules:
        assert f"{policy.id} (article {policy.article})" in shown
        assert policy.words[lang] in shown
        assert policy.remedies[lang] in shown
    assert charter.title[lang] in shown
    assert charter.rights[lang] in shown


def test_a_charter_s_floors_in_words(tmp_path: Path) -> None:
    shown = charter_text(Charter.load("research"), "fr")
    assert "Rien n’est dit d’un groupe de moins de 11 personnes." in shown
    assert "0,33" in shown
    toml = TOML.replace('["all", "joined"]', '["all"]').replace("= true", "= false")
    other = write(tmp_path, None, toml)
    shown = charter_text(Charter.load(other))
    assert "Every named partner takes part, or there is no answer." in shown
    assert "A count of zero may be shown." in shown
    assert "None: nothing is permitted." in shown
    other = write(tmp_path, None, TOML.replace('["all", "joined"]', '["joined"]'))
    assert "The partners that have joined are enough for an answer." in charter_text(Charter.load(other))


def test_a_charter_without_words_in_a_language_is_shown_by_its_name(tmp_path: Path) -> None:
    toml = TOML.replace(', fr = "La mienne"', "").replace(', fr = "Vous pouvez vous opposer."', "")
    shown = charter_text(Charter.load(write(tmp_path, PERMIT, toml, PURPOSES)), "fr")
    assert shown.startswith("mine (mine, version 1)\n")


def test_a_language_that_is_not_there() -> None:
    with pytest.raises(InvalidInput, match="the language 'de'; expected one of: en, fr"):
        charter_text(Charter.load("research"), "de")


def test_remedies_are_optional() -> None:
    (policy,) = policies_of((("x.cedar", PERMIT),))
    assert policy.remedies == {"en": "", "fr": ""}
    assert MENDED in forbid("true")
