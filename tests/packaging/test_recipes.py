"""The recipes of CONTRIBUTING.md: each place that they name is there, and filled in for all that exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy

import datatrust
import trust.secure_sum.errors
from datatrust.research import questions
from datatrust.research.results import _KINDS
from nodes.rows.from_database import DATABASES
from trust import analyses
from trust.charters.charter import READY, Charter
from trust.errors import DataTrustError
from trust.policy.cases import load_cases
from trust.privacy.rules import Rule

TOP = Path(__file__).parents[2]
KINDS = get_args(get_args(analyses.AnyAnalysis)[0])
RULES = sorted(Rule.__subclasses__(), key=lambda rule: rule.__name__)


def text(path: str) -> str:
    return (TOP / path).read_text("utf-8")


def test_every_recipe_is_there() -> None:
    headings = re.findall(r"^### (.*)$", text("CONTRIBUTING.md"), re.MULTILINE)
    assert headings == [
        "Add an analysis",
        "Add a charter",
        "Add a rule",
        "Add a database dialect",
        "Add an error code",
    ]


# ---- an analysis


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_analysis_stands_in_each_place_of_its_recipe(kind: type) -> None:
    name = kind.__name__
    assert name in questions.__all__, "datatrust/research/questions.py"
    assert name in datatrust.__all__, "datatrust/__init__.py"
    assert getattr(datatrust, name) is getattr(questions, name), "datatrust/__init__.py"
    assert re.search(rf"\b{name}\b", text("trust/plain/analyses.py")), "trust/plain/analyses.py"
    assert kind.model_fields["kind"].default in _KINDS, "datatrust/research/results/__init__.py"  # type: ignore[attr-defined]
    assert re.search(rf"\b{name}\b", text("tests/disclosure/test_canary.py")), "tests/disclosure/test_canary.py"
    tests = "".join(path.read_text("utf-8") for path in (TOP / "tests/trust/analyses").glob("*.py"))
    assert f"dt.{name}(" in tests, "tests/trust/analyses"


# ---- a charter


def test_a_new_folder_is_a_charter_without_a_line_of_code(tmp_path: Path) -> None:
    """Done in a copy of the tree, as a contributor would."""
    for package in ("trust", "nodes", "coordinator", "datatrust"):
        shutil.copytree(TOP / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOP / "trust" / "charters" / "research", tmp_path / "trust" / "charters" / "library")
    toml = tmp_path / "trust" / "charters" / "library" / "charter.toml"
    toml.write_text(re.sub(r'^name = ".*"$', 'name = "library"', toml.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    for command in ("lint", "test"):
        done = subprocess.run(
            [sys.executable, "-m", "datatrust.cli.main", "charter", command, "library"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.mark.parametrize("name", READY)
def test_a_ready_charter_has_the_four_files_and_cases(name: str) -> None:
    folder = TOP / "trust" / "charters" / name
    assert {path.name for path in folder.iterdir()} == {"charter.toml", "policies.cedar", "purposes.toml", "tests.toml"}
    assert load_cases(Charter.load(name), folder)


# ---- a rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_is_described_tested_and_can_be_taken_out(rule: type[Rule]) -> None:
    name = str(rule.model_fields["rule"].default) if "rule" in rule.model_fields else ""
    source = text("trust/privacy/rules.py").split(f"class {rule.__name__}(")[1].split("\nclass ")[0]
    ids = set(re.findall(r'Decision\(\s*"([\w-]+)"', source)) | ({name} if name else set())
    assert all(f"`{each}`" in text("docs/rules.md") for each in ids), (rule, ids, "docs/rules.md")
    removals = tomllib.loads(text("tests/removals.toml"))
    files = [entry["check"] for group in removals.values() for entry in group["removals"] if "privacy" in entry["file"]]
    assert files, "tests/removals.toml"


# ---- a database dialect


@pytest.mark.parametrize("name", [name for name in DATABASES if name != "duckdb"])
def test_a_dialect_of_a_source_is_one_of_sqlalchemy(name: str) -> None:
    assert sqlalchemy.dialects.registry.load(name).name in (name, "mysql", "mariadb")


def test_each_dialect_is_named_where_a_source_is_described() -> None:
    pages = text("docs/formats.md") + text("docs/operate.md") + text("docs/deploy.md")
    assert all(name in pages.lower() for name in ("postgresql", "sqlite"))


# ---- an error code


def test_each_code_stands_in_the_tree_at_the_top_of_its_file() -> None:
    for module in (trust.errors, trust.secure_sum.errors):
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, type) and issubclass(kind, DataTrustError):
                assert re.search(rf"\b{name}\b", str(module.__doc__)), f"the tree of {module.__name__} lacks {name}"
