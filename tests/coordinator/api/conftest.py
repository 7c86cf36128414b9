"""A coordinator of its own for each test, and one for those that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.coordinator_at_work import CoordinatorAtWork, opened


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CoordinatorAtWork]:
    with opened(tmp_path / "coordinator") as made:
        yield made


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorAtWork]:
    with opened(tmp_path_factory.mktemp("home") / "coordinator") as made:
        yield made
