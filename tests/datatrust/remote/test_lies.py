"""`dt.connect` to a coordinator that lies: at the door, about a study, about a result; and what is never sent."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

import datatrust as dt
from datatrust.in_process.folder import TrustFolder
from datatrust.remote import coordinator_client
from datatrust.remote.coordinator_client import CoordinatorClient
from datatrust.remote.remote_trust import RemoteTrust
from datatrust.research import job as jobs
from tests.support.remote_trust import ask, founding, grow, here, liar, next_root, own_home, trust
from tests.support.served_coordinator import Liar, Raw, Served, authority, free_port, invite, listening
from tests.support.trust_copies import member
from trust.canonical import canonical
from trust.documents.result import read_result
from trust.documents.root import Root
from trust.errors import DataTrustError, Fault, InvalidInput, MessageInvalid, Refused, Unreachable
from trust.signing.envelope import Envelope, Signer, sha256, sign

pytestmark = pytest.mark.slow

__all__ = ["here", "liar", "own_home", "trust"]


# ---- lies at the door


def slow() -> Iterator[bytes]:
    yield b'[{"payload": "'
    yield from repeat(b"A")


def html(raw: bytes = b"<h1>It works</h1>") -> Raw:
    return Raw(200, ((b"content-type", b"text/html; charset=utf-8"),), (raw,))


PROBLEM = ((b"content-type", b"application/problem+json"),)
LIES: dict[str, tuple[str, Any, type[DataTrustError], str]] = {
    "another trust's roots": (
        "/v1/roots", lambda _: [founding("other").document()], Refused, "this is of the trust 'other'"),
    "another trust of the same name": (
        "/v1/roots", lambda _: [founding("local").document()], Refused, "is not the one that was pinned"),
    "a name of another trust": (
        "/v1/trust", lambda it: it | {"trust": "oth\x1ber"}, Refused, r"says that it is of oth⟨U\+001B⟩er, version 1;"),
    "another dataset than it names": (
        "/v1/trust", lambda it: it | {"dataset": {"id": "x", "digest": "sha256:" + 64 * "0"}}, Refused,
        "shows another dataset than the one that it names"),
    "nothing of itself": ("/v1/trust", lambda _: [], MessageInvalid, "cannot be read"),
    "a laxer charter": (
        "/v1/charter",
        lambda it: {"files": it["files"] | {
            "charter.toml": it["files"]["charter.toml"].replace("persons = 11", "persons = 3")}},
        Refused, "is not the one that the trust root names"),
    "a charter's file elsewhere": (
        "/v1/charter", lambda it: {"files": it["files"] | {"../../x.cedar": ""}}, MessageInvalid,
        "has a file '../../x.cedar'"),
    "100 MB": ("/v1/roots", Raw(pieces=repeat(b"1" * (1 << 20), 100)), Fault, "has more than 8388608 bytes"),
    "a web page": ("/v1/roots", html(), Fault, "answers with a web page: no coordinator of a trust is there"),
    "an image": ("/v1/roots", Raw(200, ((b"content-type", b"image/png"),), (b"x",)), Fault, "answers with 'image/png'"),
    "something compressed": (
        "/v1/roots", Raw(200, ((b"content-type", b"application/json"), (b"content-encoding", b"gzip")), (b"x",)), Fault,
        "is compressed, which was not asked for"),
    "no JSON": ("/v1/roots", Raw(pieces=(b"[1, ",)), MessageInvalid, "sends an answer that is not JSON"),
    "a key twice": ("/v1/trust", Raw(pieces=(b'{"a": 1, "a": 2}',)), MessageInvalid, "a key stands twice"),
    "a float": ("/v1/trust", Raw(pieces=(b'{"a": 0.5}',)), MessageInvalid, "not whole"),
    "an error of its own": ("/v1/roots", Raw(500, (), (b"Traceback",)), Fault, "with HTTP 500, and does not"),
    "words that steer the terminal": (
        "/v1/roots",
        Raw(403, PROBLEM, (b'{"type": "/refused", "rule": "x", "text": "no\\u001b[2J", "remedy": "a\\u202eb"}',)),
        Refused, r"refused by x: no⟨U\+001B⟩\[2J; to fix it: a⟨U\+202E⟩b"),
    "an error of ours": (
        "/v1/roots", Raw(422, PROBLEM, (b'{"type": "/errors/cohort-invalid", "got": "g", "expected": "e"}',)),
        dt.InvalidInput, "g; expected e"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_at_the_door_is_refused(here: Served, liar: list[Liar], lie: str) -> None:
    dt.connect(here.url, invitation=here.invitation).close()  # honest, it passes
    path, change, error, words = LIES[lie]
    liar[0].lies[path] = change
    with pytest.raises(error, match=words) as no:
        dt.connect(here.url)
    assert not set(str(no.value)) & {"\x1b", "\u202e", "\n"}
    liar[0].lies.clear()
    dt.connect(here.url).close()


def test_a_redirect_is_not_followed(here: Served, liar: list[Liar]) -> None:
    seen = Liar(None)
    seen.lies["/v1/roots"] = html()
    port = free_port()
    with listening(seen, port):
        to = f"https://127.0.0.1:{port}/v1/roots".encode()
        for status in (301, 302, 307, 308):
            liar[0].lies["/v1/roots"] = Raw(status, ((b"location", to), (b"content-type", b"application/json")))
            with pytest.raises(Fault, match="sends on to another address, which is not followed"):
                dt.connect(here.url, key=here.researcher, invitation=here.invitation)
    assert seen.asked == []


@pytest.mark.parametrize("what", ["body", "head"])
def test_an_answer_without_an_end_ends(
    here: Served, liar: list[Liar], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(coordinator_client, "_ANSWER_SECONDS", 1.0)
    begun = time.monotonic()
    if what == "body":
        liar[0].lies["/v1/roots"] = Raw(pieces=slow(), pause=0.02)
        with pytest.raises(Unreachable, match="takes longer than 1 s; nothing of it is used"):
            dt.connect(here.url, invitation=here.invitation)
    else:
        with dripping() as port, pytest.raises(Unreachable, match="takes longer than 1 s"):
            CoordinatorClient(f"https://127.0.0.1:{port}", authority()[0]).json("/v1/roots")
    assert time.monotonic() - begun < 8


class dripping:  # noqa: N801 - a context manager
    """A TLS server whose answer's head never ends: a byte each 50 ms."""

    def __enter__(self) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority()[1:])
        self._listens = socket.create_server(("127.0.0.1", 0))
        self._tls, self._end = context, threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return int(self._listens.getsockname()[1])

    def _serve(self) -> None:
        with self._listens.accept()[0] as plain, self._tls.wrap_socket(plain, server_side=True) as answer:
            answer.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            try:
                while not self._end.wait(0.05):
                    answer.sendall(b"x")
            except OSError:
                pass

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join(5)
        self._listens.close()


def test_a_certificate_of_somebody_else_is_refused(here: Served, tmp_path: Path) -> None:
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    other = authority("localhost")
    with listening(Liar(None), port, (other[1], other[2])):
        for trusted, words in (
            (authority()[0], "certificate is refused"),
            (other[0], "certificate is refused: IP address"),
        ):
            invitation = invite(tmp_path / "invitation.json", url, here.folder, authority=trusted)
            with pytest.raises(Unreachable, match=words):
                dt.connect(url, invitation=invitation)


def test_nobody_listens_there(here: Served, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="cannot be reached"):
        dt.connect(url, invitation=invite(tmp_path / "nobody.json", url, here.folder))
    assert time.monotonic() - begun < 10


# ---- lies about a study


def test_lies_about_a_study_are_refused(here: Served, trust: RemoteTrust, liar: list[Liar]) -> None:
    job, other = ask(trust).submit(), ask(trust, "Other").submit()
    path, lies = f"/v1/studies/{job.id}", liar[0].lies
    honest, another = trust._verified.link.json(path), trust._verified.link.json(f"/v1/studies/{other.id}")
    stranger = Signer()
    study = json.loads(base64.b64decode(honest["study"]["payload"]))
    forged = sign("study", study | {"title": "Another question"}, stranger).document()
    mandate = Envelope.read(honest["mandate"])
    drafted = json.loads(mandate.unverified_payload)
    changed = sign("mandate", drafted | {"study": sha256(Envelope.read(forged).unverified_payload)}).document()
    cases: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
        (lambda it: it | {"state": "mandated"}, "says that mandate .* is in force; it is signed by 0 of 2 members"),
        (
            lambda it: it | {"state": "released", "mandate": mandate.with_signature(stranger).document()},
            "signed by 0 of 2 members, 1 of role 'lay' lacking",
        ),
        (
            lambda it: it | {"state": "running", "mandate": two_who_are_not_lay(here, mandate)},
            "2 of 2 members, 1 of role",
        ),
        (lambda it: it | {"state": "revoked"}, "no member of the committee has signed that"),
        (lambda it: it | {"study": forged}, "the mandate of another study"),
        (lambda it: it | {"study": forged, "mandate": changed}, "the study is signed by 0 of 1 keys"),
        (lambda it: another, "shows another study than"),
        (lambda it: it | {"id": other.id}, "under another name"),
        (lambda it: it | {"number": "2020-0001"}, "under another name"),
        (lambda it: it | {"state": "answered"}, "the study that the coordinator shows"),
        (lambda it: [it], "the study that the coordinator shows"),
    ]
    for lie, words in cases:
        lies[path] = lambda _, lie=lie: lie(dict(honest))
        with pytest.raises((Refused, InvalidInput), match=words):
            _ = job.state
        with pytest.raises((Refused, InvalidInput), match=words):
            job.result(timeout=5)
    told = "sum 1\x1b[2J of 3"
    lies[path] = lambda it: it | {"state": "filed", "told": told, "later": {"field": 1}}
    assert job.state == "0 of 2 signatures"
    lies[path] = lambda it: it | {"state": "refused", "ended": {"rule": "x", "text": told}}
    with pytest.raises(Refused, match=r"refused by x: sum 1⟨U\+001B⟩\[2J of 3"):
        job.result()
    lies.clear()
    assert job.state == "0 of 2 signatures"


def two_who_are_not_lay(here: Served, mandate: Envelope) -> dict[str, Any]:
    return mandate.with_signature(member(here.folder, 2)).with_signature(member(here.folder, 3)).document()


def test_a_study_of_somebody_else_is_not_shown_as_hers(here: Served, trust: RemoteTrust, liar: list[Liar]) -> None:
    first = TrustFolder(here.folder).roots[0]
    root = Root.read(first.unverified_payload)
    second = Signer()
    document = root.document()
    document["keys"][second.key_id] = second.public.hex()
    document["researchers"]["lab-2"] = document["researchers"]["local"] | {"key": second.key_id}
    grow(here, next_root(here, first, keys=document["keys"], researchers=document["researchers"]))
    again = dt.connect(here.url, key=here.researcher)
    mine = ask(again).submit()
    docket = TrustFolder(here.folder).docket()
    theirs = docket.file(sign("study", again.job(mine.id) and {
        **docket.find(mine.id).written.document(), "researcher": "lab-2", "id": "theirs-1234"}, second))  # fmt: skip
    docket.close()
    with pytest.raises(Refused, match="another researcher's"):
        again.job("theirs-1234")
    everything = json.loads(json.dumps({
        "id": theirs.id, "number": theirs.number, "state": "filed", "study": theirs.study.document(),
        "mandate": theirs.mandate.document(), "at": theirs.at,
    }))  # fmt: skip
    liar[0].lies["/v1/studies/theirs-1234"] = Raw(pieces=(json.dumps(everything).encode(),))
    with pytest.raises(Refused, match="shows a study of 'lab-2' as one's own"):
        again.job("theirs-1234")
    again.close()


def test_a_mandate_that_does_not_follow_from_the_study_is_refused_at_once(trust: RemoteTrust, liar: list[Liar]) -> None:
    def lax(it: dict[str, Any]) -> dict[str, Any]:
        drafted = json.loads(base64.b64decode(it["mandate"]["payload"]))
        return it | {"mandate": sign("mandate", drafted | {"sums": drafted["sums"] + 1}).document()}

    liar[0].lies["/v1/studies"] = lax
    with pytest.raises(Refused, match="does not follow from the study"):
        ask(trust).submit()


def test_lies_about_a_result_are_refused(here: Served, trust: RemoteTrust, liar: list[Liar]) -> None:
    job, other = ask(trust).submit(), ask(trust, "Other").submit()
    for each in (job, other):
        here.sign(each.id, 1, 2)
        here.carry_out(each.id)
    path, lies = f"/v1/studies/{job.id}/result", liar[0].lies
    raw = (here.folder / "results" / f"{job.id}.json").read_bytes()
    theirs = (here.folder / "results" / f"{other.id}.json").read_bytes()
    envelope, document, _ = read_result(raw)
    unsigned = document.document()
    stranger = canonical(sign("result", unsigned, Signer()).document())
    cases = [
        (theirs, "is the result of another study"),
        (stranger, "the result is signed by 0 of 1 keys"),
        (raw.replace(b'"sig":"', b'"sig":"A', 1), "refused by result|0 of 1 keys"),
        (b"{}", "refused by file|envelope"),
        (canonical(envelope.model_copy(update={"signatures": ()}).document()), "signed by 0 of 1 keys"),
    ]
    for lie, words in cases:
        lies[path] = Raw(pieces=(lie,))
        with pytest.raises((Refused, InvalidInput), match=words):
            job.result()
    lies[path] = html()
    with pytest.raises(Fault, match="answers with a web page"):
        job.result()
    lies.clear()

    def forged(it: dict[str, Any]) -> dict[str, Any]:
        for entry in it["entries"]:
            if entry["kind"] == "sum-record":
                entry["body"]["record"]["U"][0] = "elsewhere"
        return it

    entries = "/v1/register/entries"
    for change, words in (
        (forged, "has not signed a sum of the study"),
        (lambda it: it | {"entries": []}, "shows no entries"),
        (lambda it: it | {"entries": it["entries"][::-1]}, "shows other entries"),
    ):
        lies[entries] = change
        with pytest.raises((Refused, MessageInvalid), match=words):
            job.result()
    lies.clear()
    assert job.result().provenance["sums"] == 3
    assert other.result().provenance["study"] == other.id


def test_a_result_whose_file_comes_a_moment_later_is_waited_for(
    here: Served, trust: RemoteTrust, liar: list[Liar], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask(trust).submit()
    here.sign(job.id, 1, 2)
    here.carry_out(job.id)
    file = here.folder / "results" / f"{job.id}.json"
    file.rename(file.with_suffix(".later"))
    later = threading.Timer(0.5, lambda: file.with_suffix(".later").rename(file))
    later.start()
    assert job.result().verify().ok
    later.join()


# ---- secrets


def test_no_secret_is_sent_or_shown(here: Served, trust: RemoteTrust, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    real = ssl.SSLSocket.send

    def send(self: ssl.SSLSocket, data: Any, *arguments: Any) -> int:
        sent.append(bytes(data))
        return real(self, data, *arguments)

    monkeypatch.setattr(ssl.SSLSocket, "send", send)
    job = ask(trust).submit()
    shown = repr(job) + repr(trust) + job.state
    private = here.researcher.read_bytes().splitlines()[1]
    seen = b"".join(sent)
    assert b"POST /v1/studies HTTP/1.1" in seen
    for secret in (private, base64.b64decode(private)[-32:], base64.b64decode(private)[-32:].hex().encode()):
        assert secret not in seen
        assert secret.decode("latin-1") not in shown


def test_importing_is_light() -> None:
    """What asks a coordinator, and what runs a trust in this process, is loaded when it is used."""
    heavy = "{'httpx', 'flwr', 'grpc', 'fastapi', 'uvicorn', 'alembic', 'rich', 'typer', 'IPython'}"
    command = [sys.executable, "-c", f"import datatrust, sys; print(sorted({heavy} & sys.modules.keys()))"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_wait_has_a_limit_where_none_is_given() -> None:
    assert jobs.WAIT_SECONDS == RemoteTrust.patience == 600
