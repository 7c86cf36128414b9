"""What the documents name is there: every path of code, of a test or of a page stands in the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGES = sorted(
    [*TOP.glob("*.md"), *(p for p in (TOP / "docs").rglob("*.md") if "_build" not in p.parts)],
    key=lambda path: str(path),
)
PATH = re.compile(r"`((?:trust|nodes|coordinator|datatrust|tests|docker|docs)/(?:[\w./*-]*(?:\.\w+|/))?)`")
MADE_BY_AN_OPERATOR = {"docker/images.lock", "docker/secrets/", "datatrust/results/"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    paths = {path for path in PATH.findall(page.read_text("utf-8")) if "NAME" not in path and "CODE" not in path}
    paths -= MADE_BY_AN_OPERATOR
    missing = sorted(path for path in paths if not list(TOP.glob(path.rstrip("/"))))
    assert not missing, f"{page.relative_to(TOP)} names what is not there: {', '.join(missing)}"


def test_a_path_that_is_not_there_is_found() -> None:
    assert PATH.findall("in `trust/nowhere.py` and `nodes/`") == ["trust/nowhere.py", "nodes/"]
    assert not list(TOP.glob("trust/nowhere.py"))
