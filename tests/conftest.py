"""Fixtures that several folders use: real data beside the repository, and trusts over them."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

import datatrust as dt
from tests.support.command import Run, command_runner

# A slow machine is no fault of an example: how long one takes is not what these tests are about.
settings.register_profile("datatrust", deadline=None)
settings.load_profile("datatrust")

DATA = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("DATATRUST_SHARED", Path(__file__).parents[2] / "shared"))


def missing(what: str) -> None:
    """Skip, with the reason; in CI a skip of this kind is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is needed in CI")
    pytest.skip(f"{what} is not here")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs and of R's answers."""
    if not (SHARED / "data").is_dir():
        missing("the folder ../shared with real data")
    return SHARED / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, those of whole machines before all, so that no worker has them left at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "e2e" not in item.path.parts))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("key", "show", path)`: exit code, standard output, standard error; never a traceback."""
    return command_runner(capsys)


class Oracle:
    """One data set of ../shared/data: its sites, its pooled rows and R's answers."""

    def __init__(self, folder: Path, name: str) -> None:
        answers = json.loads((folder / "expected" / f"{name}.json").read_text())
        self.cases: dict[str, Any] = {c["id"]: c["expected"] for c in answers["cases"]}
        self.frames = {s: pd.read_csv(folder / name / f"{s}.csv") for s in answers["sites"]}

    @property
    def pooled(self) -> pd.DataFrame:
        return pd.concat(self.frames, names=["site", None]).reset_index(level=0)


@pytest.fixture(autouse=True)
def same_hooks() -> Iterator[None]:
    """A node that runs in this process takes the hooks for uncaught errors, what libraries log, and the umask."""
    before = threading.excepthook, sys.excepthook
    os.umask(mask := os.umask(0o022))
    yield
    os.umask(mask)
    threading.excepthook, sys.excepthook = before
    for handler in [h for h in logging.root.handlers if type(h).__module__.startswith("nodes.")]:
        logging.root.removeHandler(handler)


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Any:
    """`oracle("uci_heart")`, read once."""
    cache: dict[str, Oracle] = {}
    return lambda name: cache.setdefault(name, Oracle(shared, name))


@pytest.fixture(scope="session")
def heart(oracle: Any) -> Oracle:
    return oracle("uci_heart")


SEX = {"sex": {"0": "F", "1": "M"}}


@pytest.fixture(scope="session")
def heart_trust(heart: Oracle) -> Any:
    """`heart_trust("research")`: the four hospitals under a charter."""

    def make(charter: str = "research") -> Any:
        sources = {name: dt.Source(frame, levels=SEX) for name, frame in heart.frames.items()}
        return dt.local(sources=sources, dataset=DATA / "heart.yaml", charter=charter)

    return make
