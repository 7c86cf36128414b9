"""The coordinator's half of a study against partners that are silent, confused or dishonest.

Whatever happens, every partner that may hold something of the study is told that it is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from coordinator.study.conductor import Coordinator, StudyOutcome, conduct
from nodes.state.store import SqliteStore
from nodes.study.session import Session
from tests.nodes.study.test_session import forgotten
from tests.support.example import contract, number, small_trust
from tests.support.trust_parts import Sessions, TrustParts
from trust.documents.study import Study
from trust.errors import DataTrustError, Fault, MessageInvalid, Refused
from trust.logs.checkpoint import Checkpoint, journal_origin, sign_checkpoint
from trust.protocol.messages import DOWN, UP, pack, pack_signed, unpack
from trust.secure_sum.errors import CheckNumber, TranscriptDiffers, UploadShape, UploadSignature
from trust.secure_sum.messages import Upload

DATASET = contract(
    number("x", 0, 100),
    number("y", 0, 500),
    "name: high, logicalType: boolean",
    name="conductor",
)


def frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 100, 40)
    return pd.DataFrame({"x": x, "y": x * 2 + rng.uniform(0, 50, 40), "high": x + rng.uniform(-60, 60, 40) > 50})


FRAMES = {name: frame(seed) for seed, name in enumerate("abcd")}
Tamper = Callable[[str, dict[str, Any], bytes], "bytes | None"]
"""Takes the partner's name, the header of what it was sent, and its answer; returns what arrives, None for nothing."""


@dataclass
class Tampered(Sessions):
    """A channel whose answers may be changed on the way, or by the partner itself."""

    sessions: Mapping[str, Session]
    signer: Any
    tamper: Tamper
    kinds: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.sessions, self.signer)

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        headers = {name: unpack(raw, DOWN)[0] for name, raw in messages.items()}
        self.kinds += [(kind, tuple(messages)) for kind in {header["kind"] for header in headers.values()}]
        self.deadlines.append(deadline)
        answers = super().exchange(messages, deadline=deadline)
        changed = {name: self.tamper(name, headers[name], raw) for name, raw in answers.items()}
        return {name: raw for name, raw in changed.items() if raw is not None}


class Trial:
    """A study of these partners, conducted over a tampered channel."""

    def __init__(self, partners: str = "abc", frames: Mapping[str, pd.DataFrame] = FRAMES, **options: Any) -> None:
        self.of = TrustParts(small_trust({name: frames[name] for name in partners}, DATASET))
        options.setdefault("analyses", {"m": dt.Glm("y ~ x")})
        self.study: Study = self.of.trust.study("conductor", purpose="AcademicResearch", **options).study
        self.channel: Tampered
        self.told: list[str] = []

    def conduct(self, tamper: Tamper = lambda name, header, raw: raw, **options: Any) -> StudyOutcome:
        of, keys = self.of, self.of.keys
        signed = keys.study(self.study)
        mandate = keys.mandate(of.mandate_of(self.study, signed))
        of.sessions = {name: Session(node) for name, node in of.nodes.items()}
        self.channel = Tampered(of.sessions, keys.coordinator, tamper)
        planned = of.planned(self.study)
        coordinator = Coordinator(keys.coordinator, keys.root)
        return conduct(coordinator, signed, mandate, planned, self.channel, tell=self.told.append, **options)

    def over(self, *refused: str) -> None:
        """The last message was a close, to all but those that refused the mandate; no partner holds a key."""
        kind, to = self.channel.kinds[-1]
        if set(refused) == set(self.of.nodes):
            assert kind == "mandate"
        else:
            assert (kind, set(to)) == ("close", set(self.of.nodes) - set(refused))
        for node in self.of.nodes.values():
            kept = node.store.study(self.study.id)
            assert kept is None or (kept.status, kept.ephemeral, kept.keys) == ("closed", b"", {})
        assert all(forgotten(session) for session in self.of.sessions.values())


def only(who: str, kind: str, change: Callable[[bytes], bytes | None]) -> Tamper:
    """Change the answer of one partner to a message of one kind (`ask 1`: to that sum)."""

    def tamper(name: str, header: dict[str, Any], raw: bytes) -> bytes | None:
        sent = f"ask {header['r']}" if header["kind"] == "ask" and " " in kind else header["kind"]
        return change(raw) if (name, sent) == (who, kind) else raw

    return tamper


def silence(raw: bytes) -> None:
    return None


def pooled(partners: str) -> list[float]:
    rows = pd.concat([FRAMES[name] for name in partners])
    slope, intercept = np.polyfit(rows["x"], rows["y"], 1)
    return [float(intercept), float(slope)]


# ---- an honest study


def test_an_honest_study_ends_with_its_result_and_a_close() -> None:
    trial = Trial()
    conducted = trial.conduct(deadline=5.0)
    assert conducted.partners == ("a", "b", "c")
    assert conducted.absent == {}
    assert conducted.values["m"]["params"] == pytest.approx(pooled("abc"), rel=1e-9)
    assert [kind for kind, _ in trial.channel.kinds[:3]] == ["mandate", "start", "ask"]
    assert set(trial.channel.deadlines) == {5.0}
    assert trial.told[0] == "asking 3 partners"
    assert trial.told[1].startswith("sum 1 of at most ")
    trial.over()


def test_a_partner_that_never_answers_a_close_is_not_waited_for_as_for_a_sum() -> None:
    trial = Trial()
    trial.conduct(deadline=3600.0)
    assert trial.channel.deadlines[-2:] == [3600.0, 10.0]


def test_answers_in_another_order_change_nothing() -> None:
    trial = Trial()

    class Backwards(Tampered):
        def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
            return dict(reversed(super().exchange(messages, deadline=deadline).items()))

    keys = trial.of.keys
    signed = keys.study(trial.study)
    sessions = {name: Session(node) for name, node in trial.of.nodes.items()}
    channel = Backwards(sessions, keys.coordinator, lambda name, header, raw: raw)
    conducted = conduct(
        Coordinator(keys.coordinator, keys.root),
        signed,
        keys.mandate(trial.of.mandate_of(trial.study, signed)),
        trial.of.planned(trial.study),
        channel,
    )
    assert conducted.values["m"]["params"] == pytest.approx(pooled("abc"), rel=1e-9)


# ---- the roll call


def test_who_is_silent_at_the_roll_call_is_named_and_the_study_goes_on_without() -> None:
    trial = Trial("abcd")
    conducted = trial.conduct(only("b", "mandate", silence))
    assert conducted.partners == ("a", "c", "d")
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": "silent"}
    assert conducted.values["m"]["params"] == pytest.approx(pooled("acd"), rel=1e-9)
    assert {to for kind, to in trial.channel.kinds if kind in ("start", "ask")} == {("a", "c", "d")}
    trial.over()  # b too: it approved, and its answer was lost


def test_who_refuses_at_the_roll_call_is_named_with_its_rule() -> None:
    few = {**FRAMES, "b": FRAMES["b"].head(5)}
    trial = Trial("abcd", few)
    conducted = trial.conduct()
    assert {name: refused.rule for name, refused in conducted.absent.items()} == {"b": "persons"}
    assert conducted.values["m"]["params"] == pytest.approx(pooled("acd"), rel=1e-9)
    trial.over("b")


@pytest.mark.parametrize("partners", ["abc", "abcd"])
def test_fewer_than_m_partners_are_refused_and_those_who_approved_are_told(partners: str) -> None:
    trial = Trial(partners)
    away = partners[2:]
    with pytest.raises(Refused, match=f"2 of {len(partners)} do; those that do not, because of: silent") as error:
        trial.conduct(lambda name, header, raw: None if name in away else raw)
    assert error.value.rule == "organisations"
    assert all(session.egress.sent[0].kind == "approval" for session in trial.of.sessions.values())
    trial.over()


def test_a_rule_that_everybody_names_is_the_studys() -> None:
    trial = Trial("abc", {name: rows.head(5) for name, rows in FRAMES.items()})
    with pytest.raises(Refused) as error:
        trial.conduct()
    assert error.value.rule == "persons"
    trial.over(*"abc")


@pytest.mark.parametrize(("away", "rule"), [(silence, "silent"), (None, "persons")])
def test_all_means_all(away: Callable[[bytes], None] | None, rule: str) -> None:
    """Four are there, and with `joined` three would be enough."""
    few = FRAMES if away else {**FRAMES, "d": FRAMES["d"].head(5)}
    trial = Trial("abcd", few, protections={"participation": "all"})
    with pytest.raises(Refused) as error:
        trial.conduct(only("d", "mandate", away) if away else lambda name, header, raw: raw)
    assert error.value.rule == rule
    assert [kind for kind, _ in trial.channel.kinds] == ["mandate", "close"]
    trial.over(*([] if away else ["d"]))
    assert Trial("abcd", protections={"participation": "all"}).conduct().partners == ("a", "b", "c", "d")


# ---- dishonest answers


def header_of(raw: bytes) -> tuple[dict[str, Any], bytes]:
    header, body = unpack(raw, UP)
    return {k: v for k, v in header.items() if k != "v"}, body


def edit(**fields: Any) -> Callable[[bytes], bytes]:
    """Other fields, which nobody has signed."""

    def change(raw: bytes) -> bytes:
        header, body = header_of(raw)
        return pack({**header, **fields}, body)

    return change


def bit(raw: bytes) -> bytes:
    header, body = header_of(raw)
    return pack(header, bytes([body[0] ^ 1]) + body[1:])


def longer(raw: bytes) -> bytes:
    return raw + bytes(8)


def shorter(raw: bytes) -> bytes:
    return raw[:-8]


def test_after_the_start_silence_is_a_fault_and_the_study_is_over() -> None:
    for kind in ("start", "ask 0", "ask 1"):
        trial = Trial("abcd")
        with pytest.raises(Fault, match="'b' did not answer in time"):
            trial.conduct(only("b", kind, silence))
        trial.over()


CASES: list[tuple[str, str, Callable[[bytes], bytes], type[DataTrustError]]] = [
    ("no message", "mandate", lambda raw: b"", MessageInvalid),
    ("no message", "ask 0", lambda raw: b"\xff" * 40, MessageInvalid),
    ("a message that goes down", "start", edit(kind="close"), MessageInvalid),
    *(("another name", kind, edit(name="a"), MessageInvalid) for kind in ("mandate", "start", "ask 0")),
    *(("no partner's name", kind, edit(name=["b"]), MessageInvalid) for kind in ("mandate", "start", "ask 0")),
    ("an approval's key changed", "mandate", edit(E="07" * 32), UploadSignature),
    ("an approval's signature changed", "mandate", edit(sig="07" * 64), UploadSignature),
    ("an approval that is not hex", "mandate", edit(sig="xy"), MessageInvalid),
    ("a ready with another transcript, unsigned", "start", edit(T="00" * 32), MessageInvalid),
    ("an upload with a bit changed", "ask 0", bit, UploadSignature),
    ("an upload with a bit changed", "ask 1", bit, UploadSignature),
    ("an upload that is too long", "ask 0", longer, UploadShape),
    ("an upload that is too short", "ask 0", shorter, UploadShape),
    ("an upload with another signature", "ask 0", edit(sig="07" * 64), UploadSignature),
    ("an upload for another context", "ask 0", edit(ctx="07" * 32), TranscriptDiffers),
    ("an upload for another transcript", "ask 0", edit(T="07" * 32), TranscriptDiffers),
    ("an upload for another sum", "ask 0", edit(r=1), TranscriptDiffers),
    ("an upload with an unknown field", "ask 0", edit(note="x"), UploadShape),
]


@pytest.mark.parametrize(
    ("kind", "change", "error"), [case[1:] for case in CASES], ids=[f"{case[0]}, to {case[1]}" for case in CASES]
)
def test_an_answer_that_was_changed_opens_nothing(
    kind: str, change: Callable[[bytes], bytes], error: type[DataTrustError]
) -> None:
    trial = Trial()
    with pytest.raises(error):
        trial.conduct(only("b", kind, change))
    trial.over()


def test_an_answer_of_another_kind_is_refused_at_every_step() -> None:
    """Signed by the partner itself, which is confused or dishonest."""
    for kind in ("mandate", "start", "ask 0"):
        trial = Trial()
        mine = trial.of.keys.partners["b"].sign

        def ready(raw: bytes, mine: Any = mine) -> bytes:
            return pack_signed({"kind": "ready", "name": "b", "T": "00" * 32}, mine)

        def approval(raw: bytes) -> bytes:
            return pack({"kind": "approval", "name": "b", "E": "00" * 32, "sig": "00" * 64})

        with pytest.raises(MessageInvalid, match="partner 'b' answered with"):
            trial.conduct(only("b", kind, approval if kind == "start" else ready))
        trial.over()


def test_a_partner_that_started_otherwise_is_found_by_its_transcript() -> None:
    trial = Trial()
    mine = trial.of.keys.partners["b"].sign
    other = pack_signed({"kind": "ready", "name": "b", "T": "00" * 32}, mine)
    with pytest.raises(TranscriptDiffers, match="at b"):
        trial.conduct(only("b", "start", lambda raw: other))
    trial.over()


@pytest.mark.parametrize("kind", ["mandate", "start", "ask 0"])
def test_a_refusal_counts_only_with_its_partners_signature(kind: str) -> None:
    said = {"kind": "refusal", "name": "b", "rule": "rule-of-b", "text": "", "remedy": ""}
    for signer, error in (("b", Refused), ("a", MessageInvalid), ("", MessageInvalid)):
        trial = Trial()
        raw = pack_signed(said, trial.of.keys.partners[signer].sign) if signer else pack(said)
        with pytest.raises(error) as found:
            trial.conduct(only("b", kind, lambda _, raw=raw: raw))
        assert trial.channel.kinds[-1][0] == "close"
        if signer == "b":
            assert "rule-of-b" in str(found.value)
        else:
            trial.over()


def test_another_partners_upload_under_ones_own_name_is_not_signed_by_one() -> None:
    trial, seen = Trial(), {}

    def copied(name: str, header: dict[str, Any], raw: bytes) -> bytes:
        if header["kind"] != "ask":
            return raw
        seen[name] = raw
        return edit(name="b")(seen["a"]) if name == "b" else raw

    with pytest.raises(UploadSignature, match="the upload of b"):
        trial.conduct(copied)
    trial.over()


def test_the_upload_of_the_last_sum_is_none_of_the_next() -> None:
    trial, seen = Trial(analyses={"m": dt.Glm("high ~ x", family="binomial")}), {}

    def stale(name: str, header: dict[str, Any], raw: bytes) -> bytes:
        if name == "b" and header["kind"] == "ask" and header["r"] > 0:
            return seen.setdefault("upload", raw)
        return raw

    with pytest.raises(TranscriptDiffers, match="an upload of b for another sum"):
        trial.conduct(stale)
    assert trial.told[-1].startswith("sum 3 of at most ")
    trial.over()


@pytest.mark.parametrize(("place", "opens"), [("check number", False), ("a number", True)])
def test_a_partner_that_masks_wrongly_spoils_the_sum_and_one_that_lies_does_not(place: str, opens: bool) -> None:
    """Its own signature is over what it sends; the check number says whether the masks cancelled, and no more."""
    trial = Trial()
    mine = trial.of.keys.partners["b"].sign

    def spoiled(raw: bytes) -> bytes:
        header, body = header_of(raw)
        words = np.frombuffer(body, "<u8").copy().reshape(4, -1)
        row, column = (0, -1) if place == "check number" else (2, 0)  # limb 2 of 4 holds the units
        words[row, column] ^= 1
        signature = mine.sign(
            Upload.message(bytes.fromhex(header["ctx"]), "b", hashlib.sha256(words.tobytes()).digest())
        )
        return pack({**header, "sig": signature.hex()}, words.tobytes())

    if not opens:
        with pytest.raises(CheckNumber):
            trial.conduct(only("b", "ask 0", spoiled))
        trial.over()
        return
    with pytest.raises(DataTrustError) as error:  # b itself says no: the record is not of what it had stored
        trial.conduct(only("b", "ask 0", spoiled))
    assert "record-invalid" in str(error.value)
    trial.over()


def test_a_refusals_words_are_cut_before_anybody_reads_them() -> None:
    trial = Trial()
    said = {"kind": "refusal", "name": "b", "rule": "r", "text": "x" * 10_000, "remedy": "y" * 10_000}
    raw = pack_signed(said, trial.of.keys.partners["b"].sign)
    with pytest.raises(Refused) as error:
        trial.conduct(only("b", "start", lambda _: raw))
    assert len(error.value.text) == len(error.value.remedy) == 500
    trial.over()


def test_a_mandate_of_another_root_or_without_quorum_is_not_even_sent() -> None:
    trial = Trial()
    keys = trial.of.keys
    signed = keys.study(trial.study)
    mandate = keys.mandate(trial.of.mandate_of(trial.study, signed))
    trial.of.sessions = {name: Session(node) for name, node in trial.of.nodes.items()}
    channel = Tampered(trial.of.sessions, keys.coordinator, lambda name, header, raw: raw)
    bare = mandate.model_copy(update={"signatures": mandate.signatures[:1]})
    planned = trial.of.planned(trial.study)
    with pytest.raises(Refused, match="signed by 1 of 3"):
        conduct(Coordinator(keys.coordinator, keys.root), signed, bare, planned, channel)
    assert channel.kinds == []


# ---- heads of journals


def test_a_head_that_is_shorter_than_the_last_one_stays_out_of_the_register() -> None:
    """One partner could else break the register's check for good, and its own."""
    trust = small_trust({name: FRAMES[name] for name in "abc"}, DATASET)
    study = {"purpose": "AcademicResearch", "analyses": {"m": dt.Glm("y ~ x")}}
    trust.study("one", **study).run()
    before = trust.docket.journal_head("a")
    node = trust._nodes["a"]
    origin = journal_origin("local", "a")
    short = sign_checkpoint(Checkpoint(origin, 1, bytes(32)), node.identity)
    honest = SqliteStore.checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteStore, "checkpoint", lambda self, o, s: short if o == origin else honest(self, o, s))
        trust.study("two", **study).run()
    assert trust.docket.journal_head("a") == before
    assert trust.docket.journal_head("b") != before
    trust.study("three", **study).run()
    assert int(trust.docket.journal_head("a").split("\n")[1]) > int(before.split("\n")[1])
