"""`datatrust charter`: exit codes, one line for each failure, words in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import datatrust as dt
from tests.conftest import DATA
from tests.support.charters import NOW, PERMIT, forbid, permit, study, write
from tests.support.command import Run, command_runner
from trust.dataset.dataset import Dataset
from trust.signing.envelope import Signer, sign
from trust.times import write_time

AT = ("--at", write_time(NOW))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("show", folder)`: `datatrust charter show FOLDER`."""
    return command_runner(capsys, "charter")


@pytest.mark.parametrize("words", [(), ("lint",), ("show",), ("test",), ("explain",)])
def test_help(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Usage: datatrust charter" in out
    assert "\\[" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["lnit", "research"], "Did you mean 'lint'", id="an unknown command"),
        pytest.param(["lint"], "Missing argument", id="no folder"),
        pytest.param(["lint", "reserch"], "expected 'research', perhaps", id="no such charter"),
        pytest.param(["show", "research", "--lang", "de"], "the language 'de'; expected one of: en, fr", id="language"),
        pytest.param(["explain", "research", "none.json"], "'none.json' cannot be read", id="no such study"),
        pytest.param(["explain", "research", "pyproject.toml"], "is not a study", id="not a study"),
        pytest.param(["explain", "research", "pyproject.toml", "--lang", "de"], "the language 'de'", id="its language"),
    ],
)
def test_bad_input(run: Run, words: list[str], said: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


# ---- lint, show, test


def test_lint_of_a_good_charter(run: Run) -> None:
    assert run("lint", "research") == (0, "research 1: 7 policies, 0 faults, 0 warnings\n", "")


def test_lint_of_a_fault(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("lint", str(write(tmp_path, PERMIT + forbid("context.persons < 20"))))
    assert code == 1
    assert "fault    policies.cedar, line 2, mine/rule: holds a threshold that [floor] holds: persons" in out
    assert out.endswith("mine 1: 2 policies, 1 faults, 2 warnings\n")


def test_lint_of_warnings_only(run: Run, tmp_path: Path) -> None:
    assert run("lint", str(write(tmp_path)))[0] == 0


def test_lint_of_what_is_no_charter_names_file_and_line(run: Run, tmp_path: Path) -> None:
    code, _, err = run("lint", str(write(tmp_path, PERMIT + forbid("context.persons <"))))
    assert code == 2
    assert "policies.cedar, line 3: not a Cedar policy: unexpected token `}`" in err


def test_show(run: Run) -> None:
    code, out, _ = run("show", "research", "--lang", "fr")
    assert code == 0
    assert out.startswith("Recherche (research, version 1)")
    assert "Le code postal et la date de naissance ne sont jamais utilisés." in out


@pytest.mark.parametrize(("name", "last"), [("research", "22 of 22"), ("sandbox", "9 of 9")])
def test_test(run: Run, name: str, last: str) -> None:
    code, out, _ = run("test", name)
    assert code == 0
    assert out.splitlines()[-1] == last


def test_a_case_that_fails(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "tests.toml").write_text('[[case]]\nname = "a"\nexpect = "yes"\n')
    code, out, _ = run("test", str(tmp_path))
    assert (code, out) == (1, "FAIL  a: expected yes; got no by no-permit\n0 of 1\n")


def test_no_case_at_all(run: Run, tmp_path: Path) -> None:
    code, _, err = run("test", str(write(tmp_path)))
    assert code == 2
    assert "the charter 'mine' has no case; expected tests.toml with [[case]]" in err


def test_an_unknown_field_of_a_case(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "tests.toml").write_text('[[case]]\nname = "a"\nexpect = "no"\nchange = {purpos = "x"}\n')
    code, _, err = run("test", str(tmp_path))
    assert code == 2
    assert "change has an unknown field 'purpos'; expected 'purpose', perhaps" in err


# ---- explain


def written(folder: Path, **fields: object) -> str:
    path = folder / "study.json"
    path.write_text(json.dumps(study(**fields).document()))
    return str(path)


def test_explain_a_study_that_passes(run: Run, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "c"))
    code, out, err = run("explain", folder, written(tmp_path), *AT)
    assert (code, out) == (0, "The study passes: no rule refuses it.\n")
    assert err == "without --dataset: cohort, derived columns, sums and bytes are not judged\n"


def test_explain_a_refusal_of_a_signed_study_in_french(run: Run, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "c"))
    envelope = sign("study", study({"persons": 5}, purpose="Marketng").document(), Signer())
    path = tmp_path / "signed.json"
    path.write_text(json.dumps(envelope.document()))
    code, out, _ = run("explain", folder, str(path), "--lang", "fr", *AT)
    assert code == 1
    assert out.startswith("Refusée par 2 règles")
    assert out.endswith("  persons = 11; purpose = Marketing\n")


def test_explain_with_a_dataset_a_partner_s_policy_and_an_organisation(run: Run, tmp_path: Path) -> None:
    cedar = permit('principal.organisation.kind == "hospital" && principal.organisation.country == "FR"')
    folder = str(write(tmp_path / "c", cedar))
    own = tmp_path / "own"
    own.mkdir()
    (own / "partner.toml").write_text('name = "own"\nversion = 1\npublished = true\n[floor]\npersons = 30\n')
    heart = DATA / "heart.yaml"
    data = Dataset.load(heart)
    asked = study(
        dataset=data.id,
        dataset_digest=data.digest(),
        cohort="age >= 40",
        analyses={"t": dt.Describe(["chol"]).resolve(data)},
    )
    (tmp_path / "study.json").write_text(json.dumps(asked.document()))
    words = ["explain", folder, str(tmp_path / "study.json"), "--dataset", str(heart), "--policy", str(own), *AT]
    code, out, err = run(*words, "--country", "FR", "--kind", "hospital")
    assert (code, err) == (1, "")
    assert "under the partner's policy “own”" in out
    assert out.endswith("  persons = 30\n")
    code, out, _ = run(*words, "--partners", "2")
    assert code == 1
    assert "no-permit" in out
    assert "organisations" in out


def test_explain_of_a_study_with_an_unknown_field(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**study().document(), "purposes": "x"}))
    code, _, err = run("explain", "research", str(path))
    assert code == 2
    assert "unknown field 'purposes'; expected 'purpose', perhaps" in err


def test_explain_of_a_study_of_the_roster_alone(run: Run, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "c"))
    asked = written(tmp_path, analyses={"t": {"kind": "crosstab", "rows": "partner", "columns": "partner"}})
    code, out, _ = run("explain", folder, asked, *AT)
    assert code == 1
    assert "groups = without partner" in out


@pytest.mark.parametrize(
    "text", ["{", "[1.5]", '{"payload": 3}', '{"payload": "!", "payloadType": "x", "signatures": []}']
)
def test_explain_of_what_is_no_study(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    code, _, err = run("explain", "research", str(tmp_path / "s.json"))
    assert code == 2
    assert err.count("\n") == 1
