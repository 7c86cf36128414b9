"""A docket of 250 studies: researcher and member see all of them, whatever the size of a page."""

from __future__ import annotations

from typing import Any

import pytest

from datatrust.in_process.folder import TrustFolder
from datatrust.remote.committee_desk import RemoteDesk
from datatrust.remote.remote_trust import RemoteTrust
from datatrust.remote.verified_study import shown_studies
from tests.support.command import Run
from tests.support.remote_trust import here, liar, own_home, trust
from tests.support.served_coordinator import Liar, Served
from tests.support.trust_copies import PASSPHRASE, member, only
from trust.errors import DataTrustError, Fault, MessageInvalid
from trust.signing.envelope import sign
from trust.signing.key_files import read_signer

__all__ = ["here", "liar", "own_home", "trust"]

pytestmark = pytest.mark.slow


def file(here: Served, count: int) -> list[str]:
    """The ids on the docket, with so many more studies."""
    docket = TrustFolder(here.folder).docket()
    first = docket.find(only(here.folder))
    signer = read_signer(here.researcher, PASSPHRASE)
    for number in range(count):
        docket.file(sign("study", first.written.document() | {"id": f"more-{number:04d}"}, signer))
    docket.close()
    return [first.id, *(f"more-{number:04d}" for number in range(count))]


def test_all_of_250_studies_are_seen(
    here: Served, trust: RemoteTrust, liar: list[Liar], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = file(here, 249)
    liar[0].asked.clear()
    assert [job.id for job in trust.jobs()] == names
    assert liar[0].asked == ["/v1/studies"] * 3
    desk = RemoteDesk(here.url, member(here.folder, 1), invitation=here.invitation)
    assert [filed.id for filed in desk.studies()] == names
    desk.close()
    monkeypatch.setenv("DATATRUST_PASSPHRASE", PASSPHRASE)
    liar[0].asked.clear()
    code, out, _ = run("study", "status", "--url", here.url, "--key", here.researcher)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, names)
    assert liar[0].asked.count("/v1/studies") == 3
    assert not any(path.startswith("/v1/studies/") for path in liar[0].asked)
    where = ("--url", here.url, "--invitation", here.invitation, "--key", here.member(1))
    code, out, _ = run("review", "list", *where)
    assert (code, [line.split()[-1] for line in out.splitlines()]) == (0, names)


@pytest.mark.parametrize(
    ("lie", "kind", "words"),
    [
        (lambda it: it["studies"], MessageInvalid, "no list of studies"),
        (lambda it: it | {"studies": None}, MessageInvalid, "no list of studies"),
        (lambda it: it | {"next": 0}, MessageInvalid, "does not go on"),
        (lambda it: it | {"next": "1"}, MessageInvalid, "does not go on"),
        (lambda it: it | {"next": True}, MessageInvalid, "does not go on"),
        (lambda it: {"studies": [], "next": 1}, MessageInvalid, "does not go on"),
        (lambda it: it | {"studies": it["studies"] * 101}, MessageInvalid, "no list of studies"),
        (lambda it: it | {"studies": it["studies"] * 2}, MessageInvalid, "a study twice"),
    ],
)
def test_a_list_that_is_none_or_leads_nowhere_is_refused(
    trust: RemoteTrust, liar: list[Liar], lie: Any, kind: type[DataTrustError], words: str
) -> None:
    liar[0].lies["/v1/studies"] = lie
    with pytest.raises(kind, match=words):
        trust.jobs()


def test_a_list_without_an_end_is_given_up(
    trust: RemoteTrust, liar: list[Liar], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datatrust.remote.verified_study._MOST_PAGES", 3)
    places = iter(range(1, 100))

    def endless(it: dict[str, Any]) -> dict[str, Any]:
        place = next(places)
        return {"studies": [{"study": place}], "next": place}

    liar[0].lies["/v1/studies"] = endless
    liar[0].asked.clear()
    with pytest.raises(Fault, match="more than 3 pages"):
        list(shown_studies(trust._verified.link))
    assert len(liar[0].asked) == 3
