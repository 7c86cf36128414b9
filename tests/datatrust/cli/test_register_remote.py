"""`datatrust register --url`: the public log of a coordinator, fetched, put together again and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.api import create_app
from datatrust.in_process.folder import TrustFolder
from datatrust.person.pins import folder
from tests.support.command import Run
from tests.support.served_coordinator import WIDE, Liar, Served, served
from tests.support.trust_copies import only
from trust.logs.checkpoint import Checkpoint, register_origin, sign_checkpoint
from trust.logs.merkle import Entry, Tree, leaf_hash
from trust.signing.envelope import Signer
from trust.signing.key_files import read_signer


@pytest.fixture
def liar() -> list[Liar]:
    return []


@pytest.fixture
def here(tmp_path: Path, liar: list[Liar], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))

    def make(settings: Any) -> Liar:
        liar.append(Liar(create_app(settings, limits=WIDE)))
        return liar[0]

    with served(tmp_path, make) as listens:
        listens.sign(only(listens.folder), 1, 2)
        listens.carry_out(only(listens.folder))
        yield listens


@pytest.fixture
def register(run: Run, here: Served) -> Callable[..., tuple[int, str, str]]:
    """`register("verify")`: the command at the address; nobody's key is needed."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code, out, err = run("register", *arguments, "--url", here.url, "--invitation", here.invitation)
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("pinned: ")]
        return code, out, "".join(lines)

    return call


Register = Callable[..., tuple[int, str, str]]


def entries(here: Served) -> list[Entry]:
    docket = TrustFolder(here.folder).docket()
    found = list(docket.register.entries())
    docket.close()
    return found


def note(written: list[Entry], signer: Signer) -> bytes:
    """A checkpoint of these entries."""
    tree = Tree(leaf_hash(entry.canonical()) for entry in written)
    return sign_checkpoint(Checkpoint(register_origin("local"), len(tree), tree.root()), signer).encode()


def show(liar: Liar, written: list[Entry], signer: Signer) -> None:
    """The coordinator shows these entries, under a checkpoint that it has signed."""
    documents = [entry.document() for entry in written]
    liar.lies["/v1/register/checkpoint"] = lambda _: note(written, signer)
    liar.lies["/v1/register/entries"] = lambda it: {"entries": documents[: len(it["entries"])], "size": len(documents)}


def test_from_afar_it_is_what_it_is_in_the_folder(register: Register, run: Run, here: Served, tmp_path: Path) -> None:
    for command in (("show",), ("show", "--json"), ("show", "--lang", "fr"), ("show", "--study", only(here.folder))):
        assert register(*command) == run("register", *command, "--state", here.folder)
    near = run("register", "verify", "--state", here.folder, "--out", tmp_path / "near")
    far = register("verify", "--out", tmp_path / "far")
    assert far == near
    assert (near[0], near[1].splitlines()[-1]) == (0, "ok")
    assert (tmp_path / "far").read_bytes() == (tmp_path / "near").read_bytes()
    out = register("verify")[1]  # the last checkpoint was kept by itself
    assert f"ok  earlier: the register begins with the {len(entries(here))} entries of the earlier checkpoint" in out
    assert (folder() / "checkpoints" / "local.txt").read_bytes() == (tmp_path / "far").read_bytes()


def test_a_register_that_was_shortened_or_written_anew_is_found(
    register: Register, liar: list[Liar], here: Served
) -> None:
    assert register("verify")[0] == 0
    coordinator = read_signer(here.folder / "keys" / "coordinator.pem", None)
    written = entries(here)
    before = (folder() / "checkpoints" / "local.txt").read_bytes()
    show(liar[0], written[:-1], coordinator)
    code, out, _ = register("verify")
    assert (code, f"no  earlier: the register has become shorter: {len(written) - 1} entries" in out) == (1, True)
    changed = written[-1].model_copy(update={"at": "2026-11-28T00:00:00Z"})
    show(liar[0], [*written[:-1], changed], coordinator)
    code, out, _ = register("verify")
    assert (code, "no  earlier: the register was rewritten" in out) == (1, True)
    assert (folder() / "checkpoints" / "local.txt").read_bytes() == before
    liar[0].lies.clear()
    assert register("verify")[0] == 0


def test_entries_that_are_not_the_signed_ones_are_not_shown(register: Register, liar: list[Liar], here: Served) -> None:
    coordinator = read_signer(here.folder / "keys" / "coordinator.pem", None)
    written = entries(here)
    stranger = note(written, Signer())

    def changed(it: dict[str, Any]) -> dict[str, Any]:
        it["entries"][2]["study"] = "another"
        return it

    def unknown(it: dict[str, Any]) -> dict[str, Any]:
        it["entries"][2]["kind"] = "gift"
        return it

    def missing(it: dict[str, Any]) -> dict[str, Any]:
        return it | {"entries": it["entries"][:2] + it["entries"][3:]}

    for path, lie, expected, words in (
        ("/v1/register/entries", changed, 1, "are not the"),
        ("/v1/register/entries", unknown, 2, "is none that a register has"),
        ("/v1/register/entries", missing, 2, "shows other entries of the register"),
        ("/v1/register/entries", lambda it: it | {"entries": []}, 2, "shows no entries"),
        ("/v1/register/checkpoint", lambda _: stranger, 1, "not signed by its log's key"),
        ("/v1/register/checkpoint", lambda _: b"hello", 2, "not a checkpoint"),
        (
            "/v1/register/checkpoint",
            lambda _: note(written[:-1], coordinator).replace(b"local", b"other"),
            1,
            "another log",
        ),
    ):
        liar[0].lies = {path: lie}
        for command in ("show", "verify"):
            code, out, err = register(command)
            assert (code, out, words in err) == (expected, "", True), err
    liar[0].lies = {}
    assert register("show")[0] == 0


def test_which_register_is_meant(run: Run, here: Served) -> None:
    for command in ("show", "verify"):
        code, _, err = run("register", command)
        assert (code, "neither --state nor --url" in err) == (2, True)
        code, _, err = run("register", command, "--url", "https://127.0.0.1:1")
        assert (code, "no invitation to https://127.0.0.1:1 is known here" in err) == (2, True)
