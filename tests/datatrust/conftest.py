"""A folder in which a trust is founded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.founding import FOUNDING, PARTNERS, SIGNERS, opened
from trust.documents.root import Root
from trust.signing.key_files import new_key, write_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everybody's keys, not encrypted."""
    folder = tmp_path_factory.mktemp("keys")
    for name in [*SIGNERS, *(f"{partner}-sign" for partner in PARTNERS)]:
        write_key(folder / name, new_key("sign"), None)
    for name in PARTNERS:
        write_key(folder / f"{name}-seal", new_key("seal"), None)
    return folder


@pytest.fixture
def here(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a founding file beside links to the public files."""
    for file in keys.glob("*.pub"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "founding.toml").write_text(FOUNDING)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def signed(here: Path, keys: Path, run: Run) -> Path:
    """root-1.json, signed by two members."""
    assert run("root", "draft", "founding.toml", "--out", "root-1.json")[0] == 0
    for name in ("member-1", "member-3"):
        assert run("root", "sign", "root-1.json", "--key", keys / name, "--yes")[0] == 0
    return here / "root-1.json"


@pytest.fixture
def draft_next(signed: Path, run: Run) -> Callable[..., Root]:
    """Draft root-2.json from a text of changes."""

    def call(changes: str, *options: str) -> Root:
        Path("changes.toml").write_text(changes)
        code, _, err = run("root", "draft", "changes.toml", "--from", signed, "--out", "root-2.json", *options)
        assert code == 0, err
        return opened(Path("root-2.json"))

    return call
