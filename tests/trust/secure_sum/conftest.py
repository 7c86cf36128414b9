"""Stores are closed after each test, so that no connection is left to the garbage collector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.secure_sum import Federation, federation


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Federation]]:
    """`make(3, m=3, ...)`: a federation of its own folder, or of `folder`."""
    made: list[Federation] = []

    def maker(*args: Any, folder: Path | None = None, **options: Any) -> Federation:
        made.append(federation(folder or tmp_path / f"federation-{len(made)}", *args, **options))
        return made[-1]

    yield maker
    for each in made:
        for store in each.stores.values():
            store.close()
