"""A docket for each test, whose register must hold at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordinator.committee import Desk, signed


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A docket on which nothing is."""
    made = Desk(tmp_path / "coordinator")
    yield made
    made.docket.register.verify()
    made.close()


@pytest.fixture
def filed(desk: Desk) -> Desk:
    """A docket with one study, which waits."""
    desk.docket.file(signed())
    return desk
