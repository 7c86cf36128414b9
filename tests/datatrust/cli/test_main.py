"""The command line: exit codes, one line for each failure, never a traceback, never a value of a row."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

import datatrust as dt
from datatrust.cli import main as cli
from tests.conftest import DATA
from tests.support.command import Run

HEART = str(DATA / "heart.yaml")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table that fits the heart dataset but for its codes of sex."""
    path = tmp_path / "north.csv"
    columns = {"age": range(40, 70), "sex": [0, 1] * 15, "cp": [1, 2, 3] * 10, "trestbps": 120, "chol": 200}
    rest = {"thalach": 150, "exang": [0, 1] * 15, "oldpeak": 0.5, "num": [0, 1, 2] * 10}
    pd.DataFrame({**columns, **rest}).to_csv(path, index=False)
    return path


# ---- help


@pytest.mark.parametrize(
    "words", [(), ("dataset",), ("dataset", "draft"), ("dataset", "check"), ("dataset", "show"), ("demo",)]
)
def test_help(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Usage: datatrust" in out
    assert "\\[" not in out


def test_version(run: Run) -> None:
    assert run("--version")[1].startswith("datatrust 0.")


@pytest.mark.parametrize("words", [(), ("dataset",)])
def test_no_command_shows_the_help(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert "Commands:" in out + err


# ---- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["demoo"], "Did you mean 'demo'", id="an unknown command names the nearest"),
        pytest.param(["dataset", "drift", "x"], "Did you mean 'draft'", id="an unknown subcommand too"),
        pytest.param(["dataset", "draft"], "Missing argument", id="no file"),
        pytest.param(
            ["dataset", "draft", "x.csv", "--person"], "requires an argument", id="an option without its value"
        ),
        pytest.param(["dataset", "draft", "x.csv", "--pearson", "id"], "--person", id="a misspelt option"),
        pytest.param(["dataset", "draft", "x.csv", "--persons", "few"], "not a valid int", id="no number"),
        pytest.param(["dataset", "draft", "none.csv"], "no file 'none.csv'", id="no such file"),
        pytest.param(["dataset", "draft", "none.xyz"], "none.xyz", id="an unknown ending"),
        pytest.param(["dataset", "draft", "http://example.org/a.csv"], "scheme 'http'", id="an address of the web"),
        pytest.param(["dataset", "draft", "sqlite:///none.db#t"], "no file 'none.db'", id="no such database"),
        pytest.param(["dataset", "show", "none.yaml"], "cannot be read", id="no such dataset"),
        pytest.param(["dataset", "show", "pyproject.toml"], "YAML", id="not a dataset"),
        pytest.param(["dataset", "check", HEART, "none.csv"], "no file 'none.csv'", id="no such source"),
        pytest.param(["dataset", "check", HEART, "none.toml"], "cannot be read", id="no such source.toml"),
        pytest.param(["demo", "--lang", "de"], "one of: en, fr", id="an unknown language"),
        pytest.param(["demo", "--json", "--show-code"], "one of them", id="two kinds of output"),
        pytest.param(["demo", "--out", HEART], "cannot be written", id="a folder that is a file"),
    ],
)
def test_bad_input(run: Run, words: list[str], said: str) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("a.csv", b"", "empty", id="empty"),
        pytest.param("a.csv", b"x,y\n1,2\n3\n", "too few or too many", id="a short line"),
        pytest.param("a.csv", b"x,y\nsecret\xff\xfe,2\n", "not UTF-8", id="not UTF-8"),
        pytest.param("a.csv", b"x,y\n", "without rows", id="only a header"),
        pytest.param("a.parquet", b"secret", "not a Parquet", id="not Parquet"),
    ],
)
def test_a_broken_table(run: Run, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, out, err = run("dataset", "draft", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert said in err
    assert "secret" not in err


# ---- dataset draft, check, show


def test_a_draft_is_checked_by_its_own_table(run: Run, tmp_path: Path, table: Path) -> None:
    out = tmp_path / "draft.yaml"
    assert run("dataset", "draft", str(table), "--out", str(out))[:2] == (0, "")
    assert dt.Dataset.load(out).id == "north"
    code, said, _ = run("dataset", "check", str(out), str(table))
    assert code == 0
    assert "all said yes" in said


def test_a_draft_on_standard_output_is_a_dataset(run: Run, table: Path) -> None:
    code, out, _ = run("dataset", "draft", str(table), "--persons", "16")
    assert code == 0
    assert dt.Dataset.parse(out).column("cp").values == ()


def test_a_draft_from_a_database(run: Run, tmp_path: Path, table: Path) -> None:
    url = f"sqlite:///{tmp_path / 'clinic.db'}"
    engine = sqlalchemy.create_engine(url)
    pd.read_csv(table).to_sql("visits", engine, index=False)
    engine.dispose()
    code, out, _ = run("dataset", "draft", f"{url}#visits", "--person", "age")
    assert code == 0
    assert (dt.Dataset.parse(out).id, dt.Dataset.parse(out).person) == ("visits", "age")


def test_a_draft_that_cannot_be_written(run: Run, tmp_path: Path, table: Path) -> None:
    code, _, err = run("dataset", "draft", str(table), "--out", str(tmp_path / "no" / "where.yaml"))
    assert code == 2
    assert "cannot be written" in err


def test_a_rule_that_says_no(run: Run, table: Path) -> None:
    code, out, _ = run("dataset", "check", HEART, str(table))
    assert code == 1
    assert "no   level-known: column 'sex'" in out
    assert "1 said no" in out


def test_a_source_that_maps_what_differs(run: Run, table: Path) -> None:
    source = table.with_name("source.toml")
    source.write_text(f'url = "{table.name}"\nlevels.sex = {{"0" = "F", "1" = "M"}}\n')
    assert run("dataset", "check", HEART, str(source))[0] == 0


def test_a_table_without_a_column(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age\n40\n")
    code, out, _ = run("dataset", "check", HEART, str(tmp_path / "a.csv"))
    assert code == 1
    assert "column 'sex' is not in the table" in out


def test_show(run: Run) -> None:
    code, out, _ = run("dataset", "show", HEART)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "heart 1.0.0: each row is one person"
    assert any(line.split() == ["chol", "number", "mg/dL", "0", "to", "700"] for line in lines)
    assert any("F = woman, M = man" in line for line in lines)
    assert any(line.startswith("disease") and line.endswith("num > 0") for line in lines)


# ---- what nobody expected


def failing(wrong: BaseException) -> Callable[..., int]:
    def run_demo(**_: object) -> int:
        raise wrong

    return run_demo


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        pytest.param(
            dt.Refused("persons", "too few", remedy="widen"), 1, "refused by persons: too few", id="a refusal"
        ),
        pytest.param(dt.InvalidInput("a thing"), 2, "a thing", id="bad input"),
        pytest.param(dt.DataTrustError("broken"), 3, "broken", id="a fault"),
        pytest.param(
            ValueError("secret"), 3, "an unexpected failure (ValueError); run with DATATRUST_DEBUG=1", id="a bug"
        ),
        pytest.param(KeyboardInterrupt(), 130, "", id="Ctrl-C"),
    ],
)
def test_exit_codes(run: Run, monkeypatch: pytest.MonkeyPatch, wrong: BaseException, code: int, said: str) -> None:
    monkeypatch.setattr("datatrust.demo.run_demo", failing(wrong))
    left, out, err = run("demo")
    assert (left, out) == (code, "")
    assert said in err
    assert "secret" not in err


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("datatrust.demo.run_demo", failing(ValueError("why")))
    monkeypatch.setenv("DATATRUST_DEBUG", "1")
    with pytest.raises(SystemExit) as left:
        cli.main(["demo"])
    assert left.value.code == 3
    assert "ValueError: why" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr("datatrust.demo.run_demo", lambda **_: print("é") or 0)
    with pytest.raises(SystemExit) as left:
        cli.main(["demo"])
    assert left.value.code == 0
    assert raw.getvalue() == b"?\n"


DATATRUST = [sys.executable, "-c", "from datatrust.cli.main import main; main()"]


def test_a_pipe_gets_utf_8_whatever_the_locale() -> None:
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run([*DATATRUST, "dataset", "show", HEART], capture_output=True, env=env, check=True)
    assert "heart 1.0.0" in shown.stdout.decode("utf-8")


def test_a_pipe_that_closes_early() -> None:
    started = subprocess.Popen([*DATATRUST, "dataset", "show", HEART], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert started.stderr.read() == b""
    started.stderr.close()
    assert started.wait(timeout=30) == 141
