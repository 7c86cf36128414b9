"""Attacks on what a coordinator keeps: a researcher, and a partner, who would break it for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import datatrust as dt
from coordinator.serve.processes import PARTS
from coordinator.serve.supervisor import environment_of
from coordinator.settings import CoordinatorSettings
from coordinator.study.carry_out import carry_out
from tests.support.committee import NAME, Desk, signed
from tests.support.restartable_trust import RestartableTrust
from trust.errors import MessageInvalid, Refused, StudyInvalid
from trust.protocol.messages import DOWN, UP, pack_signed, unpack
from trust.signing.envelope import Signer


@pytest.mark.parametrize(("letters", "taken"), [(500_000, True), (700_000, False), (1_000_000, False)])
def test_a_study_that_cannot_be_read_again_is_not_put_on_the_docket(tmp_path: Path, letters: int, taken: bool) -> None:
    """One of 1 MB was, and then no list of studies could be read any more, by anybody, in any process."""
    desk = Desk(tmp_path / "coordinator")
    desk.docket.file(signed())
    large = signed("a-large-study", summary={"en": "x" * letters, "fr": "y"})
    if taken:
        desk.docket.file(large)
    else:
        with pytest.raises(StudyInvalid, match="bytes"):
            desk.docket.file(large)
        with pytest.raises(StudyInvalid, match="bytes"):
            desk.docket.turned_away(large, Refused("purpose", "no"))
    for docket in (desk.docket, desk.again()):
        assert [filed.id for filed in docket.studies()] == [NAME, *["a-large-study"] * taken]
    desk.docket.register.verify()
    desk.close()


def test_a_signed_document_that_cannot_be_read_again_is_not_written(tmp_path: Path) -> None:
    from trust.documents.filed_study import read_text, write_text

    small, large = (signed(summary={"en": "x" * n, "fr": "y"}) for n in (700_000, 900_000))
    assert read_text(write_text(small)) == small  # the control
    with pytest.raises(MessageInvalid, match="at most"):
        write_text(large)


@pytest.mark.parametrize("part", PARTS)
def test_the_process_that_anybody_reaches_has_no_password_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    (tmp_path / "coordinator.toml").write_text(
        'api = "127.0.0.1:8443"\nsuperlink = "127.0.0.1:9443"\nurl = "https://trust.example:8443"\n'
        'nodes = "trust.example:9443"\ndatabase = "env:OWN_DATABASE"\n'
    )
    monkeypatch.setenv("OWN_DATABASE", "postgresql://me:canary@localhost/trust")
    monkeypatch.setenv("DATATRUST_PASSPHRASE", "another canary")
    given = environment_of(CoordinatorSettings(tmp_path), part)
    assert ("OWN_DATABASE" in given) is (part != "superlink")  # the others need it
    assert "DATATRUST_PASSPHRASE" not in given


class Refusing:
    """Partner b answers the question of sum 0 with a refusal whose rule is its own choice."""

    def __init__(self, places: RestartableTrust, signer: Signer, rule: str) -> None:
        self.places, self.signer, self.rule = places, signer, rule

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        answers = {name: self.places.up[name].handle(raw) for name, raw in messages.items()}
        if self.rule and unpack(next(iter(messages.values())), DOWN)[0]["kind"] == "ask":
            said = {"kind": "refusal", "name": "b", "rule": self.rule, "text": "no", "remedy": ""}
            answers["b"] = pack_signed(said, self.signer)
            assert unpack(answers["b"], UP)
        return answers


@pytest.mark.parametrize(
    ("rule", "state"),
    [("", "released"), ("any-rule", "refused"), ("cancelled", "refused"), ("study-state", "refused")],
)
def test_no_rule_that_a_partner_names_leaves_a_study_running_for_ever(tmp_path: Path, rule: str, state: str) -> None:
    """`cancelled` did: the coordinator took the study for ended, and began it again every half minute."""
    places = RestartableTrust(tmp_path)
    trust = places.trust
    study = trust.study("many", purpose="AcademicResearch", analyses={"h": dt.Histogram("x", edges=[0, 20, 60, 100])})
    job = trust.submit(study.study)
    docket, keys = trust.docket, places.of.keys
    docket.sign(job.id, keys.signed(docket.find(job.id).mandate))
    channel = Refusing(places, places.node("b").identity, rule)
    if not rule:
        carry_out(docket, keys.coordinator, job.id, channel)
    else:
        with pytest.raises(Refused) as refused:
            carry_out(docket, keys.coordinator, job.id, channel)
        assert refused.value.rule == rule
    assert docket.find(job.id).state == state
