"""A charter's own tests and what lint finds: the ready charters pass both, and a fault is named with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.charters import PERMIT, TOML, forbid, permit, write
from trust.charters.charter import Charter
from trust.charters.partner_policy import PartnerPolicy
from trust.errors import CharterInvalid
from trust.policy.cases import load_cases, run_case
from trust.policy.lint import lint

CASE = '[[case]]\nname = "a"\nexpect = "no"\n'


def cases(folder: Path, text: str, cedar: str = PERMIT) -> list[str]:
    write(folder, cedar)
    (folder / "tests.toml").write_text(text)
    charter = Charter.load(folder)
    return [str(run_case(charter, case)) for case in load_cases(charter, folder)]


@pytest.mark.parametrize("name", ["research", "sandbox"])
def test_a_ready_charter_passes_its_own_tests_and_lint_finds_nothing(name: str) -> None:
    charter = Charter.load(name)
    found = load_cases(charter, name)
    assert len(found) >= 9
    assert [str(run_case(charter, c)) for c in found if not run_case(charter, c).ok] == []
    assert lint(name) == (charter, ())


BLOCK = re.compile(r"```(?:toml|text)\n(.*?)```", re.DOTALL)


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    blocks = BLOCK.findall((Path(__file__).parents[3] / "docs" / "governance.md").read_text("utf-8"))
    files = ("charter.toml", "purposes.toml", "policies.cedar", "tests.toml")
    for name, text in zip(files, blocks, strict=False):
        (tmp_path / name).write_text(text, "utf-8")
    charter, found = lint(tmp_path)
    assert isinstance(charter, Charter)
    assert found == ()
    outcomes = [run_case(charter, case) for case in load_cases(charter, tmp_path)]
    assert [outcome.ok for outcome in outcomes] == [True] * 4
    own = tmp_path / "north"
    own.mkdir()
    for name, text in zip(("partner.toml", "own.cedar"), blocks[4:], strict=True):
        (own / name).write_text(text, "utf-8")
    policy = PartnerPolicy.load(own)
    policy.check_fits(charter)
    assert (policy.floor.persons, [rule.id for rule in policy.rules]) == (30, ["north/models"])


# ---- cases


def test_a_case_is_the_base_with_a_change(tmp_path: Path) -> None:
    text = '[base]\npurpose = "Academic"\npersons = 20\n' + (
        '[[case]]\nname = "as it is"\nexpect = "yes"\n'
        '[[case]]\nname = "fewer"\nchange = {persons = 10}\nexpect = "no"\nrule = "floor/persons"\n'
        '[[case]]\nname = "its own base"\nbase = {purpose = "zzz"}\nexpect = "no"\nrule = "no-permit"\n'
    )
    assert cases(tmp_path, text) == ["ok    as it is", "ok    fewer (floor/persons)", "ok    its own base (no-permit)"]


def test_a_case_that_fails_says_what_was_got(tmp_path: Path) -> None:
    text = '[base]\npurpose = "Academic"\n' + (
        '[[case]]\nname = "a"\nexpect = "no"\n'
        '[[case]]\nname = "b"\nchange = {purpose = "zzz"}\nexpect = "yes"\n'
        '[[case]]\nname = "c"\nchange = {purpose = "zzz"}\nexpect = "no"\nrule = "dates"\n'
    )
    assert cases(tmp_path, text) == [
        "FAIL  a: expected no; got yes",
        "FAIL  b: expected yes; got no by no-permit",
        "FAIL  c: expected no by dates; got no by no-permit",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[case]\n", "tests.toml is not valid TOML"),
        ("[[cases]]\n", "tests.toml has an unknown table 'cases'; expected 'case', perhaps"),
        ("case = 3\n", "tests.toml is not one [base] and a list of cases"),
        ("base = 3\n", "tests.toml is not one [base] and a list of cases"),
        ("case = [3]\n", "tests.toml, case 1"),
        ('[[case]]\nname = "a"\n', "tests.toml, case 1 has no field 'expect'"),
        ('[[case]]\nname = "a"\nexpect = "maybe"\n', "tests.toml, case 1, field 'expect'"),
        (CASE + "chagne = {}\n", "tests.toml, case 1 has an unknown field 'chagne'; expected 'change', perhaps"),
        (CASE + "change = 3\n", "tests.toml, case 1, field 'change'"),
        (CASE + 'change = {purpos = "x"}\n', "case 1 ('a'): change has an unknown field 'purpos'; expected 'purpose'"),
        (CASE + "change = {person = 3}\n", "change has an unknown field 'person'; expected 'persons'"),
        ("[base]\npurpos = 3\n" + CASE, "case 1 ('a'): base has an unknown field 'purpos'"),
        (CASE + 'change = {persons = "x"}\n', "case 1 ('a'), field 'persons'"),
        (CASE + "change = {persons = true}\n", "case 1 ('a'), field 'persons'"),
        (CASE + 'change = {now = "today"}\n', "case 1 ('a'), field 'now'"),
        (CASE + "change = {sums = -1}\n", "case 1 ('a'), field 'sums'"),
        (CASE + 'rule = "no-premit"\n', "names the unknown rule 'no-premit'; expected 'no-permit', perhaps"),
        ('[[case]]\nname = "a"\nexpect = "yes"\nrule = "dates"\n', "expects yes and names a rule"),
    ],
)
def test_a_faulty_tests_toml(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CharterInvalid) as caught:
        cases(tmp_path, text)
    assert expected in str(caught.value)


# ---- lint


def findings(folder: Path, cedar: str | None = PERMIT, toml: str = TOML) -> list[str]:
    return [str(finding) for finding in lint(write(folder, cedar, toml))[1]]


def test_no_permit_and_no_tests(tmp_path: Path) -> None:
    assert findings(tmp_path, None) == [
        "fault    *.cedar: no policy permits anything, so every study is refused (no-permit)",
        "warning  tests.toml: missing or without a case; `datatrust charter test` has nothing to run",
    ]


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ("context.persons < 20", "persons"),
        ("context.organisations < 4", "organisations"),
        ("context.dominance_percent > 50", "dominance_percent"),
        ("!context.zero_is_small", "zero_is_small"),
        ('context.participation == "joined"', "participation"),
        ("context.sums > 50", "sums_at_most"),
        ('context.expires.durationSince(context.not_before) > duration("30d")', "longest_days"),
    ],
)
def test_a_threshold_that_a_floor_holds(tmp_path: Path, condition: str, held: str) -> None:
    said = findings(
        tmp_path, PERMIT.replace("resource);", "resource) when { context.colluders > 0 };") + forbid(condition)
    )
    assert said[0] == (
        f"fault    policies.cedar, line 2, mine/rule: holds a threshold that [floor] holds: {held}; "
        "there, a partner's can be stricter and remedies follow"
    )


def test_what_is_no_threshold_of_a_floor(tmp_path: Path) -> None:
    cedar = permit("context.colluders > 0") + forbid('context.expires > datetime("2030-01-01")')
    assert not [line for line in findings(tmp_path, cedar) if line.startswith("fault")]


def test_policies_that_do_nothing_or_everything(tmp_path: Path) -> None:
    nothing = forbid("context.parameters > 3 && false", "nothing")
    everything = forbid("true", "everything").replace(" when { true }", "")
    assert findings(tmp_path, PERMIT + nothing + everything)[:3] == [
        "warning  policies.cedar, line 1, mine/permit: without a condition it permits every study with a known purpose",
        "fault    policies.cedar, line 2, mine/nothing: its conditions can never be met, so it does nothing",
        "fault    policies.cedar, line 4, mine/everything: without a condition it refuses every study",
    ]


def test_a_policy_without_a_case_and_a_file_that_nobody_reads(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "tests.toml").write_text(CASE)
    (tmp_path / "policies.txt").write_text("notes")
    (tmp_path / "policies.cedar~").write_text("old")
    said = findings(tmp_path, permit("context.colluders > 0") + forbid("false && true"))
    assert "warning  tests.toml: no case names mine/rule" in said
    assert "warning  policies.cedar~: is not part of a charter and is not read" in said
    assert not any("policies.txt" in line for line in said)


def test_words_that_a_language_lacks(tmp_path: Path) -> None:
    said = findings(tmp_path, permit("context.colluders > 0"), TOML.replace(', fr = "La mienne"', ""))
    assert "warning  charter.toml: title has no text in 'fr', one of its languages" in said


def test_a_partner_s_policy(tmp_path: Path) -> None:
    (tmp_path / "partner.toml").write_text('name = "own"\nversion = 1\npublished = true\n')
    (tmp_path / "own.cedar").write_text(forbid("context.persons < 20", "few", "own"))
    read, found = lint(tmp_path)
    assert read.name == "own"
    assert [finding.fault for finding in found] == [True]
