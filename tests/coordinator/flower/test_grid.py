"""Our messages over Flower: the same bytes as without it, and the names of Flower that we lean on."""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

import datatrust as dt
from coordinator.flower.grid import FlowerChannel, InMemoryGrid
from coordinator.study.conductor import Coordinator, conduct
from nodes.serve.flower import client_app
from nodes.study.session import Session
from tests.support.example import contract, number, small_trust
from tests.support.trust_parts import TrustParts
from trust.protocol.messages import UP, unpack
from trust.protocol.records import FIELD, RECORD

DATASET = contract(
    number("x", 0, 100, "integer"),
    name="flower",
)
IDS = {"a": 1, "b": 2, "c": 3}


def answer(name: str, raw: bytes) -> bytes:
    return name.encode() + hashlib.sha256(raw).digest() + raw


def echoing(name: str) -> ClientApp:
    return client_app(lambda raw: answer(name, raw))


def raising() -> ClientApp:
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        raise RuntimeError("patient 4711")

    return app


class WireGrid(InMemoryGrid):
    """Sends every message through Flower's wire form: what does not survive it fails, and no object is shared."""

    def _identity(self, message: Message) -> str:
        return message.object_id

    def _serve(self, message: Message) -> Message:
        reply = super()._serve(as_sent(message))
        return reply if reply.has_error() else as_sent(reply)


def as_sent(message: Message) -> Message:
    identity = message.metadata.message_id
    parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    copy = cast(Message, inflate_object_from_contents(message.object_id, parts))
    copy.metadata.__dict__["_message_id"] = identity
    return copy


def channel(apps: dict[str, ClientApp], *, through_wire: bool) -> FlowerChannel:
    grid = (WireGrid if through_wire else InMemoryGrid)({IDS[name]: app for name, app in apps.items()})
    return FlowerChannel(grid, {name: IDS[name] for name in apps})


@pytest.fixture(params=[False, True], ids=["in process", "through Flower's wire form"])
def through_wire(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def world() -> TrustParts:
    frames = {name: pd.DataFrame({"x": np.arange(seed, seed + 40)}) for seed, name in enumerate(IDS)}
    return TrustParts(small_trust(frames, DATASET))


# ---- the same bytes


@pytest.mark.parametrize("raw", [b"", b"\0", b"{}", bytes(range(256)), "é".encode()])
def test_a_message_and_its_answer_arrive_as_they_were_sent(raw: bytes, through_wire: bool) -> None:
    over = channel({name: echoing(name) for name in IDS}, through_wire=through_wire)
    messages = {name: raw + name.encode() for name in IDS}
    for _ in range(2):  # the second time too: an id is never used twice
        answers = over.exchange(messages, deadline=5)
        assert answers == {name: answer(name, message) for name, message in messages.items()}


def test_some_of_the_partners_can_be_asked_and_none(through_wire: bool) -> None:
    over = channel({name: echoing(name) for name in IDS}, through_wire=through_wire)
    assert over.exchange({"b": b"x"}, deadline=5) == {"b": answer("b", b"x")}
    assert over.exchange({}, deadline=5) == {}


def test_eight_megabytes_pass(through_wire: bool) -> None:
    body = np.random.default_rng(1).bytes(8_000_000)
    over = channel({"a": echoing("a")}, through_wire=through_wire)
    assert over.exchange({"a": body}, deadline=5)["a"] == answer("a", body)


def test_a_study_over_flower_gives_the_result_of_one_without(through_wire: bool) -> None:
    of = world()
    asked = {"h": dt.Histogram("x", edges=[0, 20, 60, 100]), "q": dt.Quantiles(["x"], [0.5])}
    study = of.trust.study("flower", purpose="AcademicResearch", analyses=asked).study
    direct = of.run(study)
    again = study.model_copy(update={"id": study.id + "-2"})
    signed = of.keys.study(again)
    sessions = {name: Session(node) for name, node in of.nodes.items()}
    apps = {name: client_app(session.handle) for name, session in sessions.items()}
    over = conduct(
        Coordinator(of.keys.coordinator, of.keys.root),
        signed,
        of.keys.mandate(of.mandate_of(again, signed)),
        of.planned(again),
        channel(apps, through_wire=through_wire),
    )
    assert over.partners == direct.partners
    assert len(over.records) == len(direct.records)
    for name, values in direct.values.items():
        for key, value in values.items():
            np.testing.assert_allclose(np.asarray(over.values[name][key]), np.asarray(value), rtol=1e-12)


# ---- what goes wrong


def test_a_partner_whose_app_raises_is_absent_and_its_words_stay_there(through_wire: bool) -> None:
    apps = {"a": echoing("a"), "b": raising(), "c": echoing("c")}
    over = channel(apps, through_wire=through_wire)
    answers = over.exchange(dict.fromkeys(IDS, b"x"), deadline=5)
    assert sorted(answers) == ["a", "c"]
    grid = (WireGrid if through_wire else InMemoryGrid)({2: raising()})
    (reply,) = grid.send_and_receive([Message(RecordDict(), 2, "query")])
    assert reply.has_error()
    assert "4711" not in str(reply.error.reason)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"other": ConfigRecord({FIELD: b"x"})}),
        RecordDict({RECORD: ConfigRecord({"other": b"x"})}),
        RecordDict({RECORD: ConfigRecord({FIELD: "text"})}),
        RecordDict({RECORD: ConfigRecord({FIELD: b"garbage"})}),
    ],
    ids=["empty", "another record", "another field", "another type", "garbage"],
)
def test_a_flower_message_without_ours_in_it_is_refused(content: RecordDict, through_wire: bool) -> None:
    session = Session(world().nodes["a"])
    grid = (WireGrid if through_wire else InMemoryGrid)({1: client_app(session.handle)})
    (reply,) = grid.send_and_receive([Message(content, 1, "query")])
    raw = reply.content.config_records[RECORD][FIELD]
    assert isinstance(raw, bytes)
    header, _ = unpack(raw, UP)
    assert (header["kind"], header["rule"]) == ("refusal", "message-invalid")
    assert session.egress.sent[-1].sha256 == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("kind", ["train", "evaluate", "query.other"])
def test_a_node_serves_one_kind_of_flower_message(kind: str) -> None:
    handled: list[bytes] = []
    app = client_app(lambda raw: handled.append(raw) or b"")
    grid = InMemoryGrid({1: app})
    (reply,) = grid.send_and_receive([Message(RecordDict({RECORD: ConfigRecord({FIELD: b"x"})}), 1, kind)])
    assert reply.has_error()
    assert handled == []


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({RECORD: ConfigRecord({FIELD: 5})})])
def test_an_answer_without_our_record_is_no_answer(content: RecordDict, through_wire: bool) -> None:
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(content, reply_to=message)

    assert channel({"a": app, "b": echoing("b")}, through_wire=through_wire).exchange(
        {"a": b"x", "b": b"x"}, deadline=5
    ) == {"b": answer("b", b"x")}
