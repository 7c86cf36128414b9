"""What the tests of a remote trust begin with: a trust that is served, a liar before it, and a researcher's client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from coordinator.api import create_app
from datatrust.in_process.folder import TrustFolder
from datatrust.in_process.keys import RoleKeys
from datatrust.remote.remote_trust import RemoteTrust
from tests.support.served_coordinator import WIDE, Liar, Served, served
from tests.support.trust_copies import ASKED, member
from trust.charters.charter import Charter
from trust.documents.root import Root
from trust.signing.envelope import Envelope, sign
from trust.times import now


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("DATATRUST_KEY", raising=False)


@pytest.fixture
def liar() -> list[Liar]:
    return []


@pytest.fixture
def here(tmp_path: Path, liar: list[Liar]) -> Iterator[Served]:
    """A coordinator that is honest as long as no lie is put into `liar`."""

    def make(settings: Any) -> Liar:
        liar.append(Liar(create_app(settings, limits=WIDE)))
        return liar[0]

    with served(tmp_path, make) as listens:
        yield listens


@pytest.fixture
def trust(here: Served) -> Iterator[RemoteTrust]:
    made = dt.connect(here.url, key=here.researcher, invitation=here.invitation)
    yield made
    made.close()


def ask(trust: Any, title: str = "Age", **more: Any) -> Any:
    fields: dict[str, Any] = {"purpose": "AcademicResearch", "cohort": "age >= 40", "analyses": ASKED} | more
    return trust.study(title, **fields)


def founding(name: str) -> Envelope:
    """The root of another trust, which its own members have signed."""
    keys = RoleKeys.make(["east", "north", "south"], Charter.load("research"), now())
    return sign("root", keys.root.root.document() | {"trust": name}, *keys.members)


def next_root(here: Served, after: Envelope, *, signers: Iterable[int] = (1, 2, 3), **change: Any) -> Envelope:
    """The version that follows, with the same keys."""
    root = Root.read(after.unverified_payload)
    document = root.document() | {"version": root.version + 1} | change
    return sign("root", document, *(member(here.folder, number) for number in signers))


def grow(here: Served, *envelopes: Envelope) -> None:
    """The coordinator accepts versions of the root."""
    docket = TrustFolder(here.folder).docket()
    for envelope in envelopes:
        docket.accept_root(envelope)
    docket.close()
