"""`dt.connect`: a study over a coordinator's interface, and every way in which a server could lie about it."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import CancelledError
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datatrust as dt
from coordinator.api import create_app
from datatrust.in_process.folder import TrustFolder
from datatrust.person import pins
from datatrust.remote.coordinator_client import base_url
from datatrust.remote.remote_trust import RemoteTrust
from tests.support.remote_trust import ask, founding, grow, here, liar, next_root, own_home, trust
from tests.support.served_coordinator import WIDE, Liar, Served, invite, served
from tests.support.trust_copies import close, only
from trust.canonical import canonical
from trust.errors import Cancelled, InvalidInput, MessageInvalid, Refused, TimedOut, Unreachable
from trust.signing.envelope import sha256
from trust.times import now, write_time

__all__ = ["here", "liar", "own_home", "trust"]


# ---- the way of a study


def test_a_study_is_written_checked_filed_signed_answered_and_verified(here: Served, trust: RemoteTrust) -> None:
    study = ask(trust)
    decisions = study.check()
    assert decisions.ok
    assert decisions[-1].rule == "partner-policies"
    assert "asked at their nodes: east, north, south" in decisions[-1].text
    job = study.submit()
    assert (job.state, job.done(), job.running(), job.cancelled()) == ("0 of 2 signatures", False, False, False)
    called: list[str] = []
    job.add_done_callback(lambda each: called.append(each.id))
    signing = threading.Timer(0.5, lambda: (here.sign(job.id, 1, 2), here.carry_out(job.id)))
    signing.start()
    result = job.result(timeout=60, progress=False)
    signing.join()
    local = here.local()
    mine = local.job(job.id).result()
    for name in ("table", "model"):
        pd.testing.assert_frame_equal(result[name].to_frame(), mine[name].to_frame())
    close(local)
    assert result.provenance["trust"] == f"local at {here.url}"
    assert mine.provenance["trust"] == "local: keys of all roles in one process"
    for same in ("partners", "sums", "mandate", "charter_digest"):
        assert result.provenance[same] == mine.provenance[same]
    assert result.verify().pinned
    assert job.exception() is None
    end = time.monotonic() + 10
    while not called and time.monotonic() < end:
        time.sleep(0.05)
    assert called == [job.id]
    job.add_done_callback(lambda each: called.append("at once"))
    assert called == [job.id, "at once"]

    again = dt.connect(here.url, key=here.researcher)  # another process: the invitation is known
    assert again.job(result.provenance["mandate"]).result().to_dict() == result.to_dict()
    assert [each.id for each in again.jobs()] == [only(here.folder), job.id]
    again.close()


def test_without_a_key_what_is_public(here: Served) -> None:
    trust = dt.connect(here.url, invitation=here.invitation)
    table = trust.catalogue()
    assert list(table.index) == ["age", "sex", "pressure"]
    assert table.loc["sex", "levels"] == "F, M"
    assert (table.loc["age", "minimum"], table.loc["age", "maximum"]) == (18, 110)
    assert (trust.charter.name, trust.partners) == ("research", ("east", "north", "south"))
    for needs in (lambda: ask(trust), trust.jobs, lambda: trust.job("x")):
        with pytest.raises(InvalidInput, match="no researcher's key was given"):
            needs()
    trust.close()


def test_the_key_may_be_named_by_the_environment(here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATATRUST_KEY", str(here.researcher))
    trust = dt.connect(here.url, invitation=here.invitation)
    assert trust.researcher == "local"
    trust.close()
    monkeypatch.setenv("DATATRUST_KEY", str(here.folder / "keys" / "auditor.pem"))
    with pytest.raises(Refused, match="is not a researcher's in version 1 of the trust root"):
        dt.connect(here.url)


def test_what_the_charter_refuses_is_not_sent(trust: RemoteTrust, liar: list[Liar]) -> None:
    study = ask(trust, purpose="Marketing")
    assert not study.check().ok
    assert study.explain().changes
    with pytest.raises(Refused, match="refused by"):
        study.submit()
    assert "/v1/studies" not in liar[0].asked


def test_a_published_policy_of_a_partner_is_checked_here(tmp_path: Path) -> None:
    def make(settings: Any) -> Any:
        policy = settings.folder / "policies" / "north"
        policy.mkdir(parents=True)
        (policy / "partner.toml").write_text('name = "north"\nversion = 1\npublished = true\n[floor]\npersons = 30\n')
        return create_app(settings, limits=WIDE)

    with served(tmp_path, make) as here:
        trust = dt.connect(here.url, key=here.researcher, invitation=here.invitation)
        said = ask(trust).check()
        assert [no.rule for no in said.refusals] == ["floor/persons"]
        assert said[-1].text.endswith("at their nodes: east, south")
        assert ask(trust, protections={"persons": 30}).check().ok
        trust.close()


def test_a_study_goes_by_a_file(trust: RemoteTrust, tmp_path: Path) -> None:
    study = ask(trust)
    file = study.save(tmp_path / "study.json")
    assert file.read_bytes() == study.study.canonical() + b"\n"
    assert trust.read(file).study == study.study
    with pytest.raises(InvalidInput, match="name another file"):
        study.save(file)
    document = study.study.document() | {"dataset_digest": "sha256:" + 64 * "0"}
    file.write_bytes(canonical(document))
    with pytest.raises(InvalidInput, match="is a study of the dataset"):
        trust.read(file)


def test_handed_in_twice_it_is_filed_once(trust: RemoteTrust) -> None:
    study = ask(trust)
    assert study.submit().id == study.submit().id
    assert [job.id for job in trust.jobs()].count(study.study.id) == 1


# ---- waiting


def test_a_wait_ends_and_says_for_what(trust: RemoteTrust, here: Served, capsys: pytest.CaptureFixture[str]) -> None:
    job = ask(trust).submit()
    here.sign(job.id, 2)
    begun = time.monotonic()
    with pytest.raises(
        TimedOut, match="still waits: 1 of 2 signatures, one signature of the role “lay” is missing"
    ) as over:
        job.result(timeout=0.5)
    assert time.monotonic() - begun < 5
    assert isinstance(over.value, TimeoutError)
    assert "trust.job(" in str(over.value)
    for wait in (job.wait, job.result, job.exception):
        with pytest.raises(TimedOut):
            wait(timeout=0)
    for endless in (float("inf"), -1, float("nan")):
        with pytest.raises(InvalidInput, match="a wait always has a limit"):
            job.wait(timeout=endless)
    assert capsys.readouterr().err == ""


def test_a_line_says_what_is_waited_for(
    trust: RemoteTrust, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datatrust.research.progress._QUIET_SECONDS", 0.0)
    job = ask(trust).submit()
    with pytest.raises(TimedOut):
        job.wait(timeout=0.5)
    assert capsys.readouterr().err == "0 of 2 signatures\n"
    with pytest.raises(TimedOut):
        job.wait(timeout=0.5, progress=False)
    assert capsys.readouterr().err == ""


def test_what_the_worker_tells_is_shown_of_a_study_that_runs(trust: RemoteTrust, here: Served) -> None:
    job = ask(trust).submit()
    here.sign(job.id, 1, 2)
    docket = TrustFolder(here.folder).docket()
    docket.move(job.id, "running")
    docket.notes.write(job.id, "sum 4 of about 7")
    docket.close()
    assert (job.state, job.running()) == ("running: sum 4 of about 7", True)
    with pytest.raises(TimedOut, match="sum 4 of about 7"):
        job.wait(timeout=0)


def test_a_coordinator_that_is_away_for_a_while_is_asked_again(
    trust: RemoteTrust, here: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask(trust).submit()
    job.cancel()
    real, times = trust.stands, []

    def away(study: str) -> Any:
        times.append(study)
        if len(times) < 3:
            raise Unreachable("not now")
        return real(study)

    monkeypatch.setattr(trust, "stands", away)
    assert job.wait(timeout=20, progress=False) is job
    assert len(times) == 3
    times.clear()
    with pytest.raises(Unreachable):
        job.wait(timeout=0)


def test_cancelled_by_her(trust: RemoteTrust, here: Served) -> None:
    job = ask(trust).submit()
    assert job.cancel()
    assert (job.cancelled(), job.done(), job.state) == (True, True, "withdrawn")
    assert job.cancel()  # twice is once
    with pytest.raises(Cancelled, match="was cancelled") as no:
        job.result()
    assert isinstance(no.value, CancelledError)
    assert isinstance(job.exception(), Cancelled)
    other = ask(trust, "Other").submit()
    here.sign(other.id, 1, 2)
    here.carry_out(other.id)
    assert not other.cancel()
    assert other.result().provenance["study"] == other.id


def test_a_study_that_a_rule_refuses_says_so(trust: RemoteTrust, here: Served) -> None:
    women = {"cohort": "age >= 40 and sex = 'F'", "analyses": {"model": dt.Glm("pressure ~ age")}}
    job = ask(trust, **women).submit()
    here.sign(job.id, 1, 2)
    with pytest.raises(Refused):
        here.carry_out(job.id)
    with pytest.raises(Refused, match=r"refused by organisations: .* 2 of 3 do"):
        job.result()
    assert isinstance(job.exception(), Refused)


def test_in_one_process_a_job_has_the_same_names(here: Served) -> None:
    local = here.local()
    job = local.job(only(here.folder))
    with pytest.raises(Refused, match="refused by mandate-missing"):
        job.result()
    with pytest.raises(TimedOut, match="0 of 2 signatures"):
        job.result(timeout=0.3, progress=False)
    called: list[str] = []
    job.add_done_callback(lambda each: called.append(each.state))
    assert job.cancel()
    assert called == ["withdrawn"]
    with pytest.raises(Cancelled):
        job.result()
    close(local)


# ---- who the trust is


def test_the_first_time_the_invitation_is_named_and_its_root_pinned(
    here: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidInput, match="no invitation to https"):
        dt.connect(here.url)
    dt.connect(here.url, invitation=here.invitation).close()
    fingerprint = sha256(TrustFolder(here.folder).roots[0].unverified_payload)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"pinned: the trust root of local, version 1, fingerprint {fingerprint}; compare it with its members'\n"
    )
    dt.connect(here.url).close()
    dt.connect(f"{here.url}/", invitation=here.invitation).close()
    assert capsys.readouterr().err == ""
    pinned = pins.pinned("local")
    assert pinned is not None
    assert sha256(pinned.payload) == fingerprint
    (pins.folder() / "local.json").unlink()
    with pytest.raises(InvalidInput, match="no trust root of 'local' is pinned any more"):
        dt.connect(here.url)


def test_invitations_that_are_not_taken(here: Served, tmp_path: Path) -> None:
    other = invite(tmp_path / "other.json", "https://127.0.0.1:1", here.folder)
    with pytest.raises(InvalidInput, match=r"an invitation to https://127\.0\.0\.1:1"):
        dt.connect(here.url, invitation=other)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidInput, match="not JSON"):
        dt.connect(here.url, invitation=tmp_path / "text")
    with pytest.raises(InvalidInput, match="cannot be read"):
        dt.connect(here.url, invitation=tmp_path / "missing")
    spoilt = json.loads(here.invitation.read_bytes())
    spoilt["roots"][0]["signatures"] = spoilt["roots"][0]["signatures"][:1]
    (tmp_path / "spoilt.json").write_text(json.dumps(spoilt))
    with pytest.raises(Refused, match="the root is signed by 1 of 3 keys"):
        dt.connect(here.url, invitation=tmp_path / "spoilt.json")
    assert pins.pinned("local") is None
    dt.connect(here.url, invitation=here.invitation).close()
    stranger = invite(tmp_path / "stranger.json", here.url, here.folder, roots=[founding("local").document()])
    with pytest.raises(Refused, match="is not the one that was pinned"):
        dt.connect(here.url, invitation=stranger)
    renamed = invite(tmp_path / "named.json", here.url, here.folder, trust="else", roots=[founding("else").document()])
    with pytest.raises(Refused, match="is known as the trust 'local'"):
        dt.connect(here.url, invitation=renamed)
    dt.connect(here.url).close()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8443", "127.0.0.1:8443", "https://", "https://a@b:1", "https://h/path", "https://h?x", "", "ftp://h"],
)  # fmt: skip
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not an address of a coordinator"):
        dt.connect(url)


def test_an_address_is_written_in_one_way() -> None:
    assert base_url(" https://Trust.Example:443/ ") == "https://trust.example"


def test_a_later_root_that_follows_is_taken_and_an_older_one_never_comes_back(
    here: Served, trust: RemoteTrust, liar: list[Liar]
) -> None:
    first = TrustFolder(here.folder).roots[0]
    job = ask(trust).submit()
    here.sign(job.id, 1, 2)
    here.carry_out(job.id)
    second = next_root(here, first)
    grow(here, second)
    later = dt.connect(here.url, key=here.researcher)
    assert later._root.version == 2
    pinned = pins.pinned("local")
    assert pinned is not None
    assert pinned.root.version == 2
    assert later.job(job.id).result().verify(here.folder / "roots" / "1.json").pinned  # made under version 1
    filed = ask(later, "Second").submit()
    assert trust.job(filed.id).state == "0 of 2 signatures"  # who connected before learns of the new root by itself
    assert trust._root.version == 2
    later.close()
    for shown, words in (
        ([first], "made under version 1 of the trust root; the one that is pinned is version 2"),
        ([second, next_root(here, second, signers=(1,))], "the root is signed by 1 of 3 keys"),
        ([first, second, next_root(here, next_root(here, second))], "do not stand in their order"),
        ([], "shows no trust root"),
    ):
        liar[0].lies["/v1/roots"] = lambda _, shown=shown: [envelope.document() for envelope in shown]
        with pytest.raises((Refused, MessageInvalid), match=words):
            dt.connect(here.url)
    liar[0].lies.clear()
    dt.connect(here.url).close()


@pytest.mark.slow
def test_a_root_that_has_expired_is_the_end(here: Served, trust: RemoteTrust) -> None:
    first = TrustFolder(here.folder).roots[0]
    soon = write_time(now() + timedelta(seconds=4))
    grow(here, next_root(here, first, expires=soon))
    time.sleep(4.1)
    with pytest.raises(Refused, match="the trust root has expired"):
        dt.connect(here.url)
