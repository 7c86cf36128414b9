"""`datatrust root publish`: the next version goes to the coordinator, and is verified before and after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.api import create_app
from datatrust.in_process.folder import TrustFolder
from datatrust.person import pins
from datatrust.person.passphrase import ENVIRONMENT
from tests.support.command import Run
from tests.support.served_coordinator import WIDE, Liar, Served, served
from tests.support.trust_copies import PASSPHRASE, member
from trust.canonical import canonical
from trust.documents.root import Root, TrustRoot
from trust.signing.envelope import sign
from trust.times import now, write_time


@pytest.fixture
def liar() -> list[Liar]:
    return []


@pytest.fixture
def here(tmp_path: Path, liar: list[Liar], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))

    def make(settings: Any) -> Liar:
        liar.append(Liar(create_app(settings, limits=WIDE)))
        return liar[0]

    with served(tmp_path, make) as listens:
        yield listens


def following(here: Served, before: Root, file: Path, *members: int, **changes: Any) -> Root:
    """The version after `before`, signed by these members, in `file`."""
    at = {"version": before.version + 1, "issued": write_time(now())}
    root = before.model_copy(update={**at, **changes})
    envelope = sign("root", root.document(), *(member(here.folder, number) for number in members))
    file.write_bytes(canonical(envelope.document()))
    return root


def publish(run: Run, here: Served, file: Path, *options: Any) -> tuple[int, str, str]:
    key = options or ("--key", here.member(1))
    return run("root", "publish", file, "--url", here.url, "--invitation", here.invitation, *key)


def first(here: Served) -> Root:
    return Root.read(TrustFolder(here.folder).roots[0].unverified_payload)


def test_the_next_version_is_in_force_and_pinned_and_counts_once(run: Run, here: Served, tmp_path: Path) -> None:
    second = following(here, first(here), tmp_path / "2.json", 1, 2)
    third = following(here, second, tmp_path / "3.json", 1, 2)
    for number, file in ((2, "2.json"), (2, "2.json"), (3, "3.json"), (2, "2.json")):
        code, out, err = publish(run, here, tmp_path / file)
        assert (code, out.partition(",")[0]) == (0, f"in force: version {number} of local"), err
    pinned = pins.pinned("local")
    assert pinned is not None
    assert pinned.root == third
    docket = TrustFolder(here.folder).docket()
    assert [Root.read(e.unverified_payload).version for e in docket.trust.roots] == [1, 2, 3]
    docket.close()


def test_what_does_not_follow_is_not_sent(run: Run, here: Served, liar: list[Liar], tmp_path: Path) -> None:
    following(here, first(here), tmp_path / "few.json", 1)
    second = following(here, first(here), tmp_path / "2.json", 1, 2)
    following(here, second, tmp_path / "3.json", 1, 2)
    for file, rule in (("few.json", "signature"), ("3.json", "root-version")):
        code, _, err = publish(run, here, tmp_path / file)
        assert code == 1
        assert f"refused by {rule}" in err
    assert pins.pinned("local") is not None
    assert TrustFolder(here.folder).trust.root.root.version == 1
    assert set(liar[0].asked) == {"/v1/roots"}


def test_a_coordinator_that_was_put_back_is_given_the_root_that_is_pinned(
    run: Run, here: Served, tmp_path: Path
) -> None:
    second = following(here, first(here), tmp_path / "2.json", 1, 2)
    (tmp_path / "1.json").write_bytes(canonical(TrustFolder(here.folder).roots[0].document()))
    assert publish(run, here, tmp_path / "1.json")[0] == 0
    pins.pin(TrustRoot(canonical(second.document())), replace=True)
    code, out, err = publish(run, here, tmp_path / "2.json")
    assert (code, out.partition(",")[0]) == (0, "in force: version 2 of local"), err


def test_a_researcher_may_not(run: Run, here: Served, tmp_path: Path) -> None:
    following(here, first(here), tmp_path / "2.json", 1, 2)
    code, _, err = publish(run, here, tmp_path / "2.json", "--key", here.researcher)
    assert code == 1
    assert "request-role" in err
