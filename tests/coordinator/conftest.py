"""A docket for each test, on SQLite and on PostgreSQL, whose register must hold at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.committee import KEYS, Desk, signed
from tests.support.postgres import new_schema, postgres
from trust.signing.envelope import Envelope

__all__ = ["postgres"]

Opened: TypeAlias = Callable[..., Desk]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty folder, and the URL of an empty schema."""
    return tmp_path / "coordinator" if request.param == "sqlite" else new_schema(request.getfixturevalue("postgres"))


@pytest.fixture
def open_desk(place: Path | str) -> Iterator[Opened]:
    """`open_desk(roots)`: a docket on which nothing is, closed after the test."""
    made: list[Desk] = []

    def maker(roots: tuple[Envelope, ...] = (KEYS.envelope,)) -> Desk:
        made.append(Desk(place, roots))
        return made[-1]

    yield maker
    for desk in made:
        desk.docket.register.verify()
        desk.close()


@pytest.fixture
def desk(open_desk: Opened) -> Desk:
    """A docket on which nothing is."""
    return open_desk()


@pytest.fixture
def filed(desk: Desk) -> Desk:
    """A docket with one study, which waits."""
    desk.docket.file(signed())
    return desk
