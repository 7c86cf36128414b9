"""A node's half of a study: which message it answers in which state, and that nothing else ever leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datatrust as dt
from nodes.study import gate
from nodes.study.session import Session
from tests.support.example import contract, number, small_trust
from tests.support.sizes import FULL
from tests.support.trust_parts import TrustParts
from trust.analyses.base import Ask
from trust.analyses.glm import Glm
from trust.documents.mandate import SignedMandate
from trust.documents.study import Study, plan
from trust.errors import Refused, SourceInvalid
from trust.protocol.asks import pack_asks, unpack_asks
from trust.protocol.messages import DOWN, UP, pack, pack_signed, unpack
from trust.secure_sum.errors import StoreUnavailable
from trust.signing.envelope import Signer
from trust.times import read_time

DATASET = contract(
    number("x", 0, 100),
    "name: y, logicalType: boolean",
    "name: money, logicalType: number, customProperties: [{property: magnitude, value: true}]",
    number("z"),
    name="sessions",
)
STAGES = ("mandate", "start", "ask 0", "ask 1", "over")
"""What partner a is to be sent next; `over`: the study was closed."""
STATES = {"mandate": "new", "start": "approved", "ask 0": "started", "ask 1": "started", "over": "closed"}


def frame(seed: int, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 100, n).round(3)
    return pd.DataFrame(
        {"x": x, "y": rng.random(n) < 0.2 + 0.006 * x, "money": rng.uniform(1, 2, n), "z": rng.normal(size=n)}
    )


def world(**frames: pd.DataFrame) -> TrustParts:
    frames = frames or {name: frame(seed) for seed, name in enumerate("abc")}
    return TrustParts(small_trust(frames, DATASET))


def written(of: TrustParts, cohort: str = "", **analyses: Any) -> Study:
    asked = analyses or {"m": dt.Glm("y ~ x", family="binomial")}
    return of.trust.study("sessions", purpose="AcademicResearch", cohort=cohort, analyses=asked).study


class Paused(Exception):
    """The conductor is stopped where partner a's next message is the one that a test is about."""


@dataclass
class Scene:
    """A study up to a stage: partner a's session, and the messages that are its own."""

    of: TrustParts
    study: Study
    session: Session
    raw: dict[str, bytes]
    """The genuine messages down to a, by stage; `close` as well."""

    def signed(self, header: dict[str, Any], body: bytes = b"") -> bytes:
        return pack_signed(header, self.of.keys.coordinator, body)

    def next(self, stage: str) -> tuple[dict[str, Any], bytes]:
        """Header, without version and signature, and body of a genuine message."""
        header, body = unpack(self.raw[stage], DOWN)
        return {k: v for k, v in header.items() if k not in ("v", "sig")}, body

    def answer(self, raw: bytes) -> dict[str, Any]:
        """The header of a's answer."""
        return unpack(self.session.handle(raw), UP)[0]

    @property
    def uploads(self) -> list[int]:
        return [sent.r for sent in self.session.egress.sent if sent.kind == "upload"]

    def kept(self) -> Any:
        return self.of.nodes["a"].store.study(self.study.id)


def scene(of: TrustParts, stage: str, study: Study | None = None) -> Scene:
    """A new study in this world, stopped where a is to be sent the message of `stage`."""
    study = study or written(of)
    raw: dict[str, bytes] = {}

    def stop(name: str, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes] | None:
        kind = f"ask {header['r']}" if header["kind"] == "ask" else header["kind"]
        if name == "a":
            raw.setdefault(kind, pack_signed(header, of.keys.coordinator, body))
            if "mandate" in header and kind == "start":
                ask = {
                    "kind": "ask",
                    "mandate": header["mandate"],
                    "r": 0,
                    "asks": {"m": "start"},
                    "partners": [*"abc"],
                }
                raw["ask 0"] = pack_signed(ask, of.keys.coordinator)
        if stage == "over" or kind == "close":
            return None if stage != "over" else (header, body)
        if kind == stage:
            raise Paused
        return header, body

    with suppress(Paused):
        of.run(study, change=stop)
    return Scene(of, study, of.sessions["a"], raw)


def forgotten(session: Session) -> bool:
    """Nothing of the rows is kept."""
    computed = session._computation
    return session._to_record is None and (computed is None or not (computed._rows or computed._first))


@pytest.fixture(scope="module")
def of() -> TrustParts:
    return world()


@pytest.fixture(scope="module")
def others(of: TrustParts) -> dict[str, bytes]:
    """Every genuine message to a of another study of the same partners, which is over."""
    return scene(of, "over").raw


# ---- the conversation


def test_a_study_is_approved_started_asked_and_closed(of: TrustParts) -> None:
    over = scene(of, "over")
    sent = over.session.egress.sent
    assert [s.kind for s in sent][:2] == ["approval", "ready"]
    assert [s.kind for s in sent][-1] == "ready"
    assert over.uploads == list(range(len(sent) - 3))
    assert over.session.trouble is None
    assert (over.kept().status, over.kept().ephemeral, over.kept().keys) == ("closed", b"", {})


@pytest.mark.parametrize(
    ("stage", "kind"), [("mandate", "approval"), ("start", "ready"), ("ask 0", "upload"), ("ask 1", "upload")]
)
def test_the_message_that_is_due_is_answered(of: TrustParts, stage: str, kind: str) -> None:
    """The positive control of every refusal below."""
    on = scene(of, stage)
    assert on.answer(on.raw[stage])["kind"] == kind
    assert on.session.trouble is None


# ---- messages out of order


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        *(("mandate", message) for message in ("start", "ask 0", "ask 1", "close")),
        *(("start", message) for message in ("mandate", "ask 0")),
        *(("ask 0", message) for message in ("mandate", "start")),
        *(("ask 1", message) for message in ("mandate", "start")),
    ],
)
def test_a_message_out_of_order_is_refused_and_ends_the_study(
    of: TrustParts, others: dict[str, bytes], stage: str, message: str
) -> None:
    on = scene(of, stage)
    before = len(on.session.egress.sent)
    answer = on.answer((others if stage == "mandate" else on.raw)[message])
    assert (answer["kind"], answer["rule"]) == ("refusal", "message-order")
    assert [s.kind for s in on.session.egress.sent[before:]] == ["refusal"]
    if stage == "mandate":  # no study has begun that could end
        assert on.kept() is None
        assert on.answer(on.raw["mandate"])["kind"] == "approval"
        return
    assert (on.kept().status, on.kept().ephemeral, on.kept().keys) == ("closed", b"", {})
    assert on.answer(on.raw[stage])["rule"] == "study-closed"


@pytest.mark.parametrize("message", ["mandate", "start", "ask 0", "ask 1", "close"])
def test_after_the_close_every_message_is_refused(of: TrustParts, message: str) -> None:
    on = scene(of, "over")
    answer = on.answer(on.raw[message])
    assert (answer["kind"], answer["rule"]) == ("refusal", "study-closed")
    assert on.kept().keys == {}


def test_a_second_session_of_a_closed_study_approves_nothing(of: TrustParts) -> None:
    """A coordinator that delivers an old mandate again, to a node that has been restarted."""
    on = scene(of, "over")
    again = Session(of.nodes["a"])
    answer = unpack(again.handle(on.raw["mandate"]), UP)[0]
    assert (answer["kind"], answer["rule"]) == ("refusal", "already-started")
    assert [s.kind for s in again.egress.sent] == ["refusal"]


def test_a_second_session_of_a_running_study_neither_answers_nor_ends_it(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    again = Session(of.nodes["a"])
    assert unpack(again.handle(on.raw["mandate"]), UP)[0]["rule"] == "already-started"
    assert unpack(again.handle(on.raw["ask 1"]), UP)[0]["rule"] == "message-order"
    assert on.answer(on.raw["ask 1"])["kind"] == "upload"


# ---- messages that are none


def broken(on: Scene, stage: str) -> dict[str, bytes]:
    """The genuine message of a stage, made invalid in each way."""
    header, body = on.next(stage)
    whole = on.raw[stage]
    keys = on.of.keys
    forged = {
        "unsigned": pack(header, body),
        "signed by nobody": pack({**header, "sig": "00" * 64}, body),
        "a signature of another type": pack({**header, "sig": 5}, body),
        "signed by a stranger": pack_signed(header, Signer(), body),
        "signed by another partner": pack_signed(header, keys.partners["b"].sign, body),
        "signed by a member": pack_signed(header, keys.members[0], body),
        "signed by the partner itself": pack_signed(header, keys.partners["a"].sign, body),
        "cut off": whole[:-1],
        "a byte too many": whole + b"\0",
        "empty": b"",
        "an unknown field": on.signed({**header, "note": "x"}, body),
        "another version": pack_signed({**header, "v": 2}, keys.coordinator, body)[:-1],
        "an unknown kind": on.signed({**header, "kind": "totals"}, body),
        "a kind that goes up": on.signed({**header, "kind": "upload"}, body),
        "a body too many": on.signed(header, body + b"\0" * 8),
    }
    for field in set(header) - {"kind"}:
        forged[f"without {field}"] = on.signed({k: v for k, v in header.items() if k != field}, body)
        if field not in ("record", "to"):  # a record that is none: see below
            forged[f"another type of {field}"] = on.signed({**header, field: [5]}, body)
            forged[f"an empty {field}"] = on.signed({**header, field: {}}, body)
    if stage != "mandate":
        forged["another mandate"] = on.signed({**header, "mandate": "00" * 32}, body)
    if stage.startswith("ask"):
        forged["a negative sum"] = on.signed({**header, "r": -1}, body)
        forged["a sum of 2^32"] = on.signed({**header, "r": 2**32}, body)
        forged["a sum that is a boolean"] = on.signed({**header, "r": True}, body)
        forged["partners out of order"] = on.signed({**header, "partners": ["b", "a", "c"]}, body)
        forged["an unknown analysis"] = on.signed({**header, "asks": {"other": "start"}}, body)
        forged["an unknown sum"] = on.signed({**header, "asks": {"m": "other"}}, body)
    if stage == "ask 1":
        nan = np.full(len(body[: 8 * 2]) // 8, np.nan).tobytes()
        forged["a value that is not a number"] = on.signed(header, nan + body[16:])
        forged["totals that are not sealed to me"] = on.signed(header, body[:-1] + bytes([body[-1] ^ 1]))
        forged["no body"] = on.signed(header)
    return forged


@pytest.mark.parametrize("stage", ["mandate", "start", "ask 0", "ask 1", "close"])
def test_what_is_no_message_of_the_study_is_refused_and_changes_nothing(of: TrustParts, stage: str) -> None:
    """So that neither garbage nor a clumsy coordinator ends a study: the genuine message is answered afterwards."""
    on = scene(of, "ask 1" if stage == "close" else stage)
    if stage == "close":
        header = {"kind": "close", "mandate": on.next("ask 1")[0]["mandate"]}
        on.raw["close"] = on.signed(header)
    state = on.kept()
    for what, raw in broken(on, stage).items():
        answer = on.answer(raw)
        assert (what, answer["rule"], on.kept() == state) == (what, "message-invalid", True)
    assert on.answer(on.raw[stage])["kind"] in ("approval", "ready", "upload")


def test_a_record_that_is_none_ends_the_study(of: TrustParts) -> None:
    """It is the coordinator's signed word on a total, not a message that went wrong on the way."""
    on = scene(of, "ask 1")
    header, body = on.next("ask 1")
    assert on.answer(on.signed({**header, "record": {}}, body))["rule"] == "record-invalid"
    assert on.kept().status == "closed"


@pytest.mark.parametrize("stage", ["start", "ask 0", "ask 1", "close"])
def test_a_message_of_another_study_of_the_same_partners_is_refused_and_changes_nothing(
    of: TrustParts, others: dict[str, bytes], stage: str
) -> None:
    """A replay: the coordinator did sign these bytes."""
    on = scene(of, "ask 1" if stage == "close" else stage)
    assert on.answer(others[stage])["rule"] == "message-invalid"
    due = "ask 1" if stage == "close" else stage
    assert on.answer(on.raw[due])["kind"] in ("ready", "upload")


@pytest.mark.parametrize("stage", STAGES)
def test_a_message_that_is_too_long_is_refused_before_it_is_read(of: TrustParts, stage: str) -> None:
    on = scene(of, stage)
    kind = "close" if stage == "over" else stage.split()[0]
    huge = on.signed({"kind": kind, "mandate": "00" * 32}, bytes(1 << 10))[: -(1 << 10)] + bytes(100_000_000)
    header = (200 << 20).to_bytes(4, "big") + bytes(1000)
    deep = b"[" * 900_000
    before = time.perf_counter()
    assert on.answer(huge)["rule"] == "message-invalid"
    assert stage == "over" or "a body of 100000000 bytes" in str(on.session.trouble)  # before any signature was
    assert on.answer(header)["rule"] == "message-invalid"
    assert on.answer(len(deep).to_bytes(4, "big") + deep)["rule"] == "message-invalid"
    assert time.perf_counter() - before < 2.0


# ---- sums asked again


def test_the_same_question_again_is_answered_with_the_same_bytes(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    first = on.session.handle(on.raw["ask 1"])
    assert unpack(first, UP)[0]["kind"] == "upload"
    assert on.session.handle(on.raw["ask 1"]) == first
    assert on.session.handle(on.raw["ask 1"]) == first
    assert on.uploads == [0, 1, 1, 1]
    assert on.kept().epoch == 2


def test_another_partner_set_for_the_same_sum_is_a_conflict(of: TrustParts) -> None:
    four = world(**{name: frame(seed) for seed, name in enumerate("abcd")})
    on = scene(four, "ask 0")
    header, body = on.next("ask 0")
    full = {**header, "partners": [*"abcd"]}
    assert on.answer(on.signed(full, body))["kind"] == "upload"
    assert on.answer(on.signed({**header, "partners": [*"abc"]}, body))["rule"] == "sum-conflict"
    assert on.uploads == [0]


def test_other_values_for_the_same_sum_are_a_conflict(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    assert on.answer(on.raw["ask 1"])["kind"] == "upload"
    header, body = on.next("ask 1")
    plans = plan(on.study, of.trust._scope(on.study))
    asks, rest = unpack_asks(header["asks"], body, plans)
    other = {"m": replace(asks["m"], values={k: np.array(v) + 1.0 for k, v in asks["m"].values.items()})}
    assert on.answer(on.signed(header, pack_asks(other, plans)[1] + rest))["rule"] == "sum-conflict"
    assert on.uploads == [0, 1]


def test_an_invalid_question_with_totals_leaves_the_totals_to_be_shown_again(of: TrustParts) -> None:
    """Nothing of a message is used before all of it has been read."""
    on = scene(of, "ask 1")
    header, body = on.next("ask 1")
    assert on.answer(on.signed({**header, "partners": ["c", "b", "a"]}, body))["rule"] == "message-invalid"
    assert on.answer(on.raw["ask 1"])["kind"] == "upload"


# ---- refusals


def ended(on: Scene, rule: str, raw: bytes) -> None:
    """The study is closed: nothing is answered, no key is left, no row is held."""
    assert on.kept().status == "closed"
    assert (on.kept().ephemeral, on.kept().keys) == (b"", {})
    assert on.answer(raw)["rule"] == "study-closed"
    trouble = on.session.trouble
    assert trouble is not None
    assert (trouble.rule if isinstance(trouble, Refused) else trouble.code) == rule
    assert forgotten(on.session)


@pytest.mark.parametrize("stage", ["start", "ask 0", "ask 1"])
def test_a_refusal_ends_the_study_and_forgets_its_keys(of: TrustParts, stage: str) -> None:
    on = scene(of, stage)
    assert on.kept().ephemeral or on.kept().keys
    header, body = on.next(stage)
    if stage == "start":
        header["approvals"] = header["approvals"][:2]
        raw, rule = on.signed(header, body), "approval-set"
    else:
        raw, rule = on.signed({**header, "r": header["r"] + 500}, body), "sum-budget"
    assert on.answer(raw)["rule"] == rule
    ended(on, rule, on.raw[stage])


def test_what_has_expired_is_refused_and_forgotten() -> None:
    of = world()
    on = scene(of, "ask 1")
    of.clock = read_time(on.study.expires)
    assert on.answer(on.raw["ask 1"])["rule"] == "mandate-expired"
    ended(on, "mandate-expired", on.raw["ask 1"])


@pytest.mark.parametrize("stage", ["mandate", "start", "ask 0", "ask 1"])
def test_a_clock_that_goes_back_an_hour_stops_the_node(stage: str) -> None:
    """Else what has expired would be in force again."""
    of = world()
    of.clock = now = of.nodes["b"].clock() + timedelta(hours=2)
    on = scene(of, stage)
    of.clock = now - timedelta(hours=1)
    answer = on.answer(on.raw[stage])
    assert (answer["kind"], answer["rule"]) == ("refusal", "clock")
    assert on.uploads == [0][: len(on.uploads)]
    of.clock = now
    assert scene(of, "over").kept().status == "closed"  # and goes on where it was corrected


@pytest.mark.parametrize(("seconds", "ok"), [(-6, False), (-5, True), (-4, True), (0, True), (3600, True)])
def test_a_clock_that_is_being_corrected_may_go_back_five_seconds(seconds: int, ok: bool) -> None:
    of = world()
    of.run(written(of))
    node = of.nodes["a"]
    of.clock = read_time(node.store.latest()) + timedelta(seconds=seconds)
    assert node.on_time().ok is ok


@pytest.mark.parametrize("stage", ["mandate", "ask 1"])
def test_an_exception_of_an_analysis_leaves_without_its_text(
    of: TrustParts, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = scene(of, stage)

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("patient 4711 is 97.25 years old")

    monkeypatch.setattr(Glm, "local", fails)
    answer = on.session.handle(on.raw[stage])
    header = unpack(answer, UP)[0]
    assert (header["kind"], header["rule"]) == ("refusal", "analysis-failed")
    assert not any(word in answer for word in (b"4711", b"97.25", b"ZeroDivision"))
    assert on.session.trouble is not None
    assert "4711" in str(on.session.trouble.__cause__)  # for the node's own operator
    if stage == "ask 1":
        ended(on, "analysis-failed", on.raw[stage])
    else:
        assert on.kept() is None
        assert forgotten(on.session)


def test_an_exception_between_approval_and_start_ends_the_study(of: TrustParts) -> None:
    on = scene(of, "start")
    calls = iter([ZeroDivisionError("4711")])

    def once() -> datetime:
        for wrong in calls:
            raise wrong
        return datetime.now().astimezone()

    on.session._node = replace(of.nodes["a"], clock=once)
    answer = on.session.handle(on.raw["start"])
    assert unpack(answer, UP)[0]["rule"] == "analysis-failed"
    assert b"4711" not in answer
    ended(on, "analysis-failed", on.raw["start"])


@pytest.mark.parametrize("stage", ["mandate", "start", "ask 0", "ask 1", "close"])
def test_a_store_that_fails_is_a_refusal_in_every_state(stage: str) -> None:
    of = world()
    on = scene(of, "ask 1" if stage == "close" else stage)
    raw = on.signed({"kind": "close", "mandate": on.next("start")[0]["mandate"]}) if stage == "close" else on.raw[stage]
    of.trust._stores["a"].close()
    assert on.answer(raw)["rule"] == "store-unavailable"
    assert isinstance(on.session.trouble, StoreUnavailable)
    assert on.answer(raw)["rule"] == ("store-unavailable" if stage == "mandate" else "study-closed")
    assert forgotten(on.session)


def test_an_own_part_that_is_not_finite_is_the_sources_fault_and_ends_the_study() -> None:
    frames = {name: frame(seed) for seed, name in enumerate("abc")}
    frames["a"]["z"] = np.linspace(-1e27, 1e27, 60)
    of = world(**frames)
    study = written(of, d=dt.Glm("x ~ I(z**11)"))
    with pytest.raises(Refused, match="source-invalid") as error:
        of.run(study)
    assert "1e" not in str(error.value)
    assert isinstance(of.sessions["a"].trouble, SourceInvalid)
    kept = of.nodes["a"].store.study(study.id)
    assert kept is not None
    assert (kept.status, kept.keys) == ("closed", {})
    with pytest.raises(SourceInvalid, match="partner 'a'"):
        of.trust.run(written(of, d=dt.Glm("x ~ I(z**11)")))


def seven(seed: int) -> pd.DataFrame:
    """60 rows, of which 7 for one seed and 3 for the other are in the cohort x > 90."""
    few = 7 if seed else 3
    data = frame(seed)
    data["x"] = np.where(np.arange(60) < few, 95.0 + seed, 10.0 + seed)
    return data


def rich(seed: int) -> pd.DataFrame:
    data = frame(seed)
    data.loc[0, "money"] = 1e6 * (seed + 1)
    return data


def beyond(seed: int) -> pd.DataFrame:
    data = frame(seed)
    data.loc[seed + 3, "x"] = 101.0 + seed
    return data


def heavy(seed: int) -> pd.DataFrame:
    data = frame(seed)
    data["x"] = np.where(np.arange(60) == 5, 90.0 + seed, 0.001)
    return data


@pytest.mark.parametrize(
    ("rows", "cohort", "analysis", "rule"),
    [
        (seven, "x > 90", dt.Describe(["x"]), "persons"),
        (rich, "", dt.Describe(["money"]), "dominance"),
        (beyond, "", dt.Describe(["x"]), "source-invalid"),
        (heavy, "", dt.Describe(["z"], weights="x"), "too-few-effective-records"),
    ],
    ids=["persons", "dominance", "bounds", "weights"],
)
def test_a_refusal_is_the_same_to_the_byte_whatever_the_rows_are(
    rows: Callable[[int], pd.DataFrame], cohort: str, analysis: Any, rule: str
) -> None:
    """So it holds no number that was computed from them."""
    of = world(**{name: frame(seed) for seed, name in enumerate("abc")})
    raw = scene(of, "mandate", written(of, cohort, d=analysis)).raw["mandate"]
    said = []
    for seed in (0, 1):
        source = dt.Source(rows(seed)).checked(of.trust.dataset)
        answer = Session(replace(of.nodes["a"], source=source)).handle(raw)
        said.append(answer)
        assert unpack(answer, UP)[0].get("rule") == rule
    assert said[0] == said[1]


# ---- what the gate asks itself, whoever has signed


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"purpose": "Marketing"}, "no-permit"),
        ({"dataset": "other"}, "dataset"),
        ({"protections": {"persons": 10}}, "floor/persons"),
    ],
)
def test_a_study_against_the_charter_is_refused_though_its_mandate_is_signed(
    of: TrustParts, change: dict[str, Any], rule: str
) -> None:
    study = written(of)
    if "protections" in change:
        change = {"protections": study.protections.model_copy(update=change["protections"])}
    answers = of.mandate_answers(study.model_copy(update=change), lambda drafted: drafted)
    assert {answer.get("rule") for answer in answers} == {rule}
    assert {answer["kind"] for answer in of.mandate_answers(study, lambda drafted: drafted)} == {"approval"}


@pytest.mark.parametrize(("over", "ok"), [(0, True), (1, False)])
def test_no_byte_more_than_the_mandate_allows_is_given(of: TrustParts, over: int, ok: bool) -> None:
    """The plan's own bounds on sums keep a session below it; the gate does not lean on that."""
    study = written(of)
    mandate = SignedMandate(of.keys.mandate(of.mandate_of(study, of.keys.study(study))), of.keys.root)
    asks = {"m": Ask("start")}
    decisions = gate.before_sum(
        mandate,
        asks,
        asks,
        plan(study, of.trust._scope(study)),
        {},
        bytes_given=mandate.mandate.bytes + over,
    )
    assert decisions.ok == ok
    assert [decision.rule for decision in decisions.refusals] == ([] if ok else ["sum-budget"])


# ---- a coordinator's role with two keys


@pytest.mark.parametrize("which", [0, 1])
def test_any_key_of_the_coordinators_role_signs_messages_and_records(which: int) -> None:
    of = world()
    keys = [of.keys.coordinator, Signer()]
    document = of.keys.root.root.document()
    document["keys"][keys[1].key_id] = keys[1].public.hex()
    document["roles"]["coordinator"]["keys"].append(keys[1].key_id)
    of.found(document)
    of.keys.coordinator = keys[which]
    assert len(of.run(written(of)).records) > 2
    assert all(session.trouble is None for session in of.sessions.values())


def test_a_record_signed_by_a_key_outside_the_role_is_refused(of: TrustParts) -> None:
    on = scene(of, "ask 1")
    header, body = on.next("ask 1")
    header["record"]["sig"] = Signer().sign(b"record").hex()
    assert on.answer(on.signed(header, body))["rule"] == "record-invalid"


# ---- anything at all


class Fuzzed:
    """Sessions to throw bytes at: a new one whenever the last one was ended or moved on."""

    def __init__(self, of: TrustParts, others: dict[str, bytes]) -> None:
        self.of, self.others = of, others
        self.scenes: dict[str, Scene] = {}

    def at(self, stage: str) -> Scene:
        if stage not in self.scenes:
            self.scenes[stage] = scene(self.of, stage)
        return self.scenes[stage]

    def throw(self, stage: str, raw: bytes) -> None:
        on = self.at(stage)
        answer = on.session.handle(raw)
        header, _ = unpack(answer, UP)
        sent = on.session.egress.sent[-1]
        assert (sent.kind, sent.bytes) == (header["kind"], len(answer))
        assert header.get("rule") != "analysis-failed"  # no check may be left to the last resort
        assert stage == "over" or len(on.uploads) <= 2
        if header["kind"] != "refusal" or header["rule"] not in ("message-invalid", "study-closed"):
            del self.scenes[stage]


@pytest.fixture(scope="module")
def fuzzed(of: TrustParts, others: dict[str, bytes]) -> Fuzzed:
    return Fuzzed(of, others)


json_values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abr", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def edited(draw: Any, value: Any) -> Any:
    """A JSON value with something inside replaced, left out, doubled or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 5)):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {**value, draw(st.text("abcr", min_size=1, max_size=3)): draw(json_values)}
        return {**value, key: edited(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
        return [*value[:at], edited(draw, value[at]), *value[at + 1 :]]
    if isinstance(value, str) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return value[:at] + draw(st.sampled_from([*"0af=%-zZ"])) + value[at + 1 :]
    if type(value) is int and draw(st.booleans()):
        return value + draw(st.sampled_from([-1, 1, 2**31, 2**40]))
    return draw(json_values)


def throw(data: st.DataObject, at: Fuzzed) -> None:
    stage = data.draw(st.sampled_from(STAGES))
    on = at.at(stage)
    how = data.draw(st.sampled_from(["random", "flip", "cut", "insert", "edit", "body"]))
    if how == "random":
        head = data.draw(st.binary(max_size=200))
        at.throw(stage, data.draw(st.sampled_from([head, len(head).to_bytes(4, "big") + head])))
        return
    known = {**at.others, **on.raw}
    message = data.draw(st.sampled_from(sorted(known)))
    raw = known[message]
    place = data.draw(st.integers(0, len(raw) - 1))
    match how:
        case "flip":
            raw = raw[:place] + bytes([raw[place] ^ 1 << data.draw(st.integers(0, 7))]) + raw[place + 1 :]
        case "cut":
            raw = raw[:place]
        case "insert":
            raw = raw[:place] + data.draw(st.binary(min_size=1, max_size=8)) + raw[place:]
        case _:  # signed anew: a coordinator that says what it likes
            header, body = unpack(raw, DOWN)
            header = {k: v for k, v in header.items() if k not in ("v", "sig")}
            if how == "edit":
                key = data.draw(st.sampled_from(sorted({*header, "note"})))
                header[key] = edited(data.draw, header.get(key, ""))
            else:
                cut = data.draw(st.integers(0, len(body)))
                body = body[:cut] + data.draw(st.binary(max_size=16)) + body[cut + data.draw(st.integers(0, 16)) :]
            raw = on.signed(header, body)
    at.throw(stage, raw)


FAST = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=300, **FAST)
@given(st.data())
def test_no_bytes_make_a_session_raise_or_send_anything_but_its_kinds(fuzzed: Fuzzed, data: st.DataObject) -> None:
    throw(data, fuzzed)


@pytest.mark.slow
@settings(max_examples=3000 if FULL else 600, **FAST)
@given(st.data())
def test_no_bytes_of_many_make_a_session_raise(fuzzed: Fuzzed, data: st.DataObject) -> None:
    throw(data, fuzzed)
