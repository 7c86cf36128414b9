"""Several studies at one node: each message to its own session, ended ones dropped, a bounded number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

import datatrust as dt
from coordinator.study.conductor import Coordinator, conduct
from nodes.study.sessions import Sessions
from tests.support.example import contract, number, small_trust
from tests.support.trust_parts import TrustParts
from trust.documents.study import PlannedStudy, Study
from trust.protocol.messages import DOWN, UP, unpack
from trust.signing.envelope import Envelope

DATASET = contract(
    number("x", 0, 100, "integer"),
    name="many",
)
NAMES = ("a", "b", "c")


class Recording:
    """A channel to several nodes; keeps what was said, and can lose an answer or run something between messages."""

    def __init__(self, nodes: Mapping[str, Sessions]) -> None:
        self.nodes, self.sent, self.before_ask = nodes, list[tuple[str, bytes, bytes]](), lambda: None
        self.twice = False

    def exchange(self, messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        answers = {}
        for name, raw in messages.items():
            if unpack(raw, DOWN)[0]["kind"] == "ask":
                self.before_ask()
            answers[name] = self.nodes[name].handle(raw)
            if self.twice:
                assert self.nodes[name].handle(raw) == answers[name] or unpack(raw, DOWN)[0]["kind"] == "close"
            self.sent.append((name, raw, answers[name]))
        return answers


class Trust:
    """Three partners, and studies that are asked of them."""

    def __init__(self, **limits: float) -> None:
        frames = {name: pd.DataFrame({"x": np.arange(seed, seed + 40)}) for seed, name in enumerate(NAMES)}
        self.of = TrustParts(small_trust(frames, DATASET))
        self.time = 0.0
        self.nodes = {
            name: Sessions(node, clock=lambda: self.time, **limits)  # type: ignore[arg-type]
            for name, node in self.of.nodes.items()
        }
        self.count = 0

    def study(self) -> tuple[Study, Envelope, Envelope, PlannedStudy]:
        asked = {"h": dt.Histogram("x", edges=[0, 20, 60, 100]), "q": dt.Quantiles(["x"], [0.5])}
        study = self.of.trust.study("many", purpose="AcademicResearch", analyses=asked).study
        signed = self.of.keys.study(study)
        return study, signed, self.of.keys.mandate(self.of.mandate_of(study, signed)), self.of.planned(study)

    def run(self, channel: Recording) -> int:
        _, signed, mandate, planned = self.study()
        done = conduct(Coordinator(self.of.keys.coordinator, self.of.keys.root), signed, mandate, planned, channel)
        self.count += 1
        return len(done.partners)

    @property
    def held(self) -> list[int]:
        return [len(sessions) for sessions in self.nodes.values()]


def test_studies_one_after_another_and_nothing_is_kept() -> None:
    trust = Trust()
    for _ in range(3):
        assert trust.run(Recording(trust.nodes)) == 3
        assert trust.held == [0, 0, 0]


def test_a_study_within_another() -> None:
    trust = Trust()
    outer, inner = Recording(trust.nodes), Recording(trust.nodes)
    most: list[int] = []

    def once() -> None:
        outer.before_ask = lambda: None
        inner.before_ask = lambda: most.append(max(trust.held))
        trust.run(inner)

    outer.before_ask = once
    assert trust.run(outer) == 3
    assert trust.count == 2
    assert max(most) == 2
    assert trust.held == [0, 0, 0]


def test_the_same_bytes_again_get_the_same_answer() -> None:
    trust = Trust()
    channel = Recording(trust.nodes)
    channel.twice = True
    assert trust.run(channel) == 3


def test_no_more_studies_than_a_node_can_hold() -> None:
    trust = Trust(most=1)
    outer, inner = Recording(trust.nodes), Recording(trust.nodes)
    refused: list[str] = []

    def once() -> None:
        outer.before_ask = lambda: None
        try:
            trust.run(inner)
        except dt.Refused as no:
            refused.append(no.rule)

    outer.before_ask = once
    assert trust.run(outer) == 3
    assert refused == ["busy"]
    assert trust.run(Recording(trust.nodes)) == 3


def test_a_study_that_nobody_goes_on_with_is_given_up() -> None:
    trust = Trust(idle=60.0)
    channel = Recording(trust.nodes)

    def leave() -> None:
        raise KeyboardInterrupt

    channel.before_ask = leave
    closing = channel.exchange

    def lost(messages: Mapping[str, bytes], *, deadline: float) -> dict[str, bytes]:
        kinds = {unpack(raw, DOWN)[0]["kind"] for raw in messages.values()}
        return {} if kinds == {"close"} else closing(messages, deadline=deadline)

    channel.exchange = lost  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trust.run(channel)
    assert trust.held == [1, 1, 1]
    trust.time = 61.0
    assert trust.run(Recording(trust.nodes)) == 3
    assert trust.held == [0, 0, 0]


def test_what_is_no_message_is_refused_and_opens_nothing() -> None:
    trust = Trust()
    for raw in (b"", b"x", b"\x80\x04cos\nsystem\n."):
        header, _ = unpack(trust.nodes["a"].handle(raw), UP)
        assert (header["kind"], header["rule"]) == ("refusal", "message-invalid")
    assert trust.held == [0, 0, 0]
