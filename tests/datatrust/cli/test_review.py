"""`datatrust review`: what a member is shown, how she signs, refuses and revokes, and what is never printed."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

import trust.documents.study_states
from coordinator.docket.docket import Docket
from datatrust.cli import review as review_commands
from datatrust.in_process.folder import TrustFolder
from datatrust.person.passphrase import ENVIRONMENT
from nodes.state.store import SqliteStore
from nodes.study.notices import Notices
from tests.support.command import Run
from tests.support.trust_copies import PASSPHRASE, close, copy, key, member, only, opened, quick, submit
from trust.documents.root import TrustRoot
from trust.errors import Refused
from trust.plain import mandate_page
from trust.plain import standing as review_words
from trust.signing.envelope import Signature, Signer, sign
from trust.signing.key_files import read_signer, write_key

STATES = get_args(trust.documents.study_states.State)
NUMBER = f"{datetime.now(UTC):%Y}-0001"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ENVIRONMENT, PASSPHRASE)
    return copy(tmp_path / "state")


@pytest.fixture
def docket(folder: Path) -> Iterator[Docket]:
    """The docket as another process has it open."""
    made = TrustFolder(folder).docket()
    yield made
    made.register.verify()
    made.close()


@pytest.fixture
def review(run: Run, folder: Path) -> Callable[..., tuple[int, str, str]]:
    """`review("sign", …, member=1)`: the command on the folder, with this member's key; spaces are plain."""

    def call(command: str, *arguments: object, member: int = 0) -> tuple[int, str, str]:
        more = ("--key", key(folder, member)) if member else ()
        code, out, err = run("review", command, *arguments, "--state", folder, *more)
        return code, out.replace("\N{NO-BREAK SPACE}", " "), err

    return call


Review = Callable[..., tuple[int, str, str]]


class Terminal:
    """A standard input at which somebody sits and types."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def isatty(self) -> bool:
        return True

    def readline(self, _: int = -1) -> str:
        return self._lines.pop(0) + "\n" if self._lines else ""

    def fileno(self) -> int:
        raise OSError


# ---- list


def test_the_list_says_what_each_study_waits_for(review: Review, docket: Docket, folder: Path) -> None:
    assert review("list")[:2] == (0, f"{NUMBER}  {docket.find(NUMBER).at[:10]}  0 of 2 signatures  {only(folder)}\n")
    trust = opened(folder, passphrase=None)
    ids = [only(folder), *(submit(trust, f"Number {n}") for n in range(4))]
    close(trust)
    one, lay = docket.find(ids[0]).mandate, member(folder, 1)
    docket.sign(ids[0], one.with_signature(member(folder, 2)).with_signature(member(folder, 3)))
    docket.sign(ids[1], docket.find(ids[1]).mandate.with_signature(lay))
    docket.sign(ids[2], docket.find(ids[2]).mandate.with_signature(lay).with_signature(member(folder, 2)))
    assert review("refuse", ids[3], "--reason", "no benefit", member=1)[0] == 0
    code, out, _ = review("list")
    assert code == 0
    assert [re.split(r"  +", line)[2:] for line in out.splitlines()] == [
        ["2 of 2 signatures, one signature of the role “lay” is missing", ids[0]],
        ["1 of 2 signatures", ids[1]],
        ["mandate in force", ids[2]],
        ["refused", ids[3]],
        ["0 of 2 signatures", ids[4]],
    ]
    assert len({line.index(name) for line, name in zip(out.splitlines(), ids, strict=True)}) == 1  # in one column
    objects = [json.loads(line) for line in review("list", "--json")[1].splitlines()]
    assert [(o["study"], o["state"], o["signatures"], o["lacking"], o["against"]) for o in objects] == [
        (ids[0], "filed", 2, {"lay": 1}, 0),
        (ids[1], "filed", 1, {}, 0),
        (ids[2], "mandated", 2, {}, 0),
        (ids[3], "refused", 0, {"lay": 1}, 1),
        (ids[4], "filed", 0, {"lay": 1}, 0),
    ]
    assert {o["needed"] for o in objects} == {2}
    assert objects[0]["mandate"] == docket.find(ids[0]).mandate_digest


def test_an_empty_docket(run: Run, tmp_path: Path) -> None:
    with quick():
        close(opened(tmp_path / "empty"))
    assert run("review", "list", "--state", tmp_path / "empty") == (0, "no study has been filed here\n", "")
    assert run("review", "list", "--state", tmp_path / "empty", "--lang", "fr")[1] == "aucune étude n’est déposée ici\n"
    assert run("review", "list", "--state", tmp_path / "empty", "--json") == (0, "", "")


def test_a_folder_that_keeps_no_trust(run: Run, tmp_path: Path) -> None:
    code, out, err = run("review", "list", "--state", tmp_path)
    assert (code, out) == (2, "")
    assert 'is not a state of a trust; expected the folder of dt.local(…, state="DIR")' in err


# ---- show


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_the_page_is_made_from_the_bytes_that_are_signed(review: Review, docket: Docket, lang: str) -> None:
    code, out, err = review("show", NUMBER, "--lang", lang)
    assert (code, err) == (0, "")
    filed = docket.find(NUMBER)
    words = mandate_page(
        filed.study.unverified_payload, filed.mandate.unverified_payload, docket.trust.dataset, lang=lang
    )
    assert out.startswith(words.text().replace("\N{NO-BREAK SPACE}", " "))
    for part in ("checked", "unchecked", "unchecked_1", "charter"):
        assert review_words.committee_text(part, lang)[:60] in out
    assert filed.mandate_digest in out
    assert out.count(f"• {review_words.committee_text('yes', lang)} – ") == 16
    assert "■" not in out
    assert max(map(len, out.splitlines())) <= 88


def test_an_unknown_study_names_the_nearest(review: Review, folder: Path) -> None:
    name = only(folder)
    for command in (("show",), ("sign", "--yes"), ("refuse", "--reason", "x"), ("revoke", "--reason", "x")):
        who = {} if command == ("show",) else {"member": 1}
        code, out, err = review(*command, name[:-1] + "0", **who)
        assert (code, out) == (2, "")
        assert f"is on the docket; expected {name!r}, perhaps" in err


@pytest.mark.parametrize("command", ["list", "show", "sign", "refuse", "revoke"])
def test_another_language_is_bad_input_and_changes_nothing(review: Review, docket: Docket, command: str) -> None:
    before = docket.register.head()
    more = {"list": (), "show": (NUMBER,), "sign": (NUMBER, "--yes")}.get(command, (NUMBER, "--reason", "x"))
    code, out, err = review(command, *more, "--lang", "de", member=0 if command in ("list", "show") else 1)
    assert (code, out, "the language 'de'" in err) == (2, "", True)
    assert docket.register.head() == before


def test_a_mandate_that_does_not_follow_from_the_study_is_seen(review: Review, docket: Docket, folder: Path) -> None:
    """A coordinator that writes other bounds: nodes would refuse, and the member's own tool says so before."""
    filed = docket.find(NUMBER)
    for change in ({"sums": filed.drafted.sums + 1}, {"m": filed.drafted.m + 1}, {"plan": "sha256:" + 64 * "0"}):
        other = sign("mandate", filed.drafted.document() | change)
        docket._db.execute("UPDATE study SET mandate = ?", (other.canonical().decode(),))
        code, out, _ = review("show", NUMBER)
        assert (code, "■ NO – the mandate's plan, partners or bounds are not those" in out) == (0, True)


def test_a_study_whose_researcher_is_accredited_no_more_is_seen(
    review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=366)
    monkeypatch.setattr(review_commands, "now", lambda: later)
    code, out, _ = review("show", NUMBER, "--lang", "fr")
    assert code == 0
    assert "■ NON – l’étude n’est signée par aucun chercheur habilité" in out


def test_words_that_others_chose_do_not_reach_the_terminal(review: Review, docket: Docket, folder: Path) -> None:
    trust = opened(folder)
    evil = submit(trust, "Age\x1b[2J\x1b[31m\u202e", summary="x\r■ NO – nothing")
    close(trust)
    assert review("refuse", evil, "--reason", "bad\x1b[2J\u202eidea\n■ yes", member=2)[0] == 0
    for lang in ("en", "fr"):
        for command in (("show", evil), ("list",)):
            out = review(*command, "--lang", lang)[1]
            assert not set(out) & {"\x1b", "\r", "\u202e"}
    assert "⟨U+001B⟩" in review("show", evil)[1]
    assert review("sign", evil, "--yes", member=1)[0] == 0


# ---- sign


def test_two_members_sign_and_the_mandate_is_in_force(review: Review, docket: Docket, folder: Path) -> None:
    code, out, err = review("sign", NUMBER, "--yes", member=2)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"signed: {NUMBER}; 1 of 2 signatures, one signature of the role “lay” is missing"
    code, out, _ = review("sign", only(folder), "--yes", "--lang", "fr", member=1)
    assert (code, out.splitlines()[-1]) == (0, f"signé : {NUMBER}\N{NARROW NO-BREAK SPACE}; mandat en vigueur")
    assert docket.mandate(NUMBER) == docket.find(NUMBER).mandate
    code, out, _ = review("sign", NUMBER, "--yes", member=1)
    assert (code, out.splitlines()[-1]) == (0, f"you have signed {NUMBER} before; mandate in force")
    code, _, err = review("sign", NUMBER, "--yes", member=3)
    assert (code, "only one that waits for signatures" in err) == (1, True)


def test_two_members_who_are_not_lay_are_not_enough(review: Review) -> None:
    review("sign", NUMBER, "--yes", member=2)
    out = review("sign", NUMBER, "--yes", member=3)[1]
    assert out.splitlines()[-1] == f"signed: {NUMBER}; 2 of 2 signatures, one signature of the role “lay” is missing"
    out = review("show", NUMBER, "--lang", "fr")[1]
    assert "2 signatures sur 2, il manque une signature du rôle « lay »" in " ".join(out.split())


def test_without_a_terminal_and_without_yes_nothing_is_signed(review: Review, docket: Docket) -> None:
    code, _, err = review("sign", NUMBER, member=1)
    assert code == 2
    assert "no terminal to ask at; nothing was signed; expected --yes" in err
    assert docket.find(NUMBER).signers == frozenset()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_the_member_is_asked(
    review: Review, docket: Docket, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    got, out, err = review("sign", NUMBER, member=1)
    assert got == code, err
    assert f"Sign mandate {NUMBER}?" in out
    assert ("not signed" in err) == bool(code)
    assert len(docket.find(NUMBER).signers) == (0 if code else 1)


def test_a_junk_signature_in_the_docket_does_not_keep_the_member_from_signing(
    review: Review, docket: Docket, folder: Path
) -> None:
    """Written by hand into the database, under her key's id."""
    junk = Signature(keyid=member(folder, 1).key_id, sig="AAAA")
    spoilt = docket.find(NUMBER).mandate.model_copy(update={"signatures": (junk,)})
    docket._db.execute("UPDATE study SET mandate = ?", (spoilt.canonical().decode(),))
    assert review("sign", NUMBER, "--yes", member=1)[1].splitlines()[-1] == f"signed: {NUMBER}; 1 of 2 signatures"
    assert junk not in docket.find(NUMBER).mandate.signatures


def test_an_expired_study_is_listed_as_such_and_not_signed(
    review: Review, docket: Docket, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=91)
    monkeypatch.setattr("coordinator.settings.now", lambda: later)
    monkeypatch.setattr(review_commands, "now", lambda: later)
    assert re.split(r"  +", review("list")[1])[2] == "expired"
    assert re.split(r"  +", review("list", "--lang", "fr")[1])[2] == "expirée"
    assert json.loads(review("list", "--json")[1])["lapsed"] == "expired"
    assert "■ NO – the study has expired" in review("show", NUMBER)[1]
    for command in (("sign", "--yes"), ("refuse", "--reason", "late")):
        code, _, err = review(*command, NUMBER, member=1)
        assert (code, "refused by mandate-expired" in err) == (1, True)
    assert review("sign", NUMBER, member=1)[0] == 1  # nobody is asked first
    assert docket.find(NUMBER).signers == frozenset()


# ---- keys


def test_only_a_members_key_that_opens_is_used(review: Review, docket: Docket, folder: Path, tmp_path: Path) -> None:
    before = docket.register.head()
    write_key(tmp_path / "stranger.pem", Signer(), None)
    key(folder, 3).chmod(0o644)
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    cases: list[tuple[Path, int, str]] = [
        (folder / "committee" / "member-9.pem", 2, "there is no file"),
        (folder / "committee" / "member-1.pem.pub", 2, "is a public file"),
        (folder / "keys" / "coordinator.pem", 1, "refused by signature: this key is not a member's"),
        (folder / "keys" / "researcher.pem", 1, "this key is not a member's of the committee today"),
        (folder / "nodes" / "east" / "keys" / "sign.pem", 1, "this key is not a member's"),
        (folder / "nodes" / "east" / "keys" / "seal.pem", 2, "holds a key of another kind"),
        (tmp_path / "stranger.pem", 1, "this key is not a member's"),
        (tmp_path / "text", 2, "holds no private key"),
        (key(folder, 3), 2, "is open to others (mode 0644); expected a file that only its owner can read"),
    ]
    for command in (("sign", "--yes"), ("refuse", "--reason", "x"), ("revoke", "--reason", "x")):
        for file, expected, said in cases:
            code, _, err = review(*command, NUMBER, "--key", file)
            assert (code, said in err) == (expected, True), err
    assert docket.register.head() == before
    assert docket.find(NUMBER).signers == frozenset()


@pytest.mark.parametrize("where", ["environment", "file", "nowhere"])
def test_a_wrong_passphrase_signs_nothing(
    review: Review, docket: Docket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    more: tuple[object, ...] = ()
    if where == "file":
        (tmp_path / "secret").write_text("another passphrase\n")
        (tmp_path / "secret").chmod(0o600)
        more = ("--passphrase-file", tmp_path / "secret")
    elif where == "environment":
        monkeypatch.setenv(ENVIRONMENT, "another passphrase")
    else:
        monkeypatch.delenv(ENVIRONMENT)
    code, out, err = review("sign", NUMBER, "--yes", *more, member=1)
    assert code == 2
    assert ("no passphrase for" if where == "nowhere" else "the passphrase does not open") in err
    assert "another passphrase" not in out + err
    assert docket.find(NUMBER).signers == frozenset()


def test_a_passphrase_file_that_others_can_read_is_refused(review: Review, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(PASSPHRASE + "\n")
    (tmp_path / "secret").chmod(0o640)
    code, _, err = review("sign", NUMBER, "--yes", "--passphrase-file", tmp_path / "secret", member=1)
    assert (code, "is open to others (mode 0640)" in err) == (2, True)


# ---- refuse


def test_a_vote_against_needs_reasons_which_everybody_can_read(review: Review, run: Run, folder: Path) -> None:
    code, out, err = review("refuse", NUMBER, member=2)
    assert (code, out, "--reason" in err) == (2, "", True)
    for reasons in (("  ",), ("x" * 2001,), ("x",) * 21):
        arguments = [part for reason in reasons for part in ("--reason", reason)]
        code, _, err = review("refuse", NUMBER, *arguments, member=2)
        assert (code, "a reason that is empty or too long; expected at most 20" in err) == (2, True)
    code, out, _ = review("refuse", NUMBER, "--reason", "no benefit", "--reason", "too long", member=2)
    assert (code, out) == (0, f"voted against: {NUMBER}; 0 of 2 signatures, 1 against\n")
    assert "0 signature sur 2, 1 contre" in review("list", "--lang", "fr")[1]
    code, _, err = review("refuse", NUMBER, "--reason", "again", member=2)
    assert (code, "has voted already" in err) == (1, True)
    code, _, err = review("sign", NUMBER, "--yes", member=2)
    assert (code, "a member has voted against this mandate" in err) == (1, True)
    code, out, _ = review("refuse", NUMBER, "--reason", "no", "--lang", "fr", member=1)
    assert (code, out) == (0, f"vote contre : {NUMBER}\N{NARROW NO-BREAK SPACE}; refusée\n")
    out = review("show", NUMBER)[1]
    for words in (
        "against: no benefit",
        "against: too long",
        "ended by committee: the committee has refused the study",
    ):
        assert words in out
    assert "no benefit; too long" in run("register", "show", "--state", folder)[1]
    assert run("register", "verify", "--state", folder)[0] == 0


# ---- revoke


def test_a_revocation_as_a_file_ends_a_running_study_at_a_node(
    review: Review, folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator of another copy of the folder has not heard of it."""
    for number in (1, 2):
        assert review("sign", NUMBER, "--yes", member=number)[0] == 0
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    file = tmp_path / "stop.json"
    code, out, err = review("revoke", NUMBER, "--reason", "a mistake", "--out", file, member=3)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"written: {file}; a partner may drop it into the revocations folder of its node",
        f"revoked: {NUMBER}; nodes learn of it with the next message they receive",
    ]
    assert "revoked: a mistake" in review("show", NUMBER)[1]

    trust = opened(copied)
    real = trust.docket.publish
    dropped: list[int] = []

    def publish(kind: str, *arguments: Any) -> int:
        if kind == "sum-record" and not dropped:  # after the first sum
            dropped.append((copied / "nodes" / "east" / "revocations" / "stop.json").write_bytes(file.read_bytes()))
        return real(kind, *arguments)

    monkeypatch.setattr(trust.docket, "publish", publish)
    with pytest.raises(Refused, match="refused by mandate-revoked"):
        trust.job(NUMBER).result()
    assert dropped
    assert trust.job(NUMBER).state == "failed"
    assert [e.kind for e in trust.docket.register.entries()].count("sum-record") == 1
    close(trust)
    assert run("node", "journal", "verify", "--state", copied)[0] == 0
    store = SqliteStore(copied / "nodes" / "east")
    state = TrustFolder(copied)
    notices = Notices(TrustRoot.founding(state.roots[0]), store, lambda: datetime.now(UTC))
    docket = state.docket()
    assert notices.revoked(bytes.fromhex(docket.find(NUMBER).mandate_digest.removeprefix("sha256:")))
    docket.close()
    store.close()


def test_a_file_is_written_even_where_the_docket_says_no_and_never_over_another(
    review: Review, docket: Docket, tmp_path: Path
) -> None:
    assert review("revoke", NUMBER, "--reason", "x", "--lang", "fr", member=1)[1].startswith(
        f"révoqué : {NUMBER}\N{NARROW NO-BREAK SPACE}; "
    )
    code, out, err = review("revoke", NUMBER, "--reason", "x", "--out", tmp_path / "stop.json", member=2)
    assert (code, "is revoked already" in err, "written: " in out) == (1, True, True)
    before = (tmp_path / "stop.json").read_bytes()
    code, _, err = review("revoke", NUMBER, "--reason", "y", "--out", tmp_path / "stop.json", member=2)
    assert (code, "cannot be written" in err) == (2, True)
    assert (tmp_path / "stop.json").read_bytes() == before
    code, _, err = review("revoke", NUMBER, "--reason", "y", "--out", tmp_path / "no" / "stop.json", member=2)
    assert (code, "name another file" in err) == (2, True)
    assert [e.kind for e in docket.register.entries()].count("revocation") == 1


# ---- words


@pytest.mark.parametrize("state", STATES)
def test_no_english_state_is_on_a_french_page(review: Review, docket: Docket, state: str) -> None:
    docket._db.execute("UPDATE study SET state = ?", (state,))
    names = set(STATES) | {"expired", "outdated", "signatures of", "mandate in force"}
    for command in (("list",), ("show", NUMBER)):
        out = review(*command, "--lang", "fr")[1]
        assert not [name for name in names if re.search(rf"\b{name}\b", out)], out[-300:]
    words = review_words.committee_text(state, "fr") if state != "filed" else "0 signature sur 2"
    assert f"Où en est l’étude : {words}" in out


# ---- secrets


def test_no_command_prints_a_secret(review: Review, run: Run, folder: Path, tmp_path: Path) -> None:
    said = (
        "".join(
            "".join(map(str, outputs))
            for outputs in (
                review("sign", NUMBER, "--yes", member=2),
                review("refuse", NUMBER, "--reason", "x", member=3),
                review("sign", NUMBER, "--yes", member=1),
                review("revoke", NUMBER, "--reason", "x", "--out", tmp_path / "stop.json", member=3),
                review("revoke", NUMBER, "--reason", "x", member=3),
                review("show", NUMBER),
                review("list", "--json"),
                run("register", "show", "--state", folder, "--json"),
            )
        )
        + (tmp_path / "stop.json").read_text()
    )
    raw = [member(folder, n).private.private_bytes_raw() for n in (1, 2, 3)]
    raw += [read_signer(path, None).private.private_bytes_raw() for path in (folder / "keys").glob("*.pem")]
    raw += [PASSPHRASE.encode()]
    for secret in raw:
        for written in (secret.hex(), base64.b64encode(secret).decode().rstrip("="), secret.decode("latin-1")):
            assert written[:-1] not in said
    assert "PRIVATE KEY" not in said
