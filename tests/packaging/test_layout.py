"""The layout of the code: no circle between files or folders, and names that say what things are."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PACKAGES = ("trust", "nodes", "coordinator", "datatrust")
FILES = {
    ".".join(part for part in path.relative_to(TOP).with_suffix("").parts if part != "__init__"): path
    for package in PACKAGES
    for path in sorted((TOP / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}

CIRCLES = {
    # cohorts, expressions and the file format name the dataset in their types alone; `Dataset.draft` and `to_yaml`
    # are one line each, which opens the other file when it is called, since researchers look for them there
    frozenset(f"trust.dataset.{name}" for name in ("cohort", "dataset", "draft", "expressions", "odcs")),
    # a job gives the result that it waits for, in its type alone
    frozenset({"datatrust.research.job", "datatrust.research.result"}),
}
"""Circles between files that are meant, each with its reason; another one is an error."""


def imported(tree: ast.Module) -> set[str]:
    """The product's modules that a file imports anywhere, types included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {full if (full := f"{node.module}.{name.name}") in FILES else node.module for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & FILES.keys()


def circles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The sets of two or more that reach one another."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set[str](), [start]
        while waiting:
            for name in graph[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        reached[start] = seen
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return {group for group in groups if len(group) > 1}


def test_no_circle_between_files_but_those_that_are_meant() -> None:
    assert circles({name: imported(tree) - {name} for name, tree in TREES.items()}) == CIRCLES


def test_no_circle_between_folders() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, tree in TREES.items():
        folder = str(FILES[name].parent)
        graph[folder] |= {str(FILES[other].parent) for other in imported(tree)} - {folder}
    assert circles(graph) == set()


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}


# ---- names


PARTICIPLES = frozenset(
    [
        "asked",
        "answered",
        "taken",
        "found",
        "kept",
        "said",
        "told",
        "shown",
        "given",
        "known",
        "seen",
        "held",
        "begun",
        "made",
        "left",
        "wanted",
        "signed",
        "opened",
        "judged",
        "drafted",
        "written",
        "packed",
        "named",
        "planned",
        "applied",
        "expected",
        "allowed",
        "released",
        "carried",
        "moved",
        "placed",
        "followed",
        "added",
        "accepted",
        "refused",
        "listed",
        "joined",
        "counted",
        "closed",
        "connected",
        "served",
        "started",
        "stopped",
        "ended",
        "running",
        "filed",
        "met",
    ]
)
PRONOUNS = frozenset(
    [
        "on",
        "of",
        "one",
        "other",
        "others",
        "own",
        "mine",
        "more",
        "here",
        "there",
        "back",
        "where",
        "who",
        "whom",
        "whose",
        "until",
        "after",
        "before",
        "same",
        "both",
        "each",
        "all",
        "none",
        "what",
        "how",
        "at",
        "by",
        "so",
        "then",
        "still",
    ]
)


def bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a file binds: variables, parameters, attributes, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name


@pytest.mark.parametrize(("words", "most"), [(PARTICIPLES, 0.015), (PRONOUNS, 0.015)], ids=["participles", "pronouns"])
def test_names_are_nouns(words: frozenset[str], most: float) -> None:
    """A bare participle or pronoun says nothing of what a thing is; booleans may be participles."""
    names = Counter(
        name.strip("_").lower() for tree in TREES.values() for name in bound(tree) if not name.startswith("__")
    )
    assert sum(names[word] for word in words) <= most * names.total()


def test_what_only_raises_says_so() -> None:
    """A function whose documentation begins with what it raises, and that returns nothing, checks or requires."""
    wrong = [
        f"{name}.{node.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.returns is not None
        and ast.unparse(node.returns) == "None"
        and (ast.get_docstring(node) or "").startswith(("Raises:", "Check that"))
        and not node.name.strip("_").startswith(("check_", "require_"))
        and not node.name.startswith("__")
    ]
    assert wrong == []
