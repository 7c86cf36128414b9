"""The demo as a user runs it: once in each language and as JSON, and the program that it prints."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from datatrust.demo import pooled, run_demo
from datatrust.demo.attack import find_victim
from datatrust.demo.checks import Checks
from datatrust.demo.hospitals import write
from datatrust.demo.proof import change_one_byte
from datatrust.demo.words import Words
from trust.decision import Decision
from trust.documents.result import read_result
from trust.documents.verification import STEPS

SEED = files("datatrust.demo") / "data" / "seed"


def demo(*options: str) -> str:
    """Standard output of `datatrust demo`, which must succeed and say nothing else."""
    command = [
        sys.executable,
        "-W",
        "error::UserWarning",
        "-c",
        "from datatrust.cli.main import main; main()",
        "demo",
        *options,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What `--json` prints: one object and nothing else."""
    document: dict[str, Any] = json.loads(demo("--json", "--out", str(folder)))
    return document


# ---- as JSON


@pytest.mark.slow
def test_the_worked_example(found: dict[str, Any]) -> None:
    assert found["seed"]["case1"]["local"] is None
    assert found["seed"]["case2"]["local"] == pytest.approx(math.sqrt(1 / 48))
    assert found["seed"]["case3"]["local"] == pytest.approx(0.6690, abs=5e-5)
    assert all(abs(case["federated"] - 1) <= 1e-12 for case in found["seed"].values())


@pytest.mark.parametrize("name", ["case1", "case2", "case3"])
def test_the_tables_of_the_worked_example(name: str) -> None:
    with (SEED / f"{name}.csv").open("rb") as table:
        frame = pd.read_csv(table)
    assert list(frame.columns) == ["id", "v1", "v2", "loc"]
    assert (frame["v1"] == frame["v2"]).all()
    assert frame["v1"].value_counts().to_dict() == dict.fromkeys(range(1, 6), 4)


def test_every_comparison_held(found: dict[str, Any]) -> None:
    passed, total = found["checked"]
    assert passed == total > 100
    assert found["study"]["largest_difference"] < 1e-9


def test_the_study_equals_a_public_library_on_the_pooled_rows(found: dict[str, Any], folder: Path) -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    rows = pooled.pool({name: folder / "data" / f"{name}.csv" for name in found["study"]["rows"]}).query("age >= 40")
    formula = "disease ~ I(age / 10) + sex + C(chest_pain, Treatment('absent')) + I(systolic / 10) + smoker"
    fit = smf.logit(formula, rows).fit(disp=0)
    got = sorted(item["odds_ratio"] for item in found["study"]["odds_ratios"].values())
    np.testing.assert_allclose(got, sorted(np.exp(fit.params.drop("Intercept"))), rtol=1e-9)


def test_two_hospitals_have_too_few_women(found: dict[str, Any], folder: Path) -> None:
    refused = found["refused"]
    assert refused["rule"] == "organisations"
    assert "at least 3 partners take part; 2 of 4 do" in refused["text"]
    assert refused["remedy"] == "widen the cohort"
    women = {
        name: int(pooled.pool({name: folder / "data" / f"{name}.csv"}).query("age >= 40 and sex == 'F'").shape[0])
        for name in found["study"]["rows"]
    }
    assert sum(n < 11 for n in women.values()) == 2
    assert sum(n >= 11 for n in women.values()) == 2


def test_marketing_is_refused_explained_mended_and_answered(found: dict[str, Any], folder: Path) -> None:
    mended = found["mended"]
    assert [reason["rule"] for reason in mended["reasons"]] == ["no-permit", "floor/persons"]
    assert mended["changes"] == [{"persons": 11, "purpose": "ResearchAndDevelopment"}]
    assert mended["register"] == ["study", "refusal"]
    rows = pooled.pool({name: folder / "data" / f"{name}.csv" for name in found["study"]["rows"]}).query("age >= 40")
    for name, level in (("smokers", 1.0), ("others", 0.0)):
        assert mended["table"][name]["age"]["count"] == (rows["smoker"] == level).sum()


def test_leaving_out_one_patient_is_refused_and_would_have_told_a_value(found: dict[str, Any], folder: Path) -> None:
    attack = found["attack"]
    assert (attack["rule"], attack["refusing"], attack["sums"]) == ("differencing", 1, 0)
    assert set(re.findall(r"\d+", attack["text"] + attack["remedy"])) == {"11"}
    assert attack["would_have_told"]["difference"] == {"patients": 1, "cholesterol": attack["patient"]["cholesterol"]}
    rows = pooled.pool({name: folder / "data" / f"{name}.csv" for name in found["study"]["rows"]}).query("age >= 40")
    age, systolic = map(int, re.findall(r"= (\d+)", attack["cohort"].partition("not")[2]))
    (patient,) = rows[(rows["age"] == age) & (rows["systolic"] == systolic)].to_dict("records")
    assert (patient["hospital"], patient["cholesterol"]) == tuple(attack["patient"].values())


@pytest.mark.slow
def test_the_files_beside_the_report_can_be_verified(found: dict[str, Any], folder: Path) -> None:
    proof = found["proof"]
    assert proof["verified"]
    assert proof["register"]["verified"]
    assert proof["register"]["checkpoint"] == (folder / "checkpoint.txt").read_text("utf-8")
    assert proof["register"]["checkpoint"].splitlines()[1] == str(proof["register"]["entries"])
    assert proof["steps"] == list(STEPS)
    assert (proof["changed"]["number"], proof["changed"]["step"]) == (3, "result")
    released, changed = (folder / name for name in ("result.json", "result-changed.json"))
    assert sum(a != b for a, b in zip(released.read_bytes(), changed.read_bytes(), strict=True)) == 1
    for file, code, verdict in ((released, 0, "verified"), (changed, 1, "not verified")):
        command = ["-c", "from datatrust.cli.main import main; main()", "verify", str(file), "--root", proof["root"]]
        ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, encoding="utf-8", check=False)
        assert (ran.returncode, ran.stdout.splitlines()[-1]) == (code, verdict)


def test_small_groups_are_hidden(found: dict[str, Any]) -> None:
    assert None in found["study"]["histogram"]["counts"]
    assert min(n for n in found["study"]["histogram"]["counts"] if n is not None) >= 11


def test_who_sent_what(found: dict[str, Any]) -> None:
    sent = found["study"]["sent"]
    assert set(sent) == set(found["study"]["rows"])
    for name, counts in sent.items():
        assert 0 < counts["sums"] < counts["messages"]
        assert counts["bytes"] > 0, name
    masked = found["study"]["masked"]
    assert 0 < masked["bytes"] < sum(counts["bytes"] for counts in sent.values())
    assert masked["pvalue"] > 1e-6


def test_the_data_are_the_same_each_time(found: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    again = write(tmp_path)
    for name, path in again.files.items():
        assert path.read_bytes() == (folder / "data" / f"{name}.csv").read_bytes()
    assert 250 <= min(again.rows.values()) <= max(again.rows.values()) <= 600


# ---- on the screen


@pytest.mark.slow
def test_the_screen_in_french(tmp_path: Path) -> None:
    out = demo("--lang", "fr", "--out", str(tmp_path)).replace("\N{NO-BREAK SPACE}", " ")
    lines = out.splitlines()
    for said in ("0,1443", "0,6690", "non définie", "Ce qui a été refusé", "rapport de", "élargir la cohorte"):
        assert said in out
    assert "sans l’un des patients : refusée par differencing" in out
    assert re.fullmatch(r"vérifié : (\d+) sur \1", lines[-4])
    assert lines[-1] == f"rapport : {tmp_path / 'report.html'}"
    assert max(map(len, lines[:-3])) <= 88
    assert len(lines) <= 62
    assert '<html lang="fr">' in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_screen_in_english_twice_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run_demo(out=tmp_path) == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"checked: (\d+) of \1", lines[-4])
        verify, root = tmp_path / "result.json", tmp_path / "root.json"
        assert lines[-3] == f"to verify: datatrust verify {verify} --root {root}"
        assert lines[-1] == f"report: {tmp_path / 'report.html'}"
        assert len(lines) <= 62
    text = " ".join(" ".join(lines).split())
    assert "is reconstructed from the averages on the slides; it is not the original data" in text
    assert "Atelier de réflexion éthique Genotoul, 20 May 2021, volet 3" in text
    assert "the same study of women alone: refused by organisations How to fix it: widen the cohort" in text
    assert "in groups of 5: refused by no-permit, floor/persons How to fix it: persons = 11; purpose = " in text
    assert "without one patient: refused by differencing" in text
    assert "67 patients aged 40 to 45 became 66" in text


@pytest.mark.slow
def test_the_program_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = demo("--show-code", "--out", str(tmp_path / "it's here"))
    assert len(code.splitlines()) <= 24
    space: dict[str, Any] = {}
    exec(compile(code, "study.py", "exec"), space)  # noqa: S102 - it is what a user would run
    assert space["result"]["risk"].nobs > 1000
    assert "Generalized linear model" in capsys.readouterr().out
    women = space["trust"].study("Women", purpose="AcademicResearch", cohort="age >= 40 and sex = 'F'", analyses={
        "ages": dt.Describe(["age"]),
    })  # fmt: skip
    with pytest.raises(dt.Refused):
        women.run()


# ---- its parts


@pytest.mark.slow
def test_a_comparison_that_fails_is_said_and_changes_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = pooled.logistic

    def wrong(frame: pd.DataFrame) -> pooled.Fit:
        fit = right(frame)
        return pooled.Fit(fit.params + 1e-6, fit.bse, fit.pvalues, fit.records)

    monkeypatch.setattr(pooled, "logistic", wrong)
    assert run_demo(out=tmp_path, as_json=True) == 3
    said = capsys.readouterr()
    passed, total = json.loads(said.out)["checked"]
    assert total - passed == 8
    assert said.err.count("a check failed: check_risk: coefficient of") == 8


@pytest.mark.slow
def test_a_refusal_that_does_not_come_is_said_and_changes_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the rule the attacker has both answers; without a change the forbidden study has none."""
    monkeypatch.setattr("nodes.study.answered_cohorts.differencing", lambda *_: Decision("differencing", True, ""))
    monkeypatch.setattr("datatrust.demo.mended.changed", lambda *_: None)
    assert run_demo(out=tmp_path) == 3
    said = capsys.readouterr()
    text = " ".join(said.out.split())
    assert "refused by no-permit, floor/persons" in text
    assert "refused by differencing" not in text
    for name in ("check_attack: refused", "check_forbidden: with the change it is answered"):
        assert f"a check failed: {name}" in said.err
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "An attempt to single out one patient was not refused" in page
    assert "Of 5 questions, 2 were answered and 3 refused" in page


@pytest.mark.parametrize(
    ("counts", "place", "was", "became"),
    [([67, 12, None], 0, 67, 66), ([None, 30, 11], 1, 30, 31), ([199, None], 0, 199, 198)],
)
def test_one_byte_is_changed_and_no_other(
    counts: list[int | None], place: int, was: int, became: int, found: dict[str, Any], folder: Path
) -> None:
    """In a file whose histogram is this one, whatever the digit and its place in the base64."""
    raw = (folder / "result.json").read_bytes()
    envelope = json.loads(raw)
    listed = ",".join('""' if n is None else str(n) for n in counts)
    for before in ("", "x", "xx"):
        text = f'{{"{before}":[{listed}]}}'
        payload = base64.b64encode(text.encode()).decode()
        made = json.dumps({**envelope, "payload": payload}).encode()
        other, said = change_one_byte(made, counts)
        assert said == (place, was, became)
        assert sum(a != b for a, b in zip(made, other, strict=True)) == 1
        shown = json.loads(base64.b64decode(json.loads(other)["payload"]))[before]
        assert shown == [became if at == place else "" if n is None else n for at, n in enumerate(counts)]
    assert read_result(raw)[1].results["ages"]["counts"].values[0] == found["study"]["histogram"]["counts"][0]


def test_nobody_is_singled_out_where_everybody_has_a_double() -> None:
    one = {"hospital": "east", "age": 50, "systolic": 120.0, "sex": "F", "cholesterol": 200.0}
    doubles = pd.DataFrame([one, {**one, "systolic": math.nan}, {**one, "age": 51}, {**one, "age": 51}])
    with pytest.raises(LookupError):
        find_victim(doubles)
    victim = find_victim(pd.DataFrame([one, {**one, "age": 51, "cholesterol": math.nan}]))
    assert victim.cohort == "age >= 40 and not (age = 50 and systolic = 120)"


def test_checks_count_and_measure() -> None:
    checks = Checks()
    checks.near("a", "equal", 2.0, 2.0)
    checks.near("a", "not a number", math.nan, 2.0)
    checks.holds("b", "holds", True)
    assert (checks.passed(), checks.total(), checks.total("b")) == (2, 3, 1)
    assert [check.name for check in checks.failed] == ["not a number"]
    assert checks.largest("b") is None


def test_every_step_of_the_verification_has_words() -> None:
    assert all(Words("fr")(f"step_{step}") for step in STEPS)


@pytest.mark.parametrize(
    ("lang", "written"),
    [
        ("en", ["1,234.50", "1,560", "3e-11", "below 1e-12"]),
        ("fr", ["1\N{NARROW NO-BREAK SPACE}234,50", "1\N{NARROW NO-BREAK SPACE}560", "3e-11", "moins de 1e-12"]),
    ],
)
def test_numbers(lang: str, written: list[str]) -> None:
    words = Words(lang)
    assert [words.number(1234.5, 2), words.count(1560), words.small(3.2e-11), words.small(0.0)] == written
