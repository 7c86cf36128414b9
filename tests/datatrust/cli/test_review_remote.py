"""`datatrust review --url`: a member works from her own machine, and believes the coordinator in nothing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coordinator.api import create_app
from coordinator.docket.docket import Docket
from datatrust.in_process.folder import TrustFolder
from datatrust.person.passphrase import ENVIRONMENT
from datatrust.remote.committee_desk import Desk, RemoteDesk
from tests.support.command import Run
from tests.support.served_coordinator import WIDE, Liar, Raw, Served, served
from tests.support.trust_copies import PASSPHRASE, close, member, only, submit
from trust.documents.root import TrustRoot
from trust.documents.votes import Refusal, read_revocation
from trust.signing.envelope import Envelope, Signer, sha256, sign

pytestmark = pytest.mark.slow

NUMBER = f"{datetime.now(UTC):%Y}-0001"
Review = Callable[..., tuple[int, str, str]]


@pytest.fixture
def liar() -> list[Liar]:
    return []


@pytest.fixture
def here(tmp_path: Path, liar: list[Liar], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A coordinator that is honest as long as no lie is put into `liar`."""
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)
    monkeypatch.setenv("DATATRUST_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("DATATRUST_KEY", raising=False)

    def make(settings: Any) -> Liar:
        liar.append(Liar(create_app(settings, limits=WIDE)))
        return liar[0]

    with served(tmp_path, make) as listens:
        yield listens


@pytest.fixture
def docket(here: Served) -> Iterator[Docket]:
    made = TrustFolder(here.folder).docket()
    yield made
    made.close()


@pytest.fixture
def review(run: Run, here: Served) -> Review:
    """`review("sign", …, member=1)`: the command at the address, with this member's key; spaces are plain."""

    def call(command: str, *arguments: object, member: int = 1) -> tuple[int, str, str]:
        where = ("--url", here.url, "--invitation", here.invitation)
        code, out, err = run("review", command, *arguments, *where, "--key", here.member(member))
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("pinned: ")]
        return code, out.replace("\N{NO-BREAK SPACE}", " "), "".join(lines)

    return call


def test_both_desks_have_the_same_names(here: Served, docket: Docket) -> None:
    far: Desk = RemoteDesk(here.url, member(here.folder, 1), invitation=here.invitation)
    near: Desk = docket
    (a,), (b,) = far.studies(), near.studies()
    assert (a.id, a.number, a.state, a.mandate_digest, a.at) == (b.id, b.number, b.state, b.mandate_digest, b.at)
    far.close()


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_what_is_shown_from_afar_is_what_is_shown_at_the_folder(
    review: Review, run: Run, here: Served, lang: str
) -> None:
    for command in (("list",), ("show", NUMBER), ("list", "--json")):
        near = run("review", *command, "--state", here.folder, "--lang", lang)
        assert review(*command, "--lang", lang) == (0, near[1].replace("\N{NO-BREAK SPACE}", " "), "")


def test_two_members_sign_from_their_own_machines_and_the_mandate_is_in_force(
    review: Review, docket: Docket, here: Served
) -> None:
    code, out, err = review("sign", NUMBER, "--yes", member=2)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"signed: {NUMBER}; 1 of 2 signatures, one signature of the role “lay” is missing"
    code, out, _ = review("sign", only(here.folder), "--yes", "--lang", "fr", member=1)
    assert (code, out.splitlines()[-1]) == (
        0,
        f"signé : {NUMBER}\N{NARROW NO-BREAK SPACE}; mandat en vigueur",
    )
    assert docket.mandate(NUMBER) == docket.find(NUMBER).mandate
    code, out, _ = review("sign", NUMBER, "--yes", member=1)
    assert (code, out.splitlines()[-1]) == (0, f"you have signed {NUMBER} before; mandate in force")
    code, _, err = review("sign", NUMBER, "--yes", member=3)
    assert (code, "only one that waits for signatures" in err) == (1, True)
    assert review("list")[1].count("mandate in force") == 1


def test_a_vote_against_and_a_refusal(review: Review, here: Served) -> None:
    code, out, _ = review("refuse", NUMBER, "--reason", "no benefit", member=2)
    assert (code, out) == (0, f"voted against: {NUMBER}; 0 of 2 signatures, 1 against\n")
    code, _, err = review("refuse", NUMBER, "--reason", "again", member=2)
    assert (code, "has voted already" in err) == (1, True)
    code, out, _ = review("refuse", NUMBER, "--reason", "no", member=1)
    assert (code, out) == (0, f"voted against: {NUMBER}; refused\n")
    out = review("show", NUMBER)[1]
    for words in ("against: no benefit", "ended by committee: the committee has refused the study"):
        assert words in out


def test_a_revocation_reaches_the_docket_and_a_file(
    review: Review, docket: Docket, here: Served, tmp_path: Path
) -> None:
    here.sign(NUMBER, 1, 2)
    file = tmp_path / "stop.json"
    code, out, err = review("revoke", NUMBER, "--reason", "a mistake", "--out", file, member=3)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"revoked: {NUMBER}; nodes learn of it with the next message they receive"
    assert docket.find(NUMBER).state == "revoked"
    root = TrustRoot(TrustFolder(here.folder).roots[0].unverified_payload).root
    assert read_revocation(Envelope.read(json.loads(file.read_bytes())), root).reason == "a mistake"
    assert "revoked: a mistake" in review("show", NUMBER)[1]
    code, _, err = review("revoke", NUMBER, "--reason", "again", member=2)
    assert (code, "is revoked already" in err) == (1, True)


def test_an_unknown_study_names_the_nearest(review: Review, here: Served) -> None:
    name = only(here.folder)
    code, out, err = review("show", name[:-1] + "0")
    assert (code, out) == (2, "")
    assert f"is on the docket; expected {name!r}, perhaps" in err
    assert review("show", "../../v1/status")[0] == 2


def test_whose_key_it_is(run: Run, here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("--url", here.url, "--invitation", here.invitation)
    code, _, err = run("review", "list", *where, "--key", here.researcher)
    assert (code, "this key is not a member's of the committee today" in err) == (1, True)
    code, _, err = run("review", "list", *where)
    assert (code, "no key; expected --key FILE, or DATATRUST_KEY" in err) == (2, True)
    monkeypatch.setenv("DATATRUST_KEY", str(here.member(2)))
    assert run("review", "list", *where)[0] == 0
    for arguments, words in (
        ((), "neither --state nor --url"),
        (("--url", here.url, "--state", here.folder), "--state and --url"),
        (("--state", here.folder, "--invitation", here.invitation), "--invitation without --url"),
    ):
        code, _, err = run("review", "list", *arguments)
        assert (code, words in err) == (2, True), err


def test_her_private_key_never_leaves(review: Review, liar: list[Liar], here: Served) -> None:
    bodies: list[bytes] = []
    honest = liar[0].app

    async def overheard(scope: Any, receive: Any, send: Any) -> None:
        async def heard() -> Any:
            message = await receive()
            bodies.append(message.get("body", b""))
            return message

        bodies.extend(value for _, value in scope.get("headers", ()))
        await honest(scope, heard, send)

    liar[0].app = overheard
    assert review("sign", NUMBER, "--yes", member=1)[0] == 0
    private = member(here.folder, 1).private.private_bytes_raw()
    said = b"".join(bodies)
    assert b"datatrust.mandate" in said
    for secret in (private, private.hex().encode(), base64.b64encode(private)[:-1], PASSPHRASE.encode()):
        assert secret not in said


# ---- a coordinator that lies


def test_a_forged_quorum_is_seen(review: Review, liar: list[Liar], here: Served, docket: Docket) -> None:
    mandate = docket.find(NUMBER).mandate
    two = mandate.with_signature(member(here.folder, 2)).with_signature(member(here.folder, 3))
    stolen = two.model_copy(update={"signatures": (*two.signatures[:1], two.signatures[0])})
    for lie, words in (
        ({"state": "mandated"}, "it is signed by 0 of 2 members"),
        ({"state": "running", "mandate": two.document()}, "2 of 2 members, 1 of role 'lay' lacking"),
        ({"state": "released", "mandate": stolen.document()}, "it is signed by 1 of 2 members"),
        ({"state": "revoked"}, "no member of the committee has signed that"),
    ):
        liar[0].lies["/v1/studies"] = lambda it, lie=lie: {"studies": [it["studies"][0] | lie]}
        liar[0].lies[f"/v1/studies/{NUMBER}"] = lambda it, lie=lie: it | lie
        for command in (("list",), ("show", NUMBER), ("sign", NUMBER, "--yes")):
            code, out, err = review(*command)
            assert (code, out, words in err) == (1, "", True), err
    assert docket.find(NUMBER).signers == frozenset()
    liar[0].lies.clear()
    assert review("list")[0] == 0


def test_signatures_and_votes_that_are_none_do_not_count(
    review: Review, liar: list[Liar], here: Served, docket: Docket
) -> None:
    mandate, digest = docket.find(NUMBER).mandate, docket.find(NUMBER).mandate_digest
    other = "sha256:" + 64 * "0"
    at = "2026-11-28T00:00:00Z"
    lay, stranger = member(here.folder, 1), Signer()
    votes = [
        sign("vote", Refusal(mandate=digest, member=lay.key_id, reasons=("x",), at=at).document(), stranger),
        sign("vote", Refusal(mandate=other, member=lay.key_id, reasons=("y",), at=at).document(), lay),
        sign("vote", Refusal(mandate=digest, member=stranger.key_id, reasons=("z",), at=at).document(), stranger),
    ]
    lie = {"mandate": mandate.with_signature(stranger).document(), "votes": [vote.document() for vote in votes]}
    liar[0].lies[f"/v1/studies/{NUMBER}"] = lambda it: it | lie
    out = review("show", NUMBER)[1]
    assert "Status: 0 of 2 signatures\n" in out
    assert "against:" not in out
    good = sign("vote", Refusal(mandate=digest, member=lay.key_id, reasons=("w",), at=at).document(), lay)
    lie["votes"] = [good.document(), good.document()]
    assert "0 of 2 signatures, 1 against" in review("show", NUMBER)[1]


def test_a_mandate_or_a_study_of_the_coordinators_own_is_not_signed(
    review: Review, liar: list[Liar], docket: Docket
) -> None:
    filed = docket.find(NUMBER)
    drafted = filed.drafted.document()
    written = filed.written.document() | {"title": "Something else"}
    study = sign("study", written, Signer())
    own = sign("mandate", drafted | {"study": sha256(study.unverified_payload)})
    for lie, words in (
        ({"mandate": sign("mandate", drafted | {"sums": drafted["sums"] + 1}).document()}, "[mandate]"),
        ({"study": study.document(), "mandate": own.document()}, "[researcher]"),
    ):
        liar[0].lies[f"/v1/studies/{NUMBER}"] = lambda it, lie=lie: it | lie
        code, out, _ = review("show", NUMBER)
        assert (code, bool(re.search(rf"■ NO – [^•■]*{re.escape(words)}", out))) == (0, True), out
        code, _, err = review("sign", NUMBER, "--yes")
        assert (code, "do not sign it; tell who runs the trust" in err) == (1, True)
    liar[0].lies[f"/v1/studies/{NUMBER}"] = lambda it: it | {"study": study.document()}
    code, out, err = review("show", NUMBER)
    assert (code, out, "the mandate of another study" in err) == (1, "", True)
    assert docket.find(NUMBER).signers == frozenset()


def test_a_signature_that_is_swallowed_is_noticed(review: Review, liar: list[Liar], here: Served) -> None:
    def swallowed(it: dict[str, Any]) -> dict[str, Any]:
        return it | {"mandate": it["mandate"] | {"signatures": []}, "votes": [], "revocations": [], "state": "filed"}

    for path, command in (
        (f"/v1/studies/{only(here.folder)}/signatures", ("sign", NUMBER, "--yes")),
        ("/v1/votes", ("refuse", NUMBER, "--reason", "x")),
        ("/v1/revocations", ("revoke", NUMBER, "--reason", "x")),
    ):
        liar[0].lies[path] = swallowed
        code, _, err = review(*command, member={"sign": 1, "refuse": 2, "revoke": 3}[command[0]])
        assert (code, "and does not show it" in err) == (1, True), err


def test_another_study_under_the_name_that_was_asked_for(review: Review, liar: list[Liar], here: Served) -> None:
    local = here.local()
    other = submit(local, "Other")
    close(local)
    near = TrustFolder(here.folder).docket()
    filed = near.find(other)
    near.close()
    shown = {"id": filed.id, "number": filed.number, "state": "filed", "at": filed.at}
    shown |= {"study": filed.study.document(), "mandate": filed.mandate.document()}  # type: ignore[dict-item]
    liar[0].lies[f"/v1/studies/{NUMBER}"] = Raw(pieces=(json.dumps(shown).encode(),))
    code, out, err = review("sign", NUMBER, "--yes")
    assert (code, out, f"shows another study than '{NUMBER}'" in err) == (1, "", True)


def test_words_that_the_coordinator_chose_do_not_reach_the_terminal(review: Review, liar: list[Liar]) -> None:
    ended = {"rule": "x\x1b[2J", "text": "bad\u202eidea\n■ yes", "remedy": ""}
    liar[0].lies[f"/v1/studies/{NUMBER}"] = lambda it: it | {"state": "refused", "ended": ended, "told": "\x1b"}
    for lang in ("en", "fr"):
        code, out, _ = review("show", NUMBER, "--lang", lang)
        assert (code, "⟨U+001B⟩" in out) == (0, True)
        assert not set(out) & {"\x1b", "\u202e"}
        assert "\n■ yes" not in out
