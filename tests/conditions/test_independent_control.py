"""Condition: independent control.  Only members of the committee put a mandate in force, over exactly these bytes.

Who asks and who combines cannot approve themselves; one byte changed after the signatures, and every node refuses.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from nodes.study.session import Session
from tests.support.outside_view import command, rule_of
from tests.support.small_trusts import dataset, rows, study, trust
from tests.support.trust_parts import TrustParts
from trust.documents.mandate import quorum
from trust.errors import Refused
from trust.protocol.messages import UP, pack_signed, unpack
from trust.signing.envelope import Envelope, Signer, sign

FRAMES = {name: rows(60, seed) for seed, name in enumerate("abc", 2)}


@pytest.fixture(scope="module")
def of() -> TrustParts:
    return TrustParts(trust(FRAMES))


@pytest.fixture(scope="module")
def papers(of: TrustParts) -> tuple[Any, Envelope, Envelope]:
    """A study, its signed envelope, and its mandate, which nobody has signed."""
    asked = study(of.trust, dt.Describe(["x"])).study
    signed = of.keys.study(asked)
    return asked, signed, sign("mandate", of.mandate_of(asked, signed).document())


def answers(of: TrustParts, signed: Envelope, mandate: Envelope) -> set[tuple[str, str]]:
    """Kind and rule of what every node says."""
    message = {"kind": "mandate", "mandate": mandate.document(), "study": signed.document()}
    raw = pack_signed(message, of.keys.coordinator)
    found = [unpack(Session(node).handle(raw), UP)[0] for node in of.nodes.values()]
    return {(answer["kind"], answer.get("rule", "")) for answer in found}


Signers = Callable[[TrustParts], list[Signer]]
NOT_ENOUGH: dict[str, Signers] = {
    "nobody": lambda of: [],
    "one member": lambda of: [of.keys.members[0]],
    "one member twice": lambda of: [of.keys.members[0], of.keys.members[0]],
    "the researcher who asks": lambda of: [of.keys.researcher],
    "the researcher and one member": lambda of: [of.keys.members[0], of.keys.researcher],
    "the coordinator": lambda of: [of.keys.coordinator],
    "the coordinator and one member": lambda of: [of.keys.members[0], of.keys.coordinator],
    "the auditor and one member": lambda of: [of.keys.members[0], of.keys.auditor],
    "a partner and one member": lambda of: [of.keys.members[0], of.keys.partners["a"].sign],
    "strangers": lambda of: [Signer(), Signer(), Signer()],
    "two members, none of whom is the lay one": lambda of: of.keys.members[1:3],
}


@pytest.mark.parametrize("who", NOT_ENOUGH)
def test_every_node_refuses_a_mandate_signed_by(
    of: TrustParts, papers: tuple[Any, Envelope, Envelope], who: str
) -> None:
    _, signed, mandate = papers
    for signer in NOT_ENOUGH[who](of):
        mandate = mandate.with_signature(signer)
    assert answers(of, signed, mandate) == {("refusal", "signature")}


def test_a_quorum_with_its_lay_member_puts_it_in_force(of: TrustParts, papers: tuple[Any, Envelope, Envelope]) -> None:
    """The positive control."""
    _, signed, mandate = papers
    for signer in of.keys.members[:2]:
        mandate = mandate.with_signature(signer)
    assert answers(of, signed, mandate) == {("approval", "")}


def test_who_is_no_member_counts_for_no_quorum(of: TrustParts) -> None:
    """The rule itself, which the coordinator's docket and every node ask."""
    root, committee = of.keys.root.root, of.trust.charter.committee
    members = [member.key_id for member in of.keys.members]
    others = [signer.key_id for signer in (of.keys.coordinator, of.keys.researcher, of.keys.auditor)]
    assert quorum(root, frozenset(members[:2]), committee).ok
    assert not quorum(root, frozenset([members[0], *others]), committee).ok


@pytest.mark.parametrize("what", ["a stranger's signature", "a member's for other bytes", "a bit turned round"])
def test_a_members_name_under_another_signature_counts_nothing(
    of: TrustParts, papers: tuple[Any, Envelope, Envelope], what: str
) -> None:
    _, signed, mandate = papers
    whole = mandate.with_signature(of.keys.members[0]).with_signature(of.keys.members[1])
    first, second = whole.signatures
    raw = base64.b64decode(second.sig)
    false = {
        "a stranger's signature": mandate.with_signature(Signer()).signatures[0].sig,
        "a member's for other bytes": sign("mandate", {}, of.keys.members[1]).signatures[0].sig,
        "a bit turned round": base64.b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode(),
    }[what]
    forged = whole.model_copy(update={"signatures": (first, second.model_copy(update={"sig": false}))})
    assert answers(of, signed, forged) == {("refusal", "signature")}


def test_a_study_that_the_researcher_did_not_sign_is_refused(
    of: TrustParts, papers: tuple[Any, Envelope, Envelope]
) -> None:
    asked, _, mandate = papers
    for other in (of.keys.coordinator, of.keys.members[0], Signer()):
        signed = sign("study", asked.document(), other)
        agreed = of.keys.mandate(of.mandate_of(asked, signed))
        assert answers(of, signed, agreed) == {("refusal", "signature")}
    assert mandate.signatures == ()


@pytest.mark.parametrize("which", ["study", "mandate"])
def test_one_byte_changed_after_the_signatures_is_refused(
    of: TrustParts, papers: tuple[Any, Envelope, Envelope], which: str
) -> None:
    """Each byte in turn, its last bit turned round."""
    _, signed, mandate = papers
    for signer in of.keys.members[:2]:
        mandate = mandate.with_signature(signer)
    payload = (signed if which == "study" else mandate).unverified_payload
    session_of = of.nodes["a"]
    for at in range(len(payload)):
        changed = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        text = base64.b64encode(changed).decode()
        papers_now = {"study": signed.document(), "mandate": mandate.document()}
        papers_now[which] = {**papers_now[which], "payload": text}
        raw = pack_signed({"kind": "mandate", **papers_now}, of.keys.coordinator)
        answer, _ = unpack(Session(session_of).handle(raw), UP)
        assert answer["kind"] == "refusal"
        assert which == "study" or answer["rule"] == "signature"  # a study that cannot be read says so first


def test_a_signature_for_one_study_is_none_for_another(of: TrustParts, papers: tuple[Any, Envelope, Envelope]) -> None:
    """The mandate is bound to the digest of the study's bytes."""
    _, _, mandate = papers
    for signer in of.keys.members[:2]:
        mandate = mandate.with_signature(signer)
    other = of.keys.study(study(of.trust, dt.Describe(["z"])).study)
    assert answers(of, other, mandate) == {("refusal", "mandate-study")}


def test_the_docket_takes_no_signature_but_a_members(of: TrustParts) -> None:
    job = study(of.trust, dt.Describe(["x"], by=["sex"])).submit()
    unsigned = of.trust.docket.find(job.id).mandate
    for other in (of.keys.researcher, of.keys.coordinator, Signer()):
        with pytest.raises(Refused, match="nobody who is a member"):
            of.trust.docket.sign(job.id, unsigned.with_signature(other))
    assert rule_of(job.result) == "mandate-missing"


def test_on_the_command_line_the_researcher_cannot_approve_her_own_study(tmp_path: Path) -> None:
    folder = tmp_path / "trust"
    of = dt.local(FRAMES, dataset(), state=folder)
    job = study(of, dt.Describe(["x"])).submit()
    for key in ("researcher", "coordinator"):
        file = folder / "keys" / f"{key}.pem"
        code, said = command("review", "sign", job.id, "--state", folder, "--key", file, "--yes")
        assert (code, "not a member's" in said) == (1, True)
    assert rule_of(job.result) == "mandate-missing"
    for member in (1, 2):
        file = folder / "committee" / f"member-{member}.pem"
        words = ("--passphrase-file", folder / "committee" / "passphrase", "--yes")
        assert command("review", "sign", job.id, "--state", folder, "--key", file, *words)[0] == 0
    assert rule_of(dt.local(FRAMES, dataset(), state=folder).job(job.id).result) == "answered"
