"""A charter's folder is closed: a missing file, a misspelt key or a lax number never becomes a weaker charter."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from trust.charter import Charter
from trust.errors import CharterInvalid

READY = files("trust") / "charters" / "research"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("charter.toml", "purposes.toml"):
        (tmp_path / name).write_bytes((READY / name).read_bytes())
    return tmp_path


def test_a_copy_of_the_ready_charter_is_that_charter(folder: Path) -> None:
    assert Charter.load(folder) == Charter.load("research")


def test_one_byte_changed_is_another_charter(folder: Path) -> None:
    with (folder / "purposes.toml").open("a") as file:
        file.write("#")
    assert Charter.load(folder).folder_digest != Charter.load("research").folder_digest


@pytest.mark.parametrize("name", ["charter.toml", "purposes.toml"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CharterInvalid, match=f"has no readable {name}; expected the file"):
        Charter.load(folder)


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
    ],
)
def test_a_faulty_charter_toml(folder: Path, old: str, new: str, expected: str) -> None:
    text = (folder / "charter.toml").read_text()
    assert old in text
    (folder / "charter.toml").write_text(text.replace(old, new))
    with pytest.raises(CharterInvalid) as caught:
        Charter.load(folder)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('A = ["B"]\n', "purposes.toml: 'A' has the unknown parent 'B'; expected one of: A"),
        (
            'AcademicResearch = ["Reserch"]\nResearch = []\n',
            "has the unknown parent 'Reserch'; expected 'Research', perhaps",
        ),
        ("A = 3\n", "purposes.toml: 'A' is no list of parents; expected A = [\"Parent\"]"),
        ("A = [[1]]\n", "purposes.toml: 'A' is no list of parents"),
        ("A = [{x = 1}]\n", "purposes.toml: 'A' is no list of parents"),
        ("A = [\n", "purposes.toml is not valid TOML"),
        (b"A = '\xe9'\n", "purposes.toml is not UTF-8 text; to mend it: save it as UTF-8"),
    ],
)
def test_a_faulty_purposes_toml(folder: Path, content: str | bytes, expected: str) -> None:
    (folder / "purposes.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CharterInvalid) as caught:
        Charter.load(folder)
    assert expected in str(caught.value)


def test_a_charter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CharterInvalid, match="no charter 'reserch'; expected 'research', perhaps, or a folder"):
        Charter.load("reserch")


def test_a_study_that_says_nothing_declares_the_floors() -> None:
    defaults, floor = Charter.load("research").defaults(), Charter.load("research").floor
    assert (defaults.persons, defaults.organisations, defaults.dominance_percent) == (11, 3, 85)
    assert defaults.glm_parameters_per_person == floor.glm_parameters_per_person
