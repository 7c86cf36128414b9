"""The two pages of conditions say the same, name tests that exist, and are written in short sentences."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"en": ROOT / "docs" / "conditions.md", "fr": ROOT / "docs" / "conditions.fr.md"}
NAMED = re.compile(r"`(tests/conditions/(test_\w+)\.py)::(test_\w+)`")
LONGEST = 25


def sections(lang: str) -> dict[int, str]:
    """Number of a condition -> what its section says."""
    parts = re.split(r"^## (\d+)\. .*$", PAGES[lang].read_text("utf-8").partition("\n## Named")[0], flags=re.MULTILINE)
    parts[-1] = parts[-1].partition("\n## ")[0]
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def named_in(text: str) -> list[str]:
    return [f"{module}::{name}" for _, module, name in NAMED.findall(text)]


def rows(lang: str) -> list[list[str]]:
    """Number, condition and control of the first table."""
    lines = [line for line in PAGES[lang].read_text("utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_both_pages_list_the_same_conditions_in_the_same_order() -> None:
    english, french = sections("en"), sections("fr")
    assert list(english) == list(french) == list(range(1, len(english) + 1))
    assert {n: named_in(text) for n, text in english.items()} == {n: named_in(text) for n, text in french.items()}
    assert [row[0] for row in rows("en")] == [row[0] for row in rows("fr")] == [str(n) for n in english]


@pytest.mark.parametrize("lang", PAGES)
def test_every_condition_has_a_sentence_a_control_a_test_and_a_limit(lang: str) -> None:
    limit = {"en": "**Not promised.**", "fr": "**Ce qui n’est pas promis.**"}[lang]
    for number, text in sections(lang).items():
        modules = {name.partition("::")[0] for name in named_in(text)}
        assert len(modules) == 1, number
        assert text.count(limit) == 1, number
    for _, condition, control in rows(lang):
        assert condition.endswith(".")
        files = re.findall(r"`([\w/]+(?:\.py)?)`", control)
        assert files
        assert all((ROOT / file).exists() for file in files)


@pytest.mark.parametrize("lang", PAGES)
def test_every_test_that_a_page_names_exists(lang: str) -> None:
    found = NAMED.findall(PAGES[lang].read_text("utf-8"))
    assert len(found) > 40
    for path, _, name in found:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


@pytest.mark.parametrize("lang", PAGES)
def test_every_module_of_tests_is_named(lang: str) -> None:
    text = PAGES[lang].read_text("utf-8")
    modules = sorted(path.name for path in (ROOT / "tests" / "conditions").glob("test_*.py"))
    assert [name for name in modules if f"tests/conditions/{name}" not in text] == []


@pytest.mark.parametrize("lang", PAGES)
def test_no_sentence_is_longer_than_25_words(lang: str) -> None:
    text = re.sub(r"```.*?```", "", PAGES[lang].read_text("utf-8"), flags=re.DOTALL)
    blocks = re.split(r"\n\n|\n(?=[|#-])|\|", text)
    prose = [re.sub(r"`[^`]*`|[*#]", "", block).replace("\n", " ") for block in blocks]
    sentences = [s for block in prose for s in re.split(r"(?<=[.?!])\s+", block)]
    assert [s for s in sentences if len([w for w in s.split() if re.search(r"\w", w)]) > LONGEST] == []


@pytest.mark.parametrize("lang", PAGES)
def test_no_percentage_stands_beside_the_first_condition(lang: str) -> None:
    assert "%" not in sections(lang)[1]
    assert "%" not in rows(lang)[0][1]


@pytest.mark.parametrize("lang", PAGES)
def test_the_source_is_cited_as_it_asks(lang: str) -> None:
    text = " ".join(PAGES[lang].read_text("utf-8").split())
    for said in (
        "Data et IA en pleine confiance. L’éthique comme condition du développement des Big Data",
        "Occitanie Data",
        {"en": "20 May 2021", "fr": "20 mai 2021"}[lang],
        "volet 3",
        "« Usages éthiques des Big Data en biosciences »",
        "Plateforme Éthique et Biosciences (Genotoul Societal)",
        "Toulouse",
    ):
        assert said in text
