"""Every code is public: it has a page that says how to resolve it, and an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

import trust.secure_sum.errors  # noqa: F401 - its classes are part of the tree
from trust.errors import DataTrustError, nearest, sentence

PAGES = Path(__file__).parents[2] / "docs" / "errors"


def tree(of: type[DataTrustError] = DataTrustError) -> set[type[DataTrustError]]:
    return {of, *(leaf for child in of.__subclasses__() for leaf in tree(child))}


OURS = sorted(
    (c for c in tree() if c.__module__.startswith(("trust.", "nodes.", "coordinator.", "datatrust."))), key=str
)


@pytest.mark.parametrize("error", OURS, ids=lambda e: e.__name__)
def test_has_a_page_that_says_how_to_resolve_it(error: type[DataTrustError]) -> None:
    page = PAGES / f"{error.code}.md"
    assert page.is_file(), f"write docs/errors/{error.code}.md"
    assert page.read_text().startswith(f"# {error.code}: ")
    assert "## How to resolve" in page.read_text()


def test_every_page_is_of_a_code() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {error.code for error in OURS}


@pytest.mark.parametrize("error", OURS, ids=lambda e: e.__name__)
def test_exit_status_is_1_refused_2_bad_input_or_3_fault(error: type[DataTrustError]) -> None:
    assert error.exit_code in (1, 2, 3)


def test_the_nearest_name_is_offered() -> None:
    assert nearest("minimun", ["minimum", "maximum"]) == "'minimum', perhaps"
    assert nearest("zzz", ["age", "sex"]) == "one of: age, sex"
    assert sentence("a", "b", "c") == "a; expected b; to fix it: c"
